"""The contact policy: its subjects resolved, each rule over counters of the compiler's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from nextbest.core.playbook.plan import (
    Action,
    Aggregate,
    ContactKind,
    ContactRule,
    Counter,
    Period,
    Placement,
    ValueType,
)
from nextbest.server.playbook import contacts, limits
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import Text, unknown
from nextbest.server.playbook.tables import TIME, counter_key

# The event by which a proposition counts once it is shown.
IMPRESSION: Final = "impression"
# What counters keep is for one of these: a rule that changes within one keeps what it has counted.
_HORIZONS: Final = (3_600, *(limits.DAY_S * days for days in (1, 2, 8, 32, 100, 400, 3_650)))
_LIMIT_LEAST: Final = 8
# The longest day, week and month that there are, clocks set back included.
_PERIODS: Final = {
    Period.DAY: 2 * limits.DAY_S,
    Period.WEEK: 8 * limits.DAY_S,
    Period.MONTH: 32 * limits.DAY_S,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules, and the actions and placements with those that each needs."""

    rules: tuple[ContactRule, ...]
    actions: tuple[Action, ...]
    placements: tuple[Placement, ...]


def policy(
    playbook: Playbook, actions: Sequence[Action], placements: Sequence[Placement], scope: Scope
) -> Policy:
    """Compile contact.yaml; without one, actions and placements are as they were."""
    maker = _Maker(_members(actions, placements), scope)
    for name, spec in sorted(playbook.caps.items()):
        maker.cap(name, spec)
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
    )


# Of each subject: the actions or placements that a name of it stands for.
_Members = Mapping[str, Mapping[str, Sequence[int]]]


def _members(actions: Sequence[Action], placements: Sequence[Placement]) -> _Members:
    found: dict[str, dict[str, list[int]]] = {subject: {} for subject in contacts.SUBJECTS}
    for index, action in enumerate(actions):
        found["action"][action.name] = [index]
        if action.group:
            found["group"].setdefault(action.group, []).append(index)
    for index, placement in enumerate(placements):
        found["placement"][placement.name] = [index]
        if placement.channel:
            found["channel"].setdefault(placement.channel, []).append(index)
    return found


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
    rules: list[ContactRule] = field(default_factory=list)
    needed: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def needs(self, kind: str, index: int) -> tuple[int, ...]:
        """The rules that an action or a placement needs to hold."""
        return tuple(self.needed.get((kind, index), ()))

    def cap(self, name: Text, spec: contacts.CapSpec) -> None:
        """A rule for each that the cap is about by itself, or one."""
        what = f"cap {name}"
        window = spec.window.seconds
        horizon = _PERIODS.get(spec.window.period, window)
        for counted in self.counted(spec.count, spec.of, what):
            rule = ContactRule(
                name=what,
                kind=ContactKind.CAP,
                counter=self.counter(counted, horizon, spec.max, name, what),
                limit=spec.max,
                period=spec.window.period,
                window_s=window,
                shown=spec.count == IMPRESSION,
            )
            self.add(rule, counted.subject, counted.names)

    def add(self, rule: ContactRule, subject: str, names: Iterable[str]) -> None:
        """A rule for what the names stand for; without names, for every placement."""
        kind = "action" if subject in ("action", "group") else "placement"
        known = self.members[subject or "placement"]
        for index in sorted({index for name in names or known for index in known[name]}):
            self.needed.setdefault((kind, index), []).append(len(self.rules))
        self.rules.append(rule)

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
        kind = of.kind()
        known = self.members[kind]
        if of.each:
            return tuple(sorted(known))
        given: tuple[Text, ...] = getattr(of, kind)
        for name in given:
            if name not in known:
                unknown(name, f"{kind} of {what}", known, self.scope.faults)
        return tuple(sorted({str(name) for name in given if name in known}))

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
        self.scope.faults.add(of.at.node.fault(f"of {what}", allowed, of.kind()))
        return False

    def counter(self, counted: _Counted, window_s: int, limit: int, name: Text, what: str) -> int:
        """The index of a counter that keeps the moments of the latest events.

        So many and for so long that a rule is exact whatever the buckets are: where one of the
        window is forgotten, `limit` later ones are not.  Rules that need the same share it.
        """
        tables = self.scope.tables
        text = counted.filter()
        texts = (Text.at(text, name.node),) if text else ()
        window = _horizon(window_s)
        counter = Counter(
            name=f"@contact.{name}",
            key=b"",
            event=counted.event,
            aggregate=Aggregate.LAST_N,
            property=[one.name for one in tables.events[counted.event].properties].index(TIME),
            type=ValueType.TIMESTAMP,
            filter=self.scope.event_filter(counted.event, texts, what),
            window_s=window,
            resolution_s=window,
            limit=max(_LIMIT_LEAST, 1 << (limit - 1).bit_length()),
        )
        key = counter_key(counter, tables, text)
        for index, other in enumerate(tables.counters):
            if other.key == key:
                return index
        tables.counters.append(dataclasses.replace(counter, key=key))
        if len(tables.counters) == limits.COUNTERS_MAX + 1:
            allowed = f"at most {limits.COUNTERS_MAX:,} in all, those of caps included"
            self.scope.faults.add(name.node.fault("number of counters", allowed, "more"))
        return len(tables.counters) - 1


def _horizon(seconds: int) -> int:
    """How long a counter keeps what is needed for so long; 0 for all time."""
    return next((one for one in _HORIZONS if one >= seconds), 0) if seconds else 0
