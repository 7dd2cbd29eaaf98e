"""How the subjects are split over the variants, beside how they were to be.

A sample-ratio mismatch means that something lost or added subjects of one variant (a redirect that
fails, a bot filter, a log that drops), and then those left cannot be compared: Fabijan et al.,
"Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scipy import stats

from nextbest.server.experiment.errors import OptionError
from nextbest.server.experiment.subjects import Subjects
from nextbest.server.playbook.faults import one_of

ALARM: Final = 0.001
DOUBT: Final = 0.01
WEIGHT_TEXT: Final = "a number above 0 for each variant, such as a=1,b=1"


@dataclass(frozen=True, slots=True)
class Share:
    """One variant's subjects, and how many the plan would have given it."""

    variant: str
    subjects: int
    expected: float


@dataclass(frozen=True, slots=True)
class Split:
    """The chi-square test of the split; `alarm` when so uneven a one is too rare to be chance."""

    shares: tuple[Share, ...]
    chi_square: float
    p: float
    alarm_below: float
    alarm: bool
    doubt: bool


def parse_weights(text: str) -> dict[str, float]:
    """The planned weights of a=1,b=1 by variant; OptionError names what is wrong."""
    weights: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, number = part.rpartition("=")
        try:
            weight = float(number) if equals else math.nan
        except ValueError:
            weight = math.nan
        if not name or not 0 < weight < math.inf:
            raise OptionError("--weights", repr(part), WEIGHT_TEXT)
        if name in weights:
            raise OptionError("--weights", f"{name!r} twice", WEIGHT_TEXT)
        weights[name] = weight
    return weights


def check_split(subjects: Subjects, weights: Mapping[str, float], alarm_below: float) -> Split:
    """Compare the split with the planned weights, equal ones when there are none."""
    _check_names(subjects, weights)
    counts = subjects.counts()
    planned = [weights.get(name, 1.0) for name in subjects.variants]
    expected = [sum(counts) * weight / sum(planned) for weight in planned]
    found = stats.chisquare(counts, expected)
    p = float(found.pvalue)
    return Split(
        tuple(map(Share, subjects.variants, counts, expected)),
        float(found.statistic),
        p,
        alarm_below,
        alarm=p < alarm_below,
        doubt=alarm_below <= p < DOUBT,
    )


def _check_names(subjects: Subjects, weights: Mapping[str, float]) -> None:
    for name in weights:
        if name not in subjects.variants:
            raise OptionError("--weights", repr(name), one_of(name, subjects.variants))
    missing = [name for name in subjects.variants if weights and name not in weights]
    if missing:
        raise OptionError("--weights", f"none for {missing[0]!r}", WEIGHT_TEXT)
