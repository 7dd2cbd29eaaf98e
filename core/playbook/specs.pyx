"""Specs: what a playbook declares, in the arrays of C that decisions read."""

cdef struct Indexes:
    # Indexes of conditions; all must hold.
    uint32_t* items
    uint32_t count


cdef struct InputSpec:
    uint8_t kind
    uint8_t type
    uint32_t index
    # What an unset attribute reads as; TAG_NULL for none.
    Value default_value
    Text name


cdef struct AttributeSpec:
    Text name
    uint8_t type
    uint32_t size
    uint32_t column
    # The input slot that reads it; -1 when no expression does.
    int32_t input
    Value default_value
    # It is a consent, of a purpose or a channel.
    bint consent


cdef struct FieldSpec:
    Text name
    uint8_t type
    # The input slot that reads it; -1 when no expression does.
    int32_t input


cdef struct CounterSpec:
    Text name
    uint32_t column
    uint8_t aggregate
    int32_t property
    bint filtered
    Program filter
    int64_t window_s
    int64_t resolution_s


cdef struct EventSpec:
    Text name
    FieldSpec* properties
    Names property_names
    # The counters that count it, as indexes of counters.
    uint32_t* counters
    uint32_t counters_count
    # What of the watch it can change, as indexes of its sources.
    Indexes watched


cdef struct ContactSpec:
    # A rule of the contact policy: see plan.ContactRule.
    uint8_t kind
    uint8_t period
    # Whether propositions of the decision at hand count.
    bint shown
    # Of the moments that it counts.
    uint32_t counter
    uint32_t limit
    int64_t window_us
    int64_t pause_us
    int32_t start_s
    int32_t end_s
    uint8_t days
    # Of budgets, for one that is a budget's.
    uint32_t budget
    # How long a reservation counts for a cap; 0 where there are none.
    int64_t reserve_us


cdef struct Tagged:
    uint32_t tag
    uint32_t index


cdef struct TagTable:
    # More than twice as many places as tags, a power of two, so that a search ends: a tag is at the
    # place that its lowest bits say, or behind; 0 is no tag.
    Tagged* places
    uint32_t mask


cdef struct Reserving:
    uint32_t tag
    # Whether it falls under a cap that reserves.
    bint reserves


cdef struct ReservationSpec:
    # See plan.Reservations.
    const EventSpec* event
    # Of impressions, which confirm.
    const EventSpec* shown
    uint32_t reserved
    uint32_t confirmed
    # So many the counters keep at least.
    uint32_t limit
    int64_t longest_us
    # Of all actions and placements.
    TagTable actions
    TagTable placements
    # The same by their place.
    Reserving* by_action
    Reserving* by_placement


cdef struct BudgetState


cdef struct BudgetSpec:
    # See plan.Budget.
    Text name
    uint8_t key[16]
    int64_t most
    # One for each action, or one for all; the smallest over 0, and the largest.
    int64_t* costs
    uint32_t costs_count
    int64_t least
    int64_t dearest
    int64_t shares
    int64_t hold_us
    uint8_t period
    bint micros
    bint even
    # Of the engine; NULL in a playbook that nobody is served by.
    BudgetState* state


cdef struct ContactColumn:
    # A column of moments, and a rule of the contact policy that counts them.
    uint32_t column
    uint32_t counter
    uint32_t rule


cdef struct PurposeSpec:
    Text name
    # An index of attributes.
    uint32_t attribute


cdef struct ChannelSpec:
    Text name
    Text* reasons
    # Indexes of attributes, one for each reason.
    uint32_t* attributes
    uint32_t reasons_count


cdef struct ConditionSpec:
    # Of nothing where it is a rule of the contact policy.
    Program program
    Text text
    # Whether to leave it alone for what another one holds back: it may expose a person to an
    # experiment, or is a rule of the contact policy, which comes last.
    bint spared
    # NULL for an expression.
    const ContactSpec* contact
    # The purpose whose consent it is; NULL for any other.
    const PurposeSpec* purpose


cdef struct SegmentSpec:
    Text name
    Indexes conditions


cdef struct RuleSpec:
    Text reason
    Text text
    Indexes conditions
    int64_t points
    int32_t expression
    int32_t counter
    int64_t half_life_s
    int64_t most


cdef struct ScorecardSpec:
    Text name
    RuleSpec* rules
    uint32_t rules_count
    int64_t least
    int64_t most


cdef struct Band:
    Text name
    int64_t least


cdef struct Bands:
    Band* items
    uint32_t count
    uint32_t scorecard


cdef struct GradeSpec:
    Text name
    Bands fit
    Bands engagement


cdef struct TransitionSpec:
    int32_t source
    int32_t target
    Indexes conditions


cdef struct TreatmentSpec:
    Text name
    Text* channels
    uint32_t channels_count
    # Those of its channels that the playbook declares, as indexes of them.
    Indexes declared
    Indexes conditions
    # Keys and values in turn.
    Text* content
    uint32_t content_count


cdef struct FactorSpec:
    double constant
    # The expression that computes it; -1 for the constant.
    int32_t expression
    bint given


cdef enum:
    FACTORS = 4
    FACTOR_PROPENSITY_OUTCOME = 0
    FACTOR_CONTEXT_WEIGHT = 1
    FACTOR_VALUE = 2
    FACTOR_LEVER = 3


cdef enum:
    POLICY_GATES = 5
    GATE_CONSENT = 0
    GATE_ELIGIBILITY = 1
    GATE_CONTACT = 4


cdef struct ActionSpec:
    Text name
    Text group
    # Consents, eligibility, applicability, suitability, the contact policy.
    Indexes gates[POLICY_GATES]
    FactorSpec factors[FACTORS]
    Value* attributes
    TreatmentSpec* treatments
    uint32_t treatments_count
    int64_t valid_from_us
    int64_t valid_until_us


cdef struct PlacementSpec:
    Text name
    Text channel
    uint32_t slots
    uint32_t* candidates
    uint32_t candidates_count
    # Whether one of them has a validity.
    bint dated
    int32_t arbitration
    uint32_t diversity_max
    int32_t* diversity_by
    int32_t fallback
    # A Leave: how far answers may be cheaper under overload.
    uint8_t degrade_to
    # The rules of the contact policy that all it shows need to hold.
    Indexes contact
    # An Explorer, and its epsilon or temperature.
    uint8_t explorer
    double explorer_parameter
    # Of the playbook's channels; -1 for none that it declares.
    int32_t declared
    # Where a tally counts it, and each of its candidates; the last one is the fallback.
    uint32_t told
    uint32_t* told_pairs


cdef enum BucketHash:
    BUCKET_HASH_GROWTHBOOK_1 = 1
    BUCKET_HASH_GROWTHBOOK_2 = 2
    BUCKET_HASH_XXH3 = 3


cdef enum:
    EXPERIMENTS_MAX = 256


cdef struct BucketingSpec:
    Text salt
    # Of the salt, for XXH3.
    uint64_t seed
    uint8_t hash
    # Input slots; without any, the identity's id is the key.
    uint32_t* keys
    uint32_t keys_count


cdef struct BucketRangeSpec:
    double start
    double end


cdef struct HoldoutSpec:
    Text name
    BucketingSpec bucketing
    double share


cdef struct VariantSpec:
    Text name
    BucketRangeSpec* ranges
    uint32_t ranges_count


cdef struct ExperimentSpec:
    Text name
    # What exposures name it by.
    Text key
    BucketingSpec bucketing
    VariantSpec* variants
    uint32_t variants_count
    Indexes audience
    bint layered
    BucketingSpec layer
    BucketRangeSpec layer_range
    Indexes holdouts
    # The counter of the first exposure's variant; -1 when nobody keeps theirs.
    int32_t sticky


cdef struct ReadingSpec:
    uint32_t experiment
    # What each variant reads as.
    Text* texts


cdef enum SourceKind:
    SOURCE_ATTRIBUTE = 1
    SOURCE_COUNTER = 2
    SOURCE_AGES = 3
    SOURCE_NOW = 4
    SOURCE_CONSENT = 5
    SOURCE_NODE = 6


cdef struct WatchSource:
    # See watch.Source.
    uint8_t kind
    uint32_t index
    # The constants, rising; the conditions of each lie between its start and the next one.  The
    # lowest bit of an ordered one tells whether it holds above the constant.
    Value* constants
    uint32_t constants_count
    uint32_t* ordered
    uint32_t* ordered_starts
    uint32_t* same
    uint32_t* same_starts
    Indexes plain
    Indexes nodes


cdef struct WatchNode:
    # An InputKind, and the index in that table.
    uint8_t kind
    uint32_t index
    bint told
    int32_t source


cdef struct WatchSpec:
    # See watch.Watch.  No other has its number.
    uint64_t number
    WatchSource* sources
    # Those that are stored of a person come first.
    uint32_t stored
    WatchNode* nodes
    uint32_t nodes_count
    # The nodes of each condition.
    Indexes* of_conditions
    Indexes timed
    # What is told, of segments and grades.
    Indexes segments
    Indexes grades
    bint stage
    # The engine's own events, as indexes of events; -1 for none.
    int32_t entered
    int32_t left
    int32_t grade_changed
    int32_t stage_changed


cdef enum InputKind:
    INPUT_ATTRIBUTE = 1
    INPUT_COUNTER = 2
    INPUT_CONTEXT = 3
    INPUT_SEGMENT = 4
    INPUT_SCORE = 5
    INPUT_GRADE = 6
    INPUT_STAGE = 7
    INPUT_NOW = 8
    INPUT_ACTION = 9
    INPUT_FACTOR = 10
    INPUT_EXPERIMENT = 11
    INPUT_HOLDOUT = 12
    INPUT_CONSENT = 13


cdef enum:
    BLOCK_BYTES = 65536
    GATE_BITS = 3


cdef inline uint32_t gate_condition(uint32_t item) noexcept nogil:
    """The condition of one of a playbook's `gate_items`."""
    return item >> GATE_BITS


cdef inline uint32_t gate_number(uint32_t item) noexcept nogil:
    """The gate that it belongs to: 0 to 4."""
    return item & ((1 << GATE_BITS) - 1)


cdef struct PlaybookState:
    uint64_t generation
    uint8_t hash[16]
    char hash_text[33]
    InputSpec* inputs
    uint32_t inputs_count
    # The slots that hold something of the action being ranked.
    uint32_t* action_inputs
    uint32_t action_inputs_count
    AttributeSpec* attributes
    Names attribute_names
    FieldSpec* context
    Names context_names
    CounterSpec* counters
    uint32_t counters_count
    uint32_t counters_visible
    EventSpec* events
    Names event_names
    # The expressions, then the rules of the contact policy.
    ConditionSpec* conditions
    uint32_t conditions_count
    ContactSpec* contact
    # How many of the conditions are rules of the contact policy.
    uint32_t contact_count
    BudgetSpec* budgets
    uint32_t budgets_count
    # What each of those is for a person of whom nothing is counted: CONDITION_TRUE or, where that
    # has to be looked at, CONDITION_UNKNOWN.
    uint8_t* contact_states
    # By column, of the rules that are CONDITION_TRUE then.
    ContactColumn* contact_columns
    uint32_t contact_columns_count
    # Their counters, each once: pairs of a first one and how many follow one another.
    Indexes contact_counters
    # Input slots that may name the person's time zone, and what it is where none does.
    Indexes zone_keys
    Zone zone_default
    PurposeSpec* purposes
    uint32_t purposes_count
    # Whether decisions may ask for a consent, or whether a channel is closed.
    bint asks_consents
    ChannelSpec* channels
    uint32_t channels_count
    ConditionSpec* expressions
    uint32_t expressions_count
    # The conditions of every action's gates in a row, as `gate_condition` and `gate_number` read
    # them, and where each action's begin.
    uint32_t* gate_items
    uint32_t* gate_starts
    # Where those begin that are rules of the contact policy, which come last.
    uint32_t* gate_contacts
    # Whether actions share conditions so much that nearly all are evaluated in any case.
    bint gates_shared
    SegmentSpec* segments
    uint32_t segments_count
    ScorecardSpec* scorecards
    uint32_t scorecards_count
    GradeSpec* grades
    uint32_t grades_count
    # Scorecards, then grades.
    Names score_names
    Text* stages
    uint32_t stages_count
    TransitionSpec* transitions
    uint32_t transitions_count
    int32_t stage_attribute
    ActionSpec* actions
    uint32_t actions_count
    # The largest number of candidates and of slots of any placement.
    uint32_t candidates_max
    PlacementSpec* placements
    uint32_t placements_count
    Names placement_names
    HoldoutSpec* holdouts
    ExperimentSpec* experiments
    uint32_t experiments_count
    ReadingSpec* readings
    # NULL where no cap reserves.
    const ReservationSpec* reservations
    # The event of exposures; -1 without experiments.
    int32_t exposure
    # What is told when a write changes it; NULL for nothing.
    WatchSpec* watch
