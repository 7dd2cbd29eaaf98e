"""Stripes: a shard's state as a nextbest.v1.SnapshotStripe, written from a copy.

Under the shard's latch bytes are moved, and nothing else.  The copy's pin keeps the strings that
it names, as a reader's does.
"""

cdef enum:
    STRIPE_BYTES_MAX = 1073741824
    # A shard that has outgrown the room made for it is copied anew.
    STRIPE_TRIES_MAX = 16
    # Slots of a table whose rows are fetched ahead.
    FETCH_SLOTS = 8


cdef struct DeadIdentity:
    uint64_t identity
    uint64_t incarnation


# In the person's buffer: rows, each before its side block; then events, then dead identities.
cdef struct StripeCopy:
    Person person
    uint64_t rows
    uint64_t seen
    uint64_t dead


cdef inline size_t row_padded(const Row* row, const Layout* layout) noexcept nogil:
    return (layout.size + row.id_length + 7) & ~<size_t>7


cdef bint shard_is_empty(Shard* shard) noexcept nogil:
    cdef bint empty
    latch_take(&shard.latch)
    empty = shard.rows_count == 0 and shard.seen_count == 0 and shard.dead == NULL
    latch_drop(&shard.latch)
    return empty


cdef size_t shard_bytes(StoreState* store, Shard* shard) noexcept nogil:
    """What a copy of the shard takes.  The caller holds the latch."""
    cdef size_t size = shard.seen_count * sizeof(SeenEvent)
    cdef uint64_t i
    cdef Row* row
    if shard.dead != NULL:
        size += shard.dead.size() * sizeof(DeadIdentity)
    for i in range(shard.rows_capacity):
        fetch_ahead(shard.rows[(i + FETCH_SLOTS) & (shard.rows_capacity - 1)].row)
        row = shard.rows[i].row
        if row != NULL:
            size += row_padded(row, store.layouts[row.layout])
            if row.side != NULL:
                size += side_bytes(row.side)
    return size


cdef bint rows_copy(StoreState* store, Shard* shard, StripeCopy* copy) noexcept nogil:
    """Copy the rows and their side blocks, which come to lie behind them."""
    cdef Person* to = &copy.person
    cdef size_t row_size, side_size
    cdef uint64_t i
    cdef Row* row
    cdef Row* copied
    for i in range(shard.rows_capacity):
        row = shard.rows[i].row
        if row == NULL:
            continue
        row_size = row_padded(row, store.layouts[row.layout])
        side_size = 0 if row.side == NULL else side_bytes(row.side)
        if to.used + row_size + side_size > to.capacity:
            return False
        copied = <Row*>(to.buffer + to.used)
        memcpy(copied, row, store.layouts[row.layout].size + row.id_length)
        to.used += row_size
        if side_size:
            copied.side = <Side*>(to.buffer + to.used)
            memcpy(copied.side, row.side, side_size)
            to.used += side_size
        copy.rows += 1
    return True


cdef bint shard_copy(StoreState* store, Shard* shard, StripeCopy* copy) noexcept nogil:
    """Copy the shard; False when the room is too small.  The caller holds the latch."""
    cdef Person* to = &copy.person
    cdef pair[uint64_t, uint32_t] item
    cdef DeadIdentity dead
    cdef uint64_t i
    to.used = copy.rows = copy.seen = copy.dead = 0
    if not rows_copy(store, shard, copy):
        return False
    if to.used + shard.seen_count * sizeof(SeenEvent) > to.capacity:
        return False
    for i in range(shard.seen_capacity):
        if shard.seen[i].event:
            memcpy(to.buffer + to.used, &shard.seen[i], sizeof(SeenEvent))
            to.used += sizeof(SeenEvent)
            copy.seen += 1
    if shard.dead == NULL:
        return True
    if to.used + shard.dead.size() * sizeof(DeadIdentity) > to.capacity:
        return False
    for item in shard.dead[0]:
        dead.identity = item.first
        dead.incarnation = item.second
        memcpy(to.buffer + to.used, &dead, sizeof(dead))
        to.used += sizeof(dead)
        copy.dead += 1
    return True


cdef bint stripe_copy(StoreState* store, Shard* shard, StripeCopy* copy) noexcept nogil:
    """Copy the shard under its latch, into room that was made before."""
    cdef size_t size
    cdef bint copied
    cdef int _try
    for _try in range(STRIPE_TRIES_MAX):
        latch_take(&shard.latch)
        size = shard_bytes(store, shard)
        latch_drop(&shard.latch)
        copy.person.used = 0
        if not person_room(&copy.person, size):
            return False
        # Its pages are there before the latch is taken.
        memset(copy.person.buffer, 0, size)
        latch_take(&shard.latch)
        copied = shard_copy(store, shard, copy)
        latch_drop(&shard.latch)
        if copied:
            return True
    return False


cdef void stripe_write(StoreState* store, int number, Writer* writer) noexcept nogil:
    """Append a shard's SnapshotStripe; the writer has failed without memory or readers' places."""
    cdef StripeCopy copy
    writer.most = STRIPE_BYTES_MAX
    if shard_is_empty(&store.shards[number]):
        return
    if person_init(&copy.person, store):
        writer.failed = True
        return
    # The pin comes before the first latch: see heap_release.
    atomic_write(&copy.person.pin.epoch, atomic_read(&store.epoch))
    if stripe_copy(store, &store.shards[number], &copy):
        writer_room(writer, copy.person.used)
        copy_write(store, &copy, writer)
    else:
        writer.failed = True
    person_free(&copy.person)


cdef void copy_write(StoreState* store, const StripeCopy* copy, Writer* writer) noexcept nogil:
    cdef const uint8_t* at = copy.person.buffer
    cdef const Row* row
    cdef uint64_t _number
    for _number in range(copy.rows):
        row = <const Row*>at
        row_write(store, row, writer)
        at += row_padded(row, store.layouts[row.layout])
        if row.side != NULL:
            at += side_bytes(row.side)
    events_write(store, <const SeenEvent*>at, copy.seen, writer)
    at += copy.seen * sizeof(SeenEvent)
    erased_write(<const DeadIdentity*>at, copy.dead, writer)


cdef void row_write(StoreState* store, const Row* row, Writer* writer) noexcept nogil:
    """A StripeRow."""
    cdef const Layout* layout = store.layouts[row.layout]
    cdef size_t start = message_open(writer, 1)
    identity_write(writer, row_identity(row, layout))
    write_uint(writer, 3, row.incarnation)
    write_uint(writer, 4, (row.flags & ROW_HAD_EVENT) != 0)
    write_uint(writer, 5, (row.flags & ROW_OVERFLOWED) != 0)
    write_uint(writer, 6, row.touched_s)
    write_fixed64(writer, 7, row.base_stamp)
    row_write_attributes(store, row, layout, writer)
    row_write_numbers(row, layout, writer)
    if row.side != NULL:
        row_write_moments(store, row.side, writer)
        row_write_hashes(row.side, writer)
        row_write_links(store, row.side, writer)
    message_close(writer, start)


cdef inline void identity_write(Writer* writer, IdentityRef identity) noexcept nogil:
    """The kind and the id of a StripeRow or a StripeLink."""
    cdef Text id
    id.data = identity.id
    id.length = identity.length
    write_uint(writer, 1, identity.kind)
    write_text(writer, 2, id)


cdef void row_write_attributes(
    StoreState* store, const Row* row, const Layout* layout, Writer* writer
) noexcept nogil:
    cdef uint32_t i, j = 0, stamps = side_count(row.side, STAMPS)
    cdef const StampCell* cells = stamp_cells(row.side) if stamps else NULL
    cdef Value value
    cdef size_t start
    for i in range(layout.attributes):
        if not bit_get(row, layout.written_at, i):
            continue
        start = message_open(writer, 8)
        write_uint(writer, 1, i)
        if j < stamps and cells[j].column == i:
            put_tag(writer, 2, WIRE_FIXED64)
            put_raw(writer, &cells[j].stamp, 8)
            j += 1
        value = row_attribute(store, row, layout, i)
        if value.tag != TAG_NULL:
            write_value(writer, 3, &value)
        message_close(writer, start)


cdef void row_write_numbers(const Row* row, const Layout* layout, Writer* writer) noexcept nogil:
    cdef uint32_t i, start, at = 0, count = side_count(row.side, BUCKETS)
    cdef const BucketCell* cells = bucket_cells(row.side) if count else NULL
    cdef const CounterSlot* slot
    for i in range(layout.counters):
        start = at
        while at < count and cells[at].column == i:
            at += 1
        slot = &layout.counter_slots[i]
        if slot.value_at and newest_bucket(row, slot)[0]:
            number_write(
                writer, i, newest_bucket(row, slot)[0], newest_value(row, slot), cells + start,
                at - start,
            )


cdef inline uint64_t zigzag(int64_t number) noexcept nogil:
    return (<uint64_t>number << 1) ^ <uint64_t>(number >> 63)


cdef inline int64_t unzigzag(uint64_t bits) noexcept nogil:
    return <int64_t>(bits >> 1) ^ -<int64_t>(bits & 1)


cdef void number_write(
    Writer* writer, uint32_t column, uint32_t newest, int64_t value, const BucketCell* cells,
    uint32_t count,
) noexcept nogil:
    """A StripeNumber."""
    cdef size_t start = message_open(writer, 9)
    cdef size_t inner
    cdef uint32_t i
    write_uint(writer, 1, column)
    inner = message_open(writer, 2)
    for i in range(count):
        put_varint(writer, cells[i].bucket)
    put_varint(writer, newest)
    message_close(writer, inner)
    inner = message_open(writer, 3)
    for i in range(count):
        put_varint(writer, zigzag(cells[i].value))
    put_varint(writer, zigzag(value))
    message_close(writer, inner)
    message_close(writer, start)


cdef void row_write_moments(StoreState* store, const Side* side, Writer* writer) noexcept nogil:
    cdef const MomentCell* cells = moment_cells(side)
    cdef Value value
    cdef size_t start
    cdef uint32_t i
    for i in range(side.count[MOMENTS]):
        start = message_open(writer, 10)
        write_uint(writer, 1, cells[i].column)
        write_uint(writer, 2, cells[i].bucket)
        write_uint(writer, 3, <uint64_t>cells[i].time_us)
        write_fixed64(writer, 4, cells[i].event)
        value = bits_value(store, store.counters[cells[i].column].type, cells[i].value)
        write_value(writer, 5, &value)
        message_close(writer, start)


cdef void row_write_hashes(const Side* side, Writer* writer) noexcept nogil:
    cdef const HashCell* cells = hash_cells(side)
    cdef uint32_t first = 0, end, i, count = side.count[HASHES]
    cdef bint dropped
    cdef size_t start
    while first < count:
        end = first + 1
        while end < count and cells[end].column == cells[first].column and (
            cells[end].bucket == cells[first].bucket
        ):
            end += 1
        dropped = cells[end - 1].hash == HASHES_DROPPED
        start = message_open(writer, 11)
        write_uint(writer, 1, cells[first].column)
        write_uint(writer, 2, cells[first].bucket)
        packed_open(writer, 3, 8 * <uint64_t>(end - first - dropped))
        for i in range(first, end - dropped):
            put_raw(writer, &cells[i].hash, 8)
        write_uint(writer, 4, dropped)
        message_close(writer, start)
        first = end


cdef void row_write_links(StoreState* store, const Side* side, Writer* writer) noexcept nogil:
    cdef const EdgeCell* cells = edge_cells(side)
    cdef size_t start
    cdef uint32_t i
    for i in range(side.count[EDGES]):
        start = message_open(writer, 12)
        identity_write(writer, edge_identity(store, &cells[i]))
        write_uint(writer, 3, cells[i].incarnation)
        write_fixed64(writer, 4, cells[i].stamp)
        write_uint(writer, 5, cells[i].linked)
        message_close(writer, start)


cdef inline void packed_open(Writer* writer, uint32_t field, uint64_t size) noexcept nogil:
    """Begin a packed field of so many bytes."""
    put_tag(writer, field, WIRE_BYTES)
    put_varint(writer, size)


cdef void events_write(
    StoreState* store, const SeenEvent* events, uint64_t count, Writer* writer
) noexcept nogil:
    """The sets and the events of a SnapshotStripe."""
    cdef vector[uint32_t] places
    cdef size_t start
    cdef uint64_t i
    if count == 0:
        return
    sets_write(store, events, count, &places, writer)
    packed_open(writer, 3, 8 * count)
    for i in range(count):
        put_raw(writer, &events[i].identity, 8)
    packed_open(writer, 4, 8 * count)
    for i in range(count):
        put_raw(writer, &events[i].event, 8)
    packed_open(writer, 5, 4 * count)
    for i in range(count):
        put_raw(writer, &events[i].time_s, 4)
    start = message_open(writer, 6)
    for i in range(count):
        put_varint(writer, places[events[i].counters])
    message_close(writer, start)
    start = message_open(writer, 7)
    for i in range(count):
        put_varint(writer, events[i].incarnation)
    message_close(writer, start)


cdef void sets_write(
    StoreState* store, const SeenEvent* events, uint64_t count, vector[uint32_t]* places,
    Writer* writer,
) noexcept nogil:
    """Write each set that the events name, once; gives the sets' places, from 1."""
    cdef uint32_t place = 0, column
    cdef uint64_t i
    cdef size_t start, inner
    cdef const CounterSet* counters
    latch_take(&store.sets_latch)
    places.assign(store.sets_count + 1, 0)
    latch_drop(&store.sets_latch)
    for i in range(count):
        if events[i].counters == 0 or places[0][events[i].counters]:
            continue
        place += 1
        places[0][events[i].counters] = place
        counters = &store.sets[events[i].counters]
        start = message_open(writer, 2)
        inner = message_open(writer, 1)
        for column in range(COUNTERS_MAX):
            if set_has(counters, column):
                put_varint(writer, column)
        message_close(writer, inner)
        message_close(writer, start)


cdef void erased_write(
    const DeadIdentity* dead, uint64_t count, Writer* writer
) noexcept nogil:
    cdef size_t start
    cdef uint64_t i
    if count == 0:
        return
    packed_open(writer, 8, 8 * count)
    for i in range(count):
        put_raw(writer, &dead[i].identity, 8)
    start = message_open(writer, 9)
    for i in range(count):
        put_varint(writer, dead[i].incarnation)
    message_close(writer, start)


cdef bytes stripe_bytes(StoreState* store, int number):
    """A shard's SnapshotStripe."""
    cdef Writer writer
    memset(&writer, 0, sizeof(Writer))
    with nogil:
        stripe_write(store, number, &writer)
    try:
        if writer.failed:
            raise errors.NoMemoryError(f"stripe {number}")
        return (<char*>writer.data)[:writer.length]
    finally:
        writer_free(&writer)
