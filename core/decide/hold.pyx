"""Holds: what decisions keep of one budget, until an impression confirms it or its time is over.

A table of a fixed size: the system gives it at the first hold, and its pages as they are touched.
A hold's number is its place there, from 1; 0 stands for none.
"""

cdef enum:
    # Of those that wait for their impression, one to so many others is remembered when it is over,
    # for impressions that come late or again.
    HOLDS_PER_KEPT = 16
    PLACE_ANY = 255


cdef enum HoldState:
    HOLD_HELD = 1
    HOLD_USED = 2
    HOLD_EXPIRED = 3


cdef struct HoldName:
    # What tells holds apart: the hash of the decision's id and the slot, that of whom it is about,
    # that of the action's name (0 for any), and how many of these the same decision has proposed
    # before (PLACE_ANY for any).
    uint64_t key
    uint64_t person
    uint32_t action
    uint8_t place


cdef struct Hold:
    HoldName name
    int64_t amount
    int64_t until_us
    int64_t period
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
    # Both NULL before the first.
    Hold* items
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


cdef inline HoldName hold_name(
    Text decision_id, uint32_t slot, uint64_t person, uint32_t action, uint8_t place
) noexcept nogil:
    cdef HoldName name
    name.key = XXH3_64bits_withSeed(decision_id.data, decision_id.length, slot)
    name.person = person
    name.action = action
    name.place = place
    return name


cdef inline uint32_t hold_action(Text action) noexcept nogil:
    return <uint32_t>XXH3_64bits(action.data, action.length) | 1


cdef bint holds_init(Holds* holds, uint32_t most) noexcept nogil:
    """Room for so many that wait, and those remembered; False without memory."""
    cdef uint64_t buckets = 1
    cdef uint32_t kept = most // HOLDS_PER_KEPT + 1
    while buckets < most:
        buckets *= 2
    memset(holds, 0, sizeof(Holds))
    holds.items = <Hold*>calloc(<size_t>most + kept + 1, sizeof(Hold))
    holds.buckets = <uint32_t*>calloc(buckets, sizeof(uint32_t))
    if holds.items == NULL or holds.buckets == NULL:
        holds_free(holds)
        return False
    holds.mask = buckets - 1
    holds.most = most
    holds.kept = kept
    holds.fresh = 1
    return True


cdef void holds_free(Holds* holds) noexcept nogil:
    free(holds.items)
    free(holds.buckets)
    memset(holds, 0, sizeof(Holds))


cdef inline bint holds_full(const Holds* holds) noexcept nogil:
    return holds.items != NULL and holds.waiting.count == holds.most


cdef inline void list_put(Holds* holds, HoldList* items, uint32_t number) noexcept nogil:
    """Append one."""
    cdef Hold* hold = &holds.items[number]
    hold.before = items.last
    hold.after = 0
    if items.last:
        holds.items[items.last].after = number
    else:
        items.first = number
    items.last = number
    items.count += 1


cdef inline void list_drop(Holds* holds, HoldList* items, uint32_t number) noexcept nogil:
    """Take one out, wherever it stands."""
    cdef Hold* hold = &holds.items[number]
    if hold.before:
        holds.items[hold.before].after = hold.after
    else:
        items.first = hold.after
    if hold.after:
        holds.items[hold.after].before = hold.before
    else:
        items.last = hold.before
    items.count -= 1


cdef inline uint32_t* hold_bucket(Holds* holds, uint64_t key) noexcept nogil:
    return &holds.buckets[key & holds.mask]


cdef Hold* hold_add(Holds* holds, HoldName name) noexcept nogil:
    """One more that waits, where they are not full; what it holds is the caller's to say."""
    cdef uint32_t number = holds.free.last
    cdef uint32_t* bucket = hold_bucket(holds, name.key)
    cdef Hold* hold
    if number:
        list_drop(holds, &holds.free, number)
    else:
        number = holds.fresh
        holds.fresh += 1
    hold = &holds.items[number]
    hold.name = name
    hold.state = HOLD_HELD
    hold.chained = bucket[0]
    bucket[0] = number
    list_put(holds, &holds.waiting, number)
    return hold


cdef inline uint32_t hold_number(const Holds* holds, const Hold* hold) noexcept nogil:
    return <uint32_t>(hold - holds.items)


cdef void hold_forget(Holds* holds, HoldList* items, uint32_t number) noexcept nogil:
    """Take one out of a list and of the table."""
    cdef uint32_t* at = hold_bucket(holds, holds.items[number].name.key)
    while at[0] != number:
        at = &holds.items[at[0]].chained
    at[0] = holds.items[number].chained
    list_drop(holds, items, number)
    list_put(holds, &holds.free, number)


cdef void hold_end(Holds* holds, Hold* hold, HoldState state) noexcept nogil:
    """One that waits is over; the oldest of those is forgotten where they are too many."""
    cdef uint32_t number = hold_number(holds, hold)
    hold.state = state
    list_drop(holds, &holds.waiting, number)
    list_put(holds, &holds.over, number)
    if holds.over.count > holds.kept:
        hold_forget(holds, &holds.over, holds.over.first)


cdef Hold* hold_find(Holds* holds, HoldName name) noexcept nogil:
    """The newest of exactly this name; NULL for none."""
    cdef uint32_t number = hold_bucket(holds, name.key)[0] if holds.items != NULL else 0
    cdef Hold* hold
    while number:
        hold = &holds.items[number]
        if hold.name.key == name.key and hold.name.person == name.person and (
            hold.name.action == name.action and hold.name.place == name.place
        ):
            return hold
        number = hold.chained
    return NULL


cdef Hold* hold_shown(Holds* holds, HoldName name) noexcept nogil:
    """What an impression is about: the person's own if there is one, and one that waits first.

    It may come from another of the person's identities: then it is anybody's.
    """
    cdef uint32_t number = hold_bucket(holds, name.key)[0] if holds.items != NULL else 0
    cdef Hold* found = NULL
    cdef Hold* hold
    cdef int rank, best = -1
    while number:
        hold = &holds.items[number]
        number = hold.chained
        if hold.name.key != name.key or (name.action and hold.name.action != name.action):
            continue
        rank = 2 * (hold.name.person == name.person) + (hold.state == HOLD_HELD)
        if rank > best:
            found, best = hold, rank
    return found
