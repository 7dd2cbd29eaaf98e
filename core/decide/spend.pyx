"""Spend: what a decision proposes is held of its budgets, all of it or nothing."""

cdef bint budgets_hold(
    Serving* serving, Decision* decision, const DecideCall* call, const Ranking* rankings
) noexcept nogil:
    """Hold the cost of every proposition; False, with nothing held, where others were first."""
    cdef const ActionSpec* action
    cdef HoldName name
    cdef uint32_t i, j
    for i in range(call.message.placements_count):
        for j in range(rankings[i].slots_filled):
            action = rankings[i].slots[j].action
            name.key = decision.hold_key
            name.person = decision.hold_person
            name.slot = j
            name.action = hold_tag(action.name)
            name.placement = hold_tag(call.placements[i].name)
            if not hold_of(serving, decision, &action.gates[<int>GATE_CONTACT], action, name) or (
                not hold_of(serving, decision, &call.placements[i].contact, action, name)
            ):
                budgets_undo(serving)
                return False
    return True


cdef void budgets_undo(Serving* serving) noexcept nogil:
    """Give back what the last decision has taken: its answer is not given."""
    while serving.taken != NULL:
        budget_undo(serving.taken.spec, serving.taken.name)
        serving.taken = serving.taken.before


cdef void budgets_count(
    const Serving* serving, const PlaybookState* playbook, const Decision* decision
) noexcept nogil:
    """Count what a decision whose answer stands has taken, and where there was no room for it."""
    cdef const Taken* taken = serving.taken
    cdef uint32_t i
    while taken != NULL:
        atomic_add(&(<BudgetState*>taken.spec.state).counts.held, 1)
        taken = taken.before
    for i in range(playbook.budgets_count):
        if decision.budget_views[i].full:
            atomic_add(&(<BudgetState*>playbook.budgets[i].state).counts.full, 1)


cdef bint hold_of(
    Serving* serving, Decision* decision, const Indexes* rules, const ActionSpec* action,
    HoldName name,
) noexcept nogil:
    """Hold a proposition's cost of the budgets among some rules."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef const ContactSpec* rule
    cdef const BudgetSpec* spec
    cdef Taken* one
    cdef int64_t cost
    cdef uint32_t i
    cdef int result
    for i in range(rules.count):
        rule = playbook.conditions[rules.items[i]].contact
        if rule.kind != CONTACT_BUDGET:
            continue
        spec = &playbook.budgets[rule.budget]
        cost = budget_cost(playbook, spec, action)
        if cost == 0:
            continue
        one = <Taken*>arena_take(&decision.machine.arena, sizeof(Taken))
        if one == NULL:
            return False
        result = budget_take(serving.budgets, playbook, spec, name, cost, decision.clock_us)
        if result == TAKEN_REFUSED:
            return False
        if result == TAKEN:
            one.spec = spec
            one.name = name
            one.before = serving.taken
            serving.taken = one
    return True
