"""Waiting writes: mutations on their way to the log, and the answers that wait for it.

Serving threads put mutations in; the log's side takes many at once as bytes, and says when the
first so many of them are safe.  Only then are they applied and answered.  Nobody blocks: a full
queue refuses, an answered write wakes the thread that serves its call.
"""

cdef extern from "<sys/eventfd.h>" nogil:
    enum: EFD_NONBLOCK
    enum: EFD_CLOEXEC
    int eventfd(unsigned int initial, int flags)
    int eventfd_write(int fd, uint64_t value)
    int eventfd_read(int fd, uint64_t* value)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)


cdef enum:
    WRITES_WAITING_MAX = 1000000


cdef struct WaitingWrite:
    # The mutation's bytes, owned.
    uint8_t* data
    uint32_t length
    # It was applied when it was accepted; nobody waits for it.
    bint applied
    int64_t ack
    # Whose call waits; NULL for nobody's.
    EngineSeat* seat
    uint64_t token


cdef struct WaitingWrites:
    uint32_t latch
    # No log is attached while it is 0.
    uint32_t capacity
    # A ring: the first `taken` ones are with the log.
    WaitingWrite* ring
    uint32_t first
    uint32_t count
    uint32_t taken
    uint64_t refused
    # Readable while there is something to take.
    int wake_fd


cdef struct Completion:
    uint64_t token
    int kind
    bint duplicate
    int64_t ack
    Header header


cdef struct Completions:
    uint32_t latch
    # As many as may wait for the log; NULL until the seat's first write that waits.
    Completion* ring
    uint32_t capacity
    uint32_t first
    uint32_t count
    # Writes that wait for the log or for their answer to be read; the seat's thread counts alone.
    uint32_t outstanding
    int wake_fd


cdef void waiting_free(WaitingWrites* waiting) noexcept nogil:
    cdef uint32_t i
    for i in range(waiting.count):
        free(waiting.ring[(waiting.first + i) % waiting.capacity].data)
    if waiting.capacity:
        close(waiting.wake_fd)
    free(waiting.ring)


cdef bint waiting_open(WaitingWrites* waiting, uint32_t capacity) noexcept nogil:
    """Attach a log that lets so many writes wait; False without memory."""
    waiting.ring = <WaitingWrite*>calloc(capacity, sizeof(WaitingWrite))
    if waiting.ring == NULL:
        return False
    waiting.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if waiting.wake_fd < 0:
        free(waiting.ring)
        waiting.ring = NULL
        return False
    waiting.capacity = capacity
    return True


cdef int waiting_put(
    EngineState* state, Text mutation, bint applied, int64_t ack, EngineSeat* seat,
    uint64_t token, Fault* fault,
) noexcept nogil:
    """Queue a mutation for the log; FAULT_LOG_BUSY when as many wait as may."""
    cdef WaitingWrites* waiting = &state.waiting
    cdef WaitingWrite* write
    cdef uint8_t* data
    if seat != NULL and not completions_reserve(&seat.completions, waiting.capacity):
        return fault_set(fault, FAULT_MEMORY, "", "no memory for the write", "")
    data = <uint8_t*>malloc(mutation.length)
    if data == NULL:
        return fault_set(fault, FAULT_MEMORY, "", "no memory for the write", "")
    memcpy(data, mutation.data, mutation.length)
    latch_take(&waiting.latch)
    if waiting.count == waiting.capacity or (
        # The log may be done with more than the seat has read: each needs a place in its ring.
        seat != NULL and seat.completions.outstanding == seat.completions.capacity
    ):
        waiting.refused += 1
        latch_drop(&waiting.latch)
        free(data)
        return fault_set(fault, FAULT_LOG_BUSY, "", "as many writes wait for the log as may", "")
    write = &waiting.ring[(waiting.first + waiting.count) % waiting.capacity]
    write.data = data
    write.length = mutation.length
    write.applied = applied
    write.ack = ack
    write.seat = seat
    write.token = token
    waiting.count += 1
    if seat != NULL:
        seat.completions.outstanding += 1
    latch_drop(&waiting.latch)
    eventfd_write(waiting.wake_fd, 1)
    return FAULT_NONE


cdef uint32_t waiting_take(
    WaitingWrites* waiting, uint32_t most, size_t bytes_max, Writer* writer
) noexcept nogil:
    """Write what waits, oldest first, as the field 1 of a batch; gives how many.

    One mutation over `bytes_max` goes alone.
    """
    cdef WaitingWrite* write
    cdef Text text
    cdef uint32_t taken = 0
    cdef uint64_t woken = 0
    eventfd_read(waiting.wake_fd, &woken)
    latch_take(&waiting.latch)
    while waiting.taken < waiting.count and taken < most:
        write = &waiting.ring[(waiting.first + waiting.taken) % waiting.capacity]
        if taken and writer.length + write.length > bytes_max:
            break
        text.data = <const char*>write.data
        text.length = write.length
        write_text_always(writer, 1, text)
        waiting.taken += 1
        taken += 1
    if waiting.taken < waiting.count:
        eventfd_write(waiting.wake_fd, 1)
    latch_drop(&waiting.latch)
    return taken


cdef bint waiting_pop(WaitingWrites* waiting, WaitingWrite* write) noexcept nogil:
    """Remove the oldest one the log has taken; its `data` is the caller's to free."""
    cdef bint found
    latch_take(&waiting.latch)
    found = waiting.taken > 0
    if found:
        write[0] = waiting.ring[waiting.first]
        waiting.first = (waiting.first + 1) % waiting.capacity
        waiting.count -= 1
        waiting.taken -= 1
    latch_drop(&waiting.latch)
    return found


cdef void waiting_forget(WaitingWrites* waiting, EngineSeat* seat) noexcept nogil:
    """Let nobody wait on behalf of a seat that closes; its writes go on."""
    cdef WaitingWrite* write
    cdef uint32_t i
    latch_take(&waiting.latch)
    for i in range(waiting.count):
        write = &waiting.ring[(waiting.first + i) % waiting.capacity]
        if write.seat == seat:
            write.seat = NULL
    latch_drop(&waiting.latch)


cdef bint completions_open(Completions* completions) noexcept nogil:
    """Make what wakes the seat's thread, once; False when there is no descriptor."""
    if completions.wake_fd < 0:
        completions.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    return completions.wake_fd >= 0


cdef bint completions_reserve(Completions* completions, uint32_t capacity) noexcept nogil:
    """Make room for an answer to every write that may wait."""
    if completions.ring == NULL:
        completions.ring = <Completion*>calloc(capacity, sizeof(Completion))
        completions.capacity = capacity
    return completions.ring != NULL


cdef void completions_free(Completions* completions) noexcept nogil:
    if completions.wake_fd >= 0:
        close(completions.wake_fd)
    free(completions.ring)


cdef void completions_put(Completions* completions, const Completion* completion) noexcept nogil:
    cdef bint wake
    latch_take(&completions.latch)
    wake = completions.count == 0
    if completions.count < completions.capacity:
        completions.ring[
            (completions.first + completions.count) % completions.capacity
        ] = completion[0]
        completions.count += 1
    latch_drop(&completions.latch)
    if wake:
        eventfd_write(completions.wake_fd, 1)


cdef bint completions_get(Completions* completions, Completion* completion) noexcept nogil:
    cdef bint found
    cdef uint64_t woken = 0
    latch_take(&completions.latch)
    found = completions.count > 0
    if found:
        completion[0] = completions.ring[completions.first]
        completions.first = (completions.first + 1) % completions.capacity
        completions.count -= 1
        completions.outstanding -= 1
    else:
        eventfd_read(completions.wake_fd, &woken)
    latch_drop(&completions.latch)
    return found
