"""The Bayesian probability that a variant's mean is higher than the control's.

Conversions have uniform priors, and the two beta posteriors are integrated numerically.  Other
means have flat priors and normal posteriors, whose difference is normal.  Nothing is sampled, so
the same data give the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from scipy import stats

from nextbest.server.experiment.contrast import Contrast
from nextbest.server.experiment.subjects import Floats, Kind

# What the integral leaves out at either end.
TAIL: Final = 1e-12


def chance_of_more(kind: Kind, treated: Floats, control: Floats, found: Contrast) -> float | None:
    """Between 0 and 1; None for means that do not vary."""
    if kind is Kind.CONVERSION:
        return _of_rates(treated, control)
    if not found.variance:
        return None
    return float(stats.norm.cdf(found.difference / math.sqrt(found.variance)))


def _of_rates(treated: Floats, control: Floats) -> float:
    """The integral over the narrower posterior, along which the other one changes slowly."""
    ours, theirs = _posterior(treated), _posterior(control)
    if ours.std() <= theirs.std():
        return _expected(ours, theirs.cdf)
    return _expected(theirs, ours.sf)


def _expected(narrow: stats.rv_continuous, of: Callable[[float], float]) -> float:
    ends = float(narrow.ppf(TAIL)), float(narrow.isf(TAIL))
    return min(max(float(narrow.expect(of, lb=ends[0], ub=ends[1])), 0.0), 1.0)


def _posterior(values: Floats) -> stats.rv_continuous:
    happened = int(values.sum())
    return stats.beta(1 + happened, 1 + len(values) - happened)
