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
    """Store what a decision reserves; False where log or store cannot take it."""
    cdef const Propositions* proposed = &seat.serving.proposed
    cdef Tally* tally = seat.serving.tally
    cdef bint stored = not proposed.failed
    if proposed.count == 0:
        return stored
    stored = seat_reserve_all(seat, playbook, call, proposed, now_us)
    if TELEMETRY and tally != NULL:
        counter_add(
            &tally.reservations if stored else &tally.reservations_lost, proposed.count
        )
    return stored


cdef bint seat_reserve_all(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call,
    const Propositions* proposed, int64_t now_us,
) noexcept nogil:
    """Store one event about all of them."""
    cdef TrackEvent track
    cdef Entry about
    about.name = text_of("proposed")
    if not spell_propositions(proposed, &seat.serving.machine.arena, &about.value):
        return False
    write_own_event(seat, playbook.reservations.event.name, call, now_us)
    write_value_entry(&seat.crossing, 5, about.name, &about.value)
    write_text(&seat.crossing, 7, call.message.decision_id)
    if seat.crossing.failed:
        return False
    memset(&track, 0, sizeof(TrackEvent))
    track.message.properties.items = &about
    track.message.properties.count = 1
    reservation_event(seat, playbook, call, &track, now_us)
    return seat_store_reservation(seat, playbook, &track, now_us)


cdef bint seat_store_reservation(
    EngineSeat* seat, const PlaybookState* playbook, const TrackEvent* track, int64_t now_us
) noexcept nogil:
    """Accept the event that was written; False where log or store cannot take it.

    The person was read under the latch: of whom there was a row there is room, and what has
    erased it since ends the reservation, too.
    """
    cdef StoreState* store = seat.state.store
    cdef const Row* row = person_row(&seat.serving.person, track.identity)
    cdef Stamping stamping
    if seat_check_ack(seat, ACK_APPLIED) or (
        row == NULL and not store_has_room(store, track.identity)
    ):
        return False
    stamp_incarnation(
        seat, playbook, &stamping, now_us,
        row.incarnation if row != NULL else store_incarnation(store, track.identity),
    )
    return seat_accept_own(seat, playbook, &stamping, track, ACK_APPLIED)


cdef inline void reservation_event(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call, TrackEvent* track,
    int64_t now_us,
) noexcept nogil:
    """What every node will read of the event that was written, besides what it lists."""
    cdef TrackMessage* message = &track.message
    # It follows the tag and the length of the first field.
    message.event_id = text_at(seat.crossing.data + 2, UUID_LENGTH)
    message.event = playbook.reservations.event.name
    message.decision_id = call.message.decision_id
    track.identity = call.identity
    track.event = playbook.reservations.event
    # The time in its id.
    track.id_ms = now_us // 1000
    track.occurred_us = call.now_us
    event_key(message, track.occurred_us, track.key)
