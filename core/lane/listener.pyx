"""Listening: new connections, and who may have one."""

cdef enum:
    ACCEPTS_MAX = 64
    # How long to leave new connections waiting when there are no descriptors for them.
    ACCEPT_PAUSE_MS = 100


cdef void listeners_watch(LaneState* lane, bint watch) noexcept nogil:
    """Take new connections, or leave them to others and to later."""
    cdef uint32_t i
    if lane.listening == watch:
        return
    lane.listening = watch
    for i in range(lane.listeners_count):
        if watch:
            # Threads may share a socket: one of them is woken.
            watch_set(
                lane.epoll_fd, EPOLL_CTL_ADD, lane.listeners[i], EPOLLIN | EPOLLEXCLUSIVE,
                &lane.listeners[i],
            )
        else:
            watch_set(lane.epoll_fd, EPOLL_CTL_DEL, lane.listeners[i], 0, NULL)


cdef void listener_accept(LaneState* lane, int listener) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t length
    cdef int fd, _round
    for _round in range(ACCEPTS_MAX):
        length = sizeof(address)
        fd = accept4(listener, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            if not connection_admit(lane, fd, &address):
                close(fd)
            continue
        if not would_block() and errno != EINTR and errno != ECONNABORTED:
            # No descriptors or no memory: the socket stays readable, so look away for a while.
            counter_add(&lane.counters[COUNT_REFUSED_DESCRIPTORS], 1)
            lane.accept_at_ms = lane.now_ms + ACCEPT_PAUSE_MS
            listeners_watch(lane, False)
        return


cdef bint connection_admit(LaneState* lane, int fd, sockaddr_storage* address) noexcept nogil:
    """Begin a connection, or count why it is refused."""
    cdef int64_t uid = peer_uid(fd) if address.ss_family == AF_UNIX else -1
    cdef uint64_t peer = peer_key(address, uid)
    cdef int refused = -1
    if not peer_allowed(lane, address.ss_family == AF_UNIX, uid):
        refused = COUNT_REFUSED_PEER
    elif lane.connections_count >= lane.bounds.connections_max:
        refused = COUNT_REFUSED_CONNECTIONS
    elif peer_of(&lane.peers, peer).connections >= lane.bounds.peer_connections_max:
        refused = COUNT_REFUSED_PEER_CONNECTIONS
    if refused >= 0:
        counter_add(&lane.counters[refused], 1)
        return False
    if address.ss_family != AF_UNIX:
        send_at_once(fd)
    return connection_open(lane, fd, peer)


cdef bint peer_allowed(const LaneState* lane, bint local, int64_t uid) noexcept nogil:
    cdef uint32_t i
    if not local or lane.uids_count == 0:
        return True
    for i in range(lane.uids_count):
        if lane.uids[i] == uid:
            return True
    return False


cdef bint connection_open(LaneState* lane, int fd, uint64_t peer) noexcept nogil:
    cdef Connection* connection = <Connection*>calloc(1, sizeof(Connection))
    cdef Peer* kept = peer_of(&lane.peers, peer)
    if connection == NULL:
        return False
    connection.lane = lane
    connection.fd = fd
    frames_begin(&connection.frames)
    connection.peer = peer
    connection.reason = COUNT_CLOSED_PEER
    connection.accepted_ms = connection.read_ms = connection.wrote_ms = lane.now_ms
    connection.called_ms = lane.now_ms
    if not session_open(connection):
        free(connection)
        return False
    connection.following = lane.connections
    if lane.connections != NULL:
        lane.connections.previous = connection
    lane.connections = connection
    lane.connections_count += 1
    kept.key = peer
    kept.connections += 1
    counter_add(&lane.counters[COUNT_ACCEPTED], 1)
    counter_add(&lane.counters[COUNT_OPEN], 1)
    watch_set(lane.epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, connection)
    connection_touch(connection)
    return True
