"""The difference of a variant to the control in one metric, as a test of fixed size has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from nextbest.server.experiment.interval import Interval, interval
from nextbest.server.experiment.subjects import Floats, Kind

# A smaller mean is what rounding leaves of 0.
CONTROL_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Contrast:
    """Variant minus control.

    interval: Newcombe's for rates, Welch's for other means.  p: two-sided, of the z test of two
    proportions or Welch's t test; None when nothing varies.  variance: of the difference.
    lift: the difference by the control's mean, by the delta method; None when that mean cannot be
    told from 0 at the level.
    """

    difference: float
    interval: Interval
    variance: float
    p: float | None
    lift: float | None
    lift_interval: Interval | None


def contrast(kind: Kind, treated: Floats, control: Floats, level: float) -> Contrast:
    """Compare a variant with the control at a level such as 0.95."""
    difference = float(treated.mean() - control.mean())
    variances = _variance_of_mean(kind, treated), _variance_of_mean(kind, control)
    test = _rates if kind is Kind.CONVERSION else _means
    ends, p = test(treated, control, level)
    lift, lift_ends = _lift(float(treated.mean()), float(control.mean()), variances, level)
    return Contrast(difference, ends, sum(variances), p, lift, lift_ends)


def _variance_of_mean(kind: Kind, values: Floats) -> float:
    return float(values.var(ddof=0 if kind is Kind.CONVERSION else 1)) / len(values)


def _rates(treated: Floats, control: Floats, level: float) -> tuple[Interval, float | None]:
    counts = [int(treated.sum()), int(control.sum())]
    sizes = [len(treated), len(control)]
    ends = confint_proportions_2indep(
        counts[0], sizes[0], counts[1], sizes[1], method="newcomb", alpha=1 - level
    )
    if sum(counts) in (0, sum(sizes)):
        return interval(ends), None
    return interval(ends), float(proportions_ztest(counts, sizes)[1])


def _means(treated: Floats, control: Floats, level: float) -> tuple[Interval, float | None]:
    if not treated.var() and not control.var():
        difference = float(treated[0] - control[0])
        return Interval(difference, difference), None
    means = CompareMeans(DescrStatsW(treated), DescrStatsW(control))
    ends = means.tconfint_diff(alpha=1 - level, usevar="unequal")
    return interval(ends), float(means.ttest_ind(usevar="unequal")[1])


def _lift(
    treated: float, control: float, variances: tuple[float, float], level: float
) -> tuple[float | None, Interval | None]:
    quantile = float(stats.norm.ppf((1 + level) / 2))
    spreads = math.sqrt(variances[0]), math.sqrt(variances[1])
    if control <= max(quantile * spreads[1], CONTROL_LEAST):
        return None, None
    ratio = treated / control
    half = quantile * math.hypot(spreads[0] / control, ratio * spreads[1] / control)
    return ratio - 1, Interval.around(ratio - 1, half)
