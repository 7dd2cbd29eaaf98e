"""Meters: what each serving thread counts of its calls, and which of them are kept for a trace.

A call is kept when its caller or chance sampled it, and always when it was slower than its
method's objective, degraded or in error: that is known at its end only, so every call's steps
are timed, and nothing else is done for those that are not kept.  But of the calls that an
overload has shed, slow or not, a thread keeps one in SHED_EVERY_S besides the sampled ones, and
counts the others: a trace of each would cost most when there is least to spare, and say what the
ones before it have said.
"""

cdef enum:
    # The first as core/lane numbers them; METERED_NAMES has all.
    METERED_METHODS = 8
    METHOD_UNMETERED = 4


cdef enum:
    # Of a traceparent: where the last 16 digits of its trace id begin.
    TRACE_LOW_AT = 19


cdef enum KeepReason:
    KEEP_SAMPLED = 1
    KEEP_SLOW = 2
    KEEP_DEGRADED = 4
    KEEP_ERROR = 8


cdef enum:
    # STEPS of trace.h: Cython wants to know an array's length.
    METERED_STEPS = 10
    RING_CAPACITY = 1024


cdef extern from *:
    """
    static_assert(STEPS == 10 && TRACESTATE_MAX == 512 && BAGGAGE_MAX == 1024,
                  "lengths that Cython has to know");
    """


cdef struct Counts:
    # Counters alone: they are added up as one array.
    uint64_t calls[METERED_METHODS][METERED_CODES][BUCKETS_MAX]
    uint64_t ticks[METERED_METHODS][METERED_CODES]
    uint64_t steps[METERED_METHODS][METERED_STEPS]
    uint64_t kept[METERED_METHODS]
    # Shed calls that were not kept.
    uint64_t skipped


cdef struct Meter:
    Counts counts
    Tally tally
    Ring ring
    # Of a thread of the fast lane.
    bint fast
    # When the last shed call was kept, in ticks.
    uint64_t shed_ticks
    # What chance draws from.
    Identifiers random


cdef struct Metering:
    # What all meters share.  Set before any thread serves, but for the ratio.
    LatencyBounds bounds
    # The objective of each method, in ticks; 0 for none.
    uint64_t slow_over[METERED_METHODS]
    # Of 2 ** 64: how many calls without a caller's decision are sampled.  What is drawn is never 0.
    uint64_t ratio
    # How far apart the shed calls are that one thread keeps, in ticks.
    uint64_t shed_every
    # Whether a caller's decision counts.
    bint parent_based
    bint records


cdef Meter* meter_make(uint64_t seed, bint fast) noexcept nogil:
    """A meter; NULL without memory.  It outlives its thread: counters do not fall."""
    cdef Meter* meter = <Meter*>calloc(1, sizeof(Meter))
    if meter == NULL:
        return NULL
    if not ring_init(&meter.ring, RING_CAPACITY):
        free(meter)
        return NULL
    meter.random.seed = seed
    meter.fast = fast
    return meter


cdef void meter_free(Meter* meter) noexcept nogil:
    if meter != NULL:
        free(meter.ring.records)
        free(meter)


cdef inline bint caller_sampled(const CallTrace* trace) noexcept nogil:
    """The sampled flag of a traceparent: the lowest bit of its last digit."""
    cdef char digit = trace.traceparent[TRACEPARENT_BYTES - 1]
    # The digits 0 to 9 and the letters a to f both have it as their code's lowest bit, reversed
    # for the letters.
    return (digit & 1) if digit <= c'9' else not digit & 1


cdef inline uint64_t trace_low(const CallTrace* trace) noexcept nogil:
    """The last 64 bits of a traceparent's trace id; of what is no id, anything."""
    cdef uint64_t value = 0
    cdef char digit
    cdef int i
    for i in range(TRACE_LOW_AT, TRACE_LOW_AT + 16):
        digit = trace.traceparent[i]
        value = value << 4 | ((digit - c'a' + 10 if digit >= c'a' else digit - c'0') & 15)
    return value


cdef inline uint8_t keep_reasons(
    const Metering* metering, const CallTrace* trace, int32_t code, uint64_t ticks, uint64_t draw,
) noexcept nogil:
    """Why a call is kept; 0 when it is not."""
    cdef uint64_t slow_over = metering.slow_over[trace.method]
    cdef uint8_t reasons = 0
    if metering.parent_based and trace.has_parent:
        reasons = KEEP_SAMPLED if caller_sampled(trace) else 0
    elif trace.has_parent and metering.ratio != UINT64_MAX:
        # As OpenTelemetry's TraceIdRatioBased: servers of one ratio keep the same traces.
        reasons = KEEP_SAMPLED if trace_low(trace) < metering.ratio else 0
    elif draw <= metering.ratio:
        reasons = KEEP_SAMPLED
    if slow_over and ticks > slow_over:
        reasons |= KEEP_SLOW
    if trace.degraded:
        reasons |= KEEP_DEGRADED
    if code:
        reasons |= KEEP_ERROR
    return reasons


cdef inline bint shed_skip(
    Meter* meter, const Metering* metering, const CallTrace* trace, uint8_t reasons,
) noexcept nogil:
    """Count a shed call that is not kept, for another one was just before; False for any other."""
    if trace.fault != FAULT_OVERLOADED or reasons & KEEP_SAMPLED:
        return False
    if trace.last - meter.shed_ticks >= metering.shed_every:
        meter.shed_ticks = trace.last
        return False
    counter_add(&meter.counts.skipped, 1)
    return True


cdef void meter_end(
    Meter* meter, const Metering* metering, const CallTrace* trace, int32_t code,
    const uint8_t* answer, size_t length,
) noexcept nogil:
    """Count a call that has ended just now, and keep it if it is worth that."""
    cdef uint64_t ticks = trace.last - trace.began
    cdef uint8_t method = trace.method
    cdef Counts* counts = &meter.counts
    cdef uint64_t draw = next_seed(&meter.random)
    cdef uint8_t reasons
    cdef int step
    counter_add(&counts.calls[method][code][latency_bucket(&metering.bounds, ticks)], 1)
    counter_add(&counts.ticks[method][code], ticks)
    for step in range(METERED_STEPS):
        counter_add(&counts.steps[method][step], trace.spent[step])
    if not metering.records or method == METHOD_UNMETERED:
        return
    reasons = keep_reasons(metering, trace, code, ticks, draw)
    if reasons and not shed_skip(meter, metering, trace, reasons):
        meter_keep(meter, trace, code, reasons, draw, answer, length)


cdef void meter_keep(
    Meter* meter, const CallTrace* trace, int32_t code, uint8_t reasons, uint64_t draw,
    const uint8_t* answer, size_t length,
) noexcept nogil:
    cdef Record* record = ring_open(&meter.ring)
    counter_add(&meter.counts.kept[trace.method], 1)
    if record == NULL:
        return
    record.trace = trace[0]
    record.reasons = reasons
    record.code = <uint8_t>code
    record.fast = meter.fast
    record.random[0] = next_seed(&meter.random)
    record.random[1] = draw
    record.answer_cut = length > RECORD_ANSWER_MAX
    record.answer_length = <uint32_t>min(length, <size_t>RECORD_ANSWER_MAX)
    memcpy(record.answer, answer, record.answer_length)
    record.state_length = min(trace.tracestate_length, <uint32_t>RECORD_STATE_MAX)
    memcpy(record.state, trace.tracestate, record.state_length)
    record.baggage_length = min(trace.baggage_length, <uint32_t>RECORD_BAGGAGE_MAX)
    memcpy(record.baggage, trace.baggage, record.baggage_length)
    ring_close(&meter.ring)
