"""Replay: a recorded decision made again, from what the record says was read."""


cdef struct Recorded:
    # A DecisionRecord as far as it is decided again from it.
    Text request
    Header header
    bint person_known
    uint8_t leave
    int64_t decided_us


cdef void read_recorded_response(Reader* reader, Recorded* recorded) noexcept nogil:
    """What the node, and not the playbook, has put into the answer."""
    cdef Reader inner = read_message(reader)
    cdef Reader kinds
    cdef PositionField position
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
                recorded.header.log_away |= read_varint(&kinds) == DEGRADATION_LOG_AWAY
        elif field == 6 and wire == WIRE_VARINT:
            recorded.person_known = read_varint(&inner) != 0
        else:
            read_skip(&inner, field, wire)
    recorded.header.position.epoch = position.epoch
    recorded.header.position.sequence = position.sequence
    recorded.header.position.nonce = position.nonce
    if inner.failed:
        reader.failed = True


cdef TapeEntry* replay_entry(
    const PlaybookState* playbook, Replay* replay, Text attribute, Text counter, Text key
) noexcept nogil:
    """Where an input belongs in this playbook; NULL where it has no such thing."""
    cdef int32_t index
    cdef uint32_t i
    if attribute.length:
        index = names_find(&playbook.attribute_names, attribute)
        return &replay.attributes[index] if index >= 0 else NULL
    for i in range(playbook.counters_count):
        if key.length == 16 and memcmp(playbook.counters[i].key, key.data, 16) == 0:
            return &replay.counters[i]
    return NULL


cdef int read_input(
    Reader* reader, const PlaybookState* playbook, Replay* replay, Arena* arena, Fault* fault
) noexcept nogil:
    """Read an Input into its place."""
    cdef Reader inner = read_message(reader)
    cdef Reader value_reader
    cdef TapeEntry read
    cdef TapeEntry* to
    cdef Text attribute = text_of(""), counter = text_of(""), key = text_of(""), list_text
    cdef uint32_t field = 0, wire = 0
    cdef int kind = FAULT_NONE
    memset(&read, 0, sizeof(read))
    read.value.tag = TAG_ABSENT
    while kind == FAULT_NONE and read_tag(&inner, &field, &wire):
        if field == 1 and wire == WIRE_BYTES:
            attribute = read_bytes(&inner)
        elif field == 2 and wire == WIRE_BYTES:
            counter = read_bytes(&inner)
        elif field == 3 and wire == WIRE_BYTES:
            key = read_bytes(&inner)
        elif field == 4 and wire == WIRE_BYTES:
            value_reader = read_message(&inner)
            kind = read_value(&value_reader, &read.value, arena, fault)
        elif field == 6 and wire == WIRE_BYTES:
            list_text = read_bytes(&inner)
            read.ages = <const uint8_t*>list_text.data
            read.ages_length = list_text.length
        elif field == 7 and wire == WIRE_BYTES:
            list_text = read_bytes(&inner)
            read.moments = <const uint8_t*>list_text.data
            read.moments_length = list_text.length
        else:
            read_skip(&inner, field, wire)
    if kind == FAULT_NONE and inner.failed:
        kind = fault_malformed(fault)
    to = replay_entry(playbook, replay, attribute, counter, key)
    if to == NULL:
        return kind
    # Without a value it is unset, or a counter that nothing has been counted by.
    if read.value.tag == TAG_ABSENT and read.moments == NULL:
        to.ages = read.ages
        to.ages_length = read.ages_length
        to.has_ages = True
    if read.value.tag == TAG_ABSENT and read.ages == NULL:
        to.moments = read.moments
        to.moments_length = read.moments_length
        to.has_moments = True
    if read.ages == NULL and read.moments == NULL:
        to.value = read.value if read.value.tag != TAG_ABSENT else value_null()
    return kind


cdef int read_record(
    Text record, const PlaybookState* playbook, Recorded* recorded, Replay* replay, Arena* arena,
    Fault* fault,
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
            kind = read_input(&reader, playbook, replay, arena, fault)
        elif field == 6 and wire == WIRE_VARINT:
            recorded.leave = <uint8_t>min(read_varint(&reader), <uint64_t>LEAVE_RANKING)
        else:
            read_skip(&reader, field, wire)
    return kind if kind != FAULT_NONE or not reader.failed else fault_malformed(fault)


cdef int seat_replay(
    EngineSeat* seat, const PlaybookState* playbook, Text record, bint explain, uint32_t* missing
) noexcept nogil:
    """Decide a record again into the writer; `missing` is how many reads it has nothing of."""
    cdef Serving* serving = &seat.serving
    cdef Arena* arena = &serving.machine.arena
    cdef DecideCall call
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
    if replay.attributes == NULL or replay.counters == NULL:
        return fault_arena(&serving.fault)
    kind = read_record(record, playbook, &recorded, &replay, arena, &serving.fault)
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
    kind = decide_call(serving, playbook, seat.state.store, &call, &recorded.header)
    serving.replay = NULL
    serving.leave = LEAVE_NOTHING
    missing[0] = replay.missing
    return kind
