"""Calls in flight, the connections they are on, and the run's state."""

cdef enum:
    STATUS_OK = 0
    STATUS_CANCELLED = 1
    STATUS_UNKNOWN = 2
    STATUS_DEADLINE = 4
    STATUS_PERMISSION = 7
    STATUS_EXHAUSTED = 8
    STATUS_UNIMPLEMENTED = 12
    STATUS_INTERNAL = 13
    STATUS_UNAVAILABLE = 14
    STATUS_UNAUTHENTICATED = 16
    STATUSES = 17
    STATUS_NONE = -1
    PREFIX_BYTES = 5
    MESSAGE_BYTES_MAX = 160  # of a grpc-message that is kept
    ERRORS_MAX = 64  # different (status, message) that are kept
    RETRIES_MAX = 5  # of one call that the server has refused without looking at it
    OUT_BYTES = 256 * 1024
    FRAME_BYTES_MAX = 64 * 1024  # that libnghttp2 gives at once
    READ_BYTES = 32 * 1024
    EVENTS_MAX = 64
    INTERVALS_MAX = 1024
    INTERVAL_NS = 100_000_000  # at the start; doubled whenever there are too many
    HEADERS_MAX = 64
    GAP_NS = 20_000  # an idle turn of the loop takes under 1 us
    LATE_NS = 100_000
    BATCH_MAX = 64  # sends between two looks at what has arrived
    WINDOW_BYTES = 16 * 1024 * 1024
    CONNECTION_WINDOW_BYTES = 1 << 30
    BACKOFF_NS = 20_000_000
    BACKOFF_NS_MAX = 1_000_000_000

cdef enum ConnectionState:
    DOWN = 0
    CONNECTING = 1
    OPENING = 2  # connected, the server's settings are awaited
    READY = 3
    DRAINING = 4  # GOAWAY came: what is in flight may end


cdef enum Phase:
    PHASE_CONNECTING = 0
    PHASE_RUNNING = 1
    PHASE_ENDING = 2  # the last answers are awaited
    PHASE_DONE = 3
    PHASE_UNREACHED = 4


cdef struct Call:
    int64_t due_ns
    int64_t sent_ns
    Call* older  # of those in flight or to be sent again
    Call* newer
    Connection* connection
    int32_t stream
    uint32_t part
    const Body* body
    uint8_t* data
    uint32_t read  # of the body, by libnghttp2
    int16_t status
    int16_t http_status
    uint8_t attempts
    bint unsent
    uint32_t answer_bytes
    uint8_t prefix[PREFIX_BYTES]
    uint8_t message_length
    uint8_t message[MESSAGE_BYTES_MAX]


cdef struct Connection:
    Engine* engine
    int state
    int fd
    uint32_t lane  # which of the wanted connections it is
    nghttp2_session* session
    uint32_t in_flight
    uint32_t streams_max
    bint wants_write
    bint broken
    bint dirty
    int64_t opened_ns
    uint8_t* out
    uint32_t out_start
    uint32_t out_end


cdef struct Lane:
    uint32_t target
    Connection* connection
    int64_t retry_ns
    int64_t backoff_ns
    uint32_t failures
    int error  # errno of the last failure


cdef struct Target:
    sockaddr_storage address
    socklen_t length
    bint tcp
    char* authority


cdef struct ErrorCount:
    int16_t status
    uint8_t length
    uint8_t text[MESSAGE_BYTES_MAX]
    uint64_t count


cdef struct CallList:
    Call* oldest
    Call* newest


cdef struct Engine:
    # What is to be done.
    Target* targets
    uint32_t target_count
    Lane* lanes
    uint32_t lane_count
    Connection* connections  # twice as many as lanes: while one drains, another takes its place
    uint32_t connection_count
    Body* bodies
    uint32_t body_count
    Part* parts
    uint32_t part_count
    nghttp2_nv* headers  # HEADERS_MAX for each method of each target
    uint32_t header_count
    uint32_t method_count
    uint32_t streams_max
    bint closed
    bint wait_for_ready
    Schedule schedule
    Spread profiles
    uint64_t calls_max  # 0: until the end of the time
    int64_t warmup_ns
    int64_t duration_ns
    int64_t deadline_ns
    int64_t drain_ns
    int64_t connect_ns
    uint64_t random
    uint64_t random_events
    # The state.
    nghttp2_session_callbacks* callbacks
    nghttp2_option* option
    int epoll
    Connection** ready
    uint32_t ready_count
    uint32_t ready_next
    uint32_t lanes_down
    Call* calls
    uint8_t* data
    Call* free
    CallList flying
    CallList again
    uint32_t alive
    uint8_t* buffer
    int64_t read_ns  # when the bytes in hand had arrived
    int64_t start_ns  # of what is measured
    int64_t end_ns
    int64_t due_ns  # of the next call; INT64_MAX: no more
    uint64_t begun
    int64_t blocked_ns  # when a due call last found no stream
    volatile bint stop
    volatile int phase
    Schedule warm_schedule
    bint warming
    int64_t begin_ns
    uint64_t planned  # calls that are measured, the one that is due next included
    Connection** dirty
    uint32_t dirty_count
    # What came of it.
    uint64_t sent
    uint64_t finished
    uint64_t warm
    uint64_t late
    uint64_t late_blocked
    int64_t late_most_ns
    uint64_t retried
    uint64_t goaways
    uint64_t lost
    uint64_t connects
    uint64_t unsent
    uint64_t malformed
    uint64_t statuses[STATUSES]
    ErrorCount* errors
    uint32_t error_count
    uint64_t errors_other
    Interval* intervals
    uint32_t* interval_counts
    uint32_t interval_count
    int64_t interval_ns
    int64_t* details  # (due, latency, status) of the first calls
    uint64_t details_max
    uint64_t detail_count
    int64_t last_ns  # when the last answer came
    int64_t turn_ns
    int64_t observed_ns
    int64_t gap_ns
    int64_t gap_most_ns
    uint64_t gaps


cdef inline void list_append(CallList* self, Call* call) noexcept nogil:
    call.older = self.newest
    call.newer = NULL
    if self.newest != NULL:
        self.newest.newer = call
    else:
        self.oldest = call
    self.newest = call


cdef inline void list_prepend(CallList* self, Call* call) noexcept nogil:
    call.older = NULL
    call.newer = self.oldest
    if self.oldest != NULL:
        self.oldest.older = call
    else:
        self.newest = call
    self.oldest = call


cdef inline void list_remove(CallList* self, Call* call) noexcept nogil:
    if call.older != NULL:
        call.older.newer = call.newer
    else:
        self.oldest = call.newer
    if call.newer != NULL:
        call.newer.older = call.older
    else:
        self.newest = call.older


cdef Call* call_new(Engine* engine, int64_t due_ns) noexcept nogil:
    """A call for the next request of the mix; NULL when all are in flight."""
    cdef Call* call = engine.free
    cdef Part* part
    if call == NULL:
        return NULL
    engine.free = call.newer
    engine.alive += 1
    engine.begun += 1
    call.due_ns = due_ns
    call.attempts = 0
    call.part = pick_part(engine.parts, engine.part_count, &engine.random)
    part = &engine.parts[call.part]
    call.body = &engine.bodies[part.first + part.next]
    part.next = part.next + 1 if part.next + 1 < part.count else 0
    write_body(call.body, call.data, &engine.profiles, &engine.random_events)
    return call


cdef void call_free(Engine* engine, Call* call) noexcept nogil:
    call.connection = NULL
    call.newer = engine.free
    engine.free = call
    engine.alive -= 1


cdef Interval* interval_of(Engine* engine, int64_t since_ns) noexcept nogil:
    """The interval of a moment; when there are too many, neighbours become one."""
    cdef uint32_t i
    while since_ns // engine.interval_ns >= INTERVALS_MAX:
        for i in range(INTERVALS_MAX // 2):
            if i:
                interval_merge(&engine.intervals[i], &engine.intervals[2 * i])
            interval_merge(&engine.intervals[i], &engine.intervals[2 * i + 1])
        engine.interval_ns *= 2
        engine.interval_count = INTERVALS_MAX // 2
    i = <uint32_t>(since_ns // engine.interval_ns)
    if i >= engine.interval_count:
        engine.interval_count = i + 1
    return &engine.intervals[i]


cdef void count_error(
    Engine* engine, int16_t status, const uint8_t* text, uint8_t length
) noexcept nogil:
    """Count an error by its status and message."""
    cdef ErrorCount* entry
    cdef uint32_t i
    for i in range(engine.error_count):
        entry = &engine.errors[i]
        if entry.status == status and entry.length == length:
            if memcmp(entry.text, text, length) == 0:
                entry.count += 1
                return
    if engine.error_count == ERRORS_MAX:
        engine.errors_other += 1
        return
    entry = &engine.errors[engine.error_count]
    entry.status = status
    entry.length = length
    memcpy(entry.text, text, length)
    entry.count = 1
    engine.error_count += 1


cdef inline void call_says(Call* call, const char* text) noexcept nogil:
    """What is wrong with a call, where the server said nothing."""
    call.message_length = <uint8_t>min(strlen(text), <size_t>MESSAGE_BYTES_MAX)
    memcpy(call.message, text, call.message_length)


cdef void call_end(Engine* engine, Call* call, int16_t status, int64_t end_ns) noexcept nogil:
    """Count a call that is over, and give its place back; it is on no list any more.

    Its latency counts from when it was due.  Calls that were refused have a status but no
    latency: they would make an overloaded server look fast.
    """
    cdef int64_t latency = max(end_ns - call.due_ns, <int64_t>0)
    cdef Part* part = &engine.parts[call.part]
    cdef Interval* interval
    engine.finished += 1
    if call.due_ns < engine.start_ns:
        engine.warm += 1
        call_free(engine, call)
        return
    engine.last_ns = max(engine.last_ns, end_ns)
    interval = interval_of(engine, call.due_ns - engine.start_ns)
    interval.count += 1
    part.calls += 1
    engine.statuses[status if 0 <= status < STATUSES else STATUS_UNKNOWN] += 1
    if status == STATUS_OK:
        part.answer_bytes += call.answer_bytes
        part.answer_least = min(part.answer_least, call.answer_bytes)
        part.answer_most = max(part.answer_most, call.answer_bytes)
    else:
        part.failed += 1
        interval.failed += 1
        count_error(engine, status, call.message, call.message_length)
    if status == STATUS_OK or status == STATUS_DEADLINE or status == STATUS_CANCELLED:
        histogram_add(&part.latencies, latency)
        interval.counts[bucket_of(latency, COARSE_BITS)] += 1
        interval.most = max(interval.most, latency)
    if engine.detail_count < engine.details_max:
        engine.details[3 * engine.detail_count] = call.due_ns - engine.start_ns
        engine.details[3 * engine.detail_count + 1] = latency
        engine.details[3 * engine.detail_count + 2] = status
        engine.detail_count += 1
    call_free(engine, call)
