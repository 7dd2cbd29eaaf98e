// Counters that one thread writes and any thread reads: no lock is needed for that.
#pragma once

#include <stdint.h>

static inline void counter_add(uint64_t* counter, uint64_t more) {
    __atomic_store_n(
        counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t* counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}
