"""OTLP: readings as OpenTelemetry's metrics, cumulative since the process began."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from nextbest.server.histogram import Distribution
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.readings import Source, Values

SCOPE = InstrumentationScope("nextbest")
CUMULATIVE = AggregationTemporality.CUMULATIVE
# The conventions' names; all other labels are called alike in both.
ATTRIBUTES = {
    "rpc_system_name": "rpc.system.name",
    "rpc_method": "rpc.method",
    "rpc_response_status_code": "rpc.response.status_code",
}


def metrics_data(
    resource: Resource, sources: Iterable[Source], began_ns: int, now_ns: int
) -> MetricsData:
    """All that the sources have, read now; what has no values is left out.

    began_ns, now_ns: the time that is told of, since 1970.
    """
    metrics = [
        Metric(metric.otlp_name, metric.help, metric.unit, _data(metric, values, began_ns, now_ns))
        for source in sources
        for metric, values in source().items()
        if values
    ]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])


def _data(
    metric: catalogue.Metric, values: Values, began_ns: int, now_ns: int
) -> Sum | Gauge | Histogram:
    names = [ATTRIBUTES.get(label, label) for label in metric.labels]
    numbers, distributions = [], []
    for labels, value in values.items():
        about = dict(zip(names, labels, strict=True))
        if isinstance(value, Distribution):
            distributions.append(_distribution(about, value, began_ns, now_ns))
        else:
            numbers.append(NumberDataPoint(about, began_ns, now_ns, value))
    if metric.kind == "histogram":
        return Histogram(distributions, CUMULATIVE)
    return Sum(numbers, CUMULATIVE, True) if metric.kind == "counter" else Gauge(numbers)


def _distribution(
    about: dict[str, str], value: Distribution, began_ns: int, now_ns: int
) -> HistogramDataPoint:
    unknown: Any = None
    return HistogramDataPoint(
        about,
        began_ns,
        now_ns,
        count=sum(value.buckets),
        sum=value.sum,
        bucket_counts=value.buckets,
        explicit_bounds=value.bounds,
        min=unknown,
        max=unknown,
        exemplars=[
            Exemplar({}, one.value, one.at_ns, one.span_id, one.trace_id)
            for one in value.exemplars.values()
        ],
    )
