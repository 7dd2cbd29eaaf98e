"""Loading stripes: a nextbest.v1.SnapshotStripe made rows again, in the columns of this store.

Nothing read is trusted: what would break an order or a bound that the store relies on is refused,
by the name of the field.
"""

from libcpp.algorithm cimport is_sorted

cdef enum:
    # A list's items while it is read: room for twice NUMBERS_MAX of them.
    LOAD_ARENA = 524288
    SIDE_BYTES_MAX = 1073741824
    BUCKET_MAX = 0xFFFFFFFE
    # The fields 3 to 9 of a SnapshotStripe are packed arrays.
    ARRAY_LAST = 9
    # A StripeRow's cells: the fields 8 to 12, behind the others.
    CELLS_FIRST = 8
    CELLS_LAST = 12


cdef struct Loading:
    StoreState* store
    const Layout* layout
    const StripeColumns* columns
    # What was refused: a field's path.
    const char* refused
    Arena arena
    Fault fault
    # Of the row at hand.
    vector[StampCell] stamps
    vector[BucketCell] buckets
    vector[MomentCell] moments
    vector[EdgeCell] edges
    vector[HashCell] hashes
    vector[uint64_t] others
    # Of the stripe.
    vector[uint16_t] sets
    Text arrays[10]


cdef StoreStatus stripe_load(
    StoreState* store, Text data, const StripeColumns* columns, const char** refused
) noexcept nogil:
    """Take a stripe's rows, events and erased identities; `refused` names what was wrong."""
    cdef Loading loading
    cdef StoreStatus status
    if data.length == 0:
        return STORE_OK
    loading.store = store
    loading.layout = atomic_pointer_read(&store.layout)
    loading.columns = columns
    loading.refused = ""
    memset(loading.arrays, 0, sizeof(loading.arrays))
    if not arena_init(&loading.arena, LOAD_ARENA):
        return STORE_NO_MEMORY
    status = stripe_read(&loading, data)
    if status == STORE_OK:
        status = events_load(&loading)
    if status == STORE_OK:
        status = erased_load(&loading)
    arena_free(&loading.arena)
    refused[0] = loading.refused
    return status


cdef inline StoreStatus refuse(Loading* loading, const char* field) noexcept nogil:
    loading.refused = field
    return STORE_INVALID


cdef StoreStatus stripe_read(Loading* loading, Text data) noexcept nogil:
    """Load the rows and the sets; note where the arrays lie."""
    cdef Reader reader = reader_of(data.data, data.length)
    cdef StoreStatus status = STORE_OK
    cdef uint32_t field = 0, wire = 0
    cdef Text text
    while status == STORE_OK and read_tag(&reader, &field, &wire):
        if wire != WIRE_BYTES or field > ARRAY_LAST:
            read_skip(&reader, field, wire)
            continue
        text = read_bytes(&reader)
        if reader.failed:
            break
        if field == 1:
            status = row_load(loading, text)
        elif field == 2:
            status = set_load(loading, text)
        else:
            loading.arrays[field] = text
    if status == STORE_OK and reader.failed:
        return refuse(loading, "stripe")
    return status


cdef StoreStatus set_load(Loading* loading, Text text) noexcept nogil:
    cdef StoreState* store = loading.store
    cdef Reader reader = reader_of(text.data, text.length)
    cdef Reader packed
    cdef uint32_t field = 0, wire = 0, number = 0
    cdef uint64_t column
    cdef CounterSet counters = store.sets[0]
    while read_tag(&reader, &field, &wire):
        if field != 1 or wire != WIRE_BYTES:
            read_skip(&reader, field, wire)
            continue
        packed = read_message(&reader)
        while not reader.failed and packed.at < packed.end:
            column = read_varint(&packed)
            if packed.failed or column >= loading.columns.counters.size():
                return refuse(loading, "stripe.sets.counters")
            set_include(store, &counters, loading.columns.counters[column])
    if reader.failed or loading.sets.size() >= COUNTER_SETS_MAX:
        return refuse(loading, "stripe.sets")
    if counters.hash:
        number = set_number(store, &counters)
        if number == 0:
            return STORE_FULL_SETS
    loading.sets.push_back(<uint16_t>number)
    return STORE_OK


cdef struct RowHead:
    # Where the row's cells begin.
    Reader cells
    IdentityRef identity
    uint64_t kind
    uint64_t incarnation
    uint64_t touched_s
    uint64_t stamp
    uint8_t flags


cdef bint head_read(Text text, RowHead* head) noexcept nogil:
    """What a row is made with, up to its cells, which are read when it is there."""
    cdef Reader reader = reader_of(text.data, text.length)
    cdef uint32_t field = 0, wire = 0
    cdef Text id
    memset(head, 0, sizeof(RowHead))
    head.identity.id = ""
    head.cells = reader
    while read_tag(&reader, &field, &wire) and field < CELLS_FIRST:
        if field == 1 and wire == WIRE_VARINT:
            head.kind = read_varint(&reader)
        elif field == 2 and wire == WIRE_BYTES:
            id = read_bytes(&reader)
            head.identity.id = id.data
            head.identity.length = id.length
        elif field == 3 and wire == WIRE_VARINT:
            head.incarnation = read_varint(&reader)
        elif field == 4 and wire == WIRE_VARINT:
            head.flags |= ROW_HAD_EVENT if read_varint(&reader) else 0
        elif field == 5 and wire == WIRE_VARINT:
            head.flags |= ROW_OVERFLOWED if read_varint(&reader) else 0
        elif field == 6 and wire == WIRE_VARINT:
            head.touched_s = read_varint(&reader)
        elif field == 7 and wire == WIRE_FIXED64:
            head.stamp = read_fixed64(&reader)
        else:
            read_skip(&reader, field, wire)
        head.cells = reader
    head.identity.kind = <uint8_t>head.kind
    return not reader.failed and head.kind <= 255 and head.identity.length <= STORED_ID_MAX and (
        head.incarnation >> 32 == 0 and head.touched_s <= <uint64_t>EVENT_SECONDS_MAX
    )


cdef StoreStatus row_load(Loading* loading, Text text) noexcept nogil:
    """Make a StripeRow a row."""
    cdef StoreState* store = loading.store
    cdef StoreStatus status
    cdef RowHead head
    cdef Row* row
    if not head_read(text, &head):
        return refuse(loading, "stripe.rows")
    row = row_new(loading.layout, head.identity, <uint32_t>head.incarnation)
    if row == NULL:
        return STORE_NO_MEMORY
    row.flags = head.flags
    row.touched_s = <uint32_t>head.touched_s
    row.base_stamp = head.stamp
    cells_clear(loading)
    status = cells_read(loading, row, head.cells)
    if status == STORE_OK:
        status = cells_order(loading, row)
    if status == STORE_OK:
        status = side_make(loading, row)
    if status == STORE_OK:
        status = row_insert(loading, row, identity_hash(head.identity))
    if status != STORE_OK:
        cells_release(loading)
        row_clear(store, row)
        free(row)
    return status


cdef StoreStatus row_insert(Loading* loading, Row* row, uint64_t hash) noexcept nogil:
    cdef StoreState* store = loading.store
    cdef Shard* shard = shard_of(store, hash)
    cdef StoreStatus status = STORE_OK
    latch_take(&shard.latch)
    if row_find(store, shard, row_identity(row, loading.layout), hash) != NULL:
        status = refuse(loading, "stripe.rows.id")
    elif row_place(store, shard, hash, row) == NULL:
        status = STORE_NO_MEMORY
    latch_drop(&shard.latch)
    return status


cdef void cells_clear(Loading* loading) noexcept nogil:
    loading.stamps.clear()
    loading.buckets.clear()
    loading.moments.clear()
    loading.edges.clear()
    loading.hashes.clear()


cdef void cells_release(Loading* loading) noexcept nogil:
    """Give back what the cells of a row refer to that no side block has taken over."""
    cdef size_t i
    for i in range(loading.moments.size()):
        if loading.store.counters[loading.moments[i].column].type == STORED_STRING:
            heap_release(loading.store, <uint32_t>loading.moments[i].value)
    for i in range(loading.edges.size()):
        heap_release(loading.store, loading.edges[i].other)
    cells_clear(loading)


cdef StoreStatus cells_read(Loading* loading, Row* row, Reader reader) noexcept nogil:
    """Write the row's attributes, and gather what belongs in its side block."""
    cdef StoreStatus status = STORE_OK
    cdef uint32_t field = 0, wire = 0
    cdef Reader inner
    while status == STORE_OK and read_tag(&reader, &field, &wire):
        if field < CELLS_FIRST:
            # The row was made without it.
            return refuse(loading, "stripe.rows")
        if wire != WIRE_BYTES or field > CELLS_LAST:
            read_skip(&reader, field, wire)
            continue
        inner = read_message(&reader)
        if reader.failed:
            break
        if field == 8:
            status = attribute_load(loading, row, &inner)
        elif field == 9:
            status = number_load(loading, &inner)
        elif field == 10:
            status = moment_load(loading, &inner)
        elif field == 11:
            status = hashes_load(loading, &inner)
        else:
            status = link_load(loading, row, &inner)
    if status == STORE_OK and reader.failed:
        return refuse(loading, "stripe.rows")
    return status


cdef bint value_load(Loading* loading, Reader* reader, Value* value) noexcept nogil:
    """Read a Value; null for one that is none."""
    cdef Reader inner = read_message(reader)
    arena_reset(&loading.arena)
    value[0] = value_of(TAG_ABSENT, 0)
    if read_value(&inner, value, &loading.arena, &loading.fault) or inner.failed:
        return False
    if value.tag == TAG_ABSENT:
        value[0] = value_null()
    return True


cdef bint text_holds(const Value* value) noexcept nogil:
    return value.tag != TAG_STRING or value.length <= STRING_BYTES_MAX


cdef bint value_holds(uint8_t type, const Value* value) noexcept nogil:
    """Whether a value, or null, is of the type and within its bounds."""
    cdef uint32_t i
    if value.tag == TAG_LIST and value.length > (
        STRINGS_MAX if type == STORED_STRING_LIST else NUMBERS_MAX
    ):
        return False
    if not fits(type, value) or not text_holds(value):
        return False
    if value.tag == TAG_TIMESTAMP:
        return value.length < 1000000000
    if value.tag == TAG_LIST:
        for i in range(value.length):
            if not text_holds(&value.as_.items[i]):
                return False
    return True


cdef StoreStatus attribute_load(Loading* loading, Row* row, Reader* reader) noexcept nogil:
    cdef StoreStatus status
    cdef uint32_t field = 0, wire = 0
    cdef uint64_t column = 0
    cdef bint held = True, own = False
    cdef Value value = value_null()
    cdef StampCell cell
    cell.unused = 0
    cell.stamp = 0
    while held and read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            column = read_varint(reader)
        elif field == 2 and wire == WIRE_FIXED64:
            cell.stamp = read_fixed64(reader)
            own = True
        elif field == 3 and wire == WIRE_BYTES:
            held = value_load(loading, reader, &value)
        else:
            read_skip(reader, field, wire)
    if not held or reader.failed:
        return refuse(loading, "stripe.rows.attributes")
    if column >= loading.columns.attributes.size():
        return refuse(loading, "stripe.rows.attributes.column")
    cell.column = loading.columns.attributes[column]
    if bit_get(row, loading.layout.written_at, cell.column):
        return refuse(loading, "stripe.rows.attributes.column")
    if not value_holds(loading.store.attributes[cell.column].type, &value):
        return refuse(loading, "stripe.rows.attributes.value")
    status = slot_write(loading.store, row, loading.layout, cell.column, &value)
    if status != STORE_OK:
        return status
    bit_set(row, loading.layout.written_at, cell.column, True)
    row.written += 1
    if own and cell.stamp != row.base_stamp:
        loading.stamps.push_back(cell)
    return STORE_OK


cdef const CounterColumn* counter_at(
    Loading* loading, uint64_t column, uint32_t* number
) noexcept nogil:
    """The counter that a stripe's column is; NULL when the head has none."""
    if column >= loading.columns.counters.size():
        return NULL
    number[0] = loading.columns.counters[column]
    return &loading.store.counters[number[0]]


cdef inline bint bucket_holds(const CounterColumn* counter, uint64_t bucket) noexcept nogil:
    return 1 <= bucket <= BUCKET_MAX and (counter.resolution_us or bucket == 1)


cdef StoreStatus number_load(Loading* loading, Reader* reader) noexcept nogil:
    cdef Reader buckets = reader_of("", 0)
    cdef Reader values = buckets
    cdef uint32_t field = 0, wire = 0
    cdef uint64_t column = 0, bucket
    cdef const CounterColumn* counter
    cdef BucketCell cell
    while read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            column = read_varint(reader)
        elif field == 2 and wire == WIRE_BYTES:
            buckets = read_message(reader)
        elif field == 3 and wire == WIRE_BYTES:
            values = read_message(reader)
        else:
            read_skip(reader, field, wire)
    counter = counter_at(loading, column, &cell.column)
    if reader.failed or counter == NULL or not is_numeric(counter.aggregate):
        return refuse(loading, "stripe.rows.numbers.column")
    while buckets.at < buckets.end:
        bucket = read_varint(&buckets)
        cell.value = unzigzag(read_varint(&values))
        if buckets.failed or values.failed or not bucket_holds(counter, bucket):
            return refuse(loading, "stripe.rows.numbers.buckets")
        if counter.aggregate == COUNTS and cell.value < 0:
            return refuse(loading, "stripe.rows.numbers.values")
        cell.bucket = <uint32_t>bucket
        loading.buckets.push_back(cell)
    if values.at < values.end:
        return refuse(loading, "stripe.rows.numbers.values")
    return STORE_OK


cdef StoreStatus moment_load(Loading* loading, Reader* reader) noexcept nogil:
    cdef uint32_t field = 0, wire = 0
    cdef uint64_t column = 0, bucket = 0
    cdef bint held = True, failed = False
    cdef Value value = value_null()
    cdef const CounterColumn* counter
    cdef MomentCell cell
    memset(&cell, 0, sizeof(cell))
    while held and read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            column = read_varint(reader)
        elif field == 2 and wire == WIRE_VARINT:
            bucket = read_varint(reader)
        elif field == 3 and wire == WIRE_VARINT:
            cell.time_us = <int64_t>read_varint(reader)
        elif field == 4 and wire == WIRE_FIXED64:
            cell.event = read_fixed64(reader)
        elif field == 5 and wire == WIRE_BYTES:
            held = value_load(loading, reader, &value)
        else:
            read_skip(reader, field, wire)
    if not held or reader.failed:
        return refuse(loading, "stripe.rows.moments")
    counter = counter_at(loading, column, &cell.column)
    if counter == NULL or not FIRST <= counter.aggregate <= LAST_N:
        return refuse(loading, "stripe.rows.moments.column")
    if not 0 <= cell.time_us < <int64_t>EVENT_SECONDS_MAX * 1000000 or (
        bucket != bucket_of(counter, cell.time_us)
    ):
        return refuse(loading, "stripe.rows.moments.bucket")
    if value.tag == TAG_NULL or not value_holds(counter.type, &value):
        return refuse(loading, "stripe.rows.moments.value")
    cell.bucket = <uint32_t>bucket
    cell.value = value_bits(loading.store, counter.type, &value, &failed)
    if failed:
        return STORE_NO_MEMORY
    loading.moments.push_back(cell)
    return STORE_OK


cdef StoreStatus hashes_load(Loading* loading, Reader* reader) noexcept nogil:
    cdef Reader hashes = reader_of("", 0)
    cdef uint32_t field = 0, wire = 0
    cdef uint64_t column = 0, bucket = 0, dropped = 0
    cdef const CounterColumn* counter
    cdef HashCell cell
    while read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            column = read_varint(reader)
        elif field == 2 and wire == WIRE_VARINT:
            bucket = read_varint(reader)
        elif field == 3 and wire == WIRE_BYTES:
            hashes = read_message(reader)
        elif field == 4 and wire == WIRE_VARINT:
            dropped = read_varint(reader)
        else:
            read_skip(reader, field, wire)
    counter = counter_at(loading, column, &cell.column)
    if reader.failed or counter == NULL or counter.aggregate != DISTINCT:
        return refuse(loading, "stripe.rows.hashes.column")
    if not bucket_holds(counter, bucket):
        return refuse(loading, "stripe.rows.hashes.bucket")
    cell.bucket = <uint32_t>bucket
    while hashes.at < hashes.end:
        cell.hash = read_fixed64(&hashes)
        if hashes.failed or cell.hash == HASHES_DROPPED:
            return refuse(loading, "stripe.rows.hashes.hashes")
        loading.hashes.push_back(cell)
    if dropped:
        cell.hash = HASHES_DROPPED
        loading.hashes.push_back(cell)
    return STORE_OK


cdef StoreStatus link_load(Loading* loading, const Row* row, Reader* reader) noexcept nogil:
    cdef uint32_t field = 0, wire = 0
    cdef uint64_t kind = 0, incarnation = 0, linked = 0
    cdef Text id = text_of("")
    cdef IdentityRef other
    cdef EdgeCell cell
    memset(&cell, 0, sizeof(cell))
    while read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            kind = read_varint(reader)
        elif field == 2 and wire == WIRE_BYTES:
            id = read_bytes(reader)
        elif field == 3 and wire == WIRE_VARINT:
            incarnation = read_varint(reader)
        elif field == 4 and wire == WIRE_FIXED64:
            cell.stamp = read_fixed64(reader)
        elif field == 5 and wire == WIRE_VARINT:
            linked = read_varint(reader)
        else:
            read_skip(reader, field, wire)
    other.kind = <uint8_t>kind
    other.id = id.data
    other.length = id.length
    if reader.failed or kind > 255 or id.length > STORED_ID_MAX or incarnation >> 32 or (
        same_identity(row, loading.layout, other)
    ):
        return refuse(loading, "stripe.rows.links")
    cell.other_hash = identity_hash(other)
    cell.incarnation = <uint32_t>incarnation
    cell.linked = linked != 0
    cell.other = edge_blob(loading.store, other)
    if cell.other == 0:
        return STORE_NO_MEMORY
    loading.edges.push_back(cell)
    return STORE_OK


cdef bint stamp_order(const StampCell& a, const StampCell& b) noexcept nogil:
    return a.column < b.column


cdef bint bucket_order(const BucketCell& a, const BucketCell& b) noexcept nogil:
    return a.column < b.column or (a.column == b.column and a.bucket < b.bucket)


cdef bint moment_order(const MomentCell& a, const MomentCell& b) noexcept nogil:
    if a.column != b.column:
        return a.column < b.column
    return a.bucket < b.bucket or (a.bucket == b.bucket and moment_before(a, b))


cdef bint hash_order(const HashCell& a, const HashCell& b) noexcept nogil:
    if a.column != b.column:
        return a.column < b.column
    return a.bucket < b.bucket or (a.bucket == b.bucket and a.hash < b.hash)


cdef StoreStatus cells_order(Loading* loading, Row* row) noexcept nogil:
    """Sort the cells as the store keeps them, and check that they can be kept."""
    cdef size_t i
    # Columns in the order that they have here, as they mostly are, need no sorting.
    if not is_sorted(loading.stamps.begin(), loading.stamps.end(), stamp_order):
        sort(loading.stamps.begin(), loading.stamps.end(), stamp_order)
    if not is_sorted(loading.buckets.begin(), loading.buckets.end(), bucket_order):
        sort(loading.buckets.begin(), loading.buckets.end(), bucket_order)
    if not is_sorted(loading.moments.begin(), loading.moments.end(), moment_order):
        sort(loading.moments.begin(), loading.moments.end(), moment_order)
    if not is_sorted(loading.hashes.begin(), loading.hashes.end(), hash_order):
        sort(loading.hashes.begin(), loading.hashes.end(), hash_order)
    for i in range(1, loading.hashes.size()):
        if not hash_order(loading.hashes[i - 1], loading.hashes[i]):
            return refuse(loading, "stripe.rows.hashes.hashes")
    if not ring_holds(loading, BUCKETS, <uint8_t*>loading.buckets.data(), loading.buckets.size()):
        return refuse(loading, "stripe.rows.numbers.buckets")
    if not ring_holds(loading, MOMENTS, <uint8_t*>loading.moments.data(), loading.moments.size()):
        return refuse(loading, "stripe.rows.moments.bucket")
    if not ring_holds(loading, HASHES, <uint8_t*>loading.hashes.data(), loading.hashes.size()):
        return refuse(loading, "stripe.rows.hashes.bucket")
    if not others_differ(loading):
        return refuse(loading, "stripe.rows.links.id")
    newest_take(loading, row)
    return STORE_OK


cdef bint ring_holds(
    Loading* loading, uint32_t section, const uint8_t* cells, size_t count
) noexcept nogil:
    """Whether each ring of sorted cells spans no more buckets than it may, none overfull."""
    cdef uint32_t size = cell_size(section)
    cdef const CounterColumn* counter
    cdef uint64_t key, newest = 0, run = 0, most = 0
    cdef size_t i
    # From the end, where each ring's newest bucket lies.
    for i in range(count, 0, -1):
        key = cell_key(cells + (i - 1) * size)
        if i == count or key >> 32 != newest >> 32:
            newest = key
        if i == count or key != cell_key(cells + i * size):
            run = 0
        run += 1
        counter = &loading.store.counters[key >> 32]
        most = 1
        if section == HASHES:
            most = counter.limit + 1
        elif section == MOMENTS and counter.aggregate == LAST_N:
            most = counter.limit
        if run > most or <uint32_t>key < first_kept(counter, <uint32_t>newest):
            return False
    return True


cdef bint others_differ(Loading* loading) noexcept nogil:
    """Whether each link is to somebody else."""
    cdef size_t i
    if loading.edges.size() < 2:
        return True
    loading.others.clear()
    for i in range(loading.edges.size()):
        loading.others.push_back(loading.edges[i].other_hash)
    sort(loading.others.begin(), loading.others.end())
    for i in range(1, loading.others.size()):
        if loading.others[i] == loading.others[i - 1]:
            return False
    return True


cdef void newest_take(Loading* loading, Row* row) noexcept nogil:
    """Move each ring's newest bucket into the row; older ones stay in order."""
    cdef size_t i, kept = 0, count = loading.buckets.size()
    cdef const CounterSlot* slot
    cdef BucketCell cell
    for i in range(count):
        cell = loading.buckets[i]
        if i + 1 < count and loading.buckets[i + 1].column == cell.column:
            loading.buckets[kept] = cell
            kept += 1
        else:
            slot = &loading.layout.counter_slots[cell.column]
            newest_bucket(row, slot)[0] = cell.bucket
            newest_set(row, slot, cell.value)
    loading.buckets.resize(kept)


cdef StoreStatus side_make(Loading* loading, Row* row) noexcept nogil:
    """Give the row its side block, which takes the cells over."""
    cdef uint64_t size = 16 * (
        loading.stamps.size() + loading.buckets.size() + loading.hashes.size()
        + 2 * loading.moments.size() + 2 * loading.edges.size()
    )
    cdef Side* side
    cdef uint8_t* to
    if size == 0:
        return STORE_OK
    if size > SIDE_BYTES_MAX:
        return refuse(loading, "stripe.rows")
    # As side_room has it: the allocator's chunks are 16 n + 8.
    size = ((sizeof(Side) + size + 8 + 15) & ~<uint64_t>15) - 8
    side = <Side*>malloc(size)
    if side == NULL:
        return STORE_NO_MEMORY
    memset(side, 0, sizeof(Side))
    side.capacity = <uint32_t>size
    side.count[STAMPS] = <uint32_t>loading.stamps.size()
    side.count[BUCKETS] = <uint32_t>loading.buckets.size()
    side.count[MOMENTS] = <uint32_t>loading.moments.size()
    side.count[EDGES] = <uint32_t>loading.edges.size()
    side.count[HASHES] = <uint32_t>loading.hashes.size()
    to = side_fill(side_cells(side, STAMPS), loading.stamps.data(), 16 * loading.stamps.size())
    to = side_fill(to, loading.buckets.data(), 16 * loading.buckets.size())
    to = side_fill(to, loading.moments.data(), 32 * loading.moments.size())
    to = side_fill(to, loading.edges.data(), 32 * loading.edges.size())
    side_fill(to, loading.hashes.data(), 16 * loading.hashes.size())
    row.side = side
    cells_clear(loading)
    return STORE_OK


cdef inline uint8_t* side_fill(uint8_t* to, const void* cells, size_t size) noexcept nogil:
    # What has no cells has no data, which memcpy must not see.
    if size:
        memcpy(to, cells, size)
    return to + size


cdef StoreStatus events_load(Loading* loading) noexcept nogil:
    """Remember the events, those too that are behind the horizon: one may wait for a playbook."""
    cdef const Text* arrays = loading.arrays
    cdef uint64_t count = arrays[3].length // 8, i, number
    cdef Reader sets = reader_of(arrays[6].data, arrays[6].length)
    cdef Reader incarnations = reader_of(arrays[7].data, arrays[7].length)
    cdef StoreStatus status = STORE_OK
    cdef SeenEvent entry
    if arrays[3].length != 8 * count or arrays[4].length != 8 * count or (
        arrays[5].length != 4 * count
    ):
        return refuse(loading, "stripe.event_hashes")
    if count and not events_room(loading, count):
        return STORE_NO_MEMORY
    for i in range(count):
        memcpy(&entry.identity, arrays[3].data + 8 * i, 8)
        memcpy(&entry.event, arrays[4].data + 8 * i, 8)
        memcpy(&entry.time_s, arrays[5].data + 4 * i, 4)
        number = read_varint(&sets)
        if sets.failed or number > loading.sets.size():
            return refuse(loading, "stripe.event_sets")
        entry.counters = loading.sets[number - 1] if number else 0
        number = read_varint(&incarnations)
        if incarnations.failed or number > 0xFFFF:
            return refuse(loading, "stripe.event_incarnations")
        entry.incarnation = <uint16_t>number
        if entry.event == 0 or entry.time_s > <uint32_t>EVENT_SECONDS_MAX:
            return refuse(loading, "stripe.event_hashes")
        status = event_insert(loading, &entry)
        if status != STORE_OK:
            return status
    if sets.at < sets.end or incarnations.at < incarnations.end:
        return refuse(loading, "stripe.event_sets")
    return STORE_OK


cdef bint events_room(Loading* loading, uint64_t count) noexcept nogil:
    """Make room in the shard that a stripe's events are of.

    They come in the order of the table that they were in.  A smaller one fills up from its
    start, and each of them would pass by all the others.
    """
    cdef uint64_t identity
    cdef Shard* shard
    cdef bint room
    memcpy(&identity, loading.arrays[3].data, 8)
    shard = shard_of(loading.store, identity)
    latch_take(&shard.latch)
    room = seen_room(shard, count)
    latch_drop(&shard.latch)
    return room


cdef StoreStatus event_insert(Loading* loading, const SeenEvent* entry) noexcept nogil:
    cdef StoreState* store = loading.store
    cdef Shard* shard = shard_of(store, entry.identity)
    cdef StoreStatus status = STORE_OK
    latch_take(&shard.latch)
    if seen_find(shard, entry.identity, entry.event) != NULL:
        status = refuse(loading, "stripe.event_hashes")
    elif not seen_room(shard, 1):
        status = STORE_NO_MEMORY
    else:
        seen_add(store, shard, entry)
    latch_drop(&shard.latch)
    return status


cdef StoreStatus erased_load(Loading* loading) noexcept nogil:
    cdef const Text* identities = &loading.arrays[8]
    cdef Reader incarnations = reader_of(loading.arrays[9].data, loading.arrays[9].length)
    cdef uint64_t count = identities.length // 8, i, identity, incarnation
    cdef Shard* shard
    if identities.length != 8 * count:
        return refuse(loading, "stripe.erased_identities")
    for i in range(count):
        memcpy(&identity, identities.data + 8 * i, 8)
        incarnation = read_varint(&incarnations)
        # A living incarnation comes after each that is erased.
        if incarnations.failed or incarnation >= <uint64_t>0xFFFFFFFF:
            return refuse(loading, "stripe.erased_incarnations")
        shard = shard_of(loading.store, identity)
        latch_take(&shard.latch)
        if dead_incarnation(shard, identity) < <int64_t>incarnation:
            dead_put(loading.store, shard, identity, <uint32_t>incarnation)
        latch_drop(&shard.latch)
    if incarnations.at < incarnations.end:
        return refuse(loading, "stripe.erased_incarnations")
    return STORE_OK


cdef struct HalfLink:
    uint64_t hash
    EdgeCell edge


cdef uint64_t store_unlink_dead(StoreState* store) noexcept nogil:
    """Drop the half links to incarnations that are erased; gives how many.

    An identity that was erased between the copies of two stripes has left the other half of
    its links in the one copied before; the log cannot tell of it again, for the erasure is known.
    """
    cdef vector[HalfLink] halves
    cdef uint64_t dropped = 0
    cdef size_t j
    cdef int i
    # Whoever removes a link holds this latch: the blobs stay.
    latch_take(&store.link_latch)
    for i in range(SHARDS):
        halves.clear()
        shard_halves(&store.shards[i], &halves)
        for j in range(halves.size()):
            if is_dead(store, edge_identity(store, &halves[j].edge), halves[j].edge.incarnation):
                dropped += half_drop(store, &store.shards[i], &halves[j])
    latch_drop(&store.link_latch)
    return dropped


cdef void shard_halves(Shard* shard, vector[HalfLink]* halves) noexcept nogil:
    cdef HalfLink half
    cdef uint64_t i
    cdef uint32_t j
    cdef Row* row
    latch_take(&shard.latch)
    for i in range(shard.rows_capacity):
        fetch_ahead(shard.rows[(i + FETCH_SLOTS) & (shard.rows_capacity - 1)].row)
        row = shard.rows[i].row
        if row == NULL or row.side == NULL:
            continue
        half.hash = shard.rows[i].hash
        for j in range(row.side.count[EDGES]):
            half.edge = edge_cells(row.side)[j]
            halves.push_back(half)
    latch_drop(&shard.latch)


cdef bint half_drop(StoreState* store, Shard* shard, const HalfLink* half) noexcept nogil:
    """Drop a half link, and a row that held only it."""
    cdef uint64_t mask, at
    cdef uint32_t j
    cdef Row* row
    cdef bint found = False
    latch_take(&shard.latch)
    mask = shard.rows_capacity - 1
    at = half.hash & mask
    while not found and shard.rows[at].row != NULL:
        row = shard.rows[at].row
        for j in range(side_count(row.side, EDGES)):
            # No other link has that blob.
            if edge_cells(row.side)[j].other == half.edge.other:
                heap_release(store, half.edge.other)
                side_remove(row, EDGES, j, 1)
                if row_empty(row):
                    row_remove(store, shard, &shard.rows[at])
                found = True
                break
        at = (at + 1) & mask
    latch_drop(&shard.latch)
    return found


class StoredAttribute(NamedTuple):
    """An attribute's column: all that a store needs to make it."""

    name: str
    type: int
    pii: bool


class StoredCounter(NamedTuple):
    """A counter's column: all that a store needs to make it; `key` is its definition's hash."""

    key: bytes
    aggregate: int
    type: int
    limit: int
    window_s: int
    resolution_s: int

    @property
    def name(self) -> str:
        """What a refusal calls it."""
        return self.key.hex()


cdef object stored_attribute(attribute):
    """A StoredAttribute of a like object, such as a SnapshotAttribute; refuses an unknown type."""
    found = StoredAttribute(str(attribute.name), int(attribute.type), bool(attribute.pii))
    if not STORED_BOOL <= found.type <= STORED_VECTOR:
        raise errors.InvalidRequestError(
            f"attributes.{found.name}.type", str(found.type), f"{STORED_BOOL} to {STORED_VECTOR}"
        )
    return found


cdef object stored_counter(counter):
    """A StoredCounter of a like object, such as a SnapshotCounter; refuses what cannot count."""
    found = StoredCounter(
        bytes(counter.key), int(counter.aggregate), int(counter.type), int(counter.limit),
        int(counter.window_s), int(counter.resolution_s),
    )
    numeric = SUMS <= found.aggregate <= MAXIMUM
    for field, seen, least, most in (
        ("aggregate", found.aggregate, COUNTS, DISTINCT),
        ("type", found.type, STORED_BOOL, STORED_TIMESTAMP),
        ("limit", found.limit, 0, DISTINCT_MAX),
        ("window_s", found.window_s, 0, <int64_t>EVENT_SECONDS_MAX),
    ):
        if not least <= seen <= most:
            raise errors.InvalidRequestError(
                f"counters.{found.name}.{field}", str(seen), f"{least} to {most}"
            )
    if numeric and found.type == STORED_STRING:
        raise errors.InvalidRequestError(
            f"counters.{found.name}.type", "text for a sum, a minimum or a maximum", "a number"
        )
    return found


cdef int load_refused(StoreStatus status, const char* refused) except -1:
    """Raise what a stripe that was not loaded raises."""
    if status == STORE_NO_MEMORY:
        raise errors.NoMemoryError("stripe")
    if status == STORE_FULL_SETS:
        raise errors.StoreFullError(
            f"stripe.sets: more than {COUNTER_SETS_MAX} sets of counters"
        )
    raise errors.InvalidRequestError(
        refused.decode(), "malformed or out of bounds", "what a store of these columns writes"
    )
