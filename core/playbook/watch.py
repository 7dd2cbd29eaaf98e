"""What a write can change: from the values stored of a person to what triggers name.

Found once, when a plan is loaded.  A write then looks at the values that it may have changed, at
the conditions that have a boundary between a value's old and new one, and at what these conditions
are part of; how many others there are bears on none of it.  Pure: data in, data out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from nextbest.core.expression.code import Code
from nextbest.core.expression.operation import Op
from nextbest.core.expression.values import Duration, Timestamp
from nextbest.core.playbook.plan import InputKind, Plan

REQUIRED = 0x80
NOT_STORED = (InputKind.CONTEXT, InputKind.EXPERIMENT, InputKind.HOLDOUT)
DERIVED = (InputKind.SEGMENT, InputKind.SCORE, InputKind.GRADE, InputKind.STAGE)


class SourceKind(IntEnum):
    """What a source is; its index counts in that table of the plan."""

    ATTRIBUTE = 1  # Plan.attributes
    COUNTER = 2  # Plan.counters
    AGES = 3  # Plan.counters, its events by age
    NOW = 4
    CONSENT = 5  # Plan.attributes: the hidden one of the purpose
    NODE = 6  # Watch.nodes


@dataclass(frozen=True, slots=True)
class Boundary:
    """A constant that conditions compare a value with.

    `ordered` change between any values on both sides of it, and each says whether it holds above
    it; `same` only when the value comes to it or leaves it.  Both are of Plan.conditions.
    """

    constant: object
    ordered: tuple[tuple[int, bool], ...]
    same: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A value that conditions read.

    `boundaries` are by rising constant.  `plain` conditions are looked at whenever it changes, and
    `nodes` are computed from it without a condition.
    """

    kind: SourceKind
    index: int
    boundaries: tuple[Boundary, ...] = ()
    plain: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """Something computed: a segment, a score, a grade or the stage.

    `told`: its change is an event.  `source` is the one of its value, -1 where nothing reads it.
    """

    kind: InputKind
    index: int
    told: bool
    source: int = -1


@dataclass(frozen=True, slots=True)
class Watch:
    """`nodes` come after all that they read; `sources` of nodes come last.

    `of_conditions` are the nodes that a condition is part of, by its index; `events` the sources
    that an event can change, for each of Plan.events.  `timed` sources may change with time alone.
    """

    nodes: tuple[Node, ...]
    sources: tuple[Source, ...]
    stored: int  # sources that are no node's
    of_conditions: dict[int, tuple[int, ...]]
    events: tuple[tuple[int, ...], ...]
    timed: tuple[int, ...]

    def plain(self) -> int:
        """How many conditions have no boundary: each change of what they read looks at them."""
        return len({one for source in self.sources for one in source.plain})


Key = tuple[InputKind, int]


def told(plan: Plan) -> list[Key]:
    """What the plan's triggers name."""
    triggers = plan.triggers
    if triggers is None:
        return []
    keys = [(InputKind.SEGMENT, index) for index in triggers.segments]
    keys += [(InputKind.GRADE, index) for index in triggers.grades]
    return keys + ([(InputKind.STAGE, 0)] if triggers.stage else [])


def watch(plan: Plan) -> Watch | None:
    """What the plan's triggers depend on; None without any."""
    return _Builder(plan).build() if told(plan) else None


def not_stored(plan: Plan) -> dict[Key, str]:
    """What reads something that no write can know, with the name of an input that it reads."""
    builder = _Builder(plan)
    found: dict[Key, str] = {}
    for key in builder.order(told(plan)):
        inputs = [plan.inputs[slot] for slot in builder.slots(key)]
        names = [one.name for one in inputs if one.kind in NOT_STORED]
        names += [found[each] for each in builder.reads(key) if each in found]
        if names:
            found[key] = names[0]
    return found


def compared(code: Code, slot: int) -> tuple[object, ...]:
    """The constants that a code is true of alone: an input slot's, and of nothing else."""
    simple = _simple(code)
    if simple is None or simple[0] not in (Op.EQUAL, Op.IN) or code.slots != (slot,):
        return ()
    return simple[1]


@dataclass(slots=True)
class _Reading:
    """A source while it is built."""

    ordered: dict[object, list[tuple[int, bool]]] = field(default_factory=dict)
    same: dict[object, list[int]] = field(default_factory=dict)
    plain: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)


class _Builder:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def build(self) -> Watch:
        named = set(told(self.plan))
        order = self.order(told(self.plan))
        rank = {key: number for number, key in enumerate(order)}
        readings: dict[tuple[SourceKind, int], _Reading] = {}
        of_conditions: dict[int, list[int]] = {}
        for number, key in enumerate(order):
            for condition in self.conditions(key):
                of_conditions.setdefault(condition, []).append(number)
            for at in self.directly(key, rank):
                readings.setdefault(at, _Reading()).nodes.append(number)
        for condition in of_conditions:
            self.read(condition, rank, readings)
        # The sources of nodes come last.
        keys = sorted(readings)
        place = {key: number for number, key in enumerate(keys)}
        stored = sum(kind is not SourceKind.NODE for kind, _ in keys)
        nodes = tuple(
            Node(kind, index, (kind, index) in named, place.get((SourceKind.NODE, number), -1))
            for number, (kind, index) in enumerate(order)
        )
        return Watch(
            nodes,
            tuple(_source(kind, index, readings[kind, index]) for kind, index in keys),
            stored,
            {one: tuple(dict.fromkeys(found)) for one, found in of_conditions.items()},
            tuple(self.of_event(event, keys) for event in range(len(self.plan.events))),
            tuple(number for number, key in enumerate(keys) if self.is_timed(*key)),
        )

    # What depends on what.

    def order(self, keys: Iterable[Key]) -> list[Key]:
        """The keys and all that they read, each after what it reads; without recursion."""
        done: dict[Key, None] = {}
        stack = [(key, False) for key in reversed(list(keys))]
        while stack:
            key, ready = stack.pop()
            if ready:
                done[key] = None
            elif key not in done:
                stack.append((key, True))
                stack += [(each, False) for each in self.reads(key) if each not in done]
        return list(done)

    def conditions(self, key: Key) -> Iterator[int]:
        kind, index = key
        plan = self.plan
        if kind is InputKind.SEGMENT:
            yield from plan.segments[index].conditions
        elif kind is InputKind.SCORE:
            for rule in plan.scorecards[index].rules:
                yield from rule.conditions
        elif kind is InputKind.STAGE:
            for step in plan.transitions:
                yield from step.conditions

    def expressions(self, key: Key) -> Iterator[Code]:
        if key[0] is InputKind.SCORE:
            for rule in self.plan.scorecards[key[1]].rules:
                if rule.expression >= 0:
                    yield self.plan.expressions[rule.expression]

    def slots(self, key: Key) -> Iterator[int]:
        for condition in self.conditions(key):
            yield from self.plan.conditions[condition].slots
        for code in self.expressions(key):
            yield from code.slots

    def reads(self, key: Key) -> Iterator[Key]:
        """The computed things that one is computed from."""
        if key[0] is InputKind.GRADE:
            grade = self.plan.grades[key[1]]
            yield from ((InputKind.SCORE, card) for card in (grade.fit, grade.engagement))
        for slot in self.slots(key):
            one = self.plan.inputs[slot]
            if one.kind in DERIVED:
                yield one.kind, one.index

    def directly(self, key: Key, rank: dict[Key, int]) -> Iterator[tuple[SourceKind, int]]:
        """What a node reads without a condition."""
        kind, index = key
        if kind is InputKind.GRADE:
            yield from ((SourceKind.NODE, rank[each]) for each in set(self.reads(key)))
        elif kind is InputKind.STAGE:
            yield SourceKind.ATTRIBUTE, self.plan.stage_attribute
        elif kind is InputKind.SCORE:
            counters = {rule.counter for rule in self.plan.scorecards[index].rules}
            yield from ((SourceKind.AGES, counter) for counter in counters if counter >= 0)
            slots = {slot for code in self.expressions(key) for slot in code.slots}
            yield from (self.of_slot(slot, rank) for slot in slots)

    def of_slot(self, slot: int, rank: dict[Key, int]) -> tuple[SourceKind, int]:
        """The source of what an input slot holds."""
        one = self.plan.inputs[slot]
        if one.kind is InputKind.ATTRIBUTE:
            return SourceKind.ATTRIBUTE, one.index
        if one.kind is InputKind.COUNTER:
            return SourceKind.COUNTER, one.index
        if one.kind is InputKind.CONSENT:
            return SourceKind.CONSENT, self.plan.purposes[one.index].attribute
        if one.kind in DERIVED:
            return SourceKind.NODE, rank[one.kind, one.index]
        return SourceKind.NOW, 0

    def read(
        self,
        condition: int,
        rank: dict[Key, int],
        readings: dict[tuple[SourceKind, int], _Reading],
    ) -> None:
        """Enter a condition with each value that it reads."""
        code = self.plan.conditions[condition]
        simple = _simple(code)
        for slot in code.slots:
            reading = readings.setdefault(self.of_slot(slot, rank), _Reading())
            if simple is None:
                reading.plain.append(condition)
                continue
            op, constants = simple
            for constant in constants:
                if op in _ORDERED:
                    entry = condition, op in (Op.GREATER, Op.GREATER_EQUAL)
                    reading.ordered.setdefault(constant, []).append(entry)
                else:
                    reading.same.setdefault(constant, []).append(condition)

    # Which events and what time can change.

    def of_event(self, event: int, keys: list[tuple[SourceKind, int]]) -> tuple[int, ...]:
        counted = {n for n, counter in enumerate(self.plan.counters) if counter.event == event}
        found = []
        for number, (kind, index) in enumerate(keys):
            counts = kind in (SourceKind.COUNTER, SourceKind.AGES) and index in counted
            # A write may move the stage, which is stored by the same call.
            stage = kind is SourceKind.ATTRIBUTE and index == self.plan.stage_attribute
            if counts or stage:
                found.append(number)
        return tuple(found)

    def is_timed(self, kind: SourceKind, index: int) -> bool:
        if kind in (SourceKind.COUNTER, SourceKind.AGES):
            return self.plan.counters[index].window_s > 0
        return kind in (SourceKind.NOW, SourceKind.CONSENT)


_ORDERED = (Op.LESS, Op.LESS_EQUAL, Op.GREATER, Op.GREATER_EQUAL)


def _simple(code: Code) -> tuple[int, tuple[object, ...]] | None:
    """A comparison of one value with constants: the operation, and the constants."""
    if len(code.instructions) != struct.calcsize("<BBHi"):
        return None
    op, a, _, c = struct.unpack("<BBHi", code.instructions)
    if op == Op.COMPARE_SLOT:
        constants: tuple[object, ...] = (code.constants[c],)
    elif op == Op.IN_SLOT and isinstance(code.constants[c], list | tuple):
        constants = tuple(code.constants[c])
    else:
        return None
    if not constants or any(_family(one) == 0 for one in constants):
        return None
    if len({_family(one) for one in constants}) > 1:
        return None
    return a & ~REQUIRED if op == Op.COMPARE_SLOT else Op.IN, constants


def _family(constant: object) -> int:
    """Constants of one family are in one order; 0 for what is in none."""
    if isinstance(constant, bool):
        return 1
    if isinstance(constant, int | float):
        return 2 if constant == constant else 0
    if isinstance(constant, Timestamp):
        return 3
    if isinstance(constant, Duration):
        return 4
    return 5 if type(constant) is str else 0


def _rising(constant: object) -> tuple[int, object]:
    text = constant.encode() if isinstance(constant, str) else constant
    return _family(constant), text


def _source(kind: SourceKind, index: int, reading: _Reading) -> Source:
    """A source with its boundaries in order; those of another type than the first have none."""
    constants = sorted({*reading.ordered, *reading.same}, key=_rising)
    plain = dict.fromkeys(reading.plain)
    boundaries = []
    for one in constants:
        ordered = tuple(dict.fromkeys(reading.ordered.get(one, ())))
        same = tuple(dict.fromkeys(reading.same.get(one, ())))
        if _family(one) == _family(constants[0]):
            boundaries.append(Boundary(one, ordered, same))
        else:
            plain.update(dict.fromkeys((*(condition for condition, _ in ordered), *same)))
    return Source(kind, index, tuple(boundaries), tuple(plain), tuple(dict.fromkeys(reading.nodes)))
