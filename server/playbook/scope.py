"""Expressions in a playbook: which names each may use, and the pools that share them.

`Checker` is what this package needs of the CEL compiler.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, Protocol

from nextbest.core.expression.code import Code
from nextbest.core.playbook.plan import (
    Aggregate,
    Factor,
    Field,
    Input,
    InputKind,
    Plan,
    Reading,
    ValueType,
)
from nextbest.core.playbook.watch import compared
from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import (
    SEEN_MAX,
    UNKNOWN_FIELD,
    Fault,
    Faults,
    Severity,
    one_of,
    shown,
)
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.shapes import Text
from nextbest.server.playbook.source import place
from nextbest.server.playbook.tables import Tables

ROOTS: Final = frozenset(
    (
        *("profile", "context", "segment", "score", "grade", "stage", "now", "event", "action"),
        *("experiment", "holdout", "consent"),
        *(factor.name.lower() for factor in Factor),
    )
)
_READ: Final = re.compile(r"\bprofile\.(\w+)")
FACTORS: Final = tuple(factor.name.lower() for factor in Factor)


class Want(Enum):
    """The result an expression must have."""

    CONDITION = "true or false"
    NUMBER = "a number"


class Variable(NamedTuple):
    """A name an expression may use, and the input slot it reads.

    `nullable` says that it may be unset; `list_of_numbers` and the like follow from `type`.
    """

    name: str  # "profile.age", "stage"
    type: ValueType
    slot: int
    nullable: bool
    many: bool = False  # a list of `type`: a last_n counter


class Issue(NamedTuple):
    """What is wrong with an expression; `offset` counts characters of its text."""

    offset: int
    what: str
    seen: str
    allowed: str
    severity: Severity


class Checked(NamedTuple):
    """A checked expression: its conjuncts when it is a condition, and the whole of it."""

    codes: tuple[Code, ...]
    whole: Code | None
    issues: tuple[Issue, ...]


class Checker(Protocol):
    """Compiles expressions over a fixed set of variables."""

    def check(self, text: str, want: Want) -> Checked:
        """Never raises for any text."""


class MakeChecker(Protocol):
    """Makes a Checker; fails only for names that `limits.RESERVED` should have refused."""

    def __call__(self, variables: Sequence[Variable]) -> Checker: ...


_STORED: Final = frozenset(
    (
        InputKind.ATTRIBUTE,
        InputKind.COUNTER,
        InputKind.SEGMENT,
        InputKind.SCORE,
        InputKind.GRADE,
        InputKind.STAGE,
        InputKind.NOW,
        InputKind.CONSENT,
    )
)

# What depends on the request, too: a bucketing key may be the identity it names.
_ASKED: Final = frozenset((InputKind.CONTEXT, InputKind.EXPERIMENT, InputKind.HOLDOUT))


class World(Enum):
    """Which kinds of input an expression may read."""

    QUERY = _STORED
    PERSON = _STORED | _ASKED
    RANKING = _STORED | _ASKED | {InputKind.ACTION, InputKind.FACTOR}
    ACTION = frozenset((InputKind.ACTION,))


@dataclass(slots=True)
class Scope:
    """The inputs table, a checker for each world, and the shared conditions."""

    inputs: list[Input]
    checkers: dict[World, Checker]
    make: MakeChecker
    tables: Tables
    faults: Faults
    readings: Sequence[Reading] = ()
    conditions: list[Code] = field(default_factory=list)
    expressions: list[Code] = field(default_factory=list)
    # What a property of an event can be, by event and slot, where only these values come.
    known: dict[int, dict[int, Collection[str]]] = field(default_factory=dict)
    # What an experiment reads as, by its input's slot.
    variants: dict[int, Collection[str]] = field(default_factory=dict)
    _by_key: dict[object, int] = field(default_factory=dict)
    _checked: dict[tuple[World, Want, str], Checked] = field(default_factory=dict)
    _events: dict[int, Checker] = field(default_factory=dict)

    def gate(
        self, texts: Sequence[Text], what: str, world: World = World.PERSON
    ) -> tuple[int, ...]:
        """The distinct conditions that must all hold, by index, each once."""
        found: dict[int, None] = {}
        for text in texts:
            for code in self.check(text, Want.CONDITION, what, world):
                found[self._condition(code)] = None
        return tuple(found)

    def expression(self, text: Text, what: str, world: World = World.PERSON) -> int:
        """The index of a number's expression; -1 after a fault."""
        codes = self.check(text, Want.NUMBER, what, world)
        return self._pooled(codes[0], "x", self.expressions) if codes else -1

    def check(self, text: Text, want: Want, what: str, world: World) -> tuple[Code, ...]:
        """The codes of a text, checked once however often it is written; () after a fault."""
        at = world, want, str(text)
        if at not in self._checked:
            self._checked[at] = self.checkers[world].check(text, want)
        checked = self._checked[at]
        self._report(text, what, checked.issues)
        for code in checked.codes:
            for slot in self.variants.keys() & set(code.slots):
                name = f"{what}: {self.inputs[slot].name}"
                self._check_known(text, compared(code, slot), self.variants[slot], name)
        return checked.codes

    def event_filter(self, event: int, texts: Sequence[Text], what: str) -> Code | None:
        """One code for all the conditions on an event; None when there is none or a fault."""
        if event not in self._events:
            self._events[event] = self.make(event_variables(self.tables.events[event].properties))
        checker = self._events[event]
        found = []
        for text in texts:
            checked = checker.check(text, Want.CONDITION)
            self._report(text, what, checked.issues)
            for slot, names in self.known.get(event, {}).items():
                name = f"{what}: event.{self.tables.events[event].properties[slot].name}"
                for code in checked.codes:
                    self._check_known(text, compared(code, slot), names, name)
            found.append(checked.whole)
        if len(found) < 2 or None in found:
            return found[0] if found else None
        joined = " && ".join(f"({text})" for text in texts)
        return checker.check(joined, Want.CONDITION).whole

    def _check_known(
        self, text: Text, constants: Iterable[object], names: Collection[str], what: str
    ) -> None:
        """Report a comparison with what a value never is."""
        for constant in constants:
            if constant not in names:
                allowed = one_of(str(constant), filter(None, names))
                self.faults.add(text.node.fault(what, allowed, shown(constant)))

    def _condition(self, code: Code) -> int:
        if len(self.conditions) > limits.DISTINCT_CONDITIONS_MAX:
            return 0
        index = self._pooled(code, "c", self.conditions)
        if index == limits.DISTINCT_CONDITIONS_MAX:
            allowed = f"at most {limits.DISTINCT_CONDITIONS_MAX:,}"
            fault = Fault(".", 1, 1, "number of distinct conditions", f"{index + 1:,}", allowed)
            self.faults.add(fault)
        return index

    def _pooled(self, code: Code, pool: str, codes: list[Code]) -> int:
        key = pool, code.key()
        index = self._by_key.get(key)
        if index is None:
            index = self._by_key[key] = len(codes)
            codes.append(code)
        return index

    def _report(self, text: Text, what: str, issues: Sequence[Issue]) -> None:
        # What does not go together may once its type is known.
        untyped = not self.faults.untyped.isdisjoint(_READ.findall(text))
        for issue in issues:
            if untyped and issue.what != UNKNOWN_FIELD:
                continue
            if self._is_broken(issue.seen.strip("'")):
                continue
            line, column = place(text.node, issue.offset)
            where = f"{what}: {issue.what}" if issue.what else what
            path = text.node.source.path
            seen = issue.seen
            if len(seen) > SEEN_MAX or not seen.isprintable():
                seen = shown(seen)
            self.faults.add(Fault(path, line, column, where, seen, issue.allowed, issue.severity))

    def _is_broken(self, name: str) -> bool:
        """Whether what an expression reads has a fault where it is defined."""
        root, _, last = name.rpartition(".")
        if last in self.faults.broken:
            return True
        # A factor is read by its experiment's name and its own.
        ends = (one for one in self.faults.broken if root == "experiment")
        return any(last.startswith(f"{one}_") or last.endswith(f"_{one}") for one in ends)


def event_variables(properties: Sequence[Field]) -> list[Variable]:
    """The properties of an event: property i is in slot i; only its time is always set."""
    last = len(properties) - 1
    return [
        Variable(f"event.{one.name}", one.type, slot, slot != last)
        for slot, one in enumerate(properties)
    ]


def make_scope(
    playbook: Playbook,
    tables: Tables,
    action_attributes: Sequence[Field],
    readings: Sequence[Reading],
    make: MakeChecker,
    faults: Faults,
) -> Scope:
    """The inputs of all expressions, and who may read them."""
    found = list(_inputs(playbook, tables, action_attributes, readings))
    plan = Plan(
        hash=b"",
        attributes=tuple(tables.attributes),
        counters=tuple(tables.counters),
        context=tuple(tables.context),
        inputs=tuple(found),
        action_attributes=tuple(action_attributes),
    )
    checkers = {world: make(variables(plan, world)) for world in World}
    # Whoever is not in an experiment reads an empty text.
    read: dict[int, Collection[str]] = {
        slot: (*dict.fromkeys(readings[one.index].texts), "")
        for slot, one in enumerate(found)
        if one.kind is InputKind.EXPERIMENT
    }
    return Scope(found, checkers, make, tables, faults, readings, variants=read)


def _inputs(
    playbook: Playbook,
    tables: Tables,
    action_attributes: Sequence[Field],
    readings: Sequence[Reading],
) -> Iterator[Input]:
    """Every input; a hidden counter has none."""
    named: tuple[tuple[InputKind, str, Iterable[str]], ...] = (
        (InputKind.ATTRIBUTE, "profile.", [one.name for one in tables.attributes]),
        (InputKind.COUNTER, "profile.", [one.name for one in tables.counters]),
        (InputKind.CONTEXT, "context.", [one.name for one in tables.context]),
        (InputKind.SEGMENT, "segment.", sorted(playbook.segments)),
        (InputKind.SCORE, "score.", playbook.scores),
        (InputKind.GRADE, "grade.", playbook.grades),
        (InputKind.STAGE, "stage", [""] if playbook.stages else []),
        (InputKind.NOW, "now", [""]),
        (InputKind.ACTION, "action.", [one.name for one in action_attributes]),
        (InputKind.FACTOR, "", FACTORS),
        (InputKind.EXPERIMENT, "experiment.", [one.name for one in readings]),
        (InputKind.HOLDOUT, "holdout.", sorted(playbook.holdouts)),
        (InputKind.CONSENT, "consent.", sorted(playbook.purposes)),
    )
    for kind, prefix, names in named:
        for index, name in enumerate(names):
            yield Input(kind, index, f"{prefix}{name}")


def variables(plan: Plan, world: World) -> list[Variable]:
    """The names that expressions of a world may use, from the plan's inputs."""
    return [
        Variable(one.name, *_typed(plan, one, slot))
        for slot, one in enumerate(plan.inputs)
        if one.kind in world.value
    ]


def _typed(plan: Plan, one: Input, slot: int) -> tuple[ValueType, int, bool, bool]:
    """An input's type, its slot, whether it may be unset and whether it is a list of the type."""
    if one.kind is InputKind.ATTRIBUTE:
        attribute = plan.attributes[one.index]
        unset = attribute.default is None and attribute.type is not ValueType.STRING_LIST
        return attribute.type, slot, unset, False
    if one.kind is InputKind.COUNTER:
        counter = plan.counters[one.index]
        type_ = ValueType.INT if counter.aggregate in _COUNTS else counter.type
        return type_, slot, counter.aggregate in _NULLABLE, counter.aggregate is Aggregate.LAST_N
    if one.kind is InputKind.CONTEXT:
        return plan.context[one.index].type, slot, True, False
    if one.kind is InputKind.ACTION:
        return plan.action_attributes[one.index].type, slot, True, False
    return _KIND_TYPES[one.kind], slot, False, False


_KIND_TYPES: Final = {
    InputKind.SEGMENT: ValueType.BOOL,
    InputKind.SCORE: ValueType.INT,
    InputKind.GRADE: ValueType.STRING,
    InputKind.STAGE: ValueType.STRING,
    InputKind.NOW: ValueType.TIMESTAMP,
    InputKind.FACTOR: ValueType.DOUBLE,
    InputKind.EXPERIMENT: ValueType.STRING,
    InputKind.HOLDOUT: ValueType.BOOL,
    InputKind.CONSENT: ValueType.BOOL,
}
_COUNTS: Final = (Aggregate.COUNT, Aggregate.DISTINCT)
_NULLABLE: Final = (Aggregate.MIN, Aggregate.MAX, Aggregate.FIRST, Aggregate.LAST)
