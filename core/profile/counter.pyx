# Counters of a row: rings of buckets in event time.
#
# A numeric counter's newest bucket lies in the row, older ones in the side block; a bucket's
# number is 1 + event time / resolution, so that 0 is an empty ring.  A bucket is dropped only
# because a newer one of its ring exists, so the state does not depend on the order of events.

from libc.math cimport rint

# The end of a set of hashes that has dropped some; no value hashes to it.
cdef uint64_t HASHES_DROPPED = <uint64_t>-1


cdef inline uint32_t bucket_of(const CounterColumn* counter, int64_t occurred_us) noexcept nogil:
    if counter.resolution_us == 0:
        return 1
    return <uint32_t>(occurred_us // counter.resolution_us + 1)


cdef inline int64_t sortable(double value) noexcept nogil:
    """An integer in the order of the doubles; -0.0 is 0.0."""
    cdef int64_t bits = <int64_t>double_bits(value + 0.0)
    return bits ^ ((bits >> 63) & <int64_t>0x7FFFFFFFFFFFFFFF)


cdef inline double unsortable(int64_t bits) noexcept nogil:
    return bits_double(<uint64_t>(bits ^ ((bits >> 63) & <int64_t>0x7FFFFFFFFFFFFFFF)))


cdef inline int64_t micro_units(double value) noexcept nogil:
    """Fixed point, rounded half to even, held within 64 bits."""
    cdef double micro = rint(value * 1e6)
    if micro >= 9.2e18:
        return <int64_t>9200000000000000000
    if micro <= -9.2e18:
        return <int64_t>-9200000000000000000
    return <int64_t>micro


cdef inline int64_t number_stored(const CounterColumn* counter, const Value* value) noexcept nogil:
    """What a numeric counter adds or compares."""
    if counter.aggregate == COUNTS:
        return 1
    if value.tag == TAG_DOUBLE:
        if counter.aggregate == SUMS:
            return micro_units(value.as_.d)
        return sortable(value.as_.d)
    if value.tag == TAG_TIMESTAMP:
        return time_us(value)
    return value.as_.i


cdef inline int64_t number_joined(
    uint8_t aggregate, int64_t a, int64_t b, uint8_t* flags
) noexcept nogil:
    cdef int64_t sum
    if aggregate == MINIMUM:
        return min(a, b)
    if aggregate == MAXIMUM:
        return max(a, b)
    sum = <int64_t>(<uint64_t>a + <uint64_t>b)
    if ((a ^ sum) & (b ^ sum)) < 0:
        flags[0] |= ROW_OVERFLOWED
    return sum


cdef inline int64_t newest_value(const Row* row, const CounterSlot* slot) noexcept nogil:
    if slot.width == 4:
        return (<const uint32_t*>(row_bytes(row) + slot.value_at))[0]
    return (<const int64_t*>(row_bytes(row) + slot.value_at))[0]


cdef inline void newest_set(Row* row, const CounterSlot* slot, int64_t value) noexcept nogil:
    if slot.width == 4:
        (<uint32_t*>(row_bytes(row) + slot.value_at))[0] = <uint32_t>min(value, <int64_t>0xFFFFFFFF)
    else:
        (<int64_t*>(row_bytes(row) + slot.value_at))[0] = value


cdef inline uint32_t* newest_bucket(const Row* row, const CounterSlot* slot) noexcept nogil:
    return <uint32_t*>(row_bytes(row) + slot.bucket_at)


cdef inline uint32_t first_kept(const CounterColumn* counter, uint32_t newest) noexcept nogil:
    return newest - counter.span if newest > counter.span else 1


cdef void buckets_drop(Row* row, uint32_t column, uint32_t kept) noexcept nogil:
    cdef uint32_t start = side_find(row.side, BUCKETS, column, 0)
    cdef uint32_t end = side_find(row.side, BUCKETS, column, kept)
    side_remove(row, BUCKETS, start, end - start)


cdef StoreStatus number_add(
    Row* row, const CounterSlot* slot, const CounterColumn* counter, uint32_t column,
    uint32_t bucket, int64_t number,
) noexcept nogil:
    cdef uint32_t* newest = newest_bucket(row, slot)
    cdef uint32_t kept
    if bucket == newest[0]:
        newest_set(row, slot, number_joined(
            counter.aggregate, newest_value(row, slot), number, &row.flags
        ))
        return STORE_OK
    if bucket < newest[0]:
        return older_add(row, counter, column, bucket, newest[0], number)
    kept = first_kept(counter, bucket)
    if newest[0] >= kept and newest[0] and not older_push(
        row, column, newest[0], newest_value(row, slot)
    ):
        return STORE_NO_MEMORY
    newest[0] = bucket
    newest_set(row, slot, number)
    buckets_drop(row, column, kept)
    return STORE_OK


cdef bint older_push(Row* row, uint32_t column, uint32_t bucket, int64_t value) noexcept nogil:
    cdef uint32_t index = side_find(row.side, BUCKETS, column, bucket)
    cdef BucketCell* cell = <BucketCell*>side_insert(row, BUCKETS, index)
    if cell == NULL:
        return False
    cell.column = column
    cell.bucket = bucket
    cell.value = value
    return True


cdef StoreStatus older_add(
    Row* row, const CounterColumn* counter, uint32_t column, uint32_t bucket, uint32_t newest,
    int64_t number,
) noexcept nogil:
    cdef uint32_t index
    cdef BucketCell* cell
    if bucket < first_kept(counter, newest):
        return STORE_OK
    index = side_find(row.side, BUCKETS, column, bucket)
    if index < side_count(row.side, BUCKETS):
        cell = &bucket_cells(row.side)[index]
        if cell.column == column and cell.bucket == bucket:
            cell.value = number_joined(counter.aggregate, cell.value, number, &row.flags)
            return STORE_OK
    return STORE_OK if older_push(row, column, bucket, number) else STORE_NO_MEMORY


cdef inline uint64_t value_bits(
    StoreState* store, uint8_t type, const Value* value, bint* failed
) noexcept nogil:
    """A value in 64 bits; a string takes a reference to its blob."""
    cdef uint32_t handle
    if type == STORED_STRING:
        handle = heap_intern(store, value.as_.s, value.length)
        failed[0] = handle == 0
        return handle
    if type == STORED_TIMESTAMP:
        return <uint64_t>time_us(value)
    return value.as_.u


cdef inline Value bits_value(StoreState* store, uint8_t type, uint64_t bits) noexcept nogil:
    cdef Blob* blob
    if type == STORED_STRING:
        blob = blob_at(store, <uint32_t>bits)
        return value_string(blob_data(blob), blob.length)
    if type == STORED_TIMESTAMP:
        return value_timestamp_us(<int64_t>bits)
    if type == STORED_DOUBLE:
        return value_double(bits_double(bits))
    if type == STORED_BOOL:
        return value_bool(bits != 0)
    return value_int(<int64_t>bits)


cdef inline bint later(const MomentCell* a, int64_t time_us, uint64_t event) noexcept nogil:
    """Whether the cell's event is later than the other; a tie goes by the event's hash."""
    return a.time_us > time_us or (a.time_us == time_us and a.event > event)


cdef inline bint is_moment(const MomentCell* cell, int64_t time_us, uint64_t event) noexcept nogil:
    return cell.time_us == time_us and cell.event == event


cdef void moments_drop(
    StoreState* store, Row* row, uint8_t type, uint32_t start, uint32_t count
) noexcept nogil:
    cdef uint32_t i
    if count == 0:
        return
    if type == STORED_STRING:
        for i in range(start, start + count):
            heap_release(store, <uint32_t>moment_cells(row.side)[i].value)
    side_remove(row, MOMENTS, start, count)


cdef uint32_t section_newest(
    const Side* side, uint32_t section, uint32_t column
) noexcept nogil:
    """The newest bucket of a ring that lies in the side block only; 0 for an empty one."""
    cdef uint32_t end = side_find(side, section, column, 0xFFFFFFFF)
    cdef const uint8_t* cell
    if end == 0:
        return 0
    cell = side_cells(side, section) + (end - 1) * cell_size(section)
    return (<const uint32_t*>cell)[1] if (<const uint32_t*>cell)[0] == column else 0


cdef inline uint32_t moments_newest(
    const Side* side, uint32_t column, uint32_t end
) noexcept nogil:
    """As `section_newest`, of a column whose moments end there."""
    if end == 0 or moment_cells(side)[end - 1].column != column:
        return 0
    return moment_cells(side)[end - 1].bucket


cdef inline uint32_t moment_place(
    const Side* side, uint32_t start, uint32_t end, int64_t occurred_us, uint64_t event
) noexcept nogil:
    """Where an event goes among the cells of its bucket, which stand by time."""
    # From the end: most events come in their order.
    while end > start and later(&moment_cells(side)[end - 1], occurred_us, event):
        end -= 1
    return end


cdef StoreStatus moment_add(
    StoreState* store, Row* row, const CounterColumn* counter, uint32_t column, uint32_t bucket,
    int64_t occurred_us, uint64_t event, const Value* value,
) noexcept nogil:
    """Keep the event when it is among the first, the last or the last n of its bucket, once."""
    cdef uint32_t most = counter.limit if counter.aggregate == LAST_N else 1
    cdef uint32_t newest = section_newest(row.side, MOMENTS, column)
    cdef uint32_t start, end, at
    cdef bint failed = False
    cdef uint64_t bits
    cdef MomentCell* cell
    if newest and bucket < first_kept(counter, newest):
        return STORE_OK
    start = side_find(row.side, MOMENTS, column, bucket)
    end = side_find(row.side, MOMENTS, column, bucket + 1)
    at = moment_place(row.side, start, end, occurred_us, event)
    if at > start and is_moment(&moment_cells(row.side)[at - 1], occurred_us, event):
        return STORE_OK
    # Cells are in the order of time: the surplus one is the last for FIRST, else the first.
    if end - start >= most and at == (end if counter.aggregate == FIRST else start):
        return STORE_OK
    bits = value_bits(store, counter.type, value, &failed)
    cell = NULL
    if not failed:
        cell = <MomentCell*>side_insert(row, MOMENTS, at)
    if cell == NULL:
        if counter.type == STORED_STRING:
            heap_release(store, <uint32_t>bits)
        return STORE_NO_MEMORY
    cell.column = column
    cell.bucket = bucket
    cell.time_us = occurred_us
    cell.event = event
    cell.value = bits
    if end - start >= most:
        moments_drop(store, row, counter.type, end if counter.aggregate == FIRST else start, 1)
    if bucket > newest:
        moments_age(store, row, counter, column, bucket)
    return STORE_OK


cdef void moments_age(
    StoreState* store, Row* row, const CounterColumn* counter, uint32_t column, uint32_t bucket
) noexcept nogil:
    """Drop what no window reaches any more, now that there is a newer bucket."""
    cdef uint32_t start = side_find(row.side, MOMENTS, column, 0)
    cdef uint32_t end = side_find(row.side, MOMENTS, column, first_kept(counter, bucket))
    moments_drop(store, row, counter.type, start, end - start)


cdef StoreStatus numbers_add(
    StoreState* store, Row* row, const CounterColumn* counter, uint32_t column, uint32_t bucket,
    int64_t occurred_us, uint64_t event, const Value* numbers,
) noexcept nogil:
    """Keep each of an event's numbers as `moment_add` does, in their order.

    Where a tie goes by the event's hash, that of each is one more than that of the one before.
    Without memory none is kept.
    """
    cdef uint32_t end = moments_last(row.side, column)
    cdef uint32_t newest = moments_newest(row.side, column, end)
    cdef uint32_t count = numbers.length
    cdef uint32_t start = end
    cdef uint32_t at, dropped, left_out
    cdef const MomentCell* cells
    if count == 0 or (newest and bucket < first_kept(counter, newest)):
        return STORE_OK
    if side_room(row, count * cell_size(MOMENTS)) == NULL:
        return STORE_NO_MEMORY
    # Most are of the newest bucket, or begin one.
    if bucket <= newest:
        start = side_find(row.side, MOMENTS, column, bucket)
    if bucket < newest:
        end = side_find(row.side, MOMENTS, column, bucket + 1)
    cells = moment_cells(row.side)
    at = moment_place(row.side, start, end, occurred_us, event)
    # Where their hashes wrap they do not rise with their order.
    if event + count < event or (
        at < end and not later(&cells[at], occurred_us, event + count - 1)
    ) or (at > start and is_moment(&cells[at - 1], occurred_us, event)):
        # Another event's hash lies between theirs, or some of them are there.
        return numbers_add_each(store, row, counter, column, bucket, occurred_us, event, numbers)
    # The first ones of the bucket go, theirs included.
    dropped = max(end - start + count, counter.limit) - counter.limit
    left_out = max(dropped, at - start) - (at - start)
    if left_out < count:
        numbers_put(row, column, bucket, occurred_us, event, numbers, at, left_out)
        side_remove(row, MOMENTS, start, dropped - left_out)
        if bucket > newest:
            moments_age(store, row, counter, column, bucket)
    return STORE_OK


cdef StoreStatus numbers_add_each(
    StoreState* store, Row* row, const CounterColumn* counter, uint32_t column, uint32_t bucket,
    int64_t occurred_us, uint64_t event, const Value* numbers,
) noexcept nogil:
    cdef uint32_t i
    for i in range(numbers.length):
        # There is room.
        moment_add(
            store, row, counter, column, bucket, occurred_us, event + i, &numbers.as_.items[i]
        )
    return STORE_OK


cdef void numbers_put(
    Row* row, uint32_t column, uint32_t bucket, int64_t occurred_us, uint64_t event,
    const Value* numbers, uint32_t at, uint32_t first,
) noexcept nogil:
    """Put the numbers from `first` on into cells at `at`, for which there is room."""
    cdef MomentCell* cell = <MomentCell*>side_open(
        row.side, MOMENTS, at, numbers.length - first
    )
    cdef uint32_t i
    for i in range(first, numbers.length):
        cell.column = column
        cell.bucket = bucket
        cell.time_us = occurred_us
        cell.event = event + i
        cell.value = numbers.as_.items[i].as_.u
        cell += 1


cdef uint64_t distinct_hash(uint8_t type, const Value* value) noexcept nogil:
    cdef uint64_t bits
    cdef uint64_t hash
    if value.tag == TAG_STRING:
        hash = XXH3_64bits(value.as_.s, value.length)
    else:
        bits = value.as_.u
        if value.tag == TAG_DOUBLE:
            bits = double_bits(value.as_.d + 0.0)
        elif value.tag == TAG_TIMESTAMP:
            bits = <uint64_t>time_us(value)
        hash = XXH3_64bits_withSeed(&bits, sizeof(bits), type)
    return hash - (hash == HASHES_DROPPED)


cdef StoreStatus hash_insert(
    Row* row, uint32_t column, uint32_t bucket, uint32_t at, uint64_t hash
) noexcept nogil:
    cdef HashCell* cell = <HashCell*>side_insert(row, HASHES, at)
    if cell == NULL:
        return STORE_NO_MEMORY
    cell.column = column
    cell.bucket = bucket
    cell.hash = hash
    return STORE_OK


cdef uint32_t hash_find(
    const Side* side, uint32_t start, uint32_t end, uint64_t hash
) noexcept nogil:
    """The first cell of a bucket's sorted hashes that is not below `hash`."""
    cdef uint32_t low = start, high = end, middle
    cdef const HashCell* cells = hash_cells(side) if side != NULL else NULL
    while low < high:
        middle = (low + high) >> 1
        if cells[middle].hash < hash:
            low = middle + 1
        else:
            high = middle
    return low


cdef StoreStatus distinct_add(
    Row* row, const CounterColumn* counter, uint32_t column, uint32_t bucket, uint64_t hash
) noexcept nogil:
    """Keep the `limit` smallest hashes of the bucket, and a mark when there were more."""
    cdef uint32_t newest = section_newest(row.side, HASHES, column)
    cdef uint32_t start, end, at
    cdef bint dropped
    cdef StoreStatus status
    if newest and bucket < first_kept(counter, newest):
        return STORE_OK
    start = side_find(row.side, HASHES, column, bucket)
    end = side_find(row.side, HASHES, column, bucket + 1)
    dropped = end > start and hash_cells(row.side)[end - 1].hash == HASHES_DROPPED
    at = hash_find(row.side, start, end, hash)
    if at < end and hash_cells(row.side)[at].hash == hash:
        return STORE_OK
    if end - start - dropped >= counter.limit:
        if not dropped:
            status = hash_insert(row, column, bucket, end, HASHES_DROPPED)
            if status != STORE_OK:
                return status
            end += 1
        if at >= start + counter.limit:
            return STORE_OK
        side_remove(row, HASHES, start + counter.limit - 1, 1)
    status = hash_insert(row, column, bucket, at, hash)
    if bucket > newest and status == STORE_OK:
        start = side_find(row.side, HASHES, column, 0)
        end = side_find(row.side, HASHES, column, first_kept(counter, bucket))
        side_remove(row, HASHES, start, end - start)
    return status


cdef StoreStatus row_count(
    StoreState* store, Row* row, const Layout* layout, const CounterInput* input,
    int64_t occurred_us, uint64_t event,
) noexcept nogil:
    """Let one counter count one event."""
    cdef const CounterColumn* counter = &store.counters[input.column]
    cdef const CounterSlot* slot = &layout.counter_slots[input.column]
    cdef uint32_t bucket = bucket_of(counter, occurred_us)
    if is_numeric(counter.aggregate):
        return number_add(
            row, slot, counter, input.column, bucket, number_stored(counter, &input.value)
        )
    if counter.aggregate == DISTINCT:
        return distinct_add(
            row, counter, input.column, bucket, distinct_hash(counter.type, &input.value)
        )
    if input.value.tag == TAG_LIST:
        return numbers_add(
            store, row, counter, input.column, bucket, occurred_us, event, &input.value
        )
    return moment_add(
        store, row, counter, input.column, bucket, occurred_us, event, &input.value
    )


cdef bint counts_value(const CounterColumn* counter, const Value* value) noexcept nogil:
    """Whether the counter can take the value; one of moments takes a list of numbers, too."""
    cdef uint32_t i
    if counter.aggregate == COUNTS:
        return True
    if value.tag == TAG_LIST and counter.aggregate == LAST_N and counter.type == STORED_INT:
        for i in range(value.length):
            if value.as_.items[i].tag != TAG_INT:
                return False
        return True
    if value.tag == TAG_NULL or not fits(counter.type, value):
        return False
    return value.tag != TAG_DOUBLE or value.as_.d - value.as_.d == 0.0
