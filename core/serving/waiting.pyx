"""Waiting writes: mutations on their way to the log, and the calls that wait for it.

Serving threads put mutations in that they have applied; the log's side takes many at once as
bytes, and says where the log has them.  Nobody blocks: a full queue refuses, an answer wakes the
thread that serves its call.
"""

cdef extern from "<sys/eventfd.h>" nogil:
    enum: EFD_NONBLOCK
    enum: EFD_CLOEXEC
    int eventfd(unsigned int initial, int flags)
    int eventfd_write(int fd, uint64_t value)
    int eventfd_read(int fd, uint64_t* value)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)


# A call that both ways into the engine run: a request read, an answer written.
ctypedef int (*SeatCall)(
    EngineSeat* seat, const PlaybookState* playbook, Text request, int64_t now_us
) noexcept nogil


cdef enum:
    WRITES_WAITING_MAX = 1000000
    # Of a chunk; a larger write has one of its own.
    CHUNK_BYTES = 65536
    # So many that are gathered go to the log at once: an entry holds no more.
    GATHERED_MAX = 1000


cdef enum:
    # Writes of levels up to LOGGED wait in the one, those of REPLICATED in the other.
    QUEUE_LOGGED = 0
    QUEUE_REPLICATED = 1
    QUEUES = 2


cdef struct Completion:
    uint64_t token
    int kind
    # That a write was a duplicate, or created its identity.
    # Its duplicate or created; above that bit the DecisionAge of an event.
    uint8_t flag
    int64_t ack
    uint64_t generation
    Position position
    # A read that waited, to be done now, and owned; NULL for a write.
    uint8_t* request
    uint32_t length
    int64_t deadline_us
    # When the read has waited long enough.
    int64_t until_us
    SeatCall call


cdef struct Chunk:
    # The bytes of writes, one behind the other, stand behind this head.
    uint32_t used
    # How many of them are not told of yet.
    uint32_t writes


cdef struct WaitingWrite:
    # The mutation's bytes, in its chunk.
    uint8_t* data
    uint32_t length
    # As in a Completion.
    uint8_t flag
    Chunk* chunk
    # Whose call waits; NULL for nobody's.
    EngineSeat* seat
    uint64_t token
    uint64_t generation


cdef struct WaitingWrites:
    uint32_t latch
    # No log is attached while it is 0.
    uint32_t capacity
    # A ring: the first `taken` ones are with the log, and those up to `ready` may go there.
    WaitingWrite* ring
    uint32_t first
    uint32_t count
    uint32_t taken
    uint32_t ready
    # Places promised to writes that are being applied.
    uint32_t reserved
    # Where the next write's bytes go; NULL before the first one.
    Chunk* chunk
    uint64_t refused
    # Readable when there is something to take and the log has nothing: it comes back by itself.
    int wake_fd


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
        chunk_leave(waiting, waiting.ring[(waiting.first + i) % waiting.capacity].chunk)
    free(waiting.chunk)
    if waiting.capacity:
        close(waiting.wake_fd)
    free(waiting.ring)


cdef bint waiting_open(WaitingWrites* waiting, uint32_t capacity) noexcept nogil:
    """Attach a log that lets so many writes wait; False without memory."""
    waiting.ring = <WaitingWrite*>malloc(capacity * sizeof(WaitingWrite))
    if waiting.ring == NULL:
        return False
    waiting.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if waiting.wake_fd < 0:
        free(waiting.ring)
        waiting.ring = NULL
        return False
    waiting.capacity = capacity
    return True


cdef bint chunk_take(WaitingWrites* waiting, WaitingWrite* write) noexcept nogil:
    """Give a write a place for its bytes, with the latch held; False without memory."""
    cdef Chunk* chunk = waiting.chunk
    if chunk == NULL or chunk.used + write.length > CHUNK_BYTES:
        chunk = <Chunk*>malloc(sizeof(Chunk) + max(write.length, <uint32_t>CHUNK_BYTES))
        if chunk == NULL:
            return False
        chunk.used = chunk.writes = 0
        if waiting.chunk != NULL and waiting.chunk.writes == 0:
            free(waiting.chunk)
        waiting.chunk = chunk
    write.chunk = chunk
    write.data = <uint8_t*>(chunk + 1) + chunk.used
    chunk.used += write.length
    chunk.writes += 1
    return True


cdef void chunk_leave(WaitingWrites* waiting, Chunk* chunk) noexcept nogil:
    """Let go of a write's bytes, with the latch held."""
    chunk.writes -= 1
    if chunk.writes:
        return
    if chunk == waiting.chunk and chunk.used <= CHUNK_BYTES:
        # What is used again stays in the caches.
        chunk.used = 0
    else:
        if chunk == waiting.chunk:
            waiting.chunk = NULL
        free(chunk)


cdef int waiting_reserve(
    WaitingWrites* waiting, WaitingWrite* write, Fault* fault
) noexcept nogil:
    """Promise a write its place, and one for its bytes and for the answer to its seat.

    FAULT_LOG_BUSY when as many wait as may: nothing of the write may be kept then.
    """
    cdef EngineSeat* seat = write.seat
    cdef bint full, kept = False
    if seat != NULL and not completions_reserve(&seat.completions, waiting.capacity):
        return fault_set(fault, FAULT_MEMORY, "", "no memory for the write", "")
    latch_take(&waiting.latch)
    full = waiting.count + waiting.reserved >= waiting.capacity or (
        # The log may be done with more than the seat has read: each needs a place in its ring.
        seat != NULL and seat.completions.outstanding == seat.completions.capacity
    )
    if not full:
        kept = chunk_take(waiting, write)
    waiting.refused += full
    waiting.reserved += kept
    latch_drop(&waiting.latch)
    if full:
        return fault_set(fault, FAULT_LOG_BUSY, "", "as many writes wait for the log as may", "")
    if not kept:
        return fault_set(fault, FAULT_MEMORY, "", "no memory for the write", "")
    if seat != NULL:
        seat.completions.outstanding += 1
    return FAULT_NONE


cdef void waiting_release(WaitingWrites* waiting, const WaitingWrite* write) noexcept nogil:
    """Give a promised place back: the write was refused after all."""
    latch_take(&waiting.latch)
    chunk_leave(waiting, write.chunk)
    waiting.reserved -= 1
    latch_drop(&waiting.latch)
    if write.seat != NULL:
        write.seat.completions.outstanding -= 1


cdef bint waiting_put(
    WaitingWrites* waiting, const WaitingWrite* write, bint gathers
) noexcept nogil:
    """Queue an applied mutation in its promised place; True where `waiting_let_all` is to follow.

    gathers: it need not go to the log at once, since more may come right behind it.
    """
    cdef bint wake = False
    latch_take(&waiting.latch)
    waiting.ring[(waiting.first + waiting.count) % waiting.capacity] = write[0]
    waiting.count += 1
    waiting.reserved -= 1
    if not gathers or waiting.count - waiting.ready >= GATHERED_MAX:
        wake = waiting_open_up(waiting)
        gathers = False
    latch_drop(&waiting.latch)
    if wake:
        eventfd_write(waiting.wake_fd, 1)
    return gathers


cdef inline bint waiting_open_up(WaitingWrites* waiting) noexcept nogil:
    """Let the log have all that is queued, with the latch held; True when it has to be woken.

    A wake-up costs more than all else here, and mostly an append is in flight.
    """
    cdef bint wake = waiting.ready == 0 and waiting.count
    waiting.ready = waiting.count
    return wake


cdef void waiting_let_all(WaitingWrites* waiting) noexcept nogil:
    """Let the log have what was gathered."""
    cdef bint wake
    latch_take(&waiting.latch)
    wake = waiting_open_up(waiting)
    latch_drop(&waiting.latch)
    if wake:
        eventfd_write(waiting.wake_fd, 1)


cdef uint32_t waiting_take(
    WaitingWrites* waiting, uint32_t most, size_t bytes_max, bint gathered, Writer* writer
) noexcept nogil:
    """Write what waits, oldest first, as the field 1 of a batch; gives how many.

    One mutation over `bytes_max` goes alone.  None when the writer has failed.
    gathered: what seats still gather, too.
    """
    cdef WaitingWrite* write
    cdef Text text
    cdef uint32_t taken = 0
    cdef uint64_t woken = 0
    eventfd_read(waiting.wake_fd, &woken)
    latch_take(&waiting.latch)
    if gathered:
        waiting.ready = waiting.count
    while waiting.taken < waiting.ready and taken < most:
        write = &waiting.ring[(waiting.first + waiting.taken) % waiting.capacity]
        if taken and writer.length + write.length > bytes_max:
            break
        text.data = <const char*>write.data
        text.length = write.length
        write_text_always(writer, 1, text)
        taken += 1
        waiting.taken += 1
    if writer.failed:
        # What nobody was given is not taken: the log would be told of it in another's place.
        waiting.taken -= taken
        taken = 0
    if waiting.taken < waiting.ready:
        eventfd_write(waiting.wake_fd, 1)
    latch_drop(&waiting.latch)
    return taken


cdef uint32_t waiting_tell(
    WaitingWrites* waiting, WaitingWrite* writes, uint32_t left, Completion* told, bint* owed
) noexcept nogil:
    """Remove the oldest ones the log has taken, of one seat, and tell it what `told` says.

    left: how many are to be told; TOLD_AT_ONCE of them at most are.  owed: in and out, whether
    that seat is still to be woken.  It is with the last of its writes that follow one another:
    woken sooner, it would answer a few at a time.
    """
    cdef uint32_t found = 0
    cdef uint32_t most
    cdef bint wake
    latch_take(&waiting.latch)
    most = min(left, min(<uint32_t>TOLD_AT_ONCE, waiting.taken))
    while found < most:
        writes[found] = waiting.ring[waiting.first]
        if writes[found].seat != writes[0].seat:
            break
        chunk_leave(waiting, writes[found].chunk)
        waiting.first = (waiting.first + 1) % waiting.capacity
        found += 1
    waiting.count -= found
    waiting.taken -= found
    waiting.ready -= found
    wake = found and waiting.taken == 0 and waiting.ready
    if found and writes[0].seat != NULL:
        # With the latch held: else the seat might close meanwhile, see waiting_forget.
        owed[0] |= completions_put_all(&writes[0].seat.completions, writes, found, told)
        if owed[0] and not (found < left and waiting_follows(waiting, writes[0].seat)):
            eventfd_write(writes[0].seat.completions.wake_fd, 1)
            owed[0] = False
    else:
        owed[0] = False
    latch_drop(&waiting.latch)
    if wake:
        eventfd_write(waiting.wake_fd, 1)
    return found


cdef inline bint waiting_follows(
    const WaitingWrites* waiting, const EngineSeat* seat
) noexcept nogil:
    """Whether the oldest one that the log has taken is of this seat too."""
    return waiting.taken and waiting.ring[waiting.first].seat == seat


cdef uint32_t waiting_unwait(WaitingWrites* waiting, Completion* told) noexcept nogil:
    """Tell the calls of what was not taken yet, which goes on waiting; gives how many."""
    cdef WaitingWrite* write
    cdef uint32_t i, count = 0
    latch_take(&waiting.latch)
    for i in range(waiting.taken, waiting.count):
        write = &waiting.ring[(waiting.first + i) % waiting.capacity]
        if write.seat != NULL:
            told.token = write.token
            told.generation = write.generation
            completions_put(&write.seat.completions, told)
            write.seat = NULL
            count += 1
    latch_drop(&waiting.latch)
    return count


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
        completions.ring = <Completion*>malloc(capacity * sizeof(Completion))
        completions.capacity = capacity
    return completions.ring != NULL


cdef void completions_free(Completions* completions) noexcept nogil:
    cdef uint32_t i
    for i in range(completions.count):
        free(completions.ring[(completions.first + i) % completions.capacity].request)
    if completions.wake_fd >= 0:
        close(completions.wake_fd)
    free(completions.ring)


cdef bint completion_put(
    Completions* completions, const Completion* completion
) noexcept nogil:
    """Add one, with the latch held; True when there was none."""
    cdef bint first = completions.count == 0
    if completions.count < completions.capacity:
        completions.ring[
            (completions.first + completions.count) % completions.capacity
        ] = completion[0]
        completions.count += 1
    return first


cdef void completions_put(Completions* completions, const Completion* completion) noexcept nogil:
    cdef bint wake
    latch_take(&completions.latch)
    wake = completion_put(completions, completion)
    latch_drop(&completions.latch)
    if wake:
        eventfd_write(completions.wake_fd, 1)


cdef bint completions_put_all(
    Completions* completions, const WaitingWrite* writes, uint32_t count, Completion* told
) noexcept nogil:
    """Tell the calls of so many writes what `told` says; True when their thread is to be woken."""
    cdef bint wake = False
    cdef uint32_t i
    latch_take(&completions.latch)
    for i in range(count):
        told.token = writes[i].token
        told.flag = writes[i].flag
        told.generation = writes[i].generation
        wake |= completion_put(completions, told)
    latch_drop(&completions.latch)
    return wake


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
        if completions.count == 0:
            # The ring is large: what is used again stays in the caches.
            completions.first = 0
    else:
        eventfd_read(completions.wake_fd, &woken)
    latch_drop(&completions.latch)
    return found
