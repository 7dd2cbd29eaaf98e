"""What a lane counts of its calls, and which of them it keeps for a trace."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from nextbest.core import Engine
from nextbest.core.errors import InvalidRequestError
from nextbest.core.lane.settings import LaneSettings
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from nextbest.v1 import decision_pb2
from tests.lane.target import BATCH, DECIDE, PLAYBOOK, TRACK, batch, decide, track

BOUNDS_S = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-%02x"
RING = 1_024


@contextmanager
def served(**configured: Any) -> Iterator[tuple[Engine, grpc.Channel, str]]:
    """An engine whose calls one lane of this process serves, a channel to it and its address."""
    from nextbest.core.lane_native import Lane

    engine = Engine()
    plan = compile_playbook(read_folder(PLAYBOOK)).plan
    assert plan
    engine.publish(plan)
    if configured:
        engine.telemetry.configure(BOUNDS_S, configured.pop("objectives", {}), **configured)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        lane = Lane(engine.door(), [listening.fileno()], LaneSettings(), "nobody")
        thread = threading.Thread(target=lane.run)
        thread.start()
        try:
            address = f"127.0.0.1:{listening.getsockname()[1]}"
            with grpc.insecure_channel(address) as channel:
                yield engine, channel, address
        finally:
            lane.drain(1_000)
            thread.join(10)


def made(channel: grpc.Channel, method: str, request: bytes, *headers: tuple[str, str]) -> bytes:
    """The answer of one call."""
    answer: bytes = channel.unary_unary(method)(request, timeout=5, metadata=headers)
    return answer


def test_every_call_is_counted_once_with_its_code_and_time() -> None:
    with served(ratio=0.0) as (engine, channel, _address):
        for number in range(20):
            made(channel, DECIDE, decide("home"))
            made(channel, TRACK, track(f"e{number}", ack=1))
        made(channel, BATCH, batch(3))
        with pytest.raises(grpc.RpcError, match="nowhere"):
            made(channel, DECIDE, decide("nowhere"))
    counted = {(one.method, one.code): one for one in engine.telemetry.calls()}
    calls = {key: sum(one.buckets) for key, one in counted.items()}
    assert calls == {("Decide", 0): 20, ("Track", 0): 20, ("DecideBatch", 0): 1, ("Decide", 3): 1}
    assert all(len(one.buckets) == len(BOUNDS_S) + 1 for one in counted.values())
    assert 0 < counted["Decide", 0].seconds < 20
    steps = engine.telemetry.steps()
    assert steps["Track"]["apply"] > 0 == steps["Track"]["score"]
    assert all(steps["Decide"][name] > 0 for name in ("parse", "eligibility", "encode", "send"))
    assert sum(steps["Decide"].values()) == pytest.approx(
        counted["Decide", 0].seconds + counted["Decide", 3].seconds, rel=1e-6
    )


def test_a_caller_that_samples_has_its_call_kept_with_its_context() -> None:
    with served(ratio=0.0) as (engine, channel, _address):
        made(channel, DECIDE, decide("home"), ("traceparent", PARENT % 0))
        answer = made(
            channel, DECIDE, decide("home"), ("traceparent", PARENT % 1), ("tracestate", "a=1")
        )
    (kept,) = engine.telemetry.take()
    assert (kept.method, kept.code, kept.reasons) == ("Decide", 0, ("sampled",))
    assert kept.traceparent == (PARENT % 1).encode()
    assert kept.tracestate == b"a=1"
    assert kept.answer == answer
    assert decision_pb2.DecideResponse.FromString(kept.answer).decision_id
    assert not kept.answer_cut
    assert len(kept.random) == 16


@pytest.mark.parametrize("flags", range(0x10))
def test_the_flag_is_the_lowest_bit(flags: int) -> None:
    with served(ratio=0.0) as (engine, channel, _address):
        made(channel, DECIDE, decide("home"), ("traceparent", PARENT % flags))
    assert len(engine.telemetry.take()) == flags % 2


def test_errors_and_slow_calls_are_kept_whoever_sampled() -> None:
    with served(ratio=0.0, objectives={"Track": BOUNDS_S[0]}) as (engine, channel, _address):
        with pytest.raises(grpc.RpcError):
            made(channel, DECIDE, decide("nowhere"), ("traceparent", PARENT % 0))
        for number in range(5):
            # No call over a socket from headers to answer takes under ten microseconds twice.
            made(channel, TRACK, track(f"e{number}", ack=1))
    kept = engine.telemetry.take()
    assert ("Decide", 3, ("error",), "UNKNOWN_NAME") in {
        (one.method, one.code, one.reasons, one.reason) for one in kept
    }
    over = sum(sum(one.buckets[1:]) for one in engine.telemetry.calls() if one.method == "Track")
    assert sum(one.reasons == ("slow",) for one in kept) == over > 0


def test_a_share_of_calls_is_sampled_by_chance() -> None:
    with served(ratio=0.25) as (engine, channel, _address):
        for _ in range(800):
            made(channel, DECIDE, decide("home"))
        # A caller's own decision counts.
        made(channel, DECIDE, decide("home"), ("traceparent", PARENT % 0))
    kept = engine.telemetry.take()
    # Six standard deviations.
    assert 126 < len(kept) < 274
    assert len({one.random for one in kept}) == len(kept)


@pytest.mark.parametrize(
    ("low", "kept"),
    [
        ("0000000000000001", 1),
        ("3fffffffffffffff", 1),
        ("4000000000000000", 0),
        ("abcdef0123456789", 0),
        ("ffffffffffffffff", 0),
    ],
)
def test_a_ratio_of_all_calls_looks_at_the_trace(low: str, kept: int) -> None:
    parent = f"00-0af7651916cd43dd{low}-b7ad6b7169203331-0{1 - kept}"
    with served(ratio=0.25, parent_based=False) as (engine, channel, _address):
        for _ in range(3):
            made(channel, DECIDE, decide("home"), ("traceparent", parent))
    assert len(engine.telemetry.take()) == 3 * kept


def test_what_finds_the_ring_full_is_counted() -> None:
    with served(ratio=1.0) as (engine, channel, _address):
        for _ in range(RING + 100):
            made(channel, DECIDE, decide("home"))
    assert engine.telemetry.dropped == 100
    assert engine.telemetry.kept()["Decide"] == RING + 100
    assert sum(len(engine.telemetry.take(500)) for _ in range(4)) == RING


def test_decisions_of_all_threads_are_added_up() -> None:
    with served() as (engine, channel, _address):
        for _ in range(5):
            made(channel, DECIDE, decide("home", "inbox"))
        made(channel, BATCH, batch(3))
        engine.decide(decide("inbox"), 1_780_000_000_000_000)
    counts = engine.telemetry.decisions()
    assert counts.decisions == {"home": 8, "inbox": 6}
    assert sum(n for (name, _), n in counts.propositions.items() if name == "home") >= 8


@pytest.mark.parametrize(
    ("bounds_s", "objectives", "ratio", "field"),
    [
        ((), {}, 0.0, "bounds_s"),
        ((0.2, 0.1), {}, 0.0, "bounds_s"),
        ((0.0, 0.1), {}, 0.0, "bounds_s"),
        (tuple(range(1, 70)), {}, 0.0, "bounds_s"),
        ((0.1,), {"Decide": 0.2}, 0.0, "objectives_s"),
        ((0.1,), {"Guess": 0.1}, 0.0, "objectives_s"),
        ((0.1,), {}, 1.5, "ratio"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    bounds_s: tuple[float, ...], objectives: dict[str, float], ratio: float, field: str
) -> None:
    with pytest.raises(InvalidRequestError, match=field):
        Engine().telemetry.configure(bounds_s, objectives, ratio=ratio)
