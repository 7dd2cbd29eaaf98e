"""Decide: from a DecideRequest's bytes to a DecideResponse's, without the GIL."""

cdef enum:
    # Bounds what one decision may use; the arena is emptied, not freed, after each.
    DECISION_ARENA_MAX = 16777216
    PREFETCH_CONDITIONS_MAX = 256


cdef struct Serving:
    # What one serving thread uses again for each decision.
    Machine machine
    Person person
    Writer writer
    Fault fault
    # Something was left out of the last answer.
    bint degraded
    # A Leave: what the call at hand leaves out where its placements let it.
    uint8_t leave
    # Until when consents hold in it, by the steady clock in microseconds: as it was known before
    # the person is read.
    uint64_t consents_until_us
    # What its answer rests on.
    Grounds grounds
    # What decisions of a batch have left out, a bit for each Degradation.
    uint32_t left_out
    # Whether the last decision has drawn something in place of a better one.
    bint explored
    # Where decisions are counted; NULL where nobody does.
    Tally* tally
    # Where the call at hand is timed; `untold` for one that nobody times.
    CallTrace* trace
    CallTrace untold
    # Where a decision keeps what it reads, or has it from; NULL for neither.
    Tape* tape
    Replay* replay
    # Of the engine; NULL where decisions have no effect and read nothing of it.
    Budgets* budgets
    # What the last decision holds of them.
    Taken* taken
    # The person is read already, under the latch that the call at hand holds.
    bint person_read
    # Caps let nothing pass: what is proposed cannot be reserved.
    bint caps_shut
    # What the last decision has proposed under caps that reserve, where it may do so.
    bint reserves
    Propositions proposed
    # Whom the last decision has exposed to experiments.
    Exposures exposures


cdef bint serving_init(Serving* serving, StoreState* store) noexcept nogil:
    """False when memory or the store's readers' places are used up."""
    memset(serving, 0, sizeof(Serving))
    serving.trace = &serving.untold
    serving.consents_until_us = CONSENTS_ALWAYS
    if machine_init(&serving.machine, DECISION_ARENA_MAX):
        if person_init(&serving.person, store) == 0:
            return True
    machine_free(&serving.machine)
    return False


cdef void serving_free(Serving* serving) noexcept nogil:
    machine_free(&serving.machine)
    person_free(&serving.person)
    writer_free(&serving.writer)


cdef struct DecideCall:
    # A checked request.
    DecideMessage message
    IdentityRef identity
    int64_t now_us
    # The node's clock, whatever moment is asked about.
    int64_t clock_us
    const PlacementSpec* placements[PLACEMENTS_MAX]
    # Marks for scorecards, then grades.
    uint8_t* scores


cdef int fault_arena(Fault* fault) noexcept nogil:
    return fault_set(
        fault, FAULT_INVALID, "request", "too large", "what is decided within 16 MiB"
    )


cdef int check_placements(
    const PlaybookState* playbook, DecideCall* call, Fault* fault
) noexcept nogil:
    cdef DecideMessage* message = &call.message
    cdef int32_t index
    cdef uint32_t i, j
    for i in range(message.placements_count):
        index = names_find(&playbook.placement_names, message.placements[i])
        if index < 0:
            return fault_unknown(
                fault, "placements", "placement", message.placements[i],
                &playbook.placement_names,
            )
        call.placements[i] = &playbook.placements[index]
        for j in range(i):
            if call.placements[j] == call.placements[i]:
                return fault_name(
                    fault, FAULT_INVALID, "placements", message.placements[i], "each once"
                )
    return FAULT_NONE


cdef int check_scores(
    const PlaybookState* playbook, DecideCall* call, Arena* arena, Fault* fault
) noexcept nogil:
    cdef int32_t index
    cdef uint32_t i
    call.scores = <uint8_t*>arena_zeroed(arena, playbook.score_names.count)
    if call.scores == NULL:
        return fault_arena(fault)
    for i in range(call.message.scores_count):
        if text_equal(call.message.scores[i], text_of("*")):
            memset(call.scores, 1, playbook.score_names.count)
            continue
        index = names_find(&playbook.score_names, call.message.scores[i])
        if index < 0:
            return fault_unknown(
                fault, "scores", "score", call.message.scores[i], &playbook.score_names
            )
        call.scores[index] = True
    return FAULT_NONE


cdef int check_decide(
    const PlaybookState* playbook, DecideCall* call, Arena* arena, int64_t clock_us, Fault* fault
) noexcept nogil:
    """Check all of a request but its values."""
    cdef int kind = check_id(call.message.decision_id, "decision_id", False, fault)
    if kind == FAULT_NONE:
        kind = check_identity(&call.message.identity, "identity", &call.identity, fault)
    call.now_us = call.clock_us = clock_us
    if kind == FAULT_NONE and call.message.now.present:
        kind = check_time(&call.message.now, "now", &call.now_us, fault)
    if kind == FAULT_NONE:
        kind = check_placements(playbook, call, fault)
    if kind == FAULT_NONE:
        kind = check_scores(playbook, call, arena, fault)
    return kind


cdef void set_input(
    Machine* machine, int32_t slot, Value value, uint8_t type, const Value* default_value
) noexcept nogil:
    value = value_or_default(value, type, default_value)
    if value.tag == TAG_NULL:
        value.extra = <uint16_t>slot
    machine.inputs[slot] = value


cdef int set_context(
    const PlaybookState* playbook, Machine* machine, Entries* context, Fault* fault
) noexcept nogil:
    """Put the request's context into the input slots; the last one of a name wins."""
    cdef const FieldSpec* spec
    cdef const Value* default_value
    cdef Entry* entry
    cdef int32_t index
    cdef uint32_t i
    for i in range(context.count):
        entry = &context.items[i]
        index = names_find(&playbook.context_names, entry.name)
        if index < 0:
            return fault_unknown(
                fault, "context", "context field", entry.name, &playbook.context_names
            )
        spec = &playbook.context[index]
        if fit_value(&entry.value, spec.type, 0, True, "context", entry.name, fault):
            return fault.kind
        if spec.input >= 0:
            default_value = &playbook.inputs[spec.input].default_value
            set_input(machine, spec.input, entry.value, spec.type, default_value)
    return FAULT_NONE


cdef int32_t find_attribute(const PlaybookState* playbook, Text name) noexcept nogil:
    """An attribute that a request may name, or -1."""
    cdef int32_t index = names_find(&playbook.attribute_names, name)
    return index if index < <int32_t>playbook.attribute_names.visible else -1


cdef int set_attributes(
    const PlaybookState* playbook, Machine* machine, Entries* attributes, Fault* fault
) noexcept nogil:
    """Put the request's attributes into the input slots, over the stored ones."""
    cdef const AttributeSpec* spec
    cdef Entry* entry
    cdef int32_t index
    cdef uint32_t i
    for i in range(attributes.count):
        entry = &attributes.items[i]
        index = find_attribute(playbook, entry.name)
        if index < 0:
            return fault_unknown(
                fault, "attributes", "attribute", entry.name, &playbook.attribute_names
            )
        spec = &playbook.attributes[index]
        if fit_value(&entry.value, spec.type, spec.size, True, "attributes", entry.name, fault):
            return fault.kind
        if spec.input >= 0:
            set_input(machine, spec.input, entry.value, spec.type, &spec.default_value)
    return FAULT_NONE


cdef int begin_call(
    Serving* serving, const PlaybookState* playbook, StoreState* store, DecideCall* call,
    Decision* decision, Fault* fault,
) noexcept nogil:
    """Read the person and lay the request's values over it."""
    cdef Machine* machine = &serving.machine
    cdef StoreStatus status
    cdef int kind
    if serving.replay != NULL:
        status = STORE_OK if serving.replay.person_known else STORE_UNKNOWN
    elif serving.person_read:
        status = STORE_OK if serving.person.count else STORE_UNKNOWN
    else:
        status = store_read(store, call.identity, &serving.person)
    serving.person_read = False
    if status != STORE_OK and status != STORE_UNKNOWN:
        return fault_set(fault, FAULT_MEMORY, "profile", "", "")
    if not decision_begin(
        decision, playbook, machine, &serving.person, status == STORE_OK, call.identity,
        call.now_us, call.message.seed,
    ):
        return fault_arena(fault)
    decision.trace = serving.trace
    decision.leave = serving.leave
    decision.consent_stale = consents_ended(serving.consents_until_us)
    serving.grounds.person = serving.person.grounds
    serving.grounds.consents = playbook.asks_consents and not decision.consent_stale
    decision.tape = serving.tape
    decision.replay = serving.replay
    decision.budgets = serving.budgets
    if playbook.budgets_count and serving.budgets != NULL:
        decision.hold_key = hold_key(call.message.decision_id)
        decision.hold_person = identity_hash(call.identity)
    decision.clock_us = call.clock_us
    decision.caps_shut = serving.caps_shut
    if playbook.reservations != NULL:
        decision.own_hash = decision_hash(call.message.decision_id)
    if decision.replay == NULL:
        contact_begin(decision)
    kind = set_context(playbook, machine, &call.message.context, fault)
    if kind == FAULT_NONE:
        kind = set_attributes(playbook, machine, &call.message.attributes, fault)
    return kind


cdef int rank_placements(
    Decision* decision, DecideCall* call, Ranking* rankings, Fault* fault
) noexcept nogil:
    """Fill every requested placement, in the request's order."""
    cdef Arena* arena = &decision.machine.arena
    cdef const PlacementSpec* placement
    cdef uint8_t* taken
    cdef uint32_t i
    taken = <uint8_t*>arena_zeroed(arena, decision.playbook.actions_count)
    for i in range(call.message.placements_count):
        placement = call.placements[i]
        rankings[i].slots = <Slot*>arena_take(arena, placement.slots * sizeof(Slot))
        rankings[i].candidates = <Candidate*>arena_take(
            arena, (placement.candidates_count + 1) * sizeof(Candidate)
        )
        if taken == NULL or rankings[i].slots == NULL or rankings[i].candidates == NULL:
            return fault_arena(fault)
        rankings[i].exploring = NULL
        if placement.explorer:
            rankings[i].exploring = exploring_begin(arena, placement, &call.message)
            if rankings[i].exploring == NULL:
                return fault_arena(fault)
        rank_placement(decision, placement, &rankings[i], call.message.explain)
        fill_slots(decision, placement, &rankings[i], taken)
        step_end(decision.trace, STEP_ARBITRATE)
    return FAULT_NONE


cdef void write_answer(
    Decision* decision, DecideCall* call, Ranking* rankings, const Header* header,
    Writer* writer, Exposures* exposures,
) noexcept nogil:
    cdef const PlaybookState* playbook = decision.playbook
    cdef uint32_t i
    write_header(writer, header)
    write_degraded(writer, header_left_out(header) | decision_left_out(decision))
    write_text(writer, 5, call.message.decision_id)
    write_uint(writer, 6, decision.person_known)
    for i in range(call.message.placements_count):
        write_placement(decision, writer, call.placements[i], &rankings[i])
    for i in range(playbook.scorecards_count):
        if call.scores[i]:
            write_score(decision, writer, 8, i, call.message.explain)
    for i in range(playbook.grades_count):
        if call.scores[playbook.scorecards_count + i]:
            write_grade(decision, writer, 9, i)
    write_stage(decision, writer, 10)
    if call.message.segments:
        write_segments(decision, writer, 11)
    write_time(writer, 12, call.now_us)
    write_fixed64(writer, 13, call.message.seed)
    write_text(writer, 14, playbook_hash(playbook))
    # What follows looks at more than the decision has read.
    if exposures != NULL:
        note_exposures(decision, exposures)
    write_assignments(decision, writer, 16, call.message.explain)
    if call.message.explain:
        for i in range(call.message.placements_count):
            write_explanation(decision, writer, call.placements[i], &rankings[i])
        if playbook.watch != NULL:
            write_triggers(decision, writer, 17)


cdef inline Text playbook_hash(const PlaybookState* playbook) noexcept nogil:
    cdef Text text
    text.data = &playbook.hash_text[0]
    text.length = 32
    return text


cdef void prefetch_playbook(
    const PlaybookState* playbook, const DecideCall* call
) noexcept nogil:
    """Ask for what every decision reads, all at once and ahead of the first use.

    Between two calls a server does much else, and the caches hold little of the playbook.
    """
    cdef uint32_t i
    # Rules of the contact policy stand last: few of them are looked at.
    cdef uint32_t conditions = playbook.conditions_count - playbook.contact_count
    for i in range(min(conditions, <uint32_t>PREFETCH_CONDITIONS_MAX)):
        fetch_ahead(&playbook.conditions[i])
    prefetch(playbook.inputs, playbook.inputs_count * sizeof(InputSpec))
    prefetch(playbook.gate_starts, playbook.actions_count * sizeof(uint32_t))
    prefetch(playbook.gate_items, playbook.gate_starts[playbook.actions_count] * sizeof(uint32_t))
    for i in range(call.message.placements_count):
        prefetch(
            call.placements[i].candidates,
            call.placements[i].candidates_count * sizeof(uint32_t),
        )
    for i in range(playbook.scorecards_count):
        if call.scores[i]:
            prefetch(
                playbook.scorecards[i].rules,
                playbook.scorecards[i].rules_count * sizeof(RuleSpec),
            )


cdef inline int rank_call(
    Serving* serving, const PlaybookState* playbook, StoreState* store, DecideCall* call,
    Decision* decision, Ranking* rankings, bint budgets_shut,
) noexcept nogil:
    """From a checked request to what is proposed."""
    cdef int kind = begin_call(serving, playbook, store, call, decision, &serving.fault)
    decision.budgets_shut = budgets_shut
    step_end(serving.trace, STEP_GATE)
    if kind == FAULT_NONE:
        kind = rank_placements(decision, call, rankings, &serving.fault)
    return kind


cdef inline bint spends(
    const Serving* serving, const PlaybookState* playbook, const DecideCall* call
) noexcept nogil:
    """Whether what is proposed takes of budgets: a preview and a replay have no effect."""
    return playbook.budgets_count and serving.budgets != NULL and (
        serving.replay == NULL and not call.message.preview
    )


cdef int spend_call(
    Serving* serving, const PlaybookState* playbook, StoreState* store, DecideCall* call,
    Decision* decision, Ranking* rankings,
) noexcept nogil:
    """Hold what is proposed of its budgets, and decide again where others were first."""
    cdef int tries, kind
    for tries in range(1, BUDGET_TRIES + 1):
        if budgets_hold(serving, decision, call, rankings):
            return FAULT_NONE
        if serving.tape != NULL:
            tape_begin(serving.tape)
        # The last time without what takes of budgets: then nothing is to be held.
        kind = rank_call(
            serving, playbook, store, call, decision, rankings, tries == BUDGET_TRIES
        )
        if kind != FAULT_NONE:
            return kind
    return FAULT_NONE


cdef struct Deciding:
    # A decision and its rankings, whose slots lie in the arena.
    Decision decision
    Ranking rankings[PLACEMENTS_MAX]


cdef int decide_call(
    Serving* serving, const PlaybookState* playbook, StoreState* store, DecideCall* call,
    const Header* header, Deciding* made,
) noexcept nogil:
    """Decide a checked request and append the answer to the serving thread's writer.

    `decide_told` follows where the answer is given.
    """
    cdef Decision* decision = &made.decision
    cdef Ranking* rankings = &made.rankings[0]
    cdef Writer* writer = &serving.writer
    cdef size_t start = writer.length
    cdef int kind
    cdef bint bound_reached
    serving.taken = NULL
    prefetch_playbook(playbook, call)
    kind = rank_call(serving, playbook, store, call, decision, rankings, False)
    if kind == FAULT_NONE and spends(serving, playbook, call):
        kind = spend_call(serving, playbook, store, call, decision, rankings)
    if kind != FAULT_NONE:
        return kind
    bound_reached = decision.bound_reached
    write_answer(decision, call, rankings, header, writer, &serving.exposures)
    if decision.bound_reached != bound_reached:
        # A score met its bound while it was written: say so at the head of the answer.
        writer.length = start
        write_answer(decision, call, rankings, header, writer, NULL)
    if serving.reserves:
        note_propositions(
            decision, call.placements, rankings, call.message.placements_count, &serving.proposed
        )
    step_end(serving.trace, STEP_ENCODE)
    if writer.failed:
        budgets_undo(serving)
        return fault_set(
            &serving.fault, FAULT_INVALID, "explain", "an answer over 64 MiB", "fewer placements"
        )
    return FAULT_NONE


cdef inline void decide_told(
    Serving* serving, const DecideCall* call, const Header* header, const Deciding* made
) noexcept nogil:
    """Count a decision whose answer stands, and what it has left out."""
    cdef const Decision* decision = &made.decision
    serving.explored = decision.explored
    # Of a moment that was named nothing ends.
    serving.grounds.until_us = INT64_MAX if call.message.now.present else decision.consents_end_us
    serving.left_out |= decision_left_out(decision)
    serving.degraded |= (header_left_out(header) | decision_left_out(decision)) != 0
    if spends(serving, decision.playbook, call):
        budgets_count(serving, decision.playbook, decision)
    if TELEMETRY and serving.tally != NULL:
        tally_decision(serving.tally, decision, call, &made.rankings[0], header)


cdef void tally_decision(
    Tally* tally, const Decision* decision, const DecideCall* call, const Ranking* rankings,
    const Header* header,
) noexcept nogil:
    """Count an answered decision."""
    cdef uint32_t i
    for i in range(call.message.placements_count):
        tally_placement(tally, call.placements[i], &rankings[i])
    if decision.scores_skipped:
        counter_add(&tally.degraded[<int>DEGRADATION_SCORES_SKIPPED], 1)
    if decision.fallback_only:
        counter_add(&tally.degraded[<int>DEGRADATION_FALLBACK_ONLY], 1)
    if decision.bound_reached:
        counter_add(&tally.degraded[<int>DEGRADATION_BOUND_REACHED], 1)
    if decision.budget_waits:
        counter_add(&tally.degraded[<int>DEGRADATION_BUDGET_WAIT], 1)
    if header.log_away:
        counter_add(&tally.degraded[<int>DEGRADATION_LOG_AWAY], 1)
    if decision.consent_stale:
        counter_add(&tally.degraded[<int>DEGRADATION_CONSENT_STALE], 1)


cdef inline void tally_placement(
    Tally* tally, const PlacementSpec* placement, const Ranking* ranking
) noexcept nogil:
    cdef PlacementTally* told = &tally.placements[placement.told]
    cdef const Slot* slot
    cdef uint32_t i
    counter_add(&told.decisions, 1)
    # Without asking which are 0: ten sums cost less than a branch that is guessed wrong.
    for i in range(1, FATES):
        counter_add(&told.fates[i], ranking.fates[i])
    for i in range(ranking.slots_filled):
        slot = &ranking.slots[i]
        if slot.fallback:
            counter_add(&told.fallbacks, 1)
            counter_add(&tally.pairs[placement.told_pairs[placement.candidates_count]], 1)
        else:
            counter_add(&tally.pairs[placement.told_pairs[slot.candidate.order]], 1)
            if slot.explored:
                counter_add(&told.explored, 1)
