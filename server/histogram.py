"""Histograms: how many values were within each bound, for what is rare beside calls."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

# Of durations that are rare and of any size, in seconds: 1, 2 and 5 of each power of ten.
DURATION_BOUNDS_S = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0),
)


class Exemplar(NamedTuple):
    """One of a bucket's values, when it was counted, and the span that it comes of."""

    value: float
    at_ns: int
    trace_id: int
    span_id: int


class Distribution(NamedTuple):
    """Values in buckets; each bound is part of its bucket, and the last bucket has none.

    exemplars: by the number of their bucket.
    """

    bounds: Sequence[float]
    buckets: Sequence[int]
    sum: float
    exemplars: Mapping[int, Exemplar] = MappingProxyType({})


class Histogram:
    """One thread counts at a time, and any thread reads.  `bounds` ascend."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._buckets = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def count(self, value: float) -> None:
        """Count a value."""
        self._buckets[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> Distribution:
        """What was counted so far."""
        return Distribution(self._bounds, tuple(self._buckets), self._sum)
