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
    """Store one event about all of them; False where log or store cannot take it.

    The person was read under the latch: of whom there was a row there is room, and what has
    erased it since ends the reservation, too.
    """
    cdef StoreState* store = seat.state.store
    cdef const Row* row = person_row(&seat.serving.person, call.identity)
    cdef Stamping stamping
    cdef MutationMessage message
    cdef TrackEvent track
    cdef Applied applied
    cdef Awaited awaited = awaited_by(ACK_APPLIED, 0)
    if seat_check_ack(seat, ACK_APPLIED) or (
        row == NULL and not store_has_room(store, call.identity)
    ):
        return False
    stamp_incarnation(
        seat, playbook, &stamping, now_us,
        row.incarnation if row != NULL else store_incarnation(store, call.identity),
    )
    writer_reset(&seat.mutation)
    write_reservation(&seat.mutation, &stamping, playbook, call, proposed)
    reservation_track(playbook, call, proposed, &track)
    track.key[1] = seat.serving.person.hash
    message = stamped(&stamping, BODY_EVENT, text_of(""))
    return seat_accept_framed(
        seat, playbook, &message, &track, &applied, &awaited
    ) == FAULT_NONE


cdef void write_reservation(
    Writer* writer, const Stamping* stamping, const PlaybookState* playbook,
    const DecideCall* call, const Propositions* proposed,
) noexcept nogil:
    """The Mutation that it is in the log."""
    cdef size_t start
    write_stamping(writer, stamping)
    start = message_open(writer, BODY_EVENT)
    write_event_of(writer, playbook.reservations.event.name, call)
    write_propositions(writer, proposed)
    write_text(writer, 7, call.message.decision_id)
    message_close(writer, start)


cdef inline void reservation_track(
    const PlaybookState* playbook, const DecideCall* call, const Propositions* proposed,
    TrackEvent* track,
) noexcept nogil:
    """What every node will read of it in the log."""
    memset(track, 0, sizeof(TrackEvent))
    track.message.event = playbook.reservations.event.name
    track.message.decision_id = call.message.decision_id
    track.identity = call.identity
    track.event = playbook.reservations.event
    track.occurred_us = call.now_us
    track.keys = value_list(proposed.keys, proposed.count)
    track.key[0] = proposed.decision
