"""The estimators of a policy's mean reward, each as a ratio of two means over the rows.

With one form for all, the standard error, clusters and the bootstrap are written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from nextbest.server.offpolicy.feedback import Feedback, Floats
from nextbest.server.offpolicy.weights import Weights

# In the order in which they are shown.
ESTIMATORS: Final[tuple[str, ...]] = (
    "logged",
    "on_policy",
    "ips",
    "clipped_ips",
    "snips",
    "dm",
    "dr",
    "gain",
)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """An estimate before it is taken: mean(numerator) / mean(denominator)."""

    numerator: Floats
    denominator: Floats
    weights: Weights | None = None

    @property
    def mean(self) -> float:
        return float(self.numerator.sum() / self.denominator.sum())


def plain(reward: Floats) -> Terms:
    """The mean reward of those rows: the policy that was logged."""
    return Terms(reward, np.ones_like(reward))


def ips(feedback: Feedback, weights: Weights) -> Terms:
    """Inverse propensity score: mean(w r).

    Unbiased where the propensities are right and nothing lacks support; Horvitz and Thompson,
    "A generalization of sampling without replacement from a finite universe", JASA 47, 1952.
    With clipped weights it is biased towards 0, and varies less; Ionides, "Truncated importance
    sampling", JCGS 17, 2008.
    """
    return Terms(weights.each * feedback.reward, np.ones(feedback.rows), weights)


def snips(feedback: Feedback, weights: Weights) -> Terms:
    """Self-normalised IPS: mean(w r) / mean(w).

    Stays within the rewards' range, and a constant added to all rewards adds just that; its bias
    goes with 1/rows.  Swaminathan and Joachims, "The self-normalized estimator for counterfactual
    learning", NIPS 2015.
    """
    return Terms(weights.each * feedback.reward, weights.each, weights)


def dm(feedback: Feedback, predicted: Floats) -> Terms:
    """Direct method: the reward model's prediction of what the policy would do.

    predicted: (rows x actions) the model's reward of each action in each row's place.  Its
    interval says nothing of the model's own error, which does not go away with more rows.
    """
    return Terms(feedback.expected(predicted), np.ones(feedback.rows))


def dr(feedback: Feedback, weights: Weights, predicted: Floats) -> Terms:
    """Doubly robust: the direct method, and IPS of what the model got wrong.

    Right where either the propensities or the model are.  Dudik, Langford and Li, "Doubly robust
    policy evaluation and learning", ICML 2011.
    """
    chosen = predicted[np.arange(feedback.rows), feedback.action]
    each = feedback.expected(predicted) + weights.each * (feedback.reward - chosen)
    return Terms(each, np.ones(feedback.rows), weights)


def gain(doubly_robust: Terms, reward: Floats) -> Terms:
    """What DR has over the logged mean, row by row.

    Both are of the same rows and rise and fall together: only the difference's own interval tells
    whether the policy is better than the one that was logged.
    """
    numerator = doubly_robust.numerator - reward
    return Terms(numerator, doubly_robust.denominator, doubly_robust.weights)
