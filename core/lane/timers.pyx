"""Timers: what must not last too long, looked at ten times a second."""

cdef enum:
    TICK_MS = 100


cdef void timers_run(LaneState* lane) noexcept nogil:
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


cdef bint connection_stalls(const Connection* connection, int64_t now) noexcept nogil:
    """Whether an answer has waited too long for the peer to read any of it.

    A shut window of one stream counts: what waits behind it is kept in memory.
    """
    cdef const Stream* stream = connection.streams if connection.answer_bytes else NULL
    cdef int64_t stall_ms = connection.lane.bounds.stall_ms
    if connection.unsent != NULL and now - connection.wrote_ms >= stall_ms:
        return True
    while stream != NULL:
        if stream.answer_sent < stream.answer.length and now - stream.moved_ms >= stall_ms:
            return True
        stream = stream.following
    return False


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


cdef void deadlines_run(LaneState* lane) noexcept nogil:
    """Answer the calls whose time is up while they wait, or while they arrive."""
    cdef Stream* stream
    while lane.pool.due_count and lane.pool.due[0].due_ms <= lane.now_ms:
        stream = lane.pool.due[0]
        due_clear(&lane.pool, stream)
        if stream.connection.state < STATE_LINGERING:
            call_expire(stream)


cdef void call_expire(Stream* stream) noexcept nogil:
    cdef LaneState* lane = stream.connection.lane
    if stream.refusal != REFUSAL_NONE:
        call_refuse(stream)
    elif stream.pending and stream.method == METHOD_TRACK:
        refuse(stream, CODE_DEADLINE_EXCEEDED, "the deadline passed before the log had the "
               "write: whether it has is unknown, retry with the same id")
    elif stream.pending:
        call_forget(stream)
        refuse(stream, CODE_DEADLINE_EXCEEDED, "the deadline passed before this node had applied "
               "min_position: ask again, or another node")
    elif stream.deadline_us and stream.deadline_ms <= lane.now_ms:
        refuse(stream, CODE_DEADLINE_EXCEEDED, "the deadline passed before the request ended")
    else:
        counter_add(&lane.counters[COUNT_CALLS_SLOW], 1)
        refuse(stream, CODE_DEADLINE_EXCEEDED, "the request took too long to arrive")
    connection_touch(stream.connection)
