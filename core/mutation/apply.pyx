"""Apply: a Mutation into the store.  In any order, any number of times, the same state.

Nothing is refused here and nothing is emitted.  What the edge has let through fits; a value
that does not (a foreign or damaged mutation) counts as unset.
"""

cdef enum MutationBody:
    BODY_NONE = 0
    BODY_EVENT = 5
    BODY_ATTRIBUTES = 6
    BODY_LINK = 7
    BODY_ERASURE = 8
    BODY_PUBLICATION = 9
    BODY_ACTIVATION = 10


cdef enum:
    # CounterSpec.property, where that is none: see plan.Counter.
    COUNTED_NOTHING = -1
    COUNTED_KEY = -2


cdef struct MutationMessage:
    uint64_t stamp
    Text playbook
    uint32_t incarnation
    uint32_t second_incarnation
    uint32_t body
    Text request
    # The body came in several pieces, of which `request` is the last: join_bodies.
    bint split
    # It was in time when it came and has waited for its playbook since.
    bint was_parked
    # Another node has accepted it: bounds are the edge's, here it has to be applied.
    bint from_log


cdef struct Applied:
    # What became of a mutation on this node; for the answer, not for the state.
    bint duplicate
    bint created


cdef inline MutationMessage stamped(
    const Stamping* stamping, uint32_t body, Text request
) noexcept nogil:
    """What `write_mutation` frames, as it is read."""
    cdef MutationMessage message
    memset(&message, 0, sizeof(MutationMessage))
    message.stamp = stamping.stamp
    message.playbook = stamping.playbook
    message.incarnation = stamping.incarnation
    message.second_incarnation = stamping.second_incarnation
    message.body = body
    message.request = request
    return message


cdef bint read_mutation(Text data, MutationMessage* message) noexcept nogil:
    """Read a nextbest.v1.Mutation; False when it is malformed.  Bodies are not looked into."""
    cdef Reader reader = reader_of(data.data, data.length)
    cdef uint32_t field = 0, wire = 0
    memset(message, 0, sizeof(MutationMessage))
    while read_tag(&reader, &field, &wire):
        if field == 1 and wire == WIRE_FIXED64:
            message.stamp = read_fixed64(&reader)
        elif field == 2 and wire == WIRE_BYTES:
            message.playbook = read_bytes(&reader)
        elif field == 3 and wire == WIRE_VARINT:
            message.incarnation = <uint32_t>read_varint(&reader)
        elif field == 4 and wire == WIRE_VARINT:
            message.second_incarnation = <uint32_t>read_varint(&reader)
        elif BODY_EVENT <= field <= BODY_ACTIVATION and wire == WIRE_BYTES:
            message.split = field == message.body
            message.body = field
            message.request = read_bytes(&reader)
        else:
            read_skip(&reader, field, wire)
    return not reader.failed


cdef void join_bodies(Text data, Writer* body) noexcept nogil:
    """The pieces of a Mutation's last body one after the other, which merges them."""
    cdef Reader reader = reader_of(data.data, data.length)
    cdef uint32_t field = 0, wire = 0, current = BODY_NONE
    cdef Text piece
    while read_tag(&reader, &field, &wire):
        if not (BODY_EVENT <= field <= BODY_ACTIVATION) or wire != WIRE_BYTES:
            read_skip(&reader, field, wire)
            continue
        piece = read_bytes(&reader)
        if field != current:
            body.length = 0
        current = field
        put_raw(body, piece.data, piece.length)


cdef bytes mutation_joined(bytes data, const MutationMessage* message):
    """A Mutation whose body is in one piece, from one with several."""
    cdef Writer body, whole
    cdef Stamping stamping
    cdef Text request
    memset(&body, 0, sizeof(Writer))
    memset(&whole, 0, sizeof(Writer))
    try:
        join_bodies(text_from(data), &body)
        request.data = <const char*>body.data
        request.length = <uint32_t>body.length
        stamping.stamp = message.stamp
        stamping.playbook = message.playbook
        stamping.incarnation = message.incarnation
        stamping.second_incarnation = message.second_incarnation
        write_mutation(&whole, &stamping, message.body, request)
        if body.failed or whole.failed:
            raise MemoryError("mutation")
        return (<char*>whole.data)[:whole.length]
    finally:
        writer_free(&body)
        writer_free(&whole)


cdef void event_key(
    const TrackMessage* message, int64_t occurred_us, uint64_t* key
) noexcept nogil:
    """What identifies an event besides its identity: 128 bits of its id and payload.

    Properties are summed, so that their order on the wire does not matter.  What the event came of
    is payload too: what a counter keeps of a decision would be that of the first one to come.
    """
    cdef uint64_t parts[4]
    cdef const Entry* entry
    cdef uint32_t i
    cdef XXH128_hash_t digest
    parts[0] = XXH3_64bits(message.event_id.data, message.event_id.length)
    parts[1] = XXH3_64bits(message.event.data, message.event.length)
    parts[2] = <uint64_t>occurred_us
    parts[3] = 0
    for i in range(message.properties.count):
        entry = &message.properties.items[i]
        parts[3] += XXH3_64bits_withSeed(
            entry.name.data, entry.name.length, value_hash(&entry.value)
        )
    if message.decision_id.length:
        parts[3] += XXH3_64bits_withSeed(
            message.decision_id.data, message.decision_id.length, message.slot + 1
        )
    digest = XXH3_128bits_withSeed(parts, sizeof(parts), message.event_id.length)
    key[0] = digest.low64
    key[1] = digest.high64


cdef uint64_t value_hash(const Value* value) noexcept nogil:
    """A hash of a request's value: of its tag and content."""
    cdef uint64_t sum
    cdef uint32_t i
    if value.tag == TAG_STRING:
        return XXH3_64bits_withSeed(value.as_.s, value.length, value.tag)
    if value.tag == TAG_LIST:
        sum = value.length
        for i in range(value.length):
            sum = sum * <uint64_t>0x9E3779B97F4A7C15 + value_hash(&value.as_.items[i])
        return sum
    sum = value.as_.u if value.tag != TAG_NULL else 0
    return XXH3_64bits_withSeed(&sum, 8, (<uint64_t>value.length << 8) | value.tag)


cdef Value* event_values(
    const EventSpec* event, TrackMessage* message, int64_t occurred_us, Arena* arena, Fault* fault
) noexcept nogil:
    """The event's properties by index, its own time last; NULL without memory."""
    cdef uint32_t count = event.property_names.count
    cdef Value* values = <Value*>arena_take(arena, count * sizeof(Value))
    if values == NULL:
        return NULL
    # A fault leaves unset what comes after it.
    fit_properties(event, &message.properties, values, fault)
    values[count - 1] = value_timestamp_us(occurred_us)
    return values


cdef uint32_t matching_counters(
    const PlaybookState* playbook, const TrackEvent* track, Machine* machine, CounterInput* inputs
) noexcept nogil:
    """The counters whose filter the event passes, with the property each counts."""
    cdef const EventSpec* event = track.event
    cdef const CounterSpec* counter
    cdef Value passed
    cdef uint32_t count = 0
    cdef uint32_t i
    machine.inputs = track.values
    machine.inputs_count = event.property_names.count
    for i in range(event.counters_count):
        counter = &playbook.counters[event.counters[i]]
        if counter.filtered:
            machine.steps_left = STEPS_MAX
            machine.top = 0
            passed = evaluate(machine, &counter.filter)
            if passed.tag != TAG_BOOL or not passed.as_.i:
                continue
        inputs[count].column = counter.column
        inputs[count].value = value_null()
        if counter.property == COUNTED_KEY:
            inputs[count].value = (
                track.keys if is_reservation(playbook, event) else outcome_key(&track.message)
            )
        elif counter.property >= 0:
            inputs[count].value = track.values[counter.property]
        # Nothing can be made of a property the event does not have.
        if counter.property != COUNTED_NOTHING and inputs[count].value.tag == TAG_NULL:
            continue
        count += 1
    return count


cdef StoreStatus apply_event(
    const PlaybookState* playbook, const MutationMessage* mutation, StoreState* store,
    Serving* serving, Applied* applied,
) noexcept nogil:
    cdef TrackEvent track
    cdef Arena* arena = &serving.machine.arena
    cdef Reader reader = reader_of(mutation.request.data, mutation.request.length)
    cdef int32_t index
    if read_track(&reader, &track.message, arena, &serving.fault):
        return STORE_OK
    # The clock was checked at the edge: no time is too far ahead here.
    if event_times(
        &track.message, TIMESTAMP_US_FAR, &track.id_ms, &track.occurred_us, &serving.fault
    ):
        return STORE_OK
    index = names_find(&playbook.event_names, track.message.event)
    if index < 0 or check_identity(
        &track.message.identity, "identity", &track.identity, &serving.fault
    ):
        return STORE_OK
    track.event = &playbook.events[index]
    track.values = NULL
    # What a reservation lists is no property, and may be longer than one: its counters read it.
    if is_reservation(playbook, track.event):
        track.keys = reservation_keys(&track.message, arena)
        if track.keys.tag == TAG_ERROR:
            return STORE_NO_MEMORY
    else:
        # A fault leaves unset what came after it; the edge has let none through.
        track.values = event_values(
            track.event, &track.message, track.occurred_us, arena, &serving.fault
        )
        if track.values == NULL:
            return STORE_NO_MEMORY
    if is_kept_by_itself(playbook, &track):
        track.key[0] = decision_hash(track.message.decision_id)
        track.key[1] = identity_hash(track.identity)
    else:
        event_key(&track.message, track.occurred_us, track.key)
    return apply_track(playbook, &track, mutation, store, serving, applied)


cdef inline bint is_kept_by_itself(
    const PlaybookState* playbook, const TrackEvent* track
) noexcept nogil:
    """Whether it is a reservation without an id."""
    return track.message.event_id.length == 0 and is_reservation(playbook, track.event) and (
        track.keys.tag == TAG_LIST
    )


cdef StoreStatus apply_reservation(
    const PlaybookState* playbook, const TrackEvent* track, const MutationMessage* mutation,
    StoreState* store,
) noexcept nogil:
    """Let the counter of reservations keep one that has no id: nothing else counts those."""
    cdef CounterInput input
    input.column = playbook.counters[playbook.reservations.reserved].column
    input.value = track.keys
    return store_keep(
        store, track.identity, track.key[1], mutation.incarnation,
        reservation_event(track.key[0], &track.keys, mutation.incarnation), track.occurred_us,
        &input,
    )


cdef StoreStatus apply_track(
    const PlaybookState* playbook, const TrackEvent* track, const MutationMessage* mutation,
    StoreState* store, Serving* serving, Applied* applied,
) noexcept nogil:
    """Let counters count an event that was read."""
    cdef uint32_t count
    cdef StoreStatus status
    cdef CounterInput* inputs
    if is_kept_by_itself(playbook, track):
        return apply_reservation(playbook, track, mutation, store)
    inputs = <CounterInput*>arena_take(
        &serving.machine.arena, (track.event.counters_count + 1) * sizeof(CounterInput)
    )
    if inputs == NULL:
        return STORE_NO_MEMORY
    count = matching_counters(playbook, track, &serving.machine, inputs)
    status = store_add(
        store, track.identity, mutation.incarnation, track.key, track.id_ms, track.occurred_us,
        inputs, count, 0 if mutation.was_parked else store_horizon_ms(store),
        not mutation.from_log,
    )
    applied.duplicate = status == STORE_DUPLICATE
    if track.message.decision_id.length and (
        serving.budgets != NULL and atomic_read(&serving.budgets.count)
    ) and text_equal(track.message.event, text_of("impression")):
        budgets_confirm(
            serving.budgets, &track.message, identity_hash(track.identity),
            status == STORE_DUPLICATE,
        )
    return status


cdef void confirm_again(Text request, Serving* serving) noexcept nogil:
    """Look for orphans that an event confirms which is applied already."""
    cdef TrackMessage message
    cdef IdentityRef identity
    cdef Reader reader = reader_of(request.data, request.length)
    arena_reset(&serving.machine.arena)
    if read_track(&reader, &message, &serving.machine.arena, &serving.fault) or (
        message.decision_id.length == 0 or not text_equal(message.event, text_of("impression"))
    ):
        return
    if check_identity(&message.identity, "identity", &identity, &serving.fault) == FAULT_NONE:
        budgets_confirm(serving.budgets, &message, identity_hash(identity), True)


cdef StoreStatus apply_attributes(
    const PlaybookState* playbook, const MutationMessage* mutation, StoreState* store,
    Serving* serving, Applied* applied,
) noexcept nogil:
    cdef UpsertMessage message
    cdef IdentityRef identity
    cdef Arena* arena = &serving.machine.arena
    cdef Reader reader = reader_of(mutation.request.data, mutation.request.length)
    cdef AttributeInput* inputs
    cdef const AttributeSpec* spec
    cdef Entry* entry
    cdef StoreStatus status
    cdef bint consents = False
    cdef int32_t index
    cdef uint32_t count = 0
    cdef uint32_t i
    if read_upsert(&reader, &message, arena, &serving.fault):
        return STORE_OK
    if check_identity(&message.identity, "identity", &identity, &serving.fault):
        return STORE_OK
    inputs = <AttributeInput*>arena_take(
        arena, (message.attributes.count + 1) * sizeof(AttributeInput)
    )
    if inputs == NULL:
        return STORE_NO_MEMORY
    for i in range(message.attributes.count):
        entry = &message.attributes.items[i]
        # Hidden attributes too: this is where the lifecycle stage comes in.
        index = names_find(&playbook.attribute_names, entry.name)
        if index < 0:
            continue
        spec = &playbook.attributes[index]
        if fit_value(
            &entry.value, spec.type, spec.size, True, "attributes", entry.name, &serving.fault
        ):
            continue
        inputs[count].column = spec.column
        inputs[count].value = entry.value
        count += 1
        consents |= spec.consent
    status = store_set(
        store, identity, mutation.incarnation, mutation.stamp, inputs, count, &applied.created
    )
    if consents:
        store_regrounds(store, identity)
    return status


cdef StoreStatus apply_link(
    const MutationMessage* mutation, StoreState* store, Serving* serving
) noexcept nogil:
    cdef LinkMessage message
    cdef IdentityRef first, second
    cdef StoreStatus status
    cdef Reader reader = reader_of(mutation.request.data, mutation.request.length)
    if read_link(&reader, &message, &serving.fault):
        return STORE_OK
    if check_identity(&message.first, "first", &first, &serving.fault):
        return STORE_OK
    if check_identity(&message.second, "second", &second, &serving.fault):
        return STORE_OK
    status = store_link(
        store, first, mutation.incarnation, second, mutation.second_incarnation,
        mutation.stamp, not message.unlink,
    )
    store_regrounds(store, first)
    store_regrounds(store, second)
    return status


cdef void apply_erasure(const MutationMessage* mutation, StoreState* store) noexcept nogil:
    cdef Reader reader = reader_of(mutation.request.data, mutation.request.length)
    cdef IdentityRef identity
    cdef uint32_t incarnation = 0
    while next_erased(&reader, &identity, &incarnation):
        store_erase(store, identity, incarnation)
        store_regrounds(store, identity)


cdef bint next_erased(
    Reader* reader, IdentityRef* identity, uint32_t* incarnation
) noexcept nogil:
    """The next identity of an Erasure that is well formed; False at the end."""
    cdef Fault fault
    cdef IdentityField field
    cdef uint32_t number = 0, wire = 0
    while read_tag(reader, &number, &wire):
        if number != 1 or wire != WIRE_BYTES:
            read_skip(reader, number, wire)
        elif read_erased(reader, &field, incarnation) and (
            check_identity(&field, "identity", identity, &fault) == FAULT_NONE
        ):
            return True
    return False


cdef Text erasure_id(Text request) noexcept nogil:
    """The id of the request that an Erasure came of; empty for one of retention."""
    cdef Reader reader = reader_of(request.data, request.length)
    cdef uint32_t field = 0, wire = 0
    cdef Text write_id
    write_id.data = ""
    write_id.length = 0
    while read_tag(&reader, &field, &wire):
        if field == 3 and wire == WIRE_BYTES:
            write_id = read_string(&reader)
        else:
            read_skip(&reader, field, wire)
    return write_id


cdef bint read_erased(
    Reader* reader, IdentityField* identity, uint32_t* incarnation
) noexcept nogil:
    """Read an ErasedIdentity; False when it is malformed."""
    cdef Reader inner = read_message(reader)
    cdef uint32_t field = 0, wire = 0
    memset(identity, 0, sizeof(IdentityField))
    incarnation[0] = 0
    while read_tag(&inner, &field, &wire):
        if field == 1 and wire == WIRE_BYTES:
            read_identity(&inner, identity)
        elif field == 2 and wire == WIRE_VARINT:
            incarnation[0] = <uint32_t>read_varint(&inner)
        else:
            read_skip(&inner, field, wire)
    return not inner.failed


cdef uint64_t event_named(Text data, Serving* serving) noexcept nogil:
    """What identifies a mutation's event among those seen; 0 when it holds none."""
    cdef MutationMessage mutation
    cdef TrackMessage message
    cdef Reader reader
    cdef int64_t id_ms = 0, occurred_us = 0
    cdef uint64_t key[2]
    if not read_mutation(data, &mutation) or mutation.body != BODY_EVENT:
        return 0
    reader = reader_of(mutation.request.data, mutation.request.length)
    if read_track(&reader, &message, &serving.machine.arena, &serving.fault):
        return 0
    if event_times(&message, TIMESTAMP_US_FAR, &id_ms, &occurred_us, &serving.fault):
        return 0
    event_key(&message, occurred_us, key)
    return event_hash(key, mutation.incarnation)


cdef bint event_is_late(Text request, int64_t horizon_ms, Serving* serving) noexcept nogil:
    """Whether an event's id is older than the horizon; what no version can read is.

    Of one without an id nothing is remembered, so that it comes in time whenever it comes.
    """
    cdef TrackMessage message
    cdef Reader reader = reader_of(request.data, request.length)
    cdef int64_t id_ms = 0, occurred_us = 0
    if read_track(&reader, &message, &serving.machine.arena, &serving.fault):
        return True
    if event_times(&message, TIMESTAMP_US_FAR, &id_ms, &occurred_us, &serving.fault):
        return True
    return message.event_id.length != 0 and id_ms < horizon_ms
