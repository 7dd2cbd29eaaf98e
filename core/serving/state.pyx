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


cdef struct SeatPin:
    # A cache line for each thread.
    uint64_t taken
    uint64_t epoch
    uint64_t unused[6]


cdef struct EngineState:
    StoreState* store
    # NULL before the first publish.
    PlaybookState* active
    uint64_t epoch
    SeatPin* pins
    # Its sequence is counted up by every thread that applies.
    Position position
    # The hybrid logical clock.
    uint64_t last_stamp
    uint64_t without_effect
    DecisionCache answers
    WaitingWrites waiting


cdef int engine_init(EngineState* state, StoreState* store, uint32_t decisions_max) except -1:
    memset(state, 0, sizeof(EngineState))
    state.store = store
    state.epoch = 1
    state.position.epoch = 1
    state.waiting.wake_fd = -1
    state.position.nonce = int.from_bytes(os.urandom(8), "little")
    state.pins = <SeatPin*>calloc(SEATS_MAX, sizeof(SeatPin))
    if state.pins == NULL or not cache_init(&state.answers, decisions_max):
        raise MemoryError("engine")
    return 0


cdef void engine_free(EngineState* state) noexcept:
    cache_free(&state.answers)
    waiting_free(&state.waiting)
    free(state.pins)


cdef Header engine_header(EngineState* state, const PlaybookState* playbook) noexcept nogil:
    cdef Header header
    header.generation = playbook.generation
    header.position.epoch = state.position.epoch
    header.position.sequence = atomic_read(&state.position.sequence)
    header.position.nonce = state.position.nonce
    header.staleness_ms = 0
    return header


cdef uint64_t engine_stamp(EngineState* state, int64_t now_us) noexcept nogil:
    """The hybrid logical clock's next value: 48 bits of milliseconds, a counter of 16."""
    cdef uint64_t clock = <uint64_t>(now_us // 1000) << 16
    cdef uint64_t last = atomic_read(&state.last_stamp)
    cdef uint64_t stamp
    while True:
        stamp = max(last + 1, clock)
        if atomic_replace(&state.last_stamp, &last, stamp):
            return stamp


cdef int engine_reaches(
    EngineState* state, const PositionField* wanted, Fault* fault
) noexcept nogil:
    """A position of this node's log is reached once it was given."""
    cdef char seen[64]
    if wanted.epoch == state.position.epoch and wanted.nonce == state.position.nonce:
        if wanted.sequence <= atomic_read(&state.position.sequence):
            return FAULT_NONE
    snprintf(
        seen, sizeof(seen), "epoch %llu, sequence %llu",
        <unsigned long long>wanted.epoch, <unsigned long long>wanted.sequence,
    )
    return fault_set(
        fault, FAULT_POSITION_LOST, "min_position", seen,
        "a position of this node's history: retry the write with the same id",
    )


cdef bint engine_reads_before(const EngineState* state, uint64_t epoch) noexcept nogil:
    """Whether some thread may still read what was replaced in an epoch."""
    cdef uint64_t pinned
    cdef int i
    for i in range(SEATS_MAX):
        pinned = atomic_read(&state.pins[i].epoch)
        if pinned and pinned <= epoch:
            return True
    return False
