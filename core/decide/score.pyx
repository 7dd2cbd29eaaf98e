"""Scores with their ledgers, grades and the lifecycle stage."""

cdef const ScoreResult* score_result(Decision* decision, uint32_t index) noexcept nogil:
    """The score of one scorecard; computed once, with the ledger that adds up to it."""
    cdef const ScorecardSpec* card = &decision.playbook.scorecards[index]
    cdef ScoreResult* result = &decision.scores[index]
    cdef LedgerLine* lines
    cdef int64_t sum = 0
    cdef int64_t bounded
    cdef uint32_t i
    if result.known:
        return result
    # Known from here on: publishing refuses cycles, and a cycle must not recurse.
    result.known = True
    lines = <LedgerLine*>arena_zeroed(
        &decision.machine.arena, (card.rules_count + 1) * sizeof(LedgerLine)
    )
    if lines == NULL:
        decision.bound_reached = True
        return result
    for i in range(card.rules_count):
        lines[i].rule = <int32_t>i
        lines[i].missing = SLOT_NONE
        rule_points(decision, &card.rules[i], &lines[i])
        # A rule gives at most POINTS_MAX and a card has at most 1,024 rules: no overflow.
        sum += lines[i].points
    result.lines = lines
    result.lines_count = card.rules_count
    bounded = min(max(sum, card.least), card.most)
    if bounded != sum:
        lines[card.rules_count].rule = -1
        lines[card.rules_count].missing = SLOT_NONE
        lines[card.rules_count].points = bounded - sum
        result.lines_count += 1
    result.points = bounded
    return result


cdef void rule_points(
    Decision* decision, const RuleSpec* rule, LedgerLine* line
) noexcept nogil:
    cdef int64_t failing
    cdef int64_t points
    cdef Ages ages
    cdef int64_t most = rule.most if rule.most > 0 else <int64_t>POINTS_MAX
    if rule.counter >= 0:
        decision_ages(decision, <uint32_t>rule.counter, &ages)
        points = decayed_points(&ages, rule.points, rule.half_life_s, &line.count)
    else:
        failing = first_failing(decision, &rule.conditions)
        if failing >= 0:
            if decision.states[failing] == CONDITION_ERROR:
                line.missing = decision.errors[failing].extra
            return
        points = rule.points
        if rule.expression >= 0:
            points = expression_points(decision, rule.expression, line)
    line.points = min(max(points, -most), most)


cdef int64_t expression_points(
    Decision* decision, uint32_t index, LedgerLine* line
) noexcept nogil:
    """Points that an expression computes, rounded half away from zero; 0 for an error."""
    cdef Value value = decision_evaluate(
        decision, &decision.playbook.expressions[index].program
    )
    cdef double number = 0.0
    if value.tag == TAG_INT:
        number = <double>value.as_.i
    elif value.tag == TAG_DOUBLE:
        number = value.as_.d
    elif value.tag == TAG_ERROR:
        line.missing = value.extra
    if not isfinite(number):
        return 0
    return points_bounded(number)


cdef Text band_name(const Bands* bands, int64_t points) noexcept nogil:
    cdef uint32_t i
    for i in range(bands.count):
        if points >= bands.items[i].least:
            return bands.items[i].name
    return bands.items[bands.count - 1].name


cdef Value grade_value(Decision* decision, uint32_t index) noexcept nogil:
    """A grade as text: the fit band's letter, then the engagement band's digit."""
    cdef const GradeSpec* grade = &decision.playbook.grades[index]
    cdef Text fit = band_name(&grade.fit, score_result(decision, grade.fit.scorecard).points)
    cdef Text engagement = band_name(
        &grade.engagement, score_result(decision, grade.engagement.scorecard).points
    )
    cdef char* text = <char*>arena_take(
        &decision.machine.arena, fit.length + engagement.length
    )
    if text == NULL:
        return value_error(ERROR_MEMORY, SLOT_NONE)
    memcpy(text, fit.data, fit.length)
    memcpy(text + fit.length, engagement.data, engagement.length)
    return value_string(text, fit.length + engagement.length)


cdef int32_t stored_stage(Decision* decision) noexcept nogil:
    """The stage the log holds; the first one when there is none or it is no longer known."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef Value value = decision_attribute(decision, <uint32_t>playbook.stage_attribute)
    cdef uint32_t i
    if value.tag == TAG_STRING:
        for i in range(playbook.stages_count):
            if text_equal(playbook.stages[i], value_text(&value)):
                return <int32_t>i
    return 0


cdef int32_t stage_index(Decision* decision) noexcept nogil:
    """The stage: the stored one, moved along the transitions whose conditions hold now."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef int32_t target
    if decision.stage != STAGE_UNKNOWN:
        return decision.stage
    decision.stage = stored_stage(decision)
    # Each step moves on; as many steps as there are stages end any chain, and a ring too.
    for _ in range(playbook.stages_count):
        target = next_stage(decision, decision.stage)
        if target < 0:
            break
        decision.stage = target
    return decision.stage


cdef int32_t next_stage(Decision* decision, int32_t stage) noexcept nogil:
    cdef const TransitionSpec* transition
    cdef uint32_t i
    for i in range(decision.playbook.transitions_count):
        transition = &decision.playbook.transitions[i]
        if transition.target != stage and (transition.source == stage or transition.source < 0):
            if first_failing(decision, &transition.conditions) < 0:
                return transition.target
    return -1


cdef Value stage_value(Decision* decision) noexcept nogil:
    cdef Text text
    if decision.playbook.stages_count == 0:
        return value_string("", 0)
    text = decision.playbook.stages[stage_index(decision)]
    return value_string(text.data, text.length)
