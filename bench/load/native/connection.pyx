"""HTTP/2 connections: opening, sending, what libnghttp2 tells, closing."""


cdef int16_t status_of_http(int16_t http_status) noexcept nogil:
    """A status for an answer without grpc-status, as gRPC's http-grpc-status-mapping has it."""
    if http_status == 400:
        return STATUS_INTERNAL
    if http_status == 401:
        return STATUS_UNAUTHENTICATED
    if http_status == 403:
        return STATUS_PERMISSION
    if http_status == 404:
        return STATUS_UNIMPLEMENTED
    if http_status == 429 or 502 <= http_status <= 504:
        return STATUS_UNAVAILABLE
    return STATUS_UNKNOWN


cdef int16_t status_of_reset(uint32_t error_code) noexcept nogil:
    """A status for RST_STREAM, as gRPC over HTTP/2 has it."""
    if error_code == NGHTTP2_REFUSED_STREAM:
        return STATUS_UNAVAILABLE
    if error_code == NGHTTP2_CANCEL:
        return STATUS_CANCELLED
    if error_code == NGHTTP2_ENHANCE_YOUR_CALM:
        return STATUS_EXHAUSTED
    if error_code == NGHTTP2_INADEQUATE_SECURITY:
        return STATUS_PERMISSION
    return STATUS_INTERNAL


cdef inline int16_t small_number(const uint8_t* text, size_t length) noexcept nogil:
    """A number of at most three digits; STATUS_NONE for anything else."""
    cdef int16_t found = 0
    cdef size_t i
    if not 1 <= length <= 3:
        return STATUS_NONE
    for i in range(length):
        if not c"0" <= text[i] <= c"9":
            return STATUS_NONE
        found = found * 10 + (text[i] - c"0")
    return found


cdef int on_header(
    nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
    const uint8_t* value, size_t value_length, uint8_t flags, void* user
) noexcept nogil:
    cdef Call* call
    if name_length != 7 and name_length != 11 and name_length != 12:
        return 0
    call = <Call*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    if call == NULL:
        return 0
    if name_length == 11 and memcmp(name, b"grpc-status", 11) == 0:
        call.status = small_number(value, value_length)
        if not 0 <= call.status < STATUSES:
            call.status = STATUS_UNKNOWN
    elif name_length == 7 and memcmp(name, b":status", 7) == 0:
        call.http_status = small_number(value, value_length)
    elif name_length == 12 and memcmp(name, b"grpc-message", 12) == 0:
        call.message_length = <uint8_t>min(value_length, <size_t>MESSAGE_BYTES_MAX)
        memcpy(call.message, value, call.message_length)
    return 0


cdef int on_data(
    nghttp2_session* session, uint8_t flags, int32_t stream, const uint8_t* data, size_t length,
    void* user
) noexcept nogil:
    cdef Call* call = <Call*>nghttp2_session_get_stream_user_data(session, stream)
    cdef size_t i
    if call == NULL:
        return 0
    if call.answer_bytes < PREFIX_BYTES:
        for i in range(min(length, <size_t>(PREFIX_BYTES - call.answer_bytes))):
            call.prefix[call.answer_bytes + i] = data[i]
    call.answer_bytes += <uint32_t>length
    return 0


cdef int on_frame(
    nghttp2_session* session, const nghttp2_frame* frame, void* user
) noexcept nogil:
    cdef Connection* self = <Connection*>user
    if frame.hd.type == NGHTTP2_SETTINGS and not frame.hd.flags & NGHTTP2_FLAG_ACK:
        self.streams_max = min(
            self.engine.streams_max,
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
        )
        if self.state == OPENING:
            connection_is_ready(self)
    elif frame.hd.type == NGHTTP2_GOAWAY and self.state == READY:
        self.engine.goaways += 1
        connection_drains(self)
    return 0


cdef int on_not_sent(
    nghttp2_session* session, const nghttp2_frame* frame, int error, void* user
) noexcept nogil:
    cdef Call* call
    if frame.hd.type == NGHTTP2_HEADERS:
        call = <Call*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if call != NULL:
            call.unsent = True
    return 0


cdef bint whole_answer(const Call* call) noexcept nogil:
    """One message, not compressed, as long as its prefix says."""
    cdef uint32_t length = (
        <uint32_t>call.prefix[1] << 24 | <uint32_t>call.prefix[2] << 16
        | <uint32_t>call.prefix[3] << 8 | call.prefix[4]
    )
    return (
        call.answer_bytes >= PREFIX_BYTES and call.prefix[0] == 0
        and call.answer_bytes - PREFIX_BYTES == length
    )


cdef int on_stream_close(
    nghttp2_session* session, int32_t stream, uint32_t error_code, void* user
) noexcept nogil:
    cdef Connection* self = <Connection*>user
    cdef Engine* engine = self.engine
    cdef Call* call = <Call*>nghttp2_session_get_stream_user_data(session, stream)
    cdef int16_t status
    self.in_flight -= 1
    if call == NULL:
        return 0
    list_remove(&engine.flying, call)
    if call.unsent or error_code == NGHTTP2_REFUSED_STREAM and call.http_status == STATUS_NONE:
        # The server has not looked at it (RFC 9113, 8.7): it may go another way.
        if call.attempts < RETRIES_MAX:
            engine.retried += 1
            list_append(&engine.again, call)
            return 0
        call_says(call, b"refused again and again")
        call_end(engine, call, STATUS_UNAVAILABLE, engine.read_ns)
        return 0
    status = call.status
    if status == STATUS_NONE:
        status = status_of_reset(error_code) if error_code else status_of_http(call.http_status)
        call_says(call, b"stream reset" if error_code else b"no grpc-status")
    elif status == STATUS_OK and not whole_answer(call):
        engine.malformed += 1
        status = STATUS_INTERNAL
        call_says(call, b"not one whole message in the answer")
    call_end(engine, call, status, engine.read_ns)
    return 0


cdef ssize_t read_body(
    nghttp2_session* session, int32_t stream, uint8_t* out, size_t length, uint32_t* flags,
    nghttp2_data_source* source, void* user
) noexcept nogil:
    cdef Call* call = <Call*>source.ptr
    cdef size_t left
    # A call that has ended while its body waited for the window has no body any more.
    if call.connection != <Connection*>user or call.stream != stream:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        return 0
    left = call.body.length - call.read
    if left <= length:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
    left = min(left, length)
    memcpy(out, call.data + call.read, left)
    call.read += <uint32_t>left
    return left


cdef void ready_rebuild(Engine* engine) noexcept nogil:
    """The connections that take new calls."""
    cdef uint32_t i
    engine.ready_count = 0
    for i in range(engine.connection_count):
        if engine.connections[i].state == READY:
            engine.ready[engine.ready_count] = &engine.connections[i]
            engine.ready_count += 1


cdef void connection_is_ready(Connection* self) noexcept nogil:
    cdef Lane* lane = &self.engine.lanes[self.lane]
    self.state = READY
    self.engine.connects += 1
    lane.failures = 0
    lane.backoff_ns = BACKOFF_NS
    ready_rebuild(self.engine)


cdef void connection_drains(Connection* self) noexcept nogil:
    """No new calls; its lane gets another connection at once."""
    cdef Lane* lane = &self.engine.lanes[self.lane]
    self.state = DRAINING
    lane.connection = NULL
    lane.retry_ns = 0
    self.engine.lanes_down += 1
    ready_rebuild(self.engine)


cdef void connection_close(Connection* self, int error) noexcept nogil:
    """Close it; calls in flight end as UNAVAILABLE.  Never within one of its callbacks."""
    cdef Engine* engine = self.engine
    cdef Lane* lane = &engine.lanes[self.lane]
    cdef Call* call = engine.flying.oldest
    cdef Call* newer
    cdef int64_t now = now_ns()
    if self.state == READY or self.state == DRAINING and self.in_flight:
        engine.lost += 1
    while call != NULL:
        newer = call.newer
        if call.connection == self:
            list_remove(&engine.flying, call)
            call_says(call, b"connection lost")
            call_end(engine, call, STATUS_UNAVAILABLE, now)
        call = newer
    if self.state != DRAINING:
        lane.connection = NULL
        lane.error = error
        # A connection that had worked is opened again at once.
        lane.retry_ns = 0 if self.state == READY else now + lane.backoff_ns
        if self.state != READY:
            lane.failures += 1
            lane.backoff_ns = min(2 * lane.backoff_ns, <int64_t>BACKOFF_NS_MAX)
        engine.lanes_down += 1
    self.state = DOWN
    nghttp2_session_del(self.session)
    self.session = NULL
    close(self.fd)
    self.fd = -1
    self.in_flight = 0
    ready_rebuild(engine)


cdef bint watch(Connection* self, int operation, bint writing) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN | EPOLLOUT if writing else EPOLLIN
    event.data.ptr = self
    self.wants_write = writing
    return epoll_ctl(self.engine.epoll, operation, self.fd, &event) == 0


cdef int open_socket(Connection* self, const Target* target) noexcept nogil:
    """Begin to connect: 0, or an errno."""
    cdef int one = 1
    self.fd = socket(
        target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0
    )
    if self.fd < 0:
        return errno
    if target.tcp:
        setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    if connect(self.fd, <const sockaddr*>&target.address, target.length) < 0:
        if errno != EINPROGRESS and errno != EAGAIN:
            return errno
    return 0 if watch(self, EPOLL_CTL_ADD, True) else errno


cdef bint open_session(Connection* self) noexcept nogil:
    """The preface and our settings; windows so large that they never hold an answer up."""
    cdef nghttp2_settings_entry[2] settings
    settings[0].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
    settings[0].value = 0
    settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    settings[1].value = WINDOW_BYTES
    if nghttp2_session_client_new2(
        &self.session, self.engine.callbacks, self, self.engine.option
    ):
        return False
    nghttp2_submit_settings(self.session, NGHTTP2_FLAG_NONE, settings, 2)
    return nghttp2_session_set_local_window_size(
        self.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES
    ) == 0


cdef void lane_open(Engine* engine, uint32_t lane, int64_t now) noexcept nogil:
    """Give a lane a connection, when one is free."""
    cdef Connection* self
    cdef uint32_t i
    cdef int error
    for i in range(engine.connection_count):
        self = &engine.connections[i]
        if self.state == DOWN:
            break
    else:
        return
    self.lane = lane
    self.in_flight = self.out_start = self.out_end = 0
    self.streams_max = engine.streams_max
    self.broken = False
    self.opened_ns = now
    self.state = CONNECTING
    engine.lanes[lane].connection = self
    engine.lanes_down -= 1
    error = open_socket(self, &engine.targets[engine.lanes[lane].target])
    if error == 0 and not open_session(self):
        error = ENOMEM
    if error:
        connection_close(self, error)


cdef void lanes_open(Engine* engine, int64_t now) noexcept nogil:
    """Open the connections that are wanted and whose time has come."""
    cdef uint32_t i
    for i in range(engine.lane_count):
        if engine.lanes[i].connection == NULL and engine.lanes[i].retry_ns <= now:
            lane_open(engine, i, now)


cdef void connections_give_up(Engine* engine, int64_t now) noexcept nogil:
    """Close those on which the server does not begin to speak."""
    cdef uint32_t i
    cdef Connection* self
    for i in range(engine.connection_count):
        self = &engine.connections[i]
        if self.state == CONNECTING or self.state == OPENING:
            if now - self.opened_ns > engine.connect_ns:
                connection_close(self, ETIMEDOUT)


cdef void flush(Connection* self) noexcept nogil:
    """Write what libnghttp2 has, in as few calls of the kernel as it takes."""
    cdef const uint8_t* data
    cdef ssize_t size
    while True:
        if self.out_start == self.out_end:
            self.out_start = self.out_end = 0
            while self.out_end + FRAME_BYTES_MAX <= OUT_BYTES:
                size = nghttp2_session_mem_send(self.session, &data)
                if size <= 0 or size > FRAME_BYTES_MAX:
                    self.broken = size != 0
                    break
                memcpy(self.out + self.out_end, data, size)
                self.out_end += <uint32_t>size
            if self.out_end == 0 or self.broken:
                break
        size = send(
            self.fd, self.out + self.out_start, self.out_end - self.out_start, MSG_NOSIGNAL
        )
        if size < 0:
            if errno == EAGAIN:
                if not self.wants_write:
                    watch(self, EPOLL_CTL_MOD, True)
                return
            self.broken = errno != EINTR
            if self.broken:
                return
            continue
        self.out_start += <uint32_t>size
    if self.wants_write:
        watch(self, EPOLL_CTL_MOD, False)


cdef bint submit(Connection* self, Call* call) noexcept nogil:
    """Hand a call to libnghttp2; `flush` sends it.  False: this connection takes no more."""
    cdef Engine* engine = self.engine
    cdef nghttp2_data_provider provider
    cdef uint32_t target = engine.lanes[self.lane].target
    cdef int32_t stream
    provider.source.ptr = call
    provider.read_callback = &read_body
    call.read = call.answer_bytes = 0
    call.message_length = 0
    call.status = call.http_status = STATUS_NONE
    call.unsent = False
    stream = nghttp2_submit_request(
        self.session, NULL,
        &engine.headers[(target * engine.method_count + call.body.method) * HEADERS_MAX],
        engine.header_count, &provider, call,
    )
    if stream < 0:
        # Its stream ids are used up (RFC 9113, 5.1.1) or there is no memory.
        connection_drains(self)
        return False
    call.connection = self
    call.stream = stream
    call.attempts += 1
    self.in_flight += 1
    return True


cdef void connected(Connection* self) noexcept nogil:
    """The kernel has connected, or has not."""
    cdef int error = 0
    cdef socklen_t size = sizeof(error)
    getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &error, &size)
    if error:
        connection_close(self, error)
        return
    self.state = OPENING


cdef void receive(Connection* self) noexcept nogil:
    """Read once and hand it to libnghttp2; the moment of the read ends the calls within."""
    cdef Engine* engine = self.engine
    cdef ssize_t size = recv(self.fd, engine.buffer, READ_BYTES, 0)
    if size < 0 and (errno == EAGAIN or errno == EINTR):
        return
    engine.read_ns = now_ns()
    if size <= 0 or nghttp2_session_mem_recv(self.session, engine.buffer, size) < 0:
        connection_close(self, ECONNRESET)


cdef void settle(Connection* self) noexcept nogil:
    """Send what is to be sent, and close what is over."""
    if self.state == DOWN:
        return
    flush(self)
    if self.broken:
        connection_close(self, EPIPE)
    elif self.state == DRAINING and self.in_flight == 0 and self.out_start == self.out_end:
        connection_close(self, 0)
    elif not nghttp2_session_want_read(self.session) and self.out_start == self.out_end:
        if not nghttp2_session_want_write(self.session):
            connection_close(self, ECONNRESET)
