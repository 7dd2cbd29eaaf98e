// What Cython cannot say: hashing, latches, atomics.  No state lives here.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <Python.h>
#include <malloc.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

static inline bool latch_try(uint32_t* latch) {
    return __atomic_exchange_n(latch, 1u, __ATOMIC_ACQUIRE) == 0;
}

static inline void latch_drop(uint32_t* latch) {
    __atomic_store_n(latch, 0u, __ATOMIC_RELEASE);
}

// Waits until the latch looks free, without taking it: a thread that holds the GIL gives it
// away meanwhile and must have it back before it may hold a latch.
static void latch_wait(uint32_t* latch) {
    PyThreadState* saved = PyGILState_Check() ? PyEval_SaveThread() : nullptr;
    for (int spin = 0; __atomic_load_n(latch, __ATOMIC_RELAXED) != 0; spin++) {
        if (spin < 64) {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        } else if (spin < 96) {
            sched_yield();
        } else {
            const struct timespec pause = {0, 20000};
            nanosleep(&pause, nullptr);
        }
    }
    if (saved != nullptr) {
        PyEval_RestoreThread(saved);
    }
}

static inline void latch_take(uint32_t* latch) {
    while (!latch_try(latch)) {
        latch_wait(latch);
    }
}

static inline uint64_t atomic_read(const uint64_t* cell) {
    return __atomic_load_n(cell, __ATOMIC_SEQ_CST);
}

static inline void atomic_write(uint64_t* cell, uint64_t value) {
    __atomic_store_n(cell, value, __ATOMIC_SEQ_CST);
}

// A store that only has to come after what the thread did before: the end of a read, a slot handed
// over.  It may be seen late, and does not wait until earlier stores are in the cache.
static inline void atomic_release(uint64_t* cell, uint64_t value) {
    __atomic_store_n(cell, value, __ATOMIC_RELEASE);
}

static inline uint64_t atomic_add(uint64_t* cell, uint64_t value) {
    return __atomic_fetch_add(cell, value, __ATOMIC_SEQ_CST);
}

static inline uint64_t atomic_swap(uint64_t* cell, uint64_t value) {
    return __atomic_exchange_n(cell, value, __ATOMIC_SEQ_CST);
}

// Replaces `*seen` by `value`; else puts what stands there into `*seen`.
static inline bool atomic_replace(uint64_t* cell, uint64_t* seen, uint64_t value) {
    return __atomic_compare_exchange_n(
        cell, seen, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

// In one order with the sequentially consistent cells above: a reader pins its epoch and only then
// reads the pointer.  An acquiring load may come before that store on ARM.
template <typename T>
static inline T* atomic_pointer_read(T* const* cell) {
    return __atomic_load_n(cell, __ATOMIC_SEQ_CST);
}

template <typename T>
static inline void atomic_pointer_write(T** cell, T* value) {
    __atomic_store_n(cell, value, __ATOMIC_SEQ_CST);
}

static inline void fetch_ahead(const void* at) {
    __builtin_prefetch(at);
}

static inline void fetch_to_write(const void* at) {
    __builtin_prefetch(at, 1);
}

static inline int lowest_bit_64(uint64_t bits) {
    return __builtin_ctzll(bits);
}

static inline uint64_t double_bits(double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double bits_double(uint64_t bits) {
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
