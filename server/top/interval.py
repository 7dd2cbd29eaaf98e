"""Intervals: what happened on a node between two looks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nextbest.server.top.look import NOTHING, Counted, Labels, Look


class Interval(NamedTuple):
    """The time from one look to another.  After a restart it begins with the new process."""

    before: Look
    after: Look

    @property
    def seconds(self) -> float:
        """How long it is; never 0."""
        return max(self.after.clock_s - self._before.clock_s, 1e-9)

    @property
    def _before(self) -> Look:
        restarted = (
            self.before.began != self.after.began or self.before.clock_s > self.after.clock_s
        )
        return NOTHING if restarted else self.before

    def gauge(self, name: str, labels: Labels = ()) -> float | None:
        """A gauge's value at the end; None where the node has none."""
        return self.after.numbers.get(name, {}).get(labels)

    def rates(self, name: str) -> dict[Labels, float]:
        """A counter's increase in a second, by labels; what did not rise is left out."""
        before = self._before.numbers.get(name, {})
        rises = {
            labels: (value - before.get(labels, 0.0)) / self.seconds
            for labels, value in self.after.numbers.get(name, {}).items()
        }
        return {labels: rise for labels, rise in rises.items() if rise > 0}

    def counted(self, name: str) -> dict[Labels, Counted]:
        """What a histogram counted, by labels; those without a value are left out."""
        before = self._before.distributions.get(name, {})
        found = {
            labels: _less(value, before.get(labels))
            for labels, value in self.after.distributions.get(name, {}).items()
        }
        return {labels: one for labels, one in found.items() if any(one.buckets)}


def summed(
    values: Iterable[tuple[Sequence[float], Sequence[int]]],
) -> tuple[Sequence[float], Sequence[int]]:
    """Bounds and buckets of several nodes added up, over the bounds that all of them have.

    A node whose objectives differ has other bounds than the rest.
    """
    values = list(values)
    common = sorted(set.intersection(*(set(bounds) for bounds, _ in values)))
    within = [sum(_within(bounds, buckets, one) for bounds, buckets in values) for one in common]
    whole = sum(sum(buckets) for _, buckets in values)
    ends = [*within, whole]
    return common, [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _within(bounds: Sequence[float], buckets: Sequence[int], bound: float) -> int:
    """How many values a bound is not below."""
    return sum(buckets[: bisect_right(bounds, bound)])


def quantile(bounds: Sequence[float], buckets: Sequence[int], share: float) -> float | None:
    """The value that `share` of all are within, interpolated in its bucket.

    Above the last bound it is that bound; None without values.  (As Prometheus'
    histogram_quantile.)
    """
    rank = share * sum(buckets)
    if not rank:
        return None
    low = seen = 0.0
    for bound, count in zip(bounds, buckets, strict=False):
        if count and seen + count >= rank:
            return low + (bound - low) * (rank - seen) / count
        low, seen = bound, seen + count
    return bounds[-1]


def _less(value: Counted, before: Counted | None) -> Counted:
    if before is None:
        return value
    pairs = zip(value.buckets, before.buckets, strict=True)
    return Counted(tuple(now - was for now, was in pairs), value.sum - before.sum)
