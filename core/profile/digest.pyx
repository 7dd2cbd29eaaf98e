# The digest: two order-free sums over the state in a form that every node gives alike.
#
# Columns enter by the hash of their name or key, strings by their bytes; layouts, handles,
# the base stamp and the order of cells do not enter.

from libcpp.utility cimport pair


cdef struct Mark:
    uint64_t identity
    uint64_t column
    uint64_t kind
    uint64_t first
    uint64_t second
    uint64_t third


cdef inline uint64_t mark(
    uint64_t identity, uint64_t column, uint64_t kind, uint64_t first, uint64_t second,
    uint64_t third,
) noexcept nogil:
    cdef Mark parts
    parts.identity = identity
    parts.column = column
    parts.kind = kind
    parts.first = first
    parts.second = second
    parts.third = third
    return XXH3_64bits(&parts, sizeof(Mark))


cdef uint64_t value_mark(const Value* value) noexcept nogil:
    cdef uint64_t sum = value.tag
    cdef uint64_t number
    cdef uint32_t i
    if value.tag == TAG_STRING:
        return XXH3_64bits_withSeed(value.as_.s, value.length, value.tag)
    if value.tag == TAG_LIST:
        for i in range(value.length):
            sum = mark(sum, value_mark(&value.as_.items[i]), 0, 0, 0, 0)
        return sum
    number = <uint64_t>time_us(value) if value.tag == TAG_TIMESTAMP else value.as_.u
    return XXH3_64bits_withSeed(&number, sizeof(number), value.tag)


cdef uint64_t attributes_mark(
    StoreState* store, uint64_t identity, const Row* row, const Layout* layout
) noexcept nogil:
    cdef uint64_t sum = 0
    cdef Value value
    cdef uint32_t i
    for i in range(layout.attributes):
        if bit_get(row, layout.written_at, i):
            value = row_attribute(store, row, layout, i)
            sum += mark(identity, store.attributes[i].hash, 1, row_stamp(row, i),
                        value_mark(&value), row.incarnation)
    return sum


cdef uint64_t numbers_mark(
    StoreState* store, uint64_t identity, const Row* row, const Layout* layout
) noexcept nogil:
    cdef uint64_t sum = 0
    cdef const BucketCell* cells
    cdef uint32_t i
    for i in range(layout.counters):
        if layout.counter_slots[i].value_at and newest_bucket(row, &layout.counter_slots[i])[0]:
            sum += mark(identity, store.counters[i].hash, 2,
                        newest_bucket(row, &layout.counter_slots[i])[0],
                        <uint64_t>newest_value(row, &layout.counter_slots[i]), 0)
    if row.side == NULL:
        return sum
    cells = bucket_cells(row.side)
    for i in range(row.side.count[BUCKETS]):
        sum += mark(identity, store.counters[cells[i].column].hash, 2, cells[i].bucket,
                    <uint64_t>cells[i].value, 0)
    return sum


cdef uint64_t side_mark(StoreState* store, uint64_t identity, const Row* row) noexcept nogil:
    cdef uint64_t sum = 0
    cdef const MomentCell* moments = moment_cells(row.side)
    cdef const HashCell* hashes = hash_cells(row.side)
    cdef const EdgeCell* edges = edge_cells(row.side)
    cdef const CounterColumn* counter
    cdef Value value
    cdef uint32_t i
    for i in range(row.side.count[MOMENTS]):
        counter = &store.counters[moments[i].column]
        value = bits_value(store, counter.type, moments[i].value)
        sum += mark(identity, counter.hash, <uint64_t>moments[i].bucket << 32 | 3,
                    <uint64_t>moments[i].time_us, moments[i].event, value_mark(&value))
    for i in range(row.side.count[HASHES]):
        sum += mark(identity, store.counters[hashes[i].column].hash, 4, hashes[i].bucket,
                    hashes[i].hash, 0)
    for i in range(row.side.count[EDGES]):
        sum += mark(identity, edges[i].other_hash, 5, edges[i].stamp, edges[i].linked,
                    <uint64_t>edges[i].incarnation << 32 | row.incarnation)
    return sum


cdef uint64_t row_mark(StoreState* store, uint64_t identity, const Row* row) noexcept nogil:
    cdef const Layout* layout = store.layouts[row.layout]
    cdef uint64_t sum = attributes_mark(store, identity, row, layout)
    sum += numbers_mark(store, identity, row, layout)
    if row.side != NULL:
        sum += side_mark(store, identity, row)
    if row.flags & ROW_HAD_EVENT:
        sum += mark(identity, row.incarnation, 6, row.touched_s, 0, 0)
    return sum


cdef bint seen_counts(Shard* shard, const SeenEvent* entry) noexcept nogil:
    """Whether the event belongs to a row that lives: what an erasure ended does not count."""
    cdef uint64_t mask = shard.rows_capacity - 1
    cdef uint64_t at = entry.identity & mask
    if shard.rows == NULL:
        return False
    while shard.rows[at].row != NULL:
        if shard.rows[at].hash == entry.identity and (
            <uint16_t>shard.rows[at].row.incarnation == entry.incarnation
        ):
            return True
        at = (at + 1) & mask
    return False


cdef void shard_digest(
    StoreState* store, Shard* shard, uint64_t* applied, uint64_t* rows
) noexcept nogil:
    cdef pair[uint64_t, uint32_t] item
    cdef const SeenEvent* entry
    # What is remembered beyond the horizon differs: it is held for events that are parked.
    cdef int64_t horizon_s = store_horizon_ms(store) // 1000
    cdef uint64_t i
    latch_take(&shard.latch)
    for i in range(shard.rows_capacity):
        if shard.rows[i].row != NULL:
            rows[0] += row_mark(store, shard.rows[i].hash, shard.rows[i].row)
    for i in range(shard.seen_capacity):
        entry = &shard.seen[i]
        if entry.event and <int64_t>entry.time_s >= horizon_s and seen_counts(shard, entry):
            applied[0] += mark(
                entry.identity, entry.event, 7, store.sets[entry.counters].hash, entry.time_s, 0
            )
    if shard.dead != NULL:
        for item in shard.dead[0]:
            rows[0] += mark(item.first, item.second, 8, 0, 0, 0)
    latch_drop(&shard.latch)
