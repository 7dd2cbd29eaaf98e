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
            name = hold_name(
                call.message.decision_id, j, identity_hash(call.identity),
                hold_action(action.name), proposed_before(rankings, i, j),
            )
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


cdef uint8_t proposed_before(const Ranking* rankings, uint32_t at, uint32_t slot) noexcept nogil:
    """How many placements before have the same action in the same slot: a fallback may be."""
    cdef uint8_t found = 0
    cdef uint32_t i
    for i in range(at):
        if slot < rankings[i].slots_filled:
            found += rankings[i].slots[slot].action == rankings[at].slots[slot].action
    return found


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
