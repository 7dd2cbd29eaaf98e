"""Spans on their way out: what is lost is counted, exactly, and nobody waits for long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.core.engine import KeptCall
from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.environment import SIGNALS, warn_of_tls
from nextbest.server.telemetry.trace.export import exporter
from nextbest.server.telemetry.trace.queue import SpanQueue
from nextbest.server.telemetry.trace.settings import TraceSettings, read
from nextbest.server.telemetry.trace.spans import SpanMaker, span_count
from tests.lane.target import DECIDE, decide
from tests.server.telemetry.otlp import Receiver
from tests.server.telemetry.process import Server

needs_lane = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
RESOURCE = Resource({"service.name": "test"})


def calls(count: int) -> list[KeptCall]:
    """Calls that the engine has kept."""
    engine = Engine()
    engine.telemetry.configure(bounds_s(), {}, ratio=1.0)
    for _ in range(count):
        call = engine.begin_call("Decide")
        call.waited()
        call.end()
    return engine.telemetry.take()


class Exporter(SpanExporter):
    """Keeps what it is given once it may; fails when it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.spans: list[ReadableSpan] = []
        self.go_on = threading.Event()
        self._fails = fails

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.go_on.wait()
        if self._fails:
            return SpanExportResult.FAILURE
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._fails = True
        self.go_on.set()


def queue(exporter: SpanExporter, entries_max: int = 100) -> SpanQueue:
    made = SpanQueue(
        exporter, SpanMaker(RESOURCE), entries_max=entries_max, batch_max=16, delay_s=0.05
    )
    made.start()
    return made


def test_what_finds_the_queue_full_is_counted() -> None:
    slow = Exporter()
    spans = queue(slow)
    kept = calls(500)
    for start in range(0, 500, 50):
        spans.put(kept[start : start + 50])
    lost = spans.lost()["queue_full"]
    assert lost >= sum(map(span_count, kept[:350]))
    slow.go_on.set()
    spans.stop(10)
    assert len(slow.spans) + lost == sum(map(span_count, kept))
    assert spans.exported == len(slow.spans)
    assert spans.lost() == {"queue_full": lost, "export_failed": 0, "rejected": 0, "stopped": 0}


def test_a_failed_export_is_counted() -> None:
    failing = Exporter(fails=True)
    failing.go_on.set()
    spans = queue(failing)
    kept = calls(90)
    spans.put(kept)
    spans.stop(10)
    assert spans.exported == 0
    assert spans.lost()["export_failed"] == sum(map(span_count, kept))


def test_a_stop_waits_for_so_long_only_and_counts_what_is_left() -> None:
    hanging = Exporter()
    spans = queue(hanging)
    kept = calls(90)
    spans.put(kept)
    begun_s = time.monotonic()
    spans.stop(0.2)
    assert time.monotonic() - begun_s < 5
    spans.put(kept[:1])
    lost = spans.lost()
    assert lost["stopped"] > span_count(kept[0])
    assert spans.exported + sum(lost.values()) == sum(map(span_count, [*kept, kept[0]]))


def test_a_call_whose_spans_cannot_be_made_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = Exporter()
    good.go_on.set()
    spans = queue(good)
    [one, other] = calls(2)
    # No answer of the core's is malformed.
    spans.put([one._replace(answer=b"\xff"), other])
    spans.stop(10)
    assert spans.lost()["export_failed"] == span_count(one)
    assert len(good.spans) == span_count(other)
    assert "cannot be made" in caplog.text


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_spans_that_a_receiver_rejects_are_counted(
    monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    with Receiver(rejected_spans=3) as receiver:
        endpoint = receiver.http if "http" in protocol else f"http://{receiver.address}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        made: list[SpanQueue] = []
        settings = TraceSettings(exporter="otlp", protocol=protocol)
        made.append(queue(exporter(settings, lambda count: made[0].reject(count))))
        kept = calls(1)
        made[0].put(kept)
        made[0].stop(10)
        assert len(receiver.spans) == span_count(kept[0])
    assert made[0].lost()["rejected"] == 3
    assert made[0].exported == span_count(kept[0]) - 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_SDK_DISABLED", "maybe"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier pigeon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1.5"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:port"),
    ],
)
def test_a_variable_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        read({name: value})


def test_an_endpoint_over_http_is_a_url() -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318",
    }
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318', allowed"):
        read(environment)


def test_an_endpoint_of_grpc_has_no_other_scheme() -> None:
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_ENDPOINT: 'ftp://collector'"):
        read({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://collector"})
    for target in ("collector:4317", "dns:///collector:4317", "unix:///tmp/collector"):
        assert read({"OTEL_EXPORTER_OTLP_ENDPOINT": target}).exports


@pytest.mark.parametrize("head", ["http://me:secret", "http://me:sec@ret"])
def test_a_refused_endpoint_is_told_without_its_password(head: str) -> None:
    with pytest.raises(ConfigError, match=r"\.\.\.@collector:port', allowed") as refused:
        read({"OTEL_EXPORTER_OTLP_ENDPOINT": f"{head}@collector:port"})
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize(
    "headers", ["secret", "a=1,secret", "=secret", "a b=secret", "a=secret;b", "a=sec\\ret"]
)
def test_refused_headers_are_told_without_their_values(headers: str) -> None:
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_HEADERS: 1 of \d parts") as refused:
        read({"OTEL_EXPORTER_OTLP_HEADERS": headers})
    assert "sec" not in str(refused.value)


def test_headers_are_a_list() -> None:
    read({"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer a%3D%3D, x-team = shop ,"})


def test_nothing_is_exported_without_an_endpoint() -> None:
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}
    assert not read({}).exports
    assert read(there).exporter == "otlp"
    assert not read({**there, "OTEL_SDK_DISABLED": "true"}).exports
    assert not read({**there, "OTEL_TRACES_EXPORTER": "none"}).exports
    assert read({"OTEL_TRACES_EXPORTER": "console"}).exporter == "console"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, ["OTEL_EXPORTER_OTLP_ENDPOINT"]),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4317"},
            ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, []),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
                "OTEL_EXPORTER_OTLP_INSECURE": "true",
            },
            [],
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
                "OTEL_EXPORTER_OTLP_INSECURE": "false",
            },
            ["OTEL_EXPORTER_OTLP_ENDPOINT"],
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317", "OTEL_SDK_DISABLED": "true"}, []),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}
            | {f"OTEL_EXPORTER_OTLP_{one}_ENDPOINT": "http://other:4317" for one in SIGNALS},
            [],
        ),
        ({}, []),
    ],
)
def test_an_endpoint_that_has_tls_without_saying_so_is_told_once(
    variables: dict[str, str], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_tls(variables)
    assert [line.split()[0] for line in caplog.messages] == told


@needs_lane
def test_a_server_whose_receiver_hangs_stops_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with Server(tmp_path, environment=environment) as server:
            with grpc.insecure_channel(server.lane) as channel:
                channel.unary_unary(DECIDE)(decide("home"), timeout=10)
            # The export is under way.
            silent.accept()[0].close()
