"""Time, random numbers and event ids."""

cdef enum:
    SECOND_NS = 1_000_000_000
    EVENT_ID_BYTES = 36


cdef inline int64_t now_ns() noexcept nogil:
    """The clock that never steps, in nanoseconds."""
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <int64_t>time.tv_sec * SECOND_NS + time.tv_nsec


cdef inline int64_t wall_ms() noexcept nogil:
    """Milliseconds since 1970."""
    cdef timespec time
    clock_gettime(CLOCK_REALTIME, &time)
    return <int64_t>time.tv_sec * 1_000 + time.tv_nsec // 1_000_000


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    """SplitMix64 (Steele, Lea, Flood 2014): one addition and a mix for each number."""
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t mixed = state[0]
    mixed = (mixed ^ (mixed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    mixed = (mixed ^ (mixed >> 27)) * <uint64_t>0x94D049BB133111EB
    return mixed ^ (mixed >> 31)


cdef inline double next_share(uint64_t* state) noexcept nogil:
    """A number in (0, 1]: its logarithm is finite."""
    return ((next_random(state) >> 11) + 1) * (1.0 / 9007199254740992.0)


cdef const char* HEXADECIMAL = "0123456789abcdef"


cdef void write_event_id(uint8_t* out, uint64_t* state) noexcept nogil:
    """A UUIDv7 (RFC 9562) as 36 characters: the time, then 74 random bits."""
    cdef uint64_t high = <uint64_t>wall_ms() << 16 | 0x7000 | next_random(state) & 0xFFF
    cdef uint64_t low = next_random(state) & <uint64_t>0x3FFFFFFFFFFFFFFF | <uint64_t>1 << 63
    cdef int place
    cdef int written = 0
    for place in range(16):
        if place == 8 or place == 12:
            out[written] = c"-"
            written += 1
        out[written] = HEXADECIMAL[high >> (60 - 4 * place) & 15]
        written += 1
    out[written] = c"-"
    written += 1
    for place in range(16):
        if place == 4:
            out[written] = c"-"
            written += 1
        out[written] = HEXADECIMAL[low >> (60 - 4 * place) & 15]
        written += 1
