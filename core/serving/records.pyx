"""Records: decisions on their way to a sink, from the threads that made them.

Serving threads append whole records to one bounded buffer, and the sink takes all of it at once
as bytes.  What finds it full is counted.
"""

cdef enum:
    # The form of records: nextbest.v1.DecisionRecord.version.
    RECORD_VERSION = 1
    # The last field: a checksum of all before it, with its tag.
    RECORD_CHECKSUM = 15
    RECORD_CHECKSUM_BYTES = 5


cdef extern from *:
    """
    #define RECORDS_ALL UINT64_MAX
    """
    const uint64_t RECORDS_ALL


cdef struct Records:
    # Nobody keeps records where it is 0.
    uint64_t on
    # Decisions whose id hashes below it are kept, besides those that always are.
    uint64_t below
    uint32_t latch
    uint8_t* data
    size_t length
    size_t capacity
    # The buffer that the sink had before.
    uint8_t* spare
    uint64_t kept
    uint64_t dropped
    # What the sink has taken and could not keep.
    uint64_t lost_bytes
    double ns_per_tick


cdef bint records_open(Records* records, size_t capacity) noexcept nogil:
    """Make room for so many bytes, twice; False without memory."""
    records.data = <uint8_t*>malloc(capacity)
    records.spare = <uint8_t*>malloc(capacity)
    if records.data == NULL or records.spare == NULL:
        records_free(records)
        return False
    records.capacity = capacity
    return True


cdef void records_free(Records* records) noexcept nogil:
    free(records.data)
    free(records.spare)
    records.data = records.spare = NULL


cdef void records_put(Records* records, Writer* record) noexcept nogil:
    """Append a record behind its length, or count it as dropped; its checksum is still to come."""
    cdef uint8_t head[10]
    cdef size_t size = 0
    cdef uint32_t checksum = 0
    cdef uint64_t rest
    put_tag(record, RECORD_CHECKSUM, WIRE_FIXED32)
    put_raw(record, &checksum, 4)
    rest = record.length
    while rest >= 0x80:
        head[size] = <uint8_t>(rest | 0x80)
        rest >>= 7
        size += 1
    head[size] = <uint8_t>rest
    size += 1
    latch_take(&records.latch)
    if record.failed or records.length + size + record.length > records.capacity:
        counter_add(&records.dropped, 1)
    else:
        memcpy(records.data + records.length, head, size)
        memcpy(records.data + records.length + size, record.data, record.length)
        records.length += size + record.length
        counter_add(&records.kept, 1)
    latch_drop(&records.latch)


cdef void records_sum(uint8_t* data, size_t length) noexcept nogil:
    """Put a checksum into each record; the threads that serve have better to do."""
    cdef uint8_t* end = data + length
    cdef Reader reader = reader_of(<const char*>data, length)
    cdef uint64_t size
    cdef uint8_t* start
    cdef uint32_t checksum
    while reader.at < end:
        size = read_varint(&reader)
        start = <uint8_t*>reader.at
        checksum = crc32c_of(start, size - RECORD_CHECKSUM_BYTES)
        memcpy(start + size - 4, &checksum, 4)
        reader.at = start + size


cdef bytes records_take(Records* records):
    """All records that wait, and an empty buffer for those to come.  One thread takes."""
    cdef uint8_t* data
    cdef size_t length
    with nogil:
        latch_take(&records.latch)
        data = records.data
        length = records.length
        records.data = records.spare
        records.length = 0
        records.spare = data
        latch_drop(&records.latch)
        records_sum(data, length)
    return PyBytes_FromStringAndSize(<char*>data, length)


cdef inline bint records_want(
    const Records* records, Text decision_id, bint always
) noexcept nogil:
    return always or records.below == RECORDS_ALL or (
        XXH3_64bits(decision_id.data, decision_id.length) < records.below
    )


cdef void write_record(
    Writer* record, const PlaybookState* playbook, Text request, const DecideCall* call,
    int64_t decided_us, uint8_t leave, const Tape* tape,
) noexcept nogil:
    """The fields of a nextbest.v1.DecisionRecord but what came of it."""
    cdef size_t start
    cdef Text hash
    hash.data = <const char*>playbook.hash
    hash.length = 16
    record.length = 0
    record.failed = tape.inputs.failed or tape.unset.failed or tape.empty.failed
    write_uint(record, 1, <uint64_t>decided_us)
    write_text(record, 2, hash)
    start = message_open(record, 3)
    # The last one of a field counts: what the node has put in stands behind what was sent.
    put_raw(record, request.data, request.length)
    write_text(record, 1, call.message.decision_id)
    if not call.message.now.present:
        write_time(record, 7, call.now_us)
    write_fixed64(record, 8, call.message.seed)
    message_close(record, start)
    put_raw(record, tape.inputs.data, tape.inputs.length)
    write_uint(record, 6, leave)
    write_uint(record, 9, RECORD_VERSION)
    write_packed(record, RECORD_UNSET, &tape.unset)
    write_packed(record, RECORD_EMPTY, &tape.empty)


cdef void write_outcome(Writer* record, Text request, int64_t tracked_us) noexcept nogil:
    """A nextbest.v1.DecisionRecord of an outcome."""
    record.length = 0
    record.failed = False
    write_uint(record, 1, <uint64_t>tracked_us)
    write_uint(record, 9, RECORD_VERSION)
    write_text_always(record, 12, request)


cdef inline void write_packed(
    Writer* record, uint32_t field, const Writer* numbers
) noexcept nogil:
    if numbers.length:
        put_tag(record, field, WIRE_BYTES)
        put_varint(record, numbers.length)
        put_raw(record, numbers.data, numbers.length)


cdef void write_steps(
    Writer* record, const uint64_t* before, const uint64_t* after, double ns_per_tick
) noexcept nogil:
    """How long this decision took in each step: a batch's trace has all of its decisions."""
    cdef size_t start = message_open(record, 8)
    cdef int step
    for step in range(STEPS):
        put_varint(
            record, <uint64_t>((after[step] - before[step]) * ns_per_tick)
        )
    message_close(record, start)
