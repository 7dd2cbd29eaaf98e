"""One decision under way: what has been read and computed so far, each at most once.

Pure: nothing here reads a clock, draws at random or writes to the store.
"""

cdef enum ConditionState:
    CONDITION_UNKNOWN = 0
    CONDITION_TRUE = 1
    CONDITION_FALSE = 2
    CONDITION_ERROR = 3


cdef enum Leave:
    # What a decision leaves out, and how far a placement lets it; each includes the one before.
    LEAVE_NOTHING = 0
    LEAVE_SCORING = 1
    LEAVE_RANKING = 2


cdef enum:
    # Expressions that read segments and scores evaluate others; publishing refuses cycles.
    NESTING_MAX = 64
    # So many rules of the contact policy are looked at before any candidate is.
    CONTACT_LOOKED_MAX = 16
    STAGE_UNKNOWN = -1


cdef struct LedgerLine:
    # The rule, or -1 for what a bound took or gave.
    int32_t rule
    int64_t points
    int64_t count
    # The input slot that made the condition an error; SLOT_NONE for none.
    uint16_t missing


cdef struct ScoreResult:
    bint known
    int64_t points
    LedgerLine* lines
    uint32_t lines_count


cdef struct Assignment:
    # An AssignmentReason; the variant is -1 where it gives none.
    uint8_t reason
    bint exposed
    # An earlier exposure is stored, of this variant or of one that is gone.
    bint known
    int32_t variant
    double bucket


cdef struct ContactCount:
    # What a rule of the contact policy has counted, what other decisions wait to be counted, and
    # what this decision adds.  Small: there may be one for each action, zeroed for each decision.
    uint32_t counted
    uint32_t reserved
    int64_t given


cdef struct Exposures:
    # Experiments, and the variant read of each.
    uint16_t experiments[EXPERIMENTS_MAX]
    uint16_t variants[EXPERIMENTS_MAX]
    uint32_t count


cdef struct Decision:
    const PlaybookState* playbook
    Machine* machine
    const Person* person
    bint person_known
    # Whom the request names; empty where none does.
    IdentityRef identity
    int64_t now_us
    uint64_t seed
    uint8_t* states
    # For a condition in error: the error's value.
    Value* errors
    ScoreResult* scores
    uint8_t* segments
    Assignment* assignments
    ContactCount* contact
    # By rule, whether anything is kept of what it counts, where that is known; else NULL.
    uint8_t* contact_kept
    # Rules that have to be looked at, the first ones of so many.
    uint32_t looked[CONTACT_LOOKED_MAX]
    uint32_t looked_count
    # Every rule of the contact policy holds, as far as what is counted goes.
    bint contact_clear
    # What is left of the budgets, NULL where nobody keeps them; and what was read of each.
    Budgets* budgets
    BudgetView* budget_views
    # What of them is its own, where it is asked for again: see HoldName.
    uint64_t hold_key
    uint64_t hold_person
    # Of the node, which budgets go by.
    int64_t clock_us
    # Others were first, again and again: what takes of a budget is not proposed.
    bint budgets_shut
    # Something was not proposed since a part of a budget is not granted yet.
    bint budget_waits
    # The hash of its id, for the reservations that it makes and has made; and whether those of
    # others are counted, or stand for all that caps allow since none could be made.
    uint64_t own_hash
    bint reservations_counted
    bint caps_shut
    # The person's time zone, once something has asked for it.
    Zone zone
    # Of the playbook's purposes and channels: PURPOSE_UNKNOWN or CHANNEL_UNKNOWN, and what follows.
    uint8_t* purposes
    uint8_t* channels
    int32_t stage
    # The action being ranked, and its factors.
    const ActionSpec* action
    double factors[FACTORS]
    uint8_t factor_states[FACTORS]
    Value factor_error
    uint32_t nesting
    # A step or memory bound was reached somewhere.
    bint bound_reached
    # A slot has what was drawn in place of a better one.
    bint explored
    # How much may be left out, a Leave; and what was: scores, or all but a fallback.
    uint8_t leave
    bint scores_skipped
    bint fallback_only
    # No consent holds: what revoked it may not be here yet.
    bint consent_stale
    # When the first of the consents that hold ends; INT64_MAX where none does.
    int64_t consents_end_us
    CallTrace* trace
    # Where what is read of the person is kept; NULL for nowhere.
    Tape* tape
    # Where it is read from in place of the person; NULL for a decision that is not decided again.
    Replay* replay


cdef bint decision_begin(
    Decision* decision, const PlaybookState* playbook, Machine* machine, const Person* person,
    bint person_known, IdentityRef identity, int64_t now_us, uint64_t seed,
) noexcept nogil:
    """Prepare a decision in the machine's arena; False when the arena is too small for it."""
    cdef Arena* arena = &machine.arena
    memset(decision, 0, sizeof(Decision))
    decision.playbook = playbook
    decision.machine = machine
    decision.person = person
    decision.person_known = person_known
    decision.identity = identity
    decision.now_us = now_us
    decision.seed = seed
    decision.stage = STAGE_UNKNOWN
    decision.consents_end_us = INT64_MAX
    decision.states = <uint8_t*>arena_zeroed(arena, playbook.conditions_count)
    decision.errors = <Value*>arena_take(arena, playbook.conditions_count * sizeof(Value))
    decision.scores = <ScoreResult*>arena_zeroed(
        arena, playbook.scorecards_count * sizeof(ScoreResult)
    )
    decision.segments = <uint8_t*>arena_zeroed(arena, playbook.segments_count)
    decision.assignments = <Assignment*>arena_zeroed(
        arena, playbook.experiments_count * sizeof(Assignment)
    )
    decision.contact = <ContactCount*>arena_zeroed(
        arena, playbook.contact_count * sizeof(ContactCount)
    )
    decision.budget_views = <BudgetView*>arena_zeroed(
        arena, playbook.budgets_count * sizeof(BudgetView)
    )
    decision.purposes = <uint8_t*>arena_zeroed(arena, playbook.purposes_count)
    decision.channels = <uint8_t*>arena_zeroed(arena, playbook.channels_count)
    machine.inputs = <Value*>arena_zeroed(arena, playbook.inputs_count * sizeof(Value))
    machine.inputs_count = playbook.inputs_count
    machine.resolve = resolve_input
    machine.owner = decision
    machine.top = 0
    return (
        decision.states != NULL and decision.errors != NULL and decision.scores != NULL
        and decision.segments != NULL and decision.assignments != NULL
        and decision.contact != NULL and decision.budget_views != NULL
        and decision.purposes != NULL
        and decision.channels != NULL and machine.inputs != NULL
    )


cdef inline void* arena_zeroed(Arena* arena, size_t size) noexcept nogil:
    cdef void* memory = arena_take(arena, size if size else 1)
    if memory != NULL:
        memset(memory, 0, size)
    return memory


# Inline by request, and the next one: a compiler that looks at their caller's size leaves them out,
# at 10 instructions for each condition.
cdef inline Value decision_evaluate(Decision* decision, const Program* program) noexcept nogil:
    """Evaluate within the decision; nested evaluations share the outer one's steps."""
    cdef Value value
    if decision.nesting == 0:
        decision.machine.steps_left = STEPS_MAX
    if decision.nesting >= NESTING_MAX:
        return value_error(ERROR_STEPS, SLOT_NONE)
    decision.nesting += 1
    value = evaluate(decision.machine, program)
    decision.nesting -= 1
    if value.tag == TAG_ERROR and (value.flag == ERROR_STEPS or value.flag == ERROR_MEMORY):
        decision.bound_reached = True
    return value


cdef inline uint8_t condition_evaluate(Decision* decision, uint32_t index) noexcept nogil:
    cdef const ConditionSpec* condition = &decision.playbook.conditions[index]
    cdef uint8_t state = CONDITION_ERROR
    cdef Value value
    if condition.contact == NULL:
        value = decision_evaluate(decision, &condition.program)
    else:
        value = contact_holds(decision, condition.contact)
    if value.tag == TAG_BOOL:
        state = CONDITION_TRUE if value.as_.i else CONDITION_FALSE
    elif value.tag == TAG_ERROR:
        decision.errors[index] = value
    else:
        decision.errors[index] = value_error(ERROR_NO_OVERLOAD, SLOT_NONE)
    decision.states[index] = state
    return state


cdef inline uint8_t condition_state(Decision* decision, uint32_t index) noexcept nogil:
    cdef uint8_t state = decision.states[index]
    return state if state != CONDITION_UNKNOWN else condition_evaluate(decision, index)


cdef inline int64_t first_failing(Decision* decision, const Indexes* conditions) noexcept nogil:
    """The first condition that is not true, or -1 when all hold."""
    cdef uint32_t i
    for i in range(conditions.count):
        if condition_state(decision, conditions.items[i]) != CONDITION_TRUE:
            return conditions.items[i]
    return -1


cdef bint in_segment(Decision* decision, uint32_t index) noexcept nogil:
    cdef uint8_t state = decision.segments[index]
    if state == CONDITION_UNKNOWN:
        state = CONDITION_TRUE
        if first_failing(decision, &decision.playbook.segments[index].conditions) >= 0:
            state = CONDITION_FALSE
        decision.segments[index] = state
    return state == CONDITION_TRUE


cdef Value decision_attribute(Decision* decision, uint32_t index) noexcept nogil:
    """An attribute of the person; null when it is unset."""
    cdef const AttributeSpec* spec = &decision.playbook.attributes[index]
    cdef Value value
    if decision.replay != NULL:
        value = decision.replay.attributes[index].value
        if value.tag == TAG_ABSENT:
            replay_lacks(decision.replay, INPUT_OF_ATTRIBUTE, index)
        return value if value.tag != TAG_ABSENT else value_null()
    value = person_attribute(decision.person, spec.column, &decision.machine.arena)
    if decision.tape != NULL:
        tape_attribute(decision.tape, index, &value)
    return value


cdef Value decision_counter(Decision* decision, uint32_t index) noexcept nogil:
    """A counter's value over its window at the decision's moment."""
    cdef const CounterSpec* spec = &decision.playbook.counters[index]
    cdef bint approximate = False
    cdef Value value
    if decision.replay != NULL:
        value = decision.replay.counters[index].value
        if value.tag == TAG_ABSENT:
            replay_lacks(decision.replay, INPUT_OF_COUNTER, index)
        return value if value.tag != TAG_ABSENT else value_null()
    value = person_counter(
        decision.person, spec.column, decision.now_us, &decision.machine.arena, &approximate
    )
    if decision.tape != NULL:
        tape_counter(decision.tape, index, &value)
    return value


cdef void decision_ages(Decision* decision, uint32_t index, Ages* ages) noexcept nogil:
    """How many events of a counter there are, by age."""
    cdef const CounterSpec* spec = &decision.playbook.counters[index]
    if decision.replay != NULL:
        ages_empty(
            &decision.person.store.counters[spec.column], decision.now_us, ages
        )
        if not decision.replay.counters[index].has_ages:
            replay_lacks(decision.replay, INPUT_OF_COUNTER, index)
        replay_ages(&decision.replay.counters[index], ages)
        return
    person_ages(decision.person, spec.column, decision.now_us, ages)
    if decision.tape != NULL:
        tape_ages(decision.tape, index, ages)


cdef int64_t* decision_moments(
    Decision* decision, uint32_t index, uint32_t* count
) noexcept nogil:
    """When the events were that a counter of moments keeps, in no order; NULL without memory."""
    cdef const CounterSpec* spec = &decision.playbook.counters[index]
    cdef Arena* arena = &decision.machine.arena
    cdef int64_t* moments
    if decision.replay != NULL:
        if not decision.replay.counters[index].has_moments:
            replay_lacks(decision.replay, INPUT_OF_COUNTER, index)
        return replay_moments(&decision.replay.counters[index], arena, count)
    moments = person_moments(decision.person, spec.column, arena, count)
    if decision.tape != NULL and moments != NULL:
        tape_moments(decision.tape, index, moments, count[0])
    return moments


cdef const BudgetView* decision_budget(Decision* decision, uint32_t index) noexcept nogil:
    """What is left of a budget; read once a decision."""
    cdef BudgetView* view = &decision.budget_views[index]
    if view.known:
        return view
    if decision.replay != NULL:
        view[0] = decision.replay.budgets[index]
        if not view.known:
            replay_lacks(decision.replay, INPUT_OF_BUDGET, index)
            view.left = decision.playbook.budgets[index].most
    elif decision.budgets != NULL and not decision.budgets_shut:
        budget_look(
            decision.budgets, decision.playbook, index, decision.clock_us, decision.hold_key,
            decision.hold_person, view,
        )
    else:
        view.more = decision.budgets_shut
    view.known = True
    if decision.tape != NULL:
        tape_budget(decision.tape, index, view)
    return view


cdef Value read_attribute(
    Decision* decision, uint8_t type, uint32_t index, const Value* default_value
) noexcept nogil:
    """An attribute as expressions see it: the default when unset, a list never null."""
    cdef Value value = decision_attribute(decision, index)
    return value_or_default(value, type, default_value)


cdef inline Value value_or_default(
    Value value, uint8_t type, const Value* default_value
) noexcept nogil:
    if value.tag == TAG_NULL:
        value = default_value[0]
        value.flag = FLAG_DEFAULT
    if value.tag == TAG_NULL and type >= TYPE_STRING_LIST:
        memset(&value, 0, sizeof(Value))
        value.tag = TAG_LIST
    return value


cdef void resolve_input(void* owner, uint32_t slot) noexcept nogil:
    """Fill one input slot when the VM first reads it."""
    cdef Decision* decision = <Decision*>owner
    cdef const InputSpec* spec = &decision.playbook.inputs[slot]
    cdef Value value = input_value(decision, spec)
    if value.tag == TAG_NULL:
        # So that an error which an unset input causes can name it.
        value.extra = <uint16_t>slot
    decision.machine.inputs[slot] = value


cdef inline Value decision_input(Decision* decision, uint32_t slot) noexcept nogil:
    """What an expression would read in a slot."""
    if decision.machine.inputs[slot].tag == TAG_ABSENT:
        resolve_input(decision, slot)
    return decision.machine.inputs[slot]


cdef Value input_value(Decision* decision, const InputSpec* spec) noexcept nogil:
    if spec.kind == INPUT_ATTRIBUTE:
        return read_attribute(decision, spec.type, spec.index, &spec.default_value)
    if spec.kind == INPUT_COUNTER:
        return decision_counter(decision, spec.index)
    if spec.kind == INPUT_CONTEXT:
        return value_or_default(value_null(), spec.type, &spec.default_value)
    if spec.kind == INPUT_SEGMENT:
        return value_bool(in_segment(decision, spec.index))
    if spec.kind == INPUT_SCORE:
        return value_int(score_result(decision, spec.index).points)
    if spec.kind == INPUT_GRADE:
        return grade_value(decision, spec.index)
    if spec.kind == INPUT_STAGE:
        return stage_value(decision)
    if spec.kind == INPUT_NOW:
        return value_timestamp_us(decision.now_us)
    if spec.kind == INPUT_EXPERIMENT:
        return experiment_value(decision, spec.index)
    if spec.kind == INPUT_HOLDOUT:
        return value_bool(held_out(decision, spec.index))
    if spec.kind == INPUT_CONSENT:
        return consent_value(decision, spec.index)
    if spec.kind == INPUT_ACTION:
        return decision.action.attributes[spec.index]
    return factor_value(decision, spec.index)
