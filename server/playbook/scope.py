"""Expressions in a playbook: which names each may use, and the pools that share them.

`Checker` is what this package needs of the CEL compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    ValueType,
)
from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Fault, Faults, Severity
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.shapes import Text
from nextbest.server.playbook.source import place
from nextbest.server.playbook.tables import Tables

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
    """A checked expression: one code, or one for each conjunct of a condition."""

    codes: tuple[Code, ...]
    issues: tuple[Issue, ...]


class Checker(Protocol):
    """Compiles expressions over a fixed set of variables."""

    def check(self, text: str, want: Want) -> Checked:
        """Never raises for any text."""


class MakeChecker(Protocol):
    """Makes a Checker; fails only for names that `limits.RESERVED` should have refused."""

    def __call__(self, variables: Sequence[Variable]) -> Checker: ...


class World(Enum):
    """Who may read what."""

    PERSON = "profile, context, segment, score, grade, stage, now"
    RANKING = "all of a person's, action and the factors"
    ACTION = "action"


@dataclass(slots=True)
class Scope:
    """The inputs table, a checker for each world, and the shared conditions."""

    inputs: list[Input]
    checkers: dict[World, Checker]
    make: MakeChecker
    tables: Tables
    faults: Faults
    conditions: list[Code] = field(default_factory=list)
    expressions: list[Code] = field(default_factory=list)
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
        return checked.codes

    def event_filter(self, event: int, texts: Sequence[Text], what: str) -> Code | None:
        """One code for all the conditions on an event; None when there is none or a fault."""
        if event not in self._events:
            self._events[event] = self.make(event_variables(self.tables.events[event].properties))
        checker = self._events[event]
        sound = bool(texts)
        for text in texts:
            checked = checker.check(text, Want.CONDITION)
            self._report(text, what, checked.issues)
            sound &= bool(checked.codes)
        if not sound:
            return None
        joined = texts[0] if len(texts) == 1 else " && ".join(f"({text})" for text in texts)
        return whole(checker, joined)

    def _condition(self, code: Code) -> int:
        if len(self.conditions) > limits.DISTINCT_CONDITIONS_MAX:
            return 0
        index = self._pooled(code, "c", self.conditions)
        if index == limits.DISTINCT_CONDITIONS_MAX:
            allowed = f"at most {limits.DISTINCT_CONDITIONS_MAX:,}"
            fault = Fault("", 1, 1, "number of distinct conditions", f"{index + 1:,}", allowed)
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
        for issue in issues:
            if issue.seen.strip("'").rpartition(".")[2] in self.faults.broken:
                continue
            line, column = place(text.node, issue.offset)
            where = f"{what}: {issue.what}" if issue.what else what
            path = text.node.source.path
            self.faults.add(
                Fault(path, line, column, where, issue.seen, issue.allowed, issue.severity)
            )


def whole(checker: Checker, text: str) -> Code | None:
    """One code for a condition, not split into conjuncts."""
    codes = checker.check(f"({text}) == true", Want.CONDITION).codes
    return codes[0] if codes else None


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
    make: MakeChecker,
    faults: Faults,
) -> Scope:
    """The inputs of all expressions, and who may read them."""
    inputs: list[Input] = []
    variables: list[Variable] = []

    def add(kind: InputKind, index: int, name: str, type_: ValueType, *flags: bool) -> None:
        variables.append(Variable(name, type_, len(inputs), *flags))
        inputs.append(Input(kind, index, name))

    _add_profile(tables, add)
    for index, segment in enumerate(sorted(playbook.segments)):
        add(InputKind.SEGMENT, index, f"segment.{segment}", ValueType.BOOL, False)
    for index, score in enumerate(playbook.scores):
        add(InputKind.SCORE, index, f"score.{score}", ValueType.INT, False)
    for index, grade in enumerate(playbook.grades):
        add(InputKind.GRADE, index, f"grade.{grade}", ValueType.STRING, False)
    if playbook.stages is not None:
        add(InputKind.STAGE, 0, "stage", ValueType.STRING, False)
    add(InputKind.NOW, 0, "now", ValueType.TIMESTAMP, False)
    person = list(variables)
    for index, one in enumerate(action_attributes):
        add(InputKind.ACTION, index, f"action.{one.name}", one.type, True)
    actions = variables[len(person) :]
    for factor in Factor:
        add(InputKind.FACTOR, factor.value, factor.name.lower(), ValueType.DOUBLE, False)
    checkers = {
        World.PERSON: make(person),
        World.ACTION: make(actions),
        World.RANKING: make(variables),
    }
    return Scope(inputs, checkers, make, tables, faults)


class _Add(Protocol):
    def __call__(
        self, kind: InputKind, index: int, name: str, type_: ValueType, *flags: bool
    ) -> None: ...


def _add_profile(tables: Tables, add: _Add) -> None:
    for index, attribute in enumerate(tables.attributes):
        unset = attribute.default is None and attribute.type is not ValueType.STRING_LIST
        add(InputKind.ATTRIBUTE, index, f"profile.{attribute.name}", attribute.type, unset)
    for index, counter in enumerate(tables.counters):
        if counter.name.startswith("@"):
            continue
        nullable = counter.aggregate in _NULLABLE
        many = counter.aggregate is Aggregate.LAST_N
        type_ = ValueType.INT if counter.aggregate in _COUNTS else counter.type
        add(InputKind.COUNTER, index, f"profile.{counter.name}", type_, nullable, many)
    for index, one in enumerate(tables.context):
        add(InputKind.CONTEXT, index, f"context.{one.name}", one.type, True)


_COUNTS = (Aggregate.COUNT, Aggregate.DISTINCT)
_NULLABLE = (Aggregate.MIN, Aggregate.MAX, Aggregate.FIRST, Aggregate.LAST)
