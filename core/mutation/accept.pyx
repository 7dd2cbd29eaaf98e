"""Accept: a write request checked at the edge and framed as a Mutation.

Everything that can be refused is refused here.  Apply never refuses, so that every node
ends in the same state.
"""

cdef extern from "mutation/digits.h" nogil:
    int32_t hex_digit(char c)


cdef struct Stamping:
    # What the accepting node adds to a mutation.
    uint64_t stamp
    Text playbook
    uint32_t incarnation
    uint32_t second_incarnation


cdef enum:
    # As the playbook's language has it.
    SLOTS_MAX = 64
    # The values of DecisionAge.
    DECISION_AGE_NONE = 0
    DECISION_AGE_RECENT = 1
    DECISION_AGE_EXPIRED = 2
    DECISION_AGE_UNKNOWN = 3


cdef struct TrackEvent:
    # A TrackRequest as it was read: the edge checks it, and applies what it has checked.
    TrackMessage message
    IdentityRef identity
    const EventSpec* event
    # Its properties by index, its own time last.
    Value* values
    int64_t id_ms
    int64_t occurred_us
    # Of a reservation alone: which propositions it is about.
    Value keys
    # As `event_key` has it; of a reservation without an id the hashes of its decision's id and of
    # the identity.
    uint64_t key[2]
    # Of the decision that it came of, a DecisionAge of the contract: 0 where it names none.
    uint8_t decision_age


cdef void write_mutation(
    Writer* writer, const Stamping* stamping, uint32_t field, Text request
) noexcept nogil:
    """Frame a request as the body `field` of a nextbest.v1.Mutation."""
    write_stamping(writer, stamping)
    write_text_always(writer, field, request)


cdef inline void write_stamping(Writer* writer, const Stamping* stamping) noexcept nogil:
    write_fixed64(writer, 1, stamping.stamp)
    write_text(writer, 2, stamping.playbook)
    write_uint(writer, 3, stamping.incarnation)
    write_uint(writer, 4, stamping.second_incarnation)


cdef inline int64_t hex_number(const char* digits, uint32_t count) noexcept nogil:
    """The number that so many hexadecimal digits spell, or -1; without a branch for each."""
    cdef int64_t number = 0
    cdef int32_t digit, seen = 0
    cdef uint32_t i
    for i in range(count):
        digit = hex_digit(digits[i])
        seen |= digit
        number = number << 4 | (digit & 0xF)
    return -1 if seen < 0 else number


cdef int64_t uuid7_ms(Text id) noexcept nogil:
    """The milliseconds since 1970 in a UUIDv7 (RFC 9562, 36 characters), or -1."""
    cdef const char* at = id.data
    cdef int64_t high, low, rest
    if id.length != 36 or at[14] != c'7' or at[8] != c'-' or at[13] != c'-' or (
        at[18] != c'-' or at[23] != c'-'
    ):
        return -1
    high, low = hex_number(at, 8), hex_number(at + 9, 4)
    # Negative when one of them is.
    rest = hex_number(at + 14, 4) | hex_number(at + 19, 4) | hex_number(at + 24, 12)
    return high << 16 | low if (high | low | rest) >= 0 else -1


cdef int event_times(
    TrackMessage* message, int64_t now_us, int64_t* id_ms, int64_t* occurred_us, Fault* fault
) noexcept nogil:
    """The time in the event's id, and when it happened: each stands in for the other."""
    id_ms[0] = uuid7_ms(message.event_id)
    if message.occurred_at.present:
        if check_occurred(&message.occurred_at, now_us, occurred_us, fault):
            return fault.kind
        if id_ms[0] < 0:
            id_ms[0] = occurred_us[0] // 1000
    elif id_ms[0] < 0:
        return fault_set(
            fault, FAULT_INVALID, "occurred_at", "unset",
            "a time, since event_id is not a UUIDv7, which would carry one",
        )
    else:
        occurred_us[0] = id_ms[0] * 1000
    if id_ms[0] * 1000 > now_us + AHEAD_US_MAX:
        return fault_id(
            fault, FAULT_INVALID, "event_id", message.event_id,
            "a UUIDv7 of at most 5 minutes after the server's clock",
        )
    return FAULT_NONE


cdef int check_outcome(TrackEvent* track, int64_t now_us, Fault* fault) noexcept nogil:
    """Check what makes an event an outcome.  That its decision is not known here is no fault."""
    cdef const TrackMessage* message = &track.message
    cdef char seen[32]
    if message.slot >= SLOTS_MAX:
        snprintf(seen, sizeof(seen), "%u", message.slot)
        return fault_set(fault, FAULT_INVALID, "slot", seen, "0 to 63")
    if message.decision_id.length == 0:
        return FAULT_NONE
    if check_id(message.decision_id, "decision_id", False, fault):
        return fault.kind
    if uuid7_ms(message.decision_id) * 1000 > now_us + AHEAD_US_MAX:
        return fault_id(
            fault, FAULT_INVALID, "decision_id", message.decision_id,
            "a UUIDv7 of at most 5 minutes after the server's clock",
        )
    return FAULT_NONE


cdef uint8_t age_of_decision(Text id, int64_t now_us, int64_t attribution_us) noexcept nogil:
    """Whether a decision is recent, by the time in its id."""
    cdef int64_t ms = uuid7_ms(id)
    if id.length == 0:
        return DECISION_AGE_NONE
    if ms < 0:
        return DECISION_AGE_UNKNOWN
    return DECISION_AGE_RECENT if ms * 1000 >= now_us - attribution_us else DECISION_AGE_EXPIRED


cdef int fit_properties(
    const EventSpec* event, Entries* properties, Value* values, Fault* fault
) noexcept nogil:
    """Fit an event's properties and put each at its index in `values`."""
    cdef Entry* entry
    cdef int32_t index
    cdef uint32_t i
    for i in range(event.property_names.count):
        values[i] = value_null()
    for i in range(properties.count):
        entry = &properties.items[i]
        index = names_find(&event.property_names, entry.name)
        if index < 0 or index >= <int32_t>event.property_names.visible:
            return fault_unknown(
                fault, "properties", "property", entry.name, &event.property_names
            )
        if fit_value(
            &entry.value, event.properties[index].type, 0, True, "properties", entry.name, fault
        ):
            return fault.kind
        if check_sum_range(&entry.value, entry.name, fault):
            return fault.kind
        values[index] = entry.value
    return FAULT_NONE


cdef int check_sum_range(const Value* value, Text name, Fault* fault) noexcept nogil:
    """Sums are kept in micro-units of 64 bits: larger numbers are refused, not cut."""
    if value.tag != TAG_DOUBLE or -SUM_LIMIT <= value.as_.d <= SUM_LIMIT:
        return FAULT_NONE
    return fault_entry(
        fault, FAULT_INVALID, "properties", name, tag_name(value), "from -9e12 to 9e12"
    )


cdef int check_track(
    const PlaybookState* playbook, TrackEvent* track, Arena* arena, int64_t now_us,
    int64_t horizon_ms, Fault* fault,
) noexcept nogil:
    """Check a TrackRequest, whose message was read, against the playbook; fills the rest."""
    cdef TrackMessage* message = &track.message
    cdef int32_t index
    cdef char seen[48]
    if check_id(message.event_id, "event_id", True, fault):
        return fault.kind
    if check_identity(&message.identity, "identity", &track.identity, fault):
        return fault.kind
    if check_ack(message.ack, fault) or event_times(
        message, now_us, &track.id_ms, &track.occurred_us, fault
    ) or check_outcome(track, now_us, fault):
        return fault.kind
    if track.id_ms < horizon_ms:
        snprintf(seen, sizeof(seen), "an id of %lld ms since 1970", <long long>track.id_ms)
        fault_set(fault, FAULT_TOO_LATE, "event_id", seen, "")
        snprintf(
            fault.allowed, sizeof(fault.allowed), "from the horizon %lld ms since 1970",
            <long long>horizon_ms,
        )
        return fault.kind
    index = names_find(&playbook.event_names, message.event)
    if index < 0:
        return fault_unknown(fault, "event", "event", message.event, &playbook.event_names)
    if index >= <int32_t>playbook.event_names.visible:
        return fault_name(
            fault, FAULT_INVALID, "event", message.event,
            "an event of the schema; the engine alone tells of this one",
        )
    track.event = &playbook.events[index]
    fault.kind = FAULT_NONE
    track.values = event_values(track.event, message, track.occurred_us, arena, fault)
    if track.values == NULL:
        return fault_arena(fault)
    if fault.kind == FAULT_NONE and index == playbook.exposure:
        return check_exposure(playbook, track, arena, fault)
    return fault.kind


cdef int check_exposure(
    const PlaybookState* playbook, const TrackEvent* track, Arena* arena, Fault* fault
) noexcept nogil:
    """Refuse an exposure to what the playbook does not have: nobody would keep a variant by it.

    Another version of an experiment is no fault, since what other systems kept may have them all.
    """
    cdef Text seen = own_text(track, "experiment")
    cdef uint32_t count = playbook.experiments_count
    cdef Text* names
    cdef uint32_t i
    for i in range(count):
        if text_equal(playbook.experiments[i].key, seen):
            return check_variant(&playbook.experiments[i], own_text(track, "variant"), arena, fault)
    for i in range(count):
        if is_version_of(seen, playbook.experiments[i].name):
            return FAULT_NONE
    names = <Text*>arena_take(arena, count * sizeof(Text))
    if names == NULL:
        return fault_arena(fault)
    for i in range(count):
        names[i] = playbook.experiments[i].name
    return unknown_of(names, count, "properties.experiment", "experiment", seen, fault)


cdef bint is_version_of(Text key, Text name) noexcept nogil:
    """Whether a key is an experiment's name, alone or before a dot and a version."""
    cdef Text start = key
    if key.length > name.length and key.data[name.length] == c'.':
        start.length = name.length
    return text_equal(start, name)


cdef int check_variant(
    const ExperimentSpec* experiment, Text seen, Arena* arena, Fault* fault
) noexcept nogil:
    cdef uint32_t count = experiment.variants_count
    cdef Text* names = <Text*>arena_take(arena, count * sizeof(Text))
    cdef uint32_t i
    if names == NULL:
        return fault_arena(fault)
    for i in range(count):
        names[i] = experiment.variants[i].name
        if text_equal(names[i], seen):
            return FAULT_NONE
    return unknown_of(names, count, "properties.variant", "variant", seen, fault)


cdef Text own_text(const TrackEvent* track, const char* name) noexcept nogil:
    """A property that the engine's own event has; empty where it is unset."""
    cdef int32_t index = names_find(&track.event.property_names, text_of(name))
    if track.values[index].tag != TAG_STRING:
        return text_of("")
    return value_text(&track.values[index])


cdef int unknown_of(
    Text* items, uint32_t count, const char* field, const char* what, Text seen, Fault* fault
) noexcept nogil:
    """As fault_unknown, of names that have no table."""
    cdef Names names
    memset(&names, 0, sizeof(Names))
    names.items = items
    names.visible = names.count = count
    return fault_unknown(fault, field, what, seen, &names)


cdef int check_upsert(
    const PlaybookState* playbook, UpsertMessage* message, bint hidden, int64_t now_us,
    int64_t* occurred_us, IdentityRef* identity, Fault* fault,
) noexcept nogil:
    """Check an UpsertProfileRequest against the playbook; -1 us when it names no time.

    `hidden`: whether it may name attributes that no request of a caller may.
    """
    cdef const AttributeSpec* spec
    cdef Entry* entry
    cdef int32_t index
    cdef uint32_t i
    occurred_us[0] = -1
    if check_id(message.write_id, "write_id", True, fault):
        return fault.kind
    if check_identity(&message.identity, "identity", identity, fault):
        return fault.kind
    if check_ack(message.ack, fault):
        return fault.kind
    if message.occurred_at.present:
        if check_occurred(&message.occurred_at, now_us, occurred_us, fault):
            return fault.kind
    for i in range(message.attributes.count):
        entry = &message.attributes.items[i]
        index = names_find(&playbook.attribute_names, entry.name)
        if index >= <int32_t>playbook.attribute_names.visible and not hidden:
            index = -1
        if index < 0:
            return fault_unknown(
                fault, "attributes", "attribute", entry.name, &playbook.attribute_names
            )
        spec = &playbook.attributes[index]
        if fit_value(&entry.value, spec.type, spec.size, True, "attributes", entry.name, fault):
            return fault.kind
    return FAULT_NONE


cdef int check_link(
    LinkMessage* message, int64_t now_us, int64_t* occurred_us, IdentityRef* first,
    IdentityRef* second, Fault* fault,
) noexcept nogil:
    """Check a LinkIdentityRequest; -1 us when it names no time."""
    occurred_us[0] = -1
    if check_id(message.write_id, "write_id", True, fault):
        return fault.kind
    if check_identity(&message.first, "first", first, fault):
        return fault.kind
    if check_identity(&message.second, "second", second, fault):
        return fault.kind
    if check_ack(message.ack, fault):
        return fault.kind
    if first.kind == second.kind and text_equal(message.first.id, message.second.id):
        return fault_id(
            fault, FAULT_INVALID, "second", message.second.id, "another identity than first"
        )
    if message.occurred_at.present:
        return check_occurred(&message.occurred_at, now_us, occurred_us, fault)
    return FAULT_NONE


cdef int check_erase(
    EraseMessage* message, IdentityRef* identity, Fault* fault
) noexcept nogil:
    """Check an EraseProfileRequest."""
    if check_id(message.write_id, "write_id", True, fault):
        return fault.kind
    if check_identity(&message.identity, "identity", identity, fault):
        return fault.kind
    return check_ack(message.ack, fault)


cdef void write_erased(Writer* writer, bytes erasure) noexcept:
    """The identities of an Erasure as the field 5 of an answer."""
    cdef Reader reader = reader_of(<char*>erasure, len(erasure))
    cdef IdentityRef identity
    cdef uint32_t incarnation = 0
    while next_erased(&reader, &identity, &incarnation):
        write_identity(writer, 5, identity)


cdef bint erasure_names(bytes erasure, IdentityRef wanted) noexcept:
    """Whether an Erasure names an identity."""
    cdef Reader reader = reader_of(<char*>erasure, len(erasure))
    cdef IdentityRef named
    cdef uint32_t incarnation = 0
    while next_erased(&reader, &named, &incarnation):
        if named.kind == wanted.kind and named.length == wanted.length and (
            memcmp(named.id, wanted.id, wanted.length) == 0
        ):
            return True
    return False
