"""Reservations: what decisions have proposed under a cap, until an impression confirms it.

A reservation is an event of the engine's own, one for all that a decision proposes: its property
`proposed` lists them as "SLOT PLACEMENT ACTION".  A counter keeps each as a moment and the key of
the proposition: 26 bits of the decision's id, 6 of the slot, 18 of the action and 14 of the
placement.  It has no id: what it says is what it is, and what is kept of it tells whether it is
there.  Those of before had one, and some of them tell of one proposition, as an impression does.
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


cdef inline uint64_t decision_hash(Text decision_id) noexcept nogil:
    return XXH3_64bits(decision_id.data, decision_id.length)


cdef inline uint32_t decision_tag(uint64_t hash) noexcept nogil:
    """Of a decision's hash."""
    return <uint32_t>(hash >> (32 + RESERVE_SLOT_BITS))


cdef inline Value proposition_key(
    uint32_t decision, uint32_t slot, uint32_t action, uint32_t placement
) noexcept nogil:
    cdef uint64_t whose = <uint64_t>decision << RESERVE_SLOT_BITS | (
        slot & ((1 << RESERVE_SLOT_BITS) - 1)
    )
    return value_int(<int64_t>(
        whose << RESERVE_WHOSE_SHIFT | <uint64_t>action << RESERVE_PLACEMENT_BITS | placement
    ))


cdef Value outcome_key(const TrackMessage* message) noexcept nogil:
    """Which proposition an event is about; null where it names no decision."""
    cdef const Entry* entry
    cdef uint32_t action = 0, placement = 0
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
    return proposition_key(
        decision_tag(decision_hash(message.decision_id)), message.slot, action, placement
    )


cdef inline bint is_reservation(
    const PlaybookState* playbook, const EventSpec* event
) noexcept nogil:
    return playbook.reservations != NULL and playbook.reservations.event == event


cdef const Value* listed_propositions(const TrackMessage* message) noexcept nogil:
    """What a reservation lists; NULL for one of a single proposition, as they once were."""
    cdef const Entry* entry
    cdef uint32_t i
    for i in range(message.properties.count):
        entry = &message.properties.items[i]
        if entry.value.tag == TAG_LIST and text_equal(entry.name, text_of("proposed")):
            return &entry.value
    return NULL


cdef Value reservation_keys(const TrackMessage* message, Arena* arena) noexcept nogil:
    """Which propositions a reservation is about; an error without memory."""
    cdef const Value* listed = listed_propositions(message)
    cdef uint32_t decision = decision_tag(decision_hash(message.decision_id))
    cdef Value* keys
    cdef uint32_t i
    if listed == NULL:
        return outcome_key(message)
    keys = <Value*>arena_take(arena, listed.length * sizeof(Value))
    if keys == NULL:
        return value_error(ERROR_MEMORY, SLOT_NONE)
    for i in range(listed.length):
        keys[i] = listed_key(decision, &listed.as_.items[i])
    return value_list(keys, listed.length)


cdef Value listed_key(uint32_t decision, const Value* item) noexcept nogil:
    """The key of what `write_proposed` has written, or of as much as there is of it."""
    cdef Text rest = value_text(item) if item.tag == TAG_STRING else text_of("")
    cdef Text placement
    cdef uint32_t slot = 0
    while rest.length and c"0" <= rest.data[0] <= c"9":
        slot = slot * 10 + (rest.data[0] - c"0")
        rest = text_after(rest, 1)
    rest = text_after(rest, 1)
    placement = rest
    while rest.length and rest.data[0] != c" ":
        rest = text_after(rest, 1)
    placement.length -= rest.length
    return proposition_key(
        decision, slot, action_tag(text_after(rest, 1)), placement_tag(placement)
    )


cdef uint64_t reservation_event(
    uint64_t decision, const Value* keys, uint32_t incarnation
) noexcept nogil:
    """What tells the cells of a reservation without an id from others of one moment; not 0.

    decision: its hash.  Where all of it is the same it is one reservation, however often it comes.
    """
    cdef uint64_t parts[2]
    cdef uint32_t i
    parts[0], parts[1] = decision, keys.length
    for i in range(keys.length):
        parts[0] = split_mix(parts[0], keys.as_.items[i].as_.u)
    return event_hash(parts, incarnation)


cdef inline Text text_after(Text text, uint32_t length) noexcept nogil:
    """What follows so many bytes."""
    length = min(length, text.length)
    text.data += length
    text.length -= length
    return text


cdef inline uint32_t action_of(uint64_t key) noexcept nogil:
    return <uint32_t>key >> RESERVE_PLACEMENT_BITS


cdef inline uint32_t placement_of(uint64_t key) noexcept nogil:
    return <uint32_t>key & ((1 << RESERVE_PLACEMENT_BITS) - 1)


cdef inline bint confirms(uint64_t shown, uint64_t reserved) noexcept nogil:
    return (shown ^ reserved) >> RESERVE_WHOSE_SHIFT == 0 and (
        action_of(shown) == 0 or action_of(shown) == action_of(reserved)
    ) and (placement_of(shown) == 0 or placement_of(shown) == placement_of(reserved))


cdef bint side_overflowed(
    const Side* side, uint32_t column, uint32_t limit, int64_t from_us
) noexcept nogil:
    """Whether a full bucket may have dropped a reservation after a moment."""
    cdef const MomentCell* cells = moment_cells(side)
    cdef uint32_t start = side_find(side, MOMENTS, column, 0)
    cdef uint32_t end = side_find(side, MOMENTS, column + 1, 0)
    cdef uint32_t first = start
    while first + limit <= end:
        if cells[first].bucket == cells[first + limit - 1].bucket and (
            cells[first].time_us > from_us
        ):
            return True
        first += 1
    return False


cdef bint overflowed(
    const Person* person, uint32_t column, uint32_t limit, int64_t from_us
) noexcept nogil:
    """Whether something that still counts may have been dropped from any row of a person."""
    cdef const Side* side
    cdef uint32_t i
    for i in range(person.count):
        side = person.rows[i].side
        if side_count(side, MOMENTS) and side_overflowed(side, column, limit, from_us):
            return True
    return False


cdef bint reservation_before(const MomentCell& a, const MomentCell& b) noexcept nogil:
    """By proposition, the newest first."""
    return a.value < b.value or (a.value == b.value and a.time_us > b.time_us)


cdef uint32_t keep_counting(
    MomentCell* cells, uint32_t count, int64_t from_us, int64_t until_us, uint32_t own
) noexcept nogil:
    """Bring to the front what counts by its moment; not what the decision itself has reserved."""
    cdef uint32_t kept = 0, i
    for i in range(count):
        if from_us < cells[i].time_us <= until_us and (
            cells[i].value >> (RESERVE_WHOSE_SHIFT + RESERVE_SLOT_BITS) != own
        ):
            cells[kept] = cells[i]
            kept += 1
    return kept


cdef uint32_t keep_newest(MomentCell* cells, uint32_t count) noexcept nogil:
    """Keep the first of each proposition, of cells in order."""
    cdef uint32_t kept = 0, i
    for i in range(count):
        if kept == 0 or cells[i].value != cells[kept - 1].value:
            cells[kept] = cells[i]
            kept += 1
    return kept


cdef bint key_below(const MomentCell& cell, const uint64_t& key) noexcept nogil:
    return cell.value < key


cdef void confirm_one(
    MomentCell* cells, uint32_t count, uint64_t shown, int64_t from_us
) noexcept nogil:
    """Let one of cells in order, of which an impression is, count no longer."""
    cdef uint64_t whose = shown >> RESERVE_WHOSE_SHIFT
    cdef MomentCell* end = cells + count
    cdef MomentCell* cell = lower_bound(cells, end, whose << RESERVE_WHOSE_SHIFT, key_below)
    # A decision has a slot once in each placement.
    end = cell + min(end - cell, <ptrdiff_t>PLACEMENTS_MAX)
    while cell < end and cell.value >> RESERVE_WHOSE_SHIFT == whose:
        if cell.time_us > from_us and confirms(shown, cell.value):
            cell.time_us = from_us
            break
        cell += 1


cdef uint32_t keep_open(
    MomentCell* cells, uint32_t count, const MomentCell* shown, uint32_t shown_count,
    int64_t from_us, int64_t until_us, uint32_t own,
) noexcept nogil:
    """Bring to the front what counts, each proposition once, and give how many there are.

    An impression confirms one; those of the decision itself (`own`) are made again.
    """
    cdef uint32_t kept = keep_counting(cells, count, from_us, until_us, own)
    cdef uint32_t i
    if kept == 0:
        return 0
    sort(cells, cells + kept, reservation_before)
    kept = keep_newest(cells, kept)
    if shown_count == 0:
        return kept
    for i in range(shown_count):
        if shown[i].time_us <= until_us:
            confirm_one(cells, kept, shown[i].value, from_us)
    return keep_counting(cells, kept, from_us, until_us, own)


cdef int64_t* reservations_read(Decision* decision, uint32_t* count) noexcept nogil:
    """What waits for an impression, as pairs of a moment and an action and a placement's tags."""
    cdef const ReservationSpec* spec = decision.playbook.reservations
    cdef const Person* person = decision.person
    cdef Arena* arena = &decision.machine.arena
    cdef uint32_t reserved = decision.playbook.counters[spec.reserved].column
    cdef uint32_t confirmed = decision.playbook.counters[spec.confirmed].column
    cdef int64_t from_us = decision.now_us - spec.longest_us
    cdef MomentCell* cells = NULL
    cdef MomentCell* shown = NULL
    cdef uint32_t open = 0, shown_count = 0
    count[0] = 0
    if not person_cells(person, reserved, from_us, arena, &cells, &open):
        return NULL
    # A bucket is full of what counts where it may have dropped more of it.
    if decision.caps_shut or (
        open >= spec.limit and overflowed(person, reserved, spec.limit, from_us)
    ):
        return shut_pairs(arena, decision.now_us, count)
    if open == 0:
        return NO_MOMENTS
    if not person_cells(person, confirmed, INT64_MIN, arena, &shown, &shown_count):
        return NULL
    open = keep_open(
        cells, open, shown, shown_count, from_us, decision.now_us + AHEAD_US_MAX,
        decision_tag(decision.own_hash),
    )
    return open_pairs(arena, cells, open, count)


cdef int64_t* shut_pairs(Arena* arena, int64_t now_us, uint32_t* count) noexcept nogil:
    """Whatever caps allow is taken."""
    cdef int64_t* pairs = <int64_t*>arena_take(arena, 2 * sizeof(int64_t))
    if pairs != NULL:
        pairs[0], pairs[1] = now_us, RESERVED_ALL
        count[0] = 2
    return pairs


cdef int64_t* open_pairs(
    Arena* arena, const MomentCell* cells, uint32_t open, uint32_t* count
) noexcept nogil:
    cdef int64_t* pairs = <int64_t*>arena_take(arena, (open + 1) * 2 * sizeof(int64_t))
    cdef uint32_t i
    for i in range(open if pairs != NULL else 0):
        pairs[2 * i] = cells[i].time_us
        pairs[2 * i + 1] = <uint32_t>cells[i].value
    count[0] = 2 * open if pairs != NULL else 0
    return pairs


cdef bint count_reservations(Decision* decision) noexcept nogil:
    """Count reservations for the caps they are about, once a decision; False without memory."""
    cdef const ReservationSpec* spec = decision.playbook.reservations
    cdef const int64_t* pairs
    cdef uint32_t count, i
    if decision.reservations_counted:
        return True
    if decision.replay != NULL:
        if not decision.replay.counters[spec.reserved].has_moments:
            replay_lacks(decision.replay, INPUT_OF_COUNTER, spec.reserved)
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
        if pairs[2 * i + 1] == RESERVED_ALL:
            reserve_all(decision)
        else:
            count_reservation(decision, pairs[2 * i], <uint64_t>pairs[2 * i + 1])
    return True


cdef inline uint32_t tag_at(const TagTable* table, uint32_t tag, uint32_t start) noexcept nogil:
    """The next place from `start` on that has a tag, or the free one where it would be."""
    cdef uint32_t at = start & table.mask
    while table.places[at].tag and table.places[at].tag != tag:
        at = (at + 1) & table.mask
    return at


cdef void reserve_all(Decision* decision) noexcept nogil:
    """Take whatever caps allow."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef uint32_t i
    for i in range(playbook.contact_count):
        if playbook.contact[i].reserve_us:
            reserve_of(decision, &playbook.contact[i], playbook.contact[i].limit)


cdef void count_reservation(Decision* decision, int64_t time_us, uint64_t tags) noexcept nogil:
    cdef const PlaybookState* playbook = decision.playbook
    cdef const ReservationSpec* spec = playbook.reservations
    cdef uint32_t action = action_of(tags)
    cdef uint32_t placement = placement_of(tags)
    cdef uint32_t i
    i = tag_at(&spec.actions, action, action)
    while spec.actions.places[i].tag:
        count_for(
            decision,
            &playbook.actions[spec.actions.places[i].index].gates[<int>GATE_CONTACT], time_us,
        )
        i = tag_at(&spec.actions, action, i + 1)
    i = tag_at(&spec.placements, placement, placement)
    while spec.placements.places[i].tag:
        count_for(
            decision, &playbook.placements[spec.placements.places[i].index].contact, time_us
        )
        i = tag_at(&spec.placements, placement, i + 1)


cdef inline void count_for(
    Decision* decision, const Indexes* rules, int64_t time_us
) noexcept nogil:
    cdef const ContactSpec* rule
    cdef uint32_t i
    for i in range(rules.count):
        rule = &decision.playbook.contact[contact_rule(decision.playbook, rules.items[i])]
        if rule.reserve_us and time_us > decision.now_us - rule.reserve_us:
            reserve_of(decision, rule, 1)


cdef inline void reserve_of(
    Decision* decision, const ContactSpec* rule, uint32_t count
) noexcept nogil:
    """Count so many reservations for a cap, and have it looked at."""
    cdef uint32_t index = rule - decision.playbook.contact
    if decision.contact[index].reserved == 0:
        contact_list(decision, index)
    decision.contact[index].reserved += count


cdef struct Proposition:
    const ActionSpec* action
    const PlacementSpec* placement
    uint32_t slot


cdef struct Propositions:
    # In the arena of the decision; there was no memory where it has failed.
    Proposition* items
    # Of each its key, and of the decision its hash.
    Value* keys
    uint64_t decision
    uint32_t count
    bint failed


cdef void note_propositions(
    const Decision* decision, const PlacementSpec** placements, const Ranking* rankings,
    uint32_t count, Propositions* to,
) noexcept nogil:
    """List what is proposed under a cap that reserves."""
    cdef Arena* arena = &decision.machine.arena
    cdef uint32_t filled = 0, i, j
    memset(to, 0, sizeof(Propositions))
    for i in range(count):
        filled += rankings[i].slots_filled
    to.decision = decision.own_hash
    to.items = <Proposition*>arena_take(arena, filled * sizeof(Proposition))
    to.keys = <Value*>arena_take(arena, filled * sizeof(Value))
    to.failed = to.items == NULL or to.keys == NULL
    for i in range(count if not to.failed else 0):
        for j in range(rankings[i].slots_filled):
            note_proposition(decision.playbook, placements[i], rankings[i].slots[j].action, j, to)


cdef inline void note_proposition(
    const PlaybookState* playbook, const PlacementSpec* placement, const ActionSpec* action,
    uint32_t slot, Propositions* to,
) noexcept nogil:
    cdef const ReservationSpec* spec = playbook.reservations
    cdef const Reserving* shows = &spec.by_placement[placement - playbook.placements]
    cdef const Reserving* shown = &spec.by_action[action - playbook.actions]
    cdef Proposition* item = &to.items[to.count]
    if shows.reserves or shown.reserves:
        item.action, item.placement, item.slot = action, placement, slot
        to.keys[to.count] = proposition_key(
            decision_tag(to.decision), slot, shown.tag, shows.tag
        )
        to.count += 1


cdef void write_propositions(Writer* writer, const Propositions* proposed) noexcept nogil:
    """The property of a TrackRequest that lists what is proposed, as `listed_key` reads it."""
    cdef size_t entry = message_open(writer, 5)
    cdef size_t value, listed
    cdef uint32_t i
    write_text_always(writer, 1, text_of("proposed"))
    value = message_open(writer, 2)
    listed = message_open(writer, 6)
    for i in range(proposed.count):
        write_proposed(writer, &proposed.items[i])
    message_close(writer, listed)
    message_close(writer, value)
    message_close(writer, entry)


cdef inline void write_proposed(Writer* writer, const Proposition* proposition) noexcept nogil:
    cdef Text action = proposition.action.name
    cdef Text placement = proposition.placement.name
    cdef uint32_t tens = proposition.slot // 10
    cdef uint32_t length = (tens > 0) + placement.length + action.length + 3
    cdef uint8_t* at
    if not writer_room(writer, 2 * VARINT_MAX + length):
        return
    at = lay_varint(lay_tag(writer.data + writer.length, 1, WIRE_BYTES), length)
    # Slots have two digits at most.
    at[0] = <uint8_t>(c"0" + tens)
    at += tens > 0
    at[0] = <uint8_t>(c"0" + proposition.slot % 10)
    at[1] = c" "
    at += 2
    memcpy(at, placement.data, placement.length)
    at += placement.length
    at[0] = c" "
    memcpy(at + 1, action.data, action.length)
    writer.length = at + 1 + action.length - writer.data
