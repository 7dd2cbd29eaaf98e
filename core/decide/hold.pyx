"""Holds: what decisions keep of one budget, until an impression confirms it or its time is over.

They stand in a table that the system gives a part of at a time, as they are more.  A hold's number
is its place there, from 1; 0 stands for none.
"""

cdef enum:
    # Of those that wait for their impression, one to so many others is remembered when it is over,
    # for impressions that come late or again.
    HOLDS_PER_KEPT = 16
    # One to so many is spare: a decision that proposes several finds room for all, or none.
    HOLDS_PER_SPARE = 64
    HOLD_CHUNK_BITS = 14
    HOLD_CHUNK = 16384
    # Of one decision id that many people have, so many are told apart.
    HOLD_CHAIN_MAX = 4096


cdef enum HoldState:
    # In the order in which an impression that may be of several looks for one.
    HOLD_USED = 0
    HOLD_EXPIRED = 1
    HOLD_HELD = 2


cdef struct HoldName:
    # What tells holds apart: the hash of the decision's id, that of whom it is about, the slot, and
    # those of the action's and the placement's names (0 for any, in an impression).
    uint64_t key
    uint64_t person
    uint32_t slot
    uint32_t action
    uint32_t placement


cdef struct Hold:
    HoldName name
    int64_t amount
    int64_t since_us
    int64_t period
    uint32_t number
    # The next of the same bucket, and the neighbours in its list.
    uint32_t chained
    uint32_t before
    uint32_t after
    uint8_t state


cdef struct HoldList:
    uint32_t first
    uint32_t last
    uint32_t count


cdef struct Holds:
    # NULL before the first hold.
    Hold** chunks
    uint32_t* buckets
    uint64_t mask
    # How many may wait, and how many are remembered when they are over.
    uint32_t most
    uint32_t kept
    # The numbers from `fresh` were never given; those in `free` were, and came back.
    uint32_t fresh
    HoldList free
    # In the order in which they were made, and in which they ended.
    HoldList waiting
    HoldList over


cdef inline uint32_t hold_tag(Text name) noexcept nogil:
    """Of an action or a placement; never 0."""
    return <uint32_t>XXH3_64bits(name.data, name.length) | 1


cdef inline uint64_t hold_key(Text decision_id) noexcept nogil:
    return XXH3_64bits(decision_id.data, decision_id.length)


cdef inline uint32_t holds_chunks(const Holds* holds) noexcept nogil:
    """How many parts the table may have; the first number is 1."""
    return (holds.most + holds.kept) // HOLD_CHUNK + 1


cdef bint holds_init(Holds* holds, uint32_t most) noexcept nogil:
    """A table for so many that wait, and those remembered; False without memory."""
    cdef uint64_t buckets = 1
    while buckets < most:
        buckets *= 2
    memset(holds, 0, sizeof(Holds))
    holds.most = most
    holds.kept = most // HOLDS_PER_KEPT + 1
    holds.fresh = 1
    holds.mask = buckets - 1
    holds.chunks = <Hold**>calloc(holds_chunks(holds), sizeof(Hold*))
    holds.buckets = <uint32_t*>calloc(buckets, sizeof(uint32_t))
    if holds.chunks == NULL or holds.buckets == NULL:
        holds_free(holds)
        return False
    return True


cdef void holds_free(Holds* holds) noexcept nogil:
    cdef uint32_t i
    if holds.chunks != NULL:
        for i in range(holds_chunks(holds)):
            free(holds.chunks[i])
    free(holds.chunks)
    free(holds.buckets)
    memset(holds, 0, sizeof(Holds))


cdef inline Hold* hold_at(Holds* holds, uint32_t number) noexcept nogil:
    return &holds.chunks[number >> HOLD_CHUNK_BITS][number & (HOLD_CHUNK - 1)]


cdef inline bint holds_tight(const Holds* holds) noexcept nogil:
    """Whether a decision may not find room for all that it proposes."""
    return holds.chunks != NULL and (
        holds.waiting.count + holds.most // HOLDS_PER_SPARE >= holds.most
    )


cdef inline void list_put(Holds* holds, HoldList* items, Hold* hold) noexcept nogil:
    """Append one."""
    hold.before = items.last
    hold.after = 0
    if items.last:
        hold_at(holds, items.last).after = hold.number
    else:
        items.first = hold.number
    items.last = hold.number
    items.count += 1


cdef inline void list_drop(Holds* holds, HoldList* items, Hold* hold) noexcept nogil:
    """Take one out, wherever it stands."""
    if hold.before:
        hold_at(holds, hold.before).after = hold.after
    else:
        items.first = hold.after
    if hold.after:
        hold_at(holds, hold.after).before = hold.before
    else:
        items.last = hold.before
    items.count -= 1


cdef inline uint32_t* hold_bucket(Holds* holds, uint64_t key) noexcept nogil:
    return &holds.buckets[key & holds.mask]


cdef Hold* hold_place(Holds* holds) noexcept nogil:
    """A place that no hold has; NULL where there is none, or no memory for it."""
    cdef Hold** chunk = &holds.chunks[holds.fresh >> HOLD_CHUNK_BITS]
    cdef Hold* hold
    if holds.free.count:
        hold = hold_at(holds, holds.free.last)
        list_drop(holds, &holds.free, hold)
        return hold
    if chunk[0] == NULL:
        chunk[0] = <Hold*>calloc(HOLD_CHUNK, sizeof(Hold))
        if chunk[0] == NULL:
            return NULL
    hold = hold_at(holds, holds.fresh)
    hold.number = holds.fresh
    holds.fresh += 1
    return hold


cdef Hold* hold_add(Holds* holds, HoldName name) noexcept nogil:
    """One more that waits, for the caller to say what it holds; NULL where there is no room."""
    cdef uint32_t* bucket = hold_bucket(holds, name.key)
    cdef Hold* hold = hold_place(holds) if holds.waiting.count < holds.most else NULL
    if hold == NULL:
        return NULL
    hold.name = name
    hold.state = HOLD_HELD
    hold.chained = bucket[0]
    bucket[0] = hold.number
    list_put(holds, &holds.waiting, hold)
    return hold


cdef void hold_forget(Holds* holds, HoldList* items, Hold* hold) noexcept nogil:
    """Take one out of a list and of the table."""
    cdef uint32_t* at = hold_bucket(holds, hold.name.key)
    while at[0] != hold.number:
        at = &hold_at(holds, at[0]).chained
    at[0] = hold.chained
    list_drop(holds, items, hold)
    list_put(holds, &holds.free, hold)


cdef void hold_end(Holds* holds, Hold* hold, HoldState state) noexcept nogil:
    """One that waits is over; the oldest of those is forgotten where they are too many."""
    hold.state = state
    list_drop(holds, &holds.waiting, hold)
    list_put(holds, &holds.over, hold)
    if holds.over.count > holds.kept:
        hold_forget(holds, &holds.over, hold_at(holds, holds.over.first))


cdef inline Hold* hold_first(Holds* holds, uint64_t key) noexcept nogil:
    """The newest of its bucket; NULL for none."""
    return hold_next(holds, hold_bucket(holds, key)[0]) if holds.chunks != NULL else NULL


cdef inline Hold* hold_next(Holds* holds, uint32_t number) noexcept nogil:
    return hold_at(holds, number) if number else NULL


cdef Hold* hold_find(Holds* holds, HoldName name) noexcept nogil:
    """The newest of exactly this name; NULL for none."""
    cdef Hold* hold = hold_first(holds, name.key)
    cdef int _step
    for _step in range(HOLD_CHAIN_MAX):
        if hold == NULL or (
            hold.name.key == name.key and hold.name.person == name.person
            and hold.name.slot == name.slot and hold.name.action == name.action
            and hold.name.placement == name.placement
        ):
            return hold
        hold = hold_next(holds, hold.chained)
    return NULL


cdef int64_t holds_own(Holds* holds, uint64_t key, uint64_t person) noexcept nogil:
    """What a decision holds or has used already, where it is asked for again."""
    cdef Hold* hold = hold_first(holds, key)
    cdef int64_t found = 0
    cdef int _step
    for _step in range(HOLD_CHAIN_MAX):
        if hold == NULL:
            break
        if hold.name.key == key and hold.name.person == person and hold.state != HOLD_EXPIRED:
            found += hold.amount
        hold = hold_next(holds, hold.chained)
    return found


cdef inline bint hold_suits(const Hold* hold, const HoldName* name) noexcept nogil:
    """Whether an impression may be of it, by what it names."""
    return hold.name.key == name.key and hold.name.slot == name.slot and (
        name.action == 0 or hold.name.action == name.action
    ) and (name.placement == 0 or hold.name.placement == name.placement)


cdef Hold* hold_shown(Holds* holds, HoldName name) noexcept nogil:
    """What an impression is of: the person's own if there is one, and one that waits first.

    It may come from another of the person's identities: then it is anybody's.
    """
    cdef Hold* hold = hold_first(holds, name.key)
    cdef Hold* found = NULL
    cdef int _step, rank, best = -1
    for _step in range(HOLD_CHAIN_MAX):
        if hold == NULL:
            break
        rank = hold.state + (3 if hold.name.person == name.person else 0)
        if rank > best and hold_suits(hold, &name):
            found, best = hold, rank
        hold = hold_next(holds, hold.chained)
    return found
