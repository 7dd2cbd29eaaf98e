"""The plan: a compiled playbook as plain data, what the server hands to the core.

Everything is immutable and refers to other parts by index, so that the core can copy it
into C arrays in one pass.  Nothing here validates: the server's compiler has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nextbest.core.expression.code import Code
    from nextbest.core.playbook.watch import Watch


# Of a part that came after playbooks were hashed: where it holds its default it is left out of the
# hash, so that theirs stand.
ADDED = {"added": True}
# Of what follows from the rest of a plan: it is no part of the hash.
DERIVED = {"derived": True}


class ValueType(IntEnum):
    """The type of an attribute, a property or a context field."""

    BOOL = 1
    INT = 2
    DOUBLE = 3
    STRING = 4
    TIMESTAMP = 5
    STRING_LIST = 6
    VECTOR = 7


class Aggregate(IntEnum):
    """What a counter makes of the events in its window."""

    COUNT = 1
    SUM = 2
    MIN = 3
    MAX = 4
    FIRST = 5
    LAST = 6
    LAST_N = 7
    DISTINCT = 8


class DegradeTo(IntEnum):
    """How far a placement's answers may be cheaper under overload."""

    NONE = 0
    NO_SCORING = 1
    FALLBACK = 2


class InputKind(IntEnum):
    """Where an expression's input comes from; `Input.index` counts in that table."""

    ATTRIBUTE = 1  # Plan.attributes
    COUNTER = 2  # Plan.counters
    CONTEXT = 3  # Plan.context
    SEGMENT = 4  # Plan.segments, a bool
    SCORE = 5  # Plan.scorecards, an int
    GRADE = 6  # Plan.grades, a string
    STAGE = 7  # a string; index is 0
    NOW = 8  # a timestamp; index is 0
    ACTION = 9  # Plan.action_attributes of the action being ranked
    FACTOR = 10  # a Factor of the action being ranked, a double
    EXPERIMENT = 11  # Plan.readings, a string: empty for a person who is not in the experiment
    HOLDOUT = 12  # Plan.holdouts, a bool
    CONSENT = 13  # Plan.purposes, a bool: granted and not expired


class Factor(IntEnum):
    """The parts of a priority; each is 1.0 for an action that does not give it."""

    PROPENSITY_OUTCOME = 0
    CONTEXT_WEIGHT = 1
    VALUE = 2
    LEVER = 3


@dataclass(frozen=True, slots=True)
class Attribute:
    """A profile attribute.  `default` is None, or a value of the type."""

    name: str
    type: ValueType
    default: object = None
    pii: bool = False
    size: int = 0  # a vector's length


@dataclass(frozen=True, slots=True)
class Field:
    """A property of an event, or a field of the request context."""

    name: str
    type: ValueType


@dataclass(frozen=True, slots=True)
class Event:
    """An event and its properties."""

    name: str
    properties: tuple[Field, ...]


# Counter.property: which proposition the event is about, as a number, or which ones (see
# core/decide/reserve.pyx); events that name no decision have none.
OUTCOME_KEY: Final = -2


@dataclass(frozen=True, slots=True)
class Counter:
    """An aggregate of an event over a window, in event time.

    `key` identifies the definition (event, filter, aggregate, property, window, resolution,
    limit): 16 bytes of BLAKE2b.  `filter` reads property i of the event in input slot i.
    A name that starts with "@" is the compiler's own and no expression can read it.
    """

    name: str
    key: bytes
    event: int  # Plan.events
    aggregate: Aggregate
    property: int = -1  # Event.properties; -1 for a count, or OUTCOME_KEY
    type: ValueType = ValueType.INT  # of the property
    filter: Code | None = None
    window_s: int = 0  # 0: all time
    resolution_s: int = 0  # 0: one bucket, when window_s is 0
    limit: int = 0  # n of last_n; the exact bound of distinct


@dataclass(frozen=True, slots=True)
class Input:
    """What input slot i of every condition and expression holds."""

    kind: InputKind
    index: int
    name: str  # as an author writes it: "profile.age"


@dataclass(frozen=True, slots=True)
class Segment:
    """People for whom every condition holds."""

    name: str
    conditions: tuple[int, ...]  # Plan.conditions


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """Points for a condition, or for each event of a hidden counter.

    `points` is a whole number; `expression`, when >= 0, computes it instead.  `counter`,
    when >= 0, is a COUNT counter with buckets of a day; its points are the sum over buckets
    of count * points * 0.5 ** (age in days / half-life in days), rounded half away from zero
    once.  `max` bounds the absolute value of the rule's points; 0 leaves it at 1e12.
    """

    reason: str
    text: str  # the condition as the author wrote it
    conditions: tuple[int, ...] = ()
    points: int = 0
    expression: int = -1  # Plan.expressions
    counter: int = -1  # Plan.counters
    half_life_s: int = 0  # 0: no decay
    max: int = 0


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Rules whose points add up, within bounds."""

    name: str
    rules: tuple[ScoreRule, ...]
    min: int = -(2**31)
    max: int = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Grade:
    """A matrix of two scores.

    Bands are (name, least points), the best first; below the last one the last one holds.
    """

    name: str
    fit: int  # Plan.scorecards
    fit_bands: tuple[tuple[str, int], ...]
    engagement: int  # Plan.scorecards
    engagement_bands: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Transition:
    """A step from one lifecycle stage to another; `source` -1 is any stage."""

    source: int
    target: int
    conditions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Treatment:
    """A form of an action.  No channels means every channel."""

    name: str
    channels: tuple[str, ...]
    conditions: tuple[int, ...]
    content: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Action:
    """What may be proposed.

    `factors[Factor.X]` is a float, or the index of an expression as an int (never a bool),
    or None when the action does not give it.  `attributes` are by Plan.action_attributes.
    Validity is in microseconds since 1970; 0 is open.
    """

    name: str
    group: str = ""
    eligibility: tuple[int, ...] = ()
    applicability: tuple[int, ...] = ()
    suitability: tuple[int, ...] = ()
    factors: tuple[float | int | None, ...] = (
        None,
        None,
        None,
        None,
    )
    attributes: tuple[object, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    valid_from_us: int = 0
    valid_until_us: int = 0
    contact: tuple[int, ...] = field(default=(), metadata=ADDED)  # Plan.contact
    # Plan.conditions, each that of a purpose.
    consents: tuple[int, ...] = field(default=(), metadata=ADDED)


class ExplorationKind(IntEnum):
    """How the chances of a slot's candidates are found."""

    EPSILON_GREEDY = 1
    SOFTMAX = 2


@dataclass(frozen=True, slots=True)
class Exploration:
    """A slot's action is drawn from the candidates that may take it.

    `parameter` of EPSILON_GREEDY is the probability, 0 to 1, with which all are equally likely in
    place of the best one; of SOFTMAX the temperature, over 0: a candidate's chance is proportional
    to exp(priority / temperature).
    """

    kind: ExplorationKind
    parameter: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Where actions are shown.

    `candidates` are the actions whose static selection holds, in the playbook's order.
    `arbitration` is an expression, -1 for the product of the four factors.  At most
    `diversity_max` propositions share a value of `diversity_by` (one key for each candidate;
    equal keys are equal values); 0 is no bound.
    """

    name: str
    slots: int
    channel: str
    candidates: tuple[int, ...]  # Plan.actions
    arbitration: int = -1  # Plan.expressions
    arbitration_text: str = ""
    diversity_max: int = 0
    diversity_by: tuple[int, ...] = ()
    fallback: int = -1  # Plan.actions
    degrade_to: DegradeTo = DegradeTo.NONE
    contact: tuple[int, ...] = field(default=(), metadata=ADDED)  # Plan.contact
    exploration: Exploration | None = field(default=None, metadata=ADDED)


class BucketHash(IntEnum):
    """How a salt and a key become a bucket, a number from 0 to below 1.

    The first two are GrowthBook's hash versions 1 and 2 (FNV-1a of 32 bits), with 1,000 and
    10,000 buckets; XXH3, of 64 bits, has 100,000.
    """

    GROWTHBOOK_1 = 1
    GROWTHBOOK_2 = 2
    XXH3 = 3


@dataclass(frozen=True, slots=True)
class Bucketing:
    """What gives a person their bucket.

    `keys` are input slots of strings or whole numbers, the first that is set counts; with none
    it is the id of the identity that the request names.
    """

    salt: str
    hash: BucketHash
    keys: tuple[int, ...] = ()  # Plan.inputs


@dataclass(frozen=True, slots=True)
class Range:
    """Buckets from `start` to below `end`."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Holdout:
    """People kept out of experiments: those whose bucket is below `share`."""

    name: str
    bucketing: Bucketing
    share: float


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant and the buckets that get it."""

    name: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """Buckets that experiments of one layer divide among them: nobody is in two."""

    bucketing: Bucketing
    range: Range


@dataclass(frozen=True, slots=True)
class Experiment:
    """Variants, and who gets which.

    `key` is what exposure events name it by: another one begins anew.  `sticky`, when >= 0, is
    the counter of the variant that a person was first exposed to, which they keep.
    """

    name: str
    key: str
    bucketing: Bucketing
    variants: tuple[Variant, ...]
    audience: tuple[int, ...] = ()  # Plan.conditions
    layer: Layer | None = None
    holdouts: tuple[int, ...] = ()  # Plan.holdouts
    sticky: int = -1  # Plan.counters


@dataclass(frozen=True, slots=True)
class Reading:
    """What expressions read of an experiment: for each variant its name, or a factor's level."""

    name: str
    experiment: int  # Plan.experiments
    texts: tuple[str, ...]


class ContactKind(IntEnum):
    """What a rule of the contact policy looks at."""

    CAP = 1
    SUPPRESSION = 2
    QUIET_HOURS = 3
    BUDGET = 4


class Period(IntEnum):
    """What a cap's window is: a span that ends now, or a calendar period in the person's zone."""

    ROLLING = 0
    DAY = 1
    WEEK = 2  # from Monday
    MONTH = 3


@dataclass(frozen=True, slots=True)
class ContactRule:
    """A rule of the contact policy; an action or a placement that has it needs it to hold.

    A cap holds below `limit` events within `window_s` (0: all time) or the calendar period; with
    `shown`, propositions of the decision at hand count, too.  A suppression fails for `pause_s`
    after each event that is the last of `limit` within `window_s`.  `counter` is a LAST_N
    counter of the moments of the events, with a limit of `limit` at least, a window that covers
    all these, and for a suppression buckets no longer than `window_s`.

    A budget's rule holds while what is left of it pays for one more proposition, and counts what
    the decision at hand proposes.

    Quiet hours fail on `days` (a bit for each, Monday's the lowest) from `start_s` of the day to
    before `end_s`, of the next day where that is not after `start_s`.
    """

    name: str  # "cap email_weekly"
    kind: ContactKind
    counter: int = -1  # Plan.counters
    limit: int = 0
    period: Period = Period.ROLLING
    window_s: int = 0
    pause_s: int = 0
    shown: bool = False
    start_s: int = 0
    end_s: int = 0
    days: int = 0
    budget: int = field(default=-1, metadata=ADDED)  # Plan.budgets
    # How long a proposition counts that no impression has confirmed; 0: of its own decision only.
    reserve_s: int = field(default=0, metadata=ADDED)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be shown, or spent, over all people within a calendar period.

    Amounts are impressions, or millionths of the unit of a spend (`micros`).  `costs` has what a
    proposition of each action takes, or one amount for all.  `key` identifies it: a playbook that
    changes anything but the name, the period, the time zone or what is counted goes on with what is
    used.  It is claimed in `shares`; with `even`, as the period goes on.  A reservation that no
    impression confirms comes back after `hold_s`.
    """

    name: str  # "summer"
    key: bytes  # 16 bytes
    max: int
    costs: tuple[int, ...]
    period: Period  # ROLLING: all time
    micros: bool
    even: bool
    shares: int
    hold_s: int


@dataclass(frozen=True, slots=True)
class TimeZone:
    """The person's time zone: the first of `keys`, input slots of strings, that is set.

    `default` and what the inputs hold are names of the time zone database, or offsets such as
    "+02:00".
    """

    keys: tuple[int, ...]  # Plan.inputs
    default: str


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a person may allow: a consent is a hidden attribute, a packed string.

    `condition` is the one that reads consent.NAME, -1 where no action needs the consent.
    """

    name: str
    bases: tuple[int, ...]  # values of nextbest.v1.LawfulBasis
    attribute: int  # Plan.attributes
    condition: int = -1  # Plan.conditions


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a person may be contacted, unless one of its reasons (one at least) stands."""

    name: str
    reasons: tuple[str, ...]
    attributes: tuple[int, ...]  # Plan.attributes, one for each reason


@dataclass(frozen=True, slots=True)
class Triggers:
    """What becomes an event of the engine's own when a write moves a person across it.

    The events are of Plan.events, where they come last; -1 where nothing is told by one.
    """

    segments: tuple[int, ...] = ()  # Plan.segments
    grades: tuple[int, ...] = ()  # Plan.grades
    stage: bool = False
    entered: int = -1
    left: int = -1
    grade_changed: int = -1
    stage_changed: int = -1

    def events(self) -> tuple[int, ...]:
        """Those that there are."""
        found = (self.entered, self.left, self.grade_changed, self.stage_changed)
        return tuple(one for one in found if one >= 0)


@dataclass(frozen=True, slots=True)
class Reservations:
    """How decisions keep what they propose under a cap until an impression confirms it.

    `event` is the engine's own, the last of Plan.events, and lists all that a decision reserves
    (see core/decide/reserve.pyx).  The counters are LAST_N of OUTCOME_KEY with the same limit, over
    windows longer than any rule's `reserve_s`: of that event, and of impressions.
    """

    event: int  # Plan.events
    reserved: int  # Plan.counters
    confirmed: int  # Plan.counters


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled playbook.

    `conditions` are distinct boolean predicates, each evaluated at most once a decision: a
    condition `a && b` is split into `a` and `b`, since a gate needs all of them true.
    `expressions` are evaluated where they are used.  `hash` is 16 bytes over the canonical
    form of everything else.
    """

    hash: bytes
    attributes: tuple[Attribute, ...] = ()
    events: tuple[Event, ...] = ()
    counters: tuple[Counter, ...] = ()
    context: tuple[Field, ...] = ()
    inputs: tuple[Input, ...] = ()
    conditions: tuple[Code, ...] = ()
    expressions: tuple[Code, ...] = ()
    segments: tuple[Segment, ...] = ()
    scorecards: tuple[Scorecard, ...] = ()
    grades: tuple[Grade, ...] = ()
    stages: tuple[str, ...] = ()
    transitions: tuple[Transition, ...] = ()
    stage_attribute: int = -1  # Plan.attributes: the hidden "@stage"
    action_attributes: tuple[Field, ...] = ()
    actions: tuple[Action, ...] = ()
    placements: tuple[Placement, ...] = ()
    holdouts: tuple[Holdout, ...] = field(default=(), metadata=ADDED)
    experiments: tuple[Experiment, ...] = field(default=(), metadata=ADDED)
    readings: tuple[Reading, ...] = field(default=(), metadata=ADDED)
    # Plan.events: the engine's own, which tells of exposures.
    exposure: int = field(default=-1, metadata=ADDED)
    contact: tuple[ContactRule, ...] = field(default=(), metadata=ADDED)
    time_zone: TimeZone | None = field(default=None, metadata=ADDED)
    purposes: tuple[Purpose, ...] = field(default=(), metadata=ADDED)
    channels: tuple[Channel, ...] = field(default=(), metadata=ADDED)
    triggers: Triggers | None = field(default=None, metadata=ADDED)
    # What the triggers depend on; the compiler finds it, so that publishing need not.
    watch: Watch | None = field(default=None, metadata=DERIVED, compare=False, repr=False)
    budgets: tuple[Budget, ...] = field(default=(), metadata=ADDED)
    reservations: Reservations | None = field(default=None, metadata=ADDED)
