"""Support: what the evaluated policy takes and the log never took, of which it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextbest.server.offpolicy.feedback import Feedback, Integers


@dataclass(frozen=True, slots=True)
class Missing:
    """An action that was never logged in a slot; `mass` is its share of all evaluated choices."""

    slot: str
    action: str
    mass: float


def missing(feedback: Feedback) -> tuple[Missing, ...]:
    """What lacks support, the largest mass first.

    It is found by what was logged: an action that was logged in a slot, but never could be for
    some people, is not.
    """
    found = []
    for slot, name in enumerate(feedback.slots):
        rows = np.flatnonzero(feedback.slot == slot)
        found += [Missing(name, *one) for one in _never_taken(feedback, rows)]
    return tuple(sorted(found, key=lambda one: -one.mass))


def _never_taken(feedback: Feedback, rows: Integers) -> list[tuple[str, float]]:
    """Actions that those rows never took, and the evaluated policy's mass on each."""
    taken = np.bincount(feedback.action[rows], minlength=len(feedback.actions))
    # How often each distribution counts, so that none is copied for each of its rows.
    times = np.bincount(feedback.evaluation_row[rows], minlength=len(feedback.evaluation))
    mass = times @ feedback.evaluation / feedback.rows
    lacking = np.flatnonzero((taken == 0) & (mass > 0))
    return [(feedback.actions[one], float(mass[one])) for one in lacking]
