"""How far an estimate can be trusted: standard errors, normal and bootstrap intervals."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from nextbest.server.offpolicy.errors import FeedbackError, MissingLibraryError
from nextbest.server.offpolicy.estimators import Terms
from nextbest.server.offpolicy.feedback import Floats, Integers

# Rows drawn at a time: 160 MB of indices and values.
DRAWN_MAX: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    standard_error: float
    lower: float
    upper: float


def gather(terms: Terms, cluster: Integers | None) -> Terms:
    """The terms of each cluster instead of each row; what is independent is what is counted."""
    if cluster is None:
        return terms
    _, number = np.unique(cluster, return_inverse=True)
    numerator = np.bincount(number, weights=terms.numerator).astype(np.float64)
    denominator = np.bincount(number, weights=terms.denominator).astype(np.float64)
    return Terms(numerator, denominator, terms.weights)


def normal(terms: Terms, level: float) -> Interval:
    """By the central limit theorem, through the ratio's linear part (the delta method).

    level: the share of such intervals that hold the value, 0.95 for example.  It is too narrow
    where a few rows of large weight decide: look at the effective sample size.
    """
    size = len(terms.numerator)
    influence = terms.numerator - terms.mean * terms.denominator
    spread = math.sqrt(float(np.square(influence).sum()) / (size - 1))
    error = spread / math.sqrt(size) / float(terms.denominator.mean())
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return Interval(error, terms.mean - reach, terms.mean + reach)


def bootstrap(terms: Terms, level: float, resamples: int, seed: int) -> Interval:
    """By percentiles of the estimate over rows drawn again; the reward model is not fitted again.

    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979.
    """
    try:
        from scipy import stats
    except ImportError:
        raise MissingLibraryError("scipy", "analysis") from None
    with warnings.catch_warnings():
        # It warns of what is refused below.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found: Any = stats.bootstrap(
            (terms.numerator, terms.denominator),
            _ratio,
            paired=True,
            vectorized=True,
            confidence_level=level,
            n_resamples=resamples,
            batch=max(1, DRAWN_MAX // len(terms.numerator)),
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    low, high = found.confidence_interval
    if not math.isfinite(low) or not math.isfinite(high):
        raise FeedbackError("bootstrap", "resamples without overlap", "more rows of some weight")
    return Interval(float(found.standard_error), float(low), float(high))


def _ratio(numerator: Floats, denominator: Floats, axis: int = -1) -> Any:
    above, below = numerator.sum(axis=axis), denominator.sum(axis=axis)
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
