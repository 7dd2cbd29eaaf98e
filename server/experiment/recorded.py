"""Subjects of an experiment from decision records: who was exposed, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from nextbest.server.experiment.errors import OptionError, TooFewError
from nextbest.server.experiment.subjects import Kind, Metric, Subjects
from nextbest.server.playbook.faults import one_of
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, record_pb2

SUBJECTS_MAX: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Which experiment, and what counts.

    conversions: events, of which a subject had one or not.  values: properties of events, such as
    "purchase.amount", added up for each subject.
    """

    experiment: str
    control: str
    conversions: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.conversions and not self.values:
            raise OptionError("--conversion, --value", "neither", "an event, or EVENT.PROPERTY")
        for name in self.values:
            if "." not in name:
                raise OptionError("--value", repr(name), "EVENT.PROPERTY, such as purchase.amount")


@dataclass(slots=True)
class _Subject:
    variant: str
    exposed_us: int
    had: dict[str, float] = field(default_factory=dict)


class Recorded:
    """Gathers subjects record by record, in the order in which they were written.

    A subject is an identity; the first exposure counts, and what comes after it.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._subjects: dict[tuple[int, str], _Subject] = {}
        self._names: set[str] = set()
        # Outcomes of people who were not exposed before.
        self.unexposed = 0
        # Exposures to another variant than the first: sticky experiments have none.
        self.crossed = 0

    def add(self, record: record_pb2.DecisionRecord) -> None:
        """Take a decision's exposures, or an outcome."""
        if record.HasField("outcome"):
            self._outcome(record.outcome, record.decided_at_us)
        elif not record.request.preview:
            self._decision(record.request.identity, record.response, record.decided_at_us)

    def _decision(
        self, who: common_pb2.Identity, answer: decision_pb2.DecideResponse, at_us: int
    ) -> None:
        for one in answer.experiments:
            self._names.add(one.experiment)
            if one.experiment != self._asked.experiment or not one.exposed:
                continue
            known = self._subjects.get((who.kind, who.id))
            if known is not None:
                self.crossed += known.variant != one.variant
            elif len(self._subjects) == SUBJECTS_MAX:
                raise OptionError("records", f"over {SUBJECTS_MAX:,} subjects", "fewer files")
            else:
                self._subjects[who.kind, who.id] = _Subject(one.variant, at_us)

    def _outcome(self, event: event_pb2.TrackRequest, at_us: int) -> None:
        subject = self._subjects.get((event.identity.kind, event.identity.id))
        if subject is None or at_us < subject.exposed_us:
            self.unexposed += 1
            return
        if event.event in self._asked.conversions:
            subject.had[event.event] = 1.0
        for name in self._asked.values:
            of, _, property_ = name.partition(".")
            if of == event.event and property_ in event.properties:
                subject.had[name] = subject.had.get(name, 0.0) + _number(
                    event.properties[property_]
                )

    def subjects(self) -> Subjects:
        """The subjects so far.  Raises ExperimentError when there is nothing to compare."""
        name = self._asked.experiment
        if not self._subjects:
            allowed = "records of decisions with experiments: serve with --set records.share=1"
            if self._names:
                allowed = one_of(name, sorted(self._names))
            raise TooFewError(f"experiment {name!r}: nobody was exposed to it, allowed: {allowed}")
        people = list(self._subjects.values())
        variants = sorted({one.variant for one in people})
        if self._asked.control not in variants:
            raise OptionError("--control", repr(self._asked.control), ", ".join(variants))
        variants.remove(self._asked.control)
        order = (self._asked.control, *variants)
        codes = np.array([order.index(one.variant) for one in people], dtype=np.int32)
        named = [(one, Kind.CONVERSION) for one in self._asked.conversions]
        named += [(one, Kind.VALUE) for one in self._asked.values]
        metrics = tuple(
            Metric(one, kind, np.array([subject.had.get(one, 0.0) for subject in people]))
            for one, kind in named
        )
        return Subjects(order, codes, metrics)


def _number(value: common_pb2.Value) -> float:
    kind = value.WhichOneof("kind")
    return float(getattr(value, kind)) if kind in ("int_value", "double_value") else 0.0


def recorded(records: Iterable[record_pb2.DecisionRecord], asked: Asked) -> Recorded:
    """All that records say of an experiment."""
    found = Recorded(asked)
    for record in records:
        found.add(record)
    return found
