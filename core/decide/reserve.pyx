"""Reservations: what decisions have proposed under a cap, until an impression confirms it.

A reservation is an event of the engine's own, kept by a counter as a moment and the key of its
proposition: 26 bits of the decision's id, 6 of the slot, 18 of the action and 14 of the placement.
An impression that names its decision and slot has the same key, where it names action and
placement, too; what it does not name is 0 and stands for any.  Names of one tag are counted
together, so that a cap is reached sooner and never later.
"""

cdef enum:
    RESERVE_ACTION_BITS = 18
    RESERVE_PLACEMENT_BITS = 14
    RESERVE_SLOT_BITS = 6
    # Of the key: the decision and the slot.
    RESERVE_WHOSE_SHIFT = 32
    # In place of a proposition: whatever a cap allows is taken.
    RESERVED_ALL = 0


cdef inline uint32_t tag_of(Text name, uint32_t bits) noexcept nogil:
    """From 1 to below 2 ** bits."""
    return 1 + <uint32_t>(XXH3_64bits(name.data, name.length) % ((<uint64_t>1 << bits) - 1))


cdef inline uint32_t action_tag(Text name) noexcept nogil:
    return tag_of(name, RESERVE_ACTION_BITS)


cdef inline uint32_t placement_tag(Text name) noexcept nogil:
    return tag_of(name, RESERVE_PLACEMENT_BITS)


cdef inline uint32_t decision_tag(Text decision_id) noexcept nogil:
    return <uint32_t>(
        XXH3_64bits(decision_id.data, decision_id.length) >> (32 + RESERVE_SLOT_BITS)
    )


cdef Value outcome_key(const TrackMessage* message) noexcept nogil:
    """Which proposition an event is about; null where it names no decision."""
    cdef const Entry* entry
    cdef uint32_t action = 0, placement = 0
    cdef uint64_t whose
    cdef uint32_t i
    if message.decision_id.length == 0:
        return value_null()
    for i in range(message.properties.count):
        entry = &message.properties.items[i]
        if entry.value.tag != TAG_STRING:
            continue
        if text_equal(entry.name, text_of("action")):
            action = action_tag(value_text(&entry.value))
        elif text_equal(entry.name, text_of("placement")):
            placement = placement_tag(value_text(&entry.value))
    whose = decision_tag(message.decision_id) << RESERVE_SLOT_BITS | (
        message.slot & ((1 << RESERVE_SLOT_BITS) - 1)
    )
    return value_int(<int64_t>(
        whose << RESERVE_WHOSE_SHIFT | <uint64_t>action << RESERVE_PLACEMENT_BITS | placement
    ))


cdef inline uint32_t action_of(uint64_t key) noexcept nogil:
    return <uint32_t>key >> RESERVE_PLACEMENT_BITS


cdef inline uint32_t placement_of(uint64_t key) noexcept nogil:
    return <uint32_t>key & ((1 << RESERVE_PLACEMENT_BITS) - 1)


cdef inline bint confirms(uint64_t shown, uint64_t reserved) noexcept nogil:
    return (shown ^ reserved) >> RESERVE_WHOSE_SHIFT == 0 and (
        action_of(shown) == 0 or action_of(shown) == action_of(reserved)
    ) and (placement_of(shown) == 0 or placement_of(shown) == placement_of(reserved))


cdef bint overflowed(
    const MomentCell* cells, uint32_t count, const ReservationSpec* spec, int64_t now_us
) noexcept nogil:
    """Whether a full bucket may have dropped a reservation that still counts."""
    cdef uint32_t first = 0, i
    for i in range(1, count + 1):
        if i == count or cells[i].bucket != cells[first].bucket:
            if i - first >= spec.limit and cells[first].time_us > now_us - spec.longest_us:
                return True
            first = i
    return False


cdef uint32_t keep_open(
    MomentCell* cells, uint32_t count, const MomentCell* shown, uint32_t shown_count,
    int64_t from_us, int64_t until_us, uint32_t own,
) noexcept nogil:
    """Bring to the front what counts, each proposition once, and give how many there are.

    An impression confirms one; those of the decision itself (`own`) are made again.
    """
    cdef uint32_t kept = 0, i, j
    for i in range(count):
        if not from_us < cells[i].time_us <= until_us:
            continue
        if cells[i].value >> (RESERVE_WHOSE_SHIFT + RESERVE_SLOT_BITS) == own:
            continue
        j = 0
        while j < kept and cells[j].value != cells[i].value:
            j += 1
        if j == kept:
            cells[kept] = cells[i]
            kept += 1
        else:
            cells[j].time_us = max(cells[j].time_us, cells[i].time_us)
    for i in range(shown_count if kept else 0):
        if shown[i].time_us > until_us:
            continue
        for j in range(kept):
            if confirms(shown[i].value, cells[j].value):
                kept -= 1
                cells[j] = cells[kept]
                break
    return kept


cdef int64_t* reservations_read(Decision* decision, uint32_t* count) noexcept nogil:
    """What waits for an impression, as pairs of a moment and an action and a placement's tags."""
    cdef const ReservationSpec* spec = decision.playbook.reservations
    cdef const Person* person = decision.person
    cdef Arena* arena = &decision.machine.arena
    cdef int64_t now_us = decision.now_us
    cdef MomentCell* cells = NULL
    cdef MomentCell* shown = NULL
    cdef uint32_t open = 0, shown_count = 0, i
    cdef bint shut = decision.caps_shut
    cdef int64_t* pairs
    count[0] = 0
    if not shut and not person_cells(
        person, decision.playbook.counters[spec.reserved].column, arena, &cells, &open
    ):
        return NULL
    if open == 0 and not shut:
        return NO_MOMENTS
    if not shut and not person_cells(
        person, decision.playbook.counters[spec.confirmed].column, arena, &shown, &shown_count
    ):
        return NULL
    shut = shut or overflowed(cells, open, spec, now_us)
    if shut:
        open = 0
    open = keep_open(
        cells, open, shown, shown_count, now_us - spec.longest_us, now_us + AHEAD_US_MAX,
        decision.own,
    )
    pairs = <int64_t*>arena_take(arena, (open + 1) * 2 * sizeof(int64_t))
    if pairs == NULL:
        return NULL
    for i in range(open):
        pairs[2 * i] = cells[i].time_us
        pairs[2 * i + 1] = <uint32_t>cells[i].value
    if shut:
        pairs[0] = now_us
        pairs[1] = RESERVED_ALL
    count[0] = 2 * (open + shut)
    return pairs


cdef bint count_reservations(Decision* decision) noexcept nogil:
    """Count reservations for the caps they are about, once a decision; False without memory."""
    cdef const ReservationSpec* spec = decision.playbook.reservations
    cdef const int64_t* pairs
    cdef uint32_t count, i
    if decision.reservations_counted:
        return True
    if decision.replay != NULL:
        decision.replay.missing += not decision.replay.counters[spec.reserved].has_moments
        pairs = replay_moments(
            &decision.replay.counters[spec.reserved], &decision.machine.arena, &count
        )
    else:
        pairs = reservations_read(decision, &count)
        if decision.tape != NULL and pairs != NULL:
            tape_moments(decision.tape, spec.reserved, pairs, count)
    if pairs == NULL:
        return False
    decision.reservations_counted = True
    for i in range(count // 2):
        count_reservation(decision, pairs[2 * i], <uint64_t>pairs[2 * i + 1])
    return True


cdef void count_reservation(Decision* decision, int64_t time_us, uint64_t tags) noexcept nogil:
    cdef const PlaybookState* playbook = decision.playbook
    cdef const ReservationSpec* spec = playbook.reservations
    cdef uint32_t i
    if tags == RESERVED_ALL:
        for i in range(playbook.contact_count):
            if playbook.contact[i].reserve_us:
                decision.contact[i].reserved += playbook.contact[i].limit
        return
    for i in range(playbook.actions_count):
        if spec.actions[i] == action_of(tags):
            count_for(decision, &playbook.actions[i].gates[<int>GATE_CONTACT], time_us)
    for i in range(playbook.placements_count):
        if spec.placements[i] == placement_of(tags):
            count_for(decision, &playbook.placements[i].contact, time_us)


cdef void count_for(Decision* decision, const Indexes* rules, int64_t time_us) noexcept nogil:
    cdef const ContactSpec* rule
    cdef uint32_t i
    for i in range(rules.count):
        rule = decision.playbook.conditions[rules.items[i]].contact
        if rule.reserve_us and time_us > decision.now_us - rule.reserve_us:
            decision.contact[rule - decision.playbook.contact].reserved += 1


cdef inline bint any_reserves(
    const PlaybookState* playbook, const Indexes* rules
) noexcept nogil:
    cdef uint32_t i
    for i in range(rules.count):
        if playbook.conditions[rules.items[i]].contact.reserve_us:
            return True
    return False


cdef struct Proposition:
    const ActionSpec* action
    const PlacementSpec* placement
    uint32_t slot


cdef struct Propositions:
    # In the arena of the decision; there was no memory where it has failed.
    Proposition* items
    uint32_t count
    bint failed


cdef void note_propositions(
    Decision* decision, const PlacementSpec** placements, const Ranking* rankings, uint32_t count,
    Propositions* to,
) noexcept nogil:
    """List what is proposed under a cap that reserves."""
    cdef const Slot* slot
    cdef Proposition* item
    cdef uint32_t filled = 0, i, j
    memset(to, 0, sizeof(Propositions))
    for i in range(count):
        filled += rankings[i].slots_filled
    to.items = <Proposition*>arena_take(&decision.machine.arena, filled * sizeof(Proposition))
    to.failed = to.items == NULL
    for i in range(count if not to.failed else 0):
        for j in range(rankings[i].slots_filled):
            slot = &rankings[i].slots[j]
            if any_reserves(decision.playbook, &slot.action.gates[<int>GATE_CONTACT]) or (
                any_reserves(decision.playbook, &placements[i].contact)
            ):
                item = &to.items[to.count]
                item.action = slot.action
                item.placement = placements[i]
                item.slot = j
                to.count += 1
