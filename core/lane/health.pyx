"""Health: grpc.health.v1.Health/Check, answered by the lane itself."""

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
