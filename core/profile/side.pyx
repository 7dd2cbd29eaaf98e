# Side blocks: sections of sorted cells in one allocation.

cdef inline uint32_t cell_size(uint32_t section) noexcept nogil:
    return 32 if section == MOMENTS or section == EDGES else 16


cdef inline uint32_t side_offset(const Side* side, uint32_t section) noexcept nogil:
    cdef uint32_t at = 0
    cdef uint32_t i
    for i in range(section):
        at += side.count[i] * cell_size(i)
    return at


cdef inline uint32_t side_bytes(const Side* side) noexcept nogil:
    """The bytes in use, header included."""
    return sizeof(Side) + side_offset(side, SECTIONS)


cdef inline uint8_t* side_cells(const Side* side, uint32_t section) noexcept nogil:
    return <uint8_t*>side + sizeof(Side) + side_offset(side, section)


cdef inline uint32_t side_count(const Side* side, uint32_t section) noexcept nogil:
    return 0 if side == NULL else side.count[section]


cdef inline uint64_t cell_key(const uint8_t* cell) noexcept nogil:
    """Column, then bucket: what the cells of three sections are sorted by."""
    return (<uint64_t>(<const uint32_t*>cell)[0] << 32) | (<const uint32_t*>cell)[1]


cdef uint32_t side_find(
    const Side* side, uint32_t section, uint32_t column, uint32_t bucket
) noexcept nogil:
    """The index of the first cell at or after (column, bucket)."""
    cdef uint64_t wanted = (<uint64_t>column << 32) | bucket
    cdef uint32_t low = 0, high, middle, size
    cdef const uint8_t* cells
    if side == NULL:
        return 0
    high = side.count[section]
    size = cell_size(section)
    cells = side_cells(side, section)
    while low < high:
        middle = (low + high) >> 1
        if cell_key(cells + middle * size) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


cdef Side* side_room(Row* row, uint32_t more) noexcept nogil:
    """The row's side block with room for so many more bytes, NULL when memory is short."""
    cdef uint32_t used = sizeof(Side) if row.side == NULL else side_bytes(row.side)
    cdef uint32_t capacity
    cdef Side* side = row.side
    if side != NULL and used + more <= side.capacity:
        return side
    # A quarter more than now, and what the allocator gives anyway: its chunks are 16 n + 8.
    capacity = ((used + more + used // 4 + 8 + 15) & ~<uint32_t>15) - 8
    side = <Side*>realloc(row.side, capacity)
    if side == NULL:
        return NULL
    if row.side == NULL:
        memset(side, 0, sizeof(Side))
    side.capacity = capacity
    row.side = side
    return side


cdef inline uint8_t* side_insert(Row* row, uint32_t section, uint32_t index) noexcept nogil:
    """A new cell, zeroed, at `index` of the section."""
    return side_insert_all(row, section, index, 1)


cdef uint8_t* side_insert_all(
    Row* row, uint32_t section, uint32_t index, uint32_t count
) noexcept nogil:
    """So many new cells, zeroed, from `index` of the section; NULL without memory."""
    cdef uint32_t size = cell_size(section) * count
    cdef Side* side = side_room(row, size)
    if side == NULL:
        return NULL
    return <uint8_t*>memset(side_open(side, section, index, count), 0, size)


cdef inline uint8_t* side_open(
    Side* side, uint32_t section, uint32_t index, uint32_t count
) noexcept nogil:
    """As `side_insert_all`, where there is room, of cells that the caller fills."""
    cdef uint8_t* cell = side_cells(side, section) + index * cell_size(section)
    memmove(
        cell + cell_size(section) * count, cell, <uint8_t*>side + side_bytes(side) - cell
    )
    side.count[section] += count
    return cell


cdef void side_remove(Row* row, uint32_t section, uint32_t index, uint32_t count) noexcept nogil:
    cdef Side* side = row.side
    cdef uint32_t size = cell_size(section) * count
    cdef uint8_t* cell
    if count == 0:
        return
    cell = side_cells(side, section) + index * cell_size(section)
    memmove(cell, cell + size, <uint8_t*>side + side_bytes(side) - (cell + size))
    side.count[section] -= count


cdef inline BucketCell* bucket_cells(const Side* side) noexcept nogil:
    return <BucketCell*>side_cells(side, BUCKETS)


cdef inline MomentCell* moment_cells(const Side* side) noexcept nogil:
    return <MomentCell*>side_cells(side, MOMENTS)


cdef inline HashCell* hash_cells(const Side* side) noexcept nogil:
    return <HashCell*>side_cells(side, HASHES)


cdef inline EdgeCell* edge_cells(const Side* side) noexcept nogil:
    return <EdgeCell*>side_cells(side, EDGES)


cdef inline StampCell* stamp_cells(const Side* side) noexcept nogil:
    return <StampCell*>side_cells(side, STAMPS)


cdef inline uint32_t moments_last(const Side* side, uint32_t column) noexcept nogil:
    """Behind the last moment of a column, or where it would be."""
    cdef uint32_t count = side_count(side, MOMENTS)
    # Counters of the engine's own stand last.
    if count == 0 or moment_cells(side)[count - 1].column <= column:
        return count
    return side_find(side, MOMENTS, column + 1, 0)
