"""State: what all serving threads share, and how a playbook stays while one reads it.

A thread stores the epoch in its pin before it reads the playbook's pointer, and clears it at the
end of the call.  Whoever replaces the playbook counts the epoch up after the swap: a pin of an
older epoch, or none, tells whether the old one may still be read (epoch-based reclamation,
Fraser 2004).
"""

cdef enum:
    SEATS_MAX = 128
    ACK_APPLIED = 1
    ACK_LOGGED = 2
    ACK_REPLICATED = 3
    # How far clocks of one log may differ.
    SKEW_MS_MAX = 500


cdef struct SeatPin:
    # A cache line for each thread.
    uint64_t taken
    uint64_t epoch
    uint64_t unused[6]


cdef enum:
    GATE_WHY_MAX = 200


cdef enum Gate:
    # What the log takes now: every level, APPLIED alone, or nothing.
    GATE_OPEN = 0
    GATE_AWAY = 1
    GATE_CLOSED = 2
    GATES = 3


cdef struct LogGate:
    uint32_t latch
    uint64_t gate
    # Whether REPLICATED is refused.
    uint64_t unreplicated
    # Writes refused for the gate as it was; while it is open, for REPLICATED.
    uint64_t refused[GATES]
    char why[GATE_WHY_MAX]
    char unreplicated_why[GATE_WHY_MAX]


cdef struct EngineState:
    StoreState* store
    # NULL before the first publish.
    PlaybookState* active
    uint64_t epoch
    SeatPin* pins
    History history
    # The hybrid logical clock.
    uint64_t last_stamp
    uint64_t without_effect
    DecisionCache answers
    WaitingWrites waiting[QUEUES]
    # Held while a write of theirs is watched (cross.pyx).
    uint32_t crossing_latches[PERSON_LATCHES]
    # Held by decisions that reserve, from before the person is read until it is done.
    uint32_t cap_latches[PERSON_LATCHES]
    LogGate gate
    Records records
    Budgets budgets
    # How long after its decision an outcome is expected.
    int64_t attribution_us
    # Until when, on the steady clock in microseconds, every revocation that was acknowledged is
    # known to be here; CONSENTS_ALWAYS where nobody else takes any.
    uint64_t consents_until_us
    # For the draft that decides beside the active playbook.
    Records shadow
    # Of a write that names no level.
    int64_t default_ack
    Metering metering
    # Of the thread in each place, made for the first and kept for the next.
    Meter* meters[SEATS_MAX]


cdef int engine_init(EngineState* state, StoreState* store, uint32_t decisions_max) except -1:
    memset(state, 0, sizeof(EngineState))
    state.store = store
    state.epoch = 1
    state.history.position.epoch = 1
    state.history.position.nonce = int.from_bytes(os.urandom(8), "little")
    state.default_ack = ACK_APPLIED
    state.attribution_us = INT64_MAX // 4
    state.consents_until_us = CONSENTS_ALWAYS
    state.waiting[QUEUE_LOGGED].wake_fd = -1
    state.waiting[QUEUE_REPLICATED].wake_fd = -1
    state.pins = <SeatPin*>calloc(SEATS_MAX, sizeof(SeatPin))
    if state.pins == NULL or not cache_init(&state.answers, decisions_max):
        raise MemoryError("engine")
    return 0


cdef void engine_free(EngineState* state) noexcept:
    cdef int i
    for i in range(SEATS_MAX):
        meter_free(state.meters[i])
    cache_free(&state.answers)
    waiting_free(&state.waiting[QUEUE_LOGGED])
    waiting_free(&state.waiting[QUEUE_REPLICATED])
    history_free(&state.history)
    records_free(&state.records)
    budgets_free(&state.budgets)
    records_free(&state.shadow)
    free(state.pins)


cdef inline bint engine_logs(const EngineState* state) noexcept nogil:
    """Whether a log is attached."""
    return state.waiting[QUEUE_LOGGED].capacity != 0


cdef void engine_applied(EngineState* state) noexcept nogil:
    """Count a mutation where no log gives positions."""
    if not state.history.logged:
        atomic_add(&state.history.position.sequence, 1)


cdef Header engine_header(
    EngineState* state, const PlaybookState* playbook, int64_t now_us
) noexcept nogil:
    cdef Header header
    cdef int64_t stale_ms = 0
    header.generation = playbook.generation if playbook != NULL else 0
    header.position = history_position(&state.history)
    header.log_away = atomic_read(&state.history.away) != 0
    if state.history.logged:
        stale_ms = (now_us - <int64_t>atomic_read(&state.history.caught_up_us)) // 1000
    header.staleness_ms = <uint32_t>min(max(stale_ms, <int64_t>0), <int64_t>0xFFFFFFFF)
    return header


cdef inline uint64_t engine_consents_until(EngineState* state, bint asked) noexcept nogil:
    """Until when consents hold in a decision that asks for them; to be read before the person."""
    return atomic_read(&state.consents_until_us) if asked else CONSENTS_ALWAYS


cdef uint64_t engine_stamp(EngineState* state, int64_t now_us) noexcept nogil:
    """The hybrid logical clock's next value: 48 bits of milliseconds, a counter of 16."""
    cdef uint64_t clock = <uint64_t>(now_us // 1000) << STAMP_MS_SHIFT
    cdef uint64_t last = atomic_read(&state.last_stamp)
    cdef uint64_t stamp
    while True:
        stamp = max(last + 1, clock)
        if atomic_replace(&state.last_stamp, &last, stamp):
            return stamp


cdef void engine_observe(EngineState* state, uint64_t stamp, int64_t now_us) noexcept nogil:
    """Let the clock pass a stamp of another node; one far ahead is a caller's own time."""
    cdef uint64_t last = atomic_read(&state.last_stamp)
    if <int64_t>(stamp >> STAMP_MS_SHIFT) > now_us // 1000 + SKEW_MS_MAX:
        return
    while last < stamp:
        if atomic_replace(&state.last_stamp, &last, stamp):
            return


cdef int engine_reaches(
    EngineState* state, const PositionField* wanted, Position* position, Fault* fault
) noexcept nogil:
    """FAULT_NOT_REACHED for a position to come, FAULT_POSITION_LOST for one that never will."""
    cdef char seen[64]
    cdef int reach
    position.epoch = wanted.epoch
    position.sequence = wanted.sequence
    position.nonce = wanted.nonce
    reach = history_reach(&state.history, position)
    if reach == REACH_YES:
        return FAULT_NONE
    snprintf(
        seen, sizeof(seen), "epoch %llu, sequence %llu",
        <unsigned long long>wanted.epoch, <unsigned long long>wanted.sequence,
    )
    if reach == REACH_NOT_YET:
        return fault_set(
            fault, FAULT_NOT_REACHED, "min_position", seen,
            "a position this node has applied: ask again, or another node",
        )
    return fault_set(
        fault, FAULT_POSITION_LOST, "min_position", seen,
        "a position of the surviving history: retry the write with the same id",
    )


cdef int gate_check(EngineState* state, int64_t ack, Fault* fault) noexcept nogil:
    """Refuse a write of a level that the log cannot give now."""
    cdef LogGate* gate = &state.gate
    cdef uint64_t now = atomic_read(&gate.gate)
    if now == GATE_OPEN and (ack < ACK_REPLICATED or not atomic_read(&gate.unreplicated)):
        return FAULT_NONE
    if now == GATE_AWAY and ack == ACK_APPLIED:
        return FAULT_NONE
    fault_set(fault, FAULT_ACK_REFUSED, "ack", "", "LOGGED or APPLIED")
    latch_take(&gate.latch)
    counter_add(&gate.refused[now], 1)
    if now == GATE_OPEN:
        snprintf(fault.seen, sizeof(fault.seen), "REPLICATED: %s", gate.unreplicated_why)
    else:
        fault_set(
            fault, FAULT_LOG_AWAY if now == GATE_AWAY else FAULT_WRITES_REFUSED, "", gate.why, ""
        )
    latch_drop(&gate.latch)
    return fault.kind


cdef bint engine_reads_before(const EngineState* state, uint64_t epoch) noexcept nogil:
    """Whether some thread may still read what was replaced in an epoch."""
    cdef uint64_t pinned
    cdef int i
    for i in range(SEATS_MAX):
        pinned = atomic_read(&state.pins[i].epoch)
        if pinned and pinned <= epoch:
            return True
    return False
