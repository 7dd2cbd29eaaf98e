"""What is told by name: which of a playbook's names have a place in the tallies.

A name keeps its place from one playbook to the next, so that what is counted under it does not
fall.  A place is given to another name only when none is free and no playbook that may be read
has the name.
"""

FATE_NAMES = (
    "", "proposed", "outranked", "outside_validity", "not_eligible", "not_applicable",
    "not_suitable", "no_treatment", "no_priority", "diversity", "taken",
    "contact_policy", "no_consent", "consent_stale",
)
DEGRADATION_NAMES = (
    "", "scores_skipped", "fallback_only", "bound_reached", "log_away", "budget_wait",
    "consent_stale",
)
# Stands for every name without a place.
OTHER_NAME = "_OTHER"
# By the values of DecisionAge.
DECISION_AGE_NAMES = ("", "recent", "expired", "unknown")


class DecisionCounts(NamedTuple):
    """Decisions over all threads; names without a place are counted as OTHER_NAME.

    decisions: answered, by placement; a batch's entries count each, and one that has to wait for a
    position may count those before it twice.
    fallbacks: slots that a placement's fallback filled.
    explored: slots for which another candidate than the best was drawn.
    candidates: by placement and fate (`FATE_NAMES`).
    propositions: by placement and action.  degraded: answers, by `DEGRADATION_NAMES`.
    repeated: answered as before.  failed: entries of batches, by gRPC code.
    exposures: to experiments, stored.  exposures_lost: those that could not be.
    outcomes: by the age of their decision (`DECISION_AGE_NAMES`).  outcomes_repeated: came again.
    crossings: of segments, grades and stages, told as events.  crossings_lost: those that could not
    be.  crossings_cut: too many of one write, or too long a chain.
    reservations: of propositions, under caps.  reservations_lost: those that could not be.
    reservations_confirmed: impressions that name what was proposed.  reservations_waited: decisions
    that waited for another one of the same person.
    """

    decisions: dict[str, int]
    fallbacks: dict[str, int]
    explored: dict[str, int]
    candidates: dict[tuple[str, str], int]
    propositions: dict[tuple[str, str], int]
    degraded: dict[str, int]
    repeated: int
    failed: dict[int, int]
    exposures: int
    exposures_lost: int
    outcomes: dict[str, int]
    outcomes_repeated: int
    crossings: int
    crossings_lost: int
    crossings_cut: int
    reservations: int
    reservations_lost: int
    reservations_confirmed: int
    reservations_waited: int


@cython.final
cdef class Places:
    """Places for at most so many names."""

    cdef dict by_name
    cdef list free

    def __cinit__(self, int most):
        self.by_name = {}
        self.free = list(range(most - 1, -1, -1))

    cdef list give(self, names, read):
        """Give places to `names`, in their order, and list the places given anew.

        Where too few are free, those are given away whose names are not here nor in `read`.
        """
        asked = [name for name in dict.fromkeys(names) if name not in self.by_name]
        if len(asked) > len(self.free):
            kept = {*names, *read}
            for name in [name for name in self.by_name if name not in kept]:
                self.free.append(self.by_name.pop(name))
        given = []
        for name in asked[: len(self.free)]:
            self.by_name[name] = place = self.free.pop()
            given.append(place)
        return given


@cython.final
cdef class Told:
    """Gives the first names of a playbook their places."""

    cdef Places placements
    cdef Places pairs
    # What was counted in each place before its name had it.
    cdef Tally before

    def __cinit__(self):
        self.placements = Places(PLACEMENTS_TOLD_MAX)
        self.pairs = Places(PAIRS_TOLD_MAX)

    cdef int tell(self, EngineState* state, Playbook playbook, list read) except -1:
        """Place the names of a playbook that no thread reads yet; threads may `read` others."""
        cdef Tally total
        cdef uint32_t place
        tally_total(state, &total)
        read_names = {name for other in read for name in placement_names(other.plan)}
        for place in self.placements.give(placement_names(playbook.plan), read_names):
            self.before.placements[place] = total.placements[place]
            self.before.pairs[PAIRS_TOLD_MAX + place] = total.pairs[PAIRS_TOLD_MAX + place]
        read_pairs = {pair for other in read for _, _, pair in pairs_of(other.plan)}
        for place in self.pairs.give([pair for _, _, pair in pairs_of(playbook.plan)], read_pairs):
            self.before.pairs[place] = total.pairs[place]
        self.place(playbook)
        return 0

    cdef int place(self, Playbook playbook) except -1:
        """Note the places where decisions look for them."""
        cdef PlacementSpec* placement
        cdef uint32_t i, j
        for i in range(playbook.state.placements_count):
            placement = &playbook.state.placements[i]
            name = playbook.plan.placements[i].name
            placement.told = self.placements.by_name.get(name, PLACEMENTS_TOLD_MAX)
            for j in range(placement.candidates_count + 1):
                placement.told_pairs[j] = PAIRS_TOLD_MAX + placement.told
        for i, j, pair in pairs_of(playbook.plan):
            if pair in self.pairs.by_name:
                playbook.state.placements[i].told_pairs[j] = self.pairs.by_name[pair]
        return 0

    cdef object counts(self, EngineState* state):
        """What was counted under each name."""
        cdef Tally total
        cdef size_t i
        cdef uint32_t place
        # Whole before anything is made, which may have the collector run others' code.
        placements = {**self.placements.by_name, OTHER_NAME: PLACEMENTS_TOLD_MAX}
        pairs = dict(self.pairs.by_name)
        for name, place in placements.items():
            pairs[name, OTHER_NAME] = PAIRS_TOLD_MAX + place
        tally_total(state, &total)
        for i in range(sizeof(Tally) // sizeof(uint64_t)):
            (<uint64_t*>&total)[i] -= (<uint64_t*>&self.before)[i]
        return decision_counts(&total, placements, pairs)


cdef list placement_names(plan):
    """Those that are to have a place."""
    return [each.name for each in plan.placements[:PLACEMENTS_TOLD_MAX]]


cdef list pairs_of(plan):
    """Those that are to have a place, each behind its placement's number and its own in that."""
    found = []
    names = set()
    for i, each in enumerate(plan.placements):
        for j, action in enumerate((*each.candidates, each.fallback)):
            if action < 0:
                continue
            pair = each.name, plan.actions[action].name
            # A fallback may be a candidate too.
            if len(names) == PAIRS_TOLD_MAX and pair not in names:
                return found
            names.add(pair)
            found.append((i, j, pair))
    return found


cdef object decision_counts(const Tally* total, dict placements, dict pairs):
    """What is not 0, by name."""
    return DecisionCounts(
        counted({name: total.placements[<int>i].decisions for name, i in placements.items()}),
        counted({name: total.placements[<int>i].fallbacks for name, i in placements.items()}),
        counted({name: total.placements[<int>i].explored for name, i in placements.items()}),
        counted({
            (name, FATE_NAMES[fate]): total.placements[<int>i].fates[fate]
            for name, i in placements.items()
            for fate in range(1, FATES)
        }),
        counted({pair: total.pairs[<int>i] for pair, i in pairs.items()}),
        counted({name: total.degraded[i] for i, name in enumerate(DEGRADATION_NAMES)}),
        total.repeated,
        counted({code: total.failed[code] for code in range(METERED_CODES)}),
        total.exposures,
        total.exposures_lost,
        {name: total.outcomes[age] for age, name in enumerate(DECISION_AGE_NAMES) if name},
        total.outcomes_repeated,
        total.crossings,
        total.crossings_lost,
        total.crossings_cut,
        total.reservations,
        total.reservations_lost,
        total.reservations_confirmed,
        total.reservations_waited,
    )


cdef dict counted(dict numbers):
    return {name: number for name, number in numbers.items() if number}


cdef uint64_t tally_shadow_skipped(EngineState* state) noexcept:
    """Decisions, over all threads, that a shadow was to decide again and had no room for."""
    cdef Meter* meter
    cdef uint64_t skipped = 0
    cdef int i
    for i in range(SEATS_MAX):
        meter = atomic_pointer_read(&state.meters[i])
        if meter != NULL:
            skipped += counter_read(&meter.tally.shadow_skipped)
    return skipped


cdef void tally_total(EngineState* state, Tally* total) noexcept:
    """Add up what all threads have counted."""
    cdef Meter* meter
    cdef int i
    cdef size_t j
    memset(total, 0, sizeof(Tally))
    for i in range(SEATS_MAX):
        meter = atomic_pointer_read(&state.meters[i])
        if meter != NULL:
            for j in range(sizeof(Tally) // sizeof(uint64_t)):
                (<uint64_t*>total)[j] += counter_read(<uint64_t*>&meter.tally + j)
