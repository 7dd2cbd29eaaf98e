"""Exploration: a slot's action is drawn, and the answer tells with what probability.

An explorer gives each candidate that may take the slot its chance, from what the decision knows;
all explorers share the draw.  Pure: a draw is a hash of the seed, the decision's id, the
placement's name and the slot.
"""

cdef enum Explorer:
    # The values of plan.ExplorationKind.
    EXPLORER_NONE = 0
    EXPLORER_EPSILON_GREEDY = 1
    EXPLORER_SOFTMAX = 2


cdef extern from "decide/chance.h" nogil:
    double exp_down(double x)


cdef Exploring* exploring_begin(
    Arena* arena, const PlacementSpec* placement, const DecideMessage* message
) noexcept nogil:
    """Prepare to draw a placement's actions; NULL when the arena is full."""
    cdef uint32_t count = placement.candidates_count
    cdef Text name = placement.name
    cdef Text id = message.decision_id
    cdef Exploring* exploring = <Exploring*>arena_zeroed(arena, sizeof(Exploring))
    if exploring == NULL:
        return NULL
    exploring.key = XXH3_64bits_withSeed(
        name.data, name.length, XXH3_64bits_withSeed(id.data, id.length, message.seed)
    )
    exploring.candidates = <Candidate**>arena_zeroed(arena, count * sizeof(Candidate*))
    exploring.chances = <double*>arena_zeroed(arena, count * sizeof(double))
    if exploring.candidates == NULL or exploring.chances == NULL:
        return NULL
    if message.explain:
        exploring.first = <double*>arena_zeroed(arena, count * sizeof(double))
        if exploring.first == NULL:
            return NULL
    return exploring


cdef void explore_slots(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, uint8_t* taken
) noexcept nogil:
    """Draw an action for each slot from the candidates that may still take it."""
    cdef Exploring* exploring = ranking.exploring
    cdef Candidate* candidate
    cdef Slot* slot
    cdef uint32_t best, drawn
    line_up(decision, placement, ranking, taken)
    while exploring.count and ranking.slots_filled < placement.slots:
        best = best_of(exploring)
        give_chances(placement, exploring, best)
        if ranking.slots_filled == 0 and exploring.first != NULL:
            keep_first(exploring)
        drawn = draw(exploring, ranking.slots_filled)
        candidate = exploring.candidates[drawn]
        slot = take_slot(
            decision, placement, ranking, candidate,
            choose_treatment(
                decision, placement, &decision.playbook.actions[candidate.action], NULL
            ),
            taken,
        )
        slot.propensity_logging = exploring.chances[drawn]
        slot.explored = drawn != best
        decision.explored |= slot.explored
        leave_out(decision, placement, ranking, candidate)


cdef void line_up(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, uint8_t* taken
) noexcept nogil:
    """Put what may take a slot in the playbook's order, however it was ranked or explained.

    A treatment's conditions are met here by all, since whether each has one bears on every chance.
    """
    cdef Exploring* exploring = ranking.exploring
    cdef Candidate* candidate
    cdef uint32_t i
    for i in range(ranking.ranked):
        exploring.candidates[ranking.candidates[i].order] = &ranking.candidates[i]
    for i in range(placement.candidates_count):
        candidate = exploring.candidates[i]
        if candidate != NULL and may_take(decision, placement, ranking, candidate, taken):
            exploring.candidates[exploring.count] = candidate
            exploring.count += 1


cdef inline bint may_take(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, Candidate* candidate,
    const uint8_t* taken,
) noexcept nogil:
    """Whether a candidate may have the first slot; else its fate says why not."""
    cdef const ActionSpec* action = &decision.playbook.actions[candidate.action]
    if taken[candidate.action]:
        give_fate(ranking, candidate, FATE_TAKEN)
        return False
    if action.treatments_count and (
        treatment_or_fate(decision, placement, ranking, candidate) == NULL
    ):
        return False
    return may_contact(decision, placement, ranking, candidate)


cdef inline bint may_contact(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, Candidate* candidate
) noexcept nogil:
    """Whether what this decision proposes already leaves something of the candidate's caps."""
    candidate.condition = contact_spent(
        decision, placement, &decision.playbook.actions[candidate.action]
    )
    if candidate.condition >= 0:
        give_fate(ranking, candidate, FATE_CONTACT_POLICY)
    return candidate.condition < 0


cdef uint32_t best_of(const Exploring* exploring) noexcept nogil:
    """Where the best of the candidates stands; of equals the first in the playbook."""
    cdef uint32_t best = 0
    cdef uint32_t i
    for i in range(1, exploring.count):
        if exploring.candidates[i].priority > exploring.candidates[best].priority:
            best = i
    return best


cdef void give_chances(
    const PlacementSpec* placement, Exploring* exploring, uint32_t best
) noexcept nogil:
    """Give each candidate its chance of the slot; they add up to 1."""
    if placement.explorer == EXPLORER_EPSILON_GREEDY:
        chances_epsilon_greedy(exploring, best, placement.explorer_parameter)
    else:
        chances_softmax(exploring, best, placement.explorer_parameter)


cdef void chances_epsilon_greedy(
    Exploring* exploring, uint32_t best, double epsilon
) noexcept nogil:
    cdef double share = epsilon / exploring.count
    cdef uint32_t i
    for i in range(exploring.count):
        exploring.chances[i] = share
    exploring.chances[best] = (1.0 - epsilon) + share


cdef void chances_softmax(Exploring* exploring, uint32_t best, double temperature) noexcept nogil:
    """Weights are against the best one's, which is 1: no priority makes one too large."""
    cdef double most = exploring.candidates[best].priority
    cdef double sum = 0.0
    cdef uint32_t i
    for i in range(exploring.count):
        exploring.chances[i] = exp_down((exploring.candidates[i].priority - most) / temperature)
        sum += exploring.chances[i]
    for i in range(exploring.count):
        exploring.chances[i] /= sum


cdef void keep_first(Exploring* exploring) noexcept nogil:
    cdef uint32_t i
    for i in range(exploring.count):
        exploring.first[exploring.candidates[i].order] = exploring.chances[i]


cdef uint32_t draw(const Exploring* exploring, uint32_t slot) noexcept nogil:
    """Draw a candidate by the chances; never one whose chance is 0."""
    # 53 bits: as many as a double from 0 to below 1 has.
    cdef double at = <double>(split_mix(exploring.key, slot + 1) >> 11) / 9007199254740992.0
    cdef uint32_t last = 0
    cdef uint32_t i
    for i in range(exploring.count):
        if exploring.chances[i] > 0.0:
            last = i
            at -= exploring.chances[i]
            if at < 0.0:
                break
    # Rounding may leave a rest beyond the last one.
    return last


cdef void leave_out(
    Decision* decision, const PlacementSpec* placement, Ranking* ranking, const Candidate* drawn
) noexcept nogil:
    """Drop what was drawn, and what it now keeps out of every later slot."""
    cdef Exploring* exploring = ranking.exploring
    cdef Candidate* candidate
    cdef uint32_t count = exploring.count
    cdef bint full = breaks_diversity(placement, ranking, drawn)
    cdef uint32_t i
    exploring.count = 0
    if ranking.slots_filled == placement.slots:
        # Nobody asks any more: the rest is outranked.
        return
    for i in range(count):
        candidate = exploring.candidates[i]
        if candidate == drawn:
            continue
        if full and placement.diversity_by[candidate.order] == placement.diversity_by[drawn.order]:
            give_fate(ranking, candidate, FATE_DIVERSITY)
        elif may_contact(decision, placement, ranking, candidate):
            exploring.candidates[exploring.count] = candidate
            exploring.count += 1
