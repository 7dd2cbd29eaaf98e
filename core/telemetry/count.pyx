"""Counters: one thread writes each, and any thread reads it."""

cdef extern from *:
    """
    static_assert(STEPS == 10, "METERED_STEPS");
    static inline void meter_add(uint64_t* counter, uint64_t more) {
        __atomic_store_n(
            counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
    }
    static inline uint64_t meter_read(const uint64_t* counter) {
        return __atomic_load_n(counter, __ATOMIC_RELAXED);
    }
    """
    void meter_add(uint64_t* counter, uint64_t more) noexcept nogil
    uint64_t meter_read(const uint64_t* counter) noexcept nogil
