# Apply: mutations into rows, in any order and any number of times.
#
# Order of latches: links, then one shard, then a heap shard or the counter sets.  Whatever
# ends an incarnation holds the link latch, so that both halves of an edge go together.

cdef inline void touch(Row* row, int64_t seconds, bint event) noexcept nogil:
    """Remember the last event, or the last write of a row that never had one."""
    seconds = min(max(seconds, 0), <int64_t>EVENT_SECONDS_MAX)
    if event and not (row.flags & ROW_HAD_EVENT):
        row.flags |= ROW_HAD_EVENT
        row.touched_s = 0
    if event == ((row.flags & ROW_HAD_EVENT) != 0) and seconds > row.touched_s:
        row.touched_s = <uint32_t>seconds


cdef inline int64_t stamp_seconds(uint64_t stamp) noexcept nogil:
    return <int64_t>(stamp >> STAMP_MS_SHIFT) // 1000


cdef RowSlot* row_for(
    StoreState* store, Shard* shard, IdentityRef identity, uint64_t hash, uint32_t incarnation,
    bint* created, StoreStatus* status,
) noexcept nogil:
    """The row that a mutation of `incarnation` writes to, under the newest layout.

    NULL with STORE_DEAD when the incarnation is erased, with STORE_UNKNOWN when an older one
    must end first, else with STORE_NO_MEMORY.
    """
    cdef RowSlot* slot = row_find(store, shard, identity, hash)
    cdef int64_t dead
    created[0] = False
    status[0] = STORE_NO_MEMORY
    if slot != NULL:
        if slot.row.incarnation == incarnation:
            return slot if row_relay(store, slot) else NULL
        status[0] = STORE_DEAD if slot.row.incarnation > incarnation else STORE_UNKNOWN
        return NULL
    dead = dead_incarnation(shard, hash)
    if <int64_t>incarnation <= dead:
        status[0] = STORE_DEAD
        return NULL
    # That a node wrote of an incarnation proves the ones before it erased.
    if <int64_t>incarnation > dead + 1:
        dead_put(store, shard, hash, incarnation - 1)
    created[0] = True
    return row_create(store, shard, identity, hash, incarnation)


cdef RowSlot* row_locked(
    StoreState* store, IdentityRef identity, uint64_t hash, uint32_t incarnation,
    bint* created, StoreStatus* status,
) noexcept nogil:
    """`row_for` with the shard's latch held; on NULL it is not held."""
    cdef Shard* shard = shard_of(store, hash)
    cdef RowSlot* slot
    while True:
        latch_take(&shard.latch)
        slot = row_for(store, shard, identity, hash, incarnation, created, status)
        if slot != NULL:
            return slot
        latch_drop(&shard.latch)
        if status[0] != STORE_UNKNOWN:
            return NULL
        store_erase(store, identity, incarnation - 1)


cdef StoreStatus store_set(
    StoreState* store, IdentityRef identity, uint32_t incarnation, uint64_t stamp,
    const AttributeInput* inputs, uint32_t count, bint* created,
) noexcept nogil:
    """Write attributes, each when its stamp is the larger.  `created` tells of a new row."""
    cdef uint64_t hash = identity_hash(identity)
    cdef Layout* layout = atomic_pointer_read(&store.layout)
    cdef StoreStatus status = STORE_OK
    cdef RowSlot* slot
    cdef uint32_t i
    created[0] = False
    if identity.length > STORED_ID_MAX:
        return STORE_INVALID
    for i in range(count):
        if inputs[i].column >= layout.attributes:
            return STORE_INVALID
        if not fits(layout.attribute_slots[inputs[i].column].type, &inputs[i].value):
            return STORE_WRONG_TYPE
    if count == 0:
        return STORE_OK
    slot = row_locked(store, identity, hash, incarnation, created, &status)
    if slot == NULL:
        return status
    status = row_set_all(store, slot.row, inputs, count, stamp)
    latch_drop(&shard_of(store, hash).latch)
    return status


cdef StoreStatus row_set_all(
    StoreState* store, Row* row, const AttributeInput* inputs, uint32_t count, uint64_t stamp
) noexcept nogil:
    cdef const Layout* layout = store.layouts[row.layout]
    cdef StoreStatus status
    cdef uint32_t i
    touch(row, stamp_seconds(stamp), False)
    for i in range(count):
        status = row_set(store, row, layout, &inputs[i], stamp)
        if status != STORE_OK:
            return status
    if stamp != row.base_stamp:
        row_rebase(row, layout, stamp)
    return STORE_OK


cdef StoreStatus check_event(
    StoreState* store, IdentityRef identity, int64_t occurred_us, const CounterInput* inputs,
    uint32_t count,
) noexcept nogil:
    cdef Layout* layout = atomic_pointer_read(&store.layout)
    cdef uint32_t i
    if identity.length > STORED_ID_MAX:
        return STORE_INVALID
    if not 0 <= occurred_us < <int64_t>EVENT_SECONDS_MAX * 1000000:
        return STORE_INVALID
    for i in range(count):
        if inputs[i].column >= layout.counters:
            return STORE_INVALID
        if not counts_value(&store.counters[inputs[i].column], &inputs[i].value):
            return STORE_WRONG_TYPE
    return STORE_OK


cdef StoreStatus store_add(
    StoreState* store, IdentityRef identity, uint32_t incarnation, const uint64_t* key,
    int64_t id_time_ms, int64_t occurred_us, const CounterInput* inputs, uint32_t count,
    int64_t horizon_ms, bint bounded,
) noexcept nogil:
    """Let counters count an event, each once, unless its id is older than `horizon_ms`.

    `key` is the event's id and payload in 128 bits; the identity and its incarnation are
    added here.  A repeat counts in the counters that have not counted it: STORE_DUPLICATE
    when there are none.  `bounded` refuses to remember more than the store may.
    """
    cdef uint64_t hash = identity_hash(identity)
    cdef Shard* shard = shard_of(store, hash)
    cdef StoreStatus status = check_event(store, identity, occurred_us, inputs, count)
    cdef bint created
    cdef RowSlot* slot
    cdef SeenEvent entry
    if status != STORE_OK:
        return status
    if id_time_ms < horizon_ms:
        return STORE_TOO_LATE
    entry.identity = hash
    entry.event = event_hash(key, incarnation)
    entry.time_s = <uint32_t>min(max(id_time_ms // 1000, 0), <int64_t>EVENT_SECONDS_MAX)
    entry.counters = 0
    entry.incarnation = <uint16_t>incarnation
    slot = row_locked(store, identity, hash, incarnation, &created, &status)
    if slot == NULL:
        return status
    status = event_apply(store, shard, slot.row, &entry, occurred_us, inputs, count, bounded)
    if created and row_empty(slot.row):
        row_remove(store, shard, slot)
    latch_drop(&shard.latch)
    return status


cdef StoreStatus store_keep(
    StoreState* store, IdentityRef identity, uint64_t hash, uint32_t incarnation, uint64_t event,
    int64_t occurred_us, const CounterInput* input,
) noexcept nogil:
    """Let a counter of moments keep an event that nothing else counts, however late it comes.

    Its cells tell whether they are there, so that it is not remembered besides.  `hash`: the
    identity's.  `event`: not 0.
    """
    cdef StoreStatus status = check_event(store, identity, occurred_us, input, 1)
    cdef Shard* shard = shard_of(store, hash)
    cdef bint created
    cdef RowSlot* slot
    if status != STORE_OK:
        return status
    slot = row_locked(store, identity, hash, incarnation, &created, &status)
    if slot == NULL:
        return status
    status = row_count(
        store, slot.row, store.layouts[slot.row.layout], input, occurred_us, event
    )
    if status == STORE_OK:
        touch(slot.row, occurred_us // 1000000, True)
    elif created:
        row_remove(store, shard, slot)
    latch_drop(&shard.latch)
    return status


cdef inline uint64_t event_hash(const uint64_t* key, uint32_t incarnation) noexcept nogil:
    cdef uint64_t hash = (key[0] ^ (key[1] * <uint64_t>0x9E3779B97F4A7C15)) + (
        incarnation * <uint64_t>0xD6E8FEB86659FD93
    )
    hash ^= hash >> 32
    hash *= <uint64_t>0xD6E8FEB86659FD93
    hash ^= hash >> 29
    return hash | (hash == 0)


cdef StoreStatus event_apply(
    StoreState* store, Shard* shard, Row* row, SeenEvent* entry, int64_t occurred_us,
    const CounterInput* inputs, uint32_t count, bint bounded,
) noexcept nogil:
    """Count in the counters that are new to the event, and remember that they did."""
    cdef SeenEvent* seen = seen_find(shard, entry.identity, entry.event)
    cdef CounterSet counted
    cdef const CounterSet* before
    cdef StoreStatus status = STORE_OK
    cdef uint32_t i, number
    if seen == NULL:
        if bounded and atomic_read(&store.seen) >= store.seen_max:
            return STORE_FULL_DEDUPE
        if not seen_room(shard, 1):
            return STORE_NO_MEMORY
        before = &store.sets[0]
    else:
        before = &store.sets[seen.counters]
    counted = before[0]
    for i in range(count):
        set_include(store, &counted, inputs[i].column)
    if seen != NULL and counted.hash == before.hash:
        return STORE_DUPLICATE
    number = set_number(store, &counted) if counted.hash else 0
    if number == 0 and counted.hash:
        return STORE_FULL_SETS
    status = event_count(store, row, entry, occurred_us, before, inputs, count)
    if status != STORE_OK:
        return status
    entry.counters = <uint16_t>number
    if seen != NULL:
        seen.counters = <uint16_t>number
    else:
        seen_add(store, shard, entry)
    return status


cdef StoreStatus event_count(
    StoreState* store, Row* row, const SeenEvent* entry, int64_t occurred_us,
    const CounterSet* before, const CounterInput* inputs, uint32_t count,
) noexcept nogil:
    """Count in the counters that are not in `before`."""
    cdef const Layout* layout = store.layouts[row.layout]
    cdef StoreStatus status
    cdef uint32_t i
    for i in range(count):
        if not set_has(before, inputs[i].column):
            status = row_count(store, row, layout, &inputs[i], occurred_us, entry.event)
            if status != STORE_OK:
                return status
    touch(row, occurred_us // 1000000, True)
    return STORE_OK


cdef uint32_t edge_find(
    StoreState* store, const Row* row, IdentityRef other, uint64_t hash
) noexcept nogil:
    """The index of the edge to another identity, the count when there is none."""
    cdef uint32_t count = side_count(row.side, EDGES)
    cdef uint32_t i
    cdef EdgeCell* cells
    cdef Blob* blob
    if count == 0:
        return 0
    cells = edge_cells(row.side)
    for i in range(count):
        if cells[i].other_hash == hash:
            blob = blob_at(store, cells[i].other)
            if blob.length == other.length + 1 and (
                <uint8_t>blob_data(blob)[0] == other.kind
            ) and memcmp(blob_data(blob) + 1, other.id, other.length) == 0:
                return i
    return count


cdef inline IdentityRef edge_identity(StoreState* store, const EdgeCell* cell) noexcept nogil:
    cdef Blob* blob = blob_at(store, cell.other)
    cdef IdentityRef identity
    identity.kind = <uint8_t>blob_data(blob)[0]
    identity.id = blob_data(blob) + 1
    identity.length = blob.length - 1
    return identity


cdef uint32_t edge_blob(StoreState* store, IdentityRef other) noexcept nogil:
    cdef Blob* blob = <Blob*>malloc(sizeof(Blob) + other.length + 1)
    if blob == NULL:
        return 0
    blob.length = other.length + 1
    blob_data(blob)[0] = <char>other.kind
    memcpy(blob_data(blob) + 1, other.id, other.length)
    return heap_own(store, blob)


cdef StoreStatus edge_set(
    StoreState* store, Row* row, IdentityRef other, uint32_t incarnation, uint64_t stamp,
    bint linked,
) noexcept nogil:
    """One half of the pair's register: the larger (stamp, linked) stays."""
    cdef uint64_t hash = identity_hash(other)
    cdef uint32_t index = edge_find(store, row, other, hash)
    cdef uint32_t handle
    cdef EdgeCell* cell
    if index < side_count(row.side, EDGES):
        cell = &edge_cells(row.side)[index]
        if stamp > cell.stamp or (stamp == cell.stamp and <uint32_t>linked > cell.linked):
            cell.stamp = stamp
            cell.linked = linked
        return STORE_OK
    handle = edge_blob(store, other)
    cell = NULL
    if handle:
        cell = <EdgeCell*>side_insert(row, EDGES, index)
    if cell == NULL:
        heap_release(store, handle)
        return STORE_NO_MEMORY
    cell.other_hash = hash
    cell.other = handle
    cell.incarnation = incarnation
    cell.stamp = stamp
    cell.linked = linked
    return STORE_OK


cdef StoreStatus half_link(
    StoreState* store, IdentityRef identity, uint32_t incarnation, IdentityRef other,
    uint32_t other_incarnation, uint64_t stamp, bint linked,
) noexcept nogil:
    cdef uint64_t hash = identity_hash(identity)
    cdef bint created
    cdef StoreStatus status
    cdef RowSlot* slot
    cdef Shard* shard = shard_of(store, hash)
    latch_take(&shard.latch)
    slot = row_for(store, shard, identity, hash, incarnation, &created, &status)
    if slot != NULL:
        status = edge_set(store, slot.row, other, other_incarnation, stamp, linked)
        touch(slot.row, stamp_seconds(stamp), False)
    latch_drop(&shard.latch)
    return status


cdef bint is_dead(StoreState* store, IdentityRef identity, uint32_t incarnation) noexcept nogil:
    cdef uint64_t hash = identity_hash(identity)
    cdef Shard* shard = shard_of(store, hash)
    cdef RowSlot* slot
    cdef bint dead
    latch_take(&shard.latch)
    slot = row_find(store, shard, identity, hash)
    dead = dead_incarnation(shard, hash) >= <int64_t>incarnation
    if slot != NULL and slot.row.incarnation > incarnation:
        dead = True
    latch_drop(&shard.latch)
    return dead


cdef StoreStatus store_link(
    StoreState* store, IdentityRef first, uint32_t first_incarnation, IdentityRef second,
    uint32_t second_incarnation, uint64_t stamp, bint linked,
) noexcept nogil:
    """Write the register of an unordered pair of identities: linked or parted."""
    cdef StoreStatus status = STORE_DEAD
    if first.length > STORED_ID_MAX or second.length > STORED_ID_MAX:
        return STORE_INVALID
    if first.kind == second.kind and first.length == second.length and (
        memcmp(first.id, second.id, first.length) == 0
    ):
        return STORE_INVALID
    latch_take(&store.link_latch)
    # Both ends first: what one end's incarnation proves must not hang on the other end.
    if first_incarnation:
        erase_latched(store, first, first_incarnation - 1)
    if second_incarnation:
        erase_latched(store, second, second_incarnation - 1)
    if not is_dead(store, first, first_incarnation) and (
        not is_dead(store, second, second_incarnation)
    ):
        status = half_link(
            store, first, first_incarnation, second, second_incarnation, stamp, linked
        )
        if status == STORE_OK:
            status = half_link(
                store, second, second_incarnation, first, first_incarnation, stamp, linked
            )
    latch_drop(&store.link_latch)
    return status


cdef void half_unlink(
    StoreState* store, const EdgeCell* edge, IdentityRef identity
) noexcept nogil:
    """Drop the other half of an edge whose one end is gone, and a row that held only it."""
    cdef IdentityRef other = edge_identity(store, edge)
    cdef Shard* shard = shard_of(store, edge.other_hash)
    cdef RowSlot* slot
    cdef uint32_t index
    latch_take(&shard.latch)
    slot = row_find(store, shard, other, edge.other_hash)
    if slot != NULL:
        index = edge_find(store, slot.row, identity, identity_hash(identity))
        if index < side_count(slot.row.side, EDGES):
            heap_release(store, edge_cells(slot.row.side)[index].other)
            side_remove(slot.row, EDGES, index, 1)
            if row_empty(slot.row):
                row_remove(store, shard, slot)
    latch_drop(&shard.latch)


cdef StoreStatus row_detach(
    StoreState* store, Shard* shard, RowSlot* slot, IdentityRef identity
) noexcept nogil:
    """Remove a row and both halves of its edges.  Drops the shard's latch, which is held."""
    cdef uint32_t count = side_count(slot.row.side, EDGES)
    cdef EdgeCell* edges = NULL
    cdef uint32_t i
    if count:
        edges = <EdgeCell*>malloc(count * sizeof(EdgeCell))
        if edges == NULL:
            latch_drop(&shard.latch)
            return STORE_NO_MEMORY
        memcpy(edges, edge_cells(slot.row.side), count * sizeof(EdgeCell))
        # The copied cells keep the blobs that name the other ends.
        side_remove(slot.row, EDGES, 0, count)
    row_remove(store, shard, slot)
    latch_drop(&shard.latch)
    for i in range(count):
        half_unlink(store, &edges[i], identity)
        heap_release(store, edges[i].other)
    free(edges)
    return STORE_OK


cdef StoreStatus erase_latched(
    StoreState* store, IdentityRef identity, uint32_t incarnation
) noexcept nogil:
    """`store_erase` for a caller that holds the link latch."""
    cdef uint64_t hash = identity_hash(identity)
    cdef Shard* shard = shard_of(store, hash)
    cdef RowSlot* slot
    latch_take(&shard.latch)
    if dead_incarnation(shard, hash) < <int64_t>incarnation:
        dead_put(store, shard, hash, incarnation)
    slot = row_find(store, shard, identity, hash)
    if slot != NULL and slot.row.incarnation <= incarnation:
        return row_detach(store, shard, slot, identity)
    latch_drop(&shard.latch)
    return STORE_OK


cdef StoreStatus store_erase(
    StoreState* store, IdentityRef identity, uint32_t incarnation
) noexcept nogil:
    """End an identity's incarnations up to the one named, for good."""
    cdef StoreStatus status
    latch_take(&store.link_latch)
    status = erase_latched(store, identity, incarnation)
    latch_drop(&store.link_latch)
    return status


cdef void store_regrounds(StoreState* store, IdentityRef identity) noexcept nogil:
    """Let no answer stand that rests on what was so before a change; to be called after it."""
    cdef Shard* shard = shard_of(store, identity_hash(identity))
    latch_take(&shard.latch)
    shard.grounds += 1
    latch_drop(&shard.latch)


cdef inline void row_ahead(StoreState* store, IdentityRef identity) noexcept nogil:
    """Have the slot of a row fetched that is soon looked for: it is mostly in no cache.

    Without the latch: only an address is made, and a table that gives way meanwhile is not read.
    """
    cdef uint64_t hash = identity_hash(identity)
    cdef const Shard* shard = shard_of(store, hash)
    fetch_ahead(shard.rows + (hash & (shard.rows_capacity - 1)))


cdef enum RowStep:
    # What is fetched of a row, each step by what the one before has brought.
    ROW_ITSELF = 0
    ROW_SIDE = 1
    ROW_SIDE_REST = 2
    ROW_STEPS = 3


cdef enum:
    # The head of a side and its first cells.
    SIDE_START = 128
    # Bytes of a row, and of its side, that are fetched: the cache has to hold those of many people.
    ROW_AHEAD_MAX = 1024


cdef void rows_ahead(StoreState* store, const uint64_t* hashes, uint32_t count) noexcept nogil:
    """The same for many rows that are soon read, by the hashes of their identities, and whole.

    What one read leads to is fetched for all of them before it is read of the first.
    """
    cdef Shard* shard
    cdef uint32_t step, i
    for i in range(count):
        fetch_ahead(shard_of(store, hashes[i]))
    for i in range(count):
        shard = shard_of(store, hashes[i])
        fetch_ahead(shard.rows + (hashes[i] & (shard.rows_capacity - 1)))
    for step in range(ROW_STEPS):
        for i in range(count):
            row_fetch(store, hashes[i], step)


cdef void row_fetch(StoreState* store, uint64_t hash, uint32_t step) noexcept nogil:
    """Have a row fetched, the start of its side, or the rest, if it is where it is looked for."""
    cdef Shard* shard = shard_of(store, hash)
    cdef RowSlot* slot
    latch_take(&shard.latch)
    if shard.rows != NULL:
        slot = &shard.rows[hash & (shard.rows_capacity - 1)]
        if slot.hash == hash and slot.row != NULL:
            slot_fetch(store, slot, step)
    latch_drop(&shard.latch)


cdef inline void slot_fetch(
    StoreState* store, const RowSlot* slot, uint32_t step
) noexcept nogil:
    """A step of it; the caller holds the shard's latch."""
    cdef const Side* side = slot.row.side if step != ROW_ITSELF else NULL
    cdef size_t size
    if step == ROW_ITSELF:
        # And its id, which stands behind.
        size = atomic_pointer_read(&store.layout).size + CACHE_LINE
        prefetch(slot.row, min(size, <size_t>ROW_AHEAD_MAX))
    elif side != NULL and step == ROW_SIDE:
        prefetch(side, SIDE_START)
    elif side != NULL and side_bytes(side) > SIDE_START:
        size = side_bytes(side) - SIDE_START
        prefetch(<const char*>side + SIDE_START, min(size, <size_t>ROW_AHEAD_MAX))


cdef inline void event_ahead(
    StoreState* store, IdentityRef identity, const uint64_t* key, uint32_t incarnation
) noexcept nogil:
    """The same for what is remembered of an event; `key` as in `store_add`."""
    cdef const Shard* shard = shard_of(store, identity_hash(identity))
    fetch_ahead(shard.seen + (event_hash(key, incarnation) & (shard.seen_capacity - 1)))


cdef uint32_t store_incarnation(StoreState* store, IdentityRef identity) noexcept nogil:
    """The incarnation that a new mutation of the identity must name."""
    cdef uint64_t hash = identity_hash(identity)
    cdef Shard* shard = shard_of(store, hash)
    cdef RowSlot* slot
    cdef uint32_t incarnation
    latch_take(&shard.latch)
    slot = row_find(store, shard, identity, hash)
    if slot != NULL:
        incarnation = slot.row.incarnation
    else:
        incarnation = <uint32_t>(dead_incarnation(shard, hash) + 1)
    latch_drop(&shard.latch)
    return incarnation


cdef bint store_has_room(StoreState* store, IdentityRef identity) noexcept nogil:
    """Whether the identity is stored already or may be new."""
    cdef uint64_t hash = identity_hash(identity)
    cdef Shard* shard = shard_of(store, hash)
    cdef bint known
    if atomic_read(&store.profiles) < store.profiles_max:
        return True
    latch_take(&shard.latch)
    known = row_find(store, shard, identity, hash) != NULL
    latch_drop(&shard.latch)
    return known
