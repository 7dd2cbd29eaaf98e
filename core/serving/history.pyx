"""History: how far the log is applied here, its epochs, and whether a position lies on it.

The log's side moves it; serving threads read it with every answer, and wait on it for a position
that a caller has seen elsewhere.
"""

cdef enum:
    # Entries whose nonces are known; an older position is told by its epoch alone.
    ENTRIES_KNOWN_MAX = 262144
    EPOCHS_MAX = 65536
    READS_WAITING_MAX = 4096
    # How long a read without a deadline waits.
    READ_WAIT_US_MAX = 1000000


# The same, for who has the engine wait.
READ_WAIT_US = READ_WAIT_US_MAX


cdef struct EpochMark:
    uint64_t number
    uint64_t nonce
    Position previous


cdef struct WaitingRead:
    Position wanted
    Completion completion
    EngineSeat* seat


cdef struct History:
    # False: no log; the sequence counts what was applied here.
    bint logged
    Position position
    # Odd while the position is being written.
    uint64_t version
    # When the log's end was last known to be here; in microseconds since 1970.
    uint64_t caught_up_us
    uint64_t away
    # Guards the rest.
    uint32_t latch
    Position* entries
    uint32_t entries_first
    uint32_t entries_count
    EpochMark* epochs
    uint32_t epochs_count
    WaitingRead* reads
    uint32_t reads_count
    uint32_t reads_reserved


cdef enum Reach:
    REACH_YES = 0
    REACH_NOT_YET = 1
    REACH_LOST = 2


cdef bint history_open(History* history) noexcept nogil:
    """Follow a log from before its first entry; False without memory."""
    # Not zeroed: a page that is never written costs nothing.
    history.entries = <Position*>malloc(ENTRIES_KNOWN_MAX * sizeof(Position))
    history.epochs = <EpochMark*>malloc(EPOCHS_MAX * sizeof(EpochMark))
    history.reads = <WaitingRead*>malloc(READS_WAITING_MAX * sizeof(WaitingRead))
    if history.entries == NULL or history.epochs == NULL or history.reads == NULL:
        return False
    memset(&history.position, 0, sizeof(Position))
    history.logged = True
    return True


cdef void history_free(History* history) noexcept nogil:
    cdef uint32_t i
    for i in range(history.reads_count):
        free(history.reads[i].completion.request)
    free(history.entries)
    free(history.epochs)
    free(history.reads)


cdef Position history_position(const History* history) noexcept nogil:
    """The position as a whole: a sequence lock (Boehm, MSPC 2012)."""
    cdef Position position
    cdef uint64_t before
    while True:
        before = atomic_read(&history.version)
        position.epoch = atomic_read(&history.position.epoch)
        position.sequence = atomic_read(&history.position.sequence)
        position.nonce = atomic_read(&history.position.nonce)
        if not before & 1 and atomic_read(&history.version) == before:
            return position


cdef void history_set(History* history, Position position) noexcept nogil:
    atomic_add(&history.version, 1)
    atomic_write(&history.position.epoch, position.epoch)
    atomic_write(&history.position.sequence, position.sequence)
    atomic_write(&history.position.nonce, position.nonce)
    atomic_add(&history.version, 1)


cdef inline bint behind(const Position* a, const Position* b) noexcept nogil:
    """Whether `a` comes before `b` on one branch."""
    return a.epoch < b.epoch or (a.epoch == b.epoch and a.sequence < b.sequence)


cdef inline Position* entry_at(const History* history, uint32_t index) noexcept nogil:
    return &history.entries[(history.entries_first + index) % ENTRIES_KNOWN_MAX]


cdef void history_advance(History* history, Position position) noexcept nogil:
    """Note that the log is applied up to an entry, the next one of its branch."""
    latch_take(&history.latch)
    if history.entries_count == ENTRIES_KNOWN_MAX:
        history.entries_first = (history.entries_first + 1) % ENTRIES_KNOWN_MAX
        history.entries_count -= 1
    entry_at(history, history.entries_count)[0] = position
    history.entries_count += 1
    history_set(history, position)
    latch_drop(&history.latch)


cdef void history_rewind(History* history, Position position) noexcept nogil:
    """Go back to the last entry that the surviving branch has too."""
    latch_take(&history.latch)
    while history.entries_count and behind(
        &position, entry_at(history, history.entries_count - 1)
    ):
        history.entries_count -= 1
    while history.epochs_count and (
        history.epochs[history.epochs_count - 1].number > position.epoch
    ):
        history.epochs_count -= 1
    history_set(history, position)
    latch_drop(&history.latch)


cdef bint history_epoch(History* history, const EpochMark* mark) noexcept nogil:
    """Add an epoch to the table, in place of those not before it; False when it is full."""
    cdef bint added
    latch_take(&history.latch)
    while history.epochs_count and (
        history.epochs[history.epochs_count - 1].number >= mark.number
    ):
        history.epochs_count -= 1
    added = history.epochs_count < EPOCHS_MAX
    if added:
        history.epochs[history.epochs_count] = mark[0]
        history.epochs_count += 1
    latch_drop(&history.latch)
    return added


cdef const EpochMark* epoch_after(const History* history, uint64_t number) noexcept nogil:
    """The oldest epoch above `number`; NULL when there is none."""
    cdef uint32_t low = 0, high = history.epochs_count, middle
    while low < high:
        middle = (low + high) // 2
        if history.epochs[middle].number <= number:
            low = middle + 1
        else:
            high = middle
    return &history.epochs[low] if low < history.epochs_count else NULL


cdef const EpochMark* epoch_find(const History* history, uint64_t number) noexcept nogil:
    cdef const EpochMark* after = epoch_after(history, number - 1)
    return after if after != NULL and after.number == number else NULL


cdef const Position* entry_find(const History* history, const Position* wanted) noexcept nogil:
    """The entry of that epoch and sequence; NULL when it is not among those known."""
    cdef uint32_t low = 0, high = history.entries_count, middle
    while low < high:
        middle = (low + high) // 2
        if behind(entry_at(history, middle), wanted):
            low = middle + 1
        else:
            high = middle
    if low == history.entries_count or behind(wanted, entry_at(history, low)):
        return NULL
    return entry_at(history, low)


cdef int reach_latched(const History* history, const Position* wanted) noexcept nogil:
    cdef const EpochMark* after = epoch_after(history, wanted.epoch)
    cdef const EpochMark* its = epoch_find(history, wanted.epoch)
    cdef const Position* entry
    if after != NULL:
        # A later epoch says where its predecessor ended.
        if after.previous.epoch == wanted.epoch:
            if wanted.sequence > after.previous.sequence:
                return REACH_LOST
            # The one entry of an older epoch that a node restored from a snapshot knows for sure.
            if wanted.sequence == after.previous.sequence and (
                wanted.nonce != after.previous.nonce
            ):
                return REACH_LOST
        elif after != &history.epochs[0] or after.previous.epoch < wanted.epoch:
            return REACH_LOST
    if behind(&history.position, wanted):
        return REACH_NOT_YET
    if wanted.sequence == 0 and its != NULL:
        return REACH_YES if its.nonce == wanted.nonce else REACH_LOST
    entry = entry_find(history, wanted)
    if entry != NULL and entry.nonce != wanted.nonce:
        return REACH_LOST
    return REACH_YES


cdef int history_reach(History* history, const Position* wanted) noexcept nogil:
    """Whether what a position stands for is applied here, is to come, or is on a lost branch."""
    cdef int reach
    if wanted.epoch == 0:
        return REACH_YES
    if not history.logged:
        # A position of this node's own count was given by this node, and so was applied.
        return REACH_YES if (
            wanted.epoch == history.position.epoch and wanted.nonce == history.position.nonce
            and wanted.sequence <= atomic_read(&history.position.sequence)
        ) else REACH_LOST
    latch_take(&history.latch)
    reach = reach_latched(history, wanted)
    latch_drop(&history.latch)
    return reach


cdef bint history_reserve(History* history) noexcept nogil:
    """Promise a place to a read that is to wait; False when as many wait as may."""
    cdef bint free_place
    latch_take(&history.latch)
    free_place = history.reads_count + history.reads_reserved < READS_WAITING_MAX
    history.reads_reserved += free_place
    latch_drop(&history.latch)
    return free_place


cdef void history_wait(History* history, const WaitingRead* read) noexcept nogil:
    """Let a read wait in its promised place; it may have been reached since it was looked for."""
    latch_take(&history.latch)
    history.reads_reserved -= 1
    if reach_latched(history, &read.wanted) == REACH_NOT_YET:
        history.reads[history.reads_count] = read[0]
        history.reads_count += 1
    else:
        completions_put(&read.seat.completions, &read.completion)
    latch_drop(&history.latch)


cdef void history_wake(History* history, int64_t now_us) noexcept nogil:
    """Hand the reads whose wait is over back to their threads, the oldest first, to look again."""
    cdef WaitingRead* read
    cdef uint32_t i, kept = 0
    if not history.logged:
        return
    latch_take(&history.latch)
    for i in range(history.reads_count):
        read = &history.reads[i]
        if read.completion.until_us <= now_us or (
            reach_latched(history, &read.wanted) != REACH_NOT_YET
        ):
            completions_put(&read.seat.completions, &read.completion)
            continue
        if kept != i:
            history.reads[kept] = read[0]
        kept += 1
    history.reads_count = kept
    latch_drop(&history.latch)


cdef uint32_t history_forget(
    History* history, EngineSeat* seat, const uint64_t* token
) noexcept nogil:
    """Drop a seat's read of that token, or all of them for NULL; gives how many."""
    cdef WaitingRead* read
    cdef uint32_t i, kept = 0, dropped
    latch_take(&history.latch)
    for i in range(history.reads_count):
        read = &history.reads[i]
        if read.seat == seat and (token == NULL or read.completion.token == token[0]):
            free(read.completion.request)
            continue
        if kept != i:
            history.reads[kept] = read[0]
        kept += 1
    dropped = history.reads_count - kept
    history.reads_count = kept
    latch_drop(&history.latch)
    return dropped
