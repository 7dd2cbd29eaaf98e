"""The loop: one thread, one epoll, and what other threads ask of it."""

cdef enum:
    EVENTS_MAX = 256
    LISTENERS_MAX = 64
    UIDS_MAX = 256
    ELSEWHERE_MAX = 512
    # Requests that one read begins; for more, each is seen to at once.
    ARRIVING_MAX = 1024
    # How long writes are gathered for one append to the log while the lane does not come to rest.
    GATHER_US = 1000


cdef struct Bounds:
    # As LaneSettings names them.
    uint64_t connections_max
    uint64_t peer_connections_max
    uint32_t streams_max
    size_t header_bytes_max
    size_t message_bytes_max
    size_t request_buffer_max
    size_t answer_buffer_max
    int64_t idle_ms
    int64_t handshake_ms
    int64_t request_ms
    int64_t stall_ms
    int64_t keepalive_ms
    int64_t keepalive_timeout_ms
    int64_t ping_interval_ms
    int64_t control_frames_per_s
    uint64_t resets_burst
    uint64_t resets_per_s
    int64_t connection_age_ms
    int64_t drain_notice_ms


cdef struct LaneState:
    const Door* door
    Seat* seat
    DoorMethod methods[METHODS]
    Bounds bounds
    OverloadBounds overload
    Admission admission
    int64_t uids[UIDS_MAX]
    uint32_t uids_count
    int listeners[LISTENERS_MAX]
    uint32_t listeners_count
    bint listening
    int64_t accept_at_ms
    int epoll_fd
    int wake_fd
    int seat_fd
    nghttp2_session_callbacks* callbacks
    nghttp2_option* option
    Connection* connections
    uint64_t connections_count
    Connection* touched
    StreamPool pool
    Blocks blocks
    Peers peers
    # Tokens of the requests that the read at hand has begun.
    uint64_t arriving[ARRIVING_MAX]
    uint32_t arriving_count
    # And of those that it has completed and that have not begun.
    uint64_t whole[AHEAD_MAX]
    uint32_t whole_count
    # Calls whose streams have closed in this round.
    Stream* ended
    # When the last read returned.
    uint64_t read_ticks
    int64_t now_us
    int64_t now_ms
    int64_t steady_us
    int64_t tick_ms
    # Since when writes are gathered, on the steady clock; 0 for none.
    int64_t gathered_us
    bint draining
    int64_t drain_until_ms
    # Written by other threads.
    int64_t serving
    int64_t stop_wanted
    int64_t drain_wanted
    # The level that calls are served at, at least: LEVEL_FALLBACK at most.
    int64_t level_least
    uint64_t counters[COUNTERS]
    uint64_t calls[METHODS][CODES]
    # Calls refused for overload.
    uint64_t sheds[METHODS]
    uint8_t* input
    uint8_t* output
    char text[STATUS_TEXT_MAX]
    char details[STATUS_DETAILS_MAX]
    char elsewhere[ELSEWHERE_MAX]


cdef void lane_clock(LaneState* lane) noexcept nogil:
    lane.now_us = wall_us()
    lane.steady_us = steady_us()
    lane.now_ms = lane.steady_us // 1000


cdef void lane_event(LaneState* lane, const epoll_event* event) noexcept nogil:
    """Serve one descriptor that is ready."""
    cdef Connection* connection
    cdef uint64_t woken = 0
    cdef char* owner = <char*>event.data.ptr
    if owner == <char*>&lane.wake_fd:
        eventfd_read(lane.wake_fd, &woken)
    elif owner == <char*>&lane.seat_fd:
        calls_complete(lane)
    elif <char*>&lane.listeners[0] <= owner < <char*>&lane.listeners[LISTENERS_MAX]:
        listener_accept(lane, (<int*>owner)[0])
    else:
        connection = <Connection*>event.data.ptr
        if event.events & (EPOLLIN | EPOLLHUP | EPOLLERR):
            connection_read(connection)
        if event.events & EPOLLOUT:
            connection_touch(connection)


cdef void lane_flush(LaneState* lane) noexcept nogil:
    """Send what the round has made, and free what has ended."""
    cdef Connection* connection
    while lane.touched != NULL:
        connection = lane.touched
        lane.touched = connection.touched_next
        connection_flush(connection)
        calls_ended(lane)
        # A connection that failed while it was flushed still counts as touched.
        connection.touched = False
        if connection.state == STATE_DEAD:
            connection_free(connection)
    calls_ended(lane)


cdef void lane_obey(LaneState* lane) noexcept nogil:
    """Begin to drain when that was asked for."""
    cdef Connection* connection = lane.connections
    cdef int64_t grace_ms = flag_read(&lane.drain_wanted)
    if grace_ms < 0 or lane.draining:
        return
    lane.draining = True
    lane.drain_until_ms = lane.now_ms + grace_ms
    listeners_watch(lane, False)
    while connection != NULL:
        connection_drain(connection, COUNT_CLOSED_DRAIN)
        connection = connection.following


cdef int lane_wait_ms(const LaneState* lane) noexcept nogil:
    cdef int64_t wait_ms = TICK_MS
    if lane.pool.due_count:
        wait_ms = lane.pool.due[0].due_ms - lane.now_ms
    return <int>max(0, min(wait_ms, TICK_MS))


cdef int lane_next(LaneState* lane, epoll_event* events) noexcept nogil:
    """What is ready next; before the lane rests, the log gets what was gathered."""
    cdef int count
    if lane.door.gathers(lane.seat):
        count = epoll_wait(lane.epoll_fd, events, EVENTS_MAX, 0)
        if count > 0:
            return count
        lane.door.let_go(lane.seat)
    return epoll_wait(lane.epoll_fd, events, EVENTS_MAX, lane_wait_ms(lane))


cdef inline void lane_gather(LaneState* lane) noexcept nogil:
    """Let the log have what turn after turn has gathered, in time."""
    if not lane.door.gathers(lane.seat):
        lane.gathered_us = 0
    elif lane.gathered_us == 0:
        lane.gathered_us = lane.steady_us
    elif lane.steady_us - lane.gathered_us >= GATHER_US:
        lane.door.let_go(lane.seat)
        lane.gathered_us = 0


cdef void lane_run(LaneState* lane) noexcept nogil:
    """Serve until stopped, or drained with every connection gone."""
    cdef epoll_event events[EVENTS_MAX]
    cdef int count, i
    lane_clock(lane)
    admission_begin(lane)
    listeners_watch(lane, True)
    while not flag_read(&lane.stop_wanted):
        count = lane_next(lane, events)
        lane_clock(lane)
        turn_begin(lane, count)
        lane_gather(lane)
        for i in range(count):
            lane_event(lane, &events[i])
        lane_obey(lane)
        if lane.now_ms != lane.tick_ms:
            lane_tick(lane)
        lane_flush(lane)
        turn_end(lane)
        if lane.draining and (lane.connections == NULL or lane.now_ms >= lane.drain_until_ms):
            break
    lane.door.let_go(lane.seat)
    lane_close(lane)


cdef void lane_tick(LaneState* lane) noexcept nogil:
    """What is due with the clock: calls to the millisecond, the rest each TICK_MS."""
    cdef bint due = lane.now_ms // TICK_MS != lane.tick_ms // TICK_MS
    lane.tick_ms = lane.now_ms
    deadlines_run(lane)
    if due:
        timers_run(lane)


cdef void lane_close(LaneState* lane) noexcept nogil:
    listeners_watch(lane, False)
    while lane.connections != NULL:
        connection_fail(lane.connections, COUNT_CLOSED_DRAIN)
        lane_flush(lane)
