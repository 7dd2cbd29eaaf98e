"""The door: what the native lane calls, as core/door.h describes it."""

from cpython.pycapsule cimport (
    PyCapsule_GetContext,
    PyCapsule_New,
    PyCapsule_SetContext,
    PyCapsule_SetDestructor,
)
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void* buffer, size_t length, unsigned int flags)


cdef bytes OVERLOADED_KEPT = errors.OVERLOADED.encode()
cdef const char* OVERLOADED_TEXT = OVERLOADED_KEPT


cdef Seat* door_open(void* engine) noexcept nogil:
    cdef EngineSeat* seat = <EngineSeat*>malloc(sizeof(EngineSeat))
    cdef uint64_t seed = 0
    if seat == NULL:
        return NULL
    # Seats of one seed would give the same ids.
    if getrandom(&seed, sizeof(seed), 0) != sizeof(seed) or not seat_init(
        seat, <EngineState*>engine, seed
    ):
        free(seat)
        return NULL
    if not completions_open(&seat.completions) or not seat_meter(seat, True):
        door_close(<Seat*>seat)
        return NULL
    seat.gathers = True
    return <Seat*>seat


cdef void door_close(Seat* opaque) noexcept nogil:
    cdef EngineSeat* seat = <EngineSeat*>opaque
    if engine_logs(seat.state):
        seat_let_go(seat)
        waiting_forget(&seat.state.waiting[QUEUE_LOGGED], seat)
        waiting_forget(&seat.state.waiting[QUEUE_REPLICATED], seat)
        history_forget(&seat.state.history, seat, NULL)
    seat_free(seat)
    free(seat)


cdef inline Text door_request(const DoorCall* call) noexcept nogil:
    cdef Text text
    text.data = <const char*>call.request
    text.length = <uint32_t>call.length
    return text


cdef void door_answer(EngineSeat* seat, int kind, DoorAnswer* answer) noexcept nogil:
    """Point the answer at what the seat has written, or at the status of its fault."""
    cdef Writer* writer = &seat.serving.writer
    memset(answer, 0, sizeof(DoorAnswer))
    if kind != FAULT_NONE:
        writer_reset(writer)
        write_status(writer, &seat.serving.fault)
        fault_describe(&seat.serving.fault, True, &seat.message)
        answer.code = STATUS_RULES[kind].code
        answer.message = &seat.message.data[0]
        answer.message_length = seat.message.length
    answer.data = writer.data
    answer.length = writer.length
    answer.fault = <uint8_t>kind
    answer.degraded = seat.serving.degraded


cdef inline EngineSeat* door_enter(Seat* opaque, const DoorCall* call) noexcept nogil:
    """Begin a call, timed where the lane wants it."""
    cdef EngineSeat* seat = <EngineSeat*>opaque
    seat.serving.trace = call.trace if call.trace != NULL else &seat.serving.untold
    seat.serving.degraded = False
    seat.serving.leave = call.leave
    return seat


cdef void door_decide(Seat* opaque, const DoorCall* call, DoorAnswer* answer) noexcept nogil:
    cdef EngineSeat* seat = door_enter(opaque, call)
    cdef bint pending = False
    cdef int kind = seat_serve(
        seat, seat_decide, door_request(call), call.now_us, call.deadline_us, call.token,
        &pending if engine_logs(seat.state) else NULL,
    )
    door_answer(seat, kind, answer)
    answer.pending = pending


cdef void door_decide_batch(
    Seat* opaque, const DoorCall* call, DoorAnswer* answer
) noexcept nogil:
    cdef EngineSeat* seat = door_enter(opaque, call)
    cdef bint pending = False
    cdef int kind = seat_serve(
        seat, seat_decide_batch, door_request(call), call.now_us, call.deadline_us, call.token,
        &pending if engine_logs(seat.state) else NULL,
    )
    door_answer(seat, kind, answer)
    answer.pending = pending


cdef void door_track(Seat* opaque, const DoorCall* call, DoorAnswer* answer) noexcept nogil:
    cdef EngineSeat* seat = door_enter(opaque, call)
    cdef bint pending = False
    cdef int kind = seat_serve_track(
        seat, door_request(call), call.now_us, call.deadline_us, call.token, &pending
    )
    door_answer(seat, kind, answer)
    answer.pending = kind == FAULT_NONE and pending


cdef void door_ahead(Seat* opaque, const DoorRequest* requests, uint32_t count) noexcept nogil:
    cdef StoreState* store = (<EngineSeat*>opaque).state.store
    cdef uint64_t hashes[AHEAD_MAX]
    cdef IdentityField field
    cdef IdentityRef identity
    cdef uint32_t known = 0
    cdef uint32_t i
    for i in range(count):
        if request_identity(text_at(requests[i].data, <uint32_t>requests[i].length), &field):
            identity.kind = <uint8_t>field.kind if field.kind else 1
            identity.id = field.id.data
            identity.length = field.id.length
            hashes[known] = identity_hash(identity)
            known += 1
    rows_ahead(store, hashes, known)


cdef bint request_identity(Text request, IdentityField* identity) noexcept nogil:
    """Whom a DecideRequest or a TrackRequest is about; False where it does not say.

    Nothing is checked: a malformed request is refused by who reads it.
    """
    cdef Reader reader = reader_of(request.data, request.length)
    cdef uint32_t field = 0, wire = 0
    memset(identity, 0, sizeof(IdentityField))
    while read_tag(&reader, &field, &wire):
        if field == 2 and wire == WIRE_BYTES:
            read_identity(&reader, identity)
            return not reader.failed
        read_skip(&reader, field, wire)
    return False


cdef void door_too_large(
    Seat* opaque, uint64_t seen, uint64_t allowed, DoorAnswer* answer
) noexcept nogil:
    cdef EngineSeat* seat = <EngineSeat*>opaque
    fault_size(&seat.serving.fault, "request", seen, "bytes", allowed)
    seat.serving.fault.kind = FAULT_TOO_LARGE
    door_answer(seat, FAULT_TOO_LARGE, answer)


cdef void door_overloaded(Seat* opaque, int64_t retry_ms, DoorAnswer* answer) noexcept nogil:
    cdef EngineSeat* seat = <EngineSeat*>opaque
    fault_set(&seat.serving.fault, FAULT_OVERLOADED, "", OVERLOADED_TEXT, "")
    seat.serving.fault.retry_ms = retry_ms
    seat.serving.degraded = False
    door_answer(seat, FAULT_OVERLOADED, answer)


cdef int door_wake_fd(Seat* opaque) noexcept nogil:
    return (<EngineSeat*>opaque).completions.wake_fd


cdef int door_completed(
    Seat* opaque, int64_t now_us, uint64_t* token, DoorAnswer* answer
) noexcept nogil:
    cdef EngineSeat* seat = <EngineSeat*>opaque
    cdef Completion completion
    cdef bint pending = False
    cdef int kind
    # The lane counts its time as waiting.
    seat.serving.trace = &seat.serving.untold
    seat.serving.degraded = False
    seat.serving.leave = LEAVE_NOTHING
    while completions_get(&seat.completions, &completion):
        token[0] = completion.token
        if completion.request != NULL:
            kind = seat_read_now(seat, &completion, now_us, &pending)
            free(completion.request)
            if pending:
                continue
        else:
            kind = seat_write_told(seat, &completion, now_us)
        door_answer(seat, kind, answer)
        return 1
    return 0


cdef int seat_write_told(
    EngineSeat* seat, const Completion* completion, int64_t now_us
) noexcept nogil:
    """Answer a write that has waited for the log."""
    cdef Header header
    if completion.kind == FAULT_NONE:
        completion_header(seat, completion, now_us, &header)
        seat_answer_write(seat, &header, completion.flag, completion.ack)
        seat.serving.degraded = header.log_away
    else:
        seat_log_fault(seat)
    return completion.kind


cdef int seat_read_now(
    EngineSeat* seat, const Completion* completion, int64_t now_us, bint* pending
) noexcept nogil:
    """Do a read that has waited: its position is here, or its time is up.

    A batch with another position to come waits again for the rest of its time.
    """
    cdef Text request
    cdef int kind
    request.data = <const char*>completion.request
    request.length = completion.length
    pending[0] = False
    seat.waiting_until_us = completion.until_us
    kind = seat_serve(
        seat, completion.call, request, now_us, completion.deadline_us, completion.token,
        pending if now_us < completion.until_us else NULL,
    )
    seat.waiting_until_us = 0
    return kind


cdef void door_forget(Seat* opaque, uint64_t token) noexcept nogil:
    cdef EngineSeat* seat = <EngineSeat*>opaque
    if engine_logs(seat.state):
        seat.completions.outstanding -= history_forget(&seat.state.history, seat, &token)


cdef void door_ended(
    Seat* opaque, const CallTrace* trace, int32_t code, const uint8_t* answer, size_t length
) noexcept nogil:
    cdef EngineSeat* seat = <EngineSeat*>opaque
    meter_end(seat.meter, &seat.state.metering, trace, code, answer, length)


cdef int door_gathers(Seat* opaque) noexcept nogil:
    return (<EngineSeat*>opaque).gathered != 0


cdef void door_let_go(Seat* opaque) noexcept nogil:
    seat_let_go(<EngineSeat*>opaque)


cdef void completion_header(
    EngineSeat* seat, const Completion* completion, int64_t now_us, Header* header
) noexcept nogil:
    """The header of an answer that waited, with its writer empty: the position is the write's."""
    writer_reset(&seat.serving.writer)
    header[0] = engine_header(seat.state, NULL, now_us)
    header.generation = completion.generation
    header.position = completion.position


cdef void seat_log_fault(EngineSeat* seat) noexcept nogil:
    fault_set(
        &seat.serving.fault, FAULT_LOG_FAILED, "", "the log did not say whether it has the write: "
        "retry it with the same id", "",
    )


cdef void door_hang(EngineState* state, Door* door) noexcept:
    """Fill the door in, before any thread may look at it."""
    door.engine = state
    door.open = door_open
    door.close = door_close
    door.decide = door_decide
    door.decide_batch = door_decide_batch
    door.track = door_track
    door.ahead = door_ahead
    door.too_large = door_too_large
    door.overloaded = door_overloaded
    door.wake_fd = door_wake_fd
    door.completed = door_completed
    door.forget = door_forget
    door.ended = door_ended
    door.gathers = door_gathers
    door.let_go = door_let_go


cdef void release_owner(object capsule) noexcept:
    Py_DECREF(<object>PyCapsule_GetContext(capsule))


cdef object door_capsule(Door* door, object owner):
    """A capsule of the door that keeps the door's owner alive."""
    capsule = PyCapsule_New(door, DOOR_CAPSULE, NULL)
    Py_INCREF(owner)
    PyCapsule_SetContext(capsule, <void*>owner)
    PyCapsule_SetDestructor(capsule, release_owner)
    return capsule
