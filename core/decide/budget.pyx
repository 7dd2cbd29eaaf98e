"""Budgets: what all people together may be shown or cost, within a calendar period of the clock.

A node spends what it was granted, and nobody else's: a decision holds the cost of what it proposes
before it is answered, an impression makes it used, and what no impression confirms comes back.
One latch for each budget, held for a few steps.
"""

cdef enum:
    # Of the engine; it keeps those of earlier playbooks.
    BUDGETS_MAX = 4096
    # The period at hand, and the next one or the last.
    BUDGET_WINDOWS = 2
    # Holds of one budget that wait for their impression; it proposes nothing beyond them.
    HOLDS_MAX = 1048576
    # So many are remembered when they are over, for impressions that come late or again.
    HOLDS_KEPT = 65536
    HOLDS_LEAST = 64
    # So often is a decision made again, when others have taken what it was to propose.
    BUDGET_TRIES = 4
    PLACE_ANY = 255


cdef enum HoldState:
    HOLD_HELD = 1
    HOLD_USED = 2
    HOLD_EXPIRED = 3
    # It was taken for an answer that was not given.
    HOLD_UNDONE = 4


cdef struct Hold:
    # Of the decision's id and the slot: the same in several placements.
    uint64_t key
    int64_t amount
    int64_t until_us
    int64_t period
    # One more than the number of the hold before it of the same key; 0 for none.
    uint64_t older
    # Of the action's name; never 0.
    uint32_t action
    uint8_t place
    uint8_t state


cdef struct HoldName:
    # What tells holds apart: the hash of the decision's id and the slot, that of the action's name
    # (0 for any), and how many of these the same decision has proposed before (PLACE_ANY for any).
    uint64_t key
    uint32_t action
    uint8_t place


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
    # Decisions made again since others were first, and holds refused since there were too many.
    uint64_t again
    uint64_t full


cdef struct BudgetState:
    uint32_t latch
    uint8_t key[16]
    BudgetWindow windows[BUDGET_WINDOWS]
    # By number, from `first` to before `next`; before `due` none waits for its impression.
    Hold* holds
    uint64_t capacity
    uint64_t first
    uint64_t due
    uint64_t next
    unordered_map[uint64_t, uint64_t]* newest
    BudgetCounts counts


cdef struct Budgets:
    # Whether shares are granted one by one; else all of a budget is this process's.
    uint64_t managed
    # Where none is there, impressions need not be looked at.
    uint64_t count
    BudgetState* items[BUDGETS_MAX]


cdef struct BudgetView:
    # As a decision has read it.
    bint known
    int64_t used
    int64_t held
    int64_t left
    bint more


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


cdef inline Hold* hold_at(BudgetState* budget, uint64_t number) noexcept nogil:
    return &budget.holds[number & (budget.capacity - 1)]


cdef void budget_expire(BudgetState* budget, int64_t now_us) noexcept nogil:
    """Give back what no impression has confirmed in time; holds end in their order."""
    cdef BudgetWindow* window
    cdef Hold* hold
    while budget.due < budget.next:
        hold = hold_at(budget, budget.due)
        if hold.state == HOLD_HELD:
            if hold.until_us > now_us:
                return
            hold.state = HOLD_EXPIRED
            budget.counts.expired += 1
            window = budget_window(budget, hold.period)
            if window != NULL:
                window.held -= hold.amount
        budget.due += 1


cdef void budget_latched(
    BudgetState* budget, const PlaybookState* playbook, const BudgetSpec* spec, bint managed,
    int64_t now_us, BudgetView* view,
) noexcept nogil:
    """What is left in a moment's period, for a caller that holds the latch."""
    cdef int64_t period = budget_period(playbook, spec, now_us)
    cdef BudgetWindow* window
    view.known = True
    if not managed:
        window = budget_open(budget, period)
        if window != NULL:
            window.granted = budget_released(playbook, spec, now_us)
            window.more = spec.even and window.granted < spec.most
    else:
        window = budget_window(budget, period)
    view.used = view.held = view.left = 0
    view.more = True
    if window != NULL:
        view.used = window.used
        view.held = window.held
        view.left = max(window.granted - window.used - window.held, <int64_t>0)
        view.more = window.more


cdef void budget_look(
    Budgets* budgets, const PlaybookState* playbook, uint32_t index, int64_t now_us,
    int64_t ahead_us, BudgetView* view,
) noexcept nogil:
    """What is left now, or in the period that lies so far ahead."""
    cdef const BudgetSpec* spec = &playbook.budgets[index]
    cdef BudgetState* budget = <BudgetState*>spec.state
    latch_take(&budget.latch)
    budget_expire(budget, now_us)
    budget_latched(
        budget, playbook, spec, atomic_read(&budgets.managed) != 0, now_us + ahead_us, view
    )
    latch_drop(&budget.latch)


cdef inline int64_t budget_cost(
    const PlaybookState* playbook, const BudgetSpec* spec, const ActionSpec* action
) noexcept nogil:
    return spec.costs[action - playbook.actions] if spec.costs_count > 1 else spec.costs[0]


cdef inline HoldName hold_name(
    Text decision_id, uint32_t slot, uint32_t action, uint8_t place
) noexcept nogil:
    cdef HoldName name
    name.key = XXH3_64bits_withSeed(decision_id.data, decision_id.length, slot)
    name.action = action
    name.place = place
    return name


cdef inline uint32_t hold_action(Text action) noexcept nogil:
    return <uint32_t>XXH3_64bits(action.data, action.length) | 1


cdef Hold* hold_find(BudgetState* budget, HoldName name) noexcept nogil:
    """The newest hold of a name; what the name leaves open, one that waits first."""
    cdef bint exact = name.action != 0 and name.place != PLACE_ANY
    cdef uint64_t at = 0
    cdef Hold* hold
    cdef Hold* over = NULL
    if budget.newest == NULL or budget.newest.count(name.key) == 0:
        return NULL
    at = budget.newest[0][name.key] + 1
    while at > budget.first:
        hold = hold_at(budget, at - 1)
        if hold.state != HOLD_UNDONE and (name.action == 0 or hold.action == name.action) and (
            name.place == PLACE_ANY or hold.place == name.place
        ):
            if exact or hold.state == HOLD_HELD:
                return hold
            over = hold if over == NULL else over
        at = hold.older
    return over


cdef bint holds_grow(BudgetState* budget) noexcept nogil:
    """Room for one more: the oldest that is over goes, or the ring doubles; False at its bound."""
    cdef uint64_t capacity = budget.capacity * 2 if budget.capacity else HOLDS_LEAST
    cdef Hold* oldest
    cdef Hold* holds
    cdef uint64_t i
    if budget.newest == NULL:
        budget.newest = new unordered_map[uint64_t, uint64_t]()
    if budget.next - budget.first < budget.capacity:
        return True
    if budget.capacity >= HOLDS_KEPT and budget.first < budget.due:
        oldest = hold_at(budget, budget.first)
        if budget.newest.count(oldest.key) and budget.newest[0][oldest.key] == budget.first:
            budget.newest.erase(oldest.key)
        budget.first += 1
        return True
    if capacity > HOLDS_MAX:
        return False
    holds = <Hold*>malloc(capacity * sizeof(Hold))
    if holds == NULL:
        return False
    for i in range(budget.first, budget.next):
        holds[i & (capacity - 1)] = hold_at(budget, i)[0]
    free(budget.holds)
    budget.holds = holds
    budget.capacity = capacity
    return True


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
    budget_expire(budget, now_us)
    budget_latched(budget, playbook, spec, atomic_read(&budgets.managed) != 0, now_us, &view)
    hold = hold_find(budget, name)
    if hold != NULL and hold.state != HOLD_EXPIRED:
        result = TAKEN_NOTHING
    elif view.left < cost:
        budget.counts.again += 1
    elif not holds_grow(budget):
        budget.counts.full += 1
    else:
        hold_put(budget, playbook, spec, name, cost, now_us)
        result = TAKEN
    latch_drop(&budget.latch)
    return result


cdef void hold_put(
    BudgetState* budget, const PlaybookState* playbook, const BudgetSpec* spec, HoldName name,
    int64_t cost, int64_t now_us,
) noexcept nogil:
    cdef Hold* hold = hold_at(budget, budget.next)
    hold.key = name.key
    hold.amount = cost
    hold.until_us = now_us + spec.hold_us
    hold.period = budget_period(playbook, spec, now_us)
    hold.older = 0
    if budget.newest.count(name.key):
        hold.older = budget.newest[0][name.key] + 1
    hold.action = name.action
    hold.place = name.place
    hold.state = HOLD_HELD
    budget.newest[0][name.key] = budget.next
    atomic_write(&budget.next, budget.next + 1)
    budget.counts.held += 1
    budget_window(budget, hold.period).held += cost


cdef void budget_undo(const BudgetSpec* spec, HoldName name) noexcept nogil:
    """Give back what was held for an answer that is not given."""
    cdef BudgetState* budget = <BudgetState*>spec.state
    cdef BudgetWindow* window
    cdef Hold* hold
    latch_take(&budget.latch)
    hold = hold_find(budget, name)
    if hold != NULL and hold.state == HOLD_HELD:
        hold.state = HOLD_UNDONE
        budget.counts.held -= 1
        window = budget_window(budget, hold.period)
        if window != NULL:
            window.held -= hold.amount
    latch_drop(&budget.latch)


cdef void hold_confirm(BudgetState* budget, Hold* hold) noexcept nogil:
    """An impression: what was held is used; late, it is paid of what is left, if that is enough."""
    cdef BudgetWindow* window = budget_window(budget, hold.period)
    if hold.state == HOLD_HELD:
        hold.state = HOLD_USED
        budget.counts.used += 1
        if window != NULL:
            window.held -= hold.amount
            window.used += hold.amount
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


cdef void budgets_confirm(Budgets* budgets, const TrackMessage* message) noexcept nogil:
    """An impression that names its decision and slot, whichever node has accepted it."""
    cdef HoldName name = hold_name(message.decision_id, message.slot, 0, PLACE_ANY)
    cdef const Entry* entry
    cdef BudgetState* budget
    cdef Hold* hold
    cdef uint32_t i
    for i in range(message.properties.count):
        entry = &message.properties.items[i]
        if entry.value.tag == TAG_STRING and text_equal(entry.name, text_of("action")):
            name.action = hold_action(value_text(&entry.value))
    for i in range(<uint32_t>atomic_read(&budgets.count)):
        budget = budgets.items[i]
        if atomic_read(&budget.next) == 0:
            continue
        latch_take(&budget.latch)
        hold = hold_find(budget, name)
        if hold != NULL:
            hold_confirm(budget, hold)
        latch_drop(&budget.latch)


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


cdef void budgets_manage(Budgets* budgets) noexcept nogil:
    """From here on only what is granted is used; who has looked before has opened windows."""
    cdef uint32_t i
    atomic_write(&budgets.managed, 1)
    for i in range(<uint32_t>atomic_read(&budgets.count)):
        latch_take(&budgets.items[i].latch)
        memset(budgets.items[i].windows, 0, sizeof(budgets.items[i].windows))
        latch_drop(&budgets.items[i].latch)


cdef void budgets_free(Budgets* budgets) noexcept:
    cdef uint64_t i
    for i in range(budgets.count):
        free(budgets.items[i].holds)
        del budgets.items[i].newest
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
