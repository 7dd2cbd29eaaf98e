// What one call leaves behind of its time, and the clock it is told by.  Lane and engine share it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

// -DNEXTBEST_NO_TELEMETRY compiles the clock reads and counters out, to measure what they cost.
#ifdef NEXTBEST_NO_TELEMETRY
#define TELEMETRY 0
#else
#define TELEMETRY 1
#endif

// A part of a call's time.  Each ends where the next one begins.
enum {
    STEP_RECEIVE,      // from the read that brought its headers to its last byte
    STEP_PARSE,        // the request read and checked
    STEP_GATE,         // the person read, the request's values laid over it
    STEP_ELIGIBILITY,  // the conditions of the engagement policy
    STEP_SCORE,        // priorities
    STEP_ARBITRATE,    // the slots filled
    STEP_APPLY,        // a write applied and queued for the log
    STEP_ENCODE,       // the answer written
    STEP_WAIT,         // until the log, or a position, let it be answered
    STEP_SEND,         // framed, and given to the socket
    STEPS
};

#define TRACEPARENT_BYTES 55
// Of a tracestate that is kept; W3C Trace Context 3.3.1.5 asks for as many at least.
#define TRACESTATE_MAX 512
// Of a W3C baggage; a longer one is none.
#define BAGGAGE_MAX 1024

typedef struct CallTrace {
    // In ticks: when the call began, when its last step ended, and how long each step took.
    uint64_t began;
    uint64_t last;
    uint64_t spent[STEPS];
    uint8_t has_parent;
    // Of the lane's methods.
    uint8_t method;
    // Something was left out of the answer.
    uint8_t degraded;
    // A fault's kind; 0 for none.
    uint8_t fault;
    const char* tracestate;
    uint32_t tracestate_length;
    uint32_t baggage_length;
    const char* baggage;
    // It waited for a position before anything was decided.
    uint8_t waited_first;
    // The header of W3C Trace Context, as it came; one of another length is none.  Last, since it
    // is read only where there is one: no call has to empty it.
    char traceparent[TRACEPARENT_BYTES];
} CallTrace;

// Whether the time stamp counter runs at one rate, in sleep too (Intel SDM 17.17.1, AMD APM 3.2.4).
static inline int ticks_steady(void) {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
#else
    return 0;
#endif
}

static const int ticks_native = ticks_steady();

static inline uint64_t nanoseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec;
}

// A steady clock: half the cost of clock_gettime where the processor has one.
static inline uint64_t ticks_now(void) {
#if defined(__x86_64__)
    if (ticks_native) {
        return __builtin_ia32_rdtsc();
    }
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
    return nanoseconds_now();
}

static inline void trace_begin(CallTrace* trace, uint64_t began, uint8_t method) {
#if TELEMETRY
    __builtin_memset(trace, 0, offsetof(CallTrace, traceparent));
    trace->began = trace->last = began;
    trace->method = method;
#endif
}

// The step ends now; a step that a call goes through again takes the sum.
static inline void step_end(CallTrace* trace, int step) {
#if TELEMETRY
    const uint64_t now = ticks_now();
    trace->spent[step] += now - trace->last;
    trace->last = now;
#endif
}
