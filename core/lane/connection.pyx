"""Connections: bytes in, bytes out, and how each one ends."""

cdef enum:
    READ_BYTES = 65536
    # What a turn reads of a connection; less under overload.
    READ_TURN_BYTES = 262144
    # And besides, to the end of calls that it has cut.
    READ_REST_BYTES = 4096
    # What one flush collects; more waits in nghttp2, which asks for it again.
    WRITE_BYTES = 131072
    LINGER_MS = 1000
    LINGER_BYTES_MAX = 1048576
    PING_STRIKES_MAX = 2
    CONTROL_FRAMES_A_CALL = 8
    ENDED_KEPT = 32


cdef enum:
    STATE_OPEN = 0
    # GOAWAY was announced; streams may still come until it is final.
    STATE_DRAINING = 1
    STATE_DRAINED = 2
    # All is said: what still comes is read and dropped, so that the peer sees our last bytes.
    STATE_LINGERING = 3
    STATE_DEAD = 4


cdef struct Connection:
    LaneState* lane
    nghttp2_session* session
    Frames frames
    int fd
    uint8_t state
    # Why it ends: a Counter.
    uint8_t reason
    # Its last GOAWAY was submitted.
    bint ending
    bint settled
    # The peer has said goodbye.
    bint left
    bint write_watched
    bint read_paused
    # It has something to flush, and stands in the lane's list of those.
    bint touched
    Connection* touched_next
    Connection* previous
    Connection* following
    uint64_t peer
    Stream* streams
    uint32_t streams_count
    # Of them, those whose request has not ended.
    uint32_t receiving
    size_t request_bytes
    size_t answer_bytes
    # Unsent bytes, owned, while the socket takes no more.
    uint8_t* unsent
    size_t unsent_length
    size_t unsent_at
    int64_t accepted_ms
    int64_t read_ms
    int64_t wrote_ms
    int64_t called_ms
    int64_t drain_ms
    int64_t state_ms
    # When the frame being received began; 0 between frames.
    int64_t frame_ms
    int64_t ping_sent_ms
    int64_t ping_seen_ms
    uint32_t ping_strikes
    int64_t control_window_ms
    int64_t control_frames
    # Calls the client has cancelled, less those that time forgives.
    int64_t resets
    int64_t reset_ms
    size_t lingered
    # The highest stream so far, and the last ones that ended: negative where we alone have ended
    # it, for then frames of it may be on their way.
    int32_t stream_highest
    int32_t ended[ENDED_KEPT]
    uint32_t ended_count


cdef inline void connection_touch(Connection* connection) noexcept nogil:
    """Have it flushed at the end of the round."""
    if not connection.touched:
        connection.touched = True
        connection.touched_next = connection.lane.touched
        connection.lane.touched = connection


cdef void connection_fail(Connection* connection, uint8_t reason) noexcept nogil:
    """Close it without a word, at the end of the round."""
    if connection.state != STATE_DEAD:
        if connection.state != STATE_LINGERING:
            connection.reason = reason
        connection.state = STATE_DEAD
        connection_touch(connection)


cdef void connection_end(
    Connection* connection, uint32_t error, uint8_t reason
) noexcept nogil:
    """Send a last GOAWAY and close.  One that drains is held to its bounds all the same."""
    if connection.state < STATE_LINGERING and not connection.ending:
        connection.ending = True
        connection.reason = reason
        if nghttp2_session_terminate_session(connection.session, error):
            connection_fail(connection, reason)
        connection_touch(connection)


cdef void connection_drain(Connection* connection, uint8_t reason) noexcept nogil:
    """Announce the end: calls already on their way are still served."""
    if connection.state != STATE_OPEN:
        return
    if not connection.settled:
        # No call is on its way to one that has not introduced itself.
        connection_end(connection, NGHTTP2_NO_ERROR, reason)
        return
    connection.state = STATE_DRAINING
    connection.state_ms = connection.lane.now_ms
    connection.reason = reason
    if nghttp2_submit_shutdown_notice(connection.session):
        connection_fail(connection, reason)
    # Its acknowledgement tells that the peer has seen the notice.
    connection_ping(connection)


cdef void connection_drained(Connection* connection) noexcept nogil:
    """Take no more calls; those that are here are finished."""
    cdef int32_t last = nghttp2_session_get_last_proc_stream_id(connection.session)
    connection.state = STATE_DRAINED
    connection.state_ms = connection.lane.now_ms
    if nghttp2_submit_goaway(
        connection.session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0
    ):
        connection_fail(connection, connection.reason)
    connection_touch(connection)


cdef void connection_ping(Connection* connection) noexcept nogil:
    connection.ping_sent_ms = connection.lane.now_ms
    nghttp2_submit_ping(connection.session, NGHTTP2_FLAG_NONE, NULL)
    connection_touch(connection)


cdef void connection_read(Connection* connection) noexcept nogil:
    cdef LaneState* lane = connection.lane
    cdef size_t whole = lane.admission.read_bytes
    cdef size_t left = whole
    cdef size_t most, got
    if connection.state == STATE_DEAD:
        return
    while left:
        most = min(left, <size_t>READ_BYTES)
        got = connection_take(connection, most)
        left -= got
        if got < READ_BYTES:
            break
    turn_read(lane, whole - left)
    if not left:
        connection_take_rest(connection)
    # At once, not when all others have been read: it waits for its answers.
    connection_flush(connection)
    calls_ended(lane)


cdef void connection_take_rest(Connection* connection) noexcept nogil:
    """Read on to the end of a call that the turn's bound has cut: it would last a turn longer."""
    cdef size_t left = READ_REST_BYTES
    cdef size_t wanted, got
    while left and connection.state < STATE_LINGERING:
        wanted = min(connection_rest(connection), left)
        if wanted == 0:
            break
        got = connection_take(connection, wanted)
        left -= got
        if got < wanted:
            break


cdef inline size_t connection_rest(const Connection* connection) noexcept nogil:
    """How many bytes are to be read until no call may be cut; 0 where none is."""
    if connection.receiving == 0 and frames_between(&connection.frames):
        return 0
    return frames_next(&connection.frames)


cdef size_t connection_take(Connection* connection, size_t most) noexcept nogil:
    """Read once; gives how much that was, and 0 where no more can be read."""
    cdef LaneState* lane = connection.lane
    cdef ssize_t count = recv(connection.fd, lane.input, most, 0)
    if count <= 0:
        if count == 0 or not would_block():
            connection_fail(connection, COUNT_CLOSED_PEER if count == 0 else COUNT_CLOSED_ERROR)
        return 0
    connection.read_ms = lane.now_ms
    lane.read_ticks = ticks_now() if TELEMETRY else 0
    if connection.state == STATE_LINGERING:
        connection.lingered += count
        if connection.lingered > LINGER_BYTES_MAX:
            connection_fail(connection, connection.reason)
        return <size_t>count
    if not connection_receive(connection, lane.input, <size_t>count):
        return 0
    calls_arriving(lane)
    return <size_t>count if connection.state != STATE_DEAD else 0


cdef bint connection_receive(
    Connection* connection, const uint8_t* data, size_t length
) noexcept nogil:
    """Give nghttp2 what was read; False where it is no HTTP/2."""
    cdef ssize_t used
    cdef size_t step
    cdef size_t at = 0
    while at < length:
        step = frames_read(connection, data + at, length - at)
        used = nghttp2_session_mem_recv(connection.session, data + at, step)
        calls_begin(connection.lane)
        if used < 0:
            connection_refused(connection, used)
            return False
        at += step
    return True


cdef void connection_refused(Connection* connection, ssize_t error) noexcept nogil:
    """What was read is no HTTP/2, or too much of it."""
    if error == NGHTTP2_ERR_FLOODED or error == NGHTTP2_ERR_CALLBACK_FAILURE:
        connection_end(connection, NGHTTP2_ENHANCE_YOUR_CALM, COUNT_CLOSED_FLOOD)
    elif error == NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        connection_end(connection, NGHTTP2_PROTOCOL_ERROR, COUNT_CLOSED_PROTOCOL)
    else:
        connection_end(connection, NGHTTP2_INTERNAL_ERROR, COUNT_CLOSED_ERROR)


cdef size_t connection_collect(Connection* connection) noexcept nogil:
    """Frames to send, collected in the lane's buffer; gives their length."""
    cdef LaneState* lane = connection.lane
    cdef const uint8_t* data = NULL
    cdef ssize_t count
    cdef size_t length = 0
    # A frame is 16 KiB and its header: the next one always has room.
    while length < WRITE_BYTES:
        count = nghttp2_session_mem_send(connection.session, &data)
        if count <= 0:
            if count < 0:
                connection_fail(connection, COUNT_CLOSED_MEMORY)
            break
        memcpy(lane.output + length, data, <size_t>count)
        length += <size_t>count
    return length


cdef bint connection_send(
    Connection* connection, const uint8_t* data, size_t length, size_t* sent
) noexcept nogil:
    """Send what the socket takes; False when it takes no more for now, or is gone."""
    cdef ssize_t count
    sent[0] = 0
    while sent[0] < length:
        count = send(connection.fd, data + sent[0], length - sent[0], MSG_NOSIGNAL)
        if count < 0:
            if not would_block():
                connection_fail(connection, COUNT_CLOSED_PEER)
            return False
        sent[0] += <size_t>count
        connection.wrote_ms = connection.lane.now_ms
    return True


cdef bint connection_send_rest(Connection* connection) noexcept nogil:
    """Send what a flush before this one has left."""
    cdef size_t sent = 0
    cdef bint whole = connection_send(
        connection, connection.unsent + connection.unsent_at,
        connection.unsent_length - connection.unsent_at, &sent,
    )
    connection.unsent_at += sent
    if whole:
        free(connection.unsent)
        connection.unsent = NULL
        connection.unsent_length = connection.unsent_at = 0
    return whole


cdef void connection_keep(
    Connection* connection, const uint8_t* data, size_t length
) noexcept nogil:
    """Keep what the socket did not take; WRITE_BYTES and a frame at most."""
    connection.unsent = <uint8_t*>malloc(length)
    if connection.unsent == NULL:
        connection_fail(connection, COUNT_CLOSED_MEMORY)
        return
    memcpy(connection.unsent, data, length)
    connection.unsent_length = length
    connection.unsent_at = 0
    connection.wrote_ms = connection.lane.now_ms


cdef void connection_flush(Connection* connection) noexcept nogil:
    """Send all that can be sent now, watch for what cannot, and end what has ended."""
    cdef size_t length, sent = 0
    if connection.state >= STATE_LINGERING:
        return
    if connection.unsent != NULL and not connection_send_rest(connection):
        connection_watch(connection)
        return
    while connection.state != STATE_DEAD:
        length = connection_collect(connection)
        if length == 0:
            break
        if not connection_send(connection, connection.lane.output, length, &sent):
            if connection.state != STATE_DEAD:
                connection_keep(connection, connection.lane.output + sent, length - sent)
            break
        if length < WRITE_BYTES:
            break
    connection_watch(connection)
    if connection.state != STATE_DEAD and connection.unsent == NULL:
        connection_settle(connection)


cdef void connection_settle(Connection* connection) noexcept nogil:
    """With all sent: linger when the session is over or everything drained."""
    cdef bint over = not nghttp2_session_want_read(connection.session) and (
        not nghttp2_session_want_write(connection.session)
    )
    if over and connection.reason == COUNT_CLOSED_PEER and not connection.left:
        # nghttp2 has ended it by itself: the peer broke a rule or a limit of its.
        connection.reason = COUNT_CLOSED_PROTOCOL
    if over or (connection.state == STATE_DRAINED and connection.streams == NULL):
        connection.state = STATE_LINGERING
        connection.state_ms = connection.lane.now_ms
        shutdown(connection.fd, SHUT_WR)
        connection_watch(connection)


cdef void connection_watch(Connection* connection) noexcept nogil:
    """Ask epoll for what is wanted next.

    No reading from a peer that reads nothing itself while answers pile up.  One that only keeps
    its window shut goes on being read: the frame that opens it is among what it sends.
    """
    cdef bint write = connection.unsent != NULL
    cdef bint pause = write and (
        connection.answer_bytes > connection.lane.bounds.answer_buffer_max // 2
    )
    if write == connection.write_watched and pause == connection.read_paused:
        return
    connection.write_watched = write
    connection.read_paused = pause
    watch_set(
        connection.lane.epoll_fd, EPOLL_CTL_MOD, connection.fd,
        (0 if pause else EPOLLIN) | (EPOLLOUT if write else 0), connection,
    )


cdef void connection_free(Connection* connection) noexcept nogil:
    """Close for good, with every call that is still open."""
    cdef LaneState* lane = connection.lane
    counter_add(&lane.counters[connection.reason], 1)
    counter_add(&lane.counters[COUNT_OPEN], <uint64_t>-1)
    peer_leave(&lane.peers, connection.peer)
    # Its callbacks would close streams of a connection that is going.
    while connection.streams != NULL:
        call_end(connection.streams)
    nghttp2_session_del(connection.session)
    close(connection.fd)
    if connection.previous != NULL:
        connection.previous.following = connection.following
    else:
        lane.connections = connection.following
    if connection.following != NULL:
        connection.following.previous = connection.previous
    lane.connections_count -= 1
    free(connection.unsent)
    free(connection)


cdef void call_end(Stream* stream) noexcept nogil:
    """A stream is gone: answered, cancelled or cut off."""
    cdef LaneState* lane = stream.connection.lane
    if not stream.request_ended:
        stream.connection.receiving -= 1
    if not stream.answered:
        counter_add(&lane.counters[COUNT_CANCELLED], 1)
        stream.code = CODE_CANCELLED
    call_forget(stream)
    stream.pending = False
    stream_close(&lane.pool, stream)
    stream.following = lane.ended
    lane.ended = stream
