"""Collecting: what the parts of a server have counted, as the catalogue's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.families import (
    Histograms,
    Readings,
    Values,
    add_histogram,
    by_name,
    family,
    histogram,
    histograms,
)
from nextbest.server.telemetry.methods import CODES, full_name

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.core.engine import CallCount, DecisionCounts

OPEN = "connections.open"


class ServerCollector(Collector):
    """Gives Prometheus' exposition the metrics of one server.

    readings, histograms: what other parts have counted, from any thread.
    """

    def __init__(
        self,
        engine: Engine,
        lane: Callable[[], Mapping[str, int]],
        process: Callable[[], Iterable[Family]],
        readings: Sequence[Callable[[], Readings]],
        histograms: Sequence[Callable[[], Histograms]],
    ) -> None:
        self._telemetry = engine.telemetry
        self._lane = lane
        self._process = process
        self._readings = readings
        self._histograms = histograms

    def collect(self) -> Iterator[Family]:
        """All of the catalogue's metrics."""
        yield _calls(self._telemetry.calls())
        for read in (self._core, self._lanes, *self._readings):
            for metric, values in read().items():
                yield family(metric, values)
        for of in self._histograms:
            yield from histograms(of())
        yield from self._process()

    def _core(self) -> Readings:
        waiting, room = self._telemetry.waiting()
        return {
            catalogue.STEP_DURATION: _steps(self._telemetry.steps()),
            **_decisions(self._telemetry.decisions()),
            catalogue.KEPT_DROPPED: {(): self._telemetry.dropped},
            catalogue.KEPT_WAITING: {(): waiting},
            catalogue.KEPT_WAITING_MAX: {(): room},
        }

    def _lanes(self) -> Readings:
        counted = dict(self._lane())
        connections = counted.pop(OPEN, 0)
        # Calls are told by their histogram.
        events = {name: n for name, n in counted.items() if not _is_served_call(name)}
        return {
            catalogue.LANE_CONNECTIONS: {(): connections},
            catalogue.LANE_EVENTS: by_name(events),
        }


def _is_served_call(name: str) -> bool:
    return name.startswith("calls.") and name.count(".") == 2


def _calls(counts: Iterable[CallCount]) -> Family:
    made = histogram(catalogue.CALL_DURATION)
    bounds = bounds_s()
    for one in counts:
        labels = ("grpc", full_name(one.method), CODES[one.code], one.lane)
        add_histogram(made, labels, bounds, one.buckets, one.seconds)
    return made


def _steps(spent: Mapping[str, Mapping[str, float]]) -> Values:
    return {
        (full_name(method), step): seconds
        for method, steps in spent.items()
        for step, seconds in steps.items()
        if seconds
    }


def _decisions(counts: DecisionCounts) -> Readings:
    failed = {CODES[code]: count for code, count in counts.failed.items()}
    return {
        catalogue.DECISIONS: by_name(counts.decisions),
        catalogue.FALLBACKS: by_name(counts.fallbacks),
        catalogue.CANDIDATES: counts.candidates,
        catalogue.PROPOSITIONS: counts.propositions,
        catalogue.DEGRADED: by_name(counts.degraded),
        catalogue.REPEATED: {(): counts.repeated},
        catalogue.BATCH_FAILED: by_name(failed),
    }
