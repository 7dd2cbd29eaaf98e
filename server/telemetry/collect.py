"""Collecting: what the parts of a server have counted, as the catalogue's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import grpc
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.families import counter, gauge

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.core.engine import CallCount, DecisionCounts

CODES = {code.value[0]: code.name for code in grpc.StatusCode}
# The semantic conventions' name for a method that is not known.
OTHER = "_OTHER"
METHODS = {
    "Decide": "nextbest.v1.DecisionService/Decide",
    "DecideBatch": "nextbest.v1.DecisionService/DecideBatch",
    "Track": "nextbest.v1.EventService/Track",
    "Check": "grpc.health.v1.Health/Check",
    "UpsertProfile": "nextbest.v1.ProfileService/UpsertProfile",
    "LinkIdentity": "nextbest.v1.ProfileService/LinkIdentity",
    "GetProfile": "nextbest.v1.ProfileService/GetProfile",
}
OPEN = "connections.open"

# What only the event loop may read, by metric; empty when the loop did not answer in time.
Gauges = Callable[[], Mapping[catalogue.Metric, float]]
# Counters that any thread may read, by the values of their labels.
Counts = Callable[[], Mapping[catalogue.Metric, Mapping[tuple[str, ...], float]]]


class ServerCollector(Collector):
    """Gives Prometheus' exposition the metrics of one server."""

    def __init__(
        self,
        engine: Engine,
        lane: Callable[[], Mapping[str, int]],
        gauges: Gauges,
        counts: Counts,
    ) -> None:
        self._telemetry = engine.telemetry
        self._lane = lane
        self._gauges = gauges
        self._counts = counts

    def collect(self) -> Iterator[Family]:
        """All of the catalogue's metrics."""
        yield _calls(self._telemetry.calls())
        yield _steps(self._telemetry.steps())
        yield from _decisions(self._telemetry.decisions())
        yield counter(catalogue.KEPT_DROPPED, [((), self._telemetry.dropped)])
        counted = dict(self._lane())
        yield gauge(catalogue.LANE_CONNECTIONS, counted.pop(OPEN, 0))
        # Calls are told by their histogram.
        events = {k: v for k, v in counted.items() if not _is_served_call(k)}
        yield counter(catalogue.LANE_EVENTS, [((name,), n) for name, n in events.items()])
        for metric, values in self._counts().items():
            yield counter(metric, values.items())
        for metric, value in self._gauges().items():
            yield gauge(metric, value)


def _is_served_call(name: str) -> bool:
    return name.startswith("calls.") and name.count(".") == 2


def _calls(counts: Iterable[CallCount]) -> Family:
    metric = catalogue.CALL_DURATION
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*(f"{bound:g}" for bound in bounds_s()), "+Inf"]
    for one in counts:
        labels = ("grpc", METHODS.get(one.method, OTHER), CODES[one.code], one.lane)
        buckets = list(zip(bounds, accumulate(map(float, one.buckets)), strict=True))
        family.add_metric(labels, buckets, one.seconds)
    return family


def _steps(spent: Mapping[str, Mapping[str, float]]) -> Family:
    return counter(
        catalogue.STEP_DURATION,
        (
            ((METHODS.get(method, OTHER), step), seconds)
            for method, steps in spent.items()
            for step, seconds in steps.items()
            if seconds
        ),
    )


def _decisions(counts: DecisionCounts) -> Iterator[Family]:
    yield counter(catalogue.DECISIONS, _by_name(counts.decisions))
    yield counter(catalogue.FALLBACKS, _by_name(counts.fallbacks))
    yield counter(catalogue.CANDIDATES, counts.candidates.items())
    yield counter(catalogue.PROPOSITIONS, counts.propositions.items())
    yield counter(catalogue.DEGRADED, _by_name(counts.degraded))
    yield counter(catalogue.REPEATED, [((), counts.repeated)])
    failed = {CODES[code]: count for code, count in counts.failed.items()}
    yield counter(catalogue.BATCH_FAILED, _by_name(failed))


def _by_name(numbers: Mapping[str, float]) -> list[tuple[tuple[str, ...], float]]:
    return [((name,), number) for name, number in numbers.items()]
