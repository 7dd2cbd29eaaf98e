"""Rings: calls worth a trace, from the thread that served them to the one that tells of them.

One thread writes and one reads, in slots made beforehand.  What finds the ring full is counted.
"""

cdef enum:
    # Of an answer; a longer one is cut, and the record says so.
    RECORD_ANSWER_MAX = 2048
    # TRACESTATE_MAX of trace.h: Cython wants to know an array's length.
    RECORD_STATE_MAX = 512
    # BAGGAGE_MAX, likewise.
    RECORD_BAGGAGE_MAX = 1024


cdef struct Record:
    CallTrace trace
    uint64_t random[2]
    uint8_t reasons
    uint8_t code
    bint fast
    bint answer_cut
    uint32_t answer_length
    uint32_t state_length
    uint32_t baggage_length
    char state[RECORD_STATE_MAX]
    char baggage[RECORD_BAGGAGE_MAX]
    uint8_t answer[RECORD_ANSWER_MAX]


cdef struct Ring:
    Record* records
    # A power of two; 0 for a ring that was not made.
    uint64_t capacity
    uint64_t written
    uint64_t taken
    uint64_t dropped


cdef bint ring_init(Ring* ring, uint64_t capacity) noexcept nogil:
    ring.records = <Record*>calloc(capacity, sizeof(Record))
    ring.capacity = capacity if ring.records != NULL else 0
    return ring.records != NULL


cdef inline Record* ring_open(Ring* ring) noexcept nogil:
    """The next slot to fill; NULL, and counted, when none is free."""
    cdef uint64_t written = ring.written
    if written - atomic_read(&ring.taken) >= ring.capacity:
        counter_add(&ring.dropped, 1)
        return NULL
    return &ring.records[written & (ring.capacity - 1)]


cdef inline void ring_close(Ring* ring) noexcept nogil:
    """Hand the slot over that `ring_open` gave."""
    atomic_release(&ring.written, ring.written + 1)


cdef inline const Record* ring_first(Ring* ring) noexcept nogil:
    """The oldest record; NULL when there is none."""
    if ring.taken == atomic_read(&ring.written):
        return NULL
    return &ring.records[ring.taken & (ring.capacity - 1)]


cdef inline void ring_free_first(Ring* ring) noexcept nogil:
    atomic_release(&ring.taken, ring.taken + 1)
