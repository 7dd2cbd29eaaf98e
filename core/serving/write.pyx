"""Writes: accepted at the edge, framed as a mutation, applied at once or after the log."""

cdef int seat_check_write(
    EngineSeat* seat, IdentityRef identity, int64_t ack, bint waits
) noexcept nogil:
    """Refuse a level that this call cannot reach, and a new identity in a full store."""
    cdef Fault* fault = &seat.serving.fault
    cdef StoreState* store = seat.state.store
    waits = waits and seat.state.waiting.capacity
    if ack == ACK_REPLICATED or (ack == ACK_LOGGED and not waits):
        return fault_set(
            fault, FAULT_INVALID, "ack", "LOGGED" if ack == ACK_LOGGED else "REPLICATED",
            "LOGGED or APPLIED: this server's log has no replicas"
            if waits else "APPLIED: this server keeps no log for the call",
        )
    if store_has_room(store, identity):
        return FAULT_NONE
    fault_set(fault, FAULT_FULL, "identity", "", "")
    snprintf(
        fault.seen, sizeof(fault.seen), "the store holds its most of %llu identities",
        <unsigned long long>store.profiles_max,
    )
    return FAULT_FULL


cdef void seat_stamp(
    EngineSeat* seat, const PlaybookState* playbook, Stamping* stamping, int64_t now_us,
    IdentityRef identity,
) noexcept nogil:
    """What the node adds to a mutation."""
    memset(stamping, 0, sizeof(Stamping))
    stamping.stamp = engine_stamp(seat.state, now_us)
    stamping.playbook.data = <const char*>playbook.hash
    stamping.playbook.length = 16
    stamping.incarnation = store_incarnation(seat.state.store, identity)


cdef int seat_frame(
    EngineSeat* seat, const Stamping* stamping, uint32_t body, Text request, Text* mutation
) noexcept nogil:
    """Frame a checked request as a mutation in the seat's own buffer."""
    seat.mutation.length = 0
    write_mutation(&seat.mutation, stamping, body, request)
    mutation.data = <const char*>seat.mutation.data
    mutation.length = <uint32_t>seat.mutation.length
    if seat.mutation.failed:
        return fault_set(&seat.serving.fault, FAULT_MEMORY, "", "no memory for the write", "")
    return FAULT_NONE


cdef int seat_accept(
    EngineSeat* seat, const PlaybookState* playbook, const Stamping* stamping, uint32_t body,
    Text request, Applied* applied,
) noexcept nogil:
    """Apply a checked request, and queue it where a log is attached."""
    cdef MutationMessage message
    cdef Text mutation
    cdef int kind = seat_frame(seat, stamping, body, request, &mutation)
    memset(applied, 0, sizeof(Applied))
    if kind == FAULT_NONE and seat.state.waiting.capacity:
        kind = waiting_put(
            seat.state, mutation, True, ACK_APPLIED, NULL, 0, &seat.serving.fault
        )
    if kind != FAULT_NONE:
        return kind
    # What was framed here is well formed.
    read_mutation(mutation, &message)
    return seat_apply(seat, playbook, &message, applied)


cdef int seat_defer(
    EngineSeat* seat, const Stamping* stamping, uint32_t body, Text request, int64_t ack,
    uint64_t token,
) noexcept nogil:
    """Queue a checked request for the log; it is applied and answered when the log has it."""
    cdef Text mutation
    cdef int kind = seat_frame(seat, stamping, body, request, &mutation)
    if kind != FAULT_NONE:
        return kind
    return waiting_put(seat.state, mutation, False, ack, seat, token, &seat.serving.fault)


cdef int seat_apply(
    EngineSeat* seat, const PlaybookState* playbook, MutationMessage* message, Applied* applied
) noexcept nogil:
    """Apply a mutation whose playbook is at hand (NULL where it needs none)."""
    cdef StoreState* store = seat.state.store
    cdef StoreStatus status = STORE_OK
    arena_reset(&seat.serving.machine.arena)
    if message.body == BODY_EVENT:
        status = apply_event(playbook, message, store, &seat.serving, applied)
    elif message.body == BODY_ATTRIBUTES:
        status = apply_attributes(playbook, message, store, &seat.serving, applied)
    elif message.body == BODY_LINK:
        status = apply_link(message, store, &seat.serving)
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
    atomic_add(&seat.state.position.sequence, 1)
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
    cdef Text request
    if playbook.transitions_count == 0:
        return
    arena_reset(&serving.machine.arena)
    if store_read(seat.state.store, identity, &serving.person) == STORE_NO_MEMORY:
        return
    if not decision_begin(
        &decision, playbook, &serving.machine, &serving.person, True, now_us, 0
    ) or stored_stage(&decision) == stage_index(&decision):
        return
    write_stage_request(
        &seat.crossing, playbook, identity, playbook.stages[decision.stage]
    )
    request.data = <const char*>seat.crossing.data
    request.length = <uint32_t>seat.crossing.length
    seat_stamp(seat, playbook, &stamping, now_us, identity)
    seat_accept(seat, playbook, &stamping, BODY_ATTRIBUTES, request, &applied)


cdef void write_stage_request(
    Writer* writer, const PlaybookState* playbook, IdentityRef identity, Text stage
) noexcept nogil:
    """An UpsertProfileRequest of the hidden stage attribute."""
    cdef Value value = value_string(stage.data, stage.length)
    cdef size_t entry
    writer.length = 0
    write_identity(writer, 2, identity)
    entry = message_open(writer, 3)
    write_text(writer, 1, playbook.attributes[playbook.stage_attribute].name)
    write_value(writer, 2, &value)
    message_close(writer, entry)


cdef void seat_answer_write(
    EngineSeat* seat, const Header* header, bint flag, int64_t ack
) noexcept nogil:
    """The fields that every answer to a write has; `flag` is its duplicate or created."""
    cdef Writer* writer = &seat.serving.writer
    write_header(writer, header)
    write_uint(writer, 5, flag)
    write_uint(writer, 6, <uint64_t>ack)


cdef void seat_log_done(
    EngineSeat* seat, const PlaybookState* playbook, WaitingWrite* write, int kind
) noexcept nogil:
    """Apply a write that the log has (or tell of `kind`), and wake who waits for it."""
    cdef MutationMessage message
    cdef Completion completion
    cdef Applied applied
    cdef Text mutation
    memset(&completion, 0, sizeof(Completion))
    memset(&applied, 0, sizeof(Applied))
    mutation.data = <const char*>write.data
    mutation.length = write.length
    if kind == FAULT_NONE and not write.applied:
        read_mutation(mutation, &message)
        kind = seat_apply(seat, playbook, &message, &applied)
        seat_cross_after(seat, playbook, &message)
    completion.kind = kind
    completion.token = write.token
    completion.duplicate = applied.duplicate
    completion.ack = write.ack
    completion.header = engine_header(seat.state, playbook)
    if write.seat != NULL:
        completions_put(&write.seat.completions, &completion)


cdef void seat_cross_after(
    EngineSeat* seat, const PlaybookState* playbook, MutationMessage* message
) noexcept nogil:
    """Look for a stage crossing after an event of the log was applied here."""
    cdef TrackMessage track
    cdef IdentityRef identity
    cdef Reader reader = reader_of(message.request.data, message.request.length)
    arena_reset(&seat.serving.machine.arena)
    if read_track(
        &reader, &track, &seat.serving.machine.arena, &seat.serving.fault
    ) == FAULT_NONE and check_identity(
        &track.identity, "identity", &identity, &seat.serving.fault
    ) == FAULT_NONE:
        # The stamp is when it was accepted.
        seat_cross_stage(
            seat, playbook, identity, <int64_t>(message.stamp >> STAMP_MS_SHIFT) * 1000
        )
