"""One variant's mean of one metric, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from nextbest.server.experiment.interval import Interval, interval
from nextbest.server.experiment.subjects import Floats, Kind, Metric, Subjects


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant's subjects and their mean; for a conversion the mean is its rate.

    interval: Wilson's for a rate, Student's t for other means.  total: conversions, or the sum.
    """

    metric: str
    kind: Kind
    variant: str
    subjects: int
    total: float
    mean: float
    interval: Interval


def arms(subjects: Subjects, metric: Metric, level: float) -> list[Arm]:
    """The metric of every variant, the control first."""
    parts = zip(subjects.variants, subjects.split(metric.values), strict=True)
    return [_arm(metric, name, values, level) for name, values in parts]


def _arm(metric: Metric, variant: str, values: Floats, level: float) -> Arm:
    rate = metric.kind is Kind.CONVERSION
    ends = _rate_ends(values, level) if rate else _mean_ends(values, level)
    total, mean = float(values.sum()), float(values.mean())
    return Arm(metric.name, metric.kind, variant, len(values), total, mean, ends)


def _rate_ends(values: Floats, level: float) -> Interval:
    count = int(values.sum())
    return interval(proportion_confint(count, len(values), alpha=1 - level, method="wilson"))


def _mean_ends(values: Floats, level: float) -> Interval:
    if not values.var():
        # Student's t is not defined for what does not vary.
        return Interval(float(values[0]), float(values[0]))
    return interval(DescrStatsW(values).tconfint_mean(alpha=1 - level))
