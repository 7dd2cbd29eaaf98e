"""CUPED: what a metric is once its part that was known before the experiment is taken out.

Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of Online Controlled Experiments by
Utilizing Pre-Experiment Data", WSDM 2013.  The slope is one for all variants, from within them, so
that no difference between them is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from nextbest.server.experiment.errors import SubjectsError
from nextbest.server.experiment.subjects import Covariate, Floats, Kind, Metric, Subjects

# A covariate from before the experiment differs between variants by chance alone.
UNEVEN_BELOW: Final = 0.001
# Less is left only of what is the metric itself, written another way.
REST_LEAST: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A metric without what its covariates tell; `reduction` is the share of variance gone."""

    metric: Metric
    reduction: float


def adjust(metric: Metric, subjects: Subjects) -> Adjustment:
    """Take out what a regression on all covariates explains within variants."""
    known = np.column_stack([_standard(one.values) for one in subjects.covariates])
    within = np.column_stack([_within(subjects, column) for column in known.T])
    metric_within = _within(subjects, metric.values)
    slopes = np.linalg.lstsq(within, metric_within)[0]
    before, after = float(metric_within.var()), float((metric_within - within @ slopes).var())
    if after < before * REST_LEAST:
        names = ", ".join(one.name for one in subjects.covariates)
        raise SubjectsError(names, f"tells {metric.name} wholly", "what was known before the test")
    # Adjusted rates are no longer 0 or 1.
    adjusted = Metric(metric.name, Kind.VALUE, metric.values - known @ slopes)
    return Adjustment(adjusted, 1 - after / before if before else 0.0)


def uneven(subjects: Subjects, covariate: Covariate) -> bool:
    """Whether a covariate differs between variants more than chance lets it."""
    parts = subjects.split(covariate.values)
    if not any(part.var() for part in parts):
        return len({float(part[0]) for part in parts}) > 1
    return float(stats.f_oneway(*parts).pvalue) < UNEVEN_BELOW


def _within(subjects: Subjects, values: Floats) -> Floats:
    """Each value less its variant's mean."""
    means = np.array([part.mean() for part in subjects.split(values)])
    return np.asarray(values - means[subjects.codes])


def _standard(values: Floats) -> Floats:
    """Around 0 with a spread of 1, so that covariates of all sizes count alike."""
    return np.asarray((values - values.mean()) / (float(values.std()) or 1.0))
