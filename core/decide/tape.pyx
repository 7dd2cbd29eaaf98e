"""Tapes: what a decision has read of a person, kept so that it can be decided again.

Attributes and counters are what expressions are computed from: with them, the request and the
playbook, a decision is the same bytes again.  A tape is fields of nextbest.v1.DecisionRecord.
"""

cdef enum:
    # The field of a DecisionRecord that a tape's entries are.
    RECORD_INPUT = 5


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


cdef void tape_attribute(Writer* tape, Text name, const Value* value) noexcept nogil:
    cdef size_t start = message_open(tape, RECORD_INPUT)
    write_text(tape, 1, name)
    if value.tag != TAG_NULL:
        write_value(tape, 4, value)
    message_close(tape, start)


cdef void tape_counter(
    Writer* tape, const CounterSpec* counter, const Value* value, bint approximate
) noexcept nogil:
    cdef size_t start = message_open(tape, RECORD_INPUT)
    write_text(tape, 2, counter.name)
    tape_key(tape, counter)
    if value.tag != TAG_NULL:
        write_value(tape, 4, value)
    write_uint(tape, 5, approximate)
    message_close(tape, start)


cdef void tape_ages(Writer* tape, const CounterSpec* counter, const Ages* ages) noexcept nogil:
    """The buckets that are not empty, as pairs of age and count."""
    cdef size_t start = message_open(tape, RECORD_INPUT)
    cdef size_t pairs
    cdef uint32_t i
    write_text(tape, 2, counter.name)
    tape_key(tape, counter)
    pairs = message_open(tape, 6)
    for i in range(ages.buckets):
        if ages.counts[i]:
            put_varint(tape, i)
            put_varint(tape, <uint64_t>ages.counts[i])
    message_close(tape, pairs)
    message_close(tape, start)


cdef inline void tape_key(Writer* tape, const CounterSpec* counter) noexcept nogil:
    cdef Text key
    key.data = <const char*>counter.key
    key.length = 16
    write_text(tape, 3, key)


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


cdef int64_t replay_moments(
    const TapeEntry* entry, int64_t from_us, int64_t until_us
) noexcept nogil:
    """How many moments of a tape lie within a time."""
    cdef Reader reader = reader_of(<const char*>entry.moments, entry.moments_length)
    cdef int64_t found = 0, moment
    while reader.at < reader.end and not reader.failed:
        moment = <int64_t>read_varint(&reader)
        found += from_us < moment <= until_us
    return found
