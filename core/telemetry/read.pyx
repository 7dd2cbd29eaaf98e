"""Reading: what all meters have counted, and the calls that were kept."""

from libc.stdint cimport UINT64_MAX

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int nanosleep(const timespec* wanted, timespec* left)
    int clock_gettime(int clock, timespec* now)
    int CLOCK_REALTIME

cdef enum:
    # Long enough that reading the clocks adds an error of some millionths at most.
    CALIBRATION_NS = 20000000
    TAKEN_MAX = 10000

# How far apart shed calls are that one thread keeps.
SHED_EVERY_S = 0.01

METERED_NAMES = (
    "other", "Decide", "DecideBatch", "Track", "Check", "UpsertProfile", "LinkIdentity",
    "GetProfile",
)
# The engine's own thread serves grpc.aio's calls.
LANES = ("grpc", "fast")
STEP_NAMES = (
    "receive", "parse", "gate", "eligibility", "score", "arbitrate", "apply", "encode",
    "wait_for_log", "send",
)
KEEP_NAMES = {KEEP_SAMPLED: "sampled", KEEP_SLOW: "slow", KEEP_DEGRADED: "degraded",
              KEEP_ERROR: "error"}

cdef double TICKS_PER_S = 0.0


cdef double ticks_per_s():
    """How fast ticks go; measured once, against the monotonic clock."""
    global TICKS_PER_S
    cdef timespec pause
    cdef uint64_t ticks, ns
    if TICKS_PER_S == 0.0:
        pause.tv_sec = 0
        pause.tv_nsec = CALIBRATION_NS
        ticks, ns = ticks_now(), nanoseconds_now()
        with nogil:
            nanosleep(&pause, NULL)
        TICKS_PER_S = (ticks_now() - ticks) * 1e9 / <double>(nanoseconds_now() - ns)
    return TICKS_PER_S


class CallCount(NamedTuple):
    """Calls of a method that ended with a code: `buckets` hold how many were within each bound
    and above the one before; the last one counts those above all.  `lane` is one of LANES."""

    method: str
    code: int
    buckets: list[int]
    seconds: float
    lane: str


class KeptCall(NamedTuple):
    """A call worth a trace.

    method: its name.  code: its gRPC status.  reasons: why it was kept.
    began_ns: when, in ns since 1970.  steps_ns: how long each step took, in STEP_NAMES' order.
    traceparent: the caller's; empty for none.  tracestate: of the caller, at most 512 bytes.
    random: 128 bits for a trace of its own.
    reason: the ErrorInfo's, empty for OK.
    lane: one of LANES.
    answer: the response's first 2,048 bytes, whole unless `answer_cut`.
    baggage: the caller's, at most 1,024 bytes; a longer one is none.
    waited_first: its wait was for a position, before anything was decided.
    """

    method: str
    code: int
    reasons: tuple[str, ...]
    began_ns: int
    steps_ns: tuple[int, ...]
    traceparent: bytes
    tracestate: bytes
    random: bytes
    reason: str
    answer: bytes
    answer_cut: bool
    lane: str
    baggage: bytes = b""
    waited_first: bool = False


@cython.final
cdef class Telemetry:
    """What the engine's serving threads count, read by any one thread that holds the GIL."""

    cdef EngineState* state
    cdef Told told
    # Keeps the state alive.
    cdef object owner

    def configure(
        self, bounds_s, objectives_s, *, bint keep=True, double ratio=0.0, bint parent_based=True
    ):
        """Set what is counted and kept, before any thread serves.

        bounds_s: upper bounds of the buckets, in seconds, ascending, at most 63.
        objectives_s: by method, the time above which a call is kept, unless it is one of many
        that an overload has shed; each one of `bounds_s`.
        keep: whether calls are kept for a trace at all: for nobody who takes them they are not.
        ratio: how many calls of 1 are sampled where the caller has not decided.
        parent_based: whether a caller's decision counts.
        """
        cdef Metering* metering = &self.state.metering
        require_bounds(bounds_s, objectives_s, ratio)
        rate = ticks_per_s()
        for i, bound in enumerate(bounds_s):
            metering.bounds.bounds[i] = <uint64_t>round(bound * rate)
        metering.bounds.count = len(bounds_s)
        latency_bounds_index(&metering.bounds)
        for method, objective in objectives_s.items():
            metering.slow_over[METERED_NAMES.index(method)] = <uint64_t>round(objective * rate)
        metering.shed_every = <uint64_t>(SHED_EVERY_S * rate)
        metering.parent_based = parent_based
        metering.ratio = UINT64_MAX if ratio >= 1.0 else int(ratio * 2.0**64)
        metering.records = keep

    def calls(self) -> list[CallCount]:
        """Every lane, method and code that was met, over all threads."""
        return self.calls_of(False) + self.calls_of(True)

    cdef list calls_of(self, bint fast):
        cdef Counts total
        cdef int method, code
        cdef uint32_t i
        memset(&total, 0, sizeof(Counts))
        self.add_up(&total, fast)
        return [
            CallCount(
                METERED_NAMES[method],
                code,
                [total.calls[method][code][i] for i in range(self.state.metering.bounds.count + 1)],
                total.ticks[method][code] / ticks_per_s(),
                LANES[fast],
            )
            for method in range(METERED_METHODS)
            for code in range(METERED_CODES)
            if total.ticks[method][code]
        ]

    def steps(self) -> dict[str, dict[str, float]]:
        """By method and step, the seconds spent."""
        cdef Counts total
        cdef int method, step
        self.add_up_all(&total)
        return {
            METERED_NAMES[method]: {
                STEP_NAMES[step]: total.steps[method][step] / ticks_per_s()
                for step in range(METERED_STEPS)
            }
            for method in range(METERED_METHODS)
        }

    def decisions(self) -> DecisionCounts:
        """What was decided, over all threads."""
        return self.told.counts(self.state)

    def kept(self) -> dict[str, int]:
        """By method, how many calls were worth a trace: those that were dropped are among them,
        those that were skipped are not."""
        cdef Counts total
        cdef int method
        self.add_up_all(&total)
        return {METERED_NAMES[method]: total.kept[method] for method in range(METERED_METHODS)}

    cdef void add_up_all(self, Counts* total) noexcept:
        memset(total, 0, sizeof(Counts))
        self.add_up(total, False)
        self.add_up(total, True)

    cdef void add_up(self, Counts* total, bint fast) noexcept:
        """Add what the threads of a lane have counted."""
        cdef Meter* meter
        cdef int i
        cdef size_t j
        for i in range(SEATS_MAX):
            meter = atomic_pointer_read(&self.state.meters[i])
            if meter != NULL and meter.fast == fast:
                for j in range(sizeof(Counts) // sizeof(uint64_t)):
                    (<uint64_t*>total)[j] += counter_read(<uint64_t*>&meter.counts + j)

    def waiting(self) -> tuple[int, int]:
        """How many kept calls wait to be taken, and for how many there is room."""
        cdef int i
        cdef Meter* meter
        cdef uint64_t taken, waiting = 0, room = 0
        for i in range(SEATS_MAX):
            meter = atomic_pointer_read(&self.state.meters[i])
            if meter != NULL:
                # In this order: what is taken meanwhile must not make it negative.
                taken = atomic_read(&meter.ring.taken)
                waiting += atomic_read(&meter.ring.written) - taken
                room += meter.ring.capacity
        return waiting, room

    @property
    def dropped(self) -> int:
        """Calls worth a trace that found the ring full."""
        cdef int i
        cdef Meter* meter
        total = 0
        for i in range(SEATS_MAX):
            meter = atomic_pointer_read(&self.state.meters[i])
            if meter != NULL:
                total += counter_read(&meter.ring.dropped)
        return total

    @property
    def skipped(self) -> int:
        """Calls that an overload has shed and that were not kept, for others were just before."""
        cdef Counts total
        self.add_up_all(&total)
        return total.skipped

    def take(self, int most=1_000) -> list[KeptCall]:
        """The oldest kept calls, at most `most` of each thread, which they make room for."""
        cdef int i
        cdef Meter* meter
        cdef const Record* record
        cdef Moment now = moment_now()
        taken = []
        for i in range(SEATS_MAX):
            meter = atomic_pointer_read(&self.state.meters[i])
            if meter == NULL:
                continue
            for _ in range(min(most, TAKEN_MAX)):
                record = ring_first(&meter.ring)
                if record == NULL:
                    break
                taken.append(kept_call(record, &now))
                ring_free_first(&meter.ring)
        return taken


cdef object telemetry_of(EngineState* state, Told told, object owner):
    cdef Telemetry made = Telemetry.__new__(Telemetry)
    made.state = state
    made.told = told
    made.owner = owner
    return made


cdef int require_bounds(bounds_s, objectives_s, double ratio) except -1:
    if not 0 < len(bounds_s) < BUCKETS_MAX:
        raise errors.InvalidRequestError("bounds_s", str(len(bounds_s)), f"1 to {BUCKETS_MAX - 1}")
    if list(bounds_s) != sorted(set(bounds_s)) or bounds_s[0] <= 0:
        raise errors.InvalidRequestError("bounds_s", str(bounds_s), "positive and ascending")
    for method, objective in objectives_s.items():
        if method not in METERED_NAMES:
            raise errors.InvalidRequestError("objectives_s", method, ", ".join(METERED_NAMES))
        if objective not in bounds_s:
            raise errors.InvalidRequestError("objectives_s", str(objective), "one of bounds_s")
    if not 0 <= ratio <= 1:
        raise errors.InvalidRequestError("ratio", str(ratio), "0 to 1")
    return 0


cdef struct Moment:
    # One moment on both clocks.
    uint64_t ticks
    int64_t wall_ns


cdef Moment moment_now() noexcept:
    cdef Moment now
    cdef timespec wall
    now.ticks = ticks_now()
    clock_gettime(CLOCK_REALTIME, &wall)
    now.wall_ns = wall.tv_sec * 1_000_000_000 + wall.tv_nsec
    return now


cdef object kept_call(const Record* record, const Moment* now):
    """With times by one reading of the clocks: what was taken together keeps its order."""
    cdef const CallTrace* trace = &record.trace
    cdef double ns_per_tick = 1e9 / ticks_per_s()
    # The clock of another core may be a little ahead.
    cdef int64_t ago_ns = <int64_t>(<int64_t>(now.ticks - trace.began) * ns_per_tick)
    return KeptCall(
        METERED_NAMES[trace.method],
        record.code,
        tuple([name for bit, name in KEEP_NAMES.items() if record.reasons & bit]),
        now.wall_ns - ago_ns,
        tuple([<int64_t>(trace.spent[step] * ns_per_tick) for step in range(METERED_STEPS)]),
        trace.traceparent[:TRACEPARENT_BYTES] if trace.has_parent else b"",
        (<const char*>record.state)[:record.state_length],
        (<const char*>record.random)[:16],
        STATUS_RULES[trace.fault].reason.decode() if trace.fault else "",
        (<const char*>record.answer)[:record.answer_length],
        bool(record.answer_cut),
        LANES[record.fast],
        (<const char*>record.baggage)[:record.baggage_length],
        bool(trace.waited_first),
    )
