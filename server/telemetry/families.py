"""Families: the catalogue's metrics with their values, as Prometheus' exposition takes them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from nextbest.server.telemetry.catalogue import Metric


def counter(metric: Metric, values: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    """A counter's values, each behind its labels' values."""
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def gauge(metric: Metric, value: float) -> Family:
    """A gauge without labels."""
    return GaugeMetricFamily(metric.name, metric.help, value=value)
