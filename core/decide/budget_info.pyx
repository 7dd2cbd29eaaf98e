"""How a budget stands on this node, for who asks."""


cdef object budget_info(
    Budgets* budgets, const PlaybookState* playbook, uint32_t index, int64_t now_us,
    int64_t ahead_us,
):
    cdef const BudgetSpec* spec = &playbook.budgets[index]
    cdef BudgetState* budget = <BudgetState*>spec.state
    cdef BudgetCounts counts
    cdef BudgetView view
    cdef bint all_ended = False
    while not all_ended:
        latch_take(&budget.latch)
        all_ended = budget_expire(budget, spec.hold_us, now_us)
        budget_latched(budgets, playbook, spec, now_us + ahead_us, &view)
        counts = budget.counts
        latch_drop(&budget.latch)
    return BudgetInfo(
        spec.name.data[:spec.name.length].decode(), spec.key[:16],
        view.period,
        spec.period, spec.most,
        budget_released(playbook, spec, now_us + ahead_us), spec.micros, budget_share(spec),
        budget_grain(spec),
        spec.dearest,
        view.used, view.held, view.left, view.more,
        counts.held, counts.used, counts.expired, counts.late, counts.unpaid, counts.again,
        counts.full,
    )
