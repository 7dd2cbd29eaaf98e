# What core/trace.h declares; lane and engine include it.

cdef extern from "trace.h" nogil:
    bint TELEMETRY
    enum:
        STEP_RECEIVE
        STEP_PARSE
        STEP_GATE
        STEP_ELIGIBILITY
        STEP_SCORE
        STEP_ARBITRATE
        STEP_APPLY
        STEP_ENCODE
        STEP_WAIT
        STEP_SEND
        STEPS
        TRACEPARENT_BYTES
        TRACESTATE_MAX
        BAGGAGE_MAX
    ctypedef struct CallTrace:
        uint64_t began
        uint64_t last
        uint64_t* spent
        char* traceparent
        uint8_t has_parent
        uint8_t method
        uint8_t degraded
        uint8_t fault
        const char* tracestate
        uint32_t tracestate_length
        uint32_t baggage_length
        const char* baggage
        uint8_t waited_first
    uint64_t nanoseconds_now()
    uint64_t ticks_now()
    void trace_begin(CallTrace* trace, uint64_t began, uint8_t method)
    void step_end(CallTrace* trace, int step)
