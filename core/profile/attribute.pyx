# Attributes of a row: last writer wins, by stamp and then by value.

cdef inline int64_t time_us(const Value* value) noexcept nogil:
    return value.as_.i * 1000000 + value.length // 1000


cdef uint64_t row_stamp(const Row* row, uint32_t column) noexcept nogil:
    """The stamp of a written attribute."""
    cdef uint32_t index
    cdef StampCell* cells
    if side_count(row.side, STAMPS) == 0:
        return row.base_stamp
    index = side_find(row.side, STAMPS, column, 0)
    cells = stamp_cells(row.side)
    if index < row.side.count[STAMPS] and cells[index].column == column:
        return cells[index].stamp
    return row.base_stamp


cdef bint row_stamp_set(Row* row, uint32_t column, uint64_t stamp) noexcept nogil:
    cdef uint32_t index = side_find(row.side, STAMPS, column, 0)
    cdef StampCell* cell
    cdef bint found = index < side_count(row.side, STAMPS) and (
        stamp_cells(row.side)[index].column == column
    )
    if stamp == row.base_stamp:
        if found:
            side_remove(row, STAMPS, index, 1)
        return True
    if found:
        cell = &stamp_cells(row.side)[index]
    else:
        cell = <StampCell*>side_insert(row, STAMPS, index)
        if cell == NULL:
            return False
    cell.column = column
    cell.stamp = stamp
    return True


cdef void row_rebase(Row* row, const Layout* layout, uint64_t stamp) noexcept nogil:
    """Make `stamp` the row's base when most attributes have it."""
    cdef uint64_t stamps[ATTRIBUTES_MAX]
    cdef uint32_t i, same = 0, kept = 0
    cdef uint32_t count = side_count(row.side, STAMPS)
    cdef StampCell* cells
    if count * 2 <= row.written:
        return
    cells = stamp_cells(row.side)
    for i in range(count):
        same += cells[i].stamp == stamp
    # Else cells might have to be added, which could fail half way.
    if same * 2 <= row.written:
        return
    for i in range(layout.attributes):
        stamps[i] = row_stamp(row, i)
    row.base_stamp = stamp
    for i in range(layout.attributes):
        if bit_get(row, layout.written_at, i) and stamps[i] != stamp:
            cells[kept].column = i
            cells[kept].stamp = stamps[i]
            kept += 1
    side_remove(row, STAMPS, kept, count - kept)


cdef int compare_text(
    const char* a, uint32_t a_length, const char* b, uint32_t b_length
) noexcept nogil:
    cdef int order = memcmp(a, b, min(a_length, b_length))
    if order:
        return order
    return (a_length > b_length) - (a_length < b_length)


cdef int compare_number(int64_t a, int64_t b) noexcept nogil:
    return (a > b) - (a < b)


cdef int compare_lists(const Value* a, const Value* b) noexcept nogil:
    cdef int order = compare_number(a.length, b.length)
    cdef uint32_t i
    for i in range(a.length):
        if order:
            return order
        if a.as_.items[i].tag == TAG_STRING:
            order = compare_text(a.as_.items[i].as_.s, a.as_.items[i].length,
                                 b.as_.items[i].as_.s, b.as_.items[i].length)
        else:
            order = compare_number(a.as_.items[i].as_.i, b.as_.items[i].as_.i)
    return order


cdef int compare_stored(const Value* a, const Value* b) noexcept nogil:
    """Any total order that every node has: null first, then the encoded values."""
    if a.tag == TAG_NULL or b.tag == TAG_NULL:
        return (a.tag != TAG_NULL) - (b.tag != TAG_NULL)
    if a.tag == TAG_STRING:
        return compare_text(a.as_.s, a.length, b.as_.s, b.length)
    if a.tag == TAG_LIST:
        return compare_lists(a, b)
    if a.tag == TAG_TIMESTAMP:
        return compare_number(time_us(a), time_us(b))
    return compare_number(a.as_.i, b.as_.i)


cdef inline Value row_attribute(
    StoreState* store, const Row* row, const Layout* layout, uint32_t column
) noexcept nogil:
    """The value of a column, null when it is unset or the row's layout lacks it."""
    cdef const AttributeSlot* slot
    cdef Blob* blob
    if column >= layout.attributes or not bit_get(row, layout.present_at, column):
        return value_null()
    slot = &layout.attribute_slots[column]
    if slot.type == STORED_BOOL:
        return value_bool(bit_get(row, layout.bools_at, slot.at))
    if slot.type == STORED_INT:
        return value_int((<const int64_t*>(row_bytes(row) + slot.at))[0])
    if slot.type == STORED_DOUBLE:
        return value_double((<const double*>(row_bytes(row) + slot.at))[0])
    if slot.type == STORED_TIMESTAMP:
        return value_timestamp_us((<const int64_t*>(row_bytes(row) + slot.at))[0])
    blob = blob_at(store, (<const uint32_t*>(row_bytes(row) + slot.at))[0])
    if slot.type == STORED_STRING:
        return value_string(blob_data(blob), blob.length)
    return value_list(<const Value*>blob_data(blob), blob.length)


cdef bint fits(uint8_t type, const Value* value) noexcept nogil:
    """Whether a value, null or not, can be stored under the type."""
    cdef uint32_t i
    cdef uint8_t item = TAG_STRING if type == STORED_STRING_LIST else TAG_DOUBLE
    if value.tag == TAG_NULL:
        return True
    if type == STORED_BOOL:
        return value.tag == TAG_BOOL
    if type == STORED_INT:
        return value.tag == TAG_INT
    if type == STORED_DOUBLE:
        return value.tag == TAG_DOUBLE and value.as_.d == value.as_.d
    if type == STORED_STRING:
        return value.tag == TAG_STRING
    if type == STORED_TIMESTAMP:
        return value.tag == TAG_TIMESTAMP and (
            TIMESTAMP_MIN_S <= value.as_.i <= TIMESTAMP_MAX_S
        )
    if value.tag != TAG_LIST:
        return False
    for i in range(value.length):
        if value.as_.items[i].tag != item:
            return False
    return True


cdef StoreStatus slot_write(
    StoreState* store, Row* row, const Layout* layout, uint32_t column, const Value* value
) noexcept nogil:
    cdef const AttributeSlot* slot = &layout.attribute_slots[column]
    cdef uint32_t* handle = <uint32_t*>(row_bytes(row) + slot.at)
    cdef uint32_t new = 0
    if slot.type == STORED_BOOL:
        bit_set(row, layout.bools_at, slot.at, value.tag == TAG_BOOL and value.as_.i != 0)
    elif slot_width(slot.type) == 8:
        (<int64_t*>handle)[0] = 0
        if value.tag == TAG_TIMESTAMP:
            (<int64_t*>handle)[0] = time_us(value)
        elif value.tag != TAG_NULL:
            (<int64_t*>handle)[0] = value.as_.i
    else:
        if value.tag == TAG_STRING:
            new = heap_string(store, value.as_.s, value.length, not store.attributes[column].pii)
        elif value.tag == TAG_LIST:
            new = heap_list(store, value)
        if new == 0 and value.tag != TAG_NULL:
            return STORE_NO_MEMORY
        heap_release(store, handle[0])
        handle[0] = new
    bit_set(row, layout.present_at, column, value.tag != TAG_NULL)
    return STORE_OK


cdef StoreStatus row_set(
    StoreState* store, Row* row, const Layout* layout, const AttributeInput* input, uint64_t stamp
) noexcept nogil:
    """Write one attribute when its stamp, or at a tie its value, is the larger."""
    cdef uint64_t before
    cdef Value old
    cdef StoreStatus status
    cdef bint written = bit_get(row, layout.written_at, input.column)
    if written:
        before = row_stamp(row, input.column)
        if before > stamp:
            return STORE_OK
        old = row_attribute(store, row, layout, input.column)
        if before == stamp and compare_stored(&old, &input.value) >= 0:
            return STORE_OK
    elif row.written == 0:
        row.base_stamp = stamp
    if stamp != row.base_stamp and side_room(row, sizeof(StampCell)) == NULL:
        return STORE_NO_MEMORY
    status = slot_write(store, row, layout, input.column, &input.value)
    if status == STORE_OK:
        row_stamp_set(row, input.column, stamp)
        bit_set(row, layout.written_at, input.column, True)
        row.written += not written
    return status
