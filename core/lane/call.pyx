"""Calls: a whole request goes to the engine, and what comes back to the client."""

cdef inline void count_call(Lane_* lane, uint8_t method, int32_t code) noexcept nogil:
    counter_add(&lane.calls[method][code], 1)


cdef void call_refuse(Stream* stream) noexcept nogil:
    """Say why a call is refused whose request is not wanted, or not any more."""
    cdef Lane_* lane = stream.connection.lane
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
    cdef Lane_* lane = stream.connection.lane
    cdef DoorCall call
    cdef DoorAnswer answer
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
    call.request = stream.request.data + PREFIX_BYTES
    call.length = <size_t>stream.message_length
    call.now_us = lane.now_us
    call.deadline_us = stream.deadline_us
    call.token = stream_token(stream)
    lane.methods[stream.method](lane.seat, &call, &answer)
    if answer.pending:
        call_wait(stream)
    else:
        call_answer(stream, &answer)


cdef inline void call_arrives(Stream* stream) noexcept nogil:
    """The headers are here and the rest is to come, mostly with the same read."""
    cdef Lane_* lane = stream.connection.lane
    if lane.arriving_count < ARRIVING_MAX:
        lane.arriving[lane.arriving_count] = stream_token(stream)
        lane.arriving_count += 1
    else:
        call_due(stream)


cdef void call_due(Stream* stream) noexcept nogil:
    """Bound how long a request may take to arrive."""
    cdef Lane_* lane = stream.connection.lane
    cdef int64_t due_ms = stream.began_ms + lane.bounds.request_ms
    if stream.deadline_us and stream.deadline_ms < due_ms:
        due_ms = stream.deadline_ms
    due_set(&lane.pool, stream, due_ms)


cdef void calls_arriving(Lane_* lane) noexcept nogil:
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


cdef void calls_complete(Lane_* lane) noexcept nogil:
    """Answer the calls that have waited for the log."""
    cdef DoorAnswer answer
    cdef uint64_t token = 0
    cdef Stream* stream
    while lane.door.completed(lane.seat, &token, &answer):
        stream = stream_named(&lane.pool, token)
        if stream == NULL or not stream.pending:
            counter_add(&lane.counters[COUNT_LATE_ANSWERS], 1)
            continue
        stream.pending = False
        call_answer(stream, &answer)
        connection_touch(stream.connection)


cdef bint is_served(const uint8_t* name, size_t length) noexcept nogil:
    return (
        length == 0 or text_is(name, length, "nextbest.v1.DecisionService")
        or text_is(name, length, "nextbest.v1.EventService")
        or text_is(name, length, "grpc.health.v1.Health")
    )


cdef int64_t varint_at(const uint8_t* data, size_t length, size_t* at) noexcept nogil:
    """A varint of at most 32 bits; -1 when it is malformed."""
    cdef int64_t value = 0
    cdef uint32_t shift = 0
    while at[0] < length and shift < 35:
        value |= <int64_t>(data[at[0]] & 0x7F) << shift
        at[0] += 1
        if data[at[0] - 1] < 0x80:
            return value if value >> 32 == 0 else -1
        shift += 7
    return -1


cdef int64_t field_size(
    int64_t tag, const uint8_t* data, size_t length, size_t* at
) noexcept nogil:
    """The bytes that a field takes after its tag and length; -1 for what no field is."""
    cdef size_t end = at[0]
    if tag & 7 == 0:
        while end < length and end - at[0] < 10:
            end += 1
            if data[end - 1] < 0x80:
                return <int64_t>(end - at[0])
        return -1
    if tag & 7 == 1:
        return 8
    if tag & 7 == 2:
        return varint_at(data, length, at)
    return 4 if tag & 7 == 5 else -1


cdef bint health_service(
    const uint8_t* data, size_t length, const uint8_t** name, size_t* name_length
) noexcept nogil:
    """The field `service` of a HealthCheckRequest; False when the message is malformed."""
    cdef size_t at = 0
    cdef int64_t tag, size
    name_length[0] = 0
    while at < length:
        tag = varint_at(data, length, &at)
        size = field_size(tag, data, length, &at)
        if tag < 8 or size < 0 or <uint64_t>size > length - at:
            return False
        if tag == (1 << 3 | 2):
            name[0] = data + at
            name_length[0] = <size_t>size
        at += <size_t>size
    return True


cdef void health_check(Stream* stream) noexcept nogil:
    """grpc.health.v1.Health/Check (grpc/grpc, doc/health-checking.md)."""
    cdef const uint8_t* name = NULL
    cdef size_t length = 0
    cdef uint8_t response[2]
    if not health_service(
        stream.request.data + PREFIX_BYTES, <size_t>stream.message_length, &name, &length
    ):
        refuse(stream, CODE_INVALID_ARGUMENT, "request: not a grpc.health.v1.HealthCheckRequest")
    elif not is_served(name, length):
        refuse(stream, CODE_NOT_FOUND, "service: not one that is served here")
    else:
        response[0] = 8
        # SERVING or NOT_SERVING.
        response[1] = 1 if flag_read(&stream.connection.lane.serving) else 2
        respond(stream, response, 2)
