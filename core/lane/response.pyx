"""Responses: headers, one message and trailers; or trailers alone for an error."""

cdef enum:
    STATUS_TEXT_MAX = 4096
    STATUS_DETAILS_MAX = 6144
    RESPONSE_HEADERS_MAX = 6


cdef const char* BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef const char* HEX = "0123456789ABCDEF"
cdef const char* HTTP_TEXT = "gRPC is served here: POST with content-type: application/grpc\n"


cdef inline nghttp2_nv header(const char* name, const char* value, size_t length) noexcept nogil:
    """A header whose texts stay: nghttp2 copies neither."""
    cdef nghttp2_nv made
    made.name = <uint8_t*>name
    made.namelen = strlen(name)
    made.value = <uint8_t*>value
    made.valuelen = length
    made.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
    return made


cdef inline nghttp2_nv header_copied(
    const char* name, const char* value, size_t length
) noexcept nogil:
    cdef nghttp2_nv made = header(name, value, length)
    made.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME
    return made


cdef size_t percent_encode(const char* text, size_t length, char* to) noexcept nogil:
    """A grpc-message: what is not printable ASCII, and %, as %XX; cut to STATUS_TEXT_MAX."""
    cdef size_t written = 0
    cdef size_t i
    cdef uint8_t c
    for i in range(length):
        c = <uint8_t>text[i]
        # A character of four bytes takes twelve: none is cut.
        if written + 12 > STATUS_TEXT_MAX and (c & 0xC0) != 0x80:
            break
        if 0x20 <= c <= 0x7E and c != c'%':
            to[written] = <char>c
            written += 1
        else:
            to[written] = c'%'
            to[written + 1] = HEX[c >> 4]
            to[written + 2] = HEX[c & 15]
            written += 3
    return written


cdef size_t base64_encode(const uint8_t* data, size_t length, char* to) noexcept nogil:
    """Base64 without padding, as metadata named -bin has it; 0 for what is too long."""
    cdef size_t written = 0
    cdef size_t i = 0
    cdef uint32_t bits
    if length * 4 // 3 + 4 > STATUS_DETAILS_MAX:
        return 0
    while i + 3 <= length:
        bits = <uint32_t>data[i] << 16 | <uint32_t>data[i + 1] << 8 | data[i + 2]
        to[written] = BASE64[bits >> 18]
        to[written + 1] = BASE64[bits >> 12 & 63]
        to[written + 2] = BASE64[bits >> 6 & 63]
        to[written + 3] = BASE64[bits & 63]
        written += 4
        i += 3
    if length - i == 1:
        to[written] = BASE64[data[i] >> 2]
        to[written + 1] = BASE64[(data[i] & 3) << 4]
        return written + 2
    if length - i == 2:
        bits = <uint32_t>data[i] << 8 | data[i + 1]
        to[written] = BASE64[bits >> 10]
        to[written + 1] = BASE64[bits >> 4 & 63]
        to[written + 2] = BASE64[(bits & 15) << 2]
        return written + 3
    return written


cdef ssize_t read_answer(
    nghttp2_session* session, int32_t id, uint8_t* buffer, size_t length, uint32_t* flags,
    nghttp2_data_source* source, void* user_data,
) noexcept nogil:
    """Give nghttp2 the next piece of an answer, and after the last one a call's trailers."""
    cdef Stream* stream = <Stream*>source.ptr
    cdef size_t left = stream.answer.length - stream.answer_sent
    cdef nghttp2_nv trailer
    if length > left:
        length = left
    memcpy(buffer, stream.answer.data + stream.answer_sent, length)
    stream.answer_sent += length
    stream.connection.answer_bytes -= length
    stream.moved_ms = stream.connection.lane.now_ms
    if length == left and stream.code == CODE_NONE:
        flags[0] = NGHTTP2_DATA_FLAG_EOF
    elif length == left:
        flags[0] = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM
        trailer = header("grpc-status", "0", 1)
        if nghttp2_submit_trailer(session, id, &trailer, 1):
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    return <ssize_t>length


cdef inline void respond_with(
    Stream* stream, const nghttp2_nv* headers, size_t count, bint body
) noexcept nogil:
    """Answer with these headers, and then with what stands in `answer` if there is a body."""
    cdef Connection* connection = stream.connection
    cdef nghttp2_data_provider provider
    provider.source.ptr = stream
    provider.read_callback = read_answer
    stream.answered = True
    stream.moved_ms = connection.lane.now_ms
    connection.answer_bytes += stream.answer.length
    due_clear(&connection.lane.pool, stream)
    if nghttp2_submit_response(
        connection.session, stream.id, headers, count, &provider if body else NULL
    ):
        connection_fail(connection, COUNT_CLOSED_MEMORY)


cdef void respond(Stream* stream, const uint8_t* data, size_t length) noexcept nogil:
    """Answer with a message; its trailers follow it."""
    cdef nghttp2_nv headers[2]
    cdef uint8_t prefix[PREFIX_BYTES]
    prefix[0] = 0
    prefix[1] = <uint8_t>(length >> 24)
    prefix[2] = <uint8_t>(length >> 16)
    prefix[3] = <uint8_t>(length >> 8)
    prefix[4] = <uint8_t>length
    if not buffer_room(&stream.answer, PREFIX_BYTES + length):
        refuse(stream, CODE_RESOURCE_EXHAUSTED, "no memory for the answer")
        return
    buffer_add(&stream.answer, prefix, PREFIX_BYTES)
    buffer_add(&stream.answer, data, length)
    count_call(stream, CODE_OK)
    headers[0] = header(":status", "200", 3)
    headers[1] = header("content-type", "application/grpc", 16)
    respond_with(stream, headers, 2, True)


cdef void respond_error(
    Stream* stream, int32_t code, const char* message, size_t message_length,
    const uint8_t* details, size_t details_length,
) noexcept nogil:
    """Answer with a status: one HEADERS frame that ends the stream (Trailers-Only)."""
    cdef LaneState* lane = stream.connection.lane
    cdef nghttp2_nv headers[RESPONSE_HEADERS_MAX]
    cdef char digits[2]
    cdef size_t count = 3
    cdef size_t length
    stream.pending = False
    count_call(stream, code)
    digits[0] = <char>(c'0' + (code // 10 if code > 9 else code))
    digits[1] = <char>(c'0' + code % 10)
    headers[0] = header(":status", "200", 3)
    headers[1] = header("content-type", "application/grpc", 16)
    headers[2] = header_copied("grpc-status", digits, 2 if code > 9 else 1)
    length = percent_encode(message, message_length, lane.text)
    if length:
        headers[count] = header_copied("grpc-message", lane.text, length)
        count += 1
    length = base64_encode(details, details_length, lane.details) if details_length else 0
    if length:
        headers[count] = header_copied("grpc-status-details-bin", lane.details, length)
        count += 1
    if stream.refusal == REFUSAL_COMPRESSED:
        headers[count] = header("grpc-accept-encoding", "identity", 8)
        count += 1
    respond_with(stream, headers, count, False)


cdef inline void refuse(Stream* stream, int32_t code, const char* message) noexcept nogil:
    """Answer with a status that needs no details."""
    respond_error(stream, code, message, strlen(message), NULL, 0)


cdef void respond_http(Stream* stream, const char* status) noexcept nogil:
    """Answer what is not gRPC at all with an HTTP status, and say what is allowed."""
    cdef nghttp2_nv headers[3]
    counter_add(&stream.connection.lane.counters[COUNT_MALFORMED_HTTP], 1)
    if not stream.head:
        buffer_add(&stream.answer, HTTP_TEXT, strlen(HTTP_TEXT))
    headers[0] = header(":status", status, 3)
    headers[1] = header("content-type", "text/plain", 10)
    headers[2] = header("allow", "POST", 4)
    respond_with(stream, headers, 3, True)
