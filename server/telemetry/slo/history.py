"""History: tallies of the past, dense for the last hours and sparse before.

It begins with the process: what a window does not cover is said, not guessed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from operator import itemgetter
from typing import NamedTuple

from nextbest.server.telemetry.slo.tally import Tally

# (every so many seconds, for so long): within 6 h a window begins 10 s too early at most.
DENSE_S = (10.0, 6 * 3_600.0)
SPARSE_S = 600.0


class Window(NamedTuple):
    """The calls of the last seconds; `covered_s` is how many of them were seen."""

    tally: Tally
    covered_s: float


class History:
    """Tallies by the monotonic clock, of `longest_s` at most.

    Bounded: 2,161 tallies of the last 6 hours, and 145 for each day of `longest_s`.
    """

    def __init__(self, now_s: float, first: Tally, longest_s: float) -> None:
        self._dense = _Series(*DENSE_S)
        self._sparse = _Series(SPARSE_S, longest_s)
        self.began_s = now_s
        self.add(now_s, first)

    def add(self, now_s: float, tally: Tally) -> None:
        """Note a tally; times do not go back."""
        self._dense.add(now_s, tally)
        self._sparse.add(now_s, tally)

    def window(self, now_s: float, tally: Tally, length_s: float) -> Window:
        """What the last `length_s` seconds add up to, with `tally` as it is now."""
        series = self._dense if length_s <= DENSE_S[1] else self._sparse
        at_s, before = series.last_before(now_s - length_s)
        return Window(tally.since(before), now_s - max(at_s, now_s - length_s))


class _Series:
    """Tallies at least `step_s` apart; the oldest one is `length_s` old or somewhat older."""

    def __init__(self, step_s: float, length_s: float) -> None:
        self._step_s = step_s
        self._kept: deque[tuple[float, Tally]] = deque(maxlen=round(length_s / step_s) + 2)

    def add(self, now_s: float, tally: Tally) -> None:
        if not self._kept or now_s - self._kept[-1][0] >= self._step_s:
            self._kept.append((now_s, tally))

    def last_before(self, at_s: float) -> tuple[float, Tally]:
        """The newest one that is not after `at_s`, or the oldest there is."""
        after = bisect_right(self._kept, at_s, key=itemgetter(0))
        return self._kept[max(after - 1, 0)]
