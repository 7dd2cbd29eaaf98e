"""Seats: what one serving thread owns; one at a time uses it."""

cdef enum:
    # A seat gives back what a larger answer has taken.
    ANSWER_KEPT_MAX = 1048576


cdef struct Crossing


cdef struct EngineSeat:
    EngineState* state
    SeatPin* pin
    # NULL for a seat whose calls are not metered.
    Meter* meter
    Serving serving
    Identifiers identifiers
    # The mutation being framed, and the request of what the engine itself tells.
    Writer mutation
    Writer crossing
    # NULL until a playbook has triggers.
    Crossing* crossed
    # What a decision reads, for its record.
    Tape tape
    # Whether the decision at hand is to be decided again by a shadow.
    bint shadowed
    # A status's message, for the lane.
    Line message
    Completions completions
    # Whether writes need not go to the log one by one: the seat's thread calls `seat_let_go`.
    bint gathers
    # The queues that hold some that the log may not have yet, a bit each.
    uint32_t gathered
    # Whether the call may wait for a position, and for which.
    bint waits
    Position wanted
    # How long a call may go on waiting that has waited before; 0 for any other.
    int64_t waiting_until_us


cdef bint seat_init(EngineSeat* seat, EngineState* state, uint64_t seed) noexcept nogil:
    """Take a place; False when memory or the places are used up."""
    cdef int i
    memset(seat, 0, sizeof(EngineSeat))
    seat.state = state
    seat.identifiers.seed = seed
    seat.completions.wake_fd = -1
    if not serving_init(&seat.serving, state.store):
        return False
    seat.serving.budgets = &state.budgets
    for i in range(SEATS_MAX):
        if atomic_swap(&state.pins[i].taken, 1) == 0:
            seat.pin = &state.pins[i]
            return True
    serving_free(&seat.serving)
    return False


cdef bint seat_meter(EngineSeat* seat, bint fast) noexcept nogil:
    """Have the seat's calls metered; False without memory.  The engine's own seat is not fast."""
    cdef Meter** place = &seat.state.meters[seat.pin - seat.state.pins]
    if place[0] == NULL:
        atomic_pointer_write(place, meter_make(next_seed(&seat.identifiers), fast))
    seat.meter = place[0]
    if seat.meter == NULL:
        return False
    seat.serving.tally = &seat.meter.tally
    return True


cdef void seat_free(EngineSeat* seat) noexcept nogil:
    if seat.state == NULL:
        # It was never taken.
        return
    if seat.pin != NULL:
        atomic_write(&seat.pin.epoch, 0)
        atomic_write(&seat.pin.taken, 0)
        serving_free(&seat.serving)
    writer_free(&seat.mutation)
    writer_free(&seat.crossing)
    crossing_free(seat.crossed)
    writer_free(&seat.tape.reads)
    completions_free(&seat.completions)


cdef inline PlaybookState* seat_enter(EngineSeat* seat) noexcept nogil:
    """Begin a call: the active playbook, which stays until `seat_leave`."""
    arena_reset(&seat.serving.machine.arena)
    if seat.serving.writer.capacity > ANSWER_KEPT_MAX:
        writer_free(&seat.serving.writer)
    writer_reset(&seat.serving.writer)
    atomic_write(&seat.pin.epoch, atomic_read(&seat.state.epoch))
    return atomic_pointer_read(&seat.state.active)


cdef inline void seat_leave(EngineSeat* seat) noexcept nogil:
    """End a call: what it read may be freed."""
    person_done(&seat.serving.person)
    atomic_release(&seat.pin.epoch, 0)


cdef inline int seat_ready(
    EngineSeat* seat, const PlaybookState* playbook, int64_t now_us, int64_t deadline_us
) noexcept nogil:
    """Refuse what need not be read."""
    if playbook == NULL:
        return fault_set(
            &seat.serving.fault, FAULT_NO_PLAYBOOK, "", "no playbook is active: publish one first",
            "",
        )
    if deadline_us and now_us >= deadline_us:
        return fault_set(
            &seat.serving.fault, FAULT_DEADLINE, "",
            "the deadline passed before the decision began", "",
        )
    return FAULT_NONE
