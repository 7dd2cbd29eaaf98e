"""Canonical: a request read by the lanes' own readers and written again, for tests.

The bytes are those of the official runtime's deterministic serialisation after it has
discarded unknown fields, so that equal bytes mean that every value was read alike.
"""

cdef enum Canonical:
    CANONICAL_OK = 0
    CANONICAL_MALFORMED = 1
    # Well formed, and over one of the readers' bounds.
    CANONICAL_REFUSED = 2
    CANONICAL_NO_MEMORY = 3


cdef void canonical_identity(
    Writer* writer, uint32_t field, const IdentityField* identity
) noexcept nogil:
    cdef size_t start
    if identity.present:
        start = message_open(writer, field)
        write_uint(writer, 1, <uint64_t>identity.kind)
        write_text(writer, 2, identity.id)
        message_close(writer, start)


cdef void canonical_moment(
    Writer* writer, uint32_t field, int64_t seconds, int64_t nanos
) noexcept nogil:
    cdef size_t start = message_open(writer, field)
    write_uint(writer, 1, <uint64_t>seconds)
    write_uint(writer, 2, <uint64_t>nanos)
    message_close(writer, start)


cdef void canonical_time(Writer* writer, uint32_t field, const TimeField* time) noexcept nogil:
    if time.present:
        canonical_moment(writer, field, time.seconds, time.nanos)


cdef void canonical_position(
    Writer* writer, uint32_t field, const PositionField* position
) noexcept nogil:
    cdef size_t start
    if position.present:
        start = message_open(writer, field)
        write_uint(writer, 1, position.epoch)
        write_uint(writer, 2, position.sequence)
        write_fixed64(writer, 3, position.nonce)
        write_uint(writer, 4, position.partition)
        message_close(writer, start)


cdef void canonical_list(Writer* writer, uint32_t field, const Value* value) noexcept nogil:
    cdef size_t start = message_open(writer, field)
    cdef uint32_t i
    if value.flag and value.length:
        put_tag(writer, 1, WIRE_BYTES)
        put_varint(writer, 8 * <uint64_t>value.length)
    for i in range(value.length):
        if value.flag:
            put_raw(writer, &value.as_.items[i].as_.u, 8)
        else:
            write_text_always(writer, 1, value_text(&value.as_.items[i]))
    message_close(writer, start)


cdef void canonical_value(Writer* writer, uint32_t field, const Value* value) noexcept nogil:
    """A Value as it was read, before it is fitted to a type."""
    cdef size_t start = message_open(writer, field)
    if value.tag == TAG_BOOL or value.tag == TAG_INT or value.tag == TAG_NULL:
        put_tag(
            writer, 1 if value.tag == TAG_BOOL else 2 if value.tag == TAG_INT else 8, WIRE_VARINT
        )
        put_varint(writer, value.as_.u)
    elif value.tag == TAG_DOUBLE:
        write_double_always(writer, 3, value.as_.d)
    elif value.tag == TAG_STRING:
        write_text_always(writer, 4, value_text(value))
    elif value.tag == TAG_TIMESTAMP:
        canonical_moment(writer, 5, value.as_.i, <int32_t>value.length)
    elif value.tag == TAG_LIST:
        canonical_list(writer, 7 if value.flag else 6, value)
    message_close(writer, start)


cdef inline bint text_before(Text a, Text b) noexcept nogil:
    cdef uint32_t length = min(a.length, b.length)
    cdef int order = memcmp(a.data, b.data, length) if length else 0
    return order < 0 or (order == 0 and a.length < b.length)


cdef void entries_sort(Entries* entries) noexcept nogil:
    """Sort by name; at most ENTRIES_MAX of them, and not on the hot path."""
    cdef Entry moved
    cdef uint32_t i, to
    for i in range(1, entries.count):
        moved = entries.items[i]
        to = i
        while to > 0 and text_before(moved.name, entries.items[to - 1].name):
            entries.items[to] = entries.items[to - 1]
            to -= 1
        entries.items[to] = moved


cdef void canonical_entries(Writer* writer, uint32_t field, Entries* entries) noexcept nogil:
    """A map<string, Value>; each entry has both its name and its value."""
    cdef size_t start
    cdef uint32_t i
    entries_sort(entries)
    for i in range(entries.count):
        start = message_open(writer, field)
        write_text_always(writer, 1, entries.items[i].name)
        canonical_value(writer, 2, &entries.items[i].value)
        message_close(writer, start)


cdef int canonical_decide(
    Reader* reader, Writer* writer, Arena* arena, Fault* fault
) noexcept nogil:
    cdef DecideMessage message
    cdef uint32_t i
    if read_decide(reader, &message, arena, fault):
        return fault.kind
    write_text(writer, 1, message.decision_id)
    canonical_identity(writer, 2, &message.identity)
    for i in range(message.placements_count):
        write_text_always(writer, 3, message.placements[i])
    for i in range(message.scores_count):
        write_text_always(writer, 4, message.scores[i])
    canonical_entries(writer, 5, &message.context)
    canonical_entries(writer, 6, &message.attributes)
    canonical_time(writer, 7, &message.now)
    write_fixed64(writer, 8, message.seed)
    write_uint(writer, 9, message.explain)
    canonical_position(writer, 10, &message.min_position)
    write_uint(writer, 11, message.segments)
    write_uint(writer, 12, message.preview)
    return FAULT_NONE


cdef int canonical_batch(Text data, Writer* writer, Arena* arena, Fault* fault) noexcept nogil:
    cdef Reader reader = reader_of(data.data, data.length)
    cdef Reader inner
    cdef uint32_t field = 0, wire = 0
    cdef size_t start
    if batch_check(data, fault):
        return fault.kind
    while read_tag(&reader, &field, &wire):
        if field != 1 or wire != WIRE_BYTES:
            read_skip(&reader, field, wire)
            continue
        inner = read_message(&reader)
        start = message_open(writer, 1)
        if canonical_decide(&inner, writer, arena, fault):
            return fault.kind
        message_close(writer, start)
    return FAULT_NONE


cdef int canonical_track(
    Reader* reader, Writer* writer, Arena* arena, Fault* fault
) noexcept nogil:
    cdef TrackMessage message
    if read_track(reader, &message, arena, fault):
        return fault.kind
    write_text(writer, 1, message.event_id)
    canonical_identity(writer, 2, &message.identity)
    write_text(writer, 3, message.event)
    canonical_time(writer, 4, &message.occurred_at)
    canonical_entries(writer, 5, &message.properties)
    write_uint(writer, 6, <uint64_t>message.ack)
    write_text(writer, 7, message.decision_id)
    write_uint(writer, 8, message.slot)
    return FAULT_NONE


cdef int canonical_upsert(
    Reader* reader, Writer* writer, Arena* arena, Fault* fault
) noexcept nogil:
    cdef UpsertMessage message
    if read_upsert(reader, &message, arena, fault):
        return fault.kind
    write_text(writer, 1, message.write_id)
    canonical_identity(writer, 2, &message.identity)
    canonical_entries(writer, 3, &message.attributes)
    canonical_time(writer, 4, &message.occurred_at)
    write_uint(writer, 5, <uint64_t>message.ack)
    return FAULT_NONE


cdef int canonical_link(Reader* reader, Writer* writer, Fault* fault) noexcept nogil:
    cdef LinkMessage message
    if read_link(reader, &message, fault):
        return fault.kind
    write_text(writer, 1, message.write_id)
    canonical_identity(writer, 2, &message.first)
    canonical_identity(writer, 3, &message.second)
    write_uint(writer, 4, message.unlink)
    canonical_time(writer, 5, &message.occurred_at)
    write_uint(writer, 6, <uint64_t>message.ack)
    return FAULT_NONE


cdef void canonical_erasure(Reader* reader, Writer* writer) noexcept nogil:
    cdef IdentityField identity
    cdef uint32_t incarnation, field = 0, wire = 0
    cdef bint expired = False
    cdef Text write_id
    cdef size_t start
    write_id.length = 0
    while read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_BYTES:
            read_erased(reader, &identity, &incarnation)
            start = message_open(writer, 1)
            canonical_identity(writer, 1, &identity)
            write_uint(writer, 2, incarnation)
            message_close(writer, start)
        elif field == 2 and wire == WIRE_VARINT:
            expired = read_varint(reader) != 0
        elif field == 3 and wire == WIRE_BYTES:
            write_id = read_string(reader)
        else:
            read_skip(reader, field, wire)
    write_uint(writer, 2, expired)
    write_text(writer, 3, write_id)


cdef int canonical_profile(Reader* reader, Writer* writer, Fault* fault) noexcept nogil:
    cdef ProfileMessage message
    if read_profile(reader, &message, fault):
        return fault.kind
    canonical_identity(writer, 1, &message.identity)
    canonical_time(writer, 2, &message.now)
    canonical_position(writer, 3, &message.min_position)
    return FAULT_NONE


cdef int canonical_body(
    uint32_t body, Text request, Writer* writer, Arena* arena, Fault* fault
) noexcept nogil:
    """The body of a Mutation, a message of its own."""
    cdef Reader reader = reader_of(request.data, request.length)
    cdef size_t start
    cdef int kind = FAULT_NONE
    if body == BODY_NONE:
        return FAULT_NONE
    start = message_open(writer, body)
    if body == BODY_EVENT:
        kind = canonical_track(&reader, writer, arena, fault)
    elif body == BODY_ATTRIBUTES:
        kind = canonical_upsert(&reader, writer, arena, fault)
    elif body == BODY_LINK:
        kind = canonical_link(&reader, writer, fault)
    elif body == BODY_ERASURE:
        canonical_erasure(&reader, writer)
    else:
        return fault_set(fault, FAULT_INVALID, "body", "one of the catalogue's", "")
    message_close(writer, start)
    return kind


cdef int canonical_mutation(Text data, Writer* writer, Arena* arena, Fault* fault) noexcept nogil:
    cdef Reader reader = reader_of(data.data, data.length)
    cdef MutationMessage message
    cdef Writer body
    cdef int kind
    if not shape_holds(&reader, SHAPE_MUTATION) or not read_mutation(data, &message):
        return fault_malformed(fault)
    memset(&body, 0, sizeof(Writer))
    if message.split:
        join_bodies(data, &body)
        message.request.data = <const char*>body.data
        message.request.length = <uint32_t>body.length
    write_fixed64(writer, 1, message.stamp)
    write_text(writer, 2, message.playbook)
    write_uint(writer, 3, message.incarnation)
    write_uint(writer, 4, message.second_incarnation)
    kind = canonical_body(message.body, message.request, writer, arena, fault)
    writer_free(&body)
    return kind


cdef int canonical_message(
    int shape, Text data, Writer* writer, Arena* arena, Fault* fault
) noexcept nogil:
    cdef Reader reader = reader_of(data.data, data.length)
    if shape == SHAPE_DECIDE:
        return canonical_decide(&reader, writer, arena, fault)
    if shape == SHAPE_DECIDE_BATCH:
        return canonical_batch(data, writer, arena, fault)
    if shape == SHAPE_TRACK:
        return canonical_track(&reader, writer, arena, fault)
    if shape == SHAPE_UPSERT:
        return canonical_upsert(&reader, writer, arena, fault)
    if shape == SHAPE_LINK:
        return canonical_link(&reader, writer, fault)
    if shape == SHAPE_PROFILE:
        return canonical_profile(&reader, writer, fault)
    return canonical_mutation(data, writer, arena, fault)


cdef public int nextbest_canonical(
    int shape, const char* data, uint32_t length, char* memory, size_t memory_length,
    uint8_t** out, size_t* out_length,
) noexcept nogil:
    """For the native fuzzer: a Canonical; `out`, the caller's to free, holds the bytes.

    `memory` is what the message's lists and maps may take.
    """
    cdef Arena arena
    cdef Writer writer
    cdef Fault fault
    cdef Text text
    arena.base = memory
    arena.used = 0
    arena.capacity = memory_length
    memset(&writer, 0, sizeof(Writer))
    text.data = data
    text.length = length
    out[0] = NULL
    out_length[0] = 0
    if canonical_message(shape, text, &writer, &arena, &fault):
        writer_free(&writer)
        return CANONICAL_MALFORMED if is_malformed(&fault) else CANONICAL_REFUSED
    if writer.failed:
        writer_free(&writer)
        return CANONICAL_NO_MEMORY
    out[0] = writer.data
    out_length[0] = writer.length
    return CANONICAL_OK


cdef dict CANONICAL_SHAPES = {
    "DecideRequest": SHAPE_DECIDE,
    "DecideBatchRequest": SHAPE_DECIDE_BATCH,
    "TrackRequest": SHAPE_TRACK,
    "UpsertProfileRequest": SHAPE_UPSERT,
    "LinkIdentityRequest": SHAPE_LINK,
    "GetProfileRequest": SHAPE_PROFILE,
    "Mutation": SHAPE_MUTATION,
}


def canonical(str kind, bytes data) -> bytes:
    """The message `kind` of nextbest.v1 read by the engine and written again; for tests.

    Fields are in number order, maps sorted by name and unknown fields dropped.  Raises
    InvalidRequestError for malformed bytes and for what is over a bound of the engine, KeyError
    for a kind that the engine does not read.
    """
    cdef int shape = CANONICAL_SHAPES[kind]
    cdef Arena arena
    cdef Writer writer
    cdef Fault fault
    memset(&writer, 0, sizeof(Writer))
    if not arena_init(&arena, DECISION_ARENA_MAX):
        raise MemoryError("canonical")
    try:
        if canonical_message(shape, text_from(data), &writer, &arena, &fault):
            fault_raise(&fault)
        if writer.failed:
            raise MemoryError("canonical")
        return (<char*>writer.data)[:writer.length] if writer.length else b""
    finally:
        arena_free(&arena)
        writer_free(&writer)
