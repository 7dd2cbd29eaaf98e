"""Calls: a whole request goes to the engine, and what comes back to the client."""

cdef enum:
    # So many answers that waited, of one connection, leave before those of the next are made.
    ANSWERS_AT_ONCE = 8


cdef inline void count_call(Stream* stream, int32_t code) noexcept nogil:
    stream.code = code
    counter_add(&stream.connection.lane.calls[stream.method][code], 1)


cdef void calls_ended(LaneState* lane) noexcept nogil:
    """Have the calls counted that have ended since the last time, and use their memory again."""
    cdef uint64_t now = ticks_now() if TELEMETRY and lane.ended != NULL else 0
    cdef Stream* stream
    while lane.ended != NULL:
        stream = lane.ended
        lane.ended = stream.following
        if TELEMETRY and stream.code != CODE_NONE:
            call_meter(lane, stream, now)
        stream_release(&lane.pool, stream)


cdef inline void call_meter(LaneState* lane, Stream* stream, uint64_t now) noexcept nogil:
    cdef CallTrace* trace = &stream.trace
    cdef size_t length = stream.answer.length
    trace.method = stream.method
    trace.spent[STEP_SEND] += now - trace.last
    trace.last = now
    trace.tracestate = <const char*>stream.tracestate.data
    trace.tracestate_length = header_length(&stream.tracestate, TRACESTATE_MAX)
    trace.baggage = <const char*>stream.baggage.data
    trace.baggage_length = header_length(&stream.baggage, BAGGAGE_MAX)
    lane.door.ended(
        lane.seat, trace, stream.code, stream.answer.data + PREFIX_BYTES,
        length - PREFIX_BYTES if length > PREFIX_BYTES else 0,
    )


cdef void call_refuse(Stream* stream) noexcept nogil:
    """Say why a call is refused whose request is not wanted, or not any more."""
    cdef LaneState* lane = stream.connection.lane
    cdef DoorAnswer answer
    if stream.refusal == REFUSAL_METHOD:
        respond_http(stream, "405")
    elif stream.refusal == REFUSAL_CONTENT_TYPE:
        respond_http(stream, "415")
    elif stream.refusal == REFUSAL_TOO_LARGE:
        lane.door.too_large(
            lane.seat, stream.message_length, lane.bounds.message_bytes_max, &answer
        )
        call_answer(stream, &answer)
    elif stream.refusal == REFUSAL_PATH:
        refuse(stream, CODE_UNIMPLEMENTED, lane.elsewhere)
    elif stream.refusal == REFUSAL_TIMEOUT:
        refuse(stream, CODE_INTERNAL, "grpc-timeout: malformed, allowed: 1 to 8 digits and a unit")
    elif stream.refusal == REFUSAL_HEADERS:
        refuse(stream, CODE_RESOURCE_EXHAUSTED, "headers: over the bound on a call's headers")
    elif stream.refusal == REFUSAL_BUFFER:
        refuse(stream, CODE_RESOURCE_EXHAUSTED, "requests or answers of the connection: over the "
               "bound on their bytes")
    elif stream.refusal == REFUSAL_COMPRESSED:
        refuse(stream, CODE_UNIMPLEMENTED, "grpc-encoding: allowed: identity")
    elif stream.refusal == REFUSAL_COMPRESSED_NO_ENCODING:
        refuse(stream, CODE_INTERNAL, "a compressed message without a grpc-encoding")
    elif stream.refusal == REFUSAL_MORE_MESSAGES:
        refuse(stream, CODE_UNIMPLEMENTED, "more than one message in a unary call")
    else:
        refuse(stream, CODE_INTERNAL, "the message's prefix is malformed")


cdef void call_answer(Stream* stream, const DoorAnswer* answer) noexcept nogil:
    stream.trace.fault = answer.fault
    stream.trace.degraded = answer.degraded
    if answer.code == CODE_OK:
        respond(stream, answer.data, answer.length)
    else:
        respond_error(
            stream, answer.code, answer.message, answer.message_length, answer.data, answer.length
        )


cdef inline bint deadline_passed(int64_t deadline_us, int64_t now_us) noexcept nogil:
    """By the loop's clock, or when that is near by the real one, which has gone on since."""
    return deadline_us <= now_us or (
        deadline_us <= now_us + DEADLINE_NEAR_US and deadline_us <= wall_us()
    )


cdef void call_begin(Stream* stream) noexcept nogil:
    """The request has ended: decide, record or refuse."""
    cdef LaneState* lane = stream.connection.lane
    cdef DoorCall call
    cdef DoorAnswer answer
    step_end(&stream.trace, STEP_RECEIVE)
    if not request_whole(stream):
        refuse(
            stream, CODE_INTERNAL if stream.request.length else CODE_UNIMPLEMENTED,
            "the request ended within its message" if stream.request.length
            else "no message in a unary call",
        )
        return
    if stream.deadline_us and deadline_passed(stream.deadline_us, lane.now_us):
        refuse(stream, CODE_DEADLINE_EXCEEDED, "the deadline passed before the work began")
        return
    if stream.connection.answer_bytes > lane.bounds.answer_buffer_max:
        stream.refusal = REFUSAL_BUFFER
        call_refuse(stream)
        return
    if stream.method == METHOD_HEALTH:
        health_check(stream)
        return
    if lane.admission.level and call_shed(stream):
        return
    if lane.overload.test_call_us:
        call_slow(lane)
    call.request = stream.request.data + PREFIX_BYTES
    call.length = <size_t>stream.message_length
    call.now_us = lane.now_us
    call.deadline_us = stream.deadline_us
    call.token = stream_token(stream)
    call.leave = <uint8_t>max(
        min(lane.admission.level, <uint64_t>LEVEL_FALLBACK),
        <uint64_t>flag_read(&lane.level_least),
    )
    call.trace = &stream.trace
    lane.methods[stream.method](lane.seat, &call, &answer)
    if answer.pending:
        call_wait(stream)
    else:
        call_answer(stream, &answer)


cdef inline void call_whole(Stream* stream) noexcept nogil:
    """The request has ended: it begins with others that the read has brought."""
    cdef LaneState* lane = stream.connection.lane
    if lane.whole_count == AHEAD_MAX:
        calls_begin(lane)
    lane.whole[lane.whole_count] = stream_token(stream)
    lane.whole_count += 1


cdef void calls_begin(LaneState* lane) noexcept nogil:
    """Begin the calls whose requests have ended, but for those that were cancelled since."""
    cdef Stream* stream
    cdef uint32_t i
    if lane.whole_count > 1:
        calls_ahead(lane)
    for i in range(lane.whole_count):
        stream = stream_named(&lane.pool, lane.whole[i])
        if stream != NULL and not stream.answered:
            call_begin(stream)
    lane.whole_count = 0


cdef void calls_ahead(LaneState* lane) noexcept nogil:
    """Let the engine see what it is asked next: it waits for memory once for all of them."""
    cdef DoorRequest requests[AHEAD_MAX]
    cdef Stream* stream
    cdef uint32_t i, count = 0
    for i in range(lane.whole_count):
        stream = stream_named(&lane.pool, lane.whole[i])
        if stream == NULL or not request_whole(stream):
            continue
        if stream.method == METHOD_TRACK or stream.method == METHOD_DECIDE:
            requests[count].data = stream.request.data + PREFIX_BYTES
            requests[count].length = <size_t>stream.message_length
            count += 1
    if count > 1:
        lane.door.ahead(lane.seat, requests, count)


cdef inline void call_arrives(Stream* stream) noexcept nogil:
    """The headers are here and the rest is to come, mostly with the same read."""
    cdef LaneState* lane = stream.connection.lane
    if lane.arriving_count < ARRIVING_MAX:
        lane.arriving[lane.arriving_count] = stream_token(stream)
        lane.arriving_count += 1
    else:
        call_due(stream)


cdef void call_due(Stream* stream) noexcept nogil:
    """Bound how long a request may take to arrive."""
    cdef LaneState* lane = stream.connection.lane
    cdef int64_t due_ms = stream.began_ms + lane.bounds.request_ms
    if stream.deadline_us and stream.deadline_ms < due_ms:
        due_ms = stream.deadline_ms
    due_set(&lane.pool, stream, due_ms)


cdef void calls_arriving(LaneState* lane) noexcept nogil:
    """After a read: see to the requests that it began and did not end."""
    cdef uint32_t i
    cdef Stream* stream
    for i in range(lane.arriving_count):
        stream = stream_named(&lane.pool, lane.arriving[i])
        if stream != NULL and not stream.request_ended and not stream.answered:
            call_due(stream)
    lane.arriving_count = 0


cdef void call_wait(Stream* stream) noexcept nogil:
    """The answer comes later.  The request's memory is not needed meanwhile."""
    stream.pending = True
    due_clear(&stream.connection.lane.pool, stream)
    if stream.deadline_us:
        due_set(&stream.connection.lane.pool, stream, stream.deadline_ms)
    stream.connection.request_bytes -= stream.request.length
    buffer_empty(&stream.request)


cdef inline void call_forget(Stream* stream) noexcept nogil:
    """Let a read wait no more whose client is gone; a write goes on by itself."""
    cdef LaneState* lane = stream.connection.lane
    if stream.pending and stream.method != METHOD_TRACK:
        lane.door.forget(lane.seat, stream_token(stream))


cdef void calls_complete(LaneState* lane) noexcept nogil:
    """Answer the calls that have waited for the log."""
    cdef DoorAnswer answer
    cdef uint64_t token = 0
    cdef Stream* stream
    cdef Connection* last = NULL
    cdef uint32_t answered = 0
    while lane.door.completed(lane.seat, lane.now_us, &token, &answer):
        stream = stream_named(&lane.pool, token)
        if stream == NULL or not stream.pending or stream.connection.state >= STATE_LINGERING:
            counter_add(&lane.counters[COUNT_LATE_ANSWERS], 1)
            continue
        if stream.connection != last:
            if answered >= ANSWERS_AT_ONCE:
                connection_flush(last)
                calls_ended(lane)
            last = stream.connection
            answered = 0
        answered += 1
        stream.pending = False
        step_end(&stream.trace, STEP_WAIT)
        call_answer(stream, &answer)
        connection_touch(stream.connection)
