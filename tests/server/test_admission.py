"""Overload over grpc.aio: the ladder by how long calls wait, and what is never refused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from nextbest.bench.result import result
from nextbest.bench.run import run
from nextbest.bench.settings import Settings
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.core.errors import OverloadedError
from nextbest.core.lane.settings import OverloadBounds
from nextbest.server.rpc.admission import CALM_LOOKS, REFUSE, SLOWER, Admission
from nextbest.server.rpc.status import status_of
from tests.lane.target import HEALTH
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import Scrape, scraped

BOUNDS = OverloadBounds(target_ms=2, no_scoring_ms=4, fallback_ms=8, refuse_ms=16, interval_ms=5)
NO_SCORING_S, FALLBACK_S, REFUSE_S = (SLOWER * ms / 1_000 for ms in (5, 9, 17))
CALM_S = 0.0
METHOD = "nextbest.v1.DecisionService/Decide"
RETRY_MS = 150
# 256 calls at once make a turn that is over every bound, however fast the machine.
SMALL = {"target_ms": 1, "no_scoring_ms": 1, "fallback_ms": 1, "refuse_ms": 1, "interval_ms": 5}
FLOOD_S = 1.0
# On a busy machine the calls of one may come too slowly.
FLOODS_MAX = 5
ABOUT = "/nextbest.v1.ServerService/GetServer"


def levels(*waits_s: float) -> list[int]:
    """The level after each interval with such a wait."""
    admission = Admission(BOUNDS)
    found = []
    for wait_s in waits_s:
        admission.look(wait_s)
        found.append(admission.load().level)
    return found


def test_a_burst_that_goes_by_itself_changes_nothing() -> None:
    assert levels(REFUSE_S, CALM_S, REFUSE_S, CALM_S) == [0, 0, 0, 0]


def test_the_level_rises_with_the_wait_and_not_before_it_lasts() -> None:
    assert levels(NO_SCORING_S, NO_SCORING_S, FALLBACK_S, REFUSE_S) == [0, 1, 2, 3]


def test_the_level_falls_step_by_step_when_all_is_calm() -> None:
    calm = [CALM_S] * CALM_LOOKS
    assert levels(REFUSE_S, REFUSE_S, *calm, *calm, *calm)[1::CALM_LOOKS] == [3, 2, 1, 0]
    # Neither overloaded nor at rest.
    assert set(levels(REFUSE_S, REFUSE_S, *[NO_SCORING_S / 2] * 50)[1:]) == {3}


def test_calls_are_told_what_to_leave_out_and_a_share_is_refused() -> None:
    admission = Admission(BOUNDS)
    refuse_s = SLOWER * BOUNDS.refuse_ms / 1_000
    engine = Engine()
    outcomes: list[int] = []
    for _ in range(2):
        admission.look(4 * refuse_s)
    for _ in range(100):
        call = engine.begin_call("Track")
        try:
            admission.begin("Track", call)
        except OverloadedError:
            outcomes.append(REFUSE)
        else:
            outcomes.append(call.leave)
    # Three of four, so that the rest waits for as long as is allowed.
    assert Counter(outcomes) == {REFUSE: 75, 2: 25}
    assert admission.load().sheds == {("Track", "queue_delay"): 75}
    admission.look(refuse_s / 2)
    call = engine.begin_call("Track")
    admission.begin("Track", call)
    assert call.leave == 2


def test_nothing_is_done_where_it_is_switched_off() -> None:
    asyncio.run(asyncio.wait_for(Admission(OverloadBounds(enabled=False)).run("unix:none"), 10))


def flood(address: str) -> Counter[str]:
    """How the calls of a closed loop end, beside which health and the server's own are asked."""
    settings = Settings(
        to=(address,),
        closed=True,
        connections=8,
        streams=32,
        duration=FLOOD_S,
        warmup=0,
        drain=20,
        probe=0,
        scores=(),
        context=(),
    )
    with ThreadPoolExecutor(1) as pool, grpc.insecure_channel(address) as channel:
        running = pool.submit(run, settings)
        health, about = channel.unary_unary(HEALTH), channel.unary_unary(ABOUT)
        while not running.done():
            assert health(b"", timeout=20) == b"\x08\x01"
            assert about(b"", timeout=20)
    return Counter(result(running.result())["statusCodeDistribution"])


def until_told(server: Server, text: str) -> None:
    """Wait for a line of the log."""
    end_s = time.monotonic() + 20
    while text not in server.printed():
        assert time.monotonic() < end_s, server.printed()
        time.sleep(0.02)


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
def test_late_calls_are_refused_counted_and_told_when_to_come_again(tmp_path: Path) -> None:
    arguments = [one for key, n in SMALL.items() for one in ("--set", f"overload.{key}={n}")]
    with Server(tmp_path, *arguments) as server:
        codes: Counter[str] = Counter()
        for _ in range(FLOODS_MAX):
            codes += flood(server.address)
            if codes["ResourceExhausted"]:
                break
        found = Scrape(server.http)
        scraped(server.http, lambda now: now.value("nextbest_overload_level", lane="grpc") == 0)
        until_told(server, "overload of the grpc lane is over, calls refused: ")
    assert set(codes) == {"OK", "ResourceExhausted"}
    assert codes["OK"] > 0
    refused = codes["ResourceExhausted"]
    labels = {"lane": "grpc", "rpc_method": METHOD}
    assert found.value("nextbest_shed_calls_total", reason="queue_delay", **labels) == refused
    for name, count in (("OK", codes["OK"]), ("RESOURCE_EXHAUSTED", refused)):
        labels["rpc_response_status_code"] = name
        assert found.value("rpc_server_call_duration_seconds_count", **labels) == count


def test_a_refusal_says_why_and_when_to_come_again() -> None:
    status = status_of(OverloadedError(RETRY_MS))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, retry.retry_delay.ToMilliseconds()) == ("OVERLOADED", RETRY_MS)
