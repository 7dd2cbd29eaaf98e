"""Importance weights: how many rows of the evaluated policy a logged row stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextbest.server.offpolicy.feedback import Feedback, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A weight of 0 or more for each row, and which share of the rows was clipped."""

    each: Floats
    clipped: float = 0.0

    @property
    def largest(self) -> float:
        return float(self.each.max())

    @property
    def mean(self) -> float:
        """1 is expected, less the evaluated policy's mass without support."""
        return float(self.each.mean())

    @property
    def effective_size(self) -> float:
        """How many equally weighted rows would be as good: (sum w)^2 / sum w^2 (Kish, 1965)."""
        squares = float(np.square(self.each).sum())
        return float(self.each.sum()) ** 2 / squares if squares else 0.0


def weights(feedback: Feedback) -> Weights:
    """What the evaluated policy would do over what the logging policy did, for each row."""
    return Weights(feedback.evaluated / feedback.propensity_logging)


def clip(found: Weights, most: float) -> Weights:
    """No weight over `most`: less variance, for a bias towards 0 of those rows."""
    return Weights(np.minimum(found.each, most), float(np.mean(found.each > most)))
