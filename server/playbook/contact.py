"""The contact policy: its references resolved, each rule over counters of the compiler's own."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from nextbest.core.expression.zones import OFFSET, zone_names
from nextbest.core.playbook.plan import (
    OUTCOME_KEY,
    Action,
    Aggregate,
    Budget,
    ContactKind,
    ContactRule,
    Counter,
    Event,
    Field,
    InputKind,
    Period,
    Placement,
    Reservations,
    TimeZone,
    ValueType,
)
from nextbest.server.playbook import contacts, limits
from nextbest.server.playbook.budget import Spender
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scalars import span_text
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import Text, unknown
from nextbest.server.playbook.source import Node
from nextbest.server.playbook.tables import TIME, Tables, hidden_counter

# The event by which a proposition counts once it is shown.
IMPRESSION: Final = "impression"
# The engine's own event: a decision has proposed something under a cap that reserves.  It once told
# of one proposition by these properties, and may do so in what is stored; the list of several is no
# property, so that playbooks keep their hashes.
_RESERVATION: Final = Event(
    "@reservation",
    (
        Field("action", ValueType.STRING),
        Field("placement", ValueType.STRING),
        Field(TIME, ValueType.TIMESTAMP),
    ),
)
_RESERVE_S: Final = 60
# What counters of reservations keep is for one of these at least, in seconds.
_RESERVES: Final = (60, 600, limits.RESERVE_S_MAX)
# Propositions of one person that wait for an impression, or had it, within the longest reserve:
# beyond so many caps that reserve let nothing pass.
_RESERVATIONS_LEAST: Final = 32
_RESERVATIONS_MOST: Final = 256
# What counters keep is for one of these: a rule that changes within one keeps what it has counted.
_HORIZONS: Final = (3_600, *(limits.DAY_S * days for days in (1, 2, 8, 32, 100, 400, 3_660)))
_LIMIT_LEAST: Final = 8
# The longest day, week and month that there are, with clocks set back by up to two hours.
_PERIODS: Final = {
    Period.DAY: limits.DAY_S + 7_200,
    Period.WEEK: 7 * limits.DAY_S + 7_200,
    Period.MONTH: 31 * limits.DAY_S + 7_200,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules, and the actions and placements with those that each needs."""

    rules: tuple[ContactRule, ...]
    actions: tuple[Action, ...]
    placements: tuple[Placement, ...]
    time_zone: TimeZone | None
    budgets: tuple[Budget, ...]
    reservations: Reservations | None


def policy(
    playbook: Playbook, actions: Sequence[Action], placements: Sequence[Placement], scope: Scope
) -> Policy:
    """Compile contact.yaml; without one, actions and placements are as they were."""
    zone = _time_zone(playbook.time_zone, scope)
    members = _members(playbook, actions, placements)
    maker = _Maker(members, scope, playbook.time_zone is not None)
    for name, cap in sorted(playbook.caps.items()):
        maker.cap(name, cap)
    spender = Spender(actions, placements, scope, zone.default if zone else "")
    for name, spec in sorted(playbook.budgets.items()):
        maker.budget(name, spec, spender)
    for name, suppression in sorted(playbook.suppression.items()):
        maker.suppression(name, suppression)
    for name, quiet in sorted(playbook.quiet_hours.items()):
        maker.quiet_hours(name, quiet)
    _check_channels(playbook, scope.faults)
    return Policy(
        rules=tuple(maker.rules),
        actions=tuple(
            dataclasses.replace(one, contact=maker.needs("action", index))
            for index, one in enumerate(actions)
        ),
        placements=tuple(
            dataclasses.replace(one, contact=maker.needs("placement", index))
            for index, one in enumerate(placements)
        ),
        time_zone=zone if any(map(_needs_zone, maker.rules)) else None,
        budgets=tuple(spender.budgets),
        reservations=maker.reservations(next(iter(playbook.caps), None)),
    )


# Of each subject: the actions or placements that a name of it stands for.
_Members = Mapping[str, Mapping[str, Sequence[int]]]


def _members(
    playbook: Playbook, actions: Sequence[Action], placements: Sequence[Placement]
) -> _Members:
    found: dict[str, dict[str, list[int]]] = {subject: {} for subject in contacts.SUBJECTS}
    found["channel"] = {str(name): [] for name in sorted(playbook.channels)}
    for index, action in enumerate(actions):
        found["action"][action.name] = [index]
        if action.group:
            found["group"].setdefault(action.group, []).append(index)
    for index, placement in enumerate(placements):
        found["placement"][placement.name] = [index]
        if placement.channel:
            found["channel"].setdefault(placement.channel, []).append(index)
    return found


def _check_channels(playbook: Playbook, faults: Faults) -> None:
    """Refuse channels that are not declared, where any is: they would escape their rules."""
    if not playbook.channels:
        return
    placements = [one.channel for one in playbook.placements.values() if one.channel is not None]
    treatments = [one for spec in playbook.actions.values() for one in spec.treatments]
    for channel in (*placements, *(each for one in treatments for each in one.channels)):
        if channel not in playbook.channels:
            unknown(channel, "channel", playbook.channels, faults, "channel")


def _needs_zone(rule: ContactRule) -> bool:
    return rule.kind is ContactKind.QUIET_HOURS or rule.period is not Period.ROLLING


def _time_zone(spec: contacts.TimeZoneSpec | None, scope: Scope) -> TimeZone | None:
    """The inputs that name it, and a default that there is."""
    if spec is None:
        return None
    if spec.default not in zone_names() and OFFSET.fullmatch(spec.default) is None:
        near = difflib.get_close_matches(spec.default, zone_names(), n=1)
        allowed = "an offset such as +02:00, or a name of the time zone database"
        hint = f" (did you mean {near[0]}?)" if near else ""
        scope.faults.add(spec.default.node.fault("time zone", allowed + hint))
    known = {
        one.name: slot
        for slot, one in enumerate(scope.inputs)
        if _type(scope.tables, one.kind, one.index) is ValueType.STRING
    }
    for name in spec.source:
        if name not in known:
            unknown(name, "time zone from", known, scope.faults)
    return TimeZone(tuple(known[name] for name in spec.source if name in known), str(spec.default))


def _type(tables: Tables, kind: InputKind, index: int) -> ValueType | None:
    """The type of an attribute or a context field; None for other inputs."""
    if kind is InputKind.ATTRIBUTE:
        return tables.attributes[index].type
    return tables.context[index].type if kind is InputKind.CONTEXT else None


@dataclass(frozen=True, slots=True)
class _Counted:
    """The events that a rule counts: of one kind and, unless `names` is empty, about these."""

    event: int
    subject: str
    names: tuple[str, ...]

    def filter(self) -> str:
        """The condition on the event; empty for none."""
        if not self.names:
            return ""
        quoted = [f'"{name}"' for name in self.names]
        if len(quoted) == 1:
            return f"event.{self.subject} == {quoted[0]}"
        return f"event.{self.subject} in [{', '.join(quoted)}]"


@dataclass(slots=True)
class _Maker:
    members: _Members
    scope: Scope
    zoned: bool  # whether the playbook says where people's clocks are
    rules: list[ContactRule] = field(default_factory=list)
    needed: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def needs(self, kind: str, index: int) -> tuple[int, ...]:
        """The rules that an action or a placement needs to hold."""
        return tuple(self.needed.get((kind, index), ()))

    def cap(self, name: Text, spec: contacts.CapSpec) -> None:
        """A rule for each that the cap is about by itself, or one."""
        what = f"cap {name}"
        window = spec.window.seconds
        horizon = _horizon(_PERIODS.get(spec.window.period, window))
        if spec.window.period is not Period.ROLLING:
            self.check_zone(spec.at.value("window"), f"window of {what}")
        reserve = self.reserve(spec, what)
        for counted in self.counted(spec.count, spec.of, what):
            rule = ContactRule(
                name=what,
                kind=ContactKind.CAP,
                counter=self.counter(counted, horizon, horizon, spec.max, name),
                limit=spec.max,
                period=spec.window.period,
                window_s=window,
                shown=spec.count == IMPRESSION,
                reserve_s=reserve,
            )
            self.add(rule, counted.subject, counted.names)

    def reserve(self, spec: contacts.CapSpec, what: str) -> int:
        """For how long a cap reserves, in seconds; 0 for not at all."""
        shown = spec.count == IMPRESSION
        if spec.reserve and not shown and spec.count in self.scope.tables.event_index:
            allowed = f"0s: only a cap of {IMPRESSION} reserves"
            self.scope.faults.add(spec.at.value("reserve").fault(f"reserve of {what}", allowed))
        reserve = (_RESERVE_S if shown else 0) if spec.reserve is None else spec.reserve
        return min(reserve, spec.window.seconds or reserve)

    def reservations(self, at: Text | None) -> Reservations | None:
        """The event and the counters of reservations, where a cap needs them."""
        tables = self.scope.tables
        if at is None or not any(rule.reserve_s for rule in self.rules):
            return None
        shown = tables.event_index.get(IMPRESSION)
        if shown is None:
            return None
        tables.events.append(_RESERVATION)
        event = len(tables.events) - 1
        longest = max(rule.reserve_s for rule in self.rules)
        kept_s = next(one for one in _RESERVES if one >= longest) + limits.AHEAD_S
        counters = [
            Counter(
                name=name,
                key=b"",
                event=counted,
                aggregate=Aggregate.LAST_N,
                property=OUTCOME_KEY,
                type=ValueType.INT,
                window_s=kept_s,
                resolution_s=kept_s,
                limit=self.reservations_kept(longest),
            )
            for name, counted in (("@reserved", event), ("@confirmed", shown))
        ]
        faults = self.scope.faults
        reserved, confirmed = (
            hidden_counter(one, "", "caps", tables, at.node, faults) for one in counters
        )
        return Reservations(event, reserved, confirmed)

    def reservations_kept(self, longest: int) -> int:
        """How many counters keep: twice what caps allow a person on one node within `longest`.

        A rule lets its limit pass within its own `reserve`.  One that is about every placement
        bounds all others.
        """
        most = {
            index: rule.limit * -(-longest // rule.reserve_s)
            for index, rule in enumerate(self.rules)
            if rule.reserve_s
        }
        everywhere = set(most).intersection(
            *(self.needs("placement", index) for (index,) in self.members["placement"].values())
        )
        least = min([sum(most.values()), *(most[index] for index in everywhere)])
        kept = 1 << (2 * least - 1).bit_length()
        return min(max(kept, _RESERVATIONS_LEAST), _RESERVATIONS_MOST)

    def budget(self, name: Text, spec: contacts.BudgetSpec, spender: Spender) -> None:
        """A budget and its rule, or one of each for each that it is about by itself."""
        what = f"budget {name}"
        if IMPRESSION not in self.scope.tables.event_index:
            # Nothing would ever be used: each hold would come back.
            allowed = f"an event {IMPRESSION} in schema.yaml, by which it is used"
            self.scope.faults.add(name.node.fault(what, allowed, f"no event {IMPRESSION}"))
        if spec.per is not Period.ROLLING:
            self.check_zone(spec.at.value("per"), f"per of {what}")
        for subject, names in self.subjects(spec.of, what):
            of = names[0] if spec.of is not None and spec.of.each else ""
            rule = ContactRule(
                name=f"{what} of {of}" if of else what,
                kind=ContactKind.BUDGET,
                period=spec.per,
                shown=True,
                budget=len(spender.budgets),
            )
            chosen = self.add(rule, subject, names)
            spender.add(name, of, spec, "placement" if subject == "channel" else subject, chosen)

    def subjects(
        self, of: contacts.SubjectSpec | None, what: str
    ) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What a rule is about, apart: each a subject and names; () after a fault."""
        if of is None:
            return (("", ()),)
        names = self.names(of, what)
        if of.each:
            return tuple((of.each, (name,)) for name in names)
        return ((of.kind(), names),) if names else ()

    def suppression(self, name: Text, spec: contacts.SuppressionSpec) -> None:
        """A rule for each that the suppression is about by itself, or one."""
        what = f"suppression {name}"
        horizon = _horizon(spec.within + spec.pause)
        bucket = self.bucket(spec, horizon, what)
        for counted in self.counted(spec.count, spec.of, what):
            rule = ContactRule(
                name=what,
                kind=ContactKind.SUPPRESSION,
                counter=self.counter(counted, horizon, bucket, spec.after, name),
                limit=spec.after,
                window_s=spec.within,
                pause_s=spec.pause,
            )
            self.add(rule, counted.subject, counted.names)

    def bucket(self, spec: contacts.SuppressionSpec, horizon: int, what: str) -> int:
        """The resolution of a suppression's counter: not above its window.

        A bucket that forgets a moment then holds `after` later ones, which are a pause themselves.
        """
        if spec.after == 1:
            return horizon
        if not spec.within:
            allowed = "within: how long that many may take"
            if "within" not in spec.at.keys:
                self.scope.faults.add(spec.at.node.fault(what, allowed, "no within"))
            return horizon
        least = -(-horizon // limits.BUCKETS_MAX)
        if not horizon or spec.within < least:
            kept = max(one for one in _HORIZONS if one <= spec.within * limits.BUCKETS_MAX)
            most = kept - spec.within - limits.AHEAD_S
            most -= most % (limits.DAY_S if most > limits.DAY_S else 60)
            allowed = f"at most {span_text(most)} for within: {span_text(spec.within)}"
            self.scope.faults.add(spec.at.value("pause").fault(f"pause of {what}", allowed))
            return horizon
        return max((one for one in _HORIZONS if least <= one <= spec.within), default=spec.within)

    def quiet_hours(self, name: Text, spec: contacts.QuietHoursSpec) -> None:
        """A rule for the placements of its channels."""
        what = f"quiet_hours {name}"
        if spec.start == spec.end:
            fault = spec.at.value("to").fault(f"to of {what}", "another time than from")
            self.scope.faults.add(fault)
        self.check_zone(spec.at.node, what)
        rule = ContactRule(
            name=what,
            kind=ContactKind.QUIET_HOURS,
            start_s=spec.start,
            end_s=spec.end,
            days=sum({1 << contacts.DAYS.index(day) for day in spec.days}),
        )
        self.add(rule, "channel", self.known("channel", spec.channels, what))

    def check_zone(self, node: Node, what: str) -> None:
        """Report what needs the person's clock where the playbook does not say where it is."""
        if not self.zoned and "time_zone" not in self.scope.faults.broken:
            allowed = "a time_zone in contact.yaml beside it"
            self.scope.faults.add(node.fault(what, allowed, "no time_zone"))

    def add(self, rule: ContactRule, subject: str, names: Iterable[str]) -> list[int]:
        """A rule for what the names stand for; without a subject, for every placement.

        Gives the actions or placements.
        """
        kind = "action" if subject in ("action", "group") else "placement"
        known = self.members[subject or "placement"]
        chosen = names if subject else known
        found = sorted({index for name in chosen for index in known[name]})
        for index in found:
            self.needed.setdefault((kind, index), []).append(len(self.rules))
        self.rules.append(rule)
        return found

    def counted(
        self, event: Text, of: contacts.SubjectSpec | None, what: str
    ) -> tuple[_Counted, ...]:
        """What the rule counts, apart; () after a fault."""
        index = self.scope.tables.event(event, f"count of {what}", self.scope.faults)
        if of is None:
            return () if index is None else (_Counted(index, "", ()),)
        names = self.names(of, what)
        if index is None or not self.named_by(event, index, of, what):
            return ()
        if of.each:
            return tuple(_Counted(index, of.each, (name,)) for name in names)
        return (_Counted(index, of.kind(), names),) if names else ()

    def names(self, of: contacts.SubjectSpec, what: str) -> tuple[str, ...]:
        """The names that a rule is about, each once and in their order."""
        if of.each:
            return tuple(sorted(self.members[of.each]))
        return self.known(of.kind(), getattr(of, of.kind()), what)

    def known(self, subject: str, given: Iterable[Text], what: str) -> tuple[str, ...]:
        """The names of a subject that there are; a fault for each other one."""
        found = set()
        for name in given:
            if name in self.members[subject]:
                found.add(str(name))
            else:
                known = self.members[subject]
                unknown(name, f"{subject} of {what}", known, self.scope.faults, subject)
        return tuple(sorted(found))

    def named_by(self, event: Text, index: int, of: contacts.SubjectSpec, what: str) -> bool:
        """Whether the event has a property that names the subject; else a fault says so."""
        properties = {
            one.name
            for one in self.scope.tables.events[index].properties
            if one.type is ValueType.STRING
        }
        if of.kind() in properties:
            return True
        named = ", ".join(one for one in contacts.SUBJECTS if one in properties)
        allowed = f"what a property of {event} names, of type string: {named or 'it has none'}"
        if of.kind() not in self.scope.faults.broken:
            self.scope.faults.add(of.at.node.fault(f"of {what}", allowed, of.kind()))
        return False

    def counter(self, counted: _Counted, window: int, bucket: int, limit: int, name: Text) -> int:
        """The index of a counter that keeps the moments of the latest events.

        A rule is exact whatever the buckets are: where one has forgotten a moment of the window,
        it holds `limit` later ones.  Rules that need the same share a counter.
        """
        tables = self.scope.tables
        text = counted.filter()
        texts = (Text.at(text, name.node),) if text else ()
        counter = Counter(
            name=f"@contact.{name}",
            key=b"",
            event=counted.event,
            aggregate=Aggregate.LAST_N,
            property=[one.name for one in tables.events[counted.event].properties].index(TIME),
            type=ValueType.TIMESTAMP,
            filter=self.scope.event_filter(counted.event, texts, f"contact rule {name}"),
            window_s=window,
            resolution_s=bucket,
            limit=max(_LIMIT_LEAST, 1 << (limit - 1).bit_length()),
        )
        return hidden_counter(counter, text, "caps", tables, name.node, self.scope.faults)


def _horizon(seconds: int) -> int:
    """How long a counter keeps what is needed for so long; 0 for all time, and for longer than any.

    Whole buckets are forgotten from the newest event on, which may be ahead of the decision.
    """
    if not seconds:
        return 0
    return next((one for one in _HORIZONS if one >= seconds + limits.AHEAD_S), 0)
