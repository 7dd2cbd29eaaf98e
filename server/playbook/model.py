"""The author's language: every file, key and bound of a playbook, as tables.

`shapes` reads files by these tables and `schema` gives them to editors.  What a name refers to
and what an expression means is for `compile`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nextbest.core.playbook.plan import DegradeTo, ValueType
from nextbest.server.playbook import limits
from nextbest.server.playbook.contacts import ContactFile
from nextbest.server.playbook.shapes import (
    Anything,
    Choice,
    Expression,
    Flag,
    Many,
    Mapping,
    Moment,
    Name,
    PointsOrExpression,
    Real,
    Record,
    Shape,
    Span,
    Spec,
    Text,
    Whole,
    Words,
    key,
)
from nextbest.server.playbook.source import Node
from nextbest.server.playbook.trials import ExperimentsFile

FIELD_TYPES = {
    "bool": ValueType.BOOL,
    "int": ValueType.INT,
    "double": ValueType.DOUBLE,
    "string": ValueType.STRING,
    "timestamp": ValueType.TIMESTAMP,
    "list(string)": ValueType.STRING_LIST,
}
ATTRIBUTE_TYPES = {**FIELD_TYPES, "vector": ValueType.VECTOR}
TYPE_NAMES = {value: name for name, value in ATTRIBUTE_TYPES.items()}
ALL = "*"
AGGREGATES = ("count", "sum", "min", "max", "first", "last", "last_n", "distinct")

_NAME = Name()
_FIELD_NAME = Name(reserved=True)
_CONDITION = Expression(what="a condition in CEL")
_CONDITIONS = Many(_CONDITION, limits.CONDITIONS_MAX, single=True)
_FACTOR = Expression(number=True)
_EVENT_FIELD = Name(
    pattern=re.compile(r"[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63})?"),
    allowed="an event's property, such as purchase.amount",
)
_POINTS = Whole(-limits.POINTS_MAX, limits.POINTS_MAX)
_BOUND = Whole(-limits.SCORE_MAX, limits.SCORE_MAX)
_HALF_LIFE = Span(60, limits.WINDOW_S_MAX, word="none")
_CONTENT_NAME = Name(
    pattern=re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"),
    allowed="a letter or _, then at most 63 letters, digits and _ . -",
)
_LETTERS = Name(pattern=re.compile(r"[A-Z]"), allowed="a letter from A to Z")
_DIGITS = Name(pattern=re.compile(r"[0-9]{1,2}"), allowed="a number of one or two digits")


@dataclass(slots=True, kw_only=True)
class AttributeSpec(Spec):
    """A profile attribute."""

    type: ValueType = key(Choice(ATTRIBUTE_TYPES), "the attribute's type", required=True)
    pii: bool = key(Flag(), "true for what identifies a person", default=False)
    default: Node | None = key(Anything(), "what an unset attribute reads as")
    size: int = key(
        Whole(1, limits.VECTOR_MAX), "the length of a vector, which needs one", default=0
    )


@dataclass(slots=True, kw_only=True)
class CounterSpec(Spec):
    """An aggregate of an event over a window."""

    count: Text | None = key(_NAME, "counts an event")
    sum: Text | None = key(_EVENT_FIELD, "adds up a property of type int or double")
    min: Text | None = key(_EVENT_FIELD, "the least value of an int, double or timestamp property")
    max: Text | None = key(_EVENT_FIELD, "the greatest value of such a property")
    first: Text | None = key(_EVENT_FIELD, "a property's value in the earliest event")
    last: Text | None = key(_EVENT_FIELD, "a property's value in the latest event")
    last_n: Text | None = key(
        _EVENT_FIELD, "a string or double property's values in the n latest events"
    )
    distinct: Text | None = key(_EVENT_FIELD, "how many different values a property had")
    window: int = key(
        Span(1, limits.WINDOW_S_MAX, word="all"),
        "how far back: 1h, 7d, 30d, or all",
        required=True,
    )
    resolution: int = key(
        Span(1, limits.WINDOW_S_MAX),
        "the step with which the window moves; 5m for 1h, 6h for 7d, 1d for 30d, else about a 28th "
        "of the window when not given",
        default=0,
    )
    where: Text | None = key(_CONDITION, "counts only events for which this CEL over event.* holds")
    n: int = key(
        Whole(1, limits.LIST_MAX),
        "how many values last_n keeps; it needs one",
        default=0,
    )
    limit: int = key(
        Whole(1, limits.DISTINCT_MAX),
        "up to how many values distinct is exact",
        default=limits.DISTINCT_DEFAULT,
    )

    def chosen(self) -> tuple[str, Text]:
        """The aggregate's key and what it is of."""
        for name in AGGREGATES:
            of = getattr(self, name)
            if of is not None:
                return name, of
        raise AssertionError("a counter without an aggregate was read")


_PROPERTIES = Mapping("property", Choice(FIELD_TYPES), limits.PROPERTIES_MAX, _FIELD_NAME)


@dataclass(slots=True, kw_only=True)
class SchemaFile(Spec):
    """schema.yaml: what is known of people, what they do, what a request says."""

    attributes: dict[Text, AttributeSpec] = key(
        Mapping(
            "attribute",
            Record("attribute", AttributeSpec, short="type"),
            limits.ATTRIBUTES_MAX,
            _FIELD_NAME,
        ),
        "what is known of a person, read as profile.NAME",
        factory=dict,
    )
    events: dict[Text, dict[Text, ValueType]] = key(
        Mapping("event", _PROPERTIES, limits.EVENTS_MAX),
        "what a person does: each event with its properties, {} for none",
        factory=dict,
    )
    counters: dict[Text, CounterSpec] = key(
        Mapping(
            "counter",
            Record("counter", CounterSpec, one_of=AGGREGATES),
            limits.COUNTERS_MAX,
            _FIELD_NAME,
        ),
        "aggregates of events over windows, read as profile.NAME",
        factory=dict,
    )
    context: dict[Text, ValueType] = key(
        Mapping("context field", Choice(FIELD_TYPES), limits.CONTEXT_MAX, _FIELD_NAME),
        "what a request may say of the moment, read as context.NAME",
        factory=dict,
    )


@dataclass(slots=True, kw_only=True)
class SegmentsFile(Spec):
    """segments.yaml: people by condition."""

    segments: dict[Text, tuple[Text, ...]] = key(
        Mapping("segment", _CONDITIONS, limits.SEGMENTS_MAX, _FIELD_NAME),
        "each segment with its condition, read as segment.NAME",
        factory=dict,
    )


@dataclass(slots=True, kw_only=True)
class RuleSpec(Spec):
    """Points of a scorecard."""

    reason: Text = key(_NAME, "the reason code that answers carry", required=True)
    points: int | Text = key(
        PointsOrExpression(limits.POINTS_MAX),
        "the points it adds; an expression only without on",
        required=True,
    )
    when: tuple[Text, ...] = key(
        _CONDITIONS,
        "the condition, or a list of them: over event.* with on, and needed without",
        default=(),
    )
    on: Text | None = key(_NAME, "gives the points for each event of this name")
    max: int = key(Whole(1, limits.SCORE_MAX), "bounds the rule's points", default=0)
    half_life: int | None = key(
        _HALF_LIFE,
        "with on: in which time an event's points halve; as the scorecard's if not given",
    )
    window: int | None = key(
        Span(limits.DAY_S, limits.RULE_WINDOW_S_MAX, word="all"),
        f"with on: how far back events count; {limits.HALF_LIVES} half-lives, or all, if not given",
    )


@dataclass(slots=True, kw_only=True)
class ScorecardSpec(Spec):
    """Rules whose points add up."""

    rules: tuple[RuleSpec, ...] = key(
        Many(Record("rule", RuleSpec), limits.RULES_MAX, least=1), "the rules", required=True
    )
    min: int = key(_BOUND, "the least score", default=-limits.SCORE_MAX)
    max: int = key(_BOUND, "the greatest score", default=limits.SCORE_MAX)
    half_life: int = key(
        _HALF_LIFE, "in which time the points of its rules on events halve", default=0
    )


def _bands(names: Name) -> Mapping:
    return Mapping("band", _BOUND, limits.BANDS_MAX, names)


@dataclass(slots=True, kw_only=True)
class FitSpec(Spec):
    """The letters of a grade."""

    score: Text = key(_NAME, "the scorecard", required=True)
    bands: dict[Text, int] = key(
        _bands(_LETTERS), "each letter with the least points for it", required=True
    )


@dataclass(slots=True, kw_only=True)
class EngagementSpec(Spec):
    """The digits of a grade."""

    score: Text = key(_NAME, "the scorecard", required=True)
    bands: dict[Text, int] = key(
        _bands(_DIGITS), "each digit with the least points for it", required=True
    )


@dataclass(slots=True, kw_only=True)
class GradeSpec(Spec):
    """A matrix of two scores."""

    fit: FitSpec = key(Record("fit", FitSpec), "who they are: the letter", required=True)
    engagement: EngagementSpec = key(
        Record("engagement", EngagementSpec), "what they do: the digit", required=True
    )


class Sources(Shape):
    """The stages a transition starts from: one, a list, or "*" for any."""

    def read(self, node: Node, what: str, faults: Any) -> Any:
        """See Shape; "*" reads as no stages at all."""
        if node.text == "*":
            return ()
        return Many(_NAME, limits.STAGES_MAX, least=1, single=True).read(node, what, faults)

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        names = Many(_NAME, limits.STAGES_MAX, least=1, single=True).schema()
        return {"anyOf": [{"const": "*"}, *names["anyOf"]]}

    def text(self) -> str:
        """See Shape."""
        return '"*", a name, or a list of names'


@dataclass(slots=True, kw_only=True)
class TransitionSpec(Spec):
    """A step between two stages."""

    source: tuple[Text, ...] = key(
        Sources(), 'the stage or stages it starts from, "*" for any', required=True, name="from"
    )
    to: Text = key(_NAME, "the stage it leads to", required=True)
    when: tuple[Text, ...] = key(
        Many(_CONDITION, limits.CONDITIONS_MAX, least=1, single=True),
        "the condition, or a list of them",
        required=True,
    )


@dataclass(slots=True, kw_only=True)
class StagesSpec(Spec):
    """The lifecycle."""

    names: tuple[Text, ...] = key(
        Many(_NAME, limits.STAGES_MAX, least=1),
        "the stages; everybody starts in the first",
        required=True,
    )
    transitions: tuple[TransitionSpec, ...] = key(
        Many(Record("transition", TransitionSpec), limits.TRANSITIONS_MAX),
        "the steps, tried in their order",
        default=(),
    )


@dataclass(slots=True, kw_only=True)
class ScoresFile(Spec):
    """scores.yaml: scorecards, grades and lifecycle stages."""

    scores: dict[Text, ScorecardSpec] = key(
        Mapping(
            "scorecard", Record("scorecard", ScorecardSpec), limits.SCORECARDS_MAX, _FIELD_NAME
        ),
        "the scorecards, read as score.NAME",
        factory=dict,
    )
    grades: dict[Text, GradeSpec] = key(
        Mapping("grade", Record("grade", GradeSpec), limits.GRADES_MAX, _FIELD_NAME),
        "matrices of a fit and an engagement score, read as grade.NAME",
        factory=dict,
    )
    stages: StagesSpec | None = key(Record("stages", StagesSpec), "the lifecycle, read as stage")


class Named(Shape):
    """Some of a kind by name: one, a list, or "*" for all of them."""

    def read(self, node: Node, what: str, faults: Any) -> Any:
        """See Shape; "*" reads as itself."""
        if node.text == ALL:
            return (Text.of(node),)
        return Many(_NAME, limits.SEGMENTS_MAX, single=True).read(node, what, faults)

    def schema(self) -> dict[str, Any]:
        """See Shape."""
        names = Many(_NAME, limits.SEGMENTS_MAX, single=True).schema()
        return {"anyOf": [{"const": ALL}, *names["anyOf"]]}

    def text(self) -> str:
        """See Shape."""
        return f'"{ALL}", a name, or a list of names'


@dataclass(slots=True, kw_only=True)
class TriggersSpec(Spec):
    """What is told as an event when a write moves a person across it."""

    segments: tuple[Text, ...] = key(
        Named(), 'the segments, "*" for all: segment_entered and segment_left', default=()
    )
    grades: tuple[Text, ...] = key(Named(), 'the grades, "*" for all: grade_changed', default=())
    stage: bool = key(Flag(), "whether the lifecycle stage: stage_changed", default=False)


@dataclass(slots=True, kw_only=True)
class TriggersFile(Spec):
    """triggers.yaml: what becomes an event of the engine's own."""

    triggers: TriggersSpec | None = key(
        Record("trigger", TriggersSpec), "what is told as an event when a person crosses it"
    )


@dataclass(slots=True, kw_only=True)
class TreatmentSpec(Spec):
    """A form of an action."""

    name: Text = key(_NAME, "the treatment's name", required=True)
    channels: tuple[Text, ...] = key(
        Many(_NAME, limits.CHANNELS_MAX, single=True),
        "the channels it is made for; every one when not given",
        default=(),
    )
    when: tuple[Text, ...] = key(_CONDITIONS, "the condition, or a list of them", default=())
    content: dict[Text, Text] = key(
        Mapping(
            "content entry", Words(limits.CONTENT_BYTES_MAX), limits.CONTENT_MAX, _CONTENT_NAME
        ),
        "what the answer carries to the caller",
        factory=dict,
    )


@dataclass(slots=True, kw_only=True)
class ValidSpec(Spec):
    """When an action may be proposed."""

    source: int | None = key(Moment(), "the first moment", name="from")
    until: int | None = key(Moment(), "the moment it ends")


@dataclass(slots=True, kw_only=True)
class ActionSpec(Spec):
    """What may be proposed."""

    group: Text | None = key(_NAME, "placements choose and spread actions by group")
    eligibility: tuple[Text, ...] = key(_CONDITIONS, "may they have it", default=())
    applicability: tuple[Text, ...] = key(_CONDITIONS, "does it make sense now", default=())
    suitability: tuple[Text, ...] = key(_CONDITIONS, "is it right for them", default=())
    propensity_outcome: float | Text | None = key(
        _FACTOR, "the predicted probability of a positive outcome, from 0 to 1; 1 when not given"
    )
    context_weight: float | Text | None = key(
        _FACTOR, "how well it suits the moment; 1 when not given"
    )
    value: float | Text | None = key(_FACTOR, "what a positive outcome is worth; 1 when not given")
    lever: float | Text | None = key(_FACTOR, "the business's own weight; 1 when not given")
    consents: tuple[Text, ...] = key(
        Many(_NAME, limits.PURPOSES_MAX, single=True),
        "the purposes of contact.yaml that the person must have consented to",
        default=(),
    )
    valid: ValidSpec | None = key(Record("validity", ValidSpec), "from when until when")
    attributes: dict[Text, Node] = key(
        Mapping("action attribute", Anything(), limits.ACTION_ATTRIBUTES_MAX, _FIELD_NAME),
        "read as action.NAME in where and arbitration; of one type over all actions",
        factory=dict,
    )
    treatments: tuple[TreatmentSpec, ...] = key(
        Many(Record("treatment", TreatmentSpec), limits.TREATMENTS_MAX),
        "its forms, the first that suits is taken",
        default=(),
    )


@dataclass(slots=True, kw_only=True)
class ActionsFile(Spec):
    """actions.yaml: what may be proposed."""

    actions: dict[Text, ActionSpec] = key(
        Mapping(
            "action",
            Record("action", ActionSpec, later=("budget",)),
            limits.ACTIONS_MAX,
        ),
        "the actions, in the order in which ties are broken",
        factory=dict,
    )


@dataclass(slots=True, kw_only=True)
class CandidatesSpec(Spec):
    """Which actions a placement chooses from."""

    groups: tuple[Text, ...] = key(
        Many(_NAME, limits.SELECTION_MAX, single=True), "all actions of these groups", default=()
    )
    actions: tuple[Text, ...] = key(
        Many(_NAME, limits.SELECTION_MAX, single=True),
        "these actions, beside those of groups",
        default=(),
    )
    where: Text | None = key(_CONDITION, "only actions for which this CEL over action.* holds")


@dataclass(slots=True, kw_only=True)
class DiversitySpec(Spec):
    """How many propositions may be alike."""

    by: Text = key(_NAME, "group, or an attribute of the actions", required=True)
    max: int = key(Whole(1, limits.SLOTS_MAX), "at most so many of a kind", required=True)


@dataclass(slots=True, kw_only=True)
class SoftmaxSpec(Spec):
    """Chances that grow with the priority."""

    temperature: float = key(
        Real(0, limits.TEMPERATURE_MAX, above=True),
        "chances are proportional to exp(priority / temperature)",
        required=True,
    )


@dataclass(slots=True, kw_only=True)
class ExplorationSpec(Spec):
    """How actions are drawn, in place of the best ones."""

    epsilon_greedy: float | None = key(
        Real(0, 1), "with this probability all candidates are equally likely, else it is the best"
    )
    softmax: SoftmaxSpec | None = key(
        Record("softmax", SoftmaxSpec), "better candidates are likelier"
    )


@dataclass(slots=True, kw_only=True)
class PlacementSpec(Spec):
    """Where actions are shown."""

    slots: int = key(Whole(1, limits.SLOTS_MAX), "how many it shows", default=1)
    channel: Text | None = key(_NAME, "shows only treatments that are made for it")
    candidates: CandidatesSpec | None = key(
        Record("candidates", CandidatesSpec), "the actions it chooses from; all when not given"
    )
    arbitration: Text | None = key(
        Expression(),
        "the priority; propensity_outcome * context_weight * value * lever when not given",
    )
    diversity: DiversitySpec | None = key(
        Record("diversity", DiversitySpec), "how many propositions may be alike"
    )
    fallback: Text | None = key(_NAME, "the action shown when slots stay empty")
    degrade_to: DegradeTo = key(
        Choice({each.name.lower(): each for each in DegradeTo}),
        "how far answers may be cheaper under overload: no_scoring ranks in the playbook's order, "
        "fallback shows that alone when it is worse",
        default=DegradeTo.NONE,
    )
    exploration: ExplorationSpec | None = key(
        Record("exploration", ExplorationSpec, one_of=("epsilon_greedy", "softmax")),
        "draws actions by chance, so that what is not the best yet can show itself",
    )


@dataclass(slots=True, kw_only=True)
class PlacementsFile(Spec):
    """placements.yaml: where actions are shown."""

    placements: dict[Text, PlacementSpec] = key(
        Mapping(
            "placement",
            Record("placement", PlacementSpec),
            limits.PLACEMENTS_MAX,
        ),
        "the placements by name",
        factory=dict,
    )


@dataclass(slots=True, kw_only=True)
class CaseEventSpec(Spec):
    """An event of a test case."""

    event: Text = key(_NAME, "the event's name", required=True)
    ago: int | None = key(
        Span(0, limits.WINDOW_S_MAX), "how long before now it happened; this, or at"
    )
    moment: int | None = key(Moment(), "when it happened; this, or ago", name="at")
    times: int = key(Whole(1, limits.CASE_EVENTS_MAX), "how many of them", default=1)
    properties: dict[Text, Node] = key(
        Mapping("property", Anything(), limits.PROPERTIES_MAX, _FIELD_NAME),
        "the event's properties",
        factory=dict,
    )


@dataclass(slots=True, kw_only=True)
class SegmentsExpectSpec(Spec):
    """The segments a case expects."""

    inside: tuple[Text, ...] = key(
        Many(_NAME, limits.SEGMENTS_MAX, single=True), "they are in these", default=(), name="in"
    )
    outside: tuple[Text, ...] = key(
        Many(_NAME, limits.SEGMENTS_MAX, single=True),
        "they are in none of these",
        default=(),
        name="not_in",
    )


_FATES = (
    "outranked",
    "outside_validity",
    "not_eligible",
    "not_applicable",
    "not_suitable",
    "no_treatment",
    "no_priority",
    "diversity",
    "taken",
    "contact_policy",
    "no_consent",
)


@dataclass(slots=True, kw_only=True)
class ExpectSpec(Spec):
    """What a case expects of the decision."""

    placements: dict[Text, tuple[Text, ...]] = key(
        Mapping("placement", Many(_NAME, limits.SLOTS_MAX), limits.PLACEMENTS_MAX),
        "the actions of each placement, best first",
        factory=dict,
    )
    scores: dict[Text, int] = key(
        Mapping("score", _BOUND, limits.SCORECARDS_MAX), "scores by name", factory=dict
    )
    grades: dict[Text, Text] = key(
        Mapping("grade", Words(limits.TITLE_BYTES_MAX), limits.GRADES_MAX),
        "grades by name",
        factory=dict,
    )
    stage: Text | None = key(_NAME, "the lifecycle stage")
    segments: SegmentsExpectSpec | None = key(
        Record("segments", SegmentsExpectSpec), "the segments they are in and not in"
    )
    experiments: dict[Text, Text] = key(
        Mapping("experiment", _NAME, limits.EXPERIMENTS_MAX),
        "the variant of each experiment, none for nobody's",
        factory=dict,
    )
    dropped: dict[Text, str] = key(
        Mapping("action", Choice({fate: fate for fate in _FATES}), limits.ACTIONS_MAX),
        "why actions were not proposed",
        factory=dict,
    )


# What a case may say of a purpose: a status, or that what was granted has just ended.
CONSENTS = ("granted", "denied", "revoked", "expired")


@dataclass(slots=True, kw_only=True)
class CaseSpec(Spec):
    """A test of the playbook: a person, a moment and the decision they must get."""

    name: Text = key(Words(limits.TITLE_BYTES_MAX), "what the test shows", required=True)
    now: int = key(Moment(), "the moment of the decision", required=True)
    id: Text | None = key(
        Words(limits.CASE_ID_BYTES_MAX),
        "the person's id, by which experiments put them into buckets; made up when not given",
    )
    expect: ExpectSpec = key(Record("expectation", ExpectSpec), "what must come out", required=True)
    attributes: dict[Text, Node] = key(
        Mapping("attribute", Anything(), limits.ATTRIBUTES_MAX, _FIELD_NAME),
        "the person's attributes",
        factory=dict,
    )
    consents: dict[Text, str] = key(
        Mapping("purpose", Choice({one: one for one in CONSENTS}), limits.PURPOSES_MAX),
        "what the person has said of purposes",
        factory=dict,
    )
    do_not_contact: dict[Text, tuple[Text, ...]] = key(
        Mapping(
            "channel", Many(_NAME, limits.REASONS_MAX, single=True), limits.DECLARED_CHANNELS_MAX
        ),
        "channels in which they are not to be contacted, with the reason or reasons",
        factory=dict,
    )
    events: tuple[CaseEventSpec, ...] = key(
        Many(Record("event", CaseEventSpec), limits.CASE_EVENTS_MAX),
        "what the person did",
        default=(),
    )
    context: dict[Text, Node] = key(
        Mapping("context field", Anything(), limits.CONTEXT_MAX, _FIELD_NAME),
        "the request's context",
        factory=dict,
    )


FILES: dict[str, Record] = {
    "schema": Record("", SchemaFile),
    "segments": Record("", SegmentsFile),
    "scores": Record("", ScoresFile),
    "actions": Record("", ActionsFile),
    "placements": Record("", PlacementsFile),
    "experiments": Record("", ExperimentsFile),
    "contact": Record("", ContactFile),
    "triggers": Record("", TriggersFile),
}
CASES = Many(Record("test", CaseSpec), limits.CASES_MAX)
LATER = ("models",)
