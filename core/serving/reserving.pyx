"""Reserving: a decision keeps what it proposes under caps before it is answered.

Two decisions about one person at once would both find room under a cap, so that from the person's
read to the reservation one of them runs at a time: under a latch of the person, whichever of the
linked identities it is asked about.
"""

cdef inline bint seat_reserves(
    const PlaybookState* playbook, const DecideCall* call, int64_t now_us
) noexcept nogil:
    """Whether a decision reserves: not a preview, and not one for a moment to come."""
    return playbook.reservations != NULL and not call.message.preview and (
        call.now_us <= now_us + AHEAD_US_MAX
    )


cdef uint32_t* reserve_begin(EngineSeat* seat, IdentityRef identity) noexcept nogil:
    """Read the person under the latch of all their identities, which the caller drops."""
    cdef Serving* serving = &seat.serving
    cdef StoreStatus status
    cdef bint waited = False
    cdef uint32_t* latch = latch_person(
        seat.state.cap_latches, seat.state.store, identity, &serving.person, &status, &waited
    )
    serving.person_read = status != STORE_NO_MEMORY
    if TELEMETRY and waited and serving.tally != NULL:
        counter_add(&serving.tally.reservations_waited, 1)
    return latch


cdef int seat_decide_told(
    EngineSeat* seat, const PlaybookState* playbook, DecideCall* call, const Header* header,
    int64_t now_us,
) noexcept nogil:
    """Decide, reserve what is proposed, and count the decision once."""
    cdef Serving* serving = &seat.serving
    cdef Deciding made
    cdef int kind
    if seat_reserves(playbook, call, now_us):
        kind = seat_decide_reserved(seat, playbook, call, header, &made, now_us)
    else:
        kind = decide_call(serving, playbook, seat.state.store, call, header, &made)
    if kind == FAULT_NONE:
        decide_told(serving, call, header, &made)
    return kind


cdef int seat_decide_reserved(
    EngineSeat* seat, const PlaybookState* playbook, DecideCall* call, const Header* header,
    Deciding* made, int64_t now_us,
) noexcept nogil:
    """Decide, and reserve what is proposed; without what caps are about where that fails."""
    cdef Serving* serving = &seat.serving
    cdef size_t start = serving.writer.length
    cdef uint32_t* latch
    cdef int kind
    latch = reserve_begin(seat, call.identity)
    serving.reserves = True
    kind = decide_call(serving, playbook, seat.state.store, call, header, made)
    serving.reserves = False
    if kind == FAULT_NONE and not seat_reserve(seat, playbook, call, now_us):
        budgets_undo(serving)
        serving.writer.length = start
        if serving.tape != NULL:
            tape_begin(serving.tape)
        serving.caps_shut = True
        kind = decide_call(serving, playbook, seat.state.store, call, header, made)
        serving.caps_shut = False
    latch_drop(latch)
    return kind


cdef bint seat_reserve(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call, int64_t now_us
) noexcept nogil:
    """Store the reservations of a decision; False where log or store cannot take one.

    Those before it then stay until they expire.
    """
    cdef const Propositions* proposed = &seat.serving.proposed
    cdef Tally* tally = seat.serving.tally
    cdef bint stored = not proposed.failed
    cdef uint32_t i
    for i in range(proposed.count):
        stored = seat_reserve_one(seat, playbook, call, &proposed.items[i], now_us)
        if TELEMETRY and tally != NULL:
            counter_add(&tally.reservations if stored else &tally.reservations_lost, 1)
        if not stored:
            break
    return stored


cdef bint seat_reserve_one(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call,
    const Proposition* proposition, int64_t now_us,
) noexcept nogil:
    cdef TrackEvent track
    cdef Entry about[2]
    about[0].name, about[1].name = text_of("action"), text_of("placement")
    about[0].value = value_string(proposition.action.name.data, proposition.action.name.length)
    about[1].value = value_string(
        proposition.placement.name.data, proposition.placement.name.length
    )
    write_reservation(seat, playbook, call, about, proposition.slot, now_us)
    memset(&track, 0, sizeof(TrackEvent))
    track.message.properties.items = about
    track.message.properties.count = 2
    track.message.slot = proposition.slot
    reservation_event(seat, playbook, call, &track)
    return seat_store_own(seat, playbook, call.identity, &track, ACK_APPLIED, now_us)


cdef void write_reservation(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call, const Entry* about,
    uint32_t slot, int64_t now_us,
) noexcept nogil:
    """A TrackRequest of the engine's own event."""
    cdef Writer* writer = &seat.crossing
    cdef int i
    write_own_event(seat, playbook.reservations.event.name, call, now_us)
    for i in range(2):
        write_value_entry(writer, 5, about[i].name, &about[i].value)
    write_text(writer, 7, call.message.decision_id)
    write_uint(writer, 8, slot)


cdef inline void reservation_event(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call, TrackEvent* track
) noexcept nogil:
    """What every node will read of the event that was written, but for its values.

    These stay unset: its counters have no filter, and count only what it is about.
    """
    cdef TrackMessage* message = &track.message
    # It follows the tag and the length of the first field.
    message.event_id = text_at(seat.crossing.data + 2, UUID_LENGTH)
    message.event = playbook.reservations.event.name
    message.decision_id = call.message.decision_id
    track.identity = call.identity
    track.event = playbook.reservations.event
    track.id_ms = uuid7_ms(message.event_id) if not seat.crossing.failed else 0
    track.occurred_us = call.now_us
    event_key(message, track.occurred_us, track.key)
