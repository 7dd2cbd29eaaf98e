"""Histograms: how long calls took, in buckets whose upper bounds are given.

A thread counts for itself and any thread reads, so that no lock is needed; readers add the
threads up.
"""

cdef enum:
    BUCKETS_MAX = 64
    BIT_LENGTHS = 65


cdef extern from *:
    """
    static inline int bit_length(uint64_t value) {
        return value ? 64 - __builtin_clzll(value) : 0;
    }
    """
    int bit_length(uint64_t value) noexcept nogil


cdef struct LatencyBounds:
    # Upper bounds in ticks, each part of its bucket; the last bucket has none.
    uint64_t bounds[BUCKETS_MAX - 1]
    uint32_t count
    # The first bound that a value of so many bits may be within.
    uint8_t starts[BIT_LENGTHS]


cdef void latency_bounds_index(LatencyBounds* bounds) noexcept nogil:
    """Note where the search begins for each length."""
    cdef uint32_t bits
    cdef uint32_t at = 0
    for bits in range(BIT_LENGTHS):
        while bits and at < bounds.count and bounds.bounds[at] < <uint64_t>1 << (bits - 1):
            at += 1
        bounds.starts[bits] = <uint8_t>at


cdef inline uint32_t latency_bucket(const LatencyBounds* bounds, uint64_t ticks) noexcept nogil:
    """The bucket of a value: the first whose bound it does not pass."""
    cdef uint32_t at = bounds.starts[bit_length(ticks)]
    while at < bounds.count and ticks > bounds.bounds[at]:
        at += 1
    return at
