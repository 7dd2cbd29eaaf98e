"""The reward: what the outcomes of a decision are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from nextbest.server.offpolicy.errors import FeedbackError
from nextbest.server.record.outcomes import (
    Outcome,
    Outcomes,
    credited,
    decided_for_us,
    lacking,
)
from nextbest.v1 import record_pb2

# Longer than anything is kept.
NO_WINDOW_US: Final = 2**62
# What counts where nothing else is asked for.
DEFAULT: Final = "click"


@dataclass(frozen=True, slots=True)
class Reward:
    """An event ("click": 1 where there was one, else 0), or the sum of a property ("buy.amount").

    amount: the property that is summed; empty for whether there was one.
    window_us: how long after the decision it counts, in microseconds.
    """

    event: str
    amount: str = ""
    window_us: int = NO_WINDOW_US

    @property
    def bounded(self) -> bool:
        """Whether there is a window."""
        return self.window_us < NO_WINDOW_US

    def check(self, outcomes: Outcomes) -> None:
        """Refuse a reward that no outcome has: all would be 0.  Raises FeedbackError."""
        if found := lacking(outcomes.events(), self.event, self.amount):
            raise FeedbackError(f"--reward ({DEFAULT} by default)", *found)


class Earned(NamedTuple):
    """By placement, what its first slot has earned.

    Outcomes that came late, that fit no proposition, and that count for each of several.
    """

    by_placement: dict[str, float]
    late: int
    unplaced: int
    shared: int


def reward_of(text: str, window_us: int = NO_WINDOW_US) -> Reward:
    """A reward as it is written.  Raises FeedbackError."""
    event, dot, amount = text.partition(".")
    if not event or (dot and not amount):
        raise FeedbackError("reward", repr(text), "EVENT or EVENT.PROPERTY")
    return Reward(event, amount, window_us)


def earned(
    record: record_pb2.DecisionRecord, outcomes: Sequence[Outcome], reward: Reward
) -> Earned:
    """What came of a decision; an outcome from before it is of clocks that differ, and counts."""
    found: dict[str, float] = {}
    late = unplaced = shared = 0
    decided_us = decided_for_us(record)
    for one in outcomes:
        if one.event.event != reward.event:
            continue
        if one.occurred_us - decided_us > reward.window_us:
            late += 1
            continue
        of = credited(record.response, one)
        unplaced += not of
        shared += len(of) > 1
        # Any of them may have brought it about.
        for each in of:
            if each.proposition.slot == 0:
                worth = one.number(reward.amount) or 0.0
                before = found.get(each.placement, 0.0)
                found[each.placement] = before + worth if reward.amount else 1.0
    return Earned(found, late, unplaced, shared)
