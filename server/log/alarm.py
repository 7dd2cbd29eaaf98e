"""Alarm: calls back unless it is stopped in time, and costs little where it mostly is.

A timer for each append, made and let go again, takes longer than its bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# The loop's timers are that exact: what is so near is due.
_NEAR_S = 0.001


class Alarm:
    """One at a time: set, and as a rule stopped.

    ring: called when the time is up.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        # When to ring, by the loop's clock; None while it is stopped.
        self._at_s: float | None = None
        # The timer that looks, and when: it stays when the alarm stops.
        self._looks: asyncio.TimerHandle | None = None

    def set(self, at_s: float) -> None:
        """Ring at a time of the running loop's clock."""
        self._at_s = at_s
        if self._looks is None or self._looks.when() > at_s:
            self._look_at(at_s)

    def stop(self) -> None:
        """Not this time."""
        self._at_s = None

    def close(self) -> None:
        """Stop, and let go of the timer."""
        self._at_s = None
        if self._looks is not None:
            self._looks.cancel()
            self._looks = None

    def _look_at(self, at_s: float) -> None:
        if self._looks is not None:
            self._looks.cancel()
        self._looks = asyncio.get_running_loop().call_at(at_s, self._look)

    def _look(self) -> None:
        self._looks, at_s = None, self._at_s
        if at_s is None:
            return
        if asyncio.get_running_loop().time() + _NEAR_S < at_s:
            self._look_at(at_s)
        else:
            self._at_s = None
            self._ring()
