"""What may be looked at while an experiment runs, as often as one likes.

An asymptotic confidence sequence for the difference of means and the always-valid p-value of the
same mixture: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory
and asymptotic confidence sequences", Annals of Statistics 52(6), 2024, equation 9 of
arXiv:2103.06476v7; the p-value is Johari, Koomen, Pekelis and Walsh's, "Always valid inference",
Operations Research 70(3), 2022.  Neither SciPy nor statsmodels has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from nextbest.server.experiment.contrast import Contrast
from nextbest.server.experiment.interval import Interval
from nextbest.server.experiment.subjects import Floats, Kind

# Before, sums are not yet normal, and the guarantee is of those that are.
SUBJECTS_LEAST: Final = 200
CONVERSIONS_LEAST: Final = 20


@dataclass(frozen=True, slots=True)
class Sequential:
    """The difference's interval, which holds at all looks together, and its p-value."""

    interval: Interval
    p: float


def sequential(found: Contrast, subjects: int, level: float, tuned_for: int) -> Sequential:
    """The confidence sequence at this look, over `subjects` of variant and control together.

    tuned_for: how many subjects it is narrowest at; fixed before the first look.
    """
    alpha = 1 - level
    rho2 = _rho_squared(alpha, tuned_for)
    grown = subjects * rho2 + 1
    half = math.sqrt(2 * found.variance * grown / (subjects * rho2))
    half *= math.sqrt(math.log(math.sqrt(grown) / alpha))
    evidence = found.difference**2 / found.variance * subjects * rho2 / (2 * grown)
    p = math.exp(min(0.0, math.log(grown) / 2 - evidence))
    return Sequential(Interval.around(found.difference, half), p)


def may_look(kind: Kind, treated: Floats, control: Floats, found: Contrast) -> bool:
    """Whether there is enough for the sequence to hold."""
    subjects = len(treated) + len(control)
    happened = treated.sum() + control.sum()
    if kind is Kind.CONVERSION and min(happened, subjects - happened) < CONVERSIONS_LEAST:
        return False
    return subjects >= SUBJECTS_LEAST and found.variance > 0


def _rho_squared(alpha: float, tuned_for: int) -> float:
    """The mixture's variance that is best at `tuned_for` (the paper's equation 161)."""
    return (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuned_for
