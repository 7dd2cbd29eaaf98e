"""An estimate: its value, how far it can be trusted, and on how much it rests."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from nextbest.server.offpolicy.errors import FeedbackError, NoOverlapError
from nextbest.server.offpolicy.estimators import Terms
from nextbest.server.offpolicy.feedback import ROWS_MIN, Integers
from nextbest.server.offpolicy.interval import bootstrap, gather, normal


@dataclass(frozen=True, slots=True)
class Estimate:
    """A policy's mean reward as one estimator has it.

    lower, upper: of the interval.
    effective_size: Kish's effective number of rows; with it the next three are None where an
        estimator has no weights.
    weight_max, weight_mean: the largest and the mean weight, as they were used.
    clipped: the share of rows whose weight was clipped, 0 to 1.
    """

    mean: float
    standard_error: float
    lower: float
    upper: float
    effective_size: float | None = None
    weight_max: float | None = None
    weight_mean: float | None = None
    clipped: float | None = None


FIELDS: Final = tuple(one.name for one in fields(Estimate))


@dataclass(frozen=True, slots=True)
class Trust:
    """How intervals are made: normal ones, or by the bootstrap where resamples is over 0.

    level: the share of intervals that hold the value, over 0 and below 1.
    """

    level: float = 0.95
    resamples: int = 0
    seed: int = 0


def estimate(terms: Terms, trust: Trust, cluster: Integers | None = None) -> Estimate:
    """Take an estimate from its terms; NoOverlapError where all weights are 0.

    Raises FeedbackError where there are less than two rows or clusters.
    """
    if not terms.denominator.any() or (terms.weights and not terms.weights.each.any()):
        raise NoOverlapError
    gathered = gather(terms, cluster)
    if len(gathered.numerator) < ROWS_MIN:
        raise FeedbackError("clusters", len(gathered.numerator), f"at least {ROWS_MIN}")
    if trust.resamples:
        interval = bootstrap(gathered, trust.level, trust.resamples, trust.seed)
    else:
        interval = normal(gathered, trust.level)
    bounds = interval.standard_error, interval.lower, interval.upper
    used = terms.weights
    if used is None:
        return Estimate(terms.mean, *bounds)
    return Estimate(terms.mean, *bounds, used.effective_size, used.largest, used.mean, used.clipped)
