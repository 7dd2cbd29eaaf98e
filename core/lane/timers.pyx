"""Timers: what must not last too long, looked at ten times a second."""

cdef enum:
    TICK_MS = 100
    # Deadlines of calls that have begun are looked at more often.
    DEADLINE_TICK_MS = 1


cdef void timers_run(Lane_* lane) noexcept nogil:
    cdef Connection* connection = lane.connections
    cdef Connection* following
    if not lane.listening and not lane.draining and lane.now_ms >= lane.accept_at_ms:
        listeners_watch(lane, True)
    while connection != NULL:
        following = connection.following
        connection_time(connection)
        connection = following


cdef void connection_time(Connection* connection) noexcept nogil:
    """End a connection that has been too long in what it is in."""
    cdef const Bounds* bounds = &connection.lane.bounds
    cdef int64_t now = connection.lane.now_ms
    if connection.state == STATE_LINGERING:
        if now - connection.state_ms >= LINGER_MS:
            connection_fail(connection, connection.reason)
    elif not connection.settled:
        if now - connection.accepted_ms >= bounds.handshake_ms:
            connection_end(connection, NGHTTP2_NO_ERROR, COUNT_CLOSED_HANDSHAKE)
            connection_expire(connection, COUNT_CLOSED_HANDSHAKE)
    elif connection_dribbles(connection, now):
        connection_end(connection, NGHTTP2_ENHANCE_YOUR_CALM, COUNT_CLOSED_SLOW_REQUEST)
    elif connection_stalls(connection, now):
        connection_end(connection, NGHTTP2_ENHANCE_YOUR_CALM, COUNT_CLOSED_SLOW_READER)
        connection_expire(connection, COUNT_CLOSED_SLOW_READER)
    else:
        connection_time_open(connection, now)


cdef inline bint connection_dribbles(const Connection* connection, int64_t now) noexcept nogil:
    """Whether a frame has been arriving for too long.  A silent peer is the keepalive's."""
    return (
        connection.frame_ms and connection.read_ms > connection.frame_ms
        and now - connection.frame_ms >= connection.lane.bounds.request_ms
    )


cdef inline bint connection_stalls(const Connection* connection, int64_t now) noexcept nogil:
    """Whether answers have waited too long for the peer to read any of them."""
    cdef int64_t since
    if connection.unsent != NULL:
        since = connection.wrote_ms
    elif connection.answer_bytes:
        since = connection.answered_ms
    else:
        return False
    return now - since >= connection.lane.bounds.stall_ms


cdef void connection_expire(Connection* connection, uint8_t reason) noexcept nogil:
    """Close at once where a GOAWAY would not get through."""
    if connection.unsent != NULL:
        connection_fail(connection, reason)


cdef void connection_time_open(Connection* connection, int64_t now) noexcept nogil:
    """Keepalive, idleness and age of a connection that works."""
    cdef const Bounds* bounds = &connection.lane.bounds
    if connection.state == STATE_DRAINING:
        # A peer that does not acknowledge has had its round trip.
        if now - connection.state_ms >= bounds.drain_notice_ms:
            connection_drained(connection)
    elif connection.ping_sent_ms:
        if connection.read_ms > connection.ping_sent_ms:
            connection.ping_sent_ms = 0
        elif now - connection.ping_sent_ms >= bounds.keepalive_timeout_ms:
            connection_fail(connection, COUNT_CLOSED_KEEPALIVE)
    elif now - connection.read_ms >= bounds.keepalive_ms:
        connection_ping(connection)
    elif connection.state == STATE_OPEN:
        if bounds.connection_age_ms and now - connection.accepted_ms >= bounds.connection_age_ms:
            connection_drain(connection, COUNT_CLOSED_AGE)
        elif bounds.idle_ms and connection.streams == NULL and (
            now - connection.called_ms >= bounds.idle_ms
        ):
            connection_drain(connection, COUNT_CLOSED_IDLE)


cdef void deadlines_run(Lane_* lane) noexcept nogil:
    """Answer calls whose deadline passes while they wait, or while they arrive."""
    cdef Connection* connection = lane.connections
    cdef Stream* stream
    cdef Stream* following
    lane.open_calls = False
    while connection != NULL:
        stream = connection.streams if connection.state < STATE_LINGERING else NULL
        while stream != NULL:
            following = stream.following
            if not stream.answered:
                lane.open_calls = True
                call_time(stream)
            stream = following
        connection = connection.following


cdef void call_time(Stream* stream) noexcept nogil:
    cdef Connection* connection = stream.connection
    cdef Lane_* lane = connection.lane
    if stream.deadline_us and stream.deadline_us <= lane.now_us:
        if stream.pending:
            lane.pending -= 1
            refuse(stream, CODE_DEADLINE_EXCEEDED, "the deadline passed before the log had the "
                   "write: whether it has is unknown, retry with the same id")
        else:
            refuse(stream, CODE_DEADLINE_EXCEEDED, "the deadline passed before the request ended")
        connection_touch(connection)
    elif not stream.pending and lane.now_ms - stream.began_ms >= lane.bounds.request_ms:
        counter_add(&lane.counters[COUNT_CLOSED_SLOW_REQUEST], 1)
        refuse(stream, CODE_DEADLINE_EXCEEDED, "the request took too long to arrive")
        connection_touch(connection)
