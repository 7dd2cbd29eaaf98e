"""Overload: less read at once, calls refused that waited too long, and all of it over again."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from nextbest.core import Engine
from nextbest.core.lane.settings import LaneSettings, OverloadBounds
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from tests.lane.target import DECIDE, HEALTH, PLAYBOOK, decide
from tests.lane.wire import OK, RESOURCE_EXHAUSTED, Peer, call

RETRY_MS = 1_250
# Four calls of it are over every bound, however fast the machine.
SLOW = OverloadBounds(
    target_ms=1,
    no_scoring_ms=1,
    fallback_ms=1,
    refuse_ms=2,
    # Long enough to look at what is left of it.
    interval_ms=100,
    retry_ms=RETRY_MS,
    test_call_us=10_000,
)
CALLS = 200
WAIT_S = 20.0
STREAMS_MAX = 32
CONNECTIONS = 24
WAVES = 10
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


@contextmanager
def served(bounds: OverloadBounds) -> Iterator[tuple[Any, str, Engine]]:
    """A lane of this process, its address and its engine."""
    from nextbest.core.lane_native import Lane

    engine = Engine()
    plan = compile_playbook(read_folder(PLAYBOOK)).plan
    assert plan
    engine.publish(plan)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        settings = LaneSettings(overload=bounds, streams_max=STREAMS_MAX)
        lane = Lane(engine.door(), [listening.fileno()], settings, "nobody")
        lane.set_serving(True)
        thread = threading.Thread(target=lane.run)
        thread.start()
        try:
            yield lane, f"127.0.0.1:{listening.getsockname()[1]}", engine
        finally:
            lane.stop()
            thread.join(WAIT_S)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def flood(address: str, calls: int) -> tuple[Counter[grpc.StatusCode], list[status_pb2.Status]]:
    """How calls made all at once ended, and the details of those that failed."""
    codes: Counter[grpc.StatusCode] = Counter()
    details = []
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(DECIDE)
        for each in [ask.future(decide("home"), timeout=WAIT_S) for _ in range(calls)]:
            codes[each.code()] += 1
            if each.code() is not grpc.StatusCode.OK:
                trailers = dict(each.trailing_metadata())
                details.append(status_pb2.Status.FromString(trailers["grpc-status-details-bin"]))
    return codes, details


def test_what_waited_too_long_is_refused_with_a_time_to_come_again() -> None:
    with served(SLOW) as (lane, address, engine):
        codes, details = flood(address, CALLS)
        sheds = lane.overload().sheds
        until(lambda: sum(sum(one.buckets) for one in engine.telemetry.calls()) == CALLS)
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    refused = codes[grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert {method: count for method, count in sheds.items() if count} == {"Decide": refused}
    counted = {one.code: sum(one.buckets) for one in engine.telemetry.calls()}
    assert counted == {OK: CALLS - refused, RESOURCE_EXHAUSTED: refused}
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert details[0].details[0].Unpack(info)
    assert details[0].details[1].Unpack(retry)
    assert (info.reason, info.domain) == ("OVERLOADED", "nextbest")
    assert retry.retry_delay.ToMilliseconds() == RETRY_MS


def test_less_is_read_first_and_all_again_later() -> None:
    with served(SLOW) as (lane, address, _engine), Peer(address) as peer:
        before = lane.overload().read_bytes
        flood(address, CALLS)
        assert SLOW.read_bytes_least <= lane.overload().read_bytes < before
        until(lambda: lane.overload()[:2] == (0, before))
        assert call(peer, DECIDE, decide("home")).status == OK


def test_health_is_told_under_overload() -> None:
    with served(SLOW) as (lane, address, _engine), grpc.insecure_channel(address) as channel:
        busy = channel.unary_unary(DECIDE)
        calls = [busy.future(decide("home"), timeout=WAIT_S) for _ in range(CALLS)]
        until(lambda: any(lane.overload().sheds.values()))
        assert channel.unary_unary(HEALTH)(b"", timeout=WAIT_S) == b"\x08\x01"
        assert {each.code() for each in calls} == {
            grpc.StatusCode.OK,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }


def test_nothing_is_done_where_it_is_switched_off() -> None:
    bounds = OverloadBounds(enabled=False, test_call_us=3_000)
    with served(bounds) as (lane, address, _engine):
        codes, _ = flood(address, CALLS)
        assert lane.overload()[0] == 0
        assert not any(lane.overload().sheds.values())
    assert codes == {grpc.StatusCode.OK: CALLS}


def test_a_burst_that_goes_by_itself_is_served_whole() -> None:
    with served(OverloadBounds(interval_ms=10_000)) as (lane, address, _engine):
        codes, _ = flood(address, CALLS)
        assert lane.overload().level == 0
    assert codes == {grpc.StatusCode.OK: CALLS}


def test_a_call_that_a_turn_has_cut_is_read_to_its_end() -> None:
    """With many connections a turn is long, and the rest of a call would wait for the next."""
    bounds = OverloadBounds(target_ms=1, refuse_ms=10_000, read_bytes_least=256, test_call_us=3_000)
    with served(bounds) as (lane, address, engine), ExitStack() as stack:
        channels = [grpc.insecure_channel(address, OWN_CONNECTION) for _ in range(CONNECTIONS)]
        asks = [stack.enter_context(one).unary_unary(DECIDE) for one in channels]
        while lane.overload().read_bytes > bounds.read_bytes_least:
            large_calls(asks)
        before = engine.telemetry.steps()["Decide"]["receive"]
        for _ in range(WAVES):
            large_calls(asks)
        received_s = engine.telemetry.steps()["Decide"]["receive"] - before
    assert received_s / (WAVES * CONNECTIONS) < bounds.test_call_us / 1e6


def large_calls(asks: list[Any]) -> None:
    """One call over each connection, which takes more than a turn reads."""
    more = [("x-more-bin", os.urandom(300))]
    calls = [ask.future(decide("home"), timeout=WAIT_S, metadata=more) for ask in asks]
    for each in calls:
        each.result()
