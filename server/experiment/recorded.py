"""Subjects of an experiment from decision records: who was exposed, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from nextbest.server.experiment.errors import OptionError, TooFewError
from nextbest.server.experiment.subjects import Covariate, Floats, Kind, Metric, Subjects
from nextbest.server.playbook.faults import one_of
from nextbest.server.record.features import Feature
from nextbest.server.record.outcomes import (
    Events,
    Outcome,
    decided_for_us,
    lacking,
    outcome_of,
)
from nextbest.v1 import decision_pb2, event_pb2, record_pb2

SUBJECTS_MAX: Final = 10_000_000
# Clocks of callers and nodes may be so far apart.
SKEW_US: Final = 300_000_000
# What a covariate's name begins with where it was read by the decision.
READ: Final = ("profile.", "context.")
NO_WINDOW_US: Final = 2**62

# What a decision knew, by the author's names.
Features = Callable[[record_pb2.DecisionRecord], Mapping[str, Feature]]
# Whether an outcome is seen for the first time.
First = Callable[[event_pb2.TrackRequest], bool]
Who = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which experiment, and what counts.

    conversions: events, of which a subject had one or not.  values: properties of events, such as
    "purchase.amount", added up for each subject.  covariates: known before the exposure: what its
    decision has read ("profile.orders"), or events from before it, as conversions and values are.
    window_us: how long after the exposure events count.
    """

    experiment: str
    control: str
    conversions: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    window_us: int = NO_WINDOW_US

    def __post_init__(self) -> None:
        if not self.conversions and not self.values:
            raise OptionError("--conversion, --value", "neither", "an event, or EVENT.PROPERTY")
        for name in self.values:
            if "." not in name:
                raise OptionError("--value", repr(name), "EVENT.PROPERTY, such as purchase.amount")

    def check(self, events: Events) -> None:
        """Refuse what no outcome has.  Raises OptionError."""
        named = [("--conversion", one, "") for one in self.conversions]
        named += [("--value", *_split(one)) for one in self.values]
        named += [("--covariate", *_split(one)) for one in self.done]
        for option, event, amount in named:
            if found := lacking(events, event, amount):
                raise OptionError(option, *found)

    @property
    def read(self) -> tuple[str, ...]:
        """The covariates that the decision has read."""
        return tuple(one for one in self.covariates if one.startswith(READ))

    @property
    def done(self) -> tuple[str, ...]:
        """The covariates that are events from before."""
        return tuple(one for one in self.covariates if not one.startswith(READ))


@dataclass(slots=True)
class _Subject:
    variant: str
    # The moment that the exposing decision was made for, and when it was made.
    exposed_us: int
    recorded_us: int
    known: dict[str, float]
    had: dict[str, float] = field(default_factory=dict)


class Recorded:
    """Gathers subjects record by record, in the order in which they were written.

    A subject is an identity; the first exposure counts, and what comes after it.
    """

    def __init__(self, asked: Asked, features: Features, first: First) -> None:
        self._asked = asked
        self._features = features
        self._first = first
        self._subjects: dict[Who, _Subject] = {}
        # What those had done who are not exposed yet.
        self._before: dict[Who, dict[str, float]] = {}
        self._names: set[str] = set()
        self._read: set[str] = set()
        # What decisions have read that is no number.
        self._texts: set[str] = set()
        self._newest_us = 0
        # Outcomes of people who were not exposed before; after the window; and that came again.
        self.unexposed = self.late = self.repeated = 0
        # Exposures to another variant than the first: sticky experiments have none.
        self.crossed = 0

    def add(self, record: record_pb2.DecisionRecord) -> None:
        """Take a decision's exposures, or an outcome."""
        if record.HasField("outcome"):
            if self._first(record.outcome):
                self._outcome(outcome_of(record.outcome, record.decided_at_us))
            else:
                self.repeated += 1
        elif not record.request.preview and not record.unsampled:
            self._newest_us = max(self._newest_us, decided_for_us(record))
            for one in record.response.experiments:
                self._names.add(one.experiment)
                if one.experiment == self._asked.experiment and one.exposed:
                    self._exposed(record, one)

    def _exposed(self, record: record_pb2.DecisionRecord, one: decision_pb2.Assignment) -> None:
        who = record.request.identity.kind, record.request.identity.id
        known = self._subjects.get(who)
        if known is not None:
            self.crossed += known.variant != one.variant
            return
        if len(self._subjects) == SUBJECTS_MAX:
            raise OptionError("records", f"over {SUBJECTS_MAX:,} subjects", "fewer files")
        before = dict.fromkeys(self._asked.done, 0.0) | self._before.pop(who, {})
        self._subjects[who] = _Subject(
            one.variant,
            decided_for_us(record),
            record.decided_at_us,
            before | self._known(record),
        )

    def _known(self, record: record_pb2.DecisionRecord) -> dict[str, float]:
        """The covariates that a decision has read."""
        if not self._asked.read:
            return {}
        found = self._features(record)
        numbers = {name: one.number for name, one in found.items() if one.number is not None}
        self._read |= numbers.keys()
        self._texts |= found.keys() - numbers.keys()
        return {name: numbers[name] for name in self._asked.read if name in numbers}

    def _outcome(self, one: Outcome) -> None:
        who = one.event.identity.kind, one.event.identity.id
        subject = self._subjects.get(who)
        if subject is None:
            self.unexposed += 1
            self._done_before(who, one)
        elif one.recorded_us < subject.recorded_us or (
            one.occurred_us < subject.exposed_us - SKEW_US
        ):
            # It came late, and is from before.
            self.unexposed += 1
            _count(subject.known, one, self._asked.done, self._asked.done)
        elif one.occurred_us > subject.exposed_us + self._asked.window_us:
            self.late += 1
        else:
            _count(subject.had, one, self._asked.conversions, self._asked.values)

    def _done_before(self, who: Who, one: Outcome) -> None:
        if not self._asked.done:
            return
        if who not in self._before and len(self._before) == SUBJECTS_MAX:
            raise OptionError("records", f"over {SUBJECTS_MAX:,} people", "fewer files")
        _count(self._before.setdefault(who, {}), one, self._asked.done, self._asked.done)

    @property
    def young(self) -> int:
        """Subjects whose window is not over."""
        window_us = self._asked.window_us
        if window_us == NO_WINDOW_US:
            return 0
        ends = (one.exposed_us + window_us for one in self._subjects.values())
        return sum(end > self._newest_us for end in ends)

    def unknown(self, covariate: str) -> int:
        """Subjects of whom a covariate is not known: they have the others' mean."""
        return sum(covariate not in one.known for one in self._subjects.values())

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
        return Subjects(order, codes, metrics, tuple(map(self._covariate, self._asked.covariates)))

    def _covariate(self, name: str) -> Covariate:
        known = [one.known[name] for one in self._subjects.values() if name in one.known]
        if not known:
            raise OptionError("--covariate", *self._unread(name))
        mean = float(np.mean(known))
        values: Floats = np.array([one.known.get(name, mean) for one in self._subjects.values()])
        return Covariate(name, values)

    def _unread(self, name: str) -> tuple[str, str]:
        """What was asked of a covariate that nobody has, and what is allowed."""
        others = f"a number, and decisions read only {one_of('', sorted(self._texts), 'nothing')}"
        seen = "is no number" if name in self._texts else "no decision has read as a number"
        return f"{name!r}, which {seen}", one_of(name, sorted(self._read), others)


def _split(name: str) -> tuple[str, str]:
    """An event, and its property, if there is one."""
    event, _, amount = name.partition(".")
    return event, amount


def _count(
    had: dict[str, float], one: Outcome, conversions: Iterable[str], values: Iterable[str]
) -> None:
    """Add an outcome to what somebody had: 1 for a conversion, and sums."""
    if one.event.event in conversions:
        had[one.event.event] = 1.0
    for name in values:
        of, amount = _split(name)
        if amount and of == one.event.event:
            had[name] = had.get(name, 0.0) + (one.number(amount) or 0.0)
