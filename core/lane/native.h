// What Cython cannot say: clocks, peers of sockets.  No state lives here.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static inline int64_t clock_us(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline int64_t wall_us(void) { return clock_us(CLOCK_REALTIME); }

static inline int64_t steady_us(void) { return clock_us(CLOCK_MONOTONIC); }

static inline void flag_write(int64_t* flag, int64_t value) {
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static inline int64_t flag_read(const int64_t* flag) {
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static inline bool would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK; }

// What identifies a connection's peer: its address, or on a unix socket its user.
static inline uint64_t peer_key(const struct sockaddr_storage* address, int64_t uid) {
    uint64_t key = 0;
    if (address->ss_family == AF_INET) {
        key = ((const struct sockaddr_in*)address)->sin_addr.s_addr;
    } else if (address->ss_family == AF_INET6) {
        // The network part: one host may have all of the rest.  A mapped IPv4 address stands last.
        const struct in6_addr* host = &((const struct sockaddr_in6*)address)->sin6_addr;
        memcpy(&key, host->s6_addr + (IN6_IS_ADDR_V4MAPPED(host) ? 8 : 0), 8);
    } else {
        key = (uint64_t)uid;
    }
    return key ^ (uint64_t)address->ss_family << 48;
}

// The user at the other end of a unix socket, -1 when it has none.
static inline int64_t peer_uid(int fd) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? (int64_t)peer.uid : -1;
}

static inline void send_at_once(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline bool watch_set(int epoll_fd, int operation, int fd, uint32_t events, void* owner) {
    struct epoll_event event;
    event.events = events;
    event.data.ptr = owner;
    return epoll_ctl(epoll_fd, operation, fd, &event) == 0;
}
