"""Budgets: what all people together may be shown or cost, within a calendar period of the clock.

A node spends what it was granted, and nobody else's: a decision holds the cost of what it proposes
before it is answered, an impression makes it used, and what no impression confirms comes back.
One latch for each budget, held for a few steps.
"""

cdef enum:
    # Of the engine; it keeps those of earlier playbooks while there is room.
    BUDGETS_MAX = 4096
    # The period at hand, and the next one or the last.
    BUDGET_WINDOWS = 2
    # Of one budget are ended at a time, so that its latch is held for a few steps only.
    EXPIRE_STEPS = 64
    # So often is a decision made again, when others have taken what it was to propose.
    BUDGET_TRIES = 4


cdef struct BudgetWindow:
    bint open
    int64_t period
    int64_t granted
    int64_t used
    int64_t held
    # Whether more may be granted.
    bint more


cdef struct BudgetCounts:
    uint64_t held
    uint64_t used
    uint64_t expired
    # Impressions after the hold's end: paid of what was left, and those that nothing paid.
    uint64_t late
    uint64_t unpaid
    # Decisions made again since others were first, and those that found too many holds.
    uint64_t again
    uint64_t full


cdef struct BudgetState:
    uint32_t latch
    uint8_t key[16]
    # Whether some playbook has it; asked where there is no room for another.
    bint kept
    BudgetWindow windows[BUDGET_WINDOWS]
    Holds holds
    # How long those last by the playbook that was active last.
    int64_t hold_us
    # What processes held that have stopped, for as long as they are orphans: see orphan.pyx.
    Holds orphans
    # 0 before the first of both.
    uint64_t holding
    BudgetCounts counts


cdef struct Budgets:
    # Whether shares are granted one by one; else all of a budget is this process's.
    uint64_t managed
    # Of each budget may wait for their impression; it proposes nothing beyond them.
    uint32_t holds_max
    # Where none is there, impressions need not be looked at.
    uint64_t count
    BudgetState* items[BUDGETS_MAX]


cdef struct BudgetView:
    # As a decision has read it.
    bint known
    int64_t period
    int64_t used
    int64_t held
    int64_t left
    # Whether this node may be granted more of what is released by now.
    bint more
    # Whether the pace keeps a part back.
    bint paced
    # Whether too many holds wait for their impressions.
    bint full


cdef struct Taken:
    # What a decision has taken, the last first, in its arena.
    const BudgetSpec* spec
    HoldName name
    Taken* before


cdef inline int64_t budget_period(
    const PlaybookState* playbook, const BudgetSpec* spec, int64_t now_us
) noexcept nogil:
    """The number of the period that a moment lies in; 0 for all time."""
    if spec.period == PERIOD_ROLLING:
        return 0
    return period_number(
        local_seconds(&playbook.zone_default, floor_divide(now_us, 1000000)), spec.period
    )


cdef double budget_elapsed(
    const PlaybookState* playbook, const BudgetSpec* spec, int64_t now_us
) noexcept nogil:
    """How much of its period is over, from 0 to below 1, by the clock on the wall."""
    cdef int64_t local_s, day, of_day
    cdef Civil civil
    if spec.period == PERIOD_ROLLING:
        return 0.0
    local_s = local_seconds(&playbook.zone_default, floor_divide(now_us, 1000000))
    day = floor_divide(local_s, DAY_S)
    of_day = local_s - day * DAY_S
    if spec.period == PERIOD_DAY:
        return <double>of_day / DAY_S
    if spec.period == PERIOD_WEEK:
        return <double>((day + 3 - 7 * floor_divide(day + 3, 7)) * DAY_S + of_day) / (7 * DAY_S)
    civil = civil_from_days(day)
    return <double>((civil.day - 1) * DAY_S + of_day) / (
        days_of_month(civil.year, civil.month) * DAY_S
    )


cdef inline int64_t days_of_month(int64_t year, int64_t month) noexcept nogil:
    return days_from_civil(year + month // 12, month % 12 + 1, 1) - days_from_civil(year, month, 1)


cdef int64_t budget_released(
    const PlaybookState* playbook, const BudgetSpec* spec, int64_t now_us
) noexcept nogil:
    """How much of it may be used by now: whole shares, one at least."""
    cdef int64_t shares
    if not spec.even:
        return spec.most
    shares = 1 + <int64_t>(budget_elapsed(playbook, spec, now_us) * spec.shares)
    return min(budget_share(spec) * shares, spec.most)


cdef inline int64_t budget_grain(const BudgetSpec* spec) noexcept nogil:
    """What shares are whole multiples of, so that none is left with a part of one cost."""
    return spec.least if spec.least == spec.dearest and spec.least else 1


cdef inline int64_t budget_share(const BudgetSpec* spec) noexcept nogil:
    cdef int64_t grain = budget_grain(spec)
    cdef int64_t share = (spec.most + spec.shares - 1) // spec.shares
    return (share + grain - 1) // grain * grain


cdef inline BudgetWindow* budget_window(BudgetState* budget, int64_t period) noexcept nogil:
    """The window of a period; NULL for none."""
    cdef int i
    for i in range(BUDGET_WINDOWS):
        if budget.windows[i].open and budget.windows[i].period == period:
            return &budget.windows[i]
    return NULL


cdef BudgetWindow* budget_open(BudgetState* budget, int64_t period) noexcept nogil:
    """The window of a period, in place of an older one's where there is none; NULL for one past."""
    cdef BudgetWindow* found = budget_window(budget, period)
    cdef int i
    if found != NULL:
        return found
    found = &budget.windows[0]
    for i in range(1, BUDGET_WINDOWS):
        if found.open and (
            not budget.windows[i].open or budget.windows[i].period < found.period
        ):
            found = &budget.windows[i]
    if found.open and found.period > period:
        return NULL
    memset(found, 0, sizeof(BudgetWindow))
    found.open = True
    found.period = period
    found.more = True
    return found


cdef bint budget_expire(BudgetState* budget, int64_t hold_us, int64_t now_us) noexcept nogil:
    """Give back what no impression has confirmed in time, a few at a call; whether that is all."""
    cdef Holds* holds = &budget.holds
    cdef Hold* hold
    cdef int _step
    for _step in range(EXPIRE_STEPS):
        hold = hold_next(holds, holds.waiting.first)
        if hold == NULL or hold.since_us + hold_us > now_us:
            return True
        budget_release(budget, hold)
        hold_end(holds, hold, HOLD_EXPIRED)
        budget.counts.expired += 1
    return False


cdef inline void budget_release(BudgetState* budget, const Hold* hold) noexcept nogil:
    """Count what is held as held no more."""
    cdef BudgetWindow* window = budget_window(budget, hold.period)
    if window != NULL:
        window.held -= hold.amount


cdef void budget_latched(
    Budgets* budgets, const PlaybookState* playbook, const BudgetSpec* spec, int64_t now_us,
    BudgetView* view,
) noexcept nogil:
    """What is left in a moment's period, for a caller that holds the latch."""
    cdef BudgetState* budget = <BudgetState*>spec.state
    cdef int64_t released = budget_released(playbook, spec, now_us)
    cdef BudgetWindow* window
    memset(view, 0, sizeof(BudgetView))
    view.known = True
    view.period = budget_period(playbook, spec, now_us)
    if atomic_read(&budgets.managed):
        window = budget_window(budget, view.period)
    else:
        window = budget_open(budget, view.period)
        if window != NULL:
            window.granted = released
            window.more = False
    view.paced = spec.even and released < spec.most
    view.more = True
    if window != NULL:
        view.used = window.used
        view.held = window.held
        view.left = max(window.granted - window.used - window.held, <int64_t>0)
        view.more = window.more


cdef void budget_look(
    Budgets* budgets, const PlaybookState* playbook, uint32_t index, int64_t now_us, uint64_t key,
    uint64_t person, BudgetView* view,
) noexcept nogil:
    """What a decision finds left for a person, besides what it holds where it is asked for again.

    Where too many wait for their impressions that is nothing, which may change.
    """
    cdef const BudgetSpec* spec = &playbook.budgets[index]
    cdef BudgetState* budget = <BudgetState*>spec.state
    latch_take(&budget.latch)
    budget_expire(budget, spec.hold_us, now_us)
    budget_latched(budgets, playbook, spec, now_us, view)
    view.full = holds_tight(&budget.holds)
    if view.full:
        view.left = 0
        view.more = True
    view.left += holds_own(&budget.holds, key, person)
    latch_drop(&budget.latch)


cdef inline int64_t budget_cost(
    const PlaybookState* playbook, const BudgetSpec* spec, const ActionSpec* action
) noexcept nogil:
    return spec.costs[action - playbook.actions] if spec.costs_count > 1 else spec.costs[0]


cdef enum Taking:
    TAKEN_NOTHING = 0
    TAKEN = 1
    TAKEN_REFUSED = 2


cdef int budget_take(
    Budgets* budgets, const PlaybookState* playbook, const BudgetSpec* spec, HoldName name,
    int64_t cost, int64_t now_us,
) noexcept nogil:
    """Hold a cost; nothing where the same decision has it held or used already."""
    cdef BudgetState* budget = <BudgetState*>spec.state
    cdef BudgetView view
    cdef Hold* hold
    cdef int result = TAKEN_REFUSED
    latch_take(&budget.latch)
    budget_expire(budget, spec.hold_us, now_us)
    budget_latched(budgets, playbook, spec, now_us, &view)
    hold = hold_find(&budget.holds, name)
    if hold != NULL and hold.state != HOLD_EXPIRED:
        result = TAKEN_NOTHING
    elif view.left < cost:
        budget.counts.again += 1
    elif budget_hold(budgets, budget, name, cost, view.period, now_us):
        result = TAKEN
    latch_drop(&budget.latch)
    return result


cdef bint budget_hold(
    Budgets* budgets, BudgetState* budget, HoldName name, int64_t cost, int64_t period,
    int64_t now_us,
) noexcept nogil:
    """Hold a cost above 0 that is left; False where there is no room for one more."""
    cdef Hold* hold
    if budget.holds.chunks == NULL:
        if not holds_init(&budget.holds, budgets.holds_max):
            return False
        atomic_write(&budget.holding, 1)
    hold = hold_add(&budget.holds, name)
    if hold == NULL:
        return False
    hold.amount = cost
    hold.since_us = now_us
    hold.period = period
    budget_window(budget, period).held += cost
    return True


cdef void budget_undo(const BudgetSpec* spec, HoldName name) noexcept nogil:
    """Give back what was held for an answer that is not given."""
    cdef BudgetState* budget = <BudgetState*>spec.state
    cdef Hold* hold
    latch_take(&budget.latch)
    hold = hold_find(&budget.holds, name)
    if hold != NULL and hold.state == HOLD_HELD:
        budget_release(budget, hold)
        hold_forget(&budget.holds, &budget.holds.waiting, hold)
    latch_drop(&budget.latch)


cdef void budget_confirm(BudgetState* budget, Hold* hold) noexcept nogil:
    """An impression: what was held is used; late, it is paid of what is left, if that is enough."""
    cdef BudgetWindow* window = budget_window(budget, hold.period)
    if hold.state == HOLD_HELD:
        budget_release(budget, hold)
        if window != NULL:
            window.used += hold.amount
        budget.counts.used += 1
        hold_end(&budget.holds, hold, HOLD_USED)
        return
    if hold.state != HOLD_EXPIRED:
        return
    # Once: another impression of it is a repeat.
    hold.state = HOLD_USED
    if window != NULL and window.granted - window.used - window.held >= hold.amount:
        window.used += hold.amount
        budget.counts.late += 1
    else:
        budget.counts.unpaid += 1


cdef void budgets_confirm(
    Budgets* budgets, const TrackMessage* message, uint64_t person, bint repeated
) noexcept nogil:
    """An impression that names its decision and slot, whichever node has accepted it.

    One that came before, which is `repeated`, may have come before the orphan that it confirms.
    """
    cdef HoldName name = shown_name(message, person)
    cdef BudgetState* budget
    cdef Hold* hold
    cdef uint32_t i
    for i in range(<uint32_t>atomic_read(&budgets.count)):
        budget = budgets.items[i]
        if atomic_read(&budget.holding) == 0:
            continue
        latch_take(&budget.latch)
        hold = hold_shown(&budget.holds, name)
        if hold != NULL and not repeated:
            budget_confirm(budget, hold)
        orphan_confirm(&budget.orphans, name)
        latch_drop(&budget.latch)


cdef HoldName shown_name(const TrackMessage* message, uint64_t person) noexcept nogil:
    """What an impression names of a hold."""
    cdef const Entry* entry
    cdef HoldName name
    cdef uint32_t i
    memset(&name, 0, sizeof(HoldName))
    name.key = hold_key(message.decision_id)
    name.person = person
    name.slot = message.slot
    for i in range(message.properties.count):
        entry = &message.properties.items[i]
        if entry.value.tag != TAG_STRING:
            continue
        if text_equal(entry.name, text_of("action")):
            name.action = hold_tag(value_text(&entry.value))
        elif text_equal(entry.name, text_of("placement")):
            name.placement = hold_tag(value_text(&entry.value))
    return name


cdef BudgetState* budgets_place(Budgets* budgets, const uint8_t* key) noexcept:
    """The budget of a key, made where there is none; NULL when there are too many."""
    cdef BudgetState* budget = budget_of(budgets, key)
    if budget != NULL or budgets.count == BUDGETS_MAX:
        return budget
    budget = <BudgetState*>calloc(1, sizeof(BudgetState))
    if budget == NULL:
        return NULL
    memcpy(budget.key, key, 16)
    budgets.items[budgets.count] = budget
    atomic_add(&budgets.count, 1)
    return budget


cdef BudgetState* budgets_reuse(Budgets* budgets, const uint8_t* key) noexcept:
    """Forget a budget that is not kept, for another; NULL where all are."""
    cdef uint32_t i
    for i in range(BUDGETS_MAX):
        if not budgets.items[i].kept:
            budget_clear(budgets.items[i])
            memcpy(budgets.items[i].key, key, 16)
            return budgets.items[i]
    return NULL


cdef void budgets_last(const PlaybookState* playbook) noexcept nogil:
    """What waits for its impression lasts as long as a playbook says that becomes active."""
    cdef BudgetState* budget
    cdef uint32_t i
    for i in range(playbook.budgets_count):
        budget = <BudgetState*>playbook.budgets[i].state
        latch_take(&budget.latch)
        budget.hold_us = playbook.budgets[i].hold_us
        latch_drop(&budget.latch)


cdef void budgets_manage(Budgets* budgets) noexcept nogil:
    """From here on only what is granted is used, and what was done before is forgotten."""
    cdef uint32_t i
    atomic_write(&budgets.managed, 1)
    for i in range(<uint32_t>atomic_read(&budgets.count)):
        budget_clear(budgets.items[i])


cdef void budget_clear(BudgetState* budget) noexcept nogil:
    """Begin anew."""
    latch_take(&budget.latch)
    atomic_write(&budget.holding, 0)
    holds_free(&budget.holds)
    holds_free(&budget.orphans)
    memset(budget.windows, 0, sizeof(budget.windows))
    memset(&budget.counts, 0, sizeof(BudgetCounts))
    latch_drop(&budget.latch)


cdef void budgets_free(Budgets* budgets) noexcept:
    cdef uint64_t i
    for i in range(budgets.count):
        holds_free(&budgets.items[i].holds)
        holds_free(&budgets.items[i].orphans)
        free(budgets.items[i])


cdef BudgetState* budget_of(Budgets* budgets, const uint8_t* key) noexcept nogil:
    """The budget of a key; NULL where there is none."""
    cdef uint32_t i
    for i in range(<uint32_t>atomic_read(&budgets.count)):
        if memcmp(budgets.items[i].key, key, 16) == 0:
            return budgets.items[i]
    return NULL


cdef bint budget_grant(
    Budgets* budgets, const uint8_t* key, int64_t period, int64_t amount, bint more
) noexcept nogil:
    """Let a period's budget be used by so much more, or by less; False where it is over."""
    cdef BudgetState* budget = budget_of(budgets, key)
    cdef BudgetWindow* window
    if budget == NULL:
        return False
    latch_take(&budget.latch)
    window = budget_open(budget, period)
    if window != NULL:
        window.granted += amount
        window.more = more
    latch_drop(&budget.latch)
    return window != NULL


cdef int64_t budget_take_back(
    Budgets* budgets, const uint8_t* key, int64_t period
) noexcept nogil:
    """Take what is left of what was granted: nothing more is used of it."""
    cdef BudgetState* budget = budget_of(budgets, key)
    cdef BudgetWindow* window
    cdef int64_t left = 0
    if budget == NULL:
        return 0
    latch_take(&budget.latch)
    window = budget_window(budget, period)
    if window != NULL:
        left = max(window.granted - window.used - window.held, <int64_t>0)
        window.granted -= left
    latch_drop(&budget.latch)
    return left
