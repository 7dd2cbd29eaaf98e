# Shards: the tables of rows, of seen events and of dead incarnations.

from libcpp.unordered_set cimport unordered_set


cdef inline void prefetch(const void* data, size_t size) noexcept nogil:
    """Have so many bytes fetched, as far as that is worth it."""
    cdef size_t at
    size = min(size, <size_t>PREFETCH_BYTES_MAX)
    for at in range(0, size, 64):
        fetch_ahead(<const char*>data + at)


cdef inline uint64_t identity_hash(IdentityRef identity) noexcept nogil:
    return XXH3_64bits_withSeed(identity.id, identity.length, identity.kind)


cdef inline int64_t store_horizon_ms(const StoreState* store) noexcept nogil:
    """Ids older than that are not recognised any more: milliseconds since 1970."""
    return <int64_t>atomic_read(&store.horizon_ms)


cdef inline Shard* shard_of(StoreState* store, uint64_t hash) noexcept nogil:
    return &store.shards[hash >> SHARD_SHIFT]


cdef inline bint same_identity(
    const Row* row, const Layout* layout, IdentityRef identity
) noexcept nogil:
    return row.kind == identity.kind and row.id_length == identity.length and (
        memcmp(row_id(row, layout), identity.id, identity.length) == 0
    )


cdef inline RowSlot* row_find(
    StoreState* store, Shard* shard, IdentityRef identity, uint64_t hash
) noexcept nogil:
    """The slot of an identity's row, NULL when it has none."""
    cdef uint64_t mask = shard.rows_capacity - 1
    cdef uint64_t at = hash & mask
    if shard.rows == NULL:
        return NULL
    while shard.rows[at].row != NULL:
        if shard.rows[at].hash == hash:
            # Its id is most likely there: one wait for memory instead of two.
            fetch_ahead(row_id(shard.rows[at].row, atomic_pointer_read(&store.layout)))
            if same_identity(
                shard.rows[at].row, store.layouts[shard.rows[at].row.layout], identity
            ):
                return &shard.rows[at]
        at = (at + 1) & mask
    return NULL


cdef RowSlot* rows_put(RowSlot* rows, uint64_t mask, uint64_t hash, Row* row) noexcept nogil:
    cdef uint64_t at = hash & mask
    while rows[at].row != NULL:
        at = (at + 1) & mask
    rows[at].hash = hash
    rows[at].row = row
    return &rows[at]


cdef bint rows_grow(Shard* shard) noexcept nogil:
    cdef uint64_t capacity = max(2 * shard.rows_capacity, <uint64_t>TABLE_START)
    cdef RowSlot* rows = <RowSlot*>calloc(capacity, sizeof(RowSlot))
    cdef uint64_t i
    if rows == NULL:
        return False
    for i in range(shard.rows_capacity):
        if shard.rows[i].row != NULL:
            rows_put(rows, capacity - 1, shard.rows[i].hash, shard.rows[i].row)
    free(shard.rows)
    shard.rows = rows
    shard.rows_capacity = capacity
    return True


cdef RowSlot* row_create(
    StoreState* store, Shard* shard, IdentityRef identity, uint64_t hash, uint32_t incarnation
) noexcept nogil:
    cdef Row* row = row_new(atomic_pointer_read(&store.layout), identity, incarnation)
    cdef RowSlot* slot
    if row == NULL:
        return NULL
    slot = row_place(store, shard, hash, row)
    if slot == NULL:
        free(row)
    return slot


cdef RowSlot* row_place(StoreState* store, Shard* shard, uint64_t hash, Row* row) noexcept nogil:
    """Take a row into the shard; NULL when memory is short."""
    # 7/10 full at most: probes stay short.
    if (<uint64_t>shard.rows_count + 1) * 10 > shard.rows_capacity * 7 and not rows_grow(shard):
        return NULL
    shard.rows_count += 1
    atomic_add(&store.profiles, 1)
    atomic_add(&store.layout_rows[row.layout], 1)
    return rows_put(shard.rows, shard.rows_capacity - 1, hash, row)


cdef void row_clear(StoreState* store, Row* row) noexcept nogil:
    """Give back what the row refers to."""
    cdef const Layout* layout = store.layouts[row.layout]
    cdef uint32_t i
    for i in range(layout.attributes):
        if slot_width(layout.attribute_slots[i].type) == 4:
            heap_release(store, (<uint32_t*>(row_bytes(row) + layout.attribute_slots[i].at))[0])
    for i in range(side_count(row.side, MOMENTS)):
        if store.counters[moment_cells(row.side)[i].column].type == STORED_STRING:
            heap_release(store, <uint32_t>moment_cells(row.side)[i].value)
    for i in range(side_count(row.side, EDGES)):
        heap_release(store, edge_cells(row.side)[i].other)
    free(row.side)
    row.side = NULL


cdef void row_remove(StoreState* store, Shard* shard, RowSlot* slot) noexcept nogil:
    """Free a row and close the gap that its slot leaves."""
    cdef uint64_t mask = shard.rows_capacity - 1
    cdef uint64_t at = slot - shard.rows
    cdef uint64_t following = (at + 1) & mask
    atomic_add(&store.layout_rows[slot.row.layout], <uint64_t>-1)
    atomic_add(&store.profiles, <uint64_t>-1)
    row_clear(store, slot.row)
    free(slot.row)
    while shard.rows[following].row != NULL:
        if ((following - shard.rows[following].hash) & mask) >= ((following - at) & mask):
            shard.rows[at] = shard.rows[following]
            at = following
        following = (following + 1) & mask
    shard.rows[at].row = NULL
    shard.rows_count -= 1


cdef bint row_relay(StoreState* store, RowSlot* slot) noexcept nogil:
    """Bring a row to the newest layout."""
    cdef Layout* layout = atomic_pointer_read(&store.layout)
    cdef Row* old = slot.row
    cdef Row* wide
    if old.layout == layout.number:
        return True
    wide = row_widened(old, store.layouts[old.layout], layout)
    if wide == NULL:
        return False
    atomic_add(&store.layout_rows[old.layout], <uint64_t>-1)
    atomic_add(&store.layout_rows[layout.number], 1)
    free(old)
    slot.row = wide
    return True


cdef inline bint row_empty(const Row* row) noexcept nogil:
    return row.written == 0 and not (row.flags & ROW_HAD_EVENT) and (
        side_count(row.side, EDGES) == 0
    )


cdef inline int64_t dead_incarnation(Shard* shard, uint64_t hash) noexcept nogil:
    """The highest dead incarnation, -1 when none is.  The caller holds the latch."""
    if shard.dead == NULL or shard.dead.count(hash) == 0:
        return -1
    return shard.dead[0][hash]


cdef inline void dead_put(
    StoreState* store, Shard* shard, uint64_t hash, uint32_t incarnation
) noexcept nogil:
    if shard.dead == NULL:
        shard.dead = new unordered_map[uint64_t, uint32_t]()
    if shard.dead.count(hash) == 0:
        atomic_add(&store.tombstones, 1)
    shard.dead[0][hash] = incarnation
    atomic_add(&store.erasures, 1)


cdef void seen_put(SeenEvent* seen, uint64_t mask, const SeenEvent* entry) noexcept nogil:
    cdef uint64_t at = entry.event & mask
    while seen[at].event:
        at = (at + 1) & mask
    seen[at] = entry[0]


cdef bint seen_rebuild(
    Shard* shard, uint64_t capacity, int64_t before_s, const unordered_set[uint64_t]* held
) noexcept nogil:
    """Move the seen events to a table of that capacity, without those before a time.

    Those in `held` (NULL for none) stay all the same.
    """
    cdef SeenEvent* seen = <SeenEvent*>calloc(capacity, sizeof(SeenEvent))
    cdef uint64_t i, count = 0
    cdef uint32_t oldest_s = <uint32_t>-1
    if seen == NULL:
        return False
    for i in range(shard.seen_capacity):
        if shard.seen[i].event and (
            <int64_t>shard.seen[i].time_s >= before_s
            or (held != NULL and held.count(shard.seen[i].event) != 0)
        ):
            seen_put(seen, capacity - 1, &shard.seen[i])
            oldest_s = min(oldest_s, shard.seen[i].time_s)
            count += 1
    free(shard.seen)
    shard.seen = seen
    shard.seen_capacity = capacity
    shard.seen_count = count
    shard.oldest_s = oldest_s
    return True


cdef bint seen_room(Shard* shard, uint64_t more) noexcept nogil:
    """Make room for so many more seen events, at once; False without memory."""
    cdef uint64_t capacity = max(shard.seen_capacity, <uint64_t>TABLE_START)
    while (shard.seen_count + more) * 10 > capacity * 7:
        capacity *= 2
    return capacity == shard.seen_capacity or seen_rebuild(shard, capacity, 0, NULL)


cdef void seen_add(StoreState* store, Shard* shard, const SeenEvent* entry) noexcept nogil:
    """Remember an event that the shard does not know, once there is room."""
    seen_put(shard.seen, shard.seen_capacity - 1, entry)
    if shard.seen_count == 0 or entry.time_s < shard.oldest_s:
        shard.oldest_s = entry.time_s
    shard.seen_count += 1
    atomic_add(&store.seen, 1)


cdef inline SeenEvent* seen_find(Shard* shard, uint64_t identity, uint64_t event) noexcept nogil:
    cdef uint64_t mask = shard.seen_capacity - 1
    cdef uint64_t at = event & mask
    if shard.seen == NULL:
        return NULL
    while shard.seen[at].event:
        if shard.seen[at].event == event and shard.seen[at].identity == identity:
            return &shard.seen[at]
        at = (at + 1) & mask
    return NULL


cdef uint32_t set_number(StoreState* store, const CounterSet* wanted) noexcept nogil:
    """The number of a set of counters, 1 and up; 0 when there are too many sets."""
    cdef uint32_t number = 0
    latch_take(&store.sets_latch)
    if store.sets_by_hash.count(wanted.hash):
        number = store.sets_by_hash[0][wanted.hash]
    elif store.sets_count < COUNTER_SETS_MAX:
        store.sets_count += 1
        number = store.sets_count
        store.sets[number] = wanted[0]
        store.sets_by_hash[0][wanted.hash] = number
    latch_drop(&store.sets_latch)
    return number


cdef inline bint set_has(const CounterSet* counters, uint32_t column) noexcept nogil:
    return (counters.words[column >> 6] >> (column & 63)) & 1


cdef inline void set_include(
    StoreState* store, CounterSet* counters, uint32_t column
) noexcept nogil:
    if not set_has(counters, column):
        counters.words[column >> 6] |= <uint64_t>1 << (column & 63)
        counters.hash += store.counters[column].hash
