"""The contact policy: may a person be contacted now; each rule is looked at once a decision."""

cdef enum ContactKind:
    CONTACT_CAP = 1
    CONTACT_SUPPRESSION = 2
    CONTACT_QUIET_HOURS = 3
    CONTACT_BUDGET = 4


cdef enum Period:
    PERIOD_ROLLING = 0
    PERIOD_DAY = 1
    PERIOD_WEEK = 2
    PERIOD_MONTH = 3


cdef inline bint counts_nothing(const ContactSpec* rule) noexcept nogil:
    """Whether a rule holds for whoever has no moments, whatever the time is."""
    return rule.kind == CONTACT_SUPPRESSION or (
        rule.kind == CONTACT_CAP and rule.period == PERIOD_ROLLING
    )


cdef inline uint32_t contact_rule(const PlaybookState* playbook, uint32_t condition) noexcept nogil:
    """The rule of a condition that is one: they stand last, in their order."""
    return condition - (playbook.conditions_count - playbook.contact_count)


cdef bint column_below(const ContactColumn& rule, const uint32_t& column) noexcept nogil:
    return rule.column < column


cdef void contact_begin(Decision* decision) noexcept nogil:
    """Pass the rules for which nothing is counted: of most people there is little.

    Otherwise each candidate's would be looked at, one by one.
    """
    cdef const PlaybookState* playbook = decision.playbook
    cdef uint32_t i
    if playbook.contact_columns_count == 0:
        return
    decision.contact_kept = <uint8_t*>arena_zeroed(&decision.machine.arena, playbook.contact_count)
    memcpy(
        decision.states + playbook.conditions_count - playbook.contact_count,
        playbook.contact_states, playbook.contact_count,
    )
    if decision.tape != NULL:
        tape_counters(decision.tape, &playbook.contact_counters)
    for i in range(decision.person.count):
        if decision.person.rows[i].side != NULL:
            contact_look(decision, decision.person.rows[i].side)
    if playbook.reservations != NULL and (
        decision.caps_shut or person_reserved(decision, playbook.reservations)
    ):
        contact_reserved(decision)
    # Some rules go by more than by what is counted.
    decision.contact_clear = playbook.contact_count == playbook.contact_columns_count and (
        decision.looked_count <= CONTACT_LOOKED_MAX
    )
    for i in range(decision.looked_count if decision.contact_clear else 0):
        if condition_state(decision, decision.looked[i]) != CONDITION_TRUE:
            decision.contact_clear = False


cdef bint person_reserved(Decision* decision, const ReservationSpec* spec) noexcept nogil:
    """Whether anything was reserved for the person so late that it may count."""
    cdef uint32_t column = decision.playbook.counters[spec.reserved].column
    cdef const MomentCell* first
    cdef uint32_t i
    for i in range(decision.person.count):
        if moments_after(
            decision.person.rows[i].side, column, decision.now_us - spec.longest_us, &first
        ):
            return True
    return False


cdef void contact_reserved(Decision* decision) noexcept nogil:
    """Have the caps looked at for which something is reserved."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef uint32_t i
    if decision.tape != NULL:
        tape_not_empty(decision.tape, playbook.reservations.reserved)
    if count_reservations(decision):
        return
    # Without memory each says so.
    for i in range(playbook.contact_count):
        if playbook.contact[i].reserve_us:
            contact_list(decision, i)


cdef inline void contact_list(Decision* decision, uint32_t rule) noexcept nogil:
    """Have a rule looked at, and list it while there is room."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef uint32_t condition = playbook.conditions_count - playbook.contact_count + rule
    decision.states[condition] = CONDITION_UNKNOWN
    if decision.looked_count < CONTACT_LOOKED_MAX:
        decision.looked[decision.looked_count] = condition
    decision.looked_count += 1


cdef void contact_look(Decision* decision, const Side* side) noexcept nogil:
    """Have the rules looked at that count moments of a row."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef const ContactColumn* first = playbook.contact_columns
    cdef const ContactColumn* end = first + playbook.contact_columns_count
    cdef const ContactColumn* rule
    cdef const MomentCell* cells = moment_cells(side)
    cdef uint32_t count = side.count[MOMENTS]
    cdef uint32_t column, i = 0
    # Of most people no rule counts anything.
    if count == 0 or cells[count - 1].column < first.column:
        return
    if cells[0].column < first.column:
        i = side_find(side, MOMENTS, first.column, 0)
    # What is reserved and confirmed stands behind what rules count.
    while i < count and cells[i].column <= (end - 1).column:
        column = cells[i].column
        i = moments_end(side, column, i)
        rule = lower_bound(first, end, column, column_below)
        while rule < end and rule.column == column:
            if decision.tape != NULL:
                tape_not_empty(decision.tape, rule.counter)
            contact_list(decision, rule.rule)
            if decision.contact_kept != NULL:
                decision.contact_kept[rule.rule] = True
            rule += 1


cdef const Zone* person_zone(Decision* decision) noexcept nogil:
    """The person's time zone, ZONE_INVALID where what names it is none; found once a decision."""
    cdef const Indexes* keys = &decision.playbook.zone_keys
    cdef Value value
    cdef uint32_t i
    if decision.zone.kind != ZONE_NONE:
        return &decision.zone
    decision.zone = decision.playbook.zone_default
    for i in range(keys.count):
        value = decision_input(decision, keys.items[i])
        if value.tag == TAG_STRING and value.length:
            decision.zone = zone_of(value_text(&value))
            decision.zone.slot = <uint16_t>keys.items[i]
            break
    return &decision.zone


cdef int64_t period_number(int64_t local_s, uint8_t period) noexcept nogil:
    """The number of the calendar period that a local time lies in."""
    cdef int64_t day = floor_divide(local_s, DAY_S)
    cdef Civil civil
    if period == PERIOD_DAY:
        return day
    if period == PERIOD_WEEK:
        # 1970-01-01 was a Thursday.
        return floor_divide(day + 3, 7)
    civil = civil_from_days(day)
    return civil.year * 12 + civil.month


cdef inline bint within(
    const ContactSpec* rule, int64_t time_us, int64_t now_us, const Zone* zone, int64_t number
) noexcept nogil:
    """Whether a moment counts for a cap: in the window, or in the calendar period of a number."""
    if rule.period == PERIOD_ROLLING:
        return rule.window_us == 0 or time_us > now_us - rule.window_us
    return number == period_number(
        local_seconds(zone, floor_divide(time_us, 1000000)), rule.period
    )


cdef inline int64_t contact_sum(const ContactCount* count) noexcept nogil:
    """What counts for a cap."""
    return <int64_t>count.counted + count.reserved + count.given


cdef inline int64_t* contact_moments(
    Decision* decision, const ContactSpec* rule, uint32_t* count
) noexcept nogil:
    """As `decision_moments`; not read again where it is known, and taped, that none is kept."""
    count[0] = 0
    if decision.contact_kept != NULL and counts_nothing(rule) and (
        not decision.contact_kept[rule - decision.playbook.contact]
    ):
        return NO_MOMENTS
    return decision_moments(decision, rule.counter, count)


cdef Value cap_holds(
    Decision* decision, const ContactSpec* rule, const Zone* zone
) noexcept nogil:
    """Whether a cap counts less than its limit.

    An event a little ahead of the decision counts: clocks differ, and a cap is not to be passed.
    """
    cdef ContactCount* count = &decision.contact[rule - decision.playbook.contact]
    cdef int64_t now_us = decision.now_us
    cdef int64_t number = 0
    cdef uint32_t kept, i
    cdef const int64_t* moments = contact_moments(decision, rule, &kept)
    if moments == NULL or (
        rule.reserve_us and not decision.reservations_counted and not count_reservations(decision)
    ):
        return value_error(ERROR_MEMORY, SLOT_NONE)
    if rule.period != PERIOD_ROLLING:
        number = period_number(local_seconds(zone, floor_divide(now_us, 1000000)), rule.period)
    for i in range(kept):
        if moments[i] <= now_us + AHEAD_US_MAX:
            count.counted += within(rule, moments[i], now_us, zone, number)
    return value_bool(contact_sum(count) < rule.limit)


cdef Value suppression_holds(Decision* decision, const ContactSpec* rule) noexcept nogil:
    """Whether no event within the pause was the last of `limit` within the window."""
    cdef int64_t now_us = decision.now_us
    cdef uint32_t kept, i
    cdef int64_t* moments = contact_moments(decision, rule, &kept)
    if moments == NULL:
        return value_error(ERROR_MEMORY, SLOT_NONE)
    sort(moments, moments + kept)
    for i in range(rule.limit - 1, kept):
        if moments[i] > now_us + AHEAD_US_MAX:
            break
        if moments[i] > now_us - rule.pause_us and (
            rule.limit == 1 or moments[i] - moments[i + 1 - rule.limit] < rule.window_us
        ):
            return value_bool(False)
    return value_bool(True)


cdef bint is_quiet(const ContactSpec* rule, int64_t local_s) noexcept nogil:
    """Whether a clock on the wall shows a time within the quiet hours."""
    cdef int64_t day = floor_divide(local_s, DAY_S)
    cdef int64_t of_day = local_s - day * DAY_S
    # Monday is 0; 1970-01-01 was a Thursday.
    cdef int64_t weekday = day + 3 - 7 * floor_divide(day + 3, 7)
    if rule.start_s < rule.end_s:
        return rule.start_s <= of_day < rule.end_s and rule.days >> weekday & 1
    if of_day >= rule.start_s:
        return rule.days >> weekday & 1
    # They began the day before.
    return of_day < rule.end_s and rule.days >> ((weekday + 6) % 7) & 1


cdef Value budget_holds(Decision* decision, const ContactSpec* rule) noexcept nogil:
    """Whether a budget pays for the cheapest of what it is about."""
    cdef const BudgetView* view = decision_budget(decision, rule.budget)
    cdef bint holds = view.left >= decision.playbook.budgets[rule.budget].least
    if not holds:
        decision.budget_waits |= view.more
    return value_bool(holds)


cdef bint overspent(
    Decision* decision, const ContactSpec* rule, const ContactCount* count,
    const ActionSpec* action,
) noexcept nogil:
    """Whether a budget does not pay for an action besides what this decision proposes."""
    cdef const BudgetView* view = decision_budget(decision, rule.budget)
    cdef const BudgetSpec* spec = &decision.playbook.budgets[rule.budget]
    cdef int64_t cost = budget_cost(decision.playbook, spec, action)
    if cost == 0 or view.left - count.given >= cost:
        return False
    decision.budget_waits |= view.more
    return True


cdef Value contact_holds(Decision* decision, const ContactSpec* rule) noexcept nogil:
    """Whether a rule lets the person be contacted; an error, for a bad time zone, does not."""
    cdef const Zone* zone = NULL
    if rule.kind == CONTACT_BUDGET:
        return budget_holds(decision, rule)
    if rule.kind == CONTACT_SUPPRESSION:
        decision.contact[rule - decision.playbook.contact].counted = rule.limit
        return suppression_holds(decision, rule)
    if rule.kind == CONTACT_QUIET_HOURS or rule.period != PERIOD_ROLLING:
        zone = person_zone(decision)
        if zone.kind == ZONE_INVALID:
            return value_error(ERROR_ZONE, zone.slot)
    if rule.kind == CONTACT_CAP:
        return cap_holds(decision, rule, zone)
    return value_bool(
        not is_quiet(rule, local_seconds(zone, floor_divide(decision.now_us, 1000000)))
    )


cdef inline int64_t spent_of(
    Decision* decision, const Indexes* rules, const ActionSpec* action
) noexcept nogil:
    """The first rule that lets nothing more be shown by this decision, or -1."""
    cdef const ContactSpec* rule
    cdef const ContactCount* count
    cdef uint32_t i, index
    for i in range(rules.count):
        index = contact_rule(decision.playbook, rules.items[i])
        rule = &decision.playbook.contact[index]
        count = &decision.contact[index]
        if rule.kind == CONTACT_BUDGET:
            if overspent(decision, rule, count, action):
                return rules.items[i]
        elif rule.shown and contact_sum(count) >= rule.limit:
            return rules.items[i]
    return -1


cdef int64_t contact_spent(
    Decision* decision, const PlacementSpec* placement, const ActionSpec* action
) noexcept nogil:
    """The rule that what this decision proposes already has used up, or -1."""
    cdef int64_t found = -1
    if action.gates[<int>GATE_CONTACT].count:
        found = spent_of(decision, &action.gates[<int>GATE_CONTACT], action)
    if found < 0 and placement.contact.count:
        found = spent_of(decision, &placement.contact, action)
    return found


cdef inline void spend_of(
    Decision* decision, const Indexes* rules, const ActionSpec* action
) noexcept nogil:
    cdef const PlaybookState* playbook = decision.playbook
    cdef const ContactSpec* rule
    cdef int64_t given
    cdef uint32_t i, index
    for i in range(rules.count):
        index = contact_rule(playbook, rules.items[i])
        rule = &playbook.contact[index]
        given = rule.shown
        if rule.kind == CONTACT_BUDGET:
            given = budget_cost(playbook, &playbook.budgets[rule.budget], action)
        decision.contact[index].given += given


cdef void contact_spend(
    Decision* decision, const PlacementSpec* placement, const ActionSpec* action
) noexcept nogil:
    """Count a proposition against the rules that it falls under."""
    if action.gates[<int>GATE_CONTACT].count:
        spend_of(decision, &action.gates[<int>GATE_CONTACT], action)
    if placement.contact.count:
        spend_of(decision, &placement.contact, action)


cdef void write_contact(
    const Decision* decision, Writer* writer, int64_t condition
) noexcept nogil:
    """What a rule has counted and allows, as fields of nextbest.v1.CandidateExplanation."""
    cdef const ContactSpec* rule = decision.playbook.conditions[condition].contact
    cdef const ContactCount* count = &decision.contact[rule - decision.playbook.contact]
    if decision.states[condition] == CONDITION_ERROR:
        return
    if rule.kind == CONTACT_BUDGET:
        write_budget(decision, writer, rule.budget, count.given)
        return
    write_uint(writer, 8, <uint64_t>contact_sum(count))
    write_uint(writer, 9, rule.limit)
    write_uint(writer, 12, count.reserved)


cdef void write_budget(
    const Decision* decision, Writer* writer, uint32_t index, int64_t given
) noexcept nogil:
    """What this node knows of a budget, as a nextbest.v1.BudgetExplanation."""
    cdef const BudgetSpec* spec = &decision.playbook.budgets[index]
    cdef const BudgetView* view = &decision.budget_views[index]
    cdef double unit = 1e6 if spec.micros else 1.0
    cdef size_t start = message_open(writer, 11)
    write_double(writer, 1, <double>view.used / unit)
    write_double(writer, 2, <double>(view.held + given) / unit)
    write_double(writer, 3, <double>(view.left - given) / unit)
    write_double(writer, 4, <double>spec.most / unit)
    write_uint(writer, 5, view.more)
    write_uint(writer, 6, view.paced)
    message_close(writer, start)
