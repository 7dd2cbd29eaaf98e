"""The hot messages of nextbest.v1, read into plain structs.  Bounds on counts are here."""

cdef enum:
    IDENTITY_BYTES_MAX = 256
    ID_BYTES_MAX = 128
    PLACEMENTS_MAX = 32
    SCORES_MAX = 64
    BATCH_MAX = 1000
    # Events and writes this far ahead of the clock are refused.
    AHEAD_US_MAX = 300000000


cdef struct IdentityField:
    bint present
    int64_t kind
    Text id


cdef struct TimeField:
    bint present
    int64_t seconds
    int64_t nanos


cdef struct PositionField:
    bint present
    uint64_t epoch
    uint64_t sequence
    uint64_t nonce
    uint32_t partition


cdef struct DecideMessage:
    Text decision_id
    IdentityField identity
    Text placements[PLACEMENTS_MAX]
    uint32_t placements_count
    Text scores[SCORES_MAX]
    uint32_t scores_count
    Entries context
    Entries attributes
    TimeField now
    uint64_t seed
    bint explain
    PositionField min_position
    bint segments
    bint preview


cdef struct TrackMessage:
    Text event_id
    IdentityField identity
    Text event
    TimeField occurred_at
    Entries properties
    int64_t ack
    Text decision_id
    uint32_t slot


cdef struct UpsertMessage:
    Text write_id
    IdentityField identity
    Entries attributes
    TimeField occurred_at
    int64_t ack


cdef struct LinkMessage:
    Text write_id
    IdentityField first
    IdentityField second
    bint unlink
    TimeField occurred_at
    int64_t ack


cdef struct EraseMessage:
    Text write_id
    IdentityField identity
    int64_t ack


cdef struct ProfileMessage:
    IdentityField identity
    TimeField now
    PositionField min_position


cdef inline const char* malformed_text() noexcept nogil:
    return "bytes that are not the message of this call"


cdef int fault_malformed(Fault* fault) noexcept nogil:
    return fault_set(
        fault, FAULT_INVALID, "request", malformed_text(),
        "the protobuf message that nextbest.v1 names",
    )


cdef bint is_malformed(const Fault* fault) noexcept nogil:
    """Whether the fault is fault_malformed's: a bound may be of the whole request too."""
    return strcmp(fault.seen, malformed_text()) == 0


cdef void read_identity(Reader* reader, IdentityField* identity) noexcept nogil:
    cdef uint32_t field = 0, wire = 0
    cdef Reader inner = read_message(reader)
    identity.present = True
    while read_tag(&inner, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            # Enums are 32 bits wide on the wire; larger varints are cut.
            identity.kind = <int32_t>read_varint(&inner)
        elif field == 2 and wire == WIRE_BYTES:
            identity.id = read_string(&inner)
        else:
            read_skip(&inner, field, wire)
    if inner.failed:
        reader.failed = True


cdef void read_time(Reader* reader, TimeField* time) noexcept nogil:
    cdef Reader inner = read_message(reader)
    time.present = True
    if not read_timestamp(&inner, &time.seconds, &time.nanos):
        reader.failed = True


cdef void read_position(Reader* reader, PositionField* position) noexcept nogil:
    cdef uint32_t field = 0, wire = 0
    cdef Reader inner = read_message(reader)
    position.present = True
    while read_tag(&inner, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            position.epoch = read_varint(&inner)
        elif field == 2 and wire == WIRE_VARINT:
            position.sequence = read_varint(&inner)
        elif field == 3 and wire == WIRE_FIXED64:
            position.nonce = read_fixed64(&inner)
        elif field == 4 and wire == WIRE_VARINT:
            position.partition = <uint32_t>read_varint(&inner)
        else:
            read_skip(&inner, field, wire)
    if inner.failed:
        reader.failed = True


cdef int read_names(
    Reader* reader, Text* names, uint32_t* count, uint32_t most, const char* field, Fault* fault
) noexcept nogil:
    """Append one element of a bounded repeated string."""
    if count[0] >= most:
        return fault_size(fault, field, count[0] + 1, "names", most)
    names[count[0]] = read_string(reader)
    count[0] += 1
    return FAULT_NONE


cdef int read_decide(
    Reader* reader, DecideMessage* message, Arena* arena, Fault* fault
) noexcept nogil:
    """Read a DecideRequest."""
    cdef uint32_t field = 0, wire = 0
    cdef int kind = FAULT_NONE
    cdef Reader whole = reader[0]
    memset(message, 0, sizeof(DecideMessage))
    while kind == FAULT_NONE and read_tag(reader, &field, &wire):
        if wire == WIRE_BYTES and field == 1:
            message.decision_id = read_string(reader)
        elif wire == WIRE_BYTES and field == 2:
            read_identity(reader, &message.identity)
        elif wire == WIRE_BYTES and field == 3:
            kind = read_names(
                reader, message.placements, &message.placements_count, PLACEMENTS_MAX,
                "placements", fault,
            )
        elif wire == WIRE_BYTES and field == 4:
            kind = read_names(
                reader, message.scores, &message.scores_count, SCORES_MAX, "scores", fault
            )
        elif wire == WIRE_BYTES and field == 5:
            kind = read_entry(reader, &message.context, "context", arena, fault)
        elif wire == WIRE_BYTES and field == 6:
            kind = read_entry(reader, &message.attributes, "attributes", arena, fault)
        elif wire == WIRE_BYTES and field == 7:
            read_time(reader, &message.now)
        elif wire == WIRE_FIXED64 and field == 8:
            message.seed = read_fixed64(reader)
        elif wire == WIRE_VARINT and field == 9:
            message.explain = read_varint(reader) != 0
        elif wire == WIRE_BYTES and field == 10:
            read_position(reader, &message.min_position)
        elif wire == WIRE_VARINT and field == 11:
            message.segments = read_varint(reader) != 0
        elif wire == WIRE_VARINT and field == 12:
            message.preview = read_varint(reader) != 0
        else:
            read_skip(reader, field, wire)
    if reader.failed or (kind != FAULT_NONE and not shape_holds(&whole, SHAPE_DECIDE)):
        return fault_malformed(fault)
    return kind


cdef int read_track(
    Reader* reader, TrackMessage* message, Arena* arena, Fault* fault
) noexcept nogil:
    """Read a TrackRequest."""
    cdef uint32_t field = 0, wire = 0
    cdef int kind = FAULT_NONE
    cdef Reader whole = reader[0]
    memset(message, 0, sizeof(TrackMessage))
    while kind == FAULT_NONE and read_tag(reader, &field, &wire):
        if wire == WIRE_BYTES and field == 1:
            message.event_id = read_string(reader)
        elif wire == WIRE_BYTES and field == 2:
            read_identity(reader, &message.identity)
        elif wire == WIRE_BYTES and field == 3:
            message.event = read_string(reader)
        elif wire == WIRE_BYTES and field == 4:
            read_time(reader, &message.occurred_at)
        elif wire == WIRE_BYTES and field == 5:
            kind = read_entry(reader, &message.properties, "properties", arena, fault)
        elif wire == WIRE_VARINT and field == 6:
            message.ack = <int32_t>read_varint(reader)
        elif wire == WIRE_BYTES and field == 7:
            message.decision_id = read_string(reader)
        elif wire == WIRE_VARINT and field == 8:
            message.slot = <uint32_t>read_varint(reader)
        else:
            read_skip(reader, field, wire)
    if reader.failed or (kind != FAULT_NONE and not shape_holds(&whole, SHAPE_TRACK)):
        return fault_malformed(fault)
    return kind


cdef int read_upsert(
    Reader* reader, UpsertMessage* message, Arena* arena, Fault* fault
) noexcept nogil:
    """Read an UpsertProfileRequest."""
    cdef uint32_t field = 0, wire = 0
    cdef int kind = FAULT_NONE
    cdef Reader whole = reader[0]
    memset(message, 0, sizeof(UpsertMessage))
    while kind == FAULT_NONE and read_tag(reader, &field, &wire):
        if wire == WIRE_BYTES and field == 1:
            message.write_id = read_string(reader)
        elif wire == WIRE_BYTES and field == 2:
            read_identity(reader, &message.identity)
        elif wire == WIRE_BYTES and field == 3:
            kind = read_entry(reader, &message.attributes, "attributes", arena, fault)
        elif wire == WIRE_BYTES and field == 4:
            read_time(reader, &message.occurred_at)
        elif wire == WIRE_VARINT and field == 5:
            message.ack = <int32_t>read_varint(reader)
        else:
            read_skip(reader, field, wire)
    if reader.failed or (kind != FAULT_NONE and not shape_holds(&whole, SHAPE_UPSERT)):
        return fault_malformed(fault)
    return kind


cdef int read_link(Reader* reader, LinkMessage* message, Fault* fault) noexcept nogil:
    """Read a LinkIdentityRequest."""
    cdef uint32_t field = 0, wire = 0
    memset(message, 0, sizeof(LinkMessage))
    while read_tag(reader, &field, &wire):
        if wire == WIRE_BYTES and field == 1:
            message.write_id = read_string(reader)
        elif wire == WIRE_BYTES and field == 2:
            read_identity(reader, &message.first)
        elif wire == WIRE_BYTES and field == 3:
            read_identity(reader, &message.second)
        elif wire == WIRE_VARINT and field == 4:
            message.unlink = read_varint(reader) != 0
        elif wire == WIRE_BYTES and field == 5:
            read_time(reader, &message.occurred_at)
        elif wire == WIRE_VARINT and field == 6:
            message.ack = <int32_t>read_varint(reader)
        else:
            read_skip(reader, field, wire)
    return fault_malformed(fault) if reader.failed else FAULT_NONE


cdef int read_erase(Reader* reader, EraseMessage* message, Fault* fault) noexcept nogil:
    """Read an EraseProfileRequest."""
    cdef uint32_t field = 0, wire = 0
    memset(message, 0, sizeof(EraseMessage))
    while read_tag(reader, &field, &wire):
        if wire == WIRE_BYTES and field == 1:
            message.write_id = read_string(reader)
        elif wire == WIRE_BYTES and field == 2:
            read_identity(reader, &message.identity)
        elif wire == WIRE_VARINT and field == 3:
            message.ack = <int32_t>read_varint(reader)
        else:
            read_skip(reader, field, wire)
    return fault_malformed(fault) if reader.failed else FAULT_NONE


cdef int read_profile(Reader* reader, ProfileMessage* message, Fault* fault) noexcept nogil:
    """Read a GetProfileRequest."""
    cdef uint32_t field = 0, wire = 0
    memset(message, 0, sizeof(ProfileMessage))
    while read_tag(reader, &field, &wire):
        if wire == WIRE_BYTES and field == 1:
            read_identity(reader, &message.identity)
        elif wire == WIRE_BYTES and field == 2:
            read_time(reader, &message.now)
        elif wire == WIRE_BYTES and field == 3:
            read_position(reader, &message.min_position)
        else:
            read_skip(reader, field, wire)
    return fault_malformed(fault) if reader.failed else FAULT_NONE


cdef int check_identity(
    IdentityField* identity, const char* field, IdentityRef* to, Fault* fault
) noexcept nogil:
    """Check an identity and name it for the store."""
    cdef char seen[32]
    if not identity.present or identity.id.length == 0:
        fault_set(fault, FAULT_INVALID, "", "an empty id", "1 to 256 bytes")
    elif identity.id.length > IDENTITY_BYTES_MAX:
        fault_size(fault, "", identity.id.length, "bytes", IDENTITY_BYTES_MAX)
    elif identity.kind < 0 or identity.kind > 3:
        snprintf(seen, sizeof(seen), "%lld", <long long>identity.kind)
        fault_set(fault, FAULT_INVALID, "", seen, "KNOWN, ANONYMOUS or ALIAS")
        snprintf(fault.field, sizeof(fault.field), "%s.kind", field)
        return FAULT_INVALID
    else:
        to.kind = <uint8_t>identity.kind if identity.kind else 1
        to.id = identity.id.data
        to.length = identity.id.length
        return FAULT_NONE
    snprintf(fault.field, sizeof(fault.field), "%s.id", field)
    return FAULT_INVALID


cdef int check_id(Text id, const char* field, bint required, Fault* fault) noexcept nogil:
    """Check an id of the caller's choice."""
    if id.length > ID_BYTES_MAX:
        return fault_size(fault, field, id.length, "bytes", ID_BYTES_MAX)
    if required and id.length == 0:
        return fault_set(
            fault, FAULT_INVALID, field, "empty", "1 to 128 bytes of the caller's choice"
        )
    return FAULT_NONE


cdef int check_time(
    TimeField* time, const char* field, int64_t* to_us, Fault* fault
) noexcept nogil:
    """Check a moment and give it in microseconds since 1970."""
    cdef char seen[64]
    cdef const char* allowed = NULL
    if time.seconds < TIMESTAMP_MIN_S or time.seconds > TIMESTAMP_MAX_S:
        allowed = "a moment from year 1 to 9999"
    elif time.nanos < 0 or time.nanos > 999999999:
        allowed = "nanos from 0 to 999999999"
    if allowed != NULL:
        snprintf(
            seen, sizeof(seen), "%lld seconds, %lld nanos", <long long>time.seconds,
            <long long>time.nanos,
        )
        return fault_set(fault, FAULT_INVALID, field, seen, allowed)
    to_us[0] = time.seconds * 1000000 + time.nanos // 1000
    return FAULT_NONE


cdef int check_occurred(
    TimeField* time, int64_t now_us, int64_t* to_us, Fault* fault
) noexcept nogil:
    """Check when something happened: from 1970, and at most 5 minutes ahead of the clock."""
    cdef int kind = check_time(time, "occurred_at", to_us, fault)
    cdef char seen[64]
    if kind != FAULT_NONE or (0 <= to_us[0] <= now_us + AHEAD_US_MAX):
        return kind
    snprintf(seen, sizeof(seen), "%lld seconds", <long long>time.seconds)
    return fault_set(
        fault, FAULT_INVALID, "occurred_at", seen,
        "from 1970-01-01T00:00:00Z to 5 minutes after the server's clock",
    )


cdef int check_ack(int64_t ack, Fault* fault) noexcept nogil:
    cdef char seen[32]
    if 0 <= ack <= 3:
        return FAULT_NONE
    snprintf(seen, sizeof(seen), "%lld", <long long>ack)
    return fault_set(fault, FAULT_INVALID, "ack", seen, "APPLIED, LOGGED or REPLICATED")
