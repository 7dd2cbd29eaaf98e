# Reading: the rows of a person copied under their latches, and merged when a value is asked.

from libc.math cimport exp2, round


cdef int person_init(Person* person, StoreState* store) noexcept nogil:
    """Make a reader's scratch; -1 when memory or the readers' places are used up."""
    cdef int i
    memset(person, 0, sizeof(Person))
    person.store = store
    person.capacity = 4096
    person.buffer = <uint8_t*>malloc(person.capacity)
    if person.buffer == NULL:
        return -1
    for i in range(PINS_MAX):
        if atomic_swap(&store.pins[i].taken, 1) == 0:
            person.pin = &store.pins[i]
            return 0
    free(person.buffer)
    person.buffer = NULL
    return -1


cdef void person_free(Person* person) noexcept nogil:
    if person.pin != NULL:
        atomic_write(&person.pin.epoch, 0)
        atomic_write(&person.pin.taken, 0)
    free(person.buffer)
    person.pin = NULL
    person.buffer = NULL


cdef void person_done(Person* person) noexcept nogil:
    """End a read: its values may be freed from here on.  The next read does so too."""
    person.count = 0
    atomic_release(&person.pin.epoch, 0)


cdef bint person_room(Person* person, size_t more) noexcept nogil:
    cdef uint8_t* buffer
    cdef size_t capacity
    if person.used + more <= person.capacity:
        return True
    capacity = 2 * (person.used + more)
    buffer = <uint8_t*>realloc(person.buffer, capacity)
    if buffer == NULL:
        return False
    person.buffer = buffer
    person.capacity = capacity
    return True


cdef StoreStatus person_copy(Person* person, IdentityRef identity, uint64_t hash) noexcept nogil:
    """Copy one identity's row and side block into the scratch."""
    cdef StoreState* store = person.store
    cdef Shard* shard = shard_of(store, hash)
    cdef StoreStatus status = STORE_UNKNOWN
    cdef RowSlot* slot
    cdef size_t row_size, side_size
    latch_take(&shard.latch)
    person.grounds = (person.grounds ^ shard.grounds) * <uint64_t>0x9E3779B97F4A7C15
    slot = row_find(store, shard, identity, hash)
    if slot != NULL and not row_empty(slot.row):
        row_size = (store.layouts[slot.row.layout].size + identity.length + 7) & ~<size_t>7
        side_size = 0 if slot.row.side == NULL else side_bytes(slot.row.side)
        status = STORE_NO_MEMORY
        if person_room(person, row_size + side_size):
            person.row_at[person.count] = person.used
            person.side_at[person.count] = person.used + row_size if side_size else 0
            memcpy(person.buffer + person.used, slot.row,
                   store.layouts[slot.row.layout].size + identity.length)
            if side_size:
                memcpy(person.buffer + person.used + row_size, slot.row.side, side_size)
            person.used += row_size + ((side_size + 7) & ~<size_t>7)
            person.count += 1
            status = STORE_OK
    latch_drop(&shard.latch)
    return status


cdef void person_settle(Person* person) noexcept nogil:
    """Point into the scratch, which moves no more until the next read."""
    cdef uint32_t i
    for i in range(person.count):
        person.rows[i].row = <Row*>(person.buffer + person.row_at[i])
        person.rows[i].layout = person.store.layouts[person.rows[i].row.layout]
        person.rows[i].side = NULL
        if person.side_at[i]:
            person.rows[i].side = <Side*>(person.buffer + person.side_at[i])


cdef bint person_holds(const Person* person, IdentityRef identity) noexcept nogil:
    cdef const Row* row
    cdef uint32_t i
    for i in range(person.count):
        row = <const Row*>(person.buffer + person.row_at[i])
        if same_identity(row, person.store.layouts[row.layout], identity):
            return True
    return False


cdef StoreStatus person_walk(Person* person) noexcept nogil:
    """Copy the rows that edges lead to, breadth first, up to COMPONENT_MAX."""
    cdef StoreStatus status
    cdef IdentityRef other
    cdef EdgeCell edge
    cdef uint32_t at = 0, i, count
    while at < person.count:
        count = 0
        if person.side_at[at]:
            count = side_count(<const Side*>(person.buffer + person.side_at[at]), EDGES)
        for i in range(count):
            if person.count == COMPONENT_MAX:
                return STORE_OK
            edge = edge_cells(<const Side*>(person.buffer + person.side_at[at]))[i]
            other = edge_identity(person.store, &edge)
            if not edge.linked or person_holds(person, other):
                continue
            status = person_copy(person, other, edge.other_hash)
            if status == STORE_NO_MEMORY:
                return status
        at += 1
    return STORE_OK


cdef StoreStatus store_read(
    StoreState* store, IdentityRef identity, Person* person
) noexcept nogil:
    """Read the person an identity belongs to.

    STORE_UNKNOWN leaves the person empty.  What `person_*` give stays valid until the next
    read with this scratch or `person_done`.
    """
    return store_read_hashed(store, identity, identity_hash(identity), person)


cdef StoreStatus store_read_hashed(
    StoreState* store, IdentityRef identity, uint64_t hash, Person* person
) noexcept nogil:
    """As `store_read`, of an identity whose hash is known."""
    cdef StoreStatus status
    # The pin comes before the first latch: see heap_release.
    atomic_write(&person.pin.epoch, atomic_read(&store.epoch))
    person.count = 0
    person.used = 0
    person.grounds = 0
    person.hash = hash
    status = person_copy(person, identity, hash)
    if status == STORE_OK and person.side_at[0]:
        status = person_walk(person)
    person_settle(person)
    return status


cdef Value person_attribute(
    const Person* person, uint32_t column, Arena* arena
) noexcept nogil:
    """An attribute's value, the latest of the person's rows; null when it is unset."""
    cdef const PersonRow* at
    cdef uint64_t stamp, best_stamp = 0
    cdef bint found = False
    cdef Value value = value_null()
    cdef Value best = value_null()
    cdef uint32_t i
    if person.count == 1:
        return row_attribute(person.store, person.rows[0].row, person.rows[0].layout, column)
    for i in range(person.count):
        at = &person.rows[i]
        if column >= at.layout.attributes or not bit_get(at.row, at.layout.written_at, column):
            continue
        stamp = person_stamp(at, column)
        if found and stamp < best_stamp:
            continue
        value = row_attribute(person.store, at.row, at.layout, column)
        if not found or stamp > best_stamp or compare_stored(&value, &best) > 0:
            best = value
            best_stamp = stamp
            found = True
    return best


cdef uint64_t person_attribute_stamp(const Person* person, uint32_t column) noexcept nogil:
    """The stamp of what `person_attribute` gives; 0 for what was never written."""
    cdef const PersonRow* at
    cdef uint64_t stamp = 0
    cdef uint32_t i
    for i in range(person.count):
        at = &person.rows[i]
        if column < at.layout.attributes and bit_get(at.row, at.layout.written_at, column):
            stamp = max(stamp, person_stamp(at, column))
    return stamp


cdef uint64_t person_stamp(const PersonRow* at, uint32_t column) noexcept nogil:
    cdef uint32_t index = side_find(at.side, STAMPS, column, 0)
    if index < side_count(at.side, STAMPS) and stamp_cells(at.side)[index].column == column:
        return stamp_cells(at.side)[index].stamp
    return at.row.base_stamp


cdef struct BucketRange:
    uint32_t first
    uint32_t last


cdef inline uint32_t bucket_clamped(int64_t number) noexcept nogil:
    return <uint32_t>min(max(number, 0), <int64_t>0xFFFFFFFE)


cdef BucketRange window_at(const CounterColumn* counter, int64_t now_us) noexcept nogil:
    """The buckets that the window covers at `now_us`, both ends included."""
    cdef BucketRange window
    window.first = 1
    window.last = 0xFFFFFFFE
    if counter.resolution_us:
        window.last = bucket_clamped(floor_divide(now_us, counter.resolution_us) + 1)
        window.first = max(1, bucket_clamped(
            floor_divide(now_us - counter.window_us, counter.resolution_us) + 1
        ))
    return window


cdef bint row_number(
    const PersonRow* at, const CounterColumn* counter, uint32_t column, BucketRange window,
    int64_t* number, uint8_t* flags,
) noexcept nogil:
    """Join a numeric counter's buckets within the window into `number`."""
    cdef const CounterSlot* slot = &at.layout.counter_slots[column]
    cdef uint32_t newest = newest_bucket(at.row, slot)[0]
    cdef bint found = newest != 0 and window.first <= newest <= window.last
    cdef uint32_t i, count = side_count(at.side, BUCKETS)
    cdef const BucketCell* cells
    number[0] = newest_value(at.row, slot) if found else 0
    if count == 0:
        return found
    cells = bucket_cells(at.side)
    for i in range(side_find(at.side, BUCKETS, column, window.first), count):
        if cells[i].column != column or cells[i].bucket > window.last:
            break
        if found:
            number[0] = number_joined(counter.aggregate, number[0], cells[i].value, flags)
        else:
            number[0] = cells[i].value
        found = True
    return found


cdef Value person_number(
    const Person* person, const CounterColumn* counter, uint32_t column, BucketRange window,
    bint* overflowed,
) noexcept nogil:
    cdef int64_t total = 0, number = 0
    cdef bint found = False
    cdef uint8_t flags = 0
    cdef uint32_t i
    for i in range(person.count):
        if column < person.rows[i].layout.counters and row_number(
            &person.rows[i], counter, column, window, &number, &flags
        ):
            total = number_joined(counter.aggregate, total, number, &flags) if found else number
            found = True
            # The row remembers that one of its sums wrapped, not which.
            if counter.aggregate == SUMS:
                flags |= person.rows[i].row.flags
    overflowed[0] = (flags & ROW_OVERFLOWED) != 0
    if counter.aggregate == COUNTS or counter.aggregate == SUMS:
        if counter.aggregate == SUMS and counter.type == STORED_DOUBLE:
            return value_double(<double>total / 1e6)
        return value_int(total)
    if not found:
        return value_null()
    if counter.type == STORED_DOUBLE:
        return value_double(unsortable(total))
    if counter.type == STORED_TIMESTAMP:
        return value_timestamp_us(total)
    if counter.type == STORED_BOOL:
        return value_bool(total != 0)
    return value_int(total)


cdef bint moment_before(const MomentCell& a, const MomentCell& b) noexcept nogil:
    return a.time_us < b.time_us or (a.time_us == b.time_us and a.event < b.event)


cdef Value person_moment(
    const Person* person, const CounterColumn* counter, uint32_t column, BucketRange window
) noexcept nogil:
    """The first or the last event's value."""
    cdef const MomentCell* best = NULL
    cdef const MomentCell* cells
    cdef const Side* side
    cdef uint32_t i, j
    for i in range(person.count):
        side = person.rows[i].side
        if side == NULL:
            continue
        cells = moment_cells(side)
        for j in range(side_find(side, MOMENTS, column, window.first), side.count[MOMENTS]):
            if cells[j].column != column or cells[j].bucket > window.last:
                break
            if best == NULL or later(&cells[j], best.time_us, best.event) == (
                counter.aggregate == LAST
            ):
                best = &cells[j]
    return value_null() if best == NULL else bits_value(person.store, counter.type, best.value)


cdef uint32_t gather_cells(
    const Person* person, uint32_t section, uint32_t column, BucketRange window, uint8_t* to
) noexcept nogil:
    """Copy the section's cells of the window, or with `to` NULL count them."""
    cdef const Side* side
    cdef uint32_t i, start, end, total = 0
    cdef uint32_t size = cell_size(section)
    for i in range(person.count):
        side = person.rows[i].side
        if side == NULL:
            continue
        start = side_find(side, section, column, window.first)
        end = side_find(side, section, column, window.last + 1)
        if end <= start:
            continue
        if to != NULL:
            memcpy(to + total * size, side_cells(side, section) + start * size,
                   (end - start) * size)
        total += end - start
    return total


cdef Value person_last_n(
    const Person* person, const CounterColumn* counter, uint32_t column, BucketRange window,
    Arena* arena,
) noexcept nogil:
    """The values of the last n events, the newest first."""
    cdef uint32_t count = gather_cells(person, MOMENTS, column, window, NULL)
    cdef uint32_t i, most = min(count, counter.limit)
    cdef MomentCell* cells = <MomentCell*>arena_take(arena, count * sizeof(MomentCell))
    cdef Value* items = <Value*>arena_take(arena, most * sizeof(Value))
    if cells == NULL or items == NULL:
        return value_error(ERROR_MEMORY, SLOT_NONE)
    gather_cells(person, MOMENTS, column, window, <uint8_t*>cells)
    sort(cells, cells + count, moment_before)
    for i in range(most):
        items[i] = bits_value(person.store, counter.type, cells[count - 1 - i].value)
    return value_list(items, most)


# What a counter that has nothing is read as.
cdef int64_t NO_MOMENTS[1]


cdef enum:
    # So many moments are passed one by one: most counters of people have one or two.
    MOMENTS_PASSED = 8


cdef inline uint32_t moments_end(const Side* side, uint32_t column, uint32_t start) noexcept nogil:
    """Where the moments of a column end that begin at `start`."""
    cdef const MomentCell* cells = moment_cells(side)
    cdef uint32_t far = start + MOMENTS_PASSED
    cdef uint32_t end = start
    if far < side.count[MOMENTS] and cells[far].column == column:
        return side_find(side, MOMENTS, column + 1, 0)
    while end < side.count[MOMENTS] and cells[end].column == column:
        end += 1
    return end


cdef int64_t* person_moments(
    const Person* person, uint32_t column, Arena* arena, uint32_t* count
) noexcept nogil:
    """When the events were that a counter of moments keeps, in no order; NULL without memory."""
    cdef const Side* side
    cdef int64_t* moments
    cdef uint32_t i, j, start, total = 0
    count[0] = 0
    for i in range(person.count):
        side = person.rows[i].side
        if side != NULL and side.count[MOMENTS]:
            start = side_find(side, MOMENTS, column, 0)
            total += moments_end(side, column, start) - start
    # Of most there is nothing.
    if total == 0:
        return NO_MOMENTS
    moments = <int64_t*>arena_take(arena, total * sizeof(int64_t))
    if moments == NULL:
        return NULL
    for i in range(person.count):
        side = person.rows[i].side
        if side != NULL and side.count[MOMENTS]:
            start = side_find(side, MOMENTS, column, 0)
            for j in range(start, moments_end(side, column, start)):
                moments[count[0]] = moment_cells(side)[j].time_us
                count[0] += 1
    return moments


cdef uint32_t moments_after(
    const Side* side, uint32_t column, int64_t from_us, const MomentCell** first
) noexcept nogil:
    """Find a column's moments after a time, and how many there are: they stand by time."""
    cdef const MomentCell* cells
    cdef uint32_t end, start
    first[0] = NULL
    if side_count(side, MOMENTS) == 0:
        return 0
    cells = moment_cells(side)
    end = start = moments_last(side, column)
    while start and cells[start - 1].column == column and cells[start - 1].time_us > from_us:
        start -= 1
    first[0] = cells + start
    return end - start


cdef bint person_cells(
    const Person* person, uint32_t column, int64_t from_us, Arena* arena, MomentCell** cells,
    uint32_t* count,
) noexcept nogil:
    """Copy what a counter of moments keeps after a time, by row; False without memory."""
    cdef const MomentCell* first
    cdef uint32_t i, found, total = 0
    count[0] = 0
    for i in range(person.count):
        total += moments_after(person.rows[i].side, column, from_us, &first)
    # Of most there is nothing.
    if total == 0:
        return True
    cells[0] = <MomentCell*>arena_take(arena, total * sizeof(MomentCell))
    if cells[0] == NULL:
        return False
    for i in range(person.count):
        found = moments_after(person.rows[i].side, column, from_us, &first)
        memcpy(cells[0] + count[0], first, found * sizeof(MomentCell))
        count[0] += found
    return True


cdef const Row* person_row(const Person* person, IdentityRef identity) noexcept nogil:
    """The copy of the row that is an identity's own; NULL where it has none."""
    cdef uint32_t i
    for i in range(person.count):
        if same_identity(person.rows[i].row, person.rows[i].layout, identity):
            return person.rows[i].row
    return NULL


cdef bint hash_before(const HashCell& a, const HashCell& b) noexcept nogil:
    return a.hash < b.hash


cdef int64_t distinct_estimate(uint64_t kth, uint32_t k) noexcept nogil:
    """How many values make their k-th smallest hash so small; more than k at least."""
    cdef double estimate = (k - 1) * 18446744073709551616.0 / <double>max(kth, <uint64_t>1)
    return max(<int64_t>floor(min(estimate, 9e18)), <int64_t>k + 1)


cdef Value person_distinct(
    const Person* person, const CounterColumn* counter, uint32_t column, BucketRange window,
    Arena* arena, bint* approximate,
) noexcept nogil:
    """The number of distinct values: exact, or from the k smallest hashes."""
    cdef uint32_t count = gather_cells(person, HASHES, column, window, NULL)
    cdef uint32_t i, distinct = 0
    cdef HashCell* cells
    if count == 0:
        return value_int(0)
    cells = <HashCell*>arena_take(arena, count * sizeof(HashCell))
    if cells == NULL:
        return value_error(ERROR_MEMORY, SLOT_NONE)
    gather_cells(person, HASHES, column, window, <uint8_t*>cells)
    sort(cells, cells + count, hash_before)
    approximate[0] = cells[count - 1].hash == HASHES_DROPPED
    for i in range(count):
        if cells[i].hash == HASHES_DROPPED or (i and cells[i].hash == cells[i - 1].hash):
            continue
        distinct += 1
        if approximate[0] and distinct == counter.limit:
            return value_int(distinct_estimate(cells[i].hash, counter.limit))
    return value_int(distinct)


cdef Value person_counter(
    const Person* person, uint32_t column, int64_t now_us, Arena* arena, bint* approximate
) noexcept nogil:
    """A counter's value over its window at `now_us`.

    Nothing in the window: 0 for count, sum and distinct, an empty list for last_n, else null.
    """
    cdef const CounterColumn* counter = &person.store.counters[column]
    cdef BucketRange window = window_at(counter, now_us)
    approximate[0] = False
    if is_numeric(counter.aggregate):
        return person_number(person, counter, column, window, approximate)
    if counter.aggregate == LAST_N:
        return person_last_n(person, counter, column, window, arena)
    if counter.aggregate == DISTINCT:
        return person_distinct(person, counter, column, window, arena, approximate)
    return person_moment(person, counter, column, window)


cdef inline void age_add(
    int64_t* ages, BucketRange window, uint32_t bucket, int64_t value
) noexcept nogil:
    # An empty ring's bucket is 0, which no window covers.
    if window.first <= bucket <= window.last and window.last - bucket < RING_BUCKETS_MAX:
        ages[window.last - bucket] += value


cdef struct Ages:
    # How many events each bucket has, by age in whole buckets, the youngest first.
    int64_t counts[RING_BUCKETS_MAX]
    uint32_t buckets
    # Of one bucket, in seconds; 0 where nothing ages.
    double step_s


cdef void ages_empty(const CounterColumn* counter, int64_t now_us, Ages* ages) noexcept nogil:
    """No events in any bucket of the window; one bucket for all time has no age."""
    cdef BucketRange window = window_at(counter, now_us)
    ages.step_s = counter.resolution_us / 1e6
    ages.buckets = 1
    if counter.resolution_us:
        ages.buckets = min(window.last - window.first + 1, <uint32_t>RING_BUCKETS_MAX)
    memset(ages.counts, 0, ages.buckets * sizeof(int64_t))


cdef void person_ages(
    const Person* person, uint32_t column, int64_t now_us, Ages* ages
) noexcept nogil:
    """How many events of a COUNT counter its window has, by age in whole buckets."""
    cdef const CounterColumn* counter = &person.store.counters[column]
    cdef BucketRange window = window_at(counter, now_us)
    cdef uint32_t i, j
    cdef const PersonRow* at
    cdef const BucketCell* cells
    cdef bint overflowed
    ages_empty(counter, now_us, ages)
    if counter.resolution_us == 0:
        ages.counts[0] = person_number(person, counter, column, window, &overflowed).as_.i
        return
    for i in range(person.count):
        at = &person.rows[i]
        if column >= at.layout.counters:
            continue
        age_add(ages.counts, window, newest_bucket(at.row, &at.layout.counter_slots[column])[0],
                newest_value(at.row, &at.layout.counter_slots[column]))
        if side_count(at.side, BUCKETS) == 0:
            continue
        cells = bucket_cells(at.side)
        j = side_find(at.side, BUCKETS, column, window.first)
        for j in range(j, at.side.count[BUCKETS]):
            if cells[j].column != column or cells[j].bucket > window.last:
                break
            age_add(ages.counts, window, cells[j].bucket, cells[j].value)


cdef int64_t decayed_points(
    const Ages* ages, int64_t points, int64_t half_life_s, int64_t* count
) noexcept nogil:
    """Points for each event, halved with each half-life; `count` is how many events there are.

    Rounded half away from zero, once.
    """
    cdef double total = 0.0
    cdef uint32_t i
    count[0] = 0
    for i in range(ages.buckets):
        if ages.counts[i]:
            count[0] += ages.counts[i]
            total += <double>ages.counts[i] * <double>points * (
                exp2(-(i * ages.step_s) / half_life_s) if half_life_s > 0 else 1.0
            )
    return points_bounded(total)


cdef inline int64_t points_bounded(double points) noexcept nogil:
    """Rounded half away from zero, within what an int64 surely holds."""
    return <int64_t>round(min(max(points, -POINTS_MAX), POINTS_MAX))


cdef int64_t person_newest_us(const Person* person) noexcept nogil:
    """The newest event, to the second, or write of an attribute, to the millisecond; -1: nobody's.

    It is of what is stored alone: the same on every node that has stored the same.
    """
    cdef const PersonRow* at
    cdef int64_t newest = -1
    cdef uint32_t i, j
    for i in range(person.count):
        at = &person.rows[i]
        newest = max(newest, <int64_t>at.row.touched_s * 1000000)
        if at.row.written:
            newest = max(newest, <int64_t>(at.row.base_stamp >> STAMP_MS_SHIFT) * 1000)
        for j in range(side_count(at.side, STAMPS)):
            newest = max(newest, <int64_t>(stamp_cells(at.side)[j].stamp >> STAMP_MS_SHIFT) * 1000)
    return newest


cdef int64_t person_last_event_us(const Person* person) noexcept nogil:
    """The person's last event, to the second; -1 when there was none."""
    cdef int64_t last = -1
    cdef uint32_t i
    for i in range(person.count):
        if person.rows[i].row.flags & ROW_HAD_EVENT:
            last = max(last, <int64_t>person.rows[i].row.touched_s * 1000000)
    return last
