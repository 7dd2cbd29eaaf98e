"""Tallies: how many of a method's calls were good, of what the engine has counted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nextbest.server.telemetry.methods import FAILURES
from nextbest.server.telemetry.slo.objective import Objective

if TYPE_CHECKING:
    from nextbest.core.engine import CallCount


class Tally(NamedTuple):
    """Calls since the start of the process: `good` of `calls`.  Neither ever falls."""

    good: int
    calls: int

    @property
    def bad(self) -> int:
        """Those that were not good."""
        return self.calls - self.good

    def since(self, before: Tally) -> Tally:
        """What came after another tally."""
        return Tally(self.good - before.good, self.calls - before.calls)


def tally(objective: Objective, counts: Iterable[CallCount], bounds_s: Sequence[float]) -> Tally:
    """What an objective says of the calls of its method, over both lanes."""
    within = bisect_left(bounds_s, objective.threshold_s) + 1
    good = calls = 0
    for one in counts:
        if one.method != objective.method:
            continue
        calls += sum(one.buckets)
        if one.code not in FAILURES:
            good += sum(one.buckets[:within])
    return Tally(good, calls)
