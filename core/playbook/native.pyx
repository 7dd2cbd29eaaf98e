"""The playbook in native form: a Plan copied into arrays of C that decisions only read."""


# Inputs that are an experiment, or are computed by expressions that may read one.
cdef frozenset EXPOSING_KINDS = frozenset(
    (INPUT_SEGMENT, INPUT_SCORE, INPUT_GRADE, INPUT_STAGE, INPUT_EXPERIMENT)
)


def ranges_of(numbers: set[int]) -> list[int]:
    """Numbers by rising order, as pairs of a first one and how many follow one another."""
    firsts = sorted(one for one in numbers if one - 1 not in numbers)
    ends = sorted(one + 1 for one in numbers if one + 1 not in numbers)
    return [each for first, end in zip(firsts, ends) for each in (first, end - first)]


# Of the last watch that was made, under the GIL.
cdef uint64_t WATCHES_MADE = 0


@cython.final
cdef class Playbook:
    """One generation: the native form of a Plan.  Immutable once made."""

    cdef PlaybookState state
    cdef readonly object plan
    cdef public object published_at_us
    cdef public object description
    cdef vector[void*] blocks
    cdef char* block
    cdef size_t block_left
    cdef Arena values
    cdef list kept

    def __cinit__(self, plan, attribute_columns, counter_columns, bint writes=True):
        """`writes`: whether writes are accepted under it, whose crossings are then told."""
        self.plan = plan
        self.kept = []
        self.published_at_us = 0
        self.description = ""
        if not arena_init(&self.values, PLAYBOOK_VALUES_MAX):
            raise MemoryError
        self.load_hash(plan.hash)
        self.load_codes()
        self.load_contact()
        self.load_budgets()
        self.load_time_zone()
        self.load_schema(attribute_columns, counter_columns)
        self.load_consents()
        self.load_contact_columns()
        self.load_inputs()
        self.load_scores()
        self.load_actions()
        self.load_placements()
        self.load_experiments()
        self.load_reservations()
        if writes:
            self.load_watch()

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.state.conditions_count):
            program_free(&self.state.conditions[i].program)
        for i in range(self.state.expressions_count):
            program_free(&self.state.expressions[i].program)
        for i in range(self.state.counters_count):
            if self.state.counters[i].filtered:
                program_free(&self.state.counters[i].filter)
        free(self.state.attribute_names.table)
        free(self.state.context_names.table)
        free(self.state.event_names.table)
        free(self.state.score_names.table)
        free(self.state.placement_names.table)
        if self.state.events != NULL:
            for i in range(self.state.event_names.count):
                free(self.state.events[i].property_names.table)
        for i in range(self.blocks.size()):
            free(self.blocks[i])
        arena_free(&self.values)

    cdef void* take(self, size_t size) except NULL:
        """Zeroed memory that lives as long as the playbook, beside what was taken before.

        A decision reads much of the playbook: side by side, fewer cache lines hold it.
        """
        cdef void* taken
        size = (size + 16) & ~<size_t>15
        if size > self.block_left:
            taken = calloc(1, max(size, <size_t>BLOCK_BYTES))
            if taken == NULL:
                raise MemoryError("playbook")
            self.blocks.push_back(taken)
            self.block = <char*>taken
            self.block_left = max(size, <size_t>BLOCK_BYTES)
        taken = self.block
        self.block += size
        self.block_left -= size
        return taken

    cdef Text text(self, value) except *:
        """A Text of a str that lives as long as the playbook."""
        cdef Text text
        data = (<str>value).encode()
        self.kept.append(data)
        text.data = <char*>(<bytes>data)
        text.length = <uint32_t>len(data)
        return text

    cdef Text* texts(self, values) except NULL:
        cdef Text* texts = <Text*>self.take(len(values) * sizeof(Text))
        for i, value in enumerate(values):
            texts[i] = self.text(value)
        return texts

    cdef Indexes indexes(self, values) except *:
        cdef Indexes indexes
        indexes.count = <uint32_t>len(values)
        indexes.items = <uint32_t*>self.take(len(values) * sizeof(uint32_t))
        for i, value in enumerate(values):
            indexes.items[i] = value
        return indexes

    cdef int load_hash(self, hash_bytes) except -1:
        if len(hash_bytes) != sizeof(self.state.hash):
            raise ValueError(f"plan.hash: {len(hash_bytes)} bytes, allowed: 16")
        memcpy(self.state.hash, <char*>(<bytes>hash_bytes), 16)
        text = hash_bytes.hex().encode()
        memcpy(self.state.hash_text, <char*>(<bytes>text), 33)
        return 0

    cdef int load_codes(self) except -1:
        self.fill_codes(
            self.plan.conditions, len(self.plan.contact), &self.state.conditions,
            &self.state.conditions_count,
        )
        self.fill_codes(
            self.plan.expressions, 0, &self.state.expressions, &self.state.expressions_count
        )
        return 0

    cdef int fill_codes(
        self, codes, size_t more, ConditionSpec** to, uint32_t* count
    ) except -1:
        to[0] = <ConditionSpec*>self.take((len(codes) + more) * sizeof(ConditionSpec))
        for i, code in enumerate(codes):
            program_load(&to[0][i].program, code)
            to[0][i].text = self.text(code.text)
            to[0][i].spared = self.exposes(code)
            # Counted one by one, so that a failure half-way frees what was loaded.
            count[0] = i + 1
        return 0

    cdef bint exposes(self, code) except -1:
        """Whether a code reads an experiment, or what may read one."""
        if not self.plan.experiments:
            return False
        kinds = {int(self.plan.inputs[slot].kind) for slot in code.slots}
        return bool(kinds & EXPOSING_KINDS)

    cdef int load_contact(self) except -1:
        cdef ConditionSpec* condition
        cdef ContactSpec* spec
        rules = self.plan.contact
        self.state.contact = <ContactSpec*>self.take(len(rules) * sizeof(ContactSpec))
        self.state.contact_count = <uint32_t>len(rules)
        for i, rule in enumerate(rules):
            spec = &self.state.contact[i]
            spec.kind = int(rule.kind)
            spec.period = int(rule.period)
            spec.shown = rule.shown
            if rule.counter >= 0:
                spec.counter = rule.counter
            spec.limit = rule.limit
            spec.window_us = rule.window_s * 1000000
            spec.pause_us = rule.pause_s * 1000000
            spec.start_s = rule.start_s
            spec.end_s = rule.end_s
            spec.days = rule.days
            if rule.budget >= 0:
                spec.budget = rule.budget
            spec.reserve_us = rule.reserve_s * 1000000
            condition = &self.state.conditions[self.state.conditions_count]
            condition.text = self.text(rule.name)
            condition.spared = True
            condition.contact = spec
            self.state.conditions_count += 1
        return 0

    cdef int load_budgets(self) except -1:
        cdef BudgetSpec* spec
        budgets = self.plan.budgets
        self.state.budgets = <BudgetSpec*>self.take(len(budgets) * sizeof(BudgetSpec))
        self.state.budgets_count = <uint32_t>len(budgets)
        for i, each in enumerate(budgets):
            spec = &self.state.budgets[i]
            spec.name = self.text(each.name)
            memcpy(spec.key, <char*>(<bytes>each.key), sizeof(spec.key))
            spec.most = each.max
            spec.costs = <int64_t*>self.take(len(each.costs) * sizeof(int64_t))
            spec.costs_count = <uint32_t>len(each.costs)
            for j, cost in enumerate(each.costs):
                spec.costs[j] = cost
            spec.least = min([cost for cost in each.costs if cost], default=0)
            spec.dearest = max(each.costs)
            spec.shares = each.shares
            spec.hold_us = each.hold_s * 1000000
            spec.period = int(each.period)
            spec.micros = each.micros
            spec.even = each.even
        return 0

    cdef int load_contact_columns(self) except -1:
        """What is known of the rules for whoever has no moments: of most people there are few."""
        cdef ContactColumn* column
        rules = self.plan.contact
        self.state.contact_states = <uint8_t*>self.take(len(rules))
        self.state.contact_columns = <ContactColumn*>self.take(len(rules) * sizeof(ContactColumn))
        found = []
        for i, rule in enumerate(rules):
            if not counts_nothing(&self.state.contact[i]):
                continue
            self.state.contact_states[i] = CONDITION_TRUE
            found.append((self.state.counters[<uint32_t>rule.counter].column, rule.counter, i))
        for i, (at, counter, rule) in enumerate(sorted(found)):
            column = &self.state.contact_columns[i]
            column.column, column.counter, column.rule = at, counter, rule
        self.state.contact_columns_count = <uint32_t>len(found)
        counters = {counter for _, counter, _ in found}
        if self.plan.reservations is not None:
            counters.add(self.plan.reservations.reserved)
        self.state.contact_counters = self.indexes(ranges_of(counters))
        return 0

    cdef int load_time_zone(self) except -1:
        zone = self.plan.time_zone
        if zone is None:
            return 0
        zones_load()
        self.state.zone_keys = self.indexes(zone.keys)
        self.state.zone_default = zone_of(self.text(zone.default))
        if self.state.zone_default.kind == ZONE_INVALID:
            raise ValueError(f"plan.time_zone: {zone.default!r}, allowed: a known zone")
        return 0

    cdef int load_consents(self) except -1:
        cdef PurposeSpec* purpose
        cdef ChannelSpec* channel
        plan = self.plan
        self.state.purposes = <PurposeSpec*>self.take(len(plan.purposes) * sizeof(PurposeSpec))
        self.state.purposes_count = <uint32_t>len(plan.purposes)
        self.state.asks_consents = len(plan.purposes) > 0
        for i, each in enumerate(plan.purposes):
            purpose = &self.state.purposes[i]
            purpose.name = self.text(each.name)
            purpose.attribute = each.attribute
            self.state.attributes[<uint32_t>each.attribute].consent = True
            if each.condition >= 0:
                self.state.conditions[<uint32_t>each.condition].purpose = purpose
        self.state.channels = <ChannelSpec*>self.take(len(plan.channels) * sizeof(ChannelSpec))
        self.state.channels_count = <uint32_t>len(plan.channels)
        for i, each in enumerate(plan.channels):
            channel = &self.state.channels[i]
            channel.name = self.text(each.name)
            channel.reasons = self.texts(each.reasons)
            channel.attributes = self.indexes(each.attributes).items
            for attribute in each.attributes:
                self.state.attributes[<uint32_t>attribute].consent = True
            channel.reasons_count = <uint32_t>len(each.reasons)
            self.state.asks_consents |= channel.reasons_count != 0
        return 0

    cdef list declared(self, names):
        """Where names lie among the channels that the playbook declares."""
        channels = [each.name for each in self.plan.channels]
        return [channels.index(name) for name in names if name in channels]

    cdef object contact_conditions(self, rules):
        """Where rules of the contact policy lie among the conditions."""
        return [len(self.plan.conditions) + rule for rule in rules]

    cdef Value default(self, value) except *:
        return value_from_python(value, &self.values)

    cdef int load_schema(self, attribute_columns, counter_columns) except -1:
        cdef AttributeSpec* attributes
        cdef Text* names
        plan = self.plan
        attributes = <AttributeSpec*>self.take(len(plan.attributes) * sizeof(AttributeSpec))
        self.state.attributes = attributes
        for i, attribute in enumerate(plan.attributes):
            attributes[i].name = self.text(attribute.name)
            attributes[i].type = int(attribute.type)
            attributes[i].size = attribute.size
            attributes[i].column = attribute_columns[i]
            attributes[i].input = -1
            attributes[i].consent = False
            attributes[i].default_value = self.default(attribute.default)
        names = self.texts([a.name for a in plan.attributes])
        # Hidden attributes stand last and cannot be named by a request.
        visible = sum(not a.name.startswith("@") for a in plan.attributes)
        names_build(&self.state.attribute_names, names, len(plan.attributes), visible)
        self.state.context = self.fields(plan.context)
        names = self.texts([f.name for f in plan.context])
        names_build(&self.state.context_names, names, len(plan.context), len(plan.context))
        self.load_counters(counter_columns)
        self.load_events()
        return 0

    cdef FieldSpec* fields(self, fields) except NULL:
        cdef FieldSpec* specs = <FieldSpec*>self.take(len(fields) * sizeof(FieldSpec))
        for i, field in enumerate(fields):
            specs[i].name = self.text(field.name)
            specs[i].type = int(field.type)
            specs[i].input = -1
        return specs

    cdef int load_counters(self, columns) except -1:
        cdef CounterSpec* counter
        counters = self.plan.counters
        self.state.counters = <CounterSpec*>self.take(len(counters) * sizeof(CounterSpec))
        self.state.counters_count = <uint32_t>len(counters)
        for i, each in enumerate(counters):
            counter = &self.state.counters[i]
            counter.name = self.text(each.name)
            counter.column = columns[i]
            counter.aggregate = int(each.aggregate)
            counter.property = each.property
            counter.window_s = each.window_s
            counter.resolution_s = each.resolution_s
            if each.filter is not None:
                program_load(&counter.filter, each.filter)
                counter.filtered = True
            if not each.name.startswith("@"):
                self.state.counters_visible = i + 1
        return 0

    cdef int load_events(self) except -1:
        cdef EventSpec* event
        cdef Text* names
        events = self.plan.events
        self.state.events = <EventSpec*>self.take(len(events) * sizeof(EventSpec))
        for i, each in enumerate(events):
            event = &self.state.events[i]
            event.name = self.text(each.name)
            event.properties = self.fields(each.properties)
            names = self.texts([f.name for f in each.properties])
            # The last property is the event's own time, which no request gives.
            names_build(
                &event.property_names, names, len(each.properties), len(each.properties) - 1
            )
            counters = [n for n, c in enumerate(self.plan.counters) if c.event == i]
            event.counters = self.indexes(counters).items
            event.counters_count = <uint32_t>len(counters)
        names = self.texts([e.name for e in events])
        # The last ones are the engine's own, which no request tells of.
        own = len(self.plan.triggers.events()) if self.plan.triggers is not None else 0
        own += self.plan.reservations is not None
        names_build(&self.state.event_names, names, len(events), len(events) - own)
        return 0

    cdef int load_inputs(self) except -1:
        cdef InputSpec* spec
        inputs = self.plan.inputs
        self.state.inputs = <InputSpec*>self.take(len(inputs) * sizeof(InputSpec))
        self.state.inputs_count = <uint32_t>len(inputs)
        actions = []
        for i, each in enumerate(inputs):
            spec = &self.state.inputs[i]
            spec.kind = int(each.kind)
            spec.index = each.index
            spec.name = self.text(each.name)
            spec.default_value = self.default(None)
            if spec.kind == INPUT_ATTRIBUTE:
                spec.type = self.state.attributes[spec.index].type
                spec.default_value = self.state.attributes[spec.index].default_value
                self.state.attributes[spec.index].input = i
            elif spec.kind == INPUT_CONTEXT:
                spec.type = self.state.context[spec.index].type
                self.state.context[spec.index].input = i
            elif spec.kind == INPUT_ACTION or spec.kind == INPUT_FACTOR:
                actions.append(i)
        self.state.action_inputs = self.indexes(actions).items
        self.state.action_inputs_count = <uint32_t>len(actions)
        return 0

    cdef int load_scores(self) except -1:
        cdef GradeSpec* grade
        plan = self.plan
        self.load_scorecards()
        self.state.grades = <GradeSpec*>self.take(len(plan.grades) * sizeof(GradeSpec))
        self.state.grades_count = <uint32_t>len(plan.grades)
        for i, each in enumerate(plan.grades):
            grade = &self.state.grades[i]
            grade.name = self.text(each.name)
            grade.fit = self.bands(each.fit, each.fit_bands)
            grade.engagement = self.bands(each.engagement, each.engagement_bands)
        names = [c.name for c in plan.scorecards] + [g.name for g in plan.grades]
        names_build(&self.state.score_names, self.texts(names), len(names), len(names))
        self.state.stages = self.texts(plan.stages)
        self.state.stages_count = <uint32_t>len(plan.stages)
        self.state.stage_attribute = plan.stage_attribute
        self.load_transitions()
        self.load_segments()
        return 0

    cdef int load_segments(self) except -1:
        segments = self.plan.segments
        self.state.segments = <SegmentSpec*>self.take(len(segments) * sizeof(SegmentSpec))
        self.state.segments_count = <uint32_t>len(segments)
        for i, each in enumerate(segments):
            self.state.segments[i].name = self.text(each.name)
            self.state.segments[i].conditions = self.indexes(each.conditions)
        return 0

    cdef int load_transitions(self) except -1:
        transitions = self.plan.transitions
        self.state.transitions = <TransitionSpec*>self.take(
            len(transitions) * sizeof(TransitionSpec)
        )
        self.state.transitions_count = <uint32_t>len(transitions)
        for i, each in enumerate(transitions):
            self.state.transitions[i].source = each.source
            self.state.transitions[i].target = each.target
            self.state.transitions[i].conditions = self.indexes(each.conditions)
        return 0

    cdef Bands bands(self, scorecard, bands) except *:
        cdef Bands result
        result.scorecard = scorecard
        result.count = <uint32_t>len(bands)
        result.items = <Band*>self.take(len(bands) * sizeof(Band))
        for i, (name, least) in enumerate(bands):
            result.items[i].name = self.text(name)
            result.items[i].least = least
        return result

    cdef int load_scorecards(self) except -1:
        cdef ScorecardSpec* card
        cards = self.plan.scorecards
        self.state.scorecards = <ScorecardSpec*>self.take(len(cards) * sizeof(ScorecardSpec))
        self.state.scorecards_count = <uint32_t>len(cards)
        for i, each in enumerate(cards):
            card = &self.state.scorecards[i]
            card.name = self.text(each.name)
            card.least = each.min
            card.most = each.max
            card.rules_count = <uint32_t>len(each.rules)
            card.rules = <RuleSpec*>self.take(len(each.rules) * sizeof(RuleSpec))
            for j, rule in enumerate(each.rules):
                self.load_rule(&card.rules[j], rule)
        return 0

    cdef int load_rule(self, RuleSpec* to, rule) except -1:
        to.reason = self.text(rule.reason)
        to.text = self.text(rule.text)
        to.conditions = self.indexes(rule.conditions)
        to.points = rule.points
        to.expression = rule.expression
        to.counter = rule.counter
        to.half_life_s = rule.half_life_s
        to.most = rule.max
        return 0

    cdef int load_actions(self) except -1:
        cdef ActionSpec* action
        actions = self.plan.actions
        self.state.actions = <ActionSpec*>self.take(len(actions) * sizeof(ActionSpec))
        self.state.actions_count = <uint32_t>len(actions)
        for i, each in enumerate(actions):
            action = &self.state.actions[i]
            action.name = self.text(each.name)
            action.group = self.text(each.group)
            action.gates[<int>GATE_CONSENT] = self.indexes(each.consents)
            action.gates[1] = self.indexes(each.eligibility)
            action.gates[2] = self.indexes(each.applicability)
            action.gates[3] = self.indexes(each.suitability)
            action.gates[<int>GATE_CONTACT] = self.indexes(self.contact_conditions(each.contact))
            for j, factor in enumerate(each.factors):
                action.factors[j].given = factor is not None
                action.factors[j].expression = factor if isinstance(factor, int) else -1
                action.factors[j].constant = factor if isinstance(factor, float) else 1.0
            action.attributes = <Value*>self.take(len(each.attributes) * sizeof(Value))
            for j, value in enumerate(each.attributes):
                action.attributes[j] = self.default(value)
            action.valid_from_us = each.valid_from_us
            action.valid_until_us = each.valid_until_us
            self.load_treatments(action, each.treatments)
        return self.load_gates()

    cdef int load_gates(self) except -1:
        items = []
        starts = [0]
        contacts = []
        for each in self.plan.actions:
            contact = self.contact_conditions(each.contact)
            for gate, conditions in enumerate(
                (
                    each.consents, each.eligibility, each.applicability, each.suitability,
                    contact,
                )
            ):
                items += [condition << GATE_BITS | gate for condition in conditions]
            contacts.append(len(items) - len(contact))
            starts.append(len(items))
        self.state.gate_items = self.indexes(items).items
        self.state.gate_starts = self.indexes(starts).items
        self.state.gate_contacts = self.indexes(contacts).items
        # The contact policy's rules are mostly one action's.
        shared = [item >> GATE_BITS for item in items if item & GATE_CONTACT != GATE_CONTACT]
        self.state.gates_shared = len(shared) >= 3 * len(set(shared))
        return 0

    cdef int load_treatments(self, ActionSpec* action, treatments) except -1:
        cdef TreatmentSpec* treatment
        action.treatments = <TreatmentSpec*>self.take(len(treatments) * sizeof(TreatmentSpec))
        action.treatments_count = <uint32_t>len(treatments)
        for i, each in enumerate(treatments):
            treatment = &action.treatments[i]
            treatment.name = self.text(each.name)
            treatment.channels = self.texts(each.channels)
            treatment.channels_count = <uint32_t>len(each.channels)
            treatment.declared = self.indexes(self.declared(each.channels))
            treatment.conditions = self.indexes(each.conditions)
            treatment.content = self.texts([text for pair in each.content for text in pair])
            treatment.content_count = <uint32_t>len(each.content)
        return 0

    cdef int load_placements(self) except -1:
        cdef PlacementSpec* placement
        placements = self.plan.placements
        self.state.placements = <PlacementSpec*>self.take(len(placements) * sizeof(PlacementSpec))
        self.state.placements_count = <uint32_t>len(placements)
        for i, each in enumerate(placements):
            placement = &self.state.placements[i]
            placement.name = self.text(each.name)
            placement.channel = self.text(each.channel)
            placement.declared = (self.declared([each.channel]) or [-1])[0]
            placement.slots = each.slots
            placement.candidates = self.indexes(each.candidates).items
            placement.candidates_count = <uint32_t>len(each.candidates)
            placement.dated = any(self.is_dated(action) for action in each.candidates)
            placement.arbitration = each.arbitration
            placement.diversity_max = each.diversity_max
            placement.diversity_by = <int32_t*>self.take(len(each.diversity_by) * sizeof(int32_t))
            for j, key in enumerate(each.diversity_by):
                placement.diversity_by[j] = key
            placement.fallback = each.fallback
            placement.degrade_to = each.degrade_to
            placement.contact = self.indexes(self.contact_conditions(each.contact))
            if each.exploration is not None:
                placement.explorer = int(each.exploration.kind)
                placement.explorer_parameter = each.exploration.parameter
            placement.told_pairs = <uint32_t*>self.take(
                (len(each.candidates) + 1) * sizeof(uint32_t)
            )
            self.state.candidates_max = max(
                self.state.candidates_max, placement.candidates_count
            )
        names = self.texts([p.name for p in placements])
        names_build(&self.state.placement_names, names, len(placements), len(placements))
        return 0

    cdef bint is_dated(self, uint32_t action) noexcept:
        cdef const ActionSpec* spec = &self.state.actions[action]
        return spec.valid_from_us != 0 or spec.valid_until_us != 0

    cdef BucketingSpec bucketing(self, bucketing) except *:
        cdef BucketingSpec spec
        spec.salt = self.text(bucketing.salt)
        spec.seed = XXH3_64bits(spec.salt.data, spec.salt.length)
        spec.hash = int(bucketing.hash)
        spec.keys = self.indexes(bucketing.keys).items
        spec.keys_count = <uint32_t>len(bucketing.keys)
        return spec

    cdef BucketRangeSpec bucket_range(self, range_) except *:
        cdef BucketRangeSpec spec
        spec.start = range_.start
        spec.end = range_.end
        return spec

    cdef int load_experiments(self) except -1:
        plan = self.plan
        if len(plan.experiments) > EXPERIMENTS_MAX:
            raise ValueError(
                f"plan.experiments: {len(plan.experiments)}, allowed: {EXPERIMENTS_MAX}"
            )
        self.state.holdouts = <HoldoutSpec*>self.take(len(plan.holdouts) * sizeof(HoldoutSpec))
        for i, each in enumerate(plan.holdouts):
            self.state.holdouts[i].name = self.text(each.name)
            self.state.holdouts[i].bucketing = self.bucketing(each.bucketing)
            self.state.holdouts[i].share = each.share
        self.state.experiments = <ExperimentSpec*>self.take(
            len(plan.experiments) * sizeof(ExperimentSpec)
        )
        self.state.experiments_count = <uint32_t>len(plan.experiments)
        for i, each in enumerate(plan.experiments):
            self.load_experiment(&self.state.experiments[i], each)
        self.state.readings = <ReadingSpec*>self.take(len(plan.readings) * sizeof(ReadingSpec))
        for i, each in enumerate(plan.readings):
            self.state.readings[i].experiment = each.experiment
            self.state.readings[i].texts = self.texts(each.texts)
        self.state.exposure = plan.exposure
        return 0

    cdef int load_experiment(self, ExperimentSpec* to, experiment) except -1:
        to.name = self.text(experiment.name)
        to.key = self.text(experiment.key)
        to.bucketing = self.bucketing(experiment.bucketing)
        to.audience = self.indexes(experiment.audience)
        to.holdouts = self.indexes(experiment.holdouts)
        to.layered = experiment.layer is not None
        if to.layered:
            to.layer = self.bucketing(experiment.layer.bucketing)
            to.layer_range = self.bucket_range(experiment.layer.range)
        to.sticky = experiment.sticky
        to.variants = <VariantSpec*>self.take(len(experiment.variants) * sizeof(VariantSpec))
        to.variants_count = <uint32_t>len(experiment.variants)
        for i, variant in enumerate(experiment.variants):
            to.variants[i].name = self.text(variant.name)
            to.variants[i].ranges_count = <uint32_t>len(variant.ranges)
            to.variants[i].ranges = <BucketRangeSpec*>self.take(
                len(variant.ranges) * sizeof(BucketRangeSpec)
            )
            for j, range_ in enumerate(variant.ranges):
                to.variants[i].ranges[j] = self.bucket_range(range_)
        return 0

    cdef int load_reservations(self) except -1:
        cdef ReservationSpec* to
        found = self.plan.reservations
        if found is None:
            return 0
        to = <ReservationSpec*>self.take(sizeof(ReservationSpec))
        to.event = &self.state.events[<uint32_t>found.event]
        to.shown = &self.state.events[<uint32_t>self.plan.counters[found.confirmed].event]
        to.reserved = found.reserved
        to.confirmed = found.confirmed
        to.limit = self.plan.counters[found.reserved].limit
        to.longest_us = max(rule.reserve_s for rule in self.plan.contact) * 1000000
        actions = [action_tag(self.state.actions[i].name) for i in range(len(self.plan.actions))]
        placements = [
            placement_tag(self.state.placements[i].name) for i in range(len(self.plan.placements))
        ]
        self.load_tags(actions, &to.actions)
        self.load_tags(placements, &to.placements)
        to.by_action = self.reserving(actions, self.plan.actions)
        to.by_placement = self.reserving(placements, self.plan.placements)
        self.state.reservations = to
        return 0

    cdef int load_tags(self, list tags, TagTable* to) except -1:
        """Put tags and their places into a table, those of one tag in their order."""
        cdef uint32_t size = 1 << (2 * len(tags)).bit_length()
        cdef uint32_t index, tag, at
        to.places = <Tagged*>self.take(size * sizeof(Tagged))
        to.mask = size - 1
        for index, tag in enumerate(tags):
            at = tag & to.mask
            while to.places[at].tag:
                at = (at + 1) & to.mask
            to.places[at].tag, to.places[at].index = tag, index
        return 0

    cdef Reserving* reserving(self, list tags, things) except NULL:
        """The tags of actions or placements, and what reserves, in their order."""
        cdef Reserving* items = <Reserving*>self.take(len(tags) * sizeof(Reserving))
        for i, (tag, each) in enumerate(zip(tags, things, strict=True)):
            items[i].tag = tag
            items[i].reserves = any(self.plan.contact[rule].reserve_s for rule in each.contact)
        return items

    cdef int load_watch(self) except -1:
        global WATCHES_MADE
        cdef WatchSpec* to
        found = self.plan.watch
        if found is None:
            return 0
        to = <WatchSpec*>self.take(sizeof(WatchSpec))
        WATCHES_MADE += 1
        to.number = WATCHES_MADE
        self.load_nodes(to, found)
        to.sources = <WatchSource*>self.take(len(found.sources) * sizeof(WatchSource))
        for i, source in enumerate(found.sources):
            self.load_source(&to.sources[i], source)
        to.stored = found.stored
        to.timed = self.indexes(found.timed)
        for i, sources in enumerate(found.events):
            self.state.events[i].watched = self.indexes(sources)
        to.segments = self.indexes(self.plan.triggers.segments)
        to.grades = self.indexes(self.plan.triggers.grades)
        to.stage = self.plan.triggers.stage
        to.entered = self.plan.triggers.entered
        to.left = self.plan.triggers.left
        to.grade_changed = self.plan.triggers.grade_changed
        to.stage_changed = self.plan.triggers.stage_changed
        self.state.watch = to
        return 0

    cdef int load_nodes(self, WatchSpec* to, found) except -1:
        to.nodes = <WatchNode*>self.take(len(found.nodes) * sizeof(WatchNode))
        to.nodes_count = <uint32_t>len(found.nodes)
        for i, node in enumerate(found.nodes):
            to.nodes[i].kind = int(node.kind)
            to.nodes[i].index = node.index
            to.nodes[i].told = node.told
            to.nodes[i].source = node.source
        to.of_conditions = <Indexes*>self.take(len(self.plan.conditions) * sizeof(Indexes))
        for condition, nodes in found.of_conditions.items():
            to.of_conditions[<uint32_t>condition] = self.indexes(nodes)
        return 0

    cdef int load_source(self, WatchSource* to, source) except -1:
        to.kind = int(source.kind)
        to.index = source.index
        to.constants_count = <uint32_t>len(source.boundaries)
        to.constants = <Value*>self.take(len(source.boundaries) * sizeof(Value))
        for i, boundary in enumerate(source.boundaries):
            to.constants[i] = self.default(boundary.constant)
        to.ordered_starts = self.starts([len(one.ordered) for one in source.boundaries])
        to.ordered = self.indexes(
            [c << 1 | above for one in source.boundaries for c, above in one.ordered]
        ).items
        to.same_starts = self.starts([len(one.same) for one in source.boundaries])
        to.same = self.indexes([c for one in source.boundaries for c in one.same]).items
        to.plain = self.indexes(source.plain)
        to.nodes = self.indexes(source.nodes)
        return 0

    cdef uint32_t* starts(self, counts) except? NULL:
        """Where each of several parts of such lengths begins, and where the last one ends."""
        return self.indexes([0, *accumulate(counts)]).items
