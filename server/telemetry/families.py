"""Families: readings as Prometheus' exposition takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from nextbest.server.histogram import Distribution
from nextbest.server.telemetry.catalogue import Metric
from nextbest.server.telemetry.readings import Source, Values

_KINDS = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
# `le`, how many were within it, and perhaps one of them.
_Bucket = tuple[str, float] | tuple[str, float, Exemplar]


class Families(Collector):
    """Gives the exposition all that the sources have."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        """All of it, read now."""
        for source in self._sources:
            for metric, values in source().items():
                yield family(metric, values)


def family(metric: Metric, values: Values) -> Family:
    """A metric with its values."""
    made: Family = _KINDS[metric.kind](metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        if isinstance(value, Distribution):
            made.add_metric(labels, _buckets(value), value.sum)  # type: ignore[attr-defined]
        else:
            made.add_metric(labels, value)  # type: ignore[attr-defined]
    return made


def _buckets(of: Distribution) -> list[_Bucket]:
    names = [*(f"{bound:g}" for bound in of.bounds), "+Inf"]
    sums = accumulate(map(float, of.buckets))
    return [
        (name, within, _exemplar(of, number)) if number in of.exemplars else (name, within)
        for number, (name, within) in enumerate(zip(names, sums, strict=True))
    ]


def _exemplar(of: Distribution, number: int) -> Exemplar:
    one = of.exemplars[number]
    about = {"trace_id": f"{one.trace_id:032x}", "span_id": f"{one.span_id:016x}"}
    return Exemplar(about, one.value, one.at_ns / 1e9)
