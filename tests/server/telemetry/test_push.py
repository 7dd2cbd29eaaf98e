"""Metrics pushed over OTLP, as a receiver on the official stubs gets them."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from nextbest.core import LANE_MISSING, lane_available
from nextbest.server.errors import ConfigError
from nextbest.server.histogram import Histogram
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.push import Push
from nextbest.server.telemetry.push_settings import PushSettings, read
from tests.lane.target import DECIDE, decide
from tests.server.telemetry.otlp import Received, Receiver, plain
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import WITHIN_S, Scrape

CALLS = 7
CUMULATIVE = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
# What moves by itself between a scrape and a push.
MOVING = (
    "process_",
    "nextbest_loop_",
    "nextbest_gc_",
    "nextbest_log_staleness",
    "nextbest_lane_",
    "nextbest_traces_waiting",
)


def points(received: Received) -> Any:
    """The data points of a metric."""
    return getattr(received.item, received.item.WhichOneof("data")).data_points


def named(receiver: Receiver, name: str) -> list[Received]:
    """Each push of a metric, the oldest first."""
    return [one for one in receiver.metrics if one.item.name == name]


def calls(received: Received) -> int:
    return sum(point.count for point in points(received))


def environment(receiver: Receiver, protocol: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver.address}"
        if protocol == "grpc"
        else receiver.http,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "shop",
    }


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_receiver_gets_what_a_scrape_shows(tmp_path: Path, protocol: str) -> None:
    with (
        Receiver() as receiver,
        Server(tmp_path, environment=environment(receiver, protocol)) as server,
    ):
        with grpc.insecure_channel(server.lane) as channel:
            for _ in range(CALLS):
                channel.unary_unary(DECIDE)(decide("home"), timeout=5)
        scrape = still(receiver, server.http)
        duration = named(receiver, "rpc.server.call.duration")
        pushes = named(receiver, "nextbest.metrics_pushes")
        latest = {one.item.name: one for one in receiver.metrics}
    assert calls(duration[-1]) == CALLS
    check_calls(duration[-1])
    # Cumulative since one moment, and told of until ever later ones.
    told = [(point.start_time_unix_nano, point.time_unix_nano) for point in map(first, duration)]
    assert len({began for began, _ in told}) == 1
    assert sorted(until for _, until in told) == [until for _, until in told]
    assert duration[-1].resource["service.name"] == "shop"
    assert pushes[-1].item.sum.is_monotonic
    for metric in catalogue.METRICS:
        check(metric, latest.get(metric.otlp_name), scrape)


def still(receiver: Receiver, http: str) -> Scrape:
    """A scrape and two pushes after it, within which no decision's event was exported."""
    exported = "nextbest_decision_events_exported_total"
    end_s = time.monotonic() + WITHIN_S
    while time.monotonic() < end_s:
        scrape = Scrape(http)
        before = len(named(receiver, "rpc.server.call.duration"))
        receiver.wait(lambda one, n=before: len(named(one, "rpc.server.call.duration")) >= n + 2)
        if Scrape(http).value(exported) == scrape.value(exported):
            return scrape
    raise AssertionError(f"decisions' events are exported for {WITHIN_S:g} s")


def first(received: Received) -> Any:
    return points(received)[0]


def check_calls(received: Received) -> None:
    """One point has what the conventions ask for, and the bounds of the exposition."""
    [point] = points(received)
    assert (received.item.unit, received.item.histogram.aggregation_temporality) == (
        "s",
        CUMULATIVE,
    )
    assert plain(point.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "nextbest.v1.DecisionService/Decide",
        "rpc.response.status_code": "OK",
        "lane": "fast",
    }
    assert tuple(point.explicit_bounds) == bounds_s()
    assert len(point.bucket_counts) == len(bounds_s()) + 1
    assert sum(point.bucket_counts) == point.count
    assert 0 < point.sum < CALLS


def check(metric: catalogue.Metric, received: Received | None, scrape: Scrape) -> None:
    """A metric was received with the values that a scrape has, or neither has any."""
    ends = {"counter": "_total", "gauge": "", "histogram": "_count"}
    sample = metric.name + ends[metric.kind]
    shown = [labels for labels in scrape.labels(sample) if "le" not in labels]
    assert bool(shown) == (received is not None) or metric == catalogue.PUSHES, metric
    if received is None or metric.name.startswith(MOVING) or metric == catalogue.PUSHES:
        return
    for point in points(received):
        labels = {name.replace(".", "_"): value for name, value in plain(point.attributes).items()}
        value = point.count if metric.kind == "histogram" else value_of(point)
        assert value == scrape.value(sample, **labels), (metric, labels)


def value_of(point: Any) -> float:
    return float(getattr(point, point.WhichOneof("value")))


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_failures_are_counted_and_told_once(
    protocol: str, nobody: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0.1")
    path = "" if protocol == "grpc" else "/v1/metrics"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"http://{nobody}{path}")
    with caplog.at_level(logging.WARNING):
        push = Push(PushSettings("otlp", protocol, 0.05))
        push.start([lambda: {catalogue.READY: {(): 1.0}}])
        end_s = time.monotonic() + 20
        while push.outcomes["failed"] < 5:
            assert time.monotonic() < end_s, push.outcomes
            time.sleep(0.05)
        push.stop()
    assert push.outcomes["sent"] == 0
    # Each line of the library's, once a minute.
    assert len(set(caplog.messages)) == len(caplog.messages) <= 3


def test_a_signal_that_fails_does_not_silence_another(
    nobody: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Traces, metrics and logs are exported by one module, with the same words."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0.1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"http://{nobody}")
    push = Push(PushSettings("otlp", "grpc", 3_600))
    push.start([dict])
    library = logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter")
    for signal in 3 * ("traces", "logs"):
        library.error("test: failed to export %s to %s", signal, nobody)
    push.stop()
    told = [line for line in caplog.messages if line.startswith("test:")]
    assert told == [f"test: failed to export {one} to {nobody}" for one in ("traces", "logs")]


def test_an_end_sends_what_was_counted_last(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = Histogram((1.0, 2.0))
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{receiver.address}")
        push = Push(PushSettings("otlp", "grpc", 3_600))
        push.start([lambda: {catalogue.LOOP_LAG: {(): seconds.read()}}])
        for value in (1.0, 1.5, 2.0, 7.0):
            seconds.count(value)
        push.stop()
        [lag] = named(receiver, "nextbest.loop_lag")
    [point] = points(lag)
    assert list(point.bucket_counts) == [1, 2, 1]
    assert (point.count, point.sum, lag.item.unit) == (4, 11.5, "s")


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, PushSettings()),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, None),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, None),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:1"}, None),
        (
            {
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a:1",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_METRIC_EXPORT_INTERVAL": "1500",
            },
            PushSettings("otlp", "http/protobuf", 1.5),
        ),
    ],
)
def test_settings_are_the_standard_ones(
    variables: dict[str, str], wanted: PushSettings | None
) -> None:
    found = read(variables)
    assert found.pushes == (wanted is not None and wanted.pushes)
    assert wanted is None or found == wanted


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_METRICS_EXPORTER": "prometheus"},
        {"OTEL_METRIC_EXPORT_INTERVAL": "0"},
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"},
        {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "somewhere",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        },
        {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "soon"},
    ],
)
def test_what_cannot_be_done_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(variables))):
        read(variables)


def test_names_are_those_of_the_conventions() -> None:
    names = {metric.name: (metric.otlp_name, metric.unit) for metric in catalogue.METRICS}
    assert names["rpc_server_call_duration_seconds"] == ("rpc.server.call.duration", "s")
    assert names["nextbest_log_appended_bytes"] == ("nextbest.log_appended", "By")
    assert names["process_resident_memory_bytes"] == ("process.memory.usage", "By")
    assert len({name for name, _ in names.values()}) == len(names)
