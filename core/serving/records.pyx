"""Records: decisions on their way to who takes them, from the threads that made them.

Serving threads append what they have, as it is, to a bounded buffer.  Who takes them takes all of
it at once, as messages that the taker's own thread writes.  What finds the buffer full is counted.
The sink has a buffer, and a shadow another one.
"""

cdef enum:
    # The form of records: nextbest.v1.DecisionRecord.version.
    RECORD_VERSION = 1
    # The last field: a checksum of all before it.
    RECORD_CHECKSUM = 15
    # STEPS of trace.h: Cython wants to know an array's length.
    RECORD_STEPS = 10
    # Bytes of most records.
    RECORD_AHEAD = 1536


cdef enum RecordKind:
    RECORD_OF_ANSWER = 4
    RECORD_OF_ERROR = 7
    RECORD_OF_OUTCOME = 12


cdef extern from *:
    """
    #define RECORDS_ALL UINT64_MAX
    """
    const uint64_t RECORDS_ALL


cdef extern from *:
    """
    static_assert(STEPS == 10, "RECORD_STEPS");
    """


cdef struct RecordHead:
    # A record as it waits: this, then the bytes of its parts.
    uint32_t size
    uint32_t request
    uint32_t decision_id
    uint32_t reads
    # What came of it: the field of a DecisionRecord that it is, and its bytes.
    uint32_t result
    uint16_t kind
    uint8_t leave
    # Whether the request names its own moment, and whether the steps were timed.
    bint dated
    bint timed
    # Whether it is kept for what it is, and not for its id.
    bint unsampled
    int64_t at_us
    int64_t now_us
    uint64_t seed
    char playbook[16]
    uint64_t ticks[RECORD_STEPS]


cdef struct RecordParts:
    Text request
    Text decision_id
    Text reads
    Text result


cdef struct Records:
    # Nobody keeps records where it is 0.
    uint64_t on
    # Decisions whose id hashes below it are kept, besides those that always are.
    uint64_t below
    # Whether those that have explored always are.
    uint64_t explored
    # Of a shadow: those that it was started for, of which `below` are what it can keep up with.
    uint64_t asked
    # Since the last take something has found no room.
    uint64_t full
    uint32_t latch
    uint8_t* data
    size_t length
    size_t capacity
    # The buffer that the sink had before.
    uint8_t* spare
    uint64_t kept
    # Those that wait.
    uint64_t waiting
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


cdef uint64_t records_share(double share) noexcept nogil:
    """Below what ids hash of such a share, from 0 to 1."""
    return RECORDS_ALL if share >= 1.0 else <uint64_t>(max(share, 0.0) * 2.0 ** 64)


cdef inline void records_ahead(const Records* records) noexcept nogil:
    """Have the place of the next record fetched: nobody has written there for long.

    Without the latch: only an address is made.
    """
    cdef const uint8_t* start = records.data + records.length
    cdef size_t at
    if not atomic_read(&records.on):
        return
    for at in range(0, RECORD_AHEAD, 64):
        fetch_to_write(start + at)


cdef void records_put(
    Records* records, RecordHead* head, const RecordParts* parts, bint failed
) noexcept nogil:
    """Append a record, or count it as dropped: where there is no room, or its reads have failed."""
    cdef Writer to
    head.request = parts.request.length
    head.decision_id = parts.decision_id.length
    head.reads = parts.reads.length
    head.result = parts.result.length
    head.size = <uint32_t>sizeof(RecordHead) + (
        head.request + head.decision_id + head.reads + head.result
    )
    latch_take(&records.latch)
    if failed or records.length + head.size > records.capacity:
        counter_add(&records.dropped, 1)
        atomic_write(&records.full, 1)
    else:
        to.data = records.data
        to.length = records.length
        to.capacity = records.capacity
        to.failed = False
        put_raw(&to, head, sizeof(RecordHead))
        put_raw(&to, parts.request.data, head.request)
        put_raw(&to, parts.decision_id.data, head.decision_id)
        put_raw(&to, parts.reads.data, head.reads)
        put_raw(&to, parts.result.data, head.result)
        records.length = to.length
        records.waiting += 1
        counter_add(&records.kept, 1)
    latch_drop(&records.latch)


cdef struct RecordWriters:
    # Messages behind their lengths, and lists of one of them.
    Writer text
    Writer unset
    Writer empty


cdef bytes records_take(Records* records, uint64_t* count):
    """All records that wait, and an empty buffer for those to come.  One thread takes.

    `count`, where it is wanted, is how many they are.
    """
    cdef RecordWriters to
    cdef uint8_t* data
    cdef char* copy
    cdef size_t length
    cdef bytes content
    memset(&to, 0, sizeof(RecordWriters))
    with nogil:
        latch_take(&records.latch)
        data = records.data
        length = records.length
        if count != NULL:
            count[0] = records.waiting
        records.data = records.spare
        records.waiting = 0
        records.length = 0
        records.spare = data
        atomic_write(&records.full, 0)
        latch_drop(&records.latch)
        records_write(records, &to, data, length)
        writer_free(&to.unset)
        writer_free(&to.empty)
    try:
        if to.text.length == 0:
            return b""
        content = PyBytes_FromStringAndSize(NULL, to.text.length)
        copy = PyBytes_AS_STRING(content)
        # There may be megabytes, and others want the interpreter.
        with nogil:
            memcpy(copy, to.text.data, to.text.length)
        return content
    finally:
        writer_free(&to.text)


cdef void records_write(
    Records* records, RecordWriters* to, const uint8_t* at, size_t length
) noexcept nogil:
    """Write records as messages; one that finds no memory is dropped, and counted."""
    cdef Writer* text = &to.text
    cdef const uint8_t* end = at + length
    cdef RecordHead head
    cdef size_t start
    cdef uint32_t dropped = 0
    # No record is longer as a message.
    text.most = 2 * records.capacity
    while at < end:
        memcpy(&head, at, sizeof(RecordHead))
        start = text.length
        put_varint(text, 0)
        write_record(to, &head, at + sizeof(RecordHead), records.ns_per_tick)
        message_close(text, start + 1)
        if text.failed:
            text.failed = to.unset.failed = to.empty.failed = False
            text.length = start
            dropped += 1
        at += head.size
    if dropped:
        latch_take(&records.latch)
        counter_add(&records.kept, -<uint64_t>dropped)
        counter_add(&records.dropped, dropped)
        latch_drop(&records.latch)


cdef void write_record(
    RecordWriters* to, const RecordHead* head, const uint8_t* at, double ns_per_tick
) noexcept nogil:
    """The fields of a nextbest.v1.DecisionRecord."""
    cdef Writer* record = &to.text
    cdef size_t start = record.length
    cdef uint32_t checksum
    write_uint(record, 1, <uint64_t>head.at_us)
    if head.kind == RECORD_OF_OUTCOME:
        write_uint(record, 9, RECORD_VERSION)
        write_text_always(record, RECORD_OF_OUTCOME, text_at(at, head.request))
    else:
        write_decided(to, head, at, ns_per_tick)
    if record.failed:
        return
    checksum = crc32c_of(record.data + start, record.length - start)
    put_tag(record, RECORD_CHECKSUM, WIRE_FIXED32)
    put_raw(record, &checksum, 4)


cdef inline Text text_at(const uint8_t* at, uint32_t length) noexcept nogil:
    cdef Text text
    text.data = <const char*>at
    text.length = length
    return text


cdef void write_decided(
    RecordWriters* to, const RecordHead* head, const uint8_t* at, double ns_per_tick
) noexcept nogil:
    """What is told of a decision besides when it was."""
    cdef Writer* record = &to.text
    cdef const uint8_t* decision_id = at + head.request
    cdef const uint8_t* reads = decision_id + head.decision_id
    cdef size_t start
    write_text(record, 2, text_at(<const uint8_t*>&head.playbook[0], sizeof(head.playbook)))
    start = message_open(record, 3)
    # The last one of a field counts: what the node has put in stands behind what was sent.
    put_raw(record, at, head.request)
    write_text(record, 1, text_at(decision_id, head.decision_id))
    if not head.dated:
        write_time(record, 7, head.now_us)
    write_fixed64(record, 8, head.seed)
    message_close(record, start)
    write_uint(record, 6, head.leave)
    write_uint(record, 9, RECORD_VERSION)
    write_uint(record, 13, head.unsampled)
    write_reads(record, reads, head.reads, &to.unset, &to.empty)
    write_text_always(record, head.kind, text_at(reads + head.reads, head.result))
    if head.timed:
        write_steps(record, head.ticks, ns_per_tick)


cdef inline bint records_sample(const Records* records, Text decision_id) noexcept nogil:
    """Whether a decision is kept for its id, and what comes of it, too."""
    return records.below == RECORDS_ALL or (
        XXH3_64bits(decision_id.data, decision_id.length) < records.below
    )


cdef inline bint shadow_wants(
    const Records* shadow, Text decision_id, Tally* tally
) noexcept nogil:
    """Whether a shadow is to decide it again; what it was started for and cannot is counted."""
    cdef uint64_t asked = atomic_read(&shadow.asked)
    cdef uint64_t below = atomic_read(&shadow.below)
    cdef uint64_t hash = 0
    if below != RECORDS_ALL:
        hash = XXH3_64bits(decision_id.data, decision_id.length)
        if asked != RECORDS_ALL and hash >= asked:
            return False
    if (below == RECORDS_ALL or hash < below) and not atomic_read(&shadow.full):
        return True
    if TELEMETRY and tally != NULL:
        counter_add(&tally.shadow_skipped, 1)
    return False


cdef void write_steps(Writer* record, const uint64_t* ticks, double ns_per_tick) noexcept nogil:
    cdef size_t start = message_open(record, 8)
    cdef int step
    for step in range(RECORD_STEPS):
        put_varint(record, <uint64_t>(ticks[step] * ns_per_tick))
    message_close(record, start)
