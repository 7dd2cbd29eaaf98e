"""Tapes: what a decision has read of a person, kept so that it can be decided again.

Attributes and counters are what expressions are computed from: with them, the request and the
playbook, a decision is the same bytes again.  A tape is fields of nextbest.v1.DecisionRecord.
"""

cdef enum:
    # The fields of a DecisionRecord that a tape's parts are, and those of an Input.
    RECORD_INPUT = 5
    RECORD_UNSET = 10
    RECORD_EMPTY = 11
    INPUT_OF_ATTRIBUTE = 1
    INPUT_OF_COUNTER = 2
    # On a tape only: counters that hold nothing but for those that follow, and one that does;
    # moments that are not encoded yet.
    READ_EMPTY = 100
    READ_NOT_EMPTY = 101
    READ_MOMENTS = 102
    INPUT_VALUE = 3
    INPUT_AGES = 4
    INPUT_MOMENTS = 5
    INPUT_OF_BUDGET = 6
    INPUT_LEFT = 7
    # Events of one age: with all ages together no int64 is passed.
    REPLAY_COUNT_MAX = 1099511627776
    # Of a budget, used, held or left: more than any is.
    BUDGET_AMOUNT_MAX = 2305843009213693952


cdef enum ReadForm:
    # All there is of it, for a null.
    READ_HEAD = 0
    # A value follows, and the bytes of a string.
    READ_VALUE = 1
    # So many bytes follow as the value's length says: of lists, ages and moments there are few.
    READ_BYTES = 2


cdef struct TapeRead:
    # One read: its head, and more by its form.
    uint32_t index
    # An INPUT_OF_ or a READ_.
    uint16_t of
    # A ReadForm.
    uint16_t form
    Value value


cdef enum:
    # Of a TapeRead, what stands before its value.
    READ_HEAD_BYTES = 8


cdef struct Tape:
    # Reads as they came: whoever decides has better to do than to write messages.
    Writer reads


cdef struct TapeEntry:
    # As read; TAG_ABSENT where the tape has none.
    Value value
    # For a counter whose events count by age: its pairs, which may be none.
    const uint8_t* ages
    uint32_t ages_length
    bint has_ages
    # The moments of a cap's events, which may be none.
    const uint8_t* moments
    uint32_t moments_length
    bint has_moments


cdef enum:
    # Reads that are named; more of one decision are left out.
    LACKING_MAX = 64


cdef struct Lacking:
    # Reads that a record has nothing of, each once: of INPUT_OF_ATTRIBUTE and the like, and where.
    uint16_t of[LACKING_MAX]
    uint32_t index[LACKING_MAX]
    uint32_t count


cdef struct Replay:
    # Entries by the playbook's attributes and counters.
    TapeEntry* attributes
    TapeEntry* counters
    # By the playbook's budgets.
    BudgetView* budgets
    bint person_known
    Lacking lacking


cdef void replay_lacks(Replay* replay, uint16_t of, uint32_t index) noexcept nogil:
    """Note a read that the record has nothing of."""
    cdef Lacking* lacking = &replay.lacking
    cdef uint32_t i
    for i in range(lacking.count):
        if lacking.of[i] == of and lacking.index[i] == index:
            return
    if lacking.count < LACKING_MAX:
        lacking.of[lacking.count] = of
        lacking.index[lacking.count] = index
        lacking.count += 1


cdef inline void tape_begin(Tape* tape) noexcept nogil:
    writer_reset(&tape.reads)


cdef inline void tape_put(
    Tape* tape, uint16_t of, uint32_t index, const Value* value
) noexcept nogil:
    cdef Writer* reads = &tape.reads
    cdef size_t start
    if value.tag == TAG_NULL:
        tape_null(tape, of, index)
        return
    if value.tag == TAG_LIST:
        start = tape_open(tape, of, index)
        write_value(reads, INPUT_VALUE, value)
        tape_close(tape, start)
        return
    tape_value(tape, of, index, READ_VALUE, value)
    if value.tag == TAG_STRING:
        put_raw(reads, value.as_.s, value.length)


cdef inline uint64_t read_head(uint16_t of, uint32_t index, uint16_t form) noexcept nogil:
    """What stands before a read's value, as a TapeRead has it in little-endian memory."""
    return index | (<uint64_t>of << 32) | (<uint64_t>form << 48)


cdef inline void tape_value(
    Tape* tape, uint16_t of, uint32_t index, uint16_t form, const Value* value
) noexcept nogil:
    cdef Writer* reads = &tape.reads
    cdef uint64_t head = read_head(of, index, form)
    cdef uint64_t what = value_head(value)
    cdef uint8_t* at
    if writer_room(reads, sizeof(TapeRead)):
        at = reads.data + reads.length
        # Before what is written, which may be the writer's own for all the compiler knows.
        reads.length += sizeof(TapeRead)
        memcpy(at, &head, READ_HEAD_BYTES)
        memcpy(at + READ_HEAD_BYTES, &what, sizeof(what))
        memcpy(at + READ_HEAD_BYTES + sizeof(what), &value.as_, sizeof(Payload))


cdef inline void tape_null(Tape* tape, uint16_t of, uint32_t index) noexcept nogil:
    """Note a read of nothing: of most attributes, and of most counters of moments."""
    cdef uint64_t head = read_head(of, index, READ_HEAD)
    put_raw(&tape.reads, &head, READ_HEAD_BYTES)


cdef inline void tape_bytes(
    Tape* tape, uint16_t of, uint32_t index, const void* data, size_t length
) noexcept nogil:
    """Keep bytes that `write_reads` knows how to write."""
    cdef Value value = value_string(NULL, <uint32_t>length)
    tape_value(tape, of, index, READ_BYTES, &value)
    put_raw(&tape.reads, data, length)


cdef inline size_t tape_open(Tape* tape, uint16_t of, uint32_t index) noexcept nogil:
    """Begin a read whose bytes are encoded at once; give what it returns to tape_close."""
    tape_bytes(tape, of, index, NULL, 0)
    return tape.reads.length


cdef inline void tape_close(Tape* tape, size_t start) noexcept nogil:
    cdef Writer* reads = &tape.reads
    cdef Value value = value_string(NULL, <uint32_t>(reads.length - start))
    cdef uint64_t what = value_head(&value)
    if not reads.failed:
        memcpy(reads.data + start - sizeof(Value), &what, sizeof(what))


cdef void tape_counters(Tape* tape, const Indexes* counters) noexcept nogil:
    """Counters that hold nothing, but for those that `tape_not_empty` names after.

    As pairs of a first one and how many follow one another: caps have one for each action.
    """
    tape_bytes(tape, READ_EMPTY, 0, counters.items, counters.count * sizeof(uint32_t))


cdef inline void tape_not_empty(Tape* tape, uint32_t counter) noexcept nogil:
    tape_null(tape, READ_NOT_EMPTY, counter)


cdef inline void tape_attribute(Tape* tape, uint32_t index, const Value* value) noexcept nogil:
    tape_put(tape, INPUT_OF_ATTRIBUTE, index, value)


cdef inline void tape_counter(Tape* tape, uint32_t index, const Value* value) noexcept nogil:
    tape_put(tape, INPUT_OF_COUNTER, index, value)


cdef void tape_ages(Tape* tape, uint32_t index, const Ages* ages) noexcept nogil:
    """The buckets that are not empty, as pairs of age and count."""
    cdef Writer* reads = &tape.reads
    cdef size_t start = tape_open(tape, INPUT_OF_COUNTER, index)
    cdef size_t pairs = message_open(reads, INPUT_AGES)
    cdef uint32_t i
    for i in range(ages.buckets):
        if ages.counts[i]:
            put_varint(reads, i)
            put_varint(reads, <uint64_t>ages.counts[i])
    message_close(reads, pairs)
    tape_close(tape, start)


cdef void tape_moments(
    Tape* tape, uint32_t index, const int64_t* moments, uint32_t count
) noexcept nogil:
    if count:
        tape_bytes(tape, READ_MOMENTS, index, moments, count * sizeof(int64_t))
    else:
        tape_null(tape, INPUT_OF_COUNTER, index)


cdef void tape_budget(Tape* tape, uint32_t index, const BudgetView* view) noexcept nogil:
    cdef Writer* reads = &tape.reads
    cdef size_t start = tape_open(tape, INPUT_OF_BUDGET, index)
    cdef size_t listed = message_open(reads, INPUT_LEFT)
    put_varint(reads, <uint64_t>view.used)
    put_varint(reads, <uint64_t>view.held)
    put_varint(reads, <uint64_t>view.left)
    put_varint(reads, view.more)
    put_varint(reads, view.paced)
    message_close(reads, listed)
    tape_close(tape, start)


cdef void replay_budget(BudgetView* view, Text left) noexcept nogil:
    """What a tape has of a budget; nothing where it cannot have been read."""
    cdef Reader reader = reader_of(left.data, left.length)
    cdef BudgetView read
    memset(&read, 0, sizeof(BudgetView))
    read.used = <int64_t>read_varint(&reader)
    read.held = <int64_t>read_varint(&reader)
    read.left = <int64_t>read_varint(&reader)
    read.more = read_varint(&reader) != 0
    # Records of before have no more.
    read.paced = reader.at < reader.end and read_varint(&reader) != 0
    read.known = True
    if not reader.failed and min(read.used, read.held, read.left) >= 0 and (
        max(read.used, read.held, read.left) < BUDGET_AMOUNT_MAX
    ):
        view[0] = read


cdef void write_reads(
    Writer* record, const uint8_t* at, size_t length, Writer* unset, Writer* empty
) noexcept nogil:
    """Reads as fields of a nextbest.v1.DecisionRecord.

    Most attributes are unset and most counters hold nothing: a number is less than a message.
    """
    cdef const uint8_t* end = at + length
    cdef TapeRead read
    unset.length = empty.length = 0
    while at < end:
        at = next_read(at, &read)
        if read.of == READ_EMPTY:
            at = write_empty(empty, at - read.value.length, at, end)
        elif read.of == READ_MOMENTS:
            write_moments(record, &read, at - read.value.length)
        elif read.form == READ_HEAD:
            put_varint(unset if read.of == INPUT_OF_ATTRIBUTE else empty, read.index + 1)
        else:
            write_read(record, &read, at - read_bytes_of(&read))
    write_packed(record, RECORD_UNSET, unset)
    write_packed(record, RECORD_EMPTY, empty)
    record.failed |= unset.failed or empty.failed


cdef inline uint32_t read_bytes_of(const TapeRead* read) noexcept nogil:
    """How many bytes follow a read's value."""
    return read.value.length if read.form == READ_BYTES or read.value.tag == TAG_STRING else 0


cdef inline const uint8_t* next_read(const uint8_t* at, TapeRead* read) noexcept nogil:
    """Give a read, and where the next one begins."""
    memcpy(read, at, READ_HEAD_BYTES)
    if read.form == READ_HEAD:
        read.value = value_null()
        return at + READ_HEAD_BYTES
    memcpy(read, at, sizeof(TapeRead))
    return at + sizeof(TapeRead) + read_bytes_of(read)


cdef const uint8_t* write_empty(
    Writer* empty, const uint8_t* counters, const uint8_t* at, const uint8_t* end
) noexcept nogil:
    """The counters up to `at` without those that the reads at `at` name; gives where these end."""
    cdef const uint8_t* first = at
    cdef const uint8_t* following = at
    cdef TapeRead read
    cdef uint32_t pair[2]
    cdef uint32_t i
    while following < end:
        at = following
        following = next_read(at, &read)
        if read.of != READ_NOT_EMPTY:
            break
        at = following
    while counters < first:
        memcpy(pair, counters, sizeof(pair))
        for i in range(pair[0], pair[0] + pair[1]):
            if not tape_names(first, at, i):
                put_varint(empty, i + 1)
        counters += sizeof(pair)
    return at


cdef bint tape_names(const uint8_t* at, const uint8_t* end, uint32_t counter) noexcept nogil:
    cdef TapeRead read
    while at < end:
        at = next_read(at, &read)
        if read.index == counter:
            return True
    return False


cdef inline void write_read(Writer* record, TapeRead* read, const uint8_t* bytes) noexcept nogil:
    """An Input: what it is of, by its place in the playbook, from 1."""
    cdef size_t start = message_open(record, RECORD_INPUT)
    write_uint(record, read.of, read.index + 1)
    if read.form == READ_BYTES:
        put_raw(record, bytes, read.value.length)
    else:
        if read.value.tag == TAG_STRING:
            read.value.as_.s = <const char*>bytes
        write_value(record, INPUT_VALUE, &read.value)
    message_close(record, start)


cdef void write_moments(Writer* record, const TapeRead* read, const uint8_t* bytes) noexcept nogil:
    """An Input: when the events were that a counter of moments keeps."""
    cdef size_t start = message_open(record, RECORD_INPUT)
    cdef size_t listed
    cdef uint64_t moment
    cdef uint32_t i
    write_uint(record, INPUT_OF_COUNTER, read.index + 1)
    listed = message_open(record, INPUT_MOMENTS)
    for i in range(read.value.length // 8):
        memcpy(&moment, bytes + 8 * i, 8)
        put_varint(record, moment)
    message_close(record, listed)
    message_close(record, start)


cdef inline void write_packed(
    Writer* record, uint32_t field, const Writer* numbers
) noexcept nogil:
    if numbers.length:
        put_tag(record, field, WIRE_BYTES)
        put_varint(record, numbers.length)
        put_raw(record, numbers.data, numbers.length)


cdef void replay_ages(const TapeEntry* entry, Ages* ages) noexcept nogil:
    """Lay the pairs of a tape over empty buckets."""
    cdef Reader reader = reader_of(<const char*>entry.ages, entry.ages_length)
    cdef uint64_t age
    cdef uint64_t count
    while reader.at < reader.end and not reader.failed:
        age = read_varint(&reader)
        count = min(read_varint(&reader), <uint64_t>REPLAY_COUNT_MAX)
        if age < ages.buckets:
            ages.counts[age] = min(
                ages.counts[age] + <int64_t>count, <int64_t>REPLAY_COUNT_MAX
            )


cdef int64_t* replay_moments(
    const TapeEntry* entry, Arena* arena, uint32_t* count
) noexcept nogil:
    """The moments of a tape; NULL without memory."""
    cdef Reader reader = reader_of(<const char*>entry.moments, entry.moments_length)
    # Each takes a byte at least.
    cdef int64_t* moments = <int64_t*>arena_take(
        arena, (entry.moments_length + 1) * sizeof(int64_t)
    )
    count[0] = 0
    while moments != NULL and reader.at < reader.end:
        moments[count[0]] = <int64_t>read_varint(&reader)
        if reader.failed:
            break
        count[0] += 1
    return moments
