"""Tallies: what a serving thread counts of its decisions.

Names of the playbook have places in it, which `told.pyx` gives out.
"""

cdef enum:
    # Placements, and pairs of a placement and an action, that are told by name.
    PLACEMENTS_TOLD_MAX = 100
    PAIRS_TOLD_MAX = 1000
    # One more than the last fate of decide/arbitrate.pyx.
    FATES = 14
    # One more than the last Degradation of the contract.
    DEGRADATIONS = 7
    # One more than the last DecisionAge of the contract.
    DECISION_AGES = 4
    # gRPC's codes.
    METERED_CODES = 17


cdef struct PlacementTally:
    uint64_t decisions
    uint64_t fallbacks
    uint64_t explored
    uint64_t fates[FATES]


cdef struct Tally:
    # Counters alone: they are added up as one array.  The last placement is all that have no place.
    PlacementTally placements[PLACEMENTS_TOLD_MAX + 1]
    # What was proposed: the pairs, then for each placement its actions without a place.
    uint64_t pairs[PAIRS_TOLD_MAX + PLACEMENTS_TOLD_MAX + 1]
    uint64_t degraded[DEGRADATIONS]
    # Answered as before.
    uint64_t repeated
    # Exposures to experiments that were stored, and that could not be.
    uint64_t exposures
    uint64_t exposures_lost
    # Outcomes by DecisionAge, and those that came again.
    uint64_t outcomes[DECISION_AGES]
    uint64_t outcomes_repeated
    # Crossings that were told, that could not be, and that were too many for one write.
    uint64_t crossings
    uint64_t crossings_lost
    uint64_t crossings_cut
    # Decisions that a shadow was to decide again and had no room for.
    uint64_t shadow_skipped
    # Reservations under caps: made, not to be made, confirmed by impressions; and decisions that
    # waited for another one of the same person.
    uint64_t reservations
    uint64_t reservations_lost
    uint64_t reservations_confirmed
    uint64_t reservations_waited
    # Entries of a batch that failed, by code.
    uint64_t failed[METERED_CODES]
