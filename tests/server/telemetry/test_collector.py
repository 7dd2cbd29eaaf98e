"""What a server exports, through a real OpenTelemetry Collector."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc
import pytest

from nextbest.core import LANE_MISSING, lane_available
from nextbest.server.telemetry import catalogue
from tests.lane.target import DECIDE, decide
from tests.server.telemetry.collector import CONFIG, PROGRAM, Collector, needs_collector
from tests.server.telemetry.otlp import Received, Receiver
from tests.server.telemetry.process import Server

SERVER = 2
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)

pytestmark = needs_collector


def environment(collector: Collector, protocol: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc if protocol == "grpc" else collector.http,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": "shop",
    }


def traced(receiver: Receiver) -> list[Received]:
    return [one for one in receiver.spans if one.item.trace_id.hex() == TRACE]


def calls(receiver: Receiver) -> list[Received]:
    """The calls' own spans."""
    return [one for one in traced(receiver) if one.item.kind == SERVER]


def counted(receiver: Receiver) -> dict[str, int]:
    """How many calls each lane has told of in the newest push."""
    name = catalogue.CALL_DURATION.otlp_name
    pushes = [one for one in receiver.metrics if one.item.name == name]
    found = dict[str, int]()
    for point in pushes[-1].item.histogram.data_points if pushes else ():
        [lane] = [one.value.string_value for one in point.attributes if one.key == "lane"]
        found[lane] = found.get(lane, 0) + point.count
    return found


def test_the_configuration_is_valid() -> None:
    done = subprocess.run(
        [PROGRAM, "validate", "--config", CONFIG], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_configuration_is_not_valid(tmp_path: Path) -> None:
    wrong = tmp_path / "collector.yaml"
    wrong.write_text(CONFIG.read_text("utf-8").replace("timeout: 1s", "timeuot: 1s"), "utf-8")
    done = subprocess.run(
        [PROGRAM, "validate", "--config", wrong], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "timeuot" in done.stdout + done.stderr


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_spans_and_metrics_of_both_lanes_pass(tmp_path: Path, protocol: str) -> None:
    with (
        Receiver() as receiver,
        Collector(tmp_path, receiver.address) as collector,
        Server(tmp_path, environment=environment(collector, protocol)) as server,
    ):
        for address in (server.address, server.lane):
            with grpc.insecure_channel(address) as channel:
                channel.unary_unary(DECIDE)(decide("home"), timeout=5, metadata=HEADERS)
        receiver.wait(lambda one: len(calls(one)) == 2)
        receiver.wait(lambda one: counted(one) == {"fast": 1, "grpc": 1})
    check(receiver)


def check(receiver: Receiver) -> None:
    """Each call is the caller's child, and what it did is its own."""
    spans = {one.item.span_id: one for one in traced(receiver)}
    assert {one.resource["service.name"] for one in spans.values()} == {"shop"}
    own = {one.item.span_id for one in calls(receiver)}
    assert {spans[one].item.parent_span_id.hex() for one in own} == {PARENT}
    steps = [one for one in spans.values() if one.item.span_id not in own]
    assert {one.item.parent_span_id for one in steps} == own
    for step in steps:
        call = spans[step.item.parent_span_id].item
        assert call.start_time_unix_nano <= step.item.start_time_unix_nano
        assert step.item.end_time_unix_nano <= call.end_time_unix_nano
