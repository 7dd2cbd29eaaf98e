"""Calls that a server remembers, and `nextbest trace`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from nextbest.client import Client
from nextbest.client.errors import InvalidArgumentError, NextbestError
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.core.engine import KeptCall
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.trace.captured import CALL_BYTES, Captured
from tests.lane.target import BATCH, DECIDE, batch, decide
from tests.server.telemetry.process import COMMAND, STOP_S, Server

needs_lane = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as made:
        yield made


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "trace", "--to", server.address, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=STOP_S,
    )


def made(address: str, method: str, request: bytes, parent: str = PARENT) -> None:
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(method)(request, timeout=10, metadata=(("traceparent", parent),))


@needs_lane
def test_a_call_is_shown_step_by_step(server: Server) -> None:
    made(server.lane, DECIDE, decide("home"))
    made(server.address, BATCH, batch(3))
    with pytest.raises(grpc.RpcError):
        made(server.lane, DECIDE, decide("nowhere"), PARENT[:-1] + "0")
    with Client(server.address) as client:
        while len(client.traces().calls) < 3:
            pass
        calls = client.trace(TRACE).calls
        listed = client.traces(limit=2).calls
    found = {(one.method.rpartition("/")[2], one.code, one.lane) for one in calls}
    assert found == {
        ("Decide", "OK", "fast"),
        ("DecideBatch", "OK", "grpc"),
        ("Decide", "INVALID_ARGUMENT", "fast"),
    }
    assert [one.code for one in listed] == ["INVALID_ARGUMENT", "OK"]
    assert not listed[0].steps
    for one in calls:
        assert (one.trace_id, one.parent_span_id) == (TRACE, "b7ad6b7169203331")
        at_ns = 0
        for step in one.steps:
            assert step.after.ToNanoseconds() == at_ns
            at_ns += step.took.ToNanoseconds()
        assert at_ns == one.took.ToNanoseconds() > 0
        assert any(step.summed for step in one.steps) == one.method.endswith("Batch")
    decided = next(one for one in calls if (one.lane, one.code) == ("fast", "OK"))
    assert decided.attributes["nextbest.placements"] == "home"
    assert list(decided.kept_for) == ["sampled"]

    with Client(server.address) as client:
        failed = client.traces(kept_for="error", method="Decide").calls
        sampled = client.traces(kept_for="sampled", code="OK", limit=1).calls
    assert {one.code for one in failed} == {"INVALID_ARGUMENT"}
    assert [(one.code, one.method.rpartition("/")[2]) for one in sampled] == [("OK", "DecideBatch")]
    assert "no such call is" in command(server, "--method", "track").stdout
    assert command(server, "--code", "invalid_argument").stdout.count(TRACE) == 1

    table = command(server)
    assert table.returncode == 0
    assert table.stdout.count(TRACE) == 3
    waterfall = command(server, TRACE.upper())
    assert waterfall.stdout.count("Decide OK") == 1
    assert "█" in waterfall.stdout
    assert "eligibility (sum)" in waterfall.stdout
    assert "nextbest.error.reason UNKNOWN_NAME" in waterfall.stdout
    as_json = json.loads(command(server, TRACE, "--json").stdout)
    assert {one["trace_id"] for one in as_json["calls"]} == {TRACE}
    assert "nowhere" not in waterfall.stdout + str(as_json)


@needs_lane
def test_a_trace_that_is_not_here_is_told(server: Server) -> None:
    absent = command(server, "1" * 32)
    assert (absent.returncode, "no call of it is remembered" in absent.stderr) == (1, True)
    with Client(server.address) as client:
        with pytest.raises(InvalidArgumentError, match="trace_id"):
            client.trace("x")
        with pytest.raises(NextbestError, match="limit"):
            client.traces(limit=1_001)
        with pytest.raises(InvalidArgumentError, match="kept_for: 4 characters, allowed: sampled"):
            client.traces(kept_for="fast")
    both = command(server, "1" * 32, "--kept-for", "slow")
    assert (both.returncode, "give an id, or an option" in both.stderr) == (2, True)
    wrong = command(server, "--kept-for", "fast")
    assert (wrong.returncode, "'fast', allowed: sampled, slow" in wrong.stderr) == (2, True)


@needs_lane
def test_several_nodes_are_asked_each(server: Server, tmp_path: Path) -> None:
    id = "5" * 32
    with Server(tmp_path) as other:
        both = "--to", f"{server.address},{other.address}"
        made(other.lane, DECIDE, decide("home"), f"00-{id}-b7ad6b7169203331-01")
        listed, found, absent = (command(server, *one, *both) for one in ((), (id,), ("1" * 32,)))
    assert listed.stdout.startswith(f"{server.address}:\n")
    assert f"\n{other.address}:\n" in listed.stdout
    assert found.stdout.startswith(f"{other.address}:\nDecide OK")
    assert absent.returncode == 1


@needs_lane
def test_nothing_is_kept_where_nothing_is_to_be_remembered(tmp_path: Path) -> None:
    with Server(tmp_path, "--set", "telemetry.captured=0") as server:
        made(server.lane, DECIDE, decide("home"))
        assert "no such call is remembered" in command(server).stdout


@pytest.mark.parametrize(("sampler", "count"), [("", 0), ("always_on", 1), ("always_off", 0)])
def test_a_sampler_that_is_named_samples_without_an_export(
    tmp_path: Path, sampler: str, count: int
) -> None:
    with Server(tmp_path, environment={"OTEL_TRACES_SAMPLER": sampler}) as server:
        made(server.address, DECIDE, decide("home"), PARENT[:-1] + "0")
        # Whoever failed is remembered, and what was before it with it.
        with pytest.raises(grpc.RpcError):
            made(server.address, DECIDE, decide("nowhere"), PARENT[:-1] + "0")
        codes: list[str] = []
        with Client(server.address) as client:
            while "INVALID_ARGUMENT" not in codes:
                codes = [one.code for one in client.traces().calls]
    assert codes == ["INVALID_ARGUMENT", *["OK"] * count]


def kept(count: int, code: int, slow: bool = False) -> list[KeptCall]:
    engine = Engine()
    least_s = bounds_s()[0]
    engine.telemetry.configure(bounds_s(), {"Decide": least_s} if slow else {}, ratio=1.0)
    for _ in range(count):
        call = engine.begin_call("Decide")
        if slow:
            time.sleep(2 * least_s)
        call.end(code)
    return engine.telemetry.take()


def test_many_of_one_kind_do_not_push_out_the_others() -> None:
    captured = Captured(12)
    failed, slow = kept(3, code=13), kept(2, code=0, slow=True)
    assert {one.reasons for one in slow} == {("sampled", "slow")}
    captured.tell(failed + slow)
    captured.tell(kept(100, code=0))
    # What callers do wrong.
    captured.tell(kept(100, code=3))
    assert [one for one in captured.calls() if one.code == 13] == failed
    assert [one for one in captured.calls() if "slow" in one.reasons] == slow
    assert len(captured.calls()) == 12


def test_long_calls_do_not_push_out_short_ones() -> None:
    captured = Captured(1_000, bytes_max=20 * CALL_BYTES)
    short = kept(5, code=13)
    captured.tell(short)
    captured.tell([one._replace(answer=b"a" * 3 * CALL_BYTES) for one in kept(100, code=0)])
    assert [one for one in captured.calls() if one.code == 13] == short
    assert len(captured.calls()) == 5 + 3


def test_one_kind_alone_has_all_the_room() -> None:
    captured = Captured(10)
    captured.tell(kept(100, code=0))
    last = kept(10, code=0)
    captured.tell(last)
    assert captured.calls() == last


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    captured = Captured(1_000, bytes_max=10 * CALL_BYTES)
    captured.tell(kept(100, code=13))
    assert len(captured.calls()) == 10
    captured.tell([one._replace(answer=b"a" * 3 * CALL_BYTES) for one in kept(3, code=13)])
    assert len(captured.calls()) == 2
