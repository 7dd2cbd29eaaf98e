"""Replay: a recorded decision made again, from what the record says was read."""


cdef enum:
    # Of a list of ages or moments: more than all that a person's counter can keep.
    REPLAY_LIST_BYTES_MAX = 4194304


cdef struct Places32:
    # For each place in one playbook its index in another, or -1; none where they are the same.
    const int32_t* items
    uint32_t count


cdef struct Moved:
    # From the playbook that decided to the one that decides again.
    Places32 attributes
    Places32 counters
    Places32 budgets


cdef struct Recorded:
    # A DecisionRecord as far as it is decided again from it.
    Text request
    Header header
    bint consent_stale
    bint person_known
    uint8_t leave
    int64_t decided_us


cdef void read_recorded_response(Reader* reader, Recorded* recorded) noexcept nogil:
    """What the node, and not the playbook, has put into the answer."""
    cdef Reader inner = read_message(reader)
    cdef Reader kinds
    cdef PositionField position
    cdef uint64_t degradation
    cdef uint32_t field = 0, wire = 0
    memset(&position, 0, sizeof(position))
    while read_tag(&inner, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            recorded.header.generation = read_varint(&inner)
        elif field == 2 and wire == WIRE_BYTES:
            read_position(&inner, &position)
        elif field == 3 and wire == WIRE_VARINT:
            recorded.header.staleness_ms = <uint32_t>read_varint(&inner)
        elif field == 4 and wire == WIRE_BYTES:
            kinds = read_message(&inner)
            while kinds.at < kinds.end and not kinds.failed:
                degradation = read_varint(&kinds)
                recorded.header.log_away |= degradation == DEGRADATION_LOG_AWAY
                recorded.consent_stale |= degradation == DEGRADATION_CONSENT_STALE
        elif field == 6 and wire == WIRE_VARINT:
            recorded.person_known = read_varint(&inner) != 0
        else:
            read_skip(&inner, field, wire)
    recorded.header.position.epoch = position.epoch
    recorded.header.position.sequence = position.sequence
    recorded.header.position.nonce = position.nonce
    if inner.failed:
        reader.failed = True


cdef inline int64_t replay_place(
    uint32_t count, uint64_t place, const Places32* places
) noexcept nogil:
    """Where what was read at a place (from 1) belongs in this playbook; -1 for nowhere."""
    cdef int64_t index = <int64_t>place - 1
    if places.count:
        index = places.items[index] if 0 <= index < <int64_t>places.count else -1
    return index if 0 <= index < <int64_t>count else -1


cdef inline TapeEntry* replay_entry(
    TapeEntry* entries, uint32_t count, uint64_t place, const Places32* places
) noexcept nogil:
    cdef int64_t index = replay_place(count, place, places)
    return &entries[index] if index >= 0 else NULL


cdef int fit_input(
    const PlaybookState* playbook, const StoreState* store, const Replay* replay,
    const TapeEntry* to, TapeEntry* read, Fault* fault,
) noexcept nogil:
    """Refuse what the playbook could not have read there: a file may be anybody's."""
    cdef const AttributeSpec* attribute
    cdef const CounterColumn* column
    cdef Text name
    cdef uint8_t type
    cdef uint32_t size = 0
    if read.ages_length > REPLAY_LIST_BYTES_MAX or read.moments_length > REPLAY_LIST_BYTES_MAX:
        return fault_set(fault, FAULT_INVALID, "inputs", "a list over 4 MiB", "a shorter one")
    if read.value.tag == TAG_ABSENT or to == NULL:
        return FAULT_NONE
    if replay.attributes <= to < replay.attributes + playbook.attribute_names.count:
        attribute = &playbook.attributes[to - replay.attributes]
        name, type, size = attribute.name, attribute.type, attribute.size
    else:
        name = playbook.counters[to - replay.counters].name
        column = &store.counters[playbook.counters[to - replay.counters].column]
        type = counted_type(column)
    return fit_value(&read.value, type, size, True, "inputs", name, fault)


cdef inline uint8_t counted_type(const CounterColumn* column) noexcept nogil:
    """The type of what a counter makes of its events."""
    if column.aggregate == COUNTS or column.aggregate == DISTINCT:
        return TYPE_INT
    if column.aggregate == LAST_N:
        return TYPE_STRING_LIST if column.type == TYPE_STRING else TYPE_VECTOR
    return column.type


cdef inline TapeEntry* input_place(
    Reader* reader, uint32_t field, const PlaybookState* playbook, const Moved* moved,
    Replay* replay,
) noexcept nogil:
    """Where an attribute or a counter belongs whose number comes next; NULL for nowhere."""
    if field == INPUT_OF_ATTRIBUTE:
        return replay_entry(
            replay.attributes, playbook.attribute_names.count, read_varint(reader),
            &moved.attributes,
        )
    return replay_entry(
        replay.counters, playbook.counters_count, read_varint(reader), &moved.counters
    )


cdef inline int input_content(
    Reader* reader, uint32_t field, TapeEntry* to, Arena* arena, Fault* fault
) noexcept nogil:
    """Read what an attribute or a counter held: a value, or a list."""
    cdef Reader inner = read_message(reader)
    cdef int kind = FAULT_NONE
    if field == INPUT_AGES:
        to.ages = inner.at
        to.ages_length = <uint32_t>(inner.end - inner.at)
    elif field == INPUT_MOMENTS:
        to.moments = inner.at
        to.moments_length = <uint32_t>(inner.end - inner.at)
    else:
        kind = read_value(&inner, &to.value, arena, fault)
        reader.failed |= inner.failed
    return kind


cdef int read_input(
    Reader* reader, const PlaybookState* playbook, const StoreState* store, const Moved* moved,
    Replay* replay, Arena* arena, Fault* fault,
) noexcept nogil:
    """Read an Input into its place."""
    cdef Reader inner = read_message(reader)
    cdef TapeEntry read
    cdef TapeEntry* to = NULL
    cdef int64_t budget = -1
    cdef Text text
    cdef uint32_t field = 0, wire = 0
    cdef int kind = FAULT_NONE
    memset(&read, 0, sizeof(read))
    while kind == FAULT_NONE and read_tag(&inner, &field, &wire):
        if field in (INPUT_OF_ATTRIBUTE, INPUT_OF_COUNTER) and wire == WIRE_VARINT:
            to = input_place(&inner, field, playbook, moved, replay)
        elif field in (INPUT_VALUE, INPUT_AGES, INPUT_MOMENTS) and wire == WIRE_BYTES:
            kind = input_content(&inner, field, &read, arena, fault)
        elif field == INPUT_OF_BUDGET and wire == WIRE_VARINT:
            budget = replay_place(playbook.budgets_count, read_varint(&inner), &moved.budgets)
        elif field == INPUT_LEFT and wire == WIRE_BYTES:
            text = read_bytes(&inner)
            if budget >= 0:
                replay_budget(&replay.budgets[budget], text)
        else:
            read_skip(&inner, field, wire)
    if kind == FAULT_NONE and inner.failed:
        kind = fault_malformed(fault)
    if kind == FAULT_NONE:
        kind = fit_input(playbook, store, replay, to, &read, fault)
    if kind == FAULT_NONE and to != NULL:
        replay_put(to, &read)
    return kind


cdef void replay_put(TapeEntry* to, const TapeEntry* read) noexcept nogil:
    """Add what was read; with neither a value nor a list nothing was counted."""
    cdef bint nothing = (
        read.value.tag == TAG_ABSENT and read.ages == NULL and read.moments == NULL
    )
    if read.ages != NULL or nothing:
        to.ages = read.ages
        to.ages_length = read.ages_length
        to.has_ages = True
    if read.moments != NULL or nothing:
        to.moments = read.moments
        to.moments_length = read.moments_length
        to.has_moments = True
    if read.value.tag != TAG_ABSENT:
        to.value = read.value
    elif nothing and to.value.tag == TAG_ABSENT:
        # Rules of the contact policy may count what expressions read, too.
        to.value = value_null()


cdef void read_places(
    Reader* reader, TapeEntry* entries, uint32_t count, const Places32* places
) noexcept nogil:
    """A packed list of what was read and had nothing."""
    cdef Reader inner = read_message(reader)
    cdef TapeEntry nothing
    cdef TapeEntry* to
    memset(&nothing, 0, sizeof(nothing))
    while inner.at < inner.end and not inner.failed:
        to = replay_entry(entries, count, read_varint(&inner), places)
        if to != NULL:
            replay_put(to, &nothing)


cdef int read_record(
    Text record, const PlaybookState* playbook, const StoreState* store, const Moved* moved,
    Recorded* recorded, Replay* replay, Arena* arena, Fault* fault,
) noexcept nogil:
    cdef Reader reader = reader_of(record.data, record.length)
    cdef uint32_t field = 0, wire = 0
    cdef int kind = FAULT_NONE
    while kind == FAULT_NONE and read_tag(&reader, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            recorded.decided_us = <int64_t>read_varint(&reader)
        elif field == 3 and wire == WIRE_BYTES:
            recorded.request = read_bytes(&reader)
        elif field == 4 and wire == WIRE_BYTES:
            read_recorded_response(&reader, recorded)
        elif field == 5 and wire == WIRE_BYTES:
            kind = read_input(&reader, playbook, store, moved, replay, arena, fault)
        elif field == RECORD_UNSET and wire == WIRE_BYTES:
            read_places(
                &reader, replay.attributes, playbook.attribute_names.count, &moved.attributes
            )
        elif field == RECORD_EMPTY and wire == WIRE_BYTES:
            read_places(&reader, replay.counters, playbook.counters_count, &moved.counters)
        elif field == 6 and wire == WIRE_VARINT:
            recorded.leave = <uint8_t>min(read_varint(&reader), <uint64_t>LEAVE_RANKING)
        else:
            read_skip(&reader, field, wire)
    return kind if kind != FAULT_NONE or not reader.failed else fault_malformed(fault)


cdef int seat_replay(
    EngineSeat* seat, const PlaybookState* playbook, Text record, const Moved* moved, bint explain,
    Lacking* lacking,
) noexcept nogil:
    """Decide a record again into the writer; `lacking` are the reads that it has nothing of."""
    cdef Serving* serving = &seat.serving
    cdef Arena* arena = &serving.machine.arena
    cdef DecideCall call
    cdef Deciding made
    cdef Recorded recorded
    cdef Replay replay
    cdef Reader reader
    cdef int kind
    memset(&recorded, 0, sizeof(recorded))
    memset(&replay, 0, sizeof(replay))
    replay.attributes = <TapeEntry*>arena_zeroed(
        arena, playbook.attribute_names.count * sizeof(TapeEntry)
    )
    replay.counters = <TapeEntry*>arena_zeroed(arena, playbook.counters_count * sizeof(TapeEntry))
    replay.budgets = <BudgetView*>arena_zeroed(arena, playbook.budgets_count * sizeof(BudgetView))
    if replay.attributes == NULL or replay.counters == NULL or replay.budgets == NULL:
        return fault_arena(&serving.fault)
    kind = read_record(
        record, playbook, seat.state.store, moved, &recorded, &replay, arena, &serving.fault
    )
    if kind != FAULT_NONE:
        return kind
    reader = reader_of(recorded.request.data, recorded.request.length)
    kind = read_decide(&reader, &call.message, arena, &serving.fault)
    if kind == FAULT_NONE:
        kind = check_decide(playbook, &call, arena, recorded.decided_us, &serving.fault)
    if kind != FAULT_NONE:
        return kind
    call.message.explain |= explain
    replay.person_known = recorded.person_known
    serving.leave = recorded.leave
    serving.replay = &replay
    serving.consents_until_us = 0 if recorded.consent_stale else CONSENTS_ALWAYS
    kind = decide_call(serving, playbook, seat.state.store, &call, &recorded.header, &made)
    serving.replay = NULL
    serving.leave = LEAVE_NOTHING
    lacking[0] = replay.lacking
    return kind


cdef tuple reads_of(const Lacking* lacking):
    """What a record has nothing of, by kind and place."""
    kinds = {
        INPUT_OF_ATTRIBUTE: "attribute", INPUT_OF_COUNTER: "counter", INPUT_OF_BUDGET: "budget"
    }
    return tuple(
        [(kinds[lacking.of[i]], int(lacking.index[i])) for i in range(lacking.count)]
    )
