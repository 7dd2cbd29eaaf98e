"""What the store promises, computed from a set of mutations without any order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from nextbest.core.expression.values import Timestamp
from nextbest.core.playbook.plan import Aggregate, Attribute, Counter, ValueType

Identity = tuple[int, bytes]


@dataclass(frozen=True)
class Set:
    identity: Identity
    incarnation: int
    stamp: int
    values: tuple[tuple[int, object], ...]


@dataclass(frozen=True)
class Event:
    identity: Identity
    incarnation: int
    key: tuple[int, int]
    occurred_us: int
    values: tuple[tuple[int, object], ...]


@dataclass(frozen=True)
class Link:
    first: Identity
    first_incarnation: int
    second: Identity
    second_incarnation: int
    stamp: int
    linked: bool


@dataclass(frozen=True)
class Erase:
    identity: Identity
    incarnation: int


Mutation = Set | Event | Link | Erase


def encoded(value: object) -> tuple[object, ...]:
    """The order in which the larger value wins a tie of stamps."""
    if value is None:
        return (0,)
    if isinstance(value, list):
        return (1, len(value), *value)
    if isinstance(value, str):
        return (1, value.encode())
    return (1, value)


@dataclass
class Model:
    """The state that a set of mutations makes."""

    attributes: list[Attribute]
    counters: list[Counter]
    alive: dict[Identity, int] = field(default_factory=lambda: defaultdict(int))
    cells: dict[Identity, dict[int, tuple[int, object]]] = field(default_factory=dict)
    events: dict[Identity, dict[int, dict[tuple[int, int], Event]]] = field(default_factory=dict)
    edges: dict[tuple[Identity, Identity], tuple[int, bool]] = field(default_factory=dict)
    known: set[Identity] = field(default_factory=set)

    def load(self, mutations: set[Mutation]) -> Model:
        for mutation in mutations:
            self._raise(mutation)
        for mutation in mutations:
            if isinstance(mutation, Set) and self._lives(mutation):
                self._set(mutation)
            elif isinstance(mutation, Event) and self._lives(mutation):
                self._count(mutation)
            elif isinstance(mutation, Link):
                self._link(mutation)
        return self

    def _raise(self, mutation: Mutation) -> None:
        if isinstance(mutation, Link):
            ends = [
                (mutation.first, mutation.first_incarnation),
                (mutation.second, mutation.second_incarnation),
            ]
        elif isinstance(mutation, Erase):
            ends = [(mutation.identity, mutation.incarnation + 1)]
        else:
            ends = [(mutation.identity, mutation.incarnation)]
        for identity, incarnation in ends:
            self.alive[identity] = max(self.alive[identity], incarnation)

    def _lives(self, mutation: Set | Event) -> bool:
        return self.alive[mutation.identity] == mutation.incarnation

    def _set(self, mutation: Set) -> None:
        cells = self.cells.setdefault(mutation.identity, {})
        for column, value in mutation.values:
            self.known.add(mutation.identity)
            before = cells.get(column)
            wins = before is None or (before[0], encoded(before[1])) < (
                mutation.stamp,
                encoded(value),
            )
            if wins:
                cells[column] = (mutation.stamp, value)

    def _count(self, mutation: Event) -> None:
        self.known.add(mutation.identity)
        columns = self.events.setdefault(mutation.identity, {})
        for column, _ in mutation.values:
            columns.setdefault(column, {}).setdefault(mutation.key, mutation)

    def _link(self, mutation: Link) -> None:
        if self.alive[mutation.first] != mutation.first_incarnation:
            return
        if self.alive[mutation.second] != mutation.second_incarnation:
            return
        self.known |= {mutation.first, mutation.second}
        low, high = sorted([mutation.first, mutation.second])
        register = (mutation.stamp, mutation.linked)
        self.edges[low, high] = max(self.edges.get((low, high), register), register)

    def component(self, identity: Identity) -> list[Identity]:
        if identity not in self.known:
            return []
        found: set[Identity] = set()
        todo = [identity]
        while todo:
            member = todo.pop()
            if member in found:
                continue
            found.add(member)
            for (low, high), (_, linked) in self.edges.items():
                if linked and member in (low, high):
                    todo.append(high if member == low else low)
        return sorted(found)

    def attribute(self, members: list[Identity], column: int) -> object:
        best = [
            self.cells[m][column] for m in members if m in self.cells and column in self.cells[m]
        ]
        return max(best, key=lambda cell: (cell[0], encoded(cell[1])))[1] if best else None

    def kept(self, member: Identity, column: int) -> list[Event]:
        """The events of a row's ring that no newer bucket has pushed out."""
        counter = self.counters[column]
        events = list(self.events.get(member, {}).get(column, {}).values())
        if not counter.window_s or not events:
            return events
        step = counter.resolution_s * 1_000_000
        newest = max(e.occurred_us // step for e in events)
        span = -(-counter.window_s // counter.resolution_s)
        return [e for e in events if e.occurred_us // step >= newest - span]

    def counter(self, members: list[Identity], column: int, now_us: int) -> object:
        counter = self.counters[column]
        events = [e for member in members for e in self.kept(member, column)]
        if counter.window_s:
            step = counter.resolution_s * 1_000_000
            low, high = (now_us - counter.window_s * 1_000_000) // step, now_us // step
            events = [e for e in events if low <= e.occurred_us // step <= high]
        pairs = [(e.occurred_us, e.key, dict(e.values)[column]) for e in events]
        if counter.name == "several":
            # Each number of an event is a moment of its own.
            pairs = [(time, key, each) for time, key, found in pairs for each in numbers(found)]
        return aggregate(counter, pairs)


def numbers(value: object) -> list[object]:
    """The items of a list, in its order."""
    assert isinstance(value, list | tuple)
    return list(value)


def aggregate(counter: Counter, pairs: list[tuple[int, tuple[int, int], object]]) -> object:
    values = [value for _, _, value in pairs]
    kind = counter.aggregate
    if kind is Aggregate.COUNT:
        return len(values)
    if kind is Aggregate.SUM:
        if counter.type is ValueType.DOUBLE:
            return sum(round(v * 1e6) for v in values) / 1e6  # type: ignore[operator]
        return sum(values)  # type: ignore[arg-type]
    if kind is Aggregate.DISTINCT:
        return len(set(values))
    in_time = [value for _, _, value in sorted(pairs, key=lambda pair: pair[0])]
    if kind is Aggregate.LAST_N:
        return in_time[::-1][: counter.limit]
    if not values:
        return None
    if kind is Aggregate.MIN:
        return min(values)  # type: ignore[type-var]
    if kind is Aggregate.MAX:
        return max(values)  # type: ignore[type-var]
    return in_time[0] if kind is Aggregate.FIRST else in_time[-1]


def counter(
    name: str,
    kind: Aggregate,
    type_: ValueType = ValueType.INT,
    window_s: int = 0,
    resolution_s: int = 0,
    limit: int = 0,
) -> Counter:
    key = name.encode().ljust(16, b"-")
    return Counter(name, key, 0, kind, -1, type_, None, window_s, resolution_s, limit)


ATTRIBUTES = [
    Attribute("age", ValueType.INT),
    Attribute("ok", ValueType.BOOL),
    Attribute("city", ValueType.STRING),
    Attribute("mail", ValueType.STRING, pii=True),
    Attribute("spend", ValueType.DOUBLE),
    Attribute("born", ValueType.TIMESTAMP),
    Attribute("tags", ValueType.STRING_LIST),
    Attribute("taste", ValueType.VECTOR, size=2),
]

COUNTERS = [
    counter("views", Aggregate.COUNT, window_s=3600, resolution_s=300),
    counter("all_views", Aggregate.COUNT),
    counter("amount", Aggregate.SUM, ValueType.DOUBLE, 7200, 700),
    counter("units", Aggregate.SUM),
    counter("least", Aggregate.MIN, ValueType.DOUBLE, 3600, 300),
    counter("most", Aggregate.MAX, ValueType.INT, 3600, 600),
    counter("first", Aggregate.FIRST, ValueType.STRING, 3600, 300),
    counter("last", Aggregate.LAST, ValueType.STRING, 3600, 300),
    counter("seen", Aggregate.LAST, ValueType.TIMESTAMP),
    counter("recent", Aggregate.LAST_N, ValueType.STRING, 3600, 900, 3),
    counter("several", Aggregate.LAST_N, ValueType.INT, 3600, 900, 5),
    counter("kinds", Aggregate.DISTINCT, ValueType.STRING, 3600, 900, 50),
]

BORN = [Timestamp(-62135596800, 0), Timestamp(0, 1000), Timestamp(253402300799, 999_999_000)]
