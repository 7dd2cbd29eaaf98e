"""The native load generator: sends calls over HTTP/2 without the GIL and counts what comes back.

One unit, made of the files in `native/`.  It knows bytes, addresses and times; what they mean is
for the Python beside it.
"""

from libc.errno cimport (
    EAGAIN, ECONNRESET, EINPROGRESS, EINTR, ENOMEM, EPIPE, ETIMEDOUT, errno,
)
from libc.math cimport INFINITY, ceil, exp, expm1, fabs, log, log1p, pow, sqrt
from libc.stdint cimport (
    INT64_MAX, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset, strlen

import os

cdef extern from "<sys/types.h>" nogil:
    ctypedef Py_ssize_t ssize_t

include "native/nghttp2.pyx"
include "native/clock.pyx"
include "native/histogram.pyx"
include "native/schedule.pyx"
include "native/message.pyx"
include "native/call.pyx"
include "native/connection.pyx"
include "native/run.pyx"

NGHTTP2_VERSION = nghttp2_version(0).version_str.decode()
PHASES = ("connecting", "running", "ending", "done", "unreached")


cdef void* taken(size_t count, size_t size) except NULL:
    """Zeroed memory."""
    cdef void* found = calloc(max(count, 1), size)
    if found == NULL:
        raise MemoryError
    return found


cdef class Generator:
    """One run against one or more servers; see generator.pyi."""

    cdef Engine engine
    cdef list kept  # the bytes that the engine points into
    cdef int cpu

    def __cinit__(self, plan):
        self.engine.epoll = -1
        self.kept = []
        self.cpu = plan.cpu
        self._options(plan)
        self._targets(plan)
        self._requests(plan)
        self._headers(plan)
        self._memory(plan)
        self._session()

    def _options(self, plan):
        cdef Engine* engine = &self.engine
        cdef uint64_t seed = plan.seed
        engine.due_ns = INT64_MAX
        engine.closed = plan.closed
        engine.wait_for_ready = plan.wait_for_ready
        engine.streams_max = plan.streams
        engine.calls_max = plan.calls
        engine.warmup_ns = plan.warmup_ns
        engine.duration_ns = plan.duration_ns
        engine.deadline_ns = plan.deadline_ns
        engine.drain_ns = plan.drain_ns
        engine.connect_ns = plan.connect_ns
        engine.details_max = plan.details
        engine.random = seed
        # Event ids differ between runs, whatever the seed.
        engine.random_events = int.from_bytes(os.urandom(8), "little")
        engine.schedule.kind = plan.schedule
        engine.schedule.rate = engine.warm_schedule.rate = plan.rate
        engine.schedule.rate_from = plan.rate_from
        engine.schedule.span_s = plan.duration_ns / 1e9
        engine.schedule.random = seed ^ <uint64_t>0xA5A5A5A5A5A5A5A5
        if plan.schedule == SCHEDULE_RAMP:
            engine.warm_schedule.rate = max(plan.rate_from, 1.0)
        spread_init(
            &engine.profiles, plan.spread, plan.profiles, plan.zipf,
            seed ^ <uint64_t>0x5A5A5A5A5A5A5A5A,
        )

    def _targets(self, plan):
        cdef Engine* engine = &self.engine
        cdef Target* target
        cdef bytes address
        engine.target_count = len(plan.targets)
        engine.targets = <Target*>taken(engine.target_count, sizeof(Target))
        for i, (address, tcp, _authority) in enumerate(plan.targets):
            target = &engine.targets[i]
            target.length = len(address)
            if target.length > sizeof(sockaddr_storage):
                raise ValueError("targets: address too long")
            memcpy(&target.address, <const char*>address, target.length)
            target.tcp = tcp
        engine.lane_count = plan.connections
        engine.lanes = <Lane*>taken(engine.lane_count, sizeof(Lane))
        engine.lanes_down = engine.lane_count
        for i in range(engine.lane_count):
            engine.lanes[i].target = i % engine.target_count
            engine.lanes[i].backoff_ns = BACKOFF_NS
        engine.connection_count = 2 * engine.lane_count

    def _requests(self, plan):
        cdef Engine* engine = &self.engine
        cdef uint64_t weight = 0
        cdef bytes data
        cdef Body* body
        engine.body_count = len(plan.bodies)
        engine.bodies = <Body*>taken(engine.body_count, sizeof(Body))
        for i, (method, data, patches) in enumerate(plan.bodies):
            body = &engine.bodies[i]
            body.method = method
            self.kept.append(data)
            body.data = <uint8_t*><char*>data
            body.length = len(data)
            body.patch_count = len(patches)
            body.patches = <Patch*>taken(body.patch_count, sizeof(Patch))
            for j, (kind, offset, width) in enumerate(patches):
                if offset + width > len(data):
                    raise ValueError("bodies: patch beyond the end")
                body.patches[j] = Patch(kind, offset, width)
        engine.part_count = len(plan.parts)
        engine.parts = <Part*>taken(engine.part_count, sizeof(Part))
        for i, (share, first, count) in enumerate(plan.parts):
            if not count or first + count > engine.body_count:
                raise ValueError("parts: no such bodies")
            weight += share
            engine.parts[i].weight = weight
            engine.parts[i].first = first
            engine.parts[i].count = count
            engine.parts[i].answer_least = 0xFFFFFFFF
            if not histogram_init(&engine.parts[i].latencies):
                raise MemoryError

    def _headers(self, plan):
        cdef Engine* engine = &self.engine
        cdef nghttp2_nv* header
        cdef bytes name, value
        engine.method_count = len(plan.paths)
        engine.headers = <nghttp2_nv*>taken(
            engine.target_count * engine.method_count * HEADERS_MAX, sizeof(nghttp2_nv)
        )
        for t, (_address, _tcp, authority) in enumerate(plan.targets):
            for m, path in enumerate(plan.paths):
                fields = [
                    (b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
                    (b":authority", authority), *plan.headers,
                ]
                if len(fields) > HEADERS_MAX:
                    raise ValueError(f"headers: {len(fields)}, allowed: at most {HEADERS_MAX}")
                engine.header_count = len(fields)
                for i, (name, value) in enumerate(fields):
                    self.kept += [name, value]
                    header = &engine.headers[(t * engine.method_count + m) * HEADERS_MAX + i]
                    header.name = <uint8_t*><char*>name
                    header.namelen = len(name)
                    header.value = <uint8_t*><char*>value
                    header.valuelen = len(value)
                    header.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE

    def _memory(self, plan):
        cdef Engine* engine = &self.engine
        cdef uint32_t longest = max(len(data) for _method, data, _patches in plan.bodies)
        cdef size_t calls = <size_t>plan.connections * plan.streams
        cdef size_t i
        engine.connections = <Connection*>taken(engine.connection_count, sizeof(Connection))
        engine.ready = <Connection**>taken(engine.connection_count, sizeof(Connection*))
        engine.dirty = <Connection**>taken(engine.connection_count, sizeof(Connection*))
        for i in range(engine.connection_count):
            engine.connections[i].engine = engine
            engine.connections[i].fd = -1
            engine.connections[i].out = <uint8_t*>taken(OUT_BYTES, 1)
        engine.calls = <Call*>taken(calls, sizeof(Call))
        engine.data = <uint8_t*>taken(calls * longest, 1)
        for i in range(calls):
            engine.calls[i].data = engine.data + i * longest
            engine.calls[i].newer = engine.free
            engine.free = &engine.calls[i]
        engine.buffer = <uint8_t*>taken(READ_BYTES, 1)
        engine.errors = <ErrorCount*>taken(ERRORS_MAX, sizeof(ErrorCount))
        engine.details = <int64_t*>taken(3 * engine.details_max, sizeof(int64_t))
        engine.intervals = <Interval*>taken(INTERVALS_MAX, sizeof(Interval))
        engine.interval_counts = <uint32_t*>taken(
            <size_t>INTERVALS_MAX * COARSE_BUCKETS, sizeof(uint32_t)
        )
        for i in range(INTERVALS_MAX):
            engine.intervals[i].counts = engine.interval_counts + i * COARSE_BUCKETS
        engine.interval_ns = INTERVAL_NS

    def _session(self):
        cdef Engine* engine = &self.engine
        if nghttp2_session_callbacks_new(&engine.callbacks):
            raise MemoryError
        if nghttp2_option_new(&engine.option):
            raise MemoryError
        nghttp2_session_callbacks_set_on_header_callback(engine.callbacks, on_header)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(engine.callbacks, on_data)
        nghttp2_session_callbacks_set_on_stream_close_callback(engine.callbacks, on_stream_close)
        nghttp2_session_callbacks_set_on_frame_recv_callback(engine.callbacks, on_frame)
        nghttp2_session_callbacks_set_on_frame_not_send_callback(engine.callbacks, on_not_sent)
        nghttp2_option_set_no_closed_streams(engine.option, 1)
        nghttp2_option_set_peer_max_concurrent_streams(engine.option, engine.streams_max)

    def __dealloc__(self):
        cdef Engine* engine = &self.engine
        cdef uint32_t i
        if engine.connections != NULL:
            for i in range(engine.connection_count):
                nghttp2_session_del(engine.connections[i].session)
                if engine.connections[i].fd >= 0:
                    close(engine.connections[i].fd)
                free(engine.connections[i].out)
        if engine.bodies != NULL:
            for i in range(engine.body_count):
                free(engine.bodies[i].patches)
        if engine.parts != NULL:
            for i in range(engine.part_count):
                free(engine.parts[i].latencies.counts)
        free(engine.connections)
        free(engine.ready)
        free(engine.dirty)
        free(engine.bodies)
        free(engine.parts)
        free(engine.targets)
        free(engine.lanes)
        free(engine.headers)
        free(engine.calls)
        free(engine.data)
        free(engine.buffer)
        free(engine.errors)
        free(engine.details)
        free(engine.intervals)
        free(engine.interval_counts)
        nghttp2_session_callbacks_del(engine.callbacks)
        nghttp2_option_del(engine.option)
        if engine.epoll >= 0:
            close(engine.epoll)

    def run(self):
        """Run on the calling thread, which is pinned when the plan names a CPU."""
        cdef Engine* engine = &self.engine
        if engine.epoll >= 0:
            raise RuntimeError("a generator runs once")
        engine.epoll = epoll_create1(EPOLL_CLOEXEC)
        if engine.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        if self.cpu >= 0 and pin_thread(self.cpu):
            raise OSError(errno, os.strerror(errno))
        with nogil:
            run(engine)
        self._close()

    def _close(self):
        """Close what is open; the counts stay."""
        cdef Connection* connection
        cdef uint32_t i
        for i in range(self.engine.connection_count):
            connection = &self.engine.connections[i]
            if connection.fd >= 0:
                nghttp2_session_del(connection.session)
                close(connection.fd)
                connection.session = NULL
                connection.fd = -1
                connection.state = DOWN

    def stop(self):
        """End the run soon; any thread."""
        self.engine.stop = True

    def failures(self):
        """(target, errno) of each wanted connection that is not open."""
        return [
            (self.engine.lanes[i].target, self.engine.lanes[i].error)
            for i in range(self.engine.lane_count) if self.engine.lanes[i].failures
        ]

    def progress(self):
        """Where the run is, for a display: may be a moment old, from any thread."""
        cdef Engine* engine = &self.engine
        cdef int64_t now = now_ns()
        cdef uint64_t failed = 0
        for i in range(1, STATUSES):
            failed += engine.statuses[i]
        return {
            "phase": PHASES[engine.phase],
            "elapsed_ns": now - engine.start_ns if engine.phase else 0,
            "sent": engine.sent,
            "finished": engine.finished,
            "failed": failed,
            "late": engine.late,
            "in_flight": engine.alive,
            "connections": engine.ready_count,
        }

    def intervals(self, first=0):
        """(start_ns, count, failed, p50, p90, p99, most) of intervals, by when calls were due."""
        cdef Engine* engine = &self.engine
        cdef Interval* interval
        cdef uint32_t i
        found = []
        for i in range(first, engine.interval_count):
            interval = &engine.intervals[i]
            found.append((
                i * engine.interval_ns, interval.count, interval.failed,
                interval_at(interval, 0.5), interval_at(interval, 0.9),
                interval_at(interval, 0.99), interval.most,
            ))
        return found

    @property
    def interval_ns(self):
        """How long an interval is."""
        return self.engine.interval_ns

    def parts(self):
        """What came of each part of the mix."""
        cdef Part* part
        cdef uint32_t i
        found = []
        for i in range(self.engine.part_count):
            part = &self.engine.parts[i]
            found.append({
                "calls": part.calls,
                "failed": part.failed,
                "answer_bytes": part.answer_bytes,
                "answer_least": part.answer_least if part.answer_bytes else 0,
                "answer_most": part.answer_most,
                "latency_count": part.latencies.count,
                "latency_sum": part.latencies.sum,
                "latency_least": part.latencies.least if part.latencies.count else 0,
                "latency_most": part.latencies.most,
                "buckets": histogram_buckets(&part.latencies),
            })
        return found

    def counts(self):
        """Everything that was counted, by name."""
        cdef Engine* engine = &self.engine
        return {
            "sent": engine.sent,
            "finished": engine.finished,
            "warm": engine.warm,
            "late": engine.late,
            "late_blocked": engine.late_blocked,
            "late_most_ns": engine.late_most_ns,
            "retried": engine.retried,
            "goaways": engine.goaways,
            "lost": engine.lost,
            "connects": engine.connects,
            "unsent": engine.unsent,
            "malformed": engine.malformed,
            "errors_other": engine.errors_other,
            "span_ns": engine.last_ns - engine.start_ns,
            "planned_ns": engine.end_ns - engine.start_ns,
            "observed_ns": engine.observed_ns,
            "gaps": engine.gaps,
            "gap_ns": engine.gap_ns,
            "gap_most_ns": engine.gap_most_ns,
        }

    def statuses(self):
        """How many calls ended with each of gRPC's status codes."""
        return [self.engine.statuses[i] for i in range(STATUSES)]

    def errors(self):
        """(status, message, count) of what was not OK."""
        return [
            (
                self.engine.errors[i].status,
                self.engine.errors[i].text[:self.engine.errors[i].length],
                self.engine.errors[i].count,
            )
            for i in range(self.engine.error_count)
        ]

    def details(self):
        """(due_ns, latency_ns, status) of the first calls that ended."""
        return [
            (
                self.engine.details[3 * i],
                self.engine.details[3 * i + 1],
                self.engine.details[3 * i + 2],
            )
            for i in range(self.engine.detail_count)
        ]


def probe(int cpu, int64_t span_ns):
    """Spin on a CPU: (nanoseconds watched, lost in gaps, the longest gap, gaps).

    A gap is more than 20 us between two looks at the clock.
    """
    cdef int64_t begun, now, before, lost = 0, most = 0
    cdef uint64_t gaps = 0
    if pin_thread(cpu):
        raise OSError(errno, os.strerror(errno))
    with nogil:
        begun = before = now = now_ns()
        while now - begun < span_ns:
            now = now_ns()
            if now - before > GAP_NS:
                gaps += 1
                lost += now - before
                most = max(most, now - before)
            before = now
    return now - begun, lost, most, gaps


def due_times(kind, rate, rate_from, span_s, seed, count):
    """The first `count` moments of a schedule, in seconds; fewer when it ends before."""
    cdef Schedule schedule
    memset(&schedule, 0, sizeof(schedule))
    schedule.kind = kind
    schedule.rate = rate
    schedule.rate_from = rate_from
    schedule.span_s = span_s
    schedule.random = seed
    found = [schedule_next(&schedule) for _ in range(count)]
    return [seconds for seconds in found if seconds < span_s]


def draws(kind, profiles, exponent, seed, count):
    """The first `count` profile numbers of a distribution."""
    cdef Spread spread
    spread_init(&spread, kind, profiles, exponent, seed)
    return [spread_next(&spread) for _ in range(count)]


def event_ids(count):
    """Fresh event ids, as the generator makes them."""
    cdef uint8_t[EVENT_ID_BYTES] text
    cdef uint64_t state = int.from_bytes(os.urandom(8), "little")
    found = []
    for _ in range(count):
        write_event_id(text, &state)
        found.append(text[:EVENT_ID_BYTES].decode())
    return found
