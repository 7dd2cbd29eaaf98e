"""Orphans: what processes held of one budget when they stopped, until that is over.

A process says it with its last word in the log, hold by hold.  Every node keeps it beside its own
holds, and marks what an impression confirms; how much that is, and what comes back, is for the log.
Nothing of it counts as held or used here.
"""

cdef enum:
    # Are looked at together, so that a budget's latch is held for a few steps only.
    ORPHAN_STEPS = 256


cdef struct Orphan:
    # A hold as the log has it: 40 bytes, little-endian.
    uint64_t key
    uint64_t person
    int64_t amount
    uint32_t slot
    uint32_t action
    uint32_t placement
    uint32_t reserved


cdef inline HoldName orphan_name(const Orphan* orphan) noexcept nogil:
    cdef HoldName name
    memset(&name, 0, sizeof(HoldName))
    name.key = orphan.key
    name.person = orphan.person
    name.slot = orphan.slot
    name.action = orphan.action
    name.placement = orphan.placement
    return name


cdef uint32_t holds_tell(
    Holds* holds, int64_t period, Orphan* told, uint32_t most, int64_t* last_us
) noexcept nogil:
    """Write down what waits of a period, the oldest first; gives how many.

    `last_us`: when the last of them began.
    """
    cdef Hold* hold = hold_next(holds, holds.waiting.first) if holds.chunks != NULL else NULL
    cdef uint32_t count = 0
    while hold != NULL and count < most:
        if hold.period == period:
            memset(&told[count], 0, sizeof(Orphan))
            told[count].key = hold.name.key
            told[count].person = hold.name.person
            told[count].amount = hold.amount
            told[count].slot = hold.name.slot
            told[count].action = hold.name.action
            told[count].placement = hold.name.placement
            last_us[0] = hold.since_us
            count += 1
        hold = hold_next(holds, hold.after)
    return count


cdef bint orphans_add(
    Holds* orphans, const Orphan* items, uint32_t count, uint32_t most
) noexcept nogil:
    """Look out for their impressions; False without room, or memory, for all."""
    cdef Hold* hold
    cdef uint32_t i
    if orphans.chunks == NULL and not holds_init(orphans, most):
        return False
    for i in range(count):
        if hold_find(orphans, orphan_name(&items[i])) != NULL:
            continue
        hold = hold_add(orphans, orphan_name(&items[i]))
        if hold == NULL:
            return False
        hold.amount = items[i].amount
    return True


cdef inline void orphan_confirm(Holds* orphans, HoldName name) noexcept nogil:
    """An impression: it was of an orphan, if there is one that it may be of."""
    cdef Hold* hold = hold_shown(orphans, name)
    if hold != NULL and hold.state == HOLD_HELD:
        hold_end(orphans, hold, HOLD_USED)


cdef uint32_t orphans_waiting(
    Holds* orphans, const Orphan* items, uint32_t count, Orphan* waiting
) noexcept nogil:
    """Write down those of them that no impression has confirmed; gives how many."""
    cdef Hold* hold
    cdef uint32_t i, found = 0
    for i in range(count):
        hold = hold_find(orphans, orphan_name(&items[i]))
        if hold != NULL and hold.state == HOLD_HELD:
            waiting[found] = items[i]
            found += 1
    return found


cdef void orphans_end(Holds* orphans, const Orphan* items, uint32_t count) noexcept nogil:
    """Look out for their impressions no more."""
    cdef Hold* hold
    cdef uint32_t i
    for i in range(count):
        hold = hold_find(orphans, orphan_name(&items[i]))
        if hold != NULL:
            hold_forget(
                orphans,
                &orphans.waiting if hold.state == HOLD_HELD else &orphans.over, hold,
            )


cdef void orphans_late(
    Budgets* budgets, BudgetState* budget, int64_t period, const Orphan* items, uint32_t count
) noexcept nogil:
    """Count an impression of them as late, once, on this node: one that comes yet, or has come.

    They waited when it was said that they have come back.
    """
    cdef const Hold* orphan
    cdef Hold* hold
    cdef uint32_t i
    if budget.holds.chunks == NULL and not holds_init(&budget.holds, budgets.holds_max):
        return
    for i in range(count):
        if hold_find(&budget.holds, orphan_name(&items[i])) != NULL:
            continue
        hold = hold_add(&budget.holds, orphan_name(&items[i]))
        if hold == NULL:
            return
        hold.amount = items[i].amount
        hold.period = period
        hold_end(&budget.holds, hold, HOLD_EXPIRED)
        orphan = hold_find(&budget.orphans, orphan_name(&items[i]))
        # One that is used may be forgotten already.
        if orphan == NULL or orphan.state != HOLD_HELD:
            budget_confirm(budget, hold)
