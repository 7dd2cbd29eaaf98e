"""Spend: what a decision proposes is held of its budgets, all of it or nothing."""

cdef struct Taken:
    # One hold of the decision at hand, in its arena.
    const BudgetSpec* spec
    HoldName name
    Taken* before


cdef bint budgets_hold(
    Decision* decision, Text decision_id, const PlacementSpec** placements,
    const Ranking* rankings, uint32_t count,
) noexcept nogil:
    """Hold the cost of every proposition; False, with nothing held, where others were first."""
    cdef Taken* taken = NULL
    cdef const ActionSpec* action
    cdef HoldName name
    cdef uint32_t i, j
    for i in range(count):
        for j in range(rankings[i].slots_filled):
            action = rankings[i].slots[j].action
            name = hold_name(
                decision_id, j, hold_action(action.name), proposed_before(rankings, i, j)
            )
            if not hold_of(decision, &action.gates[<int>GATE_CONTACT], action, name, &taken) or (
                not hold_of(decision, &placements[i].contact, action, name, &taken)
            ):
                while taken != NULL:
                    budget_undo(taken.spec, taken.name)
                    taken = taken.before
                return False
    return True


cdef uint8_t proposed_before(const Ranking* rankings, uint32_t at, uint32_t slot) noexcept nogil:
    """How many placements before have the same action in the same slot: a fallback may be."""
    cdef uint8_t found = 0
    cdef uint32_t i
    for i in range(at):
        if slot < rankings[i].slots_filled:
            found += rankings[i].slots[slot].action == rankings[at].slots[slot].action
    return found


cdef bint hold_of(
    Decision* decision, const Indexes* rules, const ActionSpec* action, HoldName name,
    Taken** taken,
) noexcept nogil:
    """Hold a proposition's cost of the budgets among some rules."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef const ContactSpec* rule
    cdef const BudgetSpec* spec
    cdef Taken* one
    cdef uint32_t i
    cdef int result
    for i in range(rules.count):
        rule = playbook.conditions[rules.items[i]].contact
        if rule.kind != CONTACT_BUDGET:
            continue
        spec = &playbook.budgets[rule.budget]
        one = <Taken*>arena_take(&decision.machine.arena, sizeof(Taken))
        if one == NULL:
            return False
        result = budget_take(
            decision.budgets, playbook, spec, name, budget_cost(playbook, spec, action),
            decision.clock_us,
        )
        if result == TAKEN_REFUSED:
            return False
        if result == TAKEN:
            one.spec = spec
            one.name = name
            one.before = taken[0]
            taken[0] = one
    return True
