"""Gates, priorities and slots: from a placement's candidates to its propositions."""

cdef enum Fate:
    FATE_PROPOSED = 1
    FATE_OUTRANKED = 2
    FATE_OUTSIDE_VALIDITY = 3
    FATE_NOT_ELIGIBLE = 4
    FATE_NOT_APPLICABLE = 5
    FATE_NOT_SUITABLE = 6
    FATE_NO_TREATMENT = 7
    FATE_NO_PRIORITY = 8
    FATE_DIVERSITY = 9
    FATE_TAKEN = 10
    FATE_CONTACT_POLICY = 11
    FATE_NO_CONSENT = 12
    FATE_CONSENT_STALE = 13


cdef enum:
    # So many of the best are looked for one by one; the rest is sorted when more are needed.
    SELECT_MAX = 16
    # For the count of each gate: a playbook has 16,384 actions at most.
    HELD_BITS = 16
    HELD_MOST = 65535


cdef struct Candidate:
    double priority
    double factors[FACTORS]
    uint32_t action
    # Its place among the placement's candidates: what breaks ties.
    uint32_t order
    uint8_t fate
    # The condition that dropped it; -1 for none, less for a closed channel.
    int64_t condition
    # The error of its formula or condition; TAG_NULL for none.
    Value error


cdef struct Slot:
    Candidate* candidate
    const ActionSpec* action
    const TreatmentSpec* treatment
    bint fallback
    # The probability with which it was chosen, and whether a better one was passed over.
    double propensity_logging
    bint explored


cdef struct Exploring:
    # What a slot's action is drawn from: the candidates that may take it, in the playbook's order,
    # and each one's chance.
    Candidate** candidates
    double* chances
    uint32_t count
    # Each candidate's chance of the first slot, by its order; NULL where nothing is explained.
    double* first
    # Of all draws for the placement.
    uint64_t key


cdef struct Ranking:
    # The candidates of one placement: ranked ones first, then the dropped ones.
    Candidate* candidates
    uint32_t ranked
    uint32_t dropped
    Slot* slots
    uint32_t slots_filled
    # How many candidates met each fate.
    uint32_t fates[FATES]
    # NULL where the best candidates have the slots.
    Exploring* exploring


cdef Value factor_value(Decision* decision, uint32_t factor) noexcept nogil:
    """One factor of the action being ranked; computed once for each action."""
    cdef const FactorSpec* spec = &decision.action.factors[factor]
    cdef Value value
    if spec.expression < 0:
        decision.factors[factor] = spec.constant
        return value_double(spec.constant)
    if decision.factor_states[factor] == CONDITION_TRUE:
        return value_double(decision.factors[factor])
    if decision.factor_states[factor] != CONDITION_UNKNOWN:
        return decision.factor_error
    # An expression that reads its own factor is refused at publish.
    decision.factor_states[factor] = CONDITION_ERROR
    decision.factor_error = value_error(ERROR_NO_OVERLOAD, SLOT_NONE)
    value = decision_evaluate(
        decision, &decision.playbook.expressions[spec.expression].program
    )
    if value.tag == TAG_INT:
        value = value_double(<double>value.as_.i)
    if value.tag != TAG_DOUBLE:
        decision.factor_error = (
            value if value.tag == TAG_ERROR else value_error(ERROR_NO_OVERLOAD, SLOT_NONE)
        )
        return decision.factor_error
    decision.factor_states[factor] = CONDITION_TRUE
    decision.factors[factor] = value.as_.d
    return value


cdef Value product_of_factors(Decision* decision) noexcept nogil:
    cdef double product = 1.0
    cdef Value value
    cdef uint32_t i
    for i in range(FACTORS):
        value = factor_value(decision, i)
        if value.tag == TAG_ERROR:
            return value
        product *= value.as_.d
    return value_double(product)


cdef void begin_action(Decision* decision, const ActionSpec* action) noexcept nogil:
    """Forget what expressions have read of the action before."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef const InputSpec* spec
    cdef Value* input
    cdef uint32_t i
    decision.action = action
    memset(decision.factor_states, 0, sizeof(decision.factor_states))
    for i in range(playbook.action_inputs_count):
        spec = &playbook.inputs[playbook.action_inputs[i]]
        input = &decision.machine.inputs[playbook.action_inputs[i]]
        input.tag = TAG_ABSENT
        if spec.kind == INPUT_FACTOR and action.factors[spec.index].expression < 0:
            # A constant needs no call to resolve it.
            input[0] = value_double(action.factors[spec.index].constant)


cdef bint prioritise(
    Decision* decision, const PlacementSpec* placement, Candidate* candidate
) noexcept nogil:
    """Compute a candidate's priority; False when it has none."""
    cdef Value value
    begin_action(decision, &decision.playbook.actions[candidate.action])
    if placement.arbitration < 0:
        value = product_of_factors(decision)
    else:
        value = decision_evaluate(
            decision, &decision.playbook.expressions[placement.arbitration].program
        )
    if value.tag == TAG_INT:
        value = value_double(<double>value.as_.i)
    if value.tag == TAG_DOUBLE and isfinite(value.as_.d):
        candidate.priority = value.as_.d
        return True
    candidate.fate = FATE_NO_PRIORITY
    candidate.error = value if value.tag == TAG_ERROR else value_error(ERROR_RANGE, SLOT_NONE)
    return False


cdef inline uint8_t consent_fate(const Decision* decision) noexcept nogil:
    """What becomes of a candidate for which a consent does not hold."""
    return FATE_CONSENT_STALE if decision.consent_stale else FATE_NO_CONSENT


cdef inline uint32_t gate_fate(const Decision* decision, uint32_t gate) noexcept nogil:
    """What becomes of a candidate that a gate holds back."""
    if gate == GATE_CONSENT:
        return consent_fate(decision)
    if gate == GATE_CONTACT:
        return FATE_CONTACT_POLICY
    return FATE_NOT_ELIGIBLE + gate - GATE_ELIGIBILITY


cdef inline bint is_valid(const Decision* decision, uint32_t index) noexcept nogil:
    """Whether the moment lies within an action's validity."""
    cdef const ActionSpec* action = &decision.playbook.actions[index]
    return (action.valid_from_us == 0 or decision.now_us >= action.valid_from_us) and (
        action.valid_until_us == 0 or decision.now_us < action.valid_until_us
    )


cdef inline bint suits(
    Decision* decision, const PlacementSpec* placement, Candidate* candidate
) noexcept nogil:
    """As `qualifies`, of a valid action that no gate of its own holds back: not asked again."""
    cdef int64_t failing = -1
    if placement.contact.count and not decision.contact_clear:
        failing = first_failing(decision, &placement.contact)
    if failing >= 0:
        candidate.fate = FATE_CONTACT_POLICY
        candidate.condition = failing
    return failing < 0


cdef bint qualifies(
    Decision* decision, const PlacementSpec* placement, Candidate* candidate
) noexcept nogil:
    """Pass the gates in their order; else say which one held the candidate back."""
    cdef const ActionSpec* action = &decision.playbook.actions[candidate.action]
    cdef int64_t failing
    cdef uint32_t gate
    if not is_valid(decision, candidate.action):
        candidate.fate = FATE_OUTSIDE_VALIDITY
        return False
    for gate in range(POLICY_GATES):
        failing = first_failing(decision, &action.gates[gate])
        if failing < 0 and gate == GATE_CONTACT:
            failing = first_failing(decision, &placement.contact)
        if failing >= 0:
            candidate.fate = <uint8_t>gate_fate(decision, gate)
            candidate.condition = failing
            return False
    return True


cdef extern from *:
    """
    #define lowest_bit(bits) __builtin_ctz(bits)
    """
    uint32_t lowest_bit(uint32_t bits) noexcept nogil


cdef inline const uint32_t* gate_ends(const Decision* decision) noexcept nogil:
    """Where each action's items end: without the rules of the contact policy where all hold."""
    if decision.contact_clear:
        return decision.playbook.gate_contacts
    return decision.playbook.gate_starts + 1


cdef uint32_t held_back(
    Decision* decision, uint32_t action, const uint32_t* ends
) noexcept nogil:
    """One more than the first gate that holds an action back; 0 for none."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef const uint32_t* at = playbook.gate_items + playbook.gate_starts[action]
    cdef const uint32_t* end = playbook.gate_items + ends[action]
    cdef const uint8_t* states = decision.states
    cdef uint8_t state
    # Two bits for each gate.
    cdef uint32_t held = 0
    if playbook.gates_shared:
        # Most are known by now: not to leave early saves a branch that nobody can predict.
        while at < end:
            state = states[gate_condition(at[0])]
            if state == CONDITION_UNKNOWN:
                if held and playbook.conditions[gate_condition(at[0])].spared:
                    break
                state = condition_evaluate(decision, gate_condition(at[0]))
            held |= <uint32_t>(state ^ CONDITION_TRUE) << (2 * gate_number(at[0]))
            at += 1
        return 1 + lowest_bit(held) // 2 if held else 0
    while at < end:
        if condition_state(decision, gate_condition(at[0])) != CONDITION_TRUE:
            return 1 + gate_number(at[0])
        at += 1
    return 0


cdef bint ranks_before(const Candidate& a, const Candidate& b) noexcept nogil:
    if a.priority != b.priority:
        return a.priority > b.priority
    return a.order < b.order


cdef void rank_placement(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, bint explain
) noexcept nogil:
    """Rank a placement's candidates, as far as there is time and the placement wants it."""
    cdef uint8_t leave = min(decision.leave, placement.degrade_to)
    if leave == LEAVE_RANKING:
        decision.fallback_only = True
        ranking.ranked = ranking.dropped = ranking.slots_filled = 0
        memset(ranking.fates, 0, sizeof(ranking.fates))
        return
    if channel_closed(decision, placement.declared):
        close_placement(decision, placement, ranking, explain)
        return
    if leave == LEAVE_SCORING:
        decision.scores_skipped = True
        # Without scores nothing tells how likely each one is to be.
        ranking.exploring = NULL
    rank_candidates(decision, placement, ranking, explain, leave == LEAVE_SCORING)


cdef void close_placement(
    const Decision* decision, const PlacementSpec* placement, Ranking* ranking, bint explain
) noexcept nogil:
    """Drop every candidate: the person is not to be contacted in the placement's channel."""
    cdef uint32_t last = placement.candidates_count
    cdef Candidate* candidate
    cdef uint32_t i
    ranking.ranked = ranking.slots_filled = 0
    ranking.dropped = last if explain else 0
    memset(ranking.fates, 0, sizeof(ranking.fates))
    ranking.fates[consent_fate(decision)] = last
    for i in range(ranking.dropped):
        candidate = &ranking.candidates[last - 1 - i]
        candidate.action = placement.candidates[i]
        candidate.order = i
        candidate.fate = consent_fate(decision)
        candidate.condition = closed_condition(placement.declared)
        candidate.error.tag = TAG_NULL


cdef void rank_in_order(Ranking* ranking) noexcept nogil:
    """Without scores, candidates stand in the playbook's order, of one priority."""
    cdef uint32_t i
    for i in range(ranking.ranked):
        ranking.candidates[i].priority = 0.0
        memset(ranking.candidates[i].factors, 0, sizeof(ranking.candidates[i].factors))


cdef inline uint64_t held_by(uint32_t by) noexcept nogil:
    """One, in the bits of a gate; the first one has no bits, and counts what the others do not."""
    return <uint64_t>(by != 1) << (HELD_BITS * ((by - 2) & 3))


cdef inline void count_held(
    const Decision* decision, Ranking* ranking, uint64_t held, uint32_t whole
) noexcept nogil:
    """Add what each gate has held back of `whole`, counted in a register: counting in memory, each
    candidate would wait for the one before it."""
    cdef uint32_t gate, count
    for gate in range(1, POLICY_GATES):
        count = held >> (HELD_BITS * (gate - 1)) & HELD_MOST
        ranking.fates[gate_fate(decision, gate)] += count
        whole -= count
    ranking.fates[gate_fate(decision, 0)] += whole


cdef void rank_candidates(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, bint explain,
    bint unscored,
) noexcept nogil:
    """Gate and rank; the dropped ones are kept, from the end, only to be explained."""
    cdef Candidate* candidate
    cdef uint32_t i
    # One more than the gate.
    cdef uint32_t by = 0
    cdef uint64_t held = 0
    cdef uint32_t held_whole = 0
    cdef uint32_t last = placement.candidates_count
    cdef const uint32_t* ends = gate_ends(decision)
    ranking.ranked = 0
    ranking.dropped = 0
    ranking.slots_filled = 0
    memset(ranking.fates, 0, sizeof(ranking.fates))
    for i in range(placement.candidates_count):
        if not explain:
            if placement.dated and not is_valid(decision, placement.candidates[i]):
                ranking.fates[<int>FATE_OUTSIDE_VALIDITY] += 1
                continue
            by = held_back(decision, placement.candidates[i], ends)
        if by:
            held += held_by(by)
            held_whole += 1
            continue
        candidate = &ranking.candidates[ranking.ranked]
        candidate.action = placement.candidates[i]
        candidate.order = i
        candidate.fate = FATE_OUTRANKED
        candidate.condition = -1
        candidate.error.tag = TAG_NULL
        if (
            qualifies(decision, placement, candidate) if explain
            else suits(decision, placement, candidate)
        ):
            ranking.ranked += 1
            continue
        ranking.fates[candidate.fate] += 1
        if explain:
            # Dropped ones fill the array from its end; there is a place for each.
            ranking.dropped += 1
            ranking.candidates[last - ranking.dropped] = candidate[0]
    count_held(decision, ranking, held, held_whole)
    step_end(decision.trace, STEP_ELIGIBILITY)
    if unscored:
        rank_in_order(ranking)
    else:
        prioritise_all(decision, placement, ranking, explain)
    step_end(decision.trace, STEP_SCORE)
    if explain:
        sort(ranking.candidates, ranking.candidates + ranking.ranked, &ranks_before)


cdef void prioritise_all(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, bint explain
) noexcept nogil:
    """Give every candidate its priority, and drop those that have none."""
    cdef uint32_t last = placement.candidates_count
    cdef uint32_t i = 0
    cdef Candidate dropped
    while i < ranking.ranked:
        if prioritise(decision, placement, &ranking.candidates[i]):
            i += 1
            continue
        dropped = ranking.candidates[i]
        ranking.fates[dropped.fate] += 1
        ranking.ranked -= 1
        ranking.candidates[i] = ranking.candidates[ranking.ranked]
        if explain:
            ranking.dropped += 1
            ranking.candidates[last - ranking.dropped] = dropped


cdef void bring_best(Ranking* ranking, uint32_t at) noexcept nogil:
    """Put the best of the candidates from `at` on there: few are needed, so none sorts all."""
    cdef uint32_t best = at
    cdef uint32_t i
    cdef Candidate other
    if at == SELECT_MAX:
        sort(ranking.candidates + at, ranking.candidates + ranking.ranked, &ranks_before)
    if at >= SELECT_MAX:
        return
    for i in range(at + 1, ranking.ranked):
        if ranks_before(ranking.candidates[i], ranking.candidates[best]):
            best = i
    if best != at:
        other = ranking.candidates[at]
        ranking.candidates[at] = ranking.candidates[best]
        ranking.candidates[best] = other


cdef void keep_factors(Decision* decision, Candidate* candidate) noexcept nogil:
    """Compute all factors of a ranked candidate, to be explained."""
    cdef Value value
    cdef uint32_t i
    begin_action(decision, &decision.playbook.actions[candidate.action])
    for i in range(FACTORS):
        value = factor_value(decision, i)
        # A factor that the formula did not need may be an error: not a number.
        candidate.factors[i] = value.as_.d if value.tag == TAG_DOUBLE else NAN


cdef const TreatmentSpec* choose_treatment(
    Decision* decision, const PlacementSpec* placement, const ActionSpec* action, int32_t* closed
) noexcept nogil:
    """The first treatment for the placement's channel whose conditions hold; NULL for none.

    `closed`, unless NULL and -1 before, is the channel of the first that the person is not to be
    contacted with.
    """
    cdef const TreatmentSpec* treatment
    cdef int32_t channel
    cdef uint32_t i
    for i in range(action.treatments_count):
        treatment = &action.treatments[i]
        if not suits_channel(treatment, placement.channel):
            continue
        channel = treatment_closed(decision, placement, treatment)
        if channel >= 0:
            if closed != NULL and closed[0] < 0:
                closed[0] = channel
        elif first_failing(decision, &treatment.conditions) < 0:
            return treatment
    return NULL


cdef bint suits_channel(const TreatmentSpec* treatment, Text channel) noexcept nogil:
    cdef uint32_t i
    if treatment.channels_count == 0 or channel.length == 0:
        return True
    for i in range(treatment.channels_count):
        if text_equal(treatment.channels[i], channel):
            return True
    return False


cdef bint breaks_diversity(
    const PlacementSpec* placement, const Ranking* ranking, const Candidate* candidate
) noexcept nogil:
    cdef uint32_t same = 0
    cdef uint32_t i
    cdef int32_t key
    if placement.diversity_max == 0:
        return False
    key = placement.diversity_by[candidate.order]
    for i in range(ranking.slots_filled):
        same += placement.diversity_by[ranking.slots[i].candidate.order] == key
    return same >= placement.diversity_max


cdef inline void give_fate(Ranking* ranking, Candidate* candidate, uint8_t fate) noexcept nogil:
    """For a ranked candidate, which counts as outranked until then."""
    candidate.fate = fate
    ranking.fates[fate] += 1
    ranking.fates[<int>FATE_OUTRANKED] -= 1


cdef inline Slot* take_slot(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, Candidate* candidate,
    const TreatmentSpec* treatment, uint8_t* taken,
) noexcept nogil:
    """Give the next slot to a candidate."""
    cdef Slot* slot = &ranking.slots[ranking.slots_filled]
    give_fate(ranking, candidate, FATE_PROPOSED)
    taken[candidate.action] = True
    slot.candidate = candidate
    slot.action = &decision.playbook.actions[candidate.action]
    contact_spend(decision, placement, slot.action)
    slot.treatment = treatment
    slot.fallback = False
    slot.propensity_logging = 1.0
    slot.explored = False
    ranking.slots_filled += 1
    return slot


cdef const TreatmentSpec* treatment_or_fate(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, Candidate* candidate
) noexcept nogil:
    """A ranked candidate's treatment; without one its fate says why not."""
    cdef int32_t closed = -1
    cdef const TreatmentSpec* treatment = choose_treatment(
        decision, placement, &decision.playbook.actions[candidate.action], &closed
    )
    if treatment == NULL and closed >= 0:
        candidate.condition = closed_condition(closed)
        give_fate(ranking, candidate, consent_fate(decision))
    elif treatment == NULL:
        give_fate(ranking, candidate, FATE_NO_TREATMENT)
    return treatment


cdef void fill_slots(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, uint8_t* taken
) noexcept nogil:
    """Give the slots to candidates, then to the fallback; `taken` marks the decision's actions."""
    ranking.fates[<int>FATE_OUTRANKED] = ranking.ranked
    if ranking.exploring != NULL:
        explore_slots(decision, placement, ranking, taken)
    else:
        take_best(decision, placement, ranking, taken)
    if placement.fallback >= 0 and ranking.slots_filled < placement.slots:
        fill_fallback(decision, placement, ranking)


cdef inline void take_best(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, uint8_t* taken
) noexcept nogil:
    """Give the slots to the best candidates."""
    cdef const ActionSpec* action
    cdef const TreatmentSpec* treatment
    cdef Candidate* candidate
    cdef uint32_t i
    for i in range(ranking.ranked):
        if ranking.slots_filled == placement.slots:
            break
        bring_best(ranking, i)
        candidate = &ranking.candidates[i]
        action = &decision.playbook.actions[candidate.action]
        treatment = NULL
        if taken[candidate.action]:
            give_fate(ranking, candidate, FATE_TAKEN)
            continue
        if breaks_diversity(placement, ranking, candidate):
            give_fate(ranking, candidate, FATE_DIVERSITY)
            continue
        if action.treatments_count:
            treatment = treatment_or_fate(decision, placement, ranking, candidate)
            if treatment == NULL:
                continue
        candidate.condition = contact_spent(decision, placement, action)
        if candidate.condition >= 0:
            give_fate(ranking, candidate, FATE_CONTACT_POLICY)
            continue
        take_slot(decision, placement, ranking, candidate, treatment, taken)


cdef void fill_fallback(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking
) noexcept nogil:
    """Put the fallback into the first empty slot, whatever its gates and other placements say.

    One of its treatments must suit the channel and the person, when it has any; and consents and
    the contact policy hold for it as for all else.
    """
    cdef const ActionSpec* action = &decision.playbook.actions[placement.fallback]
    cdef Slot* slot = &ranking.slots[ranking.slots_filled]
    cdef uint32_t i
    for i in range(ranking.slots_filled):
        if ranking.slots[i].action == action:
            return
    if channel_closed(decision, placement.declared):
        return
    if first_failing(decision, &action.gates[<int>GATE_CONSENT]) >= 0:
        return
    if first_failing(decision, &action.gates[<int>GATE_CONTACT]) >= 0:
        return
    if first_failing(decision, &placement.contact) >= 0:
        return
    if contact_spent(decision, placement, action) >= 0:
        return
    slot.candidate = NULL
    slot.action = action
    slot.treatment = choose_treatment(decision, placement, action, NULL)
    if slot.treatment == NULL and action.treatments_count:
        return
    slot.fallback = True
    slot.propensity_logging = 1.0
    slot.explored = False
    contact_spend(decision, placement, action)
    ranking.slots_filled += 1
