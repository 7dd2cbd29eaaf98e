"""Exemplars of the calls' histogram, against the spans that a receiver was sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1 import trace_pb2
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from nextbest.core import LANE_MISSING, lane_available
from tests.lane.target import BATCH, DECIDE, TRACK, batch, decide, track
from tests.server.telemetry.otlp import Received, Receiver
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import OPENMETRICS, page

PARENT = "00-0af7651916cd43dd8448eb211c8031%02x-b7ad6b7169203331-%02x"
DURATION = "rpc_server_call_duration_seconds"
pytestmark = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


def environment(receiver: Receiver) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{receiver.address}",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://{receiver.address}",
    }


def served(receiver: Receiver) -> list[Received]:
    """The spans of calls."""
    return [one for one in receiver.spans if one.item.kind == trace_pb2.Span.SPAN_KIND_SERVER]


def buckets(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from (one for one in family.samples if one.name == f"{DURATION}_bucket")


def call(channel: grpc.Channel, number: int, sampled: bool) -> None:
    method, request = [
        (DECIDE, decide("home")),
        (TRACK, track(f"e{number}", ack=1)),
        (BATCH, batch(3)),
    ][number % 3]
    headers = (("traceparent", PARENT % (number, sampled)),)
    channel.unary_unary(method)(request, timeout=5, metadata=headers)


def test_an_exemplar_is_a_call_that_was_exported(tmp_path: Path) -> None:
    with (
        Receiver() as receiver,
        Server(tmp_path, environment=environment(receiver)) as server,
    ):
        for address in (server.lane, server.address):
            with grpc.insecure_channel(address) as channel:
                for number in range(30):
                    call(channel, number, sampled=number % 5 == 0)
        receiver.wait(lambda one: len(served(one)) == 12)
        receiver.wait(lambda one: len(exemplars(one)) > 0)
        text = page(f"{server.http}/metrics", OPENMETRICS)[2]
        spans = {one.item.span_id.hex(): one for one in served(receiver)}
        pushed = exemplars(receiver)
    found = [(sample, sample.exemplar) for sample in buckets(text) if sample.exemplar]
    # One for each bucket at most, and one at least of each method and lane.
    keys = {(s.labels["rpc_method"], s.labels["lane"]) for s, _ in found}
    assert len(keys) == 6
    for sample, exemplar in found:
        span = spans[exemplar.labels["span_id"]]
        check(sample, exemplar, span)
    assert {one.span_id.hex() for one in pushed} <= set(spans)


def check(sample: Sample, exemplar: Any, span: Received) -> None:
    """It is of that series and bucket, and says what its span says."""
    assert exemplar.labels["trace_id"] == span.item.trace_id.hex()
    assert sample.labels["rpc_method"] == span.attributes["rpc.method"]
    assert sample.labels["lane"] == span.attributes["nextbest.lane"]
    took_s = (span.item.end_time_unix_nano - span.item.start_time_unix_nano) / 1e9
    assert exemplar.value == pytest.approx(took_s, abs=1e-9)
    assert exemplar.value <= float(sample.labels["le"])
    ended_s = span.item.end_time_unix_nano / 1e9
    assert float(exemplar.timestamp) == pytest.approx(ended_s, abs=1e-3)


def exemplars(receiver: Receiver) -> list[Any]:
    """Those that were pushed."""
    return [
        exemplar
        for one in receiver.metrics
        if one.item.name == "rpc.server.call.duration"
        for point in one.item.histogram.data_points
        for exemplar in point.exemplars
    ]


def test_where_nothing_is_exported_a_call_is_told_that_is_remembered(tmp_path: Path) -> None:
    with Server(tmp_path) as server, grpc.insecure_channel(server.lane) as channel:
        call(channel, 0, sampled=True)
        call(channel, 3, sampled=False)
        end_s = time.monotonic() + 20
        while not (found := [s.exemplar for s in scraped_buckets(server) if s.exemplar]):
            assert time.monotonic() < end_s
    assert {one.labels["trace_id"] for one in found} == {(PARENT % (0, 1)).split("-")[1]}


def scraped_buckets(server: Server) -> list[Sample]:
    return list(buckets(page(f"{server.http}/metrics", OPENMETRICS)[2]))


def test_where_nothing_is_remembered_either_there_are_none(tmp_path: Path) -> None:
    with Server(tmp_path, "--set", "telemetry.captured=0") as server:
        with grpc.insecure_channel(server.lane) as channel:
            call(channel, 0, sampled=True)
        text = page(f"{server.http}/metrics", OPENMETRICS)[2]
    assert sum(sample.value for sample in buckets(text)) > 0
    assert not any(sample.exemplar for sample in buckets(text))


def test_what_no_receiver_took_is_none(tmp_path: Path) -> None:
    """The receiver is gone before anything is exported."""
    with Receiver() as receiver:
        variables = environment(receiver)
    variables |= {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.2", "OTEL_METRICS_EXPORTER": "none"}
    with Server(tmp_path, environment=variables) as server:
        with grpc.insecure_channel(server.lane) as channel:
            call(channel, 0, sampled=True)
        lost = 0.0
        while not lost:
            text = page(f"{server.http}/metrics", OPENMETRICS)[2]
            families = text_string_to_metric_families(text)
            [family] = [one for one in families if one.name == "nextbest_spans_dropped"]
            lost = sum(s.value for s in family.samples if s.labels["reason"] == "export_failed")
    assert not any(sample.exemplar for sample in buckets(text))
