"""Crossings: segments, grades and stages that a write has moved a person across, told as events.

The node that accepts a write compares the person before and after it.  What is told is an event
like any other: applying one, here or elsewhere, tells nothing.  Each side is looked at as of the
newest thing known of the person then, so that what time alone has changed since is found, too, and
what was found once is not found again.
"""

cdef enum:
    # Told of one round.
    CROSSINGS_MAX = 256
    # How often what was told may itself be the cause.
    CROSSING_DEPTH_MAX = 4
    # A bit for each segment, score and grade, and the stage: see the bounds of a playbook.
    WATCH_WORDS = 68
    # A band's letter and its two digits.
    GRADE_TEXT_MAX = 8
    PLACE_NONE = 0xFFFFFFFF


cdef struct Cause:
    Text id
    int64_t id_ms
    int64_t occurred_us
    # The level at which it was asked to be safe, as what it causes then is.
    int64_t ack


cdef struct Crossed:
    uint32_t node
    # Of a segment: whether the person has come into it.
    bint entered
    # Of a grade, before and after.
    char grades[2][GRADE_TEXT_MAX]
    uint32_t grade_lengths[2]
    # Of the stage.
    int32_t stages[2]


cdef struct CrossingSide:
    # A decision that is never begun: what it has read and computed is forgotten piece by piece,
    # since a search touches little of it.  It comes first: it is the owner that the machine knows.
    Decision decision
    Value* inputs
    uint8_t* states
    uint8_t* segments
    ScoreResult* scores
    uint8_t* purposes
    # The input slots that were read, each once.
    uint16_t* touched
    uint32_t touched_count
    # The conditions that were looked at, each once.
    uint32_t* looked
    uint32_t looked_count
    const Person* person
    int64_t now_us


cdef struct Crossing:
    # One write that is watched, from before it is applied.
    Person before
    CrossingSide sides[2]
    # The memory of the sides, for the watch of that number.
    void* block
    uint64_t number
    # The nodes that were looked at, each once.
    uint32_t* nodes
    uint32_t nodes_count
    IdentityRef identity
    # Nobody else watches a write of the person while it is held; NULL where it is not.
    uint32_t* latch
    uint32_t count
    # Those that the bounds have left out.
    uint64_t cut
    uint64_t dirty[WATCH_WORDS]
    Crossed crossed[CROSSINGS_MAX]


cdef struct CrossingSearch:
    Crossing* crossing
    const PlaybookState* playbook
    Machine* machine
    CrossingSide* before
    CrossingSide* after
    # Whether the two sides can be evaluated; most searches end before that.
    bint begun
    bint failed


cdef Crossing* crossing_make(StoreState* store) noexcept nogil:
    """NULL when memory or the store's readers' places are used up."""
    cdef Crossing* crossing = <Crossing*>calloc(1, sizeof(Crossing))
    if crossing != NULL and person_init(&crossing.before, store):
        free(crossing)
        return NULL
    return crossing


cdef void crossing_free(Crossing* crossing) noexcept nogil:
    if crossing != NULL:
        person_free(&crossing.before)
        free(crossing.block)
        free(crossing)


cdef inline Crossing* seat_crossing(EngineSeat* seat) noexcept nogil:
    """The seat's own, made when a playbook first needs it."""
    if seat.crossed == NULL:
        seat.crossed = crossing_make(seat.state.store)
    return seat.crossed


cdef bint cross_begin(
    EngineSeat* seat, Crossing* crossing, IdentityRef identity, bint latched
) noexcept nogil:
    """Read a person before a write; `cross_end` or `cross_drop` must follow.

    False, and nothing follows, without memory; the crossings of the write are then lost.
    """
    cdef StoreStatus status
    cdef bint waited = False
    if crossing == NULL:
        count_crossings(seat, 0, 1, 0)
        return False
    crossing.identity = identity
    crossing.latch = NULL
    if latched:
        crossing.latch = latch_person(
            seat.state.crossing_latches, seat.state.store, identity, &crossing.before, &status,
            &waited,
        )
    else:
        status = store_read(seat.state.store, identity, &crossing.before)
    if status == STORE_NO_MEMORY:
        count_crossings(seat, 0, 1, 0)
        cross_drop(crossing)
        return False
    return True


cdef void cross_drop(Crossing* crossing) noexcept nogil:
    """End a watch without a search."""
    person_done(&crossing.before)
    if crossing.latch != NULL:
        latch_drop(crossing.latch)
        crossing.latch = NULL


cdef void count_crossings(
    EngineSeat* seat, uint64_t told, uint64_t lost, uint64_t cut
) noexcept nogil:
    cdef Tally* tally = seat.serving.tally
    if TELEMETRY and tally != NULL:
        counter_add(&tally.crossings, told)
        counter_add(&tally.crossings_lost, lost)
        counter_add(&tally.crossings_cut, cut)


cdef void cross_end(
    EngineSeat* seat, Crossing* crossing, const PlaybookState* playbook, const Cause* cause,
    const EventSpec* event, int64_t now_us,
) noexcept nogil:
    """Find what the write has changed, and tell of it; what that changes, too, for some rounds.

    `event`: what the write was, NULL for what is no event and may have changed anything.
    """
    cdef Person* after = &seat.serving.person
    cdef bint again = True
    cdef uint32_t depth
    crossing.cut = 0
    for depth in range(CROSSING_DEPTH_MAX + 1):
        if not again:
            break
        if store_read(seat.state.store, crossing.identity, after) == STORE_NO_MEMORY or (
            not cross_find(seat, crossing, playbook, event)
        ):
            count_crossings(seat, 0, 1, 0)
            break
        if depth == CROSSING_DEPTH_MAX:
            crossing.cut += crossing.count
            break
        again = cross_tell(seat, crossing, playbook, cause, depth, now_us)
        if again:
            persons_swap(&crossing.before, after)
        event = NULL
    count_crossings(seat, 0, 0, crossing.cut)
    person_done(after)
    cross_drop(crossing)


cdef inline bint track_is_watched(
    const PlaybookState* playbook, const EventSpec* event
) noexcept nogil:
    """Whether an event, or the time that has passed until it, may change what is told."""
    return playbook.watch != NULL and (event.watched.count or playbook.watch.timed.count)


cdef void cross_track(
    EngineSeat* seat, const PlaybookState* playbook, const TrackEvent* track, int64_t now_us
) noexcept nogil:
    cdef Cause cause
    cause.id = track.message.event_id
    cause.id_ms = track.id_ms
    cause.occurred_us = track.occurred_us
    cause.ack = track.message.ack
    cross_end(seat, seat.crossed, playbook, &cause, track.event, now_us)


cdef void persons_swap(Person* one, Person* other) noexcept nogil:
    # What they hold lies in their buffers, which move with them.
    cdef Person kept = one[0]
    one[0] = other[0]
    other[0] = kept


cdef bint cross_find(
    EngineSeat* seat, Crossing* crossing, const PlaybookState* playbook, const EventSpec* event
) noexcept nogil:
    """List what differs between the two sides; False without memory."""
    cdef CrossingSearch search
    cdef const WatchSpec* watch = playbook.watch
    cdef uint32_t i, words = (watch.nodes_count + 63) // 64
    cdef int bit
    search.crossing = crossing
    search.playbook = playbook
    search.machine = &seat.serving.machine
    search.begun = search.failed = False
    search.before, search.after = &crossing.sides[0], &crossing.sides[1]
    search.before.person = &crossing.before
    search.after.person = &seat.serving.person
    search.after.now_us = person_newest_us(search.after.person)
    search.before.now_us = person_newest_us(search.before.person)
    if search.before.now_us < 0:
        search.before.now_us = search.after.now_us
    arena_reset(&search.machine.arena)
    crossing.count = 0
    memset(crossing.dirty, 0, words * sizeof(uint64_t))
    look_at_sources(&search, event)
    for i in range(words):
        while crossing.dirty[i]:
            bit = lowest_bit_64(crossing.dirty[i])
            crossing.dirty[i] &= crossing.dirty[i] - 1
            look_at_node(&search, &watch.nodes[64 * i + bit], 64 * i + bit)
    sides_forget(&search)
    return not search.failed


cdef void look_at_sources(CrossingSearch* search, const EventSpec* event) noexcept nogil:
    cdef const WatchSpec* watch = search.playbook.watch
    cdef uint32_t i
    if event == NULL:
        for i in range(watch.stored):
            look_at_source(search, &watch.sources[i], True)
        return
    for i in range(event.watched.count):
        look_at_source(search, &watch.sources[event.watched.items[i]], True)
    if search.before.now_us != search.after.now_us:
        for i in range(watch.timed.count):
            look_at_source(search, &watch.sources[watch.timed.items[i]], False)


cdef inline bint window_moved(const CrossingSearch* search, uint32_t counter) noexcept nogil:
    cdef const CounterColumn* column = &search.before.person.store.counters[
        search.playbook.counters[counter].column
    ]
    cdef BucketRange before = window_at(column, search.before.now_us)
    cdef BucketRange after = window_at(column, search.after.now_us)
    return before.first != after.first or before.last != after.last


cdef void look_at_source(
    CrossingSearch* search, const WatchSource* source, bint touched
) noexcept nogil:
    """Follow a stored value where it differs; `touched`: whether the write may have changed it."""
    cdef Value before, after
    if source.kind == SOURCE_COUNTER or source.kind == SOURCE_AGES:
        if not touched and not window_moved(search, source.index):
            return
    before = source_value(search, source, search.before)
    after = source_value(search, source, search.after)
    search.machine.steps_left = STEPS_MAX
    if source.kind == SOURCE_AGES:
        # It is a whole list of numbers: the nodes tell whether it matters.
        source_moved(search, source, before, after)
    elif source.kind == SOURCE_CONSENT and search.before.now_us != search.after.now_us:
        # It may have ended.
        source_moved(search, source, before, after)
    elif before.flag != after.flag or not same_values(search.machine, before, after):
        source_moved(search, source, before, after)


cdef Value source_value(
    CrossingSearch* search, const WatchSource* source, const CrossingSide* side
) noexcept nogil:
    """A stored value as expressions read it."""
    cdef const AttributeSpec* attribute
    cdef bint approximate
    if source.kind == SOURCE_NOW:
        return value_timestamp_us(side.now_us)
    if source.kind == SOURCE_AGES:
        return value_null()
    if source.kind == SOURCE_COUNTER:
        return person_counter(
            side.person, search.playbook.counters[source.index].column, side.now_us,
            &search.machine.arena, &approximate,
        )
    attribute = &search.playbook.attributes[source.index]
    return value_or_default(
        person_attribute(side.person, attribute.column, &search.machine.arena), attribute.type,
        &attribute.default_value,
    )


cdef inline int order_constant(
    Machine* machine, const Value* value, const Value* constant
) noexcept nogil:
    """As `order_values`; without a call for numbers of one type."""
    if value.tag == TAG_INT and constant.tag == TAG_INT:
        return order_int(value.as_.i, constant.as_.i)
    if value.tag == TAG_DOUBLE and constant.tag == TAG_DOUBLE:
        return order_double(value.as_.d, constant.as_.d)
    return order_values(machine, value[0], constant[0])


cdef uint32_t source_place(
    Machine* machine, const WatchSource* source, Value value
) noexcept nogil:
    """Where a value lies: 2 i + 1 on constant i, 2 i just below it; PLACE_NONE for no order."""
    cdef uint32_t low = 0, high = source.constants_count, middle
    cdef int order
    while low < high:
        middle = (low + high) // 2
        order = order_constant(machine, &value, &source.constants[middle])
        if order == ORDER_SAME:
            return 2 * middle + 1
        if order == ORDER_LESS:
            high = middle
        elif order == ORDER_GREATER:
            low = middle + 1
        else:
            return PLACE_NONE
    return 2 * low


cdef void source_moved(
    CrossingSearch* search, const WatchSource* source, Value before, Value after
) noexcept nogil:
    """Look at the conditions that a value's change may have changed, and at what is made of it."""
    cdef uint32_t was, now, count = source.constants_count
    look_at(search, source.plain.items, 0, source.plain.count)
    mark_nodes(search, &source.nodes)
    if count == 0:
        return
    was = source_place(search.machine, source, before)
    now = source_place(search.machine, source, after)
    if was == PLACE_NONE or now == PLACE_NONE:
        # It was not set, or is not any more.
        look_at_ordered(search, source, 0, count)
        look_at(search, source.same, 0, source.same_starts[count])
        return
    if was != now:
        pass_over(search, source, (min(was, now) + 1) // 2, max(was, now) // 2, now > was)
        look_on(search, source, was)
        look_on(search, source, now)


cdef inline void look_on(
    CrossingSearch* search, const WatchSource* source, uint32_t place
) noexcept nogil:
    """Look at the conditions of the constant on which a value lies, if it does."""
    if place & 1:
        look_at_ordered(search, source, place // 2, place // 2 + 1)
        look_at(
            search, source.same, source.same_starts[place // 2], source.same_starts[place // 2 + 1]
        )


cdef void look_at_ordered(
    CrossingSearch* search, const WatchSource* source, uint32_t first, uint32_t end
) noexcept nogil:
    """Look at the conditions of order of so many constants."""
    cdef uint32_t condition, i
    for i in range(source.ordered_starts[first], source.ordered_starts[end]):
        condition = source.ordered[i] >> 1
        look_at(search, &condition, 0, 1)


cdef void pass_over(
    CrossingSearch* search, const WatchSource* source, uint32_t first, uint32_t end, bint upwards
) noexcept nogil:
    """Turn the conditions of order between whose sides a value has passed: each has changed."""
    cdef uint32_t start = source.ordered_starts[first] if first < end else 0
    cdef uint32_t stop = source.ordered_starts[end] if first < end else 0
    cdef uint32_t condition, i
    cdef bint holds
    if start < stop and not sides_begin(search):
        return
    for i in range(start, stop):
        condition = source.ordered[i] >> 1
        holds = (source.ordered[i] & 1) == upwards
        note_looked(search.before, condition)
        note_looked(search.after, condition)
        search.before.states[condition] = CONDITION_FALSE if holds else CONDITION_TRUE
        search.after.states[condition] = CONDITION_TRUE if holds else CONDITION_FALSE
        mark_parts(search, condition, search.before if holds else search.after)


cdef inline void note_looked(CrossingSide* side, uint32_t condition) noexcept nogil:
    """Remember to forget a condition, which is known from here on."""
    if side.states[condition] == CONDITION_UNKNOWN:
        side.looked[side.looked_count] = condition
        side.looked_count += 1


cdef inline bint looked_holds(
    CrossingSearch* search, CrossingSide* side, uint32_t condition
) noexcept nogil:
    """Whether a condition holds on a side, to be forgotten later."""
    note_looked(side, condition)
    return condition_state(side_of(search, side), condition) == CONDITION_TRUE


cdef inline void mark_node(CrossingSearch* search, uint32_t number) noexcept nogil:
    search.crossing.dirty[number // 64] |= <uint64_t>1 << (number % 64)


cdef inline void mark_nodes(CrossingSearch* search, const Indexes* nodes) noexcept nogil:
    cdef uint32_t i
    for i in range(nodes.count):
        mark_node(search, nodes.items[i])


cdef void look_at(
    CrossingSearch* search, const uint32_t* conditions, uint32_t start, uint32_t end
) noexcept nogil:
    """Mark what conditions are part of that hold on one side alone."""
    cdef uint32_t i
    cdef bint before, after
    if start < end and not sides_begin(search):
        return
    for i in range(start, end):
        before = looked_holds(search, search.before, conditions[i])
        after = looked_holds(search, search.after, conditions[i])
        if before != after:
            mark_parts(search, conditions[i], search.after if before else search.before)


cdef void mark_parts(
    CrossingSearch* search, uint32_t condition, CrossingSide* without
) noexcept nogil:
    """Mark what a condition is part of; no segment of it holds on the side where it does not.

    One that does not on the other side either, by another condition, is not looked at.
    """
    cdef const PlaybookState* playbook = search.playbook
    cdef const Indexes* nodes = &playbook.watch.of_conditions[condition]
    cdef CrossingSide* other = search.after if without == search.before else search.before
    cdef const WatchNode* node
    cdef uint32_t i
    for i in range(nodes.count):
        node = &playbook.watch.nodes[nodes.items[i]]
        if node.kind == INPUT_SEGMENT:
            if not all_hold(search, other, &playbook.segments[node.index].conditions):
                continue
            without.segments[node.index] = CONDITION_FALSE
        mark_node(search, nodes.items[i])


cdef bint all_hold(
    CrossingSearch* search, CrossingSide* side, const Indexes* conditions
) noexcept nogil:
    """Whether all conditions hold on a side; what is known already is asked first."""
    cdef uint8_t state
    cdef uint32_t i
    for i in range(conditions.count):
        state = side.states[conditions.items[i]]
        if state != CONDITION_UNKNOWN and state != CONDITION_TRUE:
            return False
    for i in range(conditions.count):
        if not looked_holds(search, side, conditions.items[i]):
            return False
    return True


cdef bint sides_begin(CrossingSearch* search) noexcept nogil:
    """Have both sides ready to be evaluated; False without memory."""
    if not search.begun:
        search.begun = True
        search.failed = not crossing_room(search.crossing, search.playbook)
        if not search.failed:
            side_begin(search, search.before)
            side_begin(search, search.after)
            search.machine.inputs_count = search.playbook.inputs_count
            search.machine.resolve = resolve_touched
            search.machine.top = 0
    return not search.failed


cdef inline uint8_t* room_take(uint8_t** at, size_t size) noexcept nogil:
    """The next bytes of a block, in whole words; with nothing to take from, their place in it."""
    cdef uint8_t* taken = at[0]
    at[0] += (size + 7) & ~<size_t>7
    return taken


cdef size_t crossing_lay(
    Crossing* crossing, const PlaybookState* playbook, uint8_t* block
) noexcept nogil:
    """Lay the sides out in a block; gives its size."""
    cdef uint8_t* at = block
    cdef uint8_t* shared
    cdef CrossingSide* side
    cdef int i
    # Errors are only written; of these no trigger reads: experiments, the contact policy, channels.
    shared = room_take(&at, playbook.conditions_count * sizeof(Value))
    crossing.nodes = <uint32_t*>room_take(&at, playbook.watch.nodes_count * sizeof(uint32_t))
    for i in range(2):
        side = &crossing.sides[i]
        side.inputs = <Value*>room_take(&at, playbook.inputs_count * sizeof(Value))
        side.states = room_take(&at, playbook.conditions_count)
        side.segments = room_take(&at, playbook.segments_count)
        side.scores = <ScoreResult*>room_take(&at, playbook.scorecards_count * sizeof(ScoreResult))
        side.purposes = room_take(&at, playbook.purposes_count)
        side.looked = <uint32_t*>room_take(&at, playbook.conditions_count * sizeof(uint32_t))
        side.touched = <uint16_t*>room_take(&at, playbook.inputs_count * sizeof(uint16_t))
        side.decision.errors = <Value*>shared
    return at - block


cdef bint crossing_room(Crossing* crossing, const PlaybookState* playbook) noexcept nogil:
    """Make room for a playbook's sides, once; False without memory."""
    cdef size_t size
    if crossing.number == playbook.watch.number:
        return True
    free(crossing.block)
    crossing.number = 0
    size = crossing_lay(crossing, playbook, NULL)
    crossing.block = calloc(1, size)
    if crossing.block == NULL:
        return False
    crossing_lay(crossing, playbook, <uint8_t*>crossing.block)
    crossing.number = playbook.watch.number
    return True


cdef void side_begin(CrossingSearch* search, CrossingSide* side) noexcept nogil:
    """As `decision_begin`, over what the search before has forgotten.

    What is not set here is of no trigger, and zero since the crossing was made.
    """
    cdef Decision* decision = &side.decision
    decision.nesting = 0
    decision.bound_reached = False
    decision.playbook = search.playbook
    decision.machine = search.machine
    decision.person = side.person
    decision.person_known = side.person.count > 0
    decision.identity = search.crossing.identity
    decision.now_us = side.now_us
    decision.stage = STAGE_UNKNOWN
    decision.states = side.states
    decision.scores = side.scores
    decision.segments = side.segments
    decision.purposes = side.purposes


cdef inline Decision* side_of(CrossingSearch* search, CrossingSide* side) noexcept nogil:
    """A side's decision, to which the machine is turned."""
    search.machine.inputs = side.inputs
    search.machine.owner = side
    return &side.decision


cdef void resolve_touched(void* owner, uint32_t slot) noexcept nogil:
    """As `resolve_input`, and keep in mind what was read."""
    cdef CrossingSide* side = <CrossingSide*>owner
    side.touched[side.touched_count] = <uint16_t>slot
    side.touched_count += 1
    resolve_input(owner, slot)


cdef void sides_forget(CrossingSearch* search) noexcept nogil:
    """Leave both sides as they were made."""
    cdef Crossing* crossing = search.crossing
    cdef const WatchNode* node
    cdef int side
    cdef uint32_t i
    if not search.begun or search.failed:
        return
    for side in range(2):
        side_forget(&crossing.sides[side], search.playbook)
        for i in range(crossing.nodes_count):
            node = &search.playbook.watch.nodes[crossing.nodes[i]]
            forget_node(&crossing.sides[side], search.playbook, node.kind, node.index)
    crossing.nodes_count = 0


cdef void side_forget(CrossingSide* side, const PlaybookState* playbook) noexcept nogil:
    """Forget the conditions that were looked at, and what was read and that was computed of."""
    cdef const InputSpec* spec
    cdef uint32_t i
    for i in range(side.looked_count):
        side.states[side.looked[i]] = CONDITION_UNKNOWN
    side.looked_count = 0
    for i in range(side.touched_count):
        side.inputs[side.touched[i]].tag = TAG_ABSENT
        spec = &playbook.inputs[side.touched[i]]
        if spec.kind == INPUT_CONSENT:
            side.purposes[spec.index] = PURPOSE_UNKNOWN
        else:
            forget_node(side, playbook, spec.kind, spec.index)
    side.touched_count = 0


cdef void forget_node(
    CrossingSide* side, const PlaybookState* playbook, uint8_t kind, uint32_t index
) noexcept nogil:
    """Forget what a segment, a score, a grade or the stage is computed of; no input is."""
    cdef const ScorecardSpec* card
    cdef uint32_t i
    if kind == INPUT_SEGMENT:
        side.segments[index] = CONDITION_UNKNOWN
        forget_conditions(side, &playbook.segments[index].conditions)
    elif kind == INPUT_SCORE:
        memset(&side.scores[index], 0, sizeof(ScoreResult))
        card = &playbook.scorecards[index]
        for i in range(card.rules_count):
            forget_conditions(side, &card.rules[i].conditions)
    elif kind == INPUT_GRADE:
        forget_node(side, playbook, INPUT_SCORE, playbook.grades[index].fit.scorecard)
        forget_node(side, playbook, INPUT_SCORE, playbook.grades[index].engagement.scorecard)
    elif kind == INPUT_STAGE:
        for i in range(playbook.transitions_count):
            forget_conditions(side, &playbook.transitions[i].conditions)


cdef inline void forget_conditions(
    CrossingSide* side, const Indexes* conditions
) noexcept nogil:
    cdef uint32_t i
    for i in range(conditions.count):
        side.states[conditions.items[i]] = CONDITION_UNKNOWN


cdef void look_at_node(
    CrossingSearch* search, const WatchNode* node, uint32_t number
) noexcept nogil:
    """Compute a node on both sides; where it differs, list it and go on to what reads it."""
    cdef Value before, after
    if not sides_begin(search):
        return
    search.crossing.nodes[search.crossing.nodes_count] = number
    search.crossing.nodes_count += 1
    if node.kind == INPUT_SEGMENT and in_segment(
        side_of(search, search.before), node.index
    ) == in_segment(side_of(search, search.after), node.index):
        return
    before = node_value(side_of(search, search.before), node)
    after = node_value(side_of(search, search.after), node)
    if same_values(search.machine, before, after):
        return
    if node.told:
        note_crossed(search, node, number, &before, &after)
    if node.source >= 0:
        source_moved(search, &search.playbook.watch.sources[node.source], before, after)


cdef Value node_value(Decision* decision, const WatchNode* node) noexcept nogil:
    if node.kind == INPUT_SEGMENT:
        return value_bool(in_segment(decision, node.index))
    if node.kind == INPUT_SCORE:
        return value_int(score_result(decision, node.index).points)
    if node.kind == INPUT_GRADE:
        return grade_value(decision, node.index)
    return stage_value(decision)


cdef void note_crossed(
    CrossingSearch* search, const WatchNode* node, uint32_t number, const Value* before,
    const Value* after,
) noexcept nogil:
    cdef Crossing* crossing = search.crossing
    cdef Crossed* to
    if crossing.count == CROSSINGS_MAX:
        crossing.cut += 1
        return
    to = &crossing.crossed[crossing.count]
    crossing.count += 1
    to.node = number
    to.entered = after.as_.i != 0
    if node.kind == INPUT_GRADE:
        note_grade(to, 0, before)
        note_grade(to, 1, after)
    elif node.kind == INPUT_STAGE:
        to.stages[0] = search.before.decision.stage
        to.stages[1] = search.after.decision.stage


cdef inline void note_grade(Crossed* to, int side, const Value* grade) noexcept nogil:
    cdef uint32_t length = grade.length if grade.tag == TAG_STRING else 0
    to.grade_lengths[side] = min(length, <uint32_t>GRADE_TEXT_MAX)
    memcpy(to.grades[side], grade.as_.s, to.grade_lengths[side])


cdef bint cross_tell(
    EngineSeat* seat, Crossing* crossing, const PlaybookState* playbook, const Cause* cause,
    uint32_t depth, int64_t now_us,
) noexcept nogil:
    """Accept the events of what was found; gives whether one of them can itself be a cause."""
    cdef const EventSpec* event
    cdef bint again = False
    cdef uint32_t i
    for i in range(crossing.count):
        event = write_crossing(seat, crossing, playbook, cause, depth, &crossing.crossed[i])
        if seat_store_own(seat, playbook, crossing.identity, cause.ack, now_us):
            count_crossings(seat, 1, 0, 0)
        else:
            count_crossings(seat, 0, 1, 0)
        again |= event_is_cause(playbook.watch, event)
    return again


cdef inline bint event_is_cause(const WatchSpec* watch, const EventSpec* event) noexcept nogil:
    """Whether something told counts an event; the stage, which is in every list, does not."""
    cdef uint32_t i
    for i in range(event.watched.count):
        if watch.sources[event.watched.items[i]].kind != SOURCE_ATTRIBUTE:
            return True
    return False


cdef const EventSpec* write_crossing(
    EngineSeat* seat, const Crossing* crossing, const PlaybookState* playbook, const Cause* cause,
    uint32_t depth, Crossed* crossed,
) noexcept nogil:
    """A TrackRequest of one of the engine's own events."""
    cdef const WatchSpec* watch = playbook.watch
    cdef const WatchNode* node = &watch.nodes[crossed.node]
    cdef Writer* writer = &seat.crossing
    cdef Text name, before, after
    cdef int32_t event
    before.data = after.data = ""
    before.length = after.length = 0
    if node.kind == INPUT_SEGMENT:
        event = watch.entered if crossed.entered else watch.left
        name = playbook.segments[node.index].name
    elif node.kind == INPUT_GRADE:
        event = watch.grade_changed
        name = playbook.grades[node.index].name
        before.data, before.length = &crossed.grades[0][0], crossed.grade_lengths[0]
        after.data, after.length = &crossed.grades[1][0], crossed.grade_lengths[1]
    else:
        event = watch.stage_changed
        name = text_of("stage")
        before, after = playbook.stages[crossed.stages[0]], playbook.stages[crossed.stages[1]]
    writer_reset(writer)
    write_crossing_id(
        writer, crossing, cause, depth, playbook.events[event].name, name, before, after
    )
    write_identity(writer, 2, crossing.identity)
    write_text(writer, 3, playbook.events[event].name)
    write_time(writer, 4, cause.occurred_us)
    write_property(writer, "cause", cause.id)
    if node.kind == INPUT_SEGMENT:
        write_property(writer, "segment", name)
        return &playbook.events[event]
    if node.kind == INPUT_GRADE:
        write_property(writer, "grade", name)
    write_property(writer, "from", before)
    write_property(writer, "to", after)
    return &playbook.events[event]


cdef void write_crossing_id(
    Writer* writer, const Crossing* crossing, const Cause* cause, uint32_t depth, Text event,
    Text name, Text before, Text after,
) noexcept nogil:
    """An id that the same cause gives on every node: a UUIDv7 of its time and a hash."""
    cdef uint64_t parts[8]
    cdef char id[UUID_LENGTH]
    cdef XXH128_hash_t digest = XXH3_128bits_withSeed(cause.id.data, cause.id.length, 0)
    parts[0], parts[1] = digest.low64, digest.high64
    parts[2] = identity_hash(crossing.identity)
    parts[3] = XXH3_64bits(event.data, event.length)
    parts[4] = XXH3_64bits(name.data, name.length)
    parts[5] = XXH3_64bits(before.data, before.length)
    parts[6] = XXH3_64bits(after.data, after.length)
    parts[7] = depth
    digest = XXH3_128bits_withSeed(parts, sizeof(parts), 0)
    spell_uuid7(<uint64_t>cause.id_ms, digest.high64, digest.low64, id)
    event.data = id
    event.length = UUID_LENGTH
    write_text(writer, 1, event)


cdef Cause write_cause(
    const EngineState* state, Text write_id, int64_t occurred_us, int64_t ack, int64_t now_us
) noexcept nogil:
    """What a write that is no event is called as a cause.

    Its moment is that of its id, a UUIDv7; else that it names; else now, and so it is where the
    horizon has passed that moment: the events must not be too late.
    """
    cdef Cause cause
    cause.id = write_id
    cause.ack = ack
    cause.id_ms = uuid7_ms(cause.id)
    if cause.id_ms < 0 and occurred_us >= 0:
        cause.id_ms = occurred_us // 1000
    if cause.id_ms <= horizon_edge_ms(state) or cause.id_ms * 1000 > now_us + AHEAD_US_MAX:
        cause.id_ms = now_us // 1000
    cause.occurred_us = cause.id_ms * 1000
    return cause
