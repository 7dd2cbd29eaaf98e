"""Requests: what headers say, by the gRPC over HTTP/2 protocol, and the message behind them.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

cdef inline bint text_is(const uint8_t* data, size_t length, const char* literal) noexcept nogil:
    return length == strlen(literal) and memcmp(data, literal, length) == 0


cdef inline bint text_starts(
    const uint8_t* data, size_t length, const char* literal
) noexcept nogil:
    cdef size_t wanted = strlen(literal)
    return length >= wanted and memcmp(data, literal, wanted) == 0


cdef uint8_t method_of(const uint8_t* path, size_t length) noexcept nogil:
    if text_is(path, length, "/nextbest.v1.DecisionService/Decide"):
        return METHOD_DECIDE
    if text_is(path, length, "/nextbest.v1.EventService/Track"):
        return METHOD_TRACK
    if text_is(path, length, "/nextbest.v1.DecisionService/DecideBatch"):
        return METHOD_DECIDE_BATCH
    if text_is(path, length, "/grpc.health.v1.Health/Check"):
        return METHOD_HEALTH
    return METHOD_NONE


cdef bint is_grpc(const uint8_t* value, size_t length) noexcept nogil:
    """Whether a content-type is application/grpc, or that with a format or parameters."""
    cdef size_t known = strlen("application/grpc")
    if not text_starts(value, length, "application/grpc"):
        return False
    if length == known or value[known] == c';':
        return True
    if text_starts(value, length, "application/grpc+proto"):
        known = strlen("application/grpc+proto")
        return length == known or value[known] == c';'
    return False


cdef int64_t timeout_us(const uint8_t* value, size_t length) noexcept nogil:
    """A grpc-timeout in microseconds, rounded up; -1 when it is malformed.

    At most 8 digits and a unit: H, M, S, m, u or n.
    """
    cdef int64_t number = 0
    cdef size_t i
    if not 2 <= length <= 9:
        return -1
    for i in range(length - 1):
        if not c'0' <= value[i] <= c'9':
            return -1
        number = number * 10 + (value[i] - c'0')
    if value[length - 1] == c'H':
        return number * 3600 * 1000000
    if value[length - 1] == c'M':
        return number * 60000000
    if value[length - 1] == c'S':
        return number * 1000000
    if value[length - 1] == c'm':
        return number * 1000
    if value[length - 1] == c'u':
        return number
    if value[length - 1] == c'n':
        return (number + 999) // 1000
    return -1


cdef void request_header(
    Stream* stream, const uint8_t* name, size_t name_length, const uint8_t* value,
    size_t value_length, const LaneState* lane,
) noexcept nogil:
    """Note one header.  What is not known here is metadata, and no call of ours reads any."""
    cdef int64_t timeout
    if text_is(name, name_length, ":path"):
        stream.method = method_of(value, value_length)
        if value_length == 0 or value[0] != c'/':
            stream.refusal = REFUSAL_PATH
    elif text_is(name, name_length, ":method"):
        stream.post = text_is(value, value_length, "POST")
        stream.head = text_is(value, value_length, "HEAD")
    elif text_is(name, name_length, "content-type"):
        stream.grpc = is_grpc(value, value_length)
    elif text_is(name, name_length, "grpc-encoding"):
        stream.encoded = not text_is(value, value_length, "identity")
    elif text_is(name, name_length, "grpc-timeout"):
        timeout = timeout_us(value, value_length)
        if timeout < 0:
            stream.refusal = REFUSAL_TIMEOUT
        else:
            # A timeout of nothing has passed already.
            stream.deadline_us = lane.now_us + timeout if timeout else 1
            # A millisecond that has begun does not count.
            stream.deadline_ms = lane.now_ms + 1 + (timeout + 999) // 1000
    elif text_is(name, name_length, "traceparent"):
        trace_parent(&stream.trace, value, value_length)
    elif text_is(name, name_length, "tracestate"):
        header_list(&stream.tracestate, TRACESTATE_MAX, value, value_length)
    elif text_is(name, name_length, "baggage"):
        header_list(&stream.baggage, BAGGAGE_MAX, value, value_length)


cdef void trace_parent(CallTrace* trace, const uint8_t* value, size_t length) noexcept nogil:
    """Keep a traceparent as it is: few are read, and then by who tells of the call."""
    trace.has_parent = length == TRACEPARENT_BYTES
    if trace.has_parent:
        memcpy(trace.traceparent, value, TRACEPARENT_BYTES)


cdef void header_list(
    Buffer* kept, size_t most, const uint8_t* value, size_t length
) noexcept nogil:
    """Add to a header that is a list; one over its bound is none, as W3C Trace Context 3.3.1.5 and
    Baggage 3.3.2 allow."""
    if kept.length + (kept.length > 0) + length > most:
        # For good: what comes later has no place either.
        kept.length = most + 1
    elif kept.length == 0 or buffer_add(kept, <const char*>",", 1):
        buffer_add(kept, value, length)


cdef inline uint32_t header_length(const Buffer* kept, size_t most) noexcept nogil:
    """Of what `header_list` has kept."""
    return <uint32_t>kept.length if kept.length <= most else 0


cdef uint8_t headers_refusal(const Stream* stream) noexcept nogil:
    """What the headers as a whole are refused for."""
    if stream.refusal == REFUSAL_HEADERS:
        return REFUSAL_HEADERS
    if not stream.post:
        return REFUSAL_METHOD
    if not stream.grpc:
        return REFUSAL_CONTENT_TYPE
    if stream.refusal == REFUSAL_NONE and stream.method == METHOD_NONE:
        return REFUSAL_PATH
    return stream.refusal


cdef inline bint is_http(uint8_t refusal) noexcept nogil:
    """Whether what is refused is no call."""
    return refusal == REFUSAL_METHOD or refusal == REFUSAL_CONTENT_TYPE


cdef uint8_t request_add(
    Stream* stream, const uint8_t* data, size_t length, size_t message_max
) noexcept nogil:
    """Add what a DATA frame brought: the prefix of 5 bytes, then the message."""
    cdef size_t before = stream.request.length
    if not buffer_add(&stream.request, data, length):
        return REFUSAL_BUFFER
    stream.connection.request_bytes += length
    if stream.request.length < PREFIX_BYTES:
        return REFUSAL_NONE
    if before < PREFIX_BYTES:
        stream.message_length = (
            <uint64_t>stream.request.data[1] << 24 | <uint64_t>stream.request.data[2] << 16
            | <uint64_t>stream.request.data[3] << 8 | stream.request.data[4]
        )
        if stream.request.data[0] > 1:
            return REFUSAL_FRAMING
        if stream.request.data[0] == 1:
            return REFUSAL_COMPRESSED if stream.encoded else REFUSAL_COMPRESSED_NO_ENCODING
        if stream.message_length > message_max:
            return REFUSAL_TOO_LARGE
    if stream.request.length > PREFIX_BYTES + stream.message_length:
        return REFUSAL_MORE_MESSAGES
    return REFUSAL_NONE


cdef inline bint request_whole(const Stream* stream) noexcept nogil:
    """Whether exactly one message has arrived."""
    return stream.request.length >= PREFIX_BYTES and (
        stream.request.length == PREFIX_BYTES + stream.message_length
    )
