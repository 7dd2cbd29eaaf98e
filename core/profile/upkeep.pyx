# Upkeep in slices: re-laying, expiry, the horizon, scans and the account of memory.

cdef void store_relay(StoreState* store, uint64_t rows_max) noexcept nogil:
    """Re-lay rows from where the last slice ended; latches are held for a few rows each."""
    cdef uint64_t moved = 0, at
    cdef Shard* shard
    cdef int i, _number
    cdef uint16_t newest = <uint16_t>atomic_pointer_read(&store.layout).number
    for i in range(SHARDS):
        shard = &store.shards[(store.relay_at + i) % SHARDS]
        at = 0
        while moved < rows_max and at < shard.rows_capacity:
            latch_take(&shard.latch)
            for _number in range(256):
                if at >= shard.rows_capacity or moved >= rows_max:
                    break
                if shard.rows[at].row != NULL and shard.rows[at].row.layout != newest:
                    moved += row_relay(store, &shard.rows[at])
                at += 1
            latch_drop(&shard.latch)
        if moved >= rows_max:
            store.relay_at = (store.relay_at + i) % SHARDS
            return


cdef int64_t store_oldest(StoreState* store) noexcept nogil:
    """Seconds of the oldest event remembered, -1 without one: each shard keeps its own."""
    cdef int64_t oldest = -1
    cdef Shard* shard
    cdef int i
    for i in range(SHARDS):
        shard = &store.shards[i]
        latch_take(&shard.latch)
        if shard.seen_count and (oldest < 0 or <int64_t>shard.oldest_s < oldest):
            oldest = shard.oldest_s
        latch_drop(&shard.latch)
    return oldest


cdef uint64_t store_horizon(
    StoreState* store, int64_t before_ms, const unordered_set[uint64_t]* held
) noexcept nogil:
    """Drop ids older than that, to the second: an id within the second is kept.

    So are the events of `held`, which will come again: what has counted them must be known then.
    """
    cdef uint64_t dropped = 0, before
    cdef Shard* shard
    cdef int i
    atomic_write(&store.horizon_ms, <uint64_t>before_ms)
    for i in range(SHARDS):
        shard = &store.shards[i]
        latch_take(&shard.latch)
        before = shard.seen_count
        # Short of memory the table stays as it is: the horizon alone refuses what is older.
        if before and <int64_t>shard.oldest_s < before_ms // 1000 and seen_rebuild(
            shard, shard.seen_capacity, before_ms // 1000, held
        ):
            dropped += before - shard.seen_count
        latch_drop(&shard.latch)
    atomic_add(&store.seen, <uint64_t>-<int64_t>dropped)
    return dropped


cdef int64_t shard_expire(
    StoreState* store, int number, uint8_t kind, int64_t before_s
) noexcept nogil:
    """Remove the shard's rows of a kind last touched before a time; -1 without memory."""
    cdef Shard* shard = &store.shards[number]
    cdef int64_t removed = 0
    cdef uint64_t at = 0
    cdef char id[STORED_ID_MAX]
    cdef IdentityRef identity
    cdef Row* row
    latch_take(&store.link_latch)
    latch_take(&shard.latch)
    while at < shard.rows_capacity:
        row = shard.rows[at].row
        if row == NULL or row.kind != kind or <int64_t>row.touched_s >= before_s:
            at += 1
            continue
        # The row goes while its id is still needed for the other halves of its edges, and
        # the gap it leaves is closed from behind: look at this slot again.
        identity = row_identity(row, store.layouts[row.layout])
        memcpy(id, identity.id, identity.length)
        identity.id = id
        if row_detach(store, shard, &shard.rows[at], identity) != STORE_OK:
            latch_drop(&store.link_latch)
            return -1
        removed += 1
        latch_take(&shard.latch)
    latch_drop(&shard.latch)
    latch_drop(&store.link_latch)
    return removed


cdef int64_t store_expire(StoreState* store, uint8_t kind, int64_t before_s) noexcept nogil:
    """How many rows went; -1 without memory."""
    cdef int64_t removed = 0, found
    cdef int i
    for i in range(SHARDS):
        found = shard_expire(store, i, kind, before_s)
        if found < 0:
            return -1
        removed += found
    return removed


cdef void store_hashes(
    StoreState* store, uint64_t first, uint64_t most, vector[uint64_t]* hashes
) noexcept nogil:
    """Whole shards' hashes of rows from `first` on, sorted, until there are more than `most`."""
    cdef int i
    for i in range(<int>(first >> SHARD_SHIFT), SHARDS):
        if hashes.size() > most:
            return
        shard_hashes(&store.shards[i], first, hashes)


cdef list shard_stale(StoreState* store, int number, uint8_t kind, int64_t before_s):
    """The ids of the shard's rows of a kind last touched before a time."""
    cdef Shard* shard = &store.shards[number]
    cdef vector[char] ids
    cdef vector[uint32_t] lengths
    cdef IdentityRef identity
    cdef uint64_t i
    cdef size_t at = 0
    cdef Row* row
    if shard.rows_count == 0:
        # Most are empty in a small store; a row that comes meanwhile is not stale.
        return []
    with nogil:
        latch_take(&shard.latch)
        for i in range(shard.rows_capacity):
            row = shard.rows[i].row
            if row != NULL and row.kind == kind and <int64_t>row.touched_s < before_s:
                identity = row_identity(row, store.layouts[row.layout])
                ids.insert(ids.end(), identity.id, identity.id + identity.length)
                lengths.push_back(identity.length)
        latch_drop(&shard.latch)
    found = []
    for i in range(lengths.size()):
        found.append(ids.data()[at:at + lengths[i]])
        at += lengths[i]
    return found


cdef void shard_hashes(Shard* shard, uint64_t first, vector[uint64_t]* hashes) noexcept nogil:
    """Append the hashes of the shard's rows from `first` on, sorted, each once."""
    cdef uint64_t i
    cdef size_t start = hashes.size(), kept = start
    latch_take(&shard.latch)
    for i in range(shard.rows_capacity):
        if shard.rows[i].row != NULL and shard.rows[i].hash >= first:
            hashes.push_back(shard.rows[i].hash)
    latch_drop(&shard.latch)
    sort(hashes.begin() + start, hashes.end())
    for i in range(start, hashes.size()):
        if i == start or hashes[0][i] != hashes[0][i - 1]:
            hashes[0][kept] = hashes[0][i]
            kept += 1
    hashes.resize(kept)


cdef list shard_identities(StoreState* store, Shard* shard, uint64_t hash):
    """The identities of that hash: one, but for a collision."""
    cdef vector[char] ids
    cdef uint8_t kinds[8]
    cdef uint32_t lengths[8]
    cdef int count = 0, i
    cdef uint64_t mask, at
    cdef Row* row
    cdef IdentityRef identity
    with nogil:
        latch_take(&shard.latch)
        mask = shard.rows_capacity - 1
        at = hash & mask
        while shard.rows != NULL and shard.rows[at].row != NULL and count < 8:
            row = shard.rows[at].row
            if shard.rows[at].hash == hash and not row_empty(row):
                identity = row_identity(row, store.layouts[row.layout])
                ids.insert(ids.end(), identity.id, identity.id + identity.length)
                kinds[count] = identity.kind
                lengths[count] = identity.length
                count += 1
            at = (at + 1) & mask
        latch_drop(&shard.latch)
    found = []
    at = 0
    for i in range(count):
        found.append((kinds[i], ids.data()[at:at + lengths[i]]))
        at += lengths[i]
    return found


cdef struct Account:
    uint64_t rows
    uint64_t row_bytes
    uint64_t id_bytes
    uint64_t side_bytes
    uint64_t sides
    uint64_t tables
    uint64_t seen_bytes
    uint64_t dead
    uint64_t overflowed


cdef void shard_account(
    Shard* shard, Account* account, vector[uint64_t]* rows, vector[uint64_t]* sides
) noexcept nogil:
    cdef uint64_t i, size
    cdef Row* row
    latch_take(&shard.latch)
    for i in range(shard.rows_capacity):
        row = shard.rows[i].row
        if row == NULL:
            continue
        # The allocator's own header is 8 bytes.
        size = malloc_usable_size(row) + 8 - row.id_length
        account.rows += 1
        account.overflowed += (row.flags & ROW_OVERFLOWED) != 0
        account.row_bytes += size
        account.id_bytes += row.id_length
        rows.push_back(size)
        size = 0 if row.side == NULL else malloc_usable_size(row.side) + 8
        account.sides += row.side != NULL
        account.side_bytes += size
        sides.push_back(size)
    account.tables += shard.rows_capacity * sizeof(RowSlot)
    account.seen_bytes += shard.seen_capacity * sizeof(SeenEvent)
    account.dead += shard.dead.size() if shard.dead != NULL else 0
    latch_drop(&shard.latch)


cdef dict store_memory(StoreState* store):
    cdef Account account
    cdef vector[uint64_t] rows, sides
    cdef uint64_t heap_bytes = 0, heap_tables = 0, row_median, side_median
    cdef uint32_t sets
    cdef int i
    memset(&account, 0, sizeof(Account))
    with nogil:
        for i in range(SHARDS):
            shard_account(&store.shards[i], &account, &rows, &sides)
        for i in range(HEAP_SHARDS):
            latch_take(&store.heap[i].latch)
            heap_bytes += store.heap[i].bytes
            heap_tables += store.heap[i].capacity * sizeof(uint32_t) + (
                store.heap[i].next * sizeof(Blob*)
            )
            latch_drop(&store.heap[i].latch)
        latch_take(&store.sets_latch)
        sets = store.sets_count
        latch_drop(&store.sets_latch)
        row_median = median(&rows)
        side_median = median(&sides)
    return {
        "profiles": account.rows,
        "row_bytes": account.row_bytes,
        "row_bytes_median": row_median,
        "id_bytes": account.id_bytes,
        "side_bytes": account.side_bytes,
        "side_bytes_median": side_median,
        "string_bytes": heap_bytes + heap_tables,
        "table_bytes": account.tables,
        "dedupe": atomic_read(&store.seen),
        "dedupe_bytes": account.seen_bytes,
        "counter_sets": sets,
        "erased": account.dead,
        "overflowed": account.overflowed,
        "layout": store.layout.number,
    }
