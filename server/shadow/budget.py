"""The budget: how much CPU a shadow may take, and which share of the decisions that is."""

from __future__ import annotations

import time
from collections.abc import Callable

# What is not spent is kept for so long, so that few decisions at once are all compared.
SAVED_S = 1.0
# By how much a share changes at once, and below what it does not fall: it must find back.
STEP_UP, STEP_DOWN = 2.0, 0.125
SHARE_MIN = 1e-6
# How much the newest costs weigh.
NEWEST = 0.2


class Budget:
    """CPU in seconds, of so much of a core, for decisions of a share that is adapted to it.

    asked: the largest share.
    """

    def __init__(
        self, core_share: float, asked: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._core_share = core_share
        self._clock = clock
        self._seen_s = clock()
        self._left_s = SAVED_S * core_share
        # Of a decision; 0 before the first.
        self._cost_s = 0.0
        self.asked = asked
        self.share = asked

    def left_s(self) -> float:
        """What may be spent now; nothing is to be begun when it is not above 0."""
        now_s = self._clock()
        self._left_s += (now_s - self._seen_s) * self._core_share
        self._left_s = min(self._left_s, SAVED_S * self._core_share)
        self._seen_s = now_s
        return self._left_s

    def spend(self, cpu_s: float, decided: int) -> None:
        """Take off what was spent on so many decisions."""
        self._left_s -= cpu_s
        if decided:
            cost_s = cpu_s / decided
            weight = NEWEST if self._cost_s else 1.0
            self._cost_s += weight * (cost_s - self._cost_s)

    def pace(self, arrived: int, within_s: float) -> float:
        """The share from now on, when so many decisions came of the share before."""
        step = STEP_UP
        if self._left_s < SAVED_S * self._core_share / 2 and arrived and self._cost_s:
            step = self._core_share * within_s / (self._cost_s * arrived)
        share = self.share * min(max(step, STEP_DOWN), STEP_UP)
        self.share = min(max(share, SHARE_MIN), self.asked)
        return self.share
