"""Sessions: what nghttp2 tells of the frames it has read, and the bounds it keeps itself."""

cdef enum:
    SETTINGS_ENTRIES_MAX = 128
    CONTINUATIONS_MAX = 8
    OUTBOUND_ACKS_MAX = 256
    STREAM_WINDOW = 262144
    CONNECTION_WINDOW = 4194304
    # Headers of so many times their bound end the connection.
    HEADER_BOMB = 2
    # Calls earn control frames up to so many times their bound within a second.
    CONTROL_FRAMES_EARNED_MAX = 64
    EXTENSION_FIRST = 10
    EXTENSION_LAST = 255


cdef int on_begin_headers(
    nghttp2_session* session, const nghttp2_frame* frame, void* user_data
) noexcept nogil:
    cdef Connection* connection = <Connection*>user_data
    cdef Stream* stream
    if frame.hd.type != NGHTTP2_HEADERS or frame.headers.cat != NGHTTP2_HCAT_REQUEST:
        return 0
    stream = stream_open(&connection.lane.pool, connection, frame.hd.stream_id)
    if stream == NULL:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    connection.receiving += 1
    stream.began_ms = connection.lane.now_ms
    trace_begin(&stream.trace, connection.lane.read_ticks, METHOD_NONE)
    nghttp2_session_set_stream_user_data(session, frame.hd.stream_id, stream)
    return 0


cdef int on_header(
    nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
    size_t name_length, const uint8_t* value, size_t value_length, uint8_t flags, void* user_data,
) noexcept nogil:
    cdef Connection* connection = <Connection*>user_data
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(
        session, frame.hd.stream_id
    )
    if stream == NULL:
        return 0
    # RFC 9113, 6.5.2: a header counts 32 bytes more than its texts.
    stream.header_bytes += name_length + value_length + 32
    if stream.header_bytes > connection.lane.bounds.header_bytes_max:
        stream.refusal = REFUSAL_HEADERS
        # Small frames can name large headers: to go on decoding them would cost too much.
        if stream.header_bytes > HEADER_BOMB * connection.lane.bounds.header_bytes_max:
            return NGHTTP2_ERR_CALLBACK_FAILURE
    elif frame.headers.cat == NGHTTP2_HCAT_REQUEST:
        request_header(stream, name, name_length, value, value_length, connection.lane)
    return 0


cdef int on_extension(
    nghttp2_session* session, void** payload, const nghttp2_frame_hd* frame, void* user_data
) noexcept nogil:
    """Frames of unknown types are counted, as all are, and dropped."""
    (<Connection*>user_data).frame_ms = 0
    return NGHTTP2_ERR_CANCEL


cdef void on_reset(Connection* connection) noexcept nogil:
    """Bound how often calls are cancelled (CVE-2023-44487): a bucket of resets_burst."""
    cdef LaneState* lane = connection.lane
    cdef int64_t refill = (lane.now_ms - connection.reset_ms) * <int64_t>(
        lane.bounds.resets_per_s
    ) // 1000
    if refill > 0:
        connection.reset_ms = lane.now_ms
        connection.resets = max(0, connection.resets - refill)
    connection.resets += 1
    if connection.resets > <int64_t>lane.bounds.resets_burst:
        connection_end(connection, NGHTTP2_ENHANCE_YOUR_CALM, COUNT_CLOSED_RESETS)


cdef bint is_control(const nghttp2_frame_hd* frame) noexcept nogil:
    """Whether a frame carries nothing of a call."""
    if frame.type == NGHTTP2_DATA:
        return frame.length == 0 and not frame.flags & NGHTTP2_FLAG_END_STREAM
    return frame.type != NGHTTP2_HEADERS


cdef int on_begin_frame(
    nghttp2_session* session, const nghttp2_frame_hd* frame, void* user_data
) noexcept nogil:
    """Count the frames that carry no call, within a second."""
    cdef Connection* connection = <Connection*>user_data
    cdef LaneState* lane = connection.lane
    connection.frame_ms = lane.now_ms
    if frame.type == NGHTTP2_HEADERS:
        on_stream_frame(connection, frame.type, frame.stream_id)
    if not is_control(frame):
        connection.control_frames = max(
            connection.control_frames - CONTROL_FRAMES_A_CALL,
            -lane.bounds.control_frames_per_s * CONTROL_FRAMES_EARNED_MAX,
        )
        connection.called_ms = lane.now_ms
        return 0
    if lane.now_ms - connection.control_window_ms >= 1000:
        connection.control_window_ms = lane.now_ms
        connection.control_frames = 0
    connection.control_frames += 1
    if connection.control_frames > lane.bounds.control_frames_per_s:
        connection_end(connection, NGHTTP2_ENHANCE_YOUR_CALM, COUNT_CLOSED_CONTROL_FRAMES)
    return 0


cdef inline void on_stream_frame(
    Connection* connection, uint8_t kind, int32_t id
) noexcept nogil:
    """RFC 9113, 5.1 and 5.1.1: no frame follows what its peer has ended, no lower stream opens."""
    cdef int32_t ended
    if id > connection.stream_highest:
        # One for DATA is nghttp2's to refuse, if the HEADERS are not in the same read.
        if kind == NGHTTP2_HEADERS:
            connection.stream_highest = id
    elif id > 0 and nghttp2_session_get_stream_user_data(connection.session, id) == NULL:
        ended = stream_ended(connection, id)
        if ended > 0:
            connection_end(connection, NGHTTP2_STREAM_CLOSED, COUNT_CLOSED_PROTOCOL)
        elif ended == 0 and kind == NGHTTP2_HEADERS:
            connection_end(connection, NGHTTP2_PROTOCOL_ERROR, COUNT_CLOSED_PROTOCOL)


cdef int32_t stream_ended(const Connection* connection, int32_t id) noexcept nogil:
    """Its number when its peer has ended it, less than 0 when we alone have, 0 when unknown."""
    cdef uint32_t i
    for i in range(ENDED_KEPT):
        if connection.ended[i] == id or connection.ended[i] == -id:
            return connection.ended[i]
    return 0


cdef int on_frame(
    nghttp2_session* session, const nghttp2_frame* frame, void* user_data
) noexcept nogil:
    cdef Connection* connection = <Connection*>user_data
    cdef Stream* stream
    connection.frame_ms = 0
    if frame.hd.type == NGHTTP2_HEADERS or frame.hd.type == NGHTTP2_DATA:
        stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if stream != NULL:
            on_request_frame(stream, frame)
    elif frame.hd.type == NGHTTP2_SETTINGS:
        connection.settled = True
    elif frame.hd.type == NGHTTP2_RST_STREAM:
        stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if stream != NULL:
            request_end(stream)
        on_reset(connection)
    elif frame.hd.type == NGHTTP2_GOAWAY:
        connection.left = True
    elif frame.hd.type == NGHTTP2_PING:
        on_ping(connection, frame.hd.flags & NGHTTP2_FLAG_ACK)
    return 0


cdef void on_request_frame(Stream* stream, const nghttp2_frame* frame) noexcept nogil:
    """A frame of a request is whole: refuse what is wrong already, begin what has ended."""
    if frame.hd.type == NGHTTP2_HEADERS and frame.headers.cat == NGHTTP2_HCAT_REQUEST:
        stream.refusal = headers_refusal(stream)
        if not frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
            call_arrives(stream)
    if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        request_end(stream)
    if stream.answered:
        return
    if stream.refusal != REFUSAL_NONE:
        # HTTP is answered in its turn: what comes of the request may yet be wrong.
        if stream.request_ended or not is_http(stream.refusal):
            call_refuse(stream)
    elif stream.request_ended:
        call_whole(stream)


cdef inline void request_end(Stream* stream) noexcept nogil:
    """Its peer sends no more of it."""
    if not stream.request_ended:
        stream.request_ended = True
        stream.connection.receiving -= 1


cdef void on_ping(Connection* connection, bint acknowledged) noexcept nogil:
    """A client may ping a silent connection now and then (gRFC A8), a busy one as it likes."""
    cdef LaneState* lane = connection.lane
    cdef int64_t before = connection.ping_seen_ms
    if acknowledged:
        connection.ping_sent_ms = 0
        if connection.state == STATE_DRAINING:
            connection_drained(connection)
        return
    connection.ping_seen_ms = lane.now_ms
    if before == 0 or lane.now_ms - before >= lane.bounds.ping_interval_ms:
        return
    connection.ping_strikes += 1
    if connection.ping_strikes > PING_STRIKES_MAX:
        nghttp2_submit_goaway(
            connection.session, NGHTTP2_FLAG_NONE,
            nghttp2_session_get_last_proc_stream_id(connection.session),
            NGHTTP2_ENHANCE_YOUR_CALM, <const uint8_t*>"too_many_pings", 14,
        )
        connection_end(connection, NGHTTP2_ENHANCE_YOUR_CALM, COUNT_CLOSED_PINGS)


cdef int on_data(
    nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* data, size_t length,
    void* user_data,
) noexcept nogil:
    cdef Connection* connection = <Connection*>user_data
    cdef LaneState* lane = connection.lane
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(session, id)
    if stream == NULL or stream.answered or stream.refusal != REFUSAL_NONE:
        return 0
    if connection.request_bytes + length > lane.bounds.request_buffer_max:
        stream.refusal = REFUSAL_BUFFER
        return 0
    stream.refusal = request_add(stream, data, length, lane.bounds.message_bytes_max)
    return 0


cdef int on_sent(
    nghttp2_session* session, const nghttp2_frame* frame, void* user_data
) noexcept nogil:
    """After an answer that ends its stream before the request has ended, ask for no more of it.

    RFC 9113, 8.1: RST_STREAM with NO_ERROR once the whole response was sent.
    """
    cdef Connection* connection = <Connection*>user_data
    cdef Stream* stream
    if frame.hd.type != NGHTTP2_HEADERS and frame.hd.type != NGHTTP2_DATA:
        return 0
    # Pings are judged by the silence since.
    connection.ping_seen_ms = 0
    connection.ping_strikes = 0
    if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if stream != NULL and not stream.request_ended:
            nghttp2_submit_rst_stream(
                session, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR
            )
    return 0


cdef int on_close(
    nghttp2_session* session, int32_t id, uint32_t error, void* user_data
) noexcept nogil:
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(session, id)
    if stream != NULL:
        nghttp2_session_set_stream_user_data(session, id, NULL)
        stream.connection.ended[stream.connection.ended_count % ENDED_KEPT] = (
            id if stream.request_ended else -id
        )
        stream.connection.ended_count += 1
        call_end(stream)
    return 0


cdef bint sessions_init(LaneState* lane) noexcept nogil:
    """Make what all sessions share; False without memory."""
    cdef nghttp2_session_callbacks* callbacks
    cdef int kind
    if nghttp2_session_callbacks_new(&lane.callbacks):
        return False
    callbacks = lane.callbacks
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header)
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame)
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame)
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data)
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close)
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, on_extension)
    if nghttp2_option_new(&lane.option):
        return False
    # Closed streams are of use to priorities alone.
    nghttp2_option_set_no_closed_streams(lane.option, 1)
    # PROTOCOL-HTTP2.md: spaces around a metadata value are no error.
    nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(lane.option, 1)
    nghttp2_option_set_max_outbound_ack(lane.option, OUTBOUND_ACKS_MAX)
    nghttp2_option_set_max_settings(lane.option, SETTINGS_ENTRIES_MAX)
    nghttp2_option_set_max_continuations(lane.option, CONTINUATIONS_MAX)
    nghttp2_option_set_max_reserved_remote_streams(lane.option, 0)
    # `on_reset` comes first and says why; this one stands behind it.
    nghttp2_option_set_stream_reset_rate_limit(
        lane.option, 2 * lane.bounds.resets_burst, 2 * lane.bounds.resets_per_s
    )
    for kind in range(EXTENSION_FIRST, EXTENSION_LAST + 1):
        nghttp2_option_set_user_recv_extension_type(lane.option, <uint8_t>kind)
    return True


cdef bint session_open(Connection* connection) noexcept nogil:
    """Make the connection's session and say what it takes."""
    cdef nghttp2_settings_entry entries[3]
    cdef LaneState* lane = connection.lane
    if nghttp2_session_server_new3(
        &connection.session, lane.callbacks, connection, lane.option, &lane.blocks.functions
    ):
        return False
    entries[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    entries[0].value = connection.lane.bounds.streams_max
    entries[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    entries[1].value = STREAM_WINDOW
    entries[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    entries[2].value = <uint32_t>connection.lane.bounds.header_bytes_max
    if nghttp2_submit_settings(
        connection.session, NGHTTP2_FLAG_NONE, entries, 3
    ) or nghttp2_session_set_local_window_size(
        connection.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW
    ):
        nghttp2_session_del(connection.session)
        return False
    return True
