"""Families: the catalogue's metrics with their values, as Prometheus' exposition takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from nextbest.server.histogram import Histogram
from nextbest.server.telemetry.catalogue import Metric

Item = TypeVar("Item")

# Values of counters and gauges, each behind its labels' values.
Values = Mapping[tuple[str, ...], float]
Readings = Mapping[Metric, Values]
Histograms = Mapping[Metric, Mapping[tuple[str, ...], Histogram]]


def family(metric: Metric, values: Values) -> Family:
    """A counter or a gauge with its values."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    made = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made


def histogram(metric: Metric) -> HistogramMetricFamily:
    """A histogram without values; `add_histogram` adds them."""
    return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def add_histogram(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    bounds: Iterable[float],
    buckets: Iterable[int],
    total: float,
) -> None:
    """Add the values of some labels: how many were in each bucket, and their sum."""
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    family.add_metric(labels, list(zip(names, accumulate(map(float, buckets)), strict=True)), total)


def histograms(of: Histograms) -> Iterable[Family]:
    """Those of the server's own."""
    for metric, values in of.items():
        made = histogram(metric)
        for labels, one in values.items():
            add_histogram(made, labels, one.bounds, list(one.buckets), one.sum)
        yield made


def by_name(numbers: Mapping[str, Item]) -> dict[tuple[str, ...], Item]:
    """The values of a metric with one label."""
    return {(name,): number for name, number in numbers.items()}
