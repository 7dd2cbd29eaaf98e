"""What a policy did and what came of it, beside what another policy would have done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextbest.server.offpolicy.errors import FeedbackError

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]

# Predicted rewards are one number for each row and action: 400 MB at most.
CELLS_MAX: Final = 50_000_000
ROWS_MIN: Final = 2
SUM_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Feedback:
    """Rows of a log, one for each filled slot, and the evaluated policy's probabilities.

    action, slot: which of `actions` was put into which of `slots`.
    reward: what came of it, any finite number; the estimates are means of it over a row.
    propensity_logging: with what probability the logging policy chose that action there, over 0
        and at most 1.
    context: (rows x columns) what the reward may depend on besides, for the reward model; it may
        have no columns.
    evaluation: (distributions x actions) the evaluated policy, each row a distribution.
    evaluation_row: which distribution of `evaluation` is a row's: `slot` where the policy has one
        for each slot, `arange(rows)` where it has one for each row.
    cluster: rows of one number depend on each other (a person's, a session's); None: none do.

    Raises FeedbackError for anything else.
    """

    action: Integers
    slot: Integers
    reward: Floats
    propensity_logging: Floats
    context: Floats
    evaluation: Floats
    evaluation_row: Integers
    actions: tuple[str, ...]
    slots: tuple[str, ...]
    cluster: Integers | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_indices("action", self.action, len(self.actions))
        _check_indices("slot", self.slot, len(self.slots))
        _check_indices("evaluation_row", self.evaluation_row, len(self.evaluation))
        _check_each("reward", self.reward, np.isfinite(self.reward), "a finite number")
        sound = (self.propensity_logging > 0) & (self.propensity_logging <= 1)
        _check_each("propensity_logging", self.propensity_logging, sound, "over 0, at most 1")
        _check_each("context", self.context, np.isfinite(self.context), "finite numbers")
        _check_distributions(self.evaluation)

    @property
    def rows(self) -> int:
        return len(self.action)

    @property
    def evaluated(self) -> Floats:
        """The evaluated policy's probability of what was logged, for each row."""
        chosen: Floats = self.evaluation[self.evaluation_row, self.action]
        return chosen

    def expected(self, value: Floats) -> Floats:
        """The evaluated policy's mean, for each row, of `value` (rows x actions)."""
        mean: Floats = np.einsum("ra,ra->r", self.evaluation[self.evaluation_row], value)
        return mean


def _check_shapes(feedback: Feedback) -> None:
    rows = len(feedback.action)
    if rows < ROWS_MIN:
        raise FeedbackError("rows", rows, f"at least {ROWS_MIN}")
    cells = rows * len(feedback.actions)
    if cells > CELLS_MAX:
        raise FeedbackError("rows x actions", f"{cells:,}", f"at most {CELLS_MAX:,}")
    for name in ("action", "slot", "reward", "propensity_logging", "evaluation_row", "cluster"):
        value = getattr(feedback, name)
        if value is not None and value.shape != (rows,):
            raise FeedbackError(name, f"shape {value.shape}", f"({rows},)")
    if feedback.context.ndim != 2 or len(feedback.context) != rows:
        raise FeedbackError("context", f"shape {feedback.context.shape}", f"({rows}, columns)")
    if feedback.evaluation.ndim != 2 or feedback.evaluation.shape[1] != len(feedback.actions):
        allowed = f"(distributions, {len(feedback.actions)})"
        raise FeedbackError("evaluation", f"shape {feedback.evaluation.shape}", allowed)


def _check_indices(field: str, value: Integers, size: int) -> None:
    if not np.issubdtype(value.dtype, np.integer):
        raise FeedbackError(field, value.dtype, "integers")
    _check_each(field, value, (value >= 0) & (value < size), f"0 to {size - 1}")


def _check_distributions(evaluation: Floats) -> None:
    sound = (evaluation >= 0) & (evaluation <= 1)
    _check_each("evaluation", evaluation, sound, "0 to 1")
    sums = evaluation.sum(axis=1)
    near = np.abs(sums - 1) <= SUM_TOLERANCE
    _check_each("evaluation", sums, near, f"probabilities that sum to 1 +- {SUM_TOLERANCE:g}")


def _check_each(field: str, value: Floats | Integers, sound: Booleans, allowed: str) -> None:
    """FeedbackError with the first row that is not sound."""
    if not sound.all():
        place = tuple(int(one) for one in np.argwhere(~sound)[0])
        raise FeedbackError(f"{field}[{place[0]}]", value[place], allowed)
