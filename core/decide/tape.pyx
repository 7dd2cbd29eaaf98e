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
    INPUT_VALUE = 3
    INPUT_AGES = 4
    INPUT_MOMENTS = 5


cdef struct Tape:
    # Inputs, then the places of attributes that are unset and of counters that hold nothing: most
    # of them do, and a number is less to write than a message.
    Writer inputs
    Writer unset
    Writer empty


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


cdef struct Replay:
    # Entries by the playbook's attributes and counters.
    TapeEntry* attributes
    TapeEntry* counters
    bint person_known
    # Reads that the tape has nothing of.
    uint32_t missing


cdef inline void tape_begin(Tape* tape) noexcept nogil:
    tape.inputs.length = tape.unset.length = tape.empty.length = 0
    tape.inputs.failed = tape.unset.failed = tape.empty.failed = False


cdef void tape_free(Tape* tape) noexcept nogil:
    writer_free(&tape.inputs)
    writer_free(&tape.unset)
    writer_free(&tape.empty)


cdef inline size_t input_open(Writer* inputs, uint32_t field, uint32_t index) noexcept nogil:
    """Begin an Input: what it is of, by its place in the playbook, from 1."""
    cdef size_t start = message_open(inputs, RECORD_INPUT)
    write_uint(inputs, field, index + 1)
    return start


cdef void tape_attribute(Tape* tape, uint32_t index, const Value* value) noexcept nogil:
    cdef size_t start
    if value.tag == TAG_NULL:
        put_varint(&tape.unset, index + 1)
        return
    start = input_open(&tape.inputs, INPUT_OF_ATTRIBUTE, index)
    write_value(&tape.inputs, INPUT_VALUE, value)
    message_close(&tape.inputs, start)


cdef void tape_counter(Tape* tape, uint32_t index, const Value* value) noexcept nogil:
    cdef size_t start
    if value.tag == TAG_NULL:
        put_varint(&tape.empty, index + 1)
        return
    start = input_open(&tape.inputs, INPUT_OF_COUNTER, index)
    write_value(&tape.inputs, INPUT_VALUE, value)
    message_close(&tape.inputs, start)


cdef void tape_ages(Tape* tape, uint32_t index, const Ages* ages) noexcept nogil:
    """The buckets that are not empty, as pairs of age and count."""
    cdef Writer* inputs = &tape.inputs
    cdef size_t start = input_open(inputs, INPUT_OF_COUNTER, index)
    cdef size_t pairs = message_open(inputs, INPUT_AGES)
    cdef uint32_t i
    for i in range(ages.buckets):
        if ages.counts[i]:
            put_varint(inputs, i)
            put_varint(inputs, <uint64_t>ages.counts[i])
    message_close(inputs, pairs)
    message_close(inputs, start)


cdef void replay_ages(const TapeEntry* entry, Ages* ages) noexcept nogil:
    """Lay the pairs of a tape over empty buckets."""
    cdef Reader reader = reader_of(<const char*>entry.ages, entry.ages_length)
    cdef uint64_t age
    cdef int64_t count
    while reader.at < reader.end and not reader.failed:
        age = read_varint(&reader)
        count = <int64_t>read_varint(&reader)
        if age < ages.buckets:
            ages.counts[age] += count


cdef void tape_moments(
    Tape* tape, uint32_t index, const int64_t* moments, uint32_t count
) noexcept nogil:
    cdef Writer* inputs = &tape.inputs
    cdef size_t start, listed
    cdef uint32_t i
    if count == 0:
        put_varint(&tape.empty, index + 1)
        return
    start = input_open(inputs, INPUT_OF_COUNTER, index)
    listed = message_open(inputs, INPUT_MOMENTS)
    for i in range(count):
        put_varint(inputs, <uint64_t>moments[i])
    message_close(inputs, listed)
    message_close(inputs, start)


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
