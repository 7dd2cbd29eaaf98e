# What core/counter.h declares; lane and engine include it.

cdef extern from "counter.h" nogil:
    void counter_add(uint64_t* counter, uint64_t more)
    uint64_t counter_read(const uint64_t* counter)
