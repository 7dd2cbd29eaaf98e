"""The fast lane: gRPC served by native threads, from the socket to the engine and back.

Compiled only where libnghttp2 is.  The files it includes never take the GIL; this one owns the
Lane class.  The engine is reached through core/door.h alone.
"""

from typing import NamedTuple

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport (
    SIZE_MAX, UINT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strlen
from libcpp cimport bool as cpp_bool

from . import errors

include "telemetry/trace_types.pyx"
include "telemetry/counter_types.pyx"
include "serving/door_types.pyx"
include "lane/nghttp2.pyx"
include "lane/memory.pyx"
include "lane/counters.pyx"
include "lane/stream.pyx"
include "lane/admission.pyx"
include "lane/due.pyx"
include "lane/peers.pyx"
include "lane/request.pyx"
include "lane/response.pyx"
include "lane/health.pyx"
include "lane/call.pyx"
include "lane/frames.pyx"
include "lane/connection.pyx"
include "lane/session.pyx"
include "lane/listener.pyx"
include "lane/timers.pyx"
include "lane/loop.pyx"

cdef enum:
    DRAIN_NOTICE_MS = 1000


class Overload(NamedTuple):
    """What a lane takes on.

    level: 0 all, 1 no scoring, 2 the placement's fallback alone, 3 some calls are refused.
    read_bytes: how much of a connection a turn reads.
    sheds: by method, how many calls were refused.
    """

    level: int
    read_bytes: int
    sheds: dict[str, int]


# Deallocation gives the seat back to the engine that `door` keeps alive, so that the collector must
# not clear it before.
@cython.no_gc_clear
@cython.final
cdef class Lane:
    """One serving thread's lane.

    door: the capsule of `Engine.door`.
    listeners: listening sockets, non-blocking; the caller's, open until `run` returns.
    settings: its bounds.
    elsewhere: the address that serves the other methods, for the refusal of those.
    """

    cdef LaneState* state
    cdef object door
    cdef bint ran

    def __cinit__(self, door, listeners, settings, str elsewhere):
        cdef Door* native = <Door*>PyCapsule_GetPointer(door, DOOR_CAPSULE)
        require_lengths(listeners, settings.peer_uids)
        self.door = door
        self.state = <LaneState*>calloc(1, sizeof(LaneState))
        if self.state == NULL:
            raise MemoryError("lane")
        self.state.epoll_fd = self.state.wake_fd = -1
        self.state.drain_wanted = -1
        self.state.door = native
        self.state.methods[METHOD_DECIDE] = native.decide
        self.state.methods[METHOD_DECIDE_BATCH] = native.decide_batch
        self.state.methods[METHOD_TRACK] = native.track
        self.read_settings(settings)
        for listener in listeners:
            self.state.listeners[self.state.listeners_count] = listener
            self.state.listeners_count += 1
        text = f"not served on the fast lane: served by {elsewhere}".encode()[:ELSEWHERE_MAX - 1]
        memcpy(self.state.elsewhere, <char*>text, len(text))
        self.open()

    cdef int read_settings(self, settings) except -1:
        cdef Bounds* bounds = &self.state.bounds
        bounds.connections_max = settings.connections_max
        bounds.peer_connections_max = settings.peer_connections_max
        bounds.streams_max = settings.streams_max
        bounds.header_bytes_max = settings.header_bytes_max
        bounds.message_bytes_max = settings.message_bytes_max
        bounds.request_buffer_max = settings.request_buffer_max
        bounds.answer_buffer_max = settings.answer_buffer_max
        bounds.idle_ms = settings.idle_ms
        bounds.handshake_ms = settings.handshake_ms
        bounds.request_ms = settings.request_ms
        bounds.stall_ms = settings.stall_ms
        bounds.keepalive_ms = settings.keepalive_ms
        bounds.keepalive_timeout_ms = settings.keepalive_timeout_ms
        bounds.ping_interval_ms = settings.ping_interval_ms
        bounds.control_frames_per_s = settings.control_frames_per_s
        bounds.resets_burst = settings.resets_burst
        bounds.resets_per_s = settings.resets_per_s
        bounds.connection_age_ms = settings.connection_age_ms
        bounds.drain_notice_ms = DRAIN_NOTICE_MS
        self.read_overload(settings.overload)
        for uid in settings.peer_uids:
            self.state.uids[self.state.uids_count] = uid
            self.state.uids_count += 1
        return 0

    cdef int read_overload(self, settings) except -1:
        cdef OverloadBounds* bounds = &self.state.overload
        bounds.enabled = settings.enabled
        bounds.target_us = settings.target_ms * 1000
        bounds.level_us[LEVEL_NO_SCORING] = settings.no_scoring_ms * 1000
        bounds.level_us[LEVEL_FALLBACK] = settings.fallback_ms * 1000
        bounds.level_us[LEVEL_REFUSE] = settings.refuse_ms * 1000
        bounds.interval_us = settings.interval_ms * 1000
        bounds.read_bytes_least = settings.read_bytes_least
        bounds.retry_ms = settings.retry_ms
        bounds.test_call_us = settings.test_call_us
        return 0

    cdef int open(self) except -1:
        cdef LaneState* lane = self.state
        admission_begin(lane)
        blocks_init(&lane.blocks)
        lane.input = <uint8_t*>malloc(READ_BYTES)
        lane.output = <uint8_t*>malloc(WRITE_BYTES + READ_BYTES)
        lane.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        lane.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        lane.seat = lane.door.open(lane.door.engine)
        if lane.input == NULL or lane.output == NULL or lane.epoll_fd < 0 or lane.wake_fd < 0:
            raise MemoryError("lane")
        if lane.seat == NULL or not peers_init(&lane.peers, lane.bounds.connections_max):
            raise MemoryError("lane")
        if not pool_init(&lane.pool) or not sessions_init(lane):
            raise MemoryError("lane")
        lane.seat_fd = lane.door.wake_fd(lane.seat)
        if not (
            watch_set(lane.epoll_fd, EPOLL_CTL_ADD, lane.wake_fd, EPOLLIN, &lane.wake_fd)
            and watch_set(lane.epoll_fd, EPOLL_CTL_ADD, lane.seat_fd, EPOLLIN, &lane.seat_fd)
        ):
            raise MemoryError("lane")
        return 0

    def __dealloc__(self):
        cdef LaneState* lane = self.state
        if lane == NULL:
            return
        lane_close(lane)
        nghttp2_session_callbacks_del(lane.callbacks)
        nghttp2_option_del(lane.option)
        pool_free(&lane.pool)
        blocks_free(&lane.blocks)
        free(lane.peers.places)
        if lane.seat != NULL:
            lane.door.close(lane.seat)
        if lane.epoll_fd >= 0:
            close(lane.epoll_fd)
        if lane.wake_fd >= 0:
            close(lane.wake_fd)
        free(lane.input)
        free(lane.output)
        free(lane)

    def run(self) -> None:
        """Serve on the calling thread, without the GIL, until stopped or drained."""
        if self.ran:
            raise errors.InvalidRequestError("run", "called again", "once")
        self.ran = True
        with nogil:
            lane_run(self.state)

    def drain(self, int64_t grace_ms) -> None:
        """From any thread: say goodbye, finish the calls, then let `run` return.

        It returns at the latest after the grace.
        """
        flag_write(&self.state.drain_wanted, max(grace_ms, 0))
        eventfd_write(self.state.wake_fd, 1)

    def stop(self) -> None:
        """From any thread: let `run` return at once."""
        flag_write(&self.state.stop_wanted, 1)
        eventfd_write(self.state.wake_fd, 1)

    def set_serving(self, bint serving) -> None:
        """From any thread: what Health/Check answers; NOT_SERVING at first."""
        flag_write(&self.state.serving, serving)

    def leave_at_least(self, int level) -> None:
        """From any thread: 1 to leave scoring out, 2 all but fallbacks, whatever waits; 0: not."""
        flag_write(&self.state.level_least, min(max(level, 0), LEVEL_FALLBACK))

    def counters(self) -> dict[str, int]:
        """From any thread: what was counted, by name."""
        counted = {
            name: counter_read(&self.state.counters[i]) for i, name in enumerate(COUNTER_NAMES)
        }
        for method in range(METHODS):
            for code in range(CODES):
                count = counter_read(&self.state.calls[method][code])
                if count:
                    counted[f"calls.{METHOD_NAMES[method]}.{CODE_NAMES[code]}"] = count
        return counted

    def overload(self) -> Overload:
        """From any thread: what the lane takes on now, and what it has refused."""
        cdef LaneState* lane = self.state
        sheds = {METHOD_NAMES[i]: counter_read(&lane.sheds[i]) for i in range(METHODS)}
        return Overload(
            max(flag_read(<int64_t*>&lane.admission.level), flag_read(&lane.level_least)),
            flag_read(&lane.admission.read_seen),
            sheds,
        )


cdef int require_lengths(listeners, uids) except -1:
    if len(listeners) > LISTENERS_MAX:
        raise errors.InvalidRequestError(
            "listeners", str(len(listeners)), f"at most {LISTENERS_MAX}"
        )
    if len(uids) > UIDS_MAX:
        raise errors.InvalidRequestError("peer_uids", str(len(uids)), f"at most {UIDS_MAX}")
    return 0
