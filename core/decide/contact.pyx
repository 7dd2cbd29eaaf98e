"""The contact policy: may a person be contacted now; each rule is looked at once a decision."""

cdef enum ContactKind:
    CONTACT_CAP = 1


cdef Value contact_holds(Decision* decision, const ContactSpec* rule) noexcept nogil:
    """Whether a rule lets the person be contacted.

    An event a little ahead of the decision counts: clocks differ, and a cap is not to be passed.
    """
    cdef ContactCount* count = &decision.contact[rule - decision.playbook.contact]
    cdef int64_t from_us = decision.now_us - rule.window_us if rule.window_us else -1
    count.counted = decision_moments(
        decision, rule.counter, from_us, decision.now_us + AHEAD_US_MAX
    )
    return value_bool(count.counted < rule.limit)


cdef int64_t spent_of(Decision* decision, const Indexes* rules) noexcept nogil:
    """The first rule that lets nothing more be shown by this decision, or -1."""
    cdef const ContactSpec* rule
    cdef const ContactCount* count
    cdef uint32_t i
    for i in range(rules.count):
        rule = decision.playbook.conditions[rules.items[i]].contact
        count = &decision.contact[rule - decision.playbook.contact]
        if rule.shown and count.counted + count.given >= rule.limit:
            return rules.items[i]
    return -1


cdef int64_t contact_spent(
    Decision* decision, const PlacementSpec* placement, const ActionSpec* action
) noexcept nogil:
    """The cap that what this decision proposes already has used up, or -1."""
    cdef int64_t found = spent_of(decision, &action.gates[<int>GATE_CONTACT])
    return found if found >= 0 else spent_of(decision, &placement.contact)


cdef void spend_of(Decision* decision, const Indexes* rules) noexcept nogil:
    cdef const ContactSpec* rule
    cdef uint32_t i
    for i in range(rules.count):
        rule = decision.playbook.conditions[rules.items[i]].contact
        decision.contact[rule - decision.playbook.contact].given += rule.shown


cdef void contact_spend(
    Decision* decision, const PlacementSpec* placement, const ActionSpec* action
) noexcept nogil:
    """Count a proposition against the caps that it falls under."""
    spend_of(decision, &action.gates[<int>GATE_CONTACT])
    spend_of(decision, &placement.contact)


cdef void write_contact(
    const Decision* decision, Writer* writer, int64_t condition
) noexcept nogil:
    """What a rule has counted and allows, as fields of nextbest.v1.CandidateExplanation."""
    cdef const ContactSpec* rule = decision.playbook.conditions[condition].contact
    cdef const ContactCount* count = &decision.contact[rule - decision.playbook.contact]
    write_uint(writer, 8, <uint64_t>(count.counted + count.given))
    write_uint(writer, 9, rule.limit)
