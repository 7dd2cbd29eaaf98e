"""The answer: a decision written as nextbest.v1.DecideResponse."""

from nextbest.core.expression.values import REASONS

# The texts of values.REASONS, for the answers.
cdef enum:
    ERROR_TEXTS_MAX = 64

cdef const char* ERROR_TEXTS[ERROR_TEXTS_MAX]
cdef uint32_t ERROR_TEXTS_COUNT = <uint32_t>min(len(REASONS), ERROR_TEXTS_MAX)
cdef list ERROR_TEXTS_KEPT = [reason.encode() for reason in REASONS]

for _number in range(ERROR_TEXTS_COUNT):
    ERROR_TEXTS[_number] = <char*>(<bytes>ERROR_TEXTS_KEPT[_number])


cdef enum:
    REASONS_MAX = 16
    SCORE_REASONS_MAX = 8
    DEGRADATION_SCORES_SKIPPED = 1
    DEGRADATION_FALLBACK_ONLY = 2
    DEGRADATION_BOUND_REACHED = 3
    DEGRADATION_LOG_AWAY = 4
    DEGRADATION_BUDGET_WAIT = 5
    DEGRADATION_CONSENT_STALE = 6


cdef struct Position:
    uint64_t epoch
    uint64_t sequence
    uint64_t nonce


cdef struct Header:
    # What every answer tells.
    uint64_t generation
    Position position
    uint32_t staleness_ms
    bint log_away


cdef void write_position(Writer* writer, uint32_t field, const Position* position) noexcept nogil:
    cdef size_t start = message_open(writer, field)
    write_uint(writer, 1, position.epoch)
    write_uint(writer, 2, position.sequence)
    write_fixed64(writer, 3, position.nonce)
    message_close(writer, start)


cdef void write_header(Writer* writer, const Header* header) noexcept nogil:
    write_uint(writer, 1, header.generation)
    write_position(writer, 2, &header.position)
    write_uint(writer, 3, header.staleness_ms)


cdef void write_degraded(Writer* writer, uint32_t left_out) noexcept nogil:
    """What was left out: a bit for each Degradation."""
    cdef size_t start
    cdef uint32_t kind
    if not left_out:
        return
    start = message_open(writer, 4)
    for kind in range(1, DEGRADATION_CONSENT_STALE + 1):
        if left_out >> kind & 1:
            put_varint(writer, kind)
    message_close(writer, start)


cdef inline uint32_t decision_left_out(const Decision* decision) noexcept nogil:
    return (
        <uint32_t>decision.scores_skipped << DEGRADATION_SCORES_SKIPPED
        | <uint32_t>decision.fallback_only << DEGRADATION_FALLBACK_ONLY
        | <uint32_t>decision.bound_reached << DEGRADATION_BOUND_REACHED
        | <uint32_t>decision.budget_waits << DEGRADATION_BUDGET_WAIT
        | <uint32_t>decision.consent_stale << DEGRADATION_CONSENT_STALE
    )


cdef inline uint32_t header_left_out(const Header* header) noexcept nogil:
    return <uint32_t>header.log_away << DEGRADATION_LOG_AWAY


cdef void write_reasons(
    Decision* decision, Writer* writer, const ActionSpec* action
) noexcept nogil:
    """The conditions that admitted the action, gate by gate."""
    cdef uint32_t written = 0
    cdef uint32_t gate, i
    for gate in range(GATE_CONTACT):
        for i in range(action.gates[gate].count):
            if written == REASONS_MAX:
                return
            written += 1
            write_text_always(
                writer, 10, decision.playbook.conditions[action.gates[gate].items[i]].text
            )


cdef void write_proposition(
    Decision* decision, Writer* writer, uint32_t number, const Slot* slot
) noexcept nogil:
    cdef const ActionSpec* action = slot.action
    cdef size_t start = message_open(writer, 2)
    cdef size_t entry
    cdef uint32_t i
    cdef Value propensity
    write_uint(writer, 1, number)
    write_text(writer, 2, action.name)
    if slot.treatment != NULL:
        write_text(writer, 3, slot.treatment.name)
    write_text(writer, 4, action.group)
    if slot.candidate != NULL:
        write_double(writer, 5, slot.candidate.priority)
    if action.factors[FACTOR_PROPENSITY_OUTCOME].given and not decision.leave:
        begin_action(decision, action)
        propensity = factor_value(decision, FACTOR_PROPENSITY_OUTCOME)
        if propensity.tag == TAG_DOUBLE:
            write_double_always(writer, 6, propensity.as_.d)
    write_double(writer, 7, slot.propensity_logging)
    write_uint(writer, 8, slot.fallback)
    if slot.treatment != NULL:
        for i in range(slot.treatment.content_count):
            entry = message_open(writer, 9)
            write_text_always(writer, 1, slot.treatment.content[2 * i])
            write_text_always(writer, 2, slot.treatment.content[2 * i + 1])
            message_close(writer, entry)
    if not slot.fallback:
        write_reasons(decision, writer, action)
    write_uint(writer, 11, slot.explored)
    message_close(writer, start)


cdef void write_placement(
    Decision* decision, Writer* writer, const PlacementSpec* placement, const Ranking* ranking
) noexcept nogil:
    cdef size_t start = message_open(writer, 7)
    cdef uint32_t i
    write_text(writer, 1, placement.name)
    for i in range(ranking.slots_filled):
        write_proposition(decision, writer, i, &ranking.slots[i])
    message_close(writer, start)


cdef const char* error_text(uint8_t code) noexcept nogil:
    if code < ERROR_TEXTS_COUNT:
        return ERROR_TEXTS[code]
    return "unknown error"


cdef void write_error(
    Decision* decision, Writer* writer, uint32_t missing, uint32_t error, const Value* value
) noexcept nogil:
    """Which input was unset, or what else went wrong."""
    if value.tag != TAG_ERROR:
        return
    if value.extra != SLOT_NONE and value.extra < decision.playbook.inputs_count:
        write_text(writer, missing, decision.playbook.inputs[value.extra].name)
    write_text(writer, error, text_of(error_text(value.flag)))


cdef void write_factor(
    Writer* writer, const Candidate* candidate, const char* name, uint32_t factor
) noexcept nogil:
    cdef size_t entry = message_open(writer, 7)
    write_text_always(writer, 1, text_of(name))
    write_double_always(writer, 2, candidate.factors[factor])
    message_close(writer, entry)


cdef void write_factors(Writer* writer, const Candidate* candidate) noexcept nogil:
    """By name, as a deterministic encoder writes a map."""
    write_factor(writer, candidate, "context_weight", FACTOR_CONTEXT_WEIGHT)
    write_factor(writer, candidate, "lever", FACTOR_LEVER)
    write_factor(writer, candidate, "propensity_outcome", FACTOR_PROPENSITY_OUTCOME)
    write_factor(writer, candidate, "value", FACTOR_VALUE)


cdef inline double first_chance(const Ranking* ranking, const Candidate* candidate) noexcept nogil:
    """The probability with which a ranked candidate is chosen for the first slot."""
    if ranking.exploring != NULL:
        return ranking.exploring.first[candidate.order]
    return ranking.slots_filled and ranking.slots[0].candidate == candidate


cdef void write_candidate(
    Decision* decision, Writer* writer, const Candidate* candidate, const Ranking* ranking
) noexcept nogil:
    """A candidate; `ranking` is NULL for one that was dropped before it was ranked."""
    cdef size_t start = message_open(writer, 2)
    cdef const Value* error = &candidate.error
    write_text(writer, 1, decision.playbook.actions[candidate.action].name)
    write_uint(writer, 2, candidate.fate)
    if candidate.fate == FATE_NO_CONSENT or candidate.fate == FATE_CONSENT_STALE:
        write_no_consent(decision, writer, candidate.condition)
    elif candidate.condition >= 0:
        write_text(writer, 3, decision.playbook.conditions[candidate.condition].text)
        if decision.states[candidate.condition] == CONDITION_ERROR:
            error = &decision.errors[candidate.condition]
    write_error(decision, writer, 4, 5, error)
    if ranking != NULL:
        write_double(writer, 6, candidate.priority)
        write_factors(writer, candidate)
        write_double(writer, 10, first_chance(ranking, candidate))
    if candidate.fate == FATE_CONTACT_POLICY:
        write_contact(decision, writer, candidate.condition)
    message_close(writer, start)


cdef void write_explanation(
    Decision* decision, Writer* writer, const PlacementSpec* placement, Ranking* ranking
) noexcept nogil:
    cdef size_t start = message_open(writer, 15)
    cdef uint32_t i
    write_text(writer, 1, placement.name)
    for i in range(ranking.ranked):
        if not decision.scores_skipped:
            keep_factors(decision, &ranking.candidates[i])
        write_candidate(decision, writer, &ranking.candidates[i], ranking)
    # They were kept from the end, so this is the playbook's order.
    for i in range(ranking.dropped):
        write_candidate(
            decision, writer, &ranking.candidates[placement.candidates_count - 1 - i], NULL
        )
    message_close(writer, start)


cdef void write_triggers(Decision* decision, Writer* writer, uint32_t field) noexcept nogil:
    """How the person stands to each trigger, as nextbest.v1.TriggerExplanation."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef const WatchSpec* watch = playbook.watch
    cdef Value value
    cdef uint32_t i
    for i in range(watch.segments.count):
        write_segment_trigger(decision, writer, field, watch.segments.items[i])
    for i in range(watch.grades.count):
        value = grade_value(decision, watch.grades.items[i])
        write_trigger(writer, field, "grade ", playbook.grades[watch.grades.items[i]].name, &value)
    if watch.stage:
        value = stage_value(decision)
        write_trigger(writer, field, "stage", text_of(""), &value)


cdef void write_trigger(
    Writer* writer, uint32_t field, const char* kind, Text name, const Value* value
) noexcept nogil:
    cdef size_t start = message_open(writer, field)
    write_named(writer, 1, kind, name)
    if value.tag == TAG_STRING:
        write_text(writer, 2, value_text(value))
    message_close(writer, start)


cdef void write_segment_trigger(
    Decision* decision, Writer* writer, uint32_t field, uint32_t index
) noexcept nogil:
    cdef const SegmentSpec* segment = &decision.playbook.segments[index]
    cdef int64_t failing = first_failing(decision, &segment.conditions)
    cdef size_t start = message_open(writer, field)
    write_named(writer, 1, "segment ", segment.name)
    write_text(writer, 2, text_of("in" if failing < 0 else "out"))
    if failing >= 0:
        write_text(writer, 3, decision.playbook.conditions[failing].text)
        if decision.states[failing] == CONDITION_ERROR:
            write_error(decision, writer, 4, 5, &decision.errors[failing])
    message_close(writer, start)


cdef void write_named(Writer* writer, uint32_t field, const char* kind, Text name) noexcept nogil:
    """A kind and a name as one text."""
    cdef size_t start = message_open(writer, field)
    put_raw(writer, kind, strlen(kind))
    put_raw(writer, name.data, name.length)
    message_close(writer, start)


cdef void write_score_reasons(
    Writer* writer, const ScorecardSpec* card, const ScoreResult* result
) noexcept nogil:
    """Reason codes by descending share of the points; ties in the card's order."""
    cdef const LedgerLine* best[SCORE_REASONS_MAX]
    cdef const LedgerLine* line
    cdef uint32_t count = 0, i, at
    cdef int64_t share
    for i in range(result.lines_count):
        line = &result.lines[i]
        share = abs_points(line.points)
        if line.rule < 0 or share == 0:
            continue
        if count == SCORE_REASONS_MAX:
            if share <= abs_points(best[count - 1].points):
                continue
            count -= 1
        at = count
        while at and share > abs_points(best[at - 1].points):
            best[at] = best[at - 1]
            at -= 1
        best[at] = line
        count += 1
    for i in range(count):
        write_text_always(writer, 3, card.rules[best[i].rule].reason)


cdef inline int64_t abs_points(int64_t points) noexcept nogil:
    return -points if points < 0 else points


cdef void write_ledger(
    Decision* decision, Writer* writer, const ScorecardSpec* card, const ScoreResult* result
) noexcept nogil:
    """The lines with points, with a count, or with a missing input."""
    cdef const LedgerLine* line
    cdef const RuleSpec* rule
    cdef size_t start
    cdef uint32_t i
    for i in range(result.lines_count):
        line = &result.lines[i]
        if line.points == 0 and line.count == 0 and line.missing == SLOT_NONE:
            continue
        start = message_open(writer, 4)
        if line.rule < 0:
            write_text(writer, 1, text_of("cap"))
            write_uint(writer, 2, <uint64_t>line.points)
        else:
            rule = &card.rules[line.rule]
            write_text(writer, 1, rule.reason)
            write_uint(writer, 2, <uint64_t>line.points)
            write_uint(writer, 3, <uint64_t>line.count)
            write_text(writer, 4, rule.text)
            if line.missing != SLOT_NONE and line.missing < decision.playbook.inputs_count:
                write_text(writer, 5, decision.playbook.inputs[line.missing].name)
        message_close(writer, start)


cdef void write_score(
    Decision* decision, Writer* writer, uint32_t field, uint32_t index, bint ledger
) noexcept nogil:
    cdef const ScorecardSpec* card = &decision.playbook.scorecards[index]
    cdef const ScoreResult* result = score_result(decision, index)
    cdef size_t start = message_open(writer, field)
    write_text(writer, 1, card.name)
    write_uint(writer, 2, <uint64_t>result.points)
    write_score_reasons(writer, card, result)
    if ledger:
        write_ledger(decision, writer, card, result)
    message_close(writer, start)


cdef void write_grade(
    Decision* decision, Writer* writer, uint32_t field, uint32_t index
) noexcept nogil:
    cdef Value value = grade_value(decision, index)
    cdef size_t start = message_open(writer, field)
    write_text(writer, 1, decision.playbook.grades[index].name)
    if value.tag == TAG_STRING:
        write_text(writer, 2, value_text(&value))
    message_close(writer, start)


cdef void write_stage(Decision* decision, Writer* writer, uint32_t field) noexcept nogil:
    if decision.playbook.stages_count:
        write_text(writer, field, decision.playbook.stages[stage_index(decision)])


cdef void write_segments(Decision* decision, Writer* writer, uint32_t field) noexcept nogil:
    cdef uint32_t i
    for i in range(decision.playbook.segments_count):
        if in_segment(decision, i):
            write_text_always(writer, field, decision.playbook.segments[i].name)
