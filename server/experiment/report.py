"""The report of an experiment: what is known of its subjects, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nextbest.server.experiment.adjustment import adjust, uneven
from nextbest.server.experiment.arm import Arm, arms
from nextbest.server.experiment.comparison import Comparison, compare, corrected
from nextbest.server.experiment.design import Design
from nextbest.server.experiment.guardrail import State, Watch, watch
from nextbest.server.experiment.split import Split, check_split
from nextbest.server.experiment.subjects import Subjects


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The comparisons after CUPED.

    reductions: by metric, the share of its variance that the covariates explain.  uneven:
    covariates that differ between variants as they would not by chance.
    """

    covariates: tuple[str, ...]
    reductions: dict[str, float]
    comparisons: list[Comparison]
    uneven: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it; `adjusted` is None without covariates."""

    subjects: int
    control: str
    level: float
    split: Split
    arms: list[Arm]
    comparisons: list[Comparison]
    adjusted: Adjusted | None
    guardrails: list[Watch]

    @property
    def sound(self) -> bool:
        """Whether the split raises no alarm and every guardrail is kept."""
        kept = all(one.state is State.KEPT for one in self.guardrails)
        return kept and not self.split.alarm

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "sound": self.sound}


def analyse(subjects: Subjects, design: Design) -> Report:
    """The report of these subjects; an ExperimentError when the design does not fit them."""
    means = [arm for one in subjects.metrics for arm in arms(subjects, one, design.level)]
    found = [
        pair
        for metric in subjects.metrics
        for pair in compare(subjects, metric, design.level, design.tuned_for)
    ]
    return Report(
        len(subjects.codes),
        subjects.control,
        design.level,
        check_split(subjects, design.weights, design.alarm_below),
        means,
        corrected(found),
        _adjusted(subjects, design) if subjects.covariates else None,
        [one for rule in design.guardrails for one in watch(rule, found)],
    )


def _adjusted(subjects: Subjects, design: Design) -> Adjusted:
    made = [adjust(metric, subjects) for metric in subjects.metrics]
    found = [
        pair
        for one in made
        for pair in compare(subjects, one.metric, design.level, design.tuned_for)
    ]
    return Adjusted(
        tuple(one.name for one in subjects.covariates),
        {one.metric.name: one.reduction for one in made},
        corrected(found),
        [one.name for one in subjects.covariates if uneven(subjects, one)],
    )
