"""Admission: how much the lane takes on, by how long what is ready waits for its turn.

A turn is what one wait of epoll brings.  The wait of its last call is known when it ends, so that
a call that comes in good time costs one comparison.  After CoDel (RFC 8289): what counts is the
least of these waits within an interval, since a queue that a burst makes goes by itself.
"""

cdef enum:
    LEVEL_WHOLE = 0
    LEVEL_NO_SCORING = 1
    LEVEL_FALLBACK = 2
    LEVEL_REFUSE = 3
    # Calm: an interval without a queue, of which the lane has slept an eighth.
    IDLE_SHARE = 8
    # For so many calm intervals together a level goes down by one.
    CALM_INTERVALS = 6
    # So many busy intervals in which less is read skip what may be skipped.
    HELD_INTERVALS = 4


cdef struct OverloadBounds:
    # As core/lane/settings.py names them.
    bint enabled
    int64_t target_us
    int64_t level_us[LEVEL_REFUSE + 1]
    int64_t interval_us
    size_t read_bytes_least
    int64_t retry_ms
    int64_t test_call_us


cdef struct Admission:
    # How many bytes of a connection a turn reads.
    size_t read_bytes
    # One of LEVEL_...
    uint64_t level
    # As `read_bytes`, for other threads.
    int64_t read_seen
    # When what is being served was found to be ready, and when the last turn ended, in ticks.
    uint64_t ready_ticks
    uint64_t ended_ticks
    # The wait at hand goes on in the next turn: epoll had no room for all of it.
    bint more
    uint64_t events
    # The interval at hand: its start, the least wait in it, and how long the lane slept.
    uint64_t interval_ticks
    uint64_t least_ticks
    uint64_t idle_ticks
    # The most that a turn has read of a connection in it.
    size_t read_most
    # How many intervals in a row were pressed, busy while less is read, or calm.
    uint32_t pressed
    uint32_t held
    uint32_t calm
    # The lane's own start, on both clocks: what a tick is.
    uint64_t began_ticks
    int64_t began_us
    # How long an interval is, and the wait over which calls are refused, in ticks.
    uint64_t interval_length
    uint64_t refuse_ticks


cdef void admission_begin(LaneState* lane) noexcept nogil:
    """The lane begins to serve."""
    cdef Admission* admission = &lane.admission
    admission.read_bytes = READ_TURN_BYTES
    flag_write(&admission.read_seen, <int64_t>admission.read_bytes)
    admission.began_us = steady_us()
    admission.began_ticks = admission.ready_ticks = admission.ended_ticks = ticks_now()
    admission.interval_ticks = admission.began_ticks
    admission.least_ticks = UINT64_MAX
    admission.refuse_ticks = UINT64_MAX


cdef inline void turn_begin(LaneState* lane, int events) noexcept nogil:
    """So many descriptors are ready: what they bring waits from now on."""
    cdef Admission* admission = &lane.admission
    cdef uint64_t now = ticks_now()
    admission.idle_ticks += now - admission.ended_ticks
    if not admission.more or admission.events >= lane.connections_count:
        admission.least_ticks = min(
            admission.least_ticks, admission.ended_ticks - admission.ready_ticks
        )
        admission.ready_ticks = now
        admission.events = 0
    admission.events += <uint64_t>events
    admission.more = events == EVENTS_MAX


cdef inline void turn_read(LaneState* lane, size_t length) noexcept nogil:
    """So much was read of a connection."""
    lane.admission.read_most = max(lane.admission.read_most, length)


cdef inline void turn_end(LaneState* lane) noexcept nogil:
    cdef Admission* admission = &lane.admission
    admission.ended_ticks = ticks_now()
    if (
        admission.ended_ticks - admission.interval_ticks >= admission.interval_length
        and lane.overload.enabled
    ):
        interval_end(lane)


cdef void interval_end(LaneState* lane) noexcept nogil:
    """Look back at an interval: read less, leave steps out, or relax."""
    cdef Admission* admission = &lane.admission
    cdef uint64_t now = admission.ended_ticks
    cdef uint64_t length = now - admission.interval_ticks
    # Where none has ended, the one at hand counts as long as it is so far.
    cdef uint64_t least = (
        now - admission.ready_ticks if admission.least_ticks == UINT64_MAX
        else admission.least_ticks
    )
    cdef bint slept = admission.idle_ticks >= length // IDLE_SHARE
    cdef double us_per_tick = <double>(
        max(<int64_t>1, steady_us() - admission.began_us)
    ) / <double>(max(<uint64_t>1, now - admission.began_ticks))
    cdef int64_t wait_us
    wait_us = <int64_t>(least * us_per_tick)
    if wait_us > lane.overload.target_us:
        admission_press(lane, wait_us)
    elif slept and 2 * wait_us <= lane.overload.target_us:
        admission_relax(lane, length)
    elif not slept:
        admission_hold(lane, wait_us)
    flag_write(&admission.read_seen, <int64_t>admission.read_bytes)
    admission.interval_length = <uint64_t>(lane.overload.interval_us / us_per_tick)
    admission.refuse_ticks = <uint64_t>(lane.overload.level_us[LEVEL_REFUSE] / us_per_tick)
    admission.interval_ticks = now
    admission.least_ticks = UINT64_MAX
    admission.idle_ticks = 0
    admission.read_most = 0


cdef inline void admission_level(Admission* admission, uint64_t level) noexcept nogil:
    """Other threads read it."""
    if level != admission.level:
        flag_write(<int64_t*>&admission.level, <int64_t>level)


cdef void admission_press(LaneState* lane, int64_t wait_us) noexcept nogil:
    """A queue stands: read less of each connection, then leave steps out, and refuse at last.

    What is not read fills the socket, and clients keep the rest: the protocol's own backpressure.
    Less than what was read, not than what may be: a queue of small requests is short in bytes.
    """
    cdef Admission* admission = &lane.admission
    cdef uint64_t level = LEVEL_REFUSE
    cdef size_t least = lane.overload.read_bytes_least
    cdef size_t before = admission.read_bytes
    cdef size_t fit = min(before, admission.read_most) * <size_t>lane.overload.target_us
    admission.calm = admission.held = 0
    admission.pressed += 1
    admission.read_bytes = min(before, max(fit // <size_t>wait_us, least))
    # The first time, holding clients back may do.
    if admission.pressed == 1:
        return
    while level and wait_us <= lane.overload.level_us[level]:
        level -= 1
    # Nobody is refused whose client could be held back.
    if level == LEVEL_REFUSE and before > least:
        level = LEVEL_FALLBACK
    admission_level(admission, max(level, admission.level))


cdef void admission_hold(LaneState* lane, int64_t wait_us) noexcept nogil:
    """No queue here, but no rest either: where less is read, clients have the queue.

    That is level 1, from below, and from above when it goes on.
    """
    cdef Admission* admission = &lane.admission
    admission.calm = admission.pressed = 0
    if admission.read_bytes == READ_TURN_BYTES:
        return
    admission.held += 1
    if admission.held == HELD_INTERVALS:
        admission.held = 0
        admission_level(admission, admission.level - 1 if admission.level > LEVEL_NO_SCORING
                        else <uint64_t>LEVEL_NO_SCORING)
    if 2 * wait_us <= lane.overload.target_us:
        # Larger turns cost less for each call.
        admission.read_bytes = min(
            admission.read_bytes + admission.read_bytes // 4, <size_t>READ_TURN_BYTES
        )


cdef void admission_relax(LaneState* lane, uint64_t ticks) noexcept nogil:
    """Time to spare: read more at once again, and then be whole again, level by level."""
    cdef Admission* admission = &lane.admission
    # A lane that sleeps looks at itself less often.
    cdef uint64_t intervals = max(<uint64_t>1, ticks // max(<uint64_t>1, admission.interval_length))
    admission.pressed = admission.held = 0
    if admission.read_bytes < READ_TURN_BYTES:
        admission.read_bytes = min(2 * admission.read_bytes, <size_t>READ_TURN_BYTES)
        return
    admission.calm += <uint32_t>min(intervals, <uint64_t>CALM_INTERVALS)
    if admission.calm >= CALM_INTERVALS and admission.level:
        admission.calm = 0
        admission_level(admission, admission.level - 1)


cdef bint call_shed(Stream* stream) noexcept nogil:
    """Refuse a call that was read and has waited for too long; health is always told."""
    cdef LaneState* lane = stream.connection.lane
    cdef Admission* admission = &lane.admission
    cdef DoorAnswer answer
    if admission.level != LEVEL_REFUSE or stream.method == METHOD_HEALTH:
        return False
    if ticks_now() - admission.ready_ticks <= admission.refuse_ticks:
        return False
    counter_add(&lane.sheds[stream.method], 1)
    lane.door.overloaded(lane.seat, lane.overload.retry_ms, &answer)
    call_answer(stream, &answer)
    return True


cdef void call_slow(const LaneState* lane) noexcept nogil:
    """For tests: work as long as they say."""
    cdef uint64_t end = nanoseconds_now() + <uint64_t>lane.overload.test_call_us * 1000
    while nanoseconds_now() < end:
        pass
