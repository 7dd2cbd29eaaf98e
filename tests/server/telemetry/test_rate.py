"""Many calls at once: those worth a trace are exported, and each that is lost is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest

from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.core.engine import KeptCall
from nextbest.server.telemetry.kept import KeptCalls
from nextbest.server.telemetry.trace.settings import TraceSettings
from nextbest.server.telemetry.trace.spans import span_count
from nextbest.server.telemetry.trace.tracing import Tracing
from tests.lane.target import DECIDE, decide
from tests.lane.test_telemetry import served
from tests.lane.wire import Peer, data_frames, message, request
from tests.server.telemetry.otlp import Receiver

pytestmark = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)

REQUESTS, SLOW, SAMPLED = 10_000, 100, 50
# Far above what a call takes, on a machine that does other things as well.
OBJECTIVE_S = 1.0
PARENT = "00-{:032x}-b7ad6b7169203331-0{}"
# What no span is lost at, with the default queue.
CALLS_PER_S, BURST = 1_000, 1_000

Told = list[KeptCall]


@contextmanager
def traced(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, receiver: Receiver
) -> Iterator[tuple[Tracing, Told]]:
    """Export the kept calls of an engine; all of them were exported or counted at the end."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{receiver.address}")
    tracing = Tracing(TraceSettings(exporter="otlp"), ())
    told: Told = []
    kept = KeptCalls(engine.telemetry, {"told": told.extend, "traces": tracing.tell})
    tracing.start()
    kept.start()
    try:
        yield tracing, told
    finally:
        kept.stop()
        tracing.stop()


def calls(channel: grpc.Channel, count: int, parent: Callable[[int], str] | None = None) -> None:
    """Make so many, some of them at the same time."""
    method = channel.unary_unary(DECIDE)
    for start in range(0, count, 100):
        made = [
            method.future(
                decide("home"),
                timeout=30,
                metadata=(("traceparent", parent(start + number)),) if parent else (),
            )
            for number in range(min(100, count - start))
        ]
        for one in made:
            one.result()


def slow_calls(peer: Peer, numbers: range) -> Callable[[], None]:
    """Send their headers; what is returned sends the rest, and takes the answers."""
    streams = {}
    for number in numbers:
        stream = streams[number] = peer.stream()
        headers = request(DECIDE, [("traceparent", PARENT.format(number, 0))])
        peer.send(peer.headers(stream, headers))

    def finish() -> None:
        for stream in streams.values():
            peer.send(*data_frames(stream, message(decide("home"))))
        for stream in streams.values():
            assert peer.answer(stream, 30).status == 0

    return finish


def test_of_ten_thousand_the_slow_and_the_sampled_are_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = range(1, 1 + SLOW)
    sampled = range(1_001, 1_001 + SAMPLED)
    with (
        Receiver() as receiver,
        served(ratio=0.0, objectives={"Decide": OBJECTIVE_S}) as (engine, channel, address),
        traced(monkeypatch, engine, receiver) as (tracing, told),
        Peer(address) as peer,
    ):
        finish = slow_calls(peer, slow)
        begun_s = time.monotonic()
        calls(channel, REQUESTS - SLOW - SAMPLED)
        calls(channel, SAMPLED, lambda number: PARENT.format(sampled[number], 1))
        time.sleep(max(begun_s + 1.2 * OBJECTIVE_S - time.monotonic(), 0))
        finish()
    spans = [one for one in receiver.spans if one.item.kind == 2]
    reasons = {
        int.from_bytes(one.item.trace_id): tuple(one.attributes["nextbest.kept_for"])
        for one in spans
    }
    assert reasons == dict.fromkeys(slow, ("slow",)) | dict.fromkeys(sampled, ("sampled",))
    assert len(spans) == SLOW + SAMPLED
    assert sum(sum(one.buckets) for one in engine.telemetry.calls()) == REQUESTS
    assert engine.telemetry.dropped == sum(tracing.lost().values()) == 0
    assert len(receiver.spans) == tracing.exported == sum(map(span_count, told))
    linked = [one for one in spans if one.attributes["nextbest.kept_for"] == ["slow"]]
    assert all(len(one.item.links) == 1 for one in linked)
    received = [one for one in receiver.spans if one.item.name == "receive"]
    assert sum(took_s(one) > OBJECTIVE_S for one in received) == SLOW


def took_s(span: object) -> float:
    item = span.item  # type: ignore[attr-defined]
    return (item.end_time_unix_nano - item.start_time_unix_nano) / 1e9


def test_nothing_is_lost_at_the_stated_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Receiver() as receiver,
        served(ratio=1.0) as (engine, channel, _address),
        traced(monkeypatch, engine, receiver) as (tracing, told),
    ):
        for _ in range(4):
            begun_s = time.monotonic()
            calls(channel, BURST)
            time.sleep(max(begun_s + BURST / CALLS_PER_S - time.monotonic(), 0))
    assert engine.telemetry.dropped == sum(tracing.lost().values()) == 0
    assert len(told) == 4 * BURST
    assert len(receiver.spans) == sum(map(span_count, told))


def test_what_is_lost_beyond_it_is_what_the_counters_say(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 6_000
    with (
        Receiver() as receiver,
        served(ratio=1.0) as (engine, channel, _address),
        traced(monkeypatch, engine, receiver) as (tracing, told),
    ):
        with receiver.door:
            calls(channel, count)
            time.sleep(0.2)
        assert tracing.lost()["queue_full"] > 0
    lost = tracing.lost()
    assert len(told) + engine.telemetry.dropped == count
    assert len(receiver.spans) == tracing.exported
    assert tracing.exported + sum(lost.values()) == sum(map(span_count, told))
    assert lost["export_failed"] == lost["stopped"] == 0
