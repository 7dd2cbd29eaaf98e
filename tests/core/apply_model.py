"""Apply as a small program: what one node keeps, step by step, and five ways to get it wrong.

Each of BUGS is a mistake that a store could make and that no single node can see: the property
that orders do not matter has to find it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nextbest.core.playbook.plan import Counter, Plan, ValueType
from nextbest.v1 import common_pb2, event_pb2, mutation_pb2
from tests.core.histories import NAMES, NOW_US, PLANS, Step, identity
from tests.core.store_model import aggregate, encoded

BUGS = (
    "erasure by stamp",
    "writes known by their id alone",
    "counters freed with their playbook",
    "raw ring slots",
    "events from within apply",
)

Name = tuple[int, str]
# When an event happened, what tells it from others at that time, and the value counted.
Counted = tuple[int, tuple[int, int], object]
Reading = dict[str, object]


def name_of(given: common_pb2.Identity) -> Name:
    return given.kind, given.id


def python_of(value: common_pb2.Value) -> object:
    kind = value.WhichOneof("kind")
    if kind == "string_list":
        return list(value.string_list.values)
    return None if kind in (None, "null_value") else getattr(value, kind)


def id_ms(event: event_pb2.TrackRequest) -> int:
    digits = event.event_id.replace("-", "")
    if len(digits) == 32:
        return int(digits[:12], 16)
    return event.occurred_at.ToMilliseconds()


@dataclass
class Row:
    incarnation: int
    cells: dict[tuple[str, ValueType], tuple[int, object]] = field(default_factory=dict)
    rings: dict[bytes, dict[int, list[Counted]]] = field(default_factory=dict)
    edges: dict[Name, tuple[int, bool]] = field(default_factory=dict)
    events: int = 0

    def is_empty(self) -> bool:
        return not (self.cells or self.edges or self.events)


@dataclass
class Model:
    """A node without memory limits, batches or threads; `bug` is one of BUGS or none."""

    bug: str = ""
    plans: dict[bytes, Plan] = field(default_factory=dict)
    active: Plan = PLANS[0]
    parked: dict[bytes, None] = field(default_factory=dict)
    rows: dict[Name, Row] = field(default_factory=dict)
    dead: dict[Name, int] = field(default_factory=dict)
    # Which counters have counted an event, by what identifies it.
    seen: dict[tuple[object, ...], set[bytes]] = field(default_factory=dict)
    horizon_ms: int = 0
    erased: dict[Name, int] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def walk(self, steps: list[Step]) -> Model:
        for step in steps:
            if isinstance(step, bytes):
                self.apply(step)
            elif step[0] == "publish":
                self.publish(PLANS[step[1]])
            elif step[0] == "activate" and PLANS[step[1]].hash in self.plans:
                self.activate(PLANS[step[1]])
            elif step[0] == "horizon":
                self.horizon(step[1])
        return self

    def publish(self, plan: Plan) -> None:
        self.plans[plan.hash] = plan
        for entry in [*self.parked]:
            if mutation_pb2.Mutation.FromString(entry).playbook == plan.hash:
                del self.parked[entry]
                self.apply(entry, was_parked=True)

    def activate(self, plan: Plan) -> None:
        self.active = plan
        if self.bug == "counters freed with their playbook":
            kept = {counter.key for counter in plan.counters}
            for row in self.rows.values():
                row.rings = {key: ring for key, ring in row.rings.items() if key in kept}

    def horizon(self, before_ms: int) -> None:
        if before_ms <= self.horizon_ms:
            return
        self.horizon_ms = before_ms
        waiting = [mutation_pb2.Mutation.FromString(entry) for entry in self.parked]
        held = {self.event_key(entry) for entry in waiting if entry.HasField("event")}
        for key in [*self.seen]:
            if key not in held and key[-1] < before_ms // 1_000:  # type: ignore[operator]
                del self.seen[key]

    def apply(self, data: bytes, was_parked: bool = False) -> None:
        entry = mutation_pb2.Mutation.FromString(data)
        if self.bug == "erasure by stamp":
            entry.incarnation = entry.second_incarnation = 0
        kind = entry.WhichOneof("body")
        if kind == "event" and not was_parked and id_ms(entry.event) < self.horizon_ms:
            return
        if kind in ("event", "attributes") and entry.playbook not in self.plans:
            self.parked[data] = None
        elif kind == "event":
            self.count(entry)
        elif kind == "attributes":
            self.write(entry)
        elif kind == "link":
            self.link(entry)
        else:
            self.end(entry)

    def row(self, name: Name, incarnation: int, stamp: int) -> Row | None:
        """The row to write to; None for an incarnation that has ended."""
        if stamp <= self.erased.get(name, 0):
            return None
        self.erase(name, incarnation - 1)
        if incarnation <= self.dead.get(name, -1):
            return None
        return self.rows.setdefault(name, Row(incarnation))

    def erase(self, name: Name, incarnation: int) -> None:
        self.dead[name] = max(self.dead.get(name, -1), incarnation)
        if name in self.rows and self.rows[name].incarnation <= incarnation:
            for other in self.rows.pop(name).edges:
                del self.rows[other].edges[name]
                if self.rows[other].is_empty():
                    del self.rows[other]

    def end(self, entry: mutation_pb2.Mutation) -> None:
        for each in entry.erasure.identities:
            name = name_of(each.identity)
            if self.bug != "erasure by stamp":
                self.erase(name, each.incarnation)
                continue
            self.erased[name] = max(self.erased.get(name, 0), entry.stamp)
            if name in self.rows:
                row, stamp = self.rows[name], self.erased[name]
                row.cells = {k: cell for k, cell in row.cells.items() if cell[0] > stamp}
                row.rings = {}

    def write(self, entry: mutation_pb2.Mutation) -> None:
        write = entry.attributes
        types = {each.name: each.type for each in self.plans[entry.playbook].attributes}
        known = [name for name in write.attributes if name in types]
        if self.bug == "writes known by their id alone" and write.write_id in self.written:
            return
        self.written.add(write.write_id)
        row = self.row(name_of(write.identity), entry.incarnation, entry.stamp) if known else None
        if row is None:
            return
        for name in known:
            new = entry.stamp, python_of(write.attributes[name])
            old = row.cells.get((name, types[name]), new)
            row.cells[name, types[name]] = max(
                old, new, key=lambda cell: (cell[0], encoded(cell[1]))
            )

    def link(self, entry: mutation_pb2.Mutation) -> None:
        ends = (
            (name_of(entry.link.first), entry.incarnation),
            (name_of(entry.link.second), entry.second_incarnation),
        )
        for name, incarnation in ends:
            self.erase(name, incarnation - 1)
        if any(incarnation <= self.dead.get(name, -1) for name, incarnation in ends):
            return
        first, second = (self.row(*end, entry.stamp) for end in ends)
        if first is not None and second is not None:
            register = entry.stamp, not entry.link.unlink
            for row, (other, _) in ((first, ends[1]), (second, ends[0])):
                row.edges[other] = max(register, row.edges.get(other, register))

    def event_key(self, entry: mutation_pb2.Mutation) -> tuple[object, ...]:
        event = entry.event
        properties = {name: python_of(value) for name, value in event.properties.items()}
        return (
            name_of(event.identity),
            entry.incarnation,
            event.event_id,
            (event.decision_id, event.slot),
            event.occurred_at.ToMicroseconds(),
            frozenset(properties.items()),
            id_ms(event) // 1_000,
        )

    def count(self, entry: mutation_pb2.Mutation, emitted: bool = False) -> None:
        event, plan = entry.event, self.plans[entry.playbook]
        row = self.row(name_of(event.identity), entry.incarnation, entry.stamp)
        if row is None:
            return
        key = self.event_key(entry)
        row.events += key not in self.seen
        counted = self.seen.setdefault(key, set())
        time_us = event.occurred_at.ToMicroseconds()
        for counter in plan.counters:
            name = plan.events[0].properties[counter.property].name
            if counter.key in counted or (counter.property >= 0 and name not in event.properties):
                continue
            counted.add(counter.key)
            value = python_of(event.properties[name]) if counter.property >= 0 else 1
            self.ring(row, counter, (time_us, (hash(key), 0), value))
        if self.bug == "events from within apply" and row.events == 2 and not emitted:
            entry.event.event_id += " made two"
            self.count(entry, emitted=True)

    def ring(self, row: Row, counter: Counter, counted: Counted) -> None:
        ring = row.rings.setdefault(counter.key, {})
        if not counter.window_s:
            ring.setdefault(1, []).append(counted)
            return
        span = -(-counter.window_s // counter.resolution_s)
        bucket = counted[0] // (counter.resolution_s * 1_000_000)
        newest = max([*ring, bucket])
        if bucket < newest - span and self.bug == "raw ring slots":
            bucket = newest - (newest - bucket) % (span + 1)
        ring.setdefault(bucket, []).append(counted)
        for old in [each for each in ring if each < newest - span]:
            del ring[old]

    def component(self, name: Name) -> list[Row]:
        found: dict[Name, Row] = {}
        todo = [name] if name in self.rows else []
        while todo:
            member = todo.pop()
            if member not in found:
                found[member] = self.rows[member]
                todo += [other for other, (_, linked) in found[member].edges.items() if linked]
        return list(found.values())

    def read(self, name: Name) -> Reading:
        """What is there of the active playbook, without what is empty."""
        rows, reading = self.component(name), Reading()
        for attribute in self.active.attributes:
            slot = attribute.name, attribute.type
            cells = [row.cells[slot] for row in rows if slot in row.cells]
            if cells:
                newest = max(cells, key=lambda cell: (cell[0], encoded(cell[1])))
                reading[attribute.name] = newest[1]
        for counter in self.active.counters:
            reading[counter.name] = aggregate(counter, in_window(counter, rows))
        return {name: value for name, value in reading.items() if value not in (None, 0, [])}

    def state(self) -> list[Reading]:
        found = []
        for plan in PLANS:
            self.activate(plan)
            found += [self.read(name_of(identity(name))) for name in NAMES]
        return found


def in_window(counter: Counter, rows: list[Row]) -> list[Counted]:
    rings = [row.rings.get(counter.key, {}) for row in rows]
    step_us = counter.resolution_s * 1_000_000
    return [
        counted
        for ring in rings
        for bucket, held in ring.items()
        for counted in held
        if not step_us
        or (NOW_US - counter.window_s * 1_000_000) // step_us <= bucket <= NOW_US // step_us
    ]
