"""Readings: what was counted, by the catalogue's metrics, for whoever tells of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from nextbest.server.histogram import Distribution
from nextbest.server.telemetry.catalogue import Metric

Item = TypeVar("Item")

# Behind the values of the metric's labels: a distribution for a histogram, else a number.
Values = Mapping[tuple[str, ...], float | Distribution]
Readings = Mapping[Metric, Values]
# Asked by any thread.
Source = Callable[[], Readings]


def by_name(values: Mapping[str, Item]) -> dict[tuple[str, ...], Item]:
    """The values of a metric with one label."""
    return {(name,): value for name, value in values.items()}
