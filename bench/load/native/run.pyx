"""The loop: sends what is due, reads what has come, and spins on the clock between."""


cdef inline Connection* pick(Engine* engine) noexcept nogil:
    """A connection with a free stream, in turn; NULL: none."""
    cdef uint32_t _i
    cdef Connection* found
    for _i in range(engine.ready_count):
        engine.ready_next += 1
        if engine.ready_next >= engine.ready_count:
            engine.ready_next = 0
        found = engine.ready[engine.ready_next]
        if found.in_flight < found.streams_max:
            return found
    return NULL


cdef bint is_away(Engine* engine) noexcept nogil:
    """Nothing is connected and every lane has failed to connect: calls fail at once, as gRPC's do
    that do not wait for ready."""
    cdef uint32_t i
    if engine.wait_for_ready or engine.ready_count:
        return False
    for i in range(engine.lane_count):
        if engine.lanes[i].failures == 0:
            return False
    return True


cdef void advance(Engine* engine) noexcept nogil:
    """The next moment at which a call is due."""
    cdef double seconds
    if engine.warming:
        seconds = schedule_next(&engine.warm_schedule)
        engine.due_ns = engine.begin_ns + <int64_t>(seconds * SECOND_NS)
        if engine.due_ns < engine.start_ns:
            return
        engine.warming = False
    engine.due_ns = INT64_MAX
    if engine.calls_max and engine.planned == engine.calls_max:
        return
    seconds = schedule_next(&engine.schedule)
    if seconds * SECOND_NS < engine.end_ns - engine.start_ns:
        engine.due_ns = engine.start_ns + <int64_t>(seconds * SECOND_NS)
        engine.planned += 1


cdef inline void mark_dirty(Engine* engine, Connection* connection) noexcept nogil:
    if not connection.dirty:
        connection.dirty = True
        engine.dirty[engine.dirty_count] = connection
        engine.dirty_count += 1


cdef void settle_dirty(Engine* engine) noexcept nogil:
    """Send what was submitted."""
    cdef uint32_t i
    for i in range(engine.dirty_count):
        engine.dirty[i].dirty = False
        settle(engine.dirty[i])
    engine.dirty_count = 0


cdef bint put(Engine* engine, Connection* connection, Call* call) noexcept nogil:
    """Send a call; False: the connection did not take it, and it will go another way."""
    cdef int64_t lateness
    if not submit(connection, call):
        list_prepend(&engine.again, call)
        return False
    call.sent_ns = now_ns()
    list_append(&engine.flying, call)
    mark_dirty(engine, connection)
    engine.sent += 1
    if engine.closed or call.attempts > 1 or call.due_ns < engine.start_ns:
        return True
    lateness = call.sent_ns - call.due_ns
    engine.late_most_ns = max(engine.late_most_ns, lateness)
    if lateness > LATE_NS:
        engine.late += 1
        engine.late_blocked += engine.blocked_ns >= call.due_ns
    return True


cdef Call* take_due(Engine* engine) noexcept nogil:
    """The call to be sent next, off every list; NULL: no place for one."""
    cdef Call* call = engine.again.oldest
    if call != NULL:
        list_remove(&engine.again, call)
        return call
    call = call_new(engine, engine.due_ns)
    if call != NULL:
        advance(engine)
    return call


cdef void end_unsent(
    Engine* engine, int16_t status, const char* text, int64_t now
) noexcept nogil:
    """Count the next call as over before it was sent."""
    cdef Call* call = take_due(engine)
    if call == NULL:
        return
    engine.unsent += call.due_ns >= engine.start_ns
    call_says(call, text)
    call_end(engine, call, status, now)


cdef bint send_due(Engine* engine, int64_t now) noexcept nogil:
    """Send what is due by now; True when anything was."""
    cdef Connection* connection
    cdef Call* call
    cdef int64_t due
    cdef int _number
    cdef bint any = False
    for _number in range(BATCH_MAX):
        due = engine.due_ns if engine.again.oldest == NULL else engine.again.oldest.due_ns
        if due > now:
            break
        any = True
        if engine.deadline_ns and due + engine.deadline_ns <= now and engine.free != NULL:
            end_unsent(engine, STATUS_DEADLINE, b"not sent before its deadline", now)
            continue
        connection = pick(engine)
        if connection == NULL and is_away(engine):
            end_unsent(engine, STATUS_UNAVAILABLE, b"no connection", now)
            continue
        call = NULL if connection == NULL else take_due(engine)
        if call == NULL:
            engine.blocked_ns = now
            break
        put(engine, connection, call)
    settle_dirty(engine)
    return any


cdef void fill(Engine* engine, Connection* connection, int64_t now) noexcept nogil:
    """Closed loop: as many calls in flight as there are streams."""
    cdef Call* call
    while connection.state == READY and connection.in_flight < connection.streams_max:
        call = engine.again.oldest
        if call != NULL:
            list_remove(&engine.again, call)
        elif engine.due_ns == INT64_MAX or engine.calls_max and engine.planned >= engine.calls_max:
            return
        else:
            call = call_new(engine, now_ns())
            if call == NULL:
                return
            engine.planned += call.due_ns >= engine.start_ns
        put(engine, connection, call)


cdef void fill_all(Engine* engine, int64_t now) noexcept nogil:
    cdef uint32_t i
    for i in range(engine.connection_count):
        if engine.connections[i].state == READY:
            fill(engine, &engine.connections[i], now)
    settle_dirty(engine)


cdef void happened(Engine* engine, const epoll_event* event, int64_t now) noexcept nogil:
    """One connection can be read or written."""
    cdef Connection* connection = <Connection*>event.data.ptr
    if connection.state == DOWN:
        return
    if connection.state == CONNECTING:
        connected(connection)
    elif event.events & (EPOLLIN | EPOLLERR | EPOLLHUP):
        receive(connection)
    if engine.closed and engine.phase == PHASE_RUNNING:
        fill(engine, connection, now)
        settle_dirty(engine)
    settle(connection)


cdef bint poll(Engine* engine, int timeout_ms) noexcept nogil:
    """Do what the kernel has for us; True when it had anything."""
    cdef epoll_event[EVENTS_MAX] events
    cdef int count = epoll_wait(engine.epoll, events, EVENTS_MAX, timeout_ms)
    cdef int64_t now
    cdef int i
    for i in range(count):
        now = now_ns()
        happened(engine, &events[i], now)
        # A large answer must not make the next send late.
        if not engine.closed and engine.due_ns <= now:
            send_due(engine, now)
    return count > 0


cdef bint expire(Engine* engine, int64_t now) noexcept nogil:
    """Reset the streams whose deadline has passed; True when there were any."""
    cdef Call* call = engine.flying.oldest
    cdef bint any = False
    if not engine.deadline_ns:
        return False
    while call != NULL and call.due_ns + engine.deadline_ns <= now:
        any = True
        let_go(engine, call)
        call_says(call, b"no answer before the deadline")
        call_end(engine, call, STATUS_DEADLINE, now)
        call = engine.flying.oldest
    settle_dirty(engine)
    return any


cdef void let_go(Engine* engine, Call* call) noexcept nogil:
    """Cancel a call in flight; its stream counts until libnghttp2 has closed it."""
    cdef Connection* connection = call.connection
    list_remove(&engine.flying, call)
    nghttp2_session_set_stream_user_data(connection.session, call.stream, NULL)
    nghttp2_submit_rst_stream(connection.session, NGHTTP2_FLAG_NONE, call.stream, NGHTTP2_CANCEL)
    mark_dirty(engine, connection)


cdef void give_up(Engine* engine, int64_t now) noexcept nogil:
    """The run is over: what has no answer counts as cancelled, sent or not."""
    cdef Call* call
    while engine.flying.oldest != NULL:
        call = engine.flying.oldest
        let_go(engine, call)
        call_says(call, b"no answer before the end of the run")
        call_end(engine, call, STATUS_CANCELLED, now)
    settle_dirty(engine)
    while engine.again.oldest != NULL or engine.due_ns <= now:
        end_unsent(engine, STATUS_CANCELLED, b"not sent before the end of the run", now)
        if engine.closed and engine.again.oldest == NULL:
            break


cdef inline void note_turn(Engine* engine, int64_t now, bint idle) noexcept nogil:
    """An idle turn that took long is time that the machine has lost."""
    cdef int64_t span = now - engine.turn_ns
    engine.turn_ns = now
    if not idle:
        return
    engine.observed_ns += span
    if span > GAP_NS:
        engine.gaps += 1
        engine.gap_ns += span
        engine.gap_most_ns = max(engine.gap_most_ns, span)


cdef bint connect_all(Engine* engine) noexcept nogil:
    """Open every connection; False when one cannot be, within the time for it."""
    cdef int64_t begun = now_ns()
    cdef int64_t now = begun
    cdef uint32_t failed = 0
    cdef uint32_t i
    while engine.ready_count < engine.lane_count and not engine.stop:
        lanes_open(engine, now)
        poll(engine, 1)
        now = now_ns()
        connections_give_up(engine, now)
        failed = 0
        for i in range(engine.lane_count):
            failed += engine.lanes[i].failures > 0
        if failed and not engine.wait_for_ready or now - begun > engine.connect_ns:
            return False
    return not engine.stop


cdef void begin(Engine* engine) noexcept nogil:
    """Set the clock."""
    engine.begin_ns = now_ns()
    engine.start_ns = engine.begin_ns + engine.warmup_ns
    engine.end_ns = engine.start_ns + engine.duration_ns
    engine.last_ns = engine.start_ns
    engine.warming = engine.warmup_ns > 0
    if engine.closed:
        engine.due_ns = engine.begin_ns
    else:
        advance(engine)


cdef void turn(Engine* engine) noexcept nogil:
    """Look at everything once."""
    cdef int64_t now = engine.turn_ns
    cdef bint busy = False
    if engine.closed:
        if engine.again.oldest != NULL:
            fill_all(engine, now)
    elif engine.due_ns <= now or engine.again.oldest != NULL:
        busy = send_due(engine, now)
    busy |= poll(engine, 0)
    busy |= expire(engine, now)
    if engine.lanes_down:
        lanes_open(engine, now)
    if engine.ready_count < engine.lane_count:
        connections_give_up(engine, now)
    note_turn(engine, now_ns(), not busy)


cdef void run(Engine* engine) noexcept nogil:
    """The whole run, from the first connection to the last answer."""
    if not connect_all(engine):
        engine.phase = PHASE_UNREACHED
        return
    begin(engine)
    engine.phase = PHASE_RUNNING
    engine.turn_ns = now_ns()
    if engine.closed:
        fill_all(engine, engine.turn_ns)
    while engine.turn_ns < engine.end_ns and not engine.stop:
        turn(engine)
        if not engine.alive and engine.calls_max and engine.planned == engine.calls_max:
            if engine.closed or engine.due_ns == INT64_MAX:
                break
    engine.end_ns = min(engine.end_ns, engine.turn_ns)
    engine.phase = PHASE_ENDING
    if engine.closed or engine.stop:
        engine.due_ns = INT64_MAX
    while engine.turn_ns < engine.end_ns + engine.drain_ns:
        if not engine.alive and engine.due_ns == INT64_MAX:
            break
        turn(engine)
    give_up(engine, engine.turn_ns)
    engine.phase = PHASE_DONE
