"""The author's language of contact.yaml, as tables; `model` has the other files'."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nextbest.core.playbook.plan import Period
from nextbest.server.playbook import limits
from nextbest.server.playbook.consents import PURPOSES, Channels, PurposeSpec
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.shapes import (
    MISSING,
    Choice,
    Many,
    Mapping,
    Missing,
    Name,
    Place,
    Real,
    Record,
    Schema,
    Shape,
    Span,
    Spec,
    Text,
    Whole,
    key,
)
from nextbest.server.playbook.source import Kind, Node

# What a rule may be about, and the property by which an event names it.
SUBJECTS = ("action", "group", "placement", "channel")
CALENDAR = {"day": Period.DAY, "week": Period.WEEK, "month": Period.MONTH}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_NAME = Name()
_ZONE = Name(
    pattern=re.compile(r"[A-Za-z+-][A-Za-z0-9_+:/-]{0,63}"),
    allowed="a time zone such as Europe/Warsaw, or an offset such as +02:00",
)
_KEY = Name(
    pattern=re.compile(r"(profile|context)\.[a-z][a-z0-9_]{0,63}"),
    allowed="profile.NAME or context.NAME",
)
_COST = Real(0, limits.SPEND_MAX, above=True)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_CLOCK_TEXT = "a time of day from 00:00 to 24:00"


@dataclass(slots=True, kw_only=True)
class SubjectSpec(Spec):
    """What a rule is about: named ones, which it counts together, or each by itself."""

    action: tuple[Text, ...] | None = key(
        Many(_NAME, limits.SELECTION_MAX, least=1, single=True), "these actions together"
    )
    group: tuple[Text, ...] | None = key(
        Many(_NAME, limits.SELECTION_MAX, least=1, single=True), "the actions of these groups"
    )
    placement: tuple[Text, ...] | None = key(
        Many(_NAME, limits.SELECTION_MAX, least=1, single=True), "these placements together"
    )
    channel: tuple[Text, ...] | None = key(
        Many(_NAME, limits.SELECTION_MAX, least=1, single=True), "the placements of these channels"
    )
    each: str = ""

    def kind(self) -> str:
        """One of SUBJECTS."""
        return self.each or next(one for one in SUBJECTS if getattr(self, one) is not None)


@dataclass(frozen=True)
class Subject(Shape):
    """A subject's word alone, for each by itself, or a mapping with names."""

    def read(self, node: Node, what: str, faults: Faults) -> SubjectSpec | Missing:
        """See Shape."""
        if node.kind is Kind.MAP:
            return self._named().read(node, what, faults)  # type: ignore[return-value]
        word: str | Missing = Choice({one: one for one in SUBJECTS}).read(node, what, faults)
        if isinstance(word, Missing):
            return word
        return SubjectSpec(at=Place(node, {}, {}), each=word)

    def schema(self) -> Schema:
        """See Shape."""
        return {"anyOf": [{"enum": list(SUBJECTS)}, self._named().schema()]}

    def text(self) -> str:
        """See Shape."""
        return f"{', '.join(SUBJECTS)}, or {self._named().text()}"

    def inside(self) -> tuple[str, Record] | None:
        """See Shape."""
        return self._named().inside()

    def _named(self) -> Record:
        return Record("subject", SubjectSpec, one_of=SUBJECTS)


@dataclass(frozen=True, slots=True)
class Window:
    """How far back a cap counts: a span in seconds, 0 for all time, or a calendar period."""

    period: Period
    seconds: int = 0


@dataclass(frozen=True)
class WindowShape(Shape):
    """A rolling window, or a calendar one in the person's time zone."""

    def read(self, node: Node, what: str, faults: Faults) -> Window | Missing:
        """See Shape."""
        if node.kind is Kind.SCALAR and node.text in CALENDAR:
            return Window(CALENDAR[node.text])
        quiet = Faults()
        seconds = self._span().read(node, what, quiet)
        if not isinstance(seconds, Missing):
            return Window(Period.ROLLING, seconds)
        for fault in quiet.sorted():
            allowed = f"{', '.join(CALENDAR)}, or {fault.allowed}"
            faults.add(node.fault(what, allowed, fault.seen))
        return MISSING

    def schema(self) -> Schema:
        """See Shape."""
        return {"anyOf": [{"enum": list(CALENDAR)}, *self._span().schema()["anyOf"]]}

    def text(self) -> str:
        """See Shape."""
        return f"{', '.join(CALENDAR)}, or {self._span().text()}"

    def _span(self) -> Span:
        return Span(1, limits.WINDOW_S_MAX, word="all")


@dataclass(slots=True, kw_only=True)
class CapSpec(Spec):
    """At most so many events of a kind within a window."""

    count: Text = key(_NAME, "the event that it counts, such as impression", required=True)
    of: SubjectSpec | None = key(
        Subject(),
        "what it is about: action, group, placement or channel for each by itself, or which; "
        "everything together when not given",
    )
    max: int = key(Whole(1, limits.CAP_MAX), "at most so many", required=True)
    window: Window = key(
        WindowShape(),
        "how far back: a span such as 7d, or day, week (from Monday) or month of the person's time "
        "zone, or all",
        required=True,
    )
    reserve: int | None = key(
        Span(0, limits.RESERVE_S_MAX),
        "how long a proposition counts that no impression has confirmed; 60s for a cap of "
        "impressions, 0s for none",
        default=None,
    )


@dataclass(frozen=True)
class Cost(Shape):
    """What one impression costs: a number, or the name of an action attribute."""

    def read(self, node: Node, what: str, faults: Faults) -> float | Text | Missing:
        """See Shape."""
        if node.kind is Kind.SCALAR and isinstance(node.scalar(), str):
            return _NAME.read(node, what, faults)
        return _COST.read(node, what, faults)

    def schema(self) -> Schema:
        """See Shape."""
        return {"anyOf": [_COST.schema(), _NAME.schema()]}

    def text(self) -> str:
        """See Shape."""
        return f"{_COST.text()}, or {_NAME.text()}"


@dataclass(slots=True, kw_only=True)
class SpendSpec(Spec):
    """At most so much money, or any other unit."""

    max: float = key(
        Real(0, limits.SPEND_MAX, above=True), "at most so much, to six decimals", required=True
    )
    cost: float | Text = key(
        Cost(), "what an impression takes of it: a number or an action attribute", required=True
    )


@dataclass(slots=True, kw_only=True)
class BudgetSpec(Spec):
    """At most so many impressions, or so much spent, over all people."""

    of: SubjectSpec | None = key(
        Subject(), "what it is about, as for a cap; everything together when not given"
    )
    max: int | None = key(Whole(1, limits.BUDGET_MAX), "at most so many impressions")
    spend: SpendSpec | None = key(
        Record("spend", SpendSpec), "in place of max: what impressions cost, and how much they may"
    )
    per: Period = key(
        Choice(CALENDAR | {"all": Period.ROLLING}),
        "day, week (from Monday) or month of the default time zone, or all time",
        required=True,
    )
    pacing: bool = key(
        Choice({"none": False, "even": True}),
        "even: what may be used grows as the period goes on",
        default=False,
    )
    hold: int = key(
        Span(1, limits.HOLD_S_MAX),
        "how long a decision's reservation waits for its impression before it comes back",
        default=1_800,
    )
    shares: int = key(
        Whole(1, limits.SHARES_MAX),
        "in how many parts nodes claim it; what a node that dies has claimed is lost",
        default=64,
    )


@dataclass(slots=True, kw_only=True)
class SuppressionSpec(Spec):
    """A pause after so many events of a kind."""

    after: int = key(Whole(1, limits.CAP_MAX), "after so many events", required=True)
    count: Text = key(_NAME, "the event that it counts, such as dismissal", required=True)
    of: SubjectSpec | None = key(
        Subject(), "what it is about, as for a cap; everything together when not given"
    )
    within: int = key(
        Span(60, limits.WINDOW_S_MAX),
        "within how long they must have come; needed where after is more than 1",
        default=0,
    )
    pause: int = key(
        Span(1, limits.WINDOW_S_MAX), "how long it pauses from the last of them on", required=True
    )


@dataclass(frozen=True)
class Clock(Shape):
    """A time of day, in seconds."""

    def read(self, node: Node, what: str, faults: Faults) -> int | Missing:
        """See Shape."""
        if node.kind is not Kind.SCALAR or not _CLOCK.fullmatch(node.text):
            faults.add(node.fault(what, _CLOCK_TEXT))
            return MISSING
        hours, minutes = node.text.split(":")
        return int(hours) * 3_600 + int(minutes) * 60

    def schema(self) -> Schema:
        """See Shape."""
        return {"type": "string", "pattern": f"^(?:{_CLOCK.pattern})$"}

    def text(self) -> str:
        """See Shape."""
        return _CLOCK_TEXT


@dataclass(slots=True, kw_only=True)
class QuietHoursSpec(Spec):
    """Hours in which a person is left alone."""

    channels: tuple[Text, ...] = key(
        Many(_NAME, limits.SELECTION_MAX, least=1, single=True),
        "the placements of these channels show nothing",
        required=True,
    )
    start: int = key(Clock(), "when they begin, by the person's clock", required=True, name="from")
    end: int = key(
        Clock(), "when they end, the day after where that is earlier", required=True, name="to"
    )
    days: tuple[str, ...] = key(
        Many(Choice({day: day for day in DAYS}), len(DAYS), least=1, single=True),
        "the days on which they begin; every day when not given",
        default=DAYS,
    )


@dataclass(slots=True, kw_only=True)
class TimeZoneSpec(Spec):
    """Where a person's clock is."""

    source: tuple[Text, ...] = key(
        Many(_KEY, limits.ZONE_KEYS_MAX, least=1, single=True),
        "a string that names it, or some that stand in for one another",
        default=(),
        name="from",
    )
    default: Text = key(_ZONE, "the zone of somebody for whom none is set", required=True)


@dataclass(slots=True, kw_only=True)
class ContactFile(Spec):
    """contact.yaml: how often and when a person may be contacted."""

    channels: dict[Text, tuple[Text, ...]] = key(
        Channels(),
        "the channels there are, or each with the reasons for which a person may not be contacted "
        "there; placements and treatments have no others then",
        factory=dict,
    )
    time_zone: TimeZoneSpec | None = key(
        Record("time zone", TimeZoneSpec, short="default"),
        "where the person's clock is, for calendar windows and quiet hours",
    )
    caps: dict[Text, CapSpec] = key(
        Mapping("cap", Record("cap", CapSpec), limits.CONTACT_RULES_MAX),
        "the frequency caps, each for every person by themselves",
        factory=dict,
    )
    budgets: dict[Text, BudgetSpec] = key(
        Mapping(
            "budget",
            Record("budget", BudgetSpec, one_of=("max", "spend")),
            limits.BUDGETS_MAX,
        ),
        "what may be shown or spent over all people",
        factory=dict,
    )
    suppression: dict[Text, SuppressionSpec] = key(
        Mapping("suppression", Record("suppression", SuppressionSpec), limits.CONTACT_RULES_MAX),
        "pauses after so many events",
        factory=dict,
    )
    quiet_hours: dict[Text, QuietHoursSpec] = key(
        Mapping("quiet hours", Record("quiet hours", QuietHoursSpec), limits.CONTACT_RULES_MAX),
        "when channels are quiet",
        factory=dict,
    )
    purposes: dict[Text, PurposeSpec] = key(
        PURPOSES, "what a person may allow, read as consent.NAME", factory=dict
    )
