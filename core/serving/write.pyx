"""Writes: accepted at the edge, framed as a mutation, applied, and queued for the log."""

cdef int seat_check_write(EngineSeat* seat, IdentityRef identity, int64_t* ack) noexcept nogil:
    """Name the level and refuse one that is not to be had, and a new identity in a full store."""
    cdef Fault* fault = &seat.serving.fault
    cdef StoreState* store = seat.state.store
    if ack[0] == 0:
        ack[0] = seat.state.default_ack
    if seat_check_ack(seat, ack[0]):
        return fault.kind
    if store_has_room(store, identity):
        return FAULT_NONE
    fault_set(fault, FAULT_FULL, "identity", "", "")
    snprintf(
        fault.seen, sizeof(fault.seen), "the store holds its most of %llu identities",
        <unsigned long long>store.profiles_max,
    )
    return FAULT_FULL


cdef int seat_check_ack(EngineSeat* seat, int64_t ack) noexcept nogil:
    if engine_logs(seat.state):
        return gate_check(seat.state, ack, &seat.serving.fault)
    if ack == ACK_APPLIED:
        return FAULT_NONE
    return fault_set(
        &seat.serving.fault, FAULT_ACK_REFUSED, "ack",
        "LOGGED" if ack == ACK_LOGGED else "REPLICATED", "APPLIED: this server keeps no log",
    )


cdef enum:
    # Calls told of their log entry under one latch.
    TOLD_AT_ONCE = 64


cdef struct Awaited:
    # The level a call waits for, and whose call it is.
    int64_t ack
    uint64_t token
    # The engine's own: it is as safe as the level says, but no call waits for it.
    bint unwaited


cdef inline Awaited awaited_by(int64_t ack, uint64_t token) noexcept nogil:
    cdef Awaited awaited
    awaited.ack = ack
    awaited.token = token
    awaited.unwaited = False
    return awaited


cdef void seat_stamp(
    EngineSeat* seat, const PlaybookState* playbook, Stamping* stamping, int64_t now_us,
    IdentityRef identity,
) noexcept nogil:
    """What the node adds to a mutation."""
    stamp_incarnation(
        seat, playbook, stamping, now_us, store_incarnation(seat.state.store, identity)
    )


cdef inline void stamp_incarnation(
    EngineSeat* seat, const PlaybookState* playbook, Stamping* stamping, int64_t now_us,
    uint32_t incarnation,
) noexcept nogil:
    """As `seat_stamp`, of an identity whose incarnation is known."""
    memset(stamping, 0, sizeof(Stamping))
    stamping.stamp = engine_stamp(seat.state, now_us)
    stamping.playbook.data = <const char*>playbook.hash
    stamping.playbook.length = 16
    stamping.incarnation = incarnation


cdef int seat_accept(
    EngineSeat* seat, const PlaybookState* playbook, const Stamping* stamping, uint32_t body,
    Text request, const TrackEvent* track, Applied* applied, const Awaited* awaited,
) noexcept nogil:
    """Apply a checked request, and queue it where a log is attached.

    It is applied before the log has it, so that this node's decisions have it at once; the call
    is answered at the level that it asked for.  `track`: what was read of an event's request,
    in the seat's arena; else NULL.
    """
    cdef MutationMessage message = stamped(stamping, body, request)
    writer_reset(&seat.mutation)
    write_mutation(&seat.mutation, stamping, body, request)
    return seat_accept_framed(seat, playbook, &message, track, applied, awaited)


cdef int seat_accept_framed(
    EngineSeat* seat, const PlaybookState* playbook, MutationMessage* message,
    const TrackEvent* track, Applied* applied, const Awaited* awaited,
) noexcept nogil:
    """As `seat_accept`, of a mutation that stands in the seat's own buffer."""
    cdef WaitingWrites* waiting = &seat.state.waiting[
        QUEUE_REPLICATED if awaited.ack == ACK_REPLICATED else QUEUE_LOGGED
    ]
    cdef WaitingWrite write
    cdef int kind
    memset(applied, 0, sizeof(Applied))
    if seat.mutation.failed:
        return fault_set(&seat.serving.fault, FAULT_MEMORY, "", "no memory for the write", "")
    if not engine_logs(seat.state):
        return seat_apply(seat, playbook, message, track, applied)
    memset(&write, 0, sizeof(WaitingWrite))
    write.seat = seat if awaited.ack > ACK_APPLIED and not awaited.unwaited else NULL
    write.token = awaited.token
    write.length = <uint32_t>seat.mutation.length
    kind = waiting_reserve(waiting, &write, &seat.serving.fault)
    if kind != FAULT_NONE:
        return kind
    memcpy(write.data, seat.mutation.data, write.length)
    kind = seat_apply(seat, playbook, message, track, applied)
    if kind != FAULT_NONE:
        waiting_release(waiting, &write)
        return kind
    write.flag = applied.duplicate or applied.created
    if track != NULL:
        write.flag |= track.decision_age << 1
    write.generation = playbook.generation if playbook != NULL else 0
    if waiting_put(waiting, &write, seat.gathers):
        seat_gathered(seat, waiting)
    return FAULT_NONE


cdef inline void seat_gathered(EngineSeat* seat, WaitingWrites* waiting) noexcept nogil:
    """Note that a queue holds a write of this seat that the log may not have yet."""
    seat.gathered |= 1 << (waiting - &seat.state.waiting[0])


cdef void seat_let_go(EngineSeat* seat) noexcept nogil:
    """Let the log have what the seat has gathered."""
    cdef int queue
    for queue in range(QUEUES):
        if seat.gathered & 1 << queue:
            waiting_let_all(&seat.state.waiting[queue])
    seat.gathered = 0


cdef int seat_apply(
    EngineSeat* seat, const PlaybookState* playbook, MutationMessage* message,
    const TrackEvent* track, Applied* applied,
) noexcept nogil:
    """Apply a mutation whose playbook is at hand (NULL where it needs none)."""
    cdef StoreState* store = seat.state.store
    cdef StoreStatus status = STORE_OK
    if track == NULL:
        arena_reset(&seat.serving.machine.arena)
    if track != NULL:
        status = apply_track(playbook, track, message, store, &seat.serving, applied)
    elif message.body == BODY_EVENT:
        status = apply_event(playbook, message, store, &seat.serving, applied)
    elif message.body == BODY_ATTRIBUTES:
        status = apply_attributes(playbook, message, store, &seat.serving, applied)
    elif message.body == BODY_LINK:
        status = apply_link(message, store, &seat.serving)
    elif message.body == BODY_ERASURE:
        apply_erasure(message, store)
    if status == STORE_NO_MEMORY:
        return fault_set(&seat.serving.fault, FAULT_MEMORY, "", "no memory for the write", "")
    if status == STORE_FULL_DEDUPE or status == STORE_FULL_SETS:
        return fault_set(
            &seat.serving.fault, FAULT_FULL, "event_id",
            "the store remembers its most of events; wait for the horizon to move", "",
        )
    if status != STORE_OK and status != STORE_DUPLICATE and status != STORE_UNKNOWN:
        # Late, of a dead incarnation or of another type: without effect, by design.
        atomic_add(&seat.state.without_effect, 1)
    engine_applied(seat.state)
    return FAULT_NONE


cdef void seat_cross_stage(
    EngineSeat* seat, const PlaybookState* playbook, IdentityRef identity, int64_t now_us
) noexcept nogil:
    """Store the lifecycle stage when a write has moved it.

    Where that fails the write stands all the same, and every read moves the stage by itself.
    """
    cdef Serving* serving = &seat.serving
    cdef Decision decision
    cdef Stamping stamping
    cdef Applied applied
    cdef Awaited awaited = awaited_by(ACK_APPLIED, 0)
    cdef Text request
    if playbook.transitions_count == 0:
        return
    arena_reset(&serving.machine.arena)
    if store_read(seat.state.store, identity, &serving.person) == STORE_NO_MEMORY:
        return
    if not decision_begin(
        &decision, playbook, &serving.machine, &serving.person, True, identity, now_us, 0
    ) or stored_stage(&decision) == stage_index(&decision):
        return
    write_stage_request(
        &seat.crossing, playbook, identity, playbook.stages[decision.stage]
    )
    request.data = <const char*>seat.crossing.data
    request.length = <uint32_t>seat.crossing.length
    seat_stamp(seat, playbook, &stamping, now_us, identity)
    seat_accept(seat, playbook, &stamping, BODY_ATTRIBUTES, request, NULL, &applied, &awaited)


cdef void write_stage_request(
    Writer* writer, const PlaybookState* playbook, IdentityRef identity, Text stage
) noexcept nogil:
    """An UpsertProfileRequest of the hidden stage attribute."""
    cdef Value value = value_string(stage.data, stage.length)
    writer_reset(writer)
    write_identity(writer, 2, identity)
    write_value_entry(writer, 3, playbook.attributes[playbook.stage_attribute].name, &value)


cdef void seat_expose(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call, int64_t now_us
) noexcept nogil:
    """Store the exposures of a decision, so that the person keeps the variants.

    Nobody waits for the log: where it cannot take them the decision stands all the same, and they
    are counted.  A decision for a moment ahead of the clock is hypothetical and exposes nobody.
    """
    cdef const Exposures* exposures = &seat.serving.exposures
    cdef Tally* tally = seat.serving.tally
    cdef bint stored, watched
    cdef Cause cause
    cdef char decision_id[ID_BYTES_MAX]
    cdef uint32_t i
    if call.now_us > now_us + AHEAD_US_MAX:
        return
    watched = track_is_watched(playbook, &playbook.events[playbook.exposure]) and cross_begin(
        seat, seat_crossing(seat), call.identity, True
    )
    # What follows takes the arena, where it may lie.
    memcpy(decision_id, call.message.decision_id.data, call.message.decision_id.length)
    for i in range(exposures.count):
        write_exposure(
            seat, playbook, call, &playbook.experiments[exposures.experiments[i]],
            exposures.variants[i], now_us,
        )
        stored = seat_store_own(seat, playbook, call.identity, ACK_APPLIED, now_us)
        if TELEMETRY and tally != NULL:
            counter_add(&tally.exposures if stored else &tally.exposures_lost, 1)
    if watched:
        cause.id.data = decision_id
        cause.id.length = call.message.decision_id.length
        cause.id_ms = now_us // 1000
        cause.occurred_us = call.now_us
        cause.ack = ACK_APPLIED
        cross_end(
            seat, seat.crossed, playbook, &cause, &playbook.events[playbook.exposure], now_us
        )


cdef bint seat_store_own(
    EngineSeat* seat, const PlaybookState* playbook, IdentityRef identity, int64_t ack,
    int64_t now_us,
) noexcept nogil:
    """Accept the engine's own event that was written, at a level that nobody waits for.

    False where log or store cannot take it.  The arena is emptied.
    """
    cdef Stamping stamping
    cdef Applied applied
    cdef Awaited awaited
    cdef Text request
    if seat.crossing.failed or seat_check_write(seat, identity, &ack) != FAULT_NONE:
        return False
    seat_stamp(seat, playbook, &stamping, now_us, identity)
    awaited = awaited_by(ack, 0)
    awaited.unwaited = True
    request = text_at(seat.crossing.data, <uint32_t>seat.crossing.length)
    return seat_accept(
        seat, playbook, &stamping, BODY_EVENT, request, NULL, &applied, &awaited
    ) == FAULT_NONE


cdef void write_own_event(
    EngineSeat* seat, Text event, const DecideCall* call, int64_t now_us
) noexcept nogil:
    """Begin a TrackRequest of the engine's own event: all but its properties."""
    cdef Writer* writer = &seat.crossing
    cdef char id[UUID_LENGTH]
    writer_reset(writer)
    write_uuid7(&seat.identifiers, now_us, id)
    write_text(writer, 1, text_at(<const uint8_t*>id, UUID_LENGTH))
    write_event_of(writer, event, call)


cdef inline void write_event_of(Writer* writer, Text event, const DecideCall* call) noexcept nogil:
    """Whom an event of a decision's is about, what it is, and when it was."""
    write_identity(writer, 2, call.identity)
    write_text(writer, 3, event)
    write_time(writer, 4, call.now_us)


cdef inline void write_property(Writer* writer, const char* name, Text text) noexcept nogil:
    cdef Value value = value_string(text.data, text.length)
    write_value_entry(writer, 5, text_of(name), &value)


cdef void write_exposure(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call,
    const ExperimentSpec* experiment, uint32_t variant, int64_t now_us,
) noexcept nogil:
    """A TrackRequest of the engine's own event."""
    cdef Writer* writer = &seat.crossing
    write_own_event(seat, playbook.events[playbook.exposure].name, call, now_us)
    write_property(writer, "experiment", experiment.key)
    write_property(writer, "variant", experiment.variants[variant].name)


cdef void seat_answer_write(
    EngineSeat* seat, const Header* header, uint8_t flag, int64_t ack
) noexcept nogil:
    """The fields that every answer to a write has; `flag` as in a Completion."""
    cdef Writer* writer = &seat.serving.writer
    write_header(writer, header)
    write_uint(writer, 5, flag & 1)
    write_uint(writer, 6, <uint64_t>ack)
    # Of an event alone.
    write_uint(writer, 7, flag >> 1)


cdef uint32_t seat_log_told(
    EngineState* state, int queue, uint32_t count, Completion* told
) noexcept nogil:
    """Wake the calls of the first `count` writes that the log has taken; gives how many there were.

    `told` is what they are told, without what differs between them.
    """
    cdef WaitingWrite writes[TOLD_AT_ONCE]
    cdef uint32_t done = 0, some
    cdef bint owed = False
    while done < count:
        some = waiting_tell(
            &state.waiting[queue], writes, count - done, told, &owed
        )
        if some == 0:
            break
        done += some
    return done
