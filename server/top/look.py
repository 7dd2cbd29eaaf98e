"""Looks: one answer of a node, its metrics by name and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from nextbest.v1 import telemetry_pb2

Labels: TypeAlias = tuple[str, ...]


class Counted(NamedTuple):
    """A histogram's values: how many were in each bucket, and their sum."""

    buckets: tuple[int, ...]
    sum: float


class Look(NamedTuple):
    """What a node said when it had run for `clock_s` seconds.

    began: which process of the node it was.
    numbers: counters and gauges, distributions: histograms, both by name and then by their
    labels' values, in the order of the catalogue.  bounds: of the histograms.
    """

    clock_s: float
    numbers: Mapping[str, Mapping[Labels, float]]
    distributions: Mapping[str, Mapping[Labels, Counted]]
    bounds: Mapping[str, tuple[float, ...]]
    began: float = 0.0


# As a process begins.
NOTHING = Look(0.0, {}, {}, {})


def look_of(answer: telemetry_pb2.GetTelemetryResponse) -> Look:
    """Read a node's answer."""
    numbers: dict[str, dict[Labels, float]] = {}
    distributions: dict[str, dict[Labels, Counted]] = {}
    bounds = {}
    for metric in answer.metrics:
        samples = [(tuple(one.labels), one) for one in metric.samples]
        if metric.kind == "histogram":
            bounds[metric.name] = tuple(metric.bounds)
            distributions[metric.name] = {
                labels: Counted(tuple(one.buckets), one.value) for labels, one in samples
            }
        else:
            numbers[metric.name] = {labels: one.value for labels, one in samples}
    began = numbers.get("process_start_time_seconds", {}).get((), 0.0)
    return Look(answer.clock_s, numbers, distributions, bounds, began)
