"""A playbook's own tests: people, moments, and the decisions they must get."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nextbest.core.playbook.plan import Field, Plan, ValueType
from nextbest.server.playbook import model, values
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.shapes import MISSING, Text, unknown
from nextbest.server.playbook.source import Node

# The variant of somebody who is not in an experiment, as a test expects it.
NOBODYS = "none"
# Values by name, in the order of the file; each of the type the schema names.
Values = tuple[tuple[str, ValueType, object], ...]


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """Something the person did, `times` times at one moment (microseconds since 1970)."""

    event: str
    at_us: int
    times: int
    properties: Values


@dataclass(frozen=True, slots=True)
class Expect:
    """What must come out; what is empty or None may be anything."""

    placements: tuple[tuple[str, tuple[str, ...]], ...] = ()
    scores: tuple[tuple[str, int], ...] = ()
    grades: tuple[tuple[str, str], ...] = ()
    stage: str | None = None
    segments_in: tuple[str, ...] = ()
    segments_not_in: tuple[str, ...] = ()
    experiments: tuple[tuple[str, str], ...] = ()  # experiment, variant or NOBODYS
    dropped: tuple[tuple[str, str], ...] = ()  # action, fate in lower case


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    name: str
    file: str
    line: int
    id: str  # empty: made up
    now_us: int
    attributes: Values
    events: tuple[CaseEvent, ...]
    context: Values
    expect: Expect
    consents: tuple[tuple[str, str], ...] = ()  # purpose, one of model.CONSENTS
    do_not_contact: tuple[tuple[str, str], ...] = ()  # channel, reason


def read_cases(playbook: Playbook, plan: Plan, faults: Faults) -> tuple[Case, ...]:
    """The tests, with every name looked up and every value of its type."""
    known = _Known(plan, faults)
    return tuple(known.case(spec) for spec in playbook.cases)


class _Known:
    """What cases may name."""

    def __init__(self, plan: Plan, faults: Faults) -> None:
        self.faults = faults
        self.sizes = {one.name: one.size for one in plan.attributes}
        self.attributes = {
            one.name: one.type for one in plan.attributes if not one.name.startswith("@")
        }
        self.context = {one.name: one.type for one in plan.context}
        self.events: dict[str, Sequence[Field]] = {
            one.name: one.properties
            for number, one in enumerate(plan.events)
            if plan.triggers is None or number not in plan.triggers.events()
        }
        self.segments = [one.name for one in plan.segments]
        self.scores = [one.name for one in plan.scorecards]
        self.grades = {one.name: one for one in plan.grades}
        self.actions = {one.name for one in plan.actions}
        self.placements = [one.name for one in plan.placements]
        self.stages = plan.stages
        self.purposes = [one.name for one in plan.purposes]
        self.channels = {one.name: one.reasons for one in plan.channels}
        self.ids: set[str] = set()
        self.variants = {
            one.name: [NOBODYS, *(variant.name for variant in one.variants)]
            for one in plan.experiments
        }

    def case(self, spec: model.CaseSpec) -> Case:
        node = spec.at.node
        return Case(
            name=str(spec.name),
            file=node.source.path,
            line=node.line,
            id=self.own_id(spec),
            now_us=spec.now,
            attributes=self.values("attribute", spec.attributes, self.attributes),
            events=tuple(self.event(spec, one) for one in spec.events),
            context=self.values("context field", spec.context, self.context),
            expect=self.expect(spec.expect),
            consents=tuple(
                (str(purpose), status)
                for purpose, status in spec.consents.items()
                if self.name(purpose, "consents", self.purposes)
            ),
            do_not_contact=tuple(self.closed(spec)),
        )

    def closed(self, spec: model.CaseSpec) -> Iterator[tuple[str, str]]:
        """The channels that are closed, each with one reason."""
        for channel, reasons in spec.do_not_contact.items():
            if self.name(channel, "do_not_contact", self.channels, "channel"):
                for reason in reasons:
                    if self.name(reason, f"reason of {channel}", self.channels[channel]):
                        yield str(channel), str(reason)

    def own_id(self, spec: model.CaseSpec) -> str:
        """The id of a test's person; each test has a person of its own."""
        if spec.id is None:
            return ""
        if spec.id in self.ids:
            self.faults.add(spec.id.node.fault("id of a test", "each id once"))
        self.ids.add(str(spec.id))
        return str(spec.id)

    def values(
        self, noun: str, nodes: Mapping[Text, Node], types: Mapping[str, ValueType]
    ) -> Values:
        found = []
        for name, node in nodes.items():
            if not self.name(name, noun, types) or node.is_null():
                continue
            size = self.sizes.get(name, 0)
            value = values.typed(node, types[name], f"{noun} {name}", self.faults, size)
            if value is not MISSING:
                found.append((str(name), types[name], value))
        return tuple(found)

    def name(self, name: Text, noun: str, known: Collection[str], kind: str = "") -> bool:
        if name in known:
            return True
        unknown(name, f"{noun} of a test", known, self.faults, kind)
        return False

    def event(self, case: model.CaseSpec, spec: model.CaseEventSpec) -> CaseEvent:
        at_us = case.now
        if (spec.ago is None) == (spec.moment is None):
            seen = "neither" if spec.ago is None else "both"
            what = f"time of event {spec.event}"
            # One that is there and is no time has its own fault.
            if seen == "both" or spec.at.keys.keys().isdisjoint(("ago", "at")):
                self.faults.add(spec.at.node.fault(what, "one of ago and at", seen))
        elif spec.ago is not None:
            at_us = case.now - spec.ago * 1_000_000
        else:
            at_us = spec.moment or 0
        if at_us > case.now:
            allowed = "a moment that is not after now"
            self.faults.add(spec.at.value("at").fault(f"time of event {spec.event}", allowed))
        properties: Values = ()
        if self.name(spec.event, "event", self.events):
            fields = self.events[spec.event]
            types = {one.name: one.type for one in fields[:-1]}
            properties = self.values(f"property of {spec.event}", spec.properties, types)
        return CaseEvent(str(spec.event), at_us, spec.times, properties)

    def expect(self, spec: model.ExpectSpec) -> Expect:
        for placement, actions in spec.placements.items():
            self.name(placement, "placement", self.placements)
            for action in actions:
                self.name(action, "action", self.actions)
        for action in spec.dropped:
            self.name(action, "action", self.actions)
        for score in spec.scores:
            self.name(score, "score", self.scores)
        for grade, value in spec.grades.items():
            if self.name(grade, "grade", self.grades):
                self.grade(grade, value)
        for experiment, variant in spec.experiments.items():
            if self.name(experiment, "experiment", self.variants):
                self.name(variant, f"variant of {experiment}", self.variants[experiment])
        if spec.stage is not None:
            self.name(spec.stage, "stage", self.stages)
        inside = spec.segments.inside if spec.segments else ()
        outside = spec.segments.outside if spec.segments else ()
        for segment in (*inside, *outside):
            self.name(segment, "segment", self.segments)
        return Expect(
            placements=tuple((str(k), tuple(map(str, v))) for k, v in spec.placements.items()),
            scores=tuple((str(name), points) for name, points in spec.scores.items()),
            grades=tuple((str(name), str(value)) for name, value in spec.grades.items()),
            stage=None if spec.stage is None else str(spec.stage),
            segments_in=tuple(map(str, inside)),
            segments_not_in=tuple(map(str, outside)),
            experiments=tuple((str(name), str(one)) for name, one in spec.experiments.items()),
            dropped=tuple((str(name), fate) for name, fate in spec.dropped.items()),
        )

    def grade(self, name: Text, value: Text) -> None:
        grade = self.grades[name]
        known = [fit + digit for fit, _ in grade.fit_bands for digit, _ in grade.engagement_bands]
        self.name(value, f"grade {name}", known, f"grade {name}")
