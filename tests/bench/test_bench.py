"""The load harness against servers that behave, stall, refuse and leave."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))

from frames import REFUSED_STREAM, RST_STREAM, Server, answer, frame, leaving, stalling

from nextbest.bench.errors import MISSING, OptionError, RequestsError, UnreachableError

generator = pytest.importorskip("nextbest.bench.generator", reason=MISSING, exc_type=ImportError)

from nextbest.bench.compare import comparison  # noqa: E402
from nextbest.bench.find_max import Search, find_max  # noqa: E402
from nextbest.bench.live import live  # noqa: E402
from nextbest.bench.options import seconds  # noqa: E402
from nextbest.bench.result import at, percentile, read, result  # noqa: E402
from nextbest.bench.run import run  # noqa: E402
from nextbest.bench.settings import Settings  # noqa: E402
from nextbest.bench.workload import DECIDE, TRACK, read_mix, read_requests, workload  # noqa: E402
from nextbest.v1 import decision_pb2, event_pb2  # noqa: E402

COMMAND = [sys.executable, "-m", "nextbest.bench"]
# Short, and without looking at the cores.
QUICK: dict[str, Any] = {"duration": 0.4, "warmup": 0.05, "probe": 0, "connections": 2}


def measured(address: str, **settings: Any) -> dict[str, Any]:
    """The result of a short run."""
    return result(run(Settings(**{"to": (address,), **QUICK, **settings}), look_s=0.05))


def command(*arguments: str, code: int = 0) -> tuple[str, str]:
    """Run the command: its two outputs."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def status_of(found: dict[str, Any]) -> dict[str, int]:
    """How many calls ended how."""
    counts: dict[str, int] = found["statusCodeDistribution"]
    return counts


def test_an_open_loop_makes_the_calls_that_are_due_and_no_others() -> None:
    with Server() as server:
        found = measured(server.address, rate=1_000, duration=0.5, warmup=0.1)
        assert status_of(found) == {"OK": 500}
        assert found["count"] == 500
        # A hundred more were due in the warm-up; a connection's first call may be its last.
        assert server.calls == 600
        assert found["connections"]["opened"] == server.connections == 2
        assert found["parts"][0]["answerBytes"] == {"least": 9, "average": 9, "most": 9}
        assert sum(one["count"] for one in found["intervals"]) == 500


def test_a_closed_loop_makes_as_many_calls_as_it_is_told() -> None:
    with Server() as server:
        found = measured(server.address, closed=True, calls=777, warmup=0, streams=4)
        assert status_of(found) == {"OK": 777}
        assert server.calls == 777


def test_a_server_may_allow_fewer_streams_than_are_wanted() -> None:
    with Server(streams=1) as server:
        found = measured(server.address, closed=True, calls=200, warmup=0, streams=50)
        assert status_of(found) == {"OK": 200}


def test_connections_are_replaced_after_so_many_calls() -> None:
    with Server() as server:
        options = {"connection_calls": 7, "warmup": 0, "streams": 4, "server_pid": (os.getpid(),)}
        found = measured(server.address, closed=True, calls=700, **options)
        assert status_of(found) == {"OK": 700}
        # Those opened for the last calls may not have been ready in time.
        assert 100 <= found["connections"]["opened"] <= server.connections <= 102
        assert found["connections"]["lost"] == found["connections"]["goaway"] == 0
    cost = found["servers"][0]
    assert (cost["pid"], cost["ended"]) == (os.getpid(), False)
    # This process is generator and server: it cannot have used less than some microseconds.
    assert 1_000 < cost["cpuPerCall"] == pytest.approx(cost["cpu"] / 700, abs=1)
    assert cost["rssAfter"] > 10**6
    assert cost["fdsAfter"] > 3


def test_percentiles_are_those_of_the_raw_latencies_within_a_bucket() -> None:
    with Server() as server:
        found = measured(server.address, rate=2_000, duration=0.5, details=100_000)
    raw = numpy.array([one["latency"] for one in found["details"]])
    assert len(raw) == found["count"] == 1_000
    for one in (1, 10, 50, 75, 90, 99, 99.9, 100):
        exact = int(numpy.percentile(raw, one - 1e-9, method="inverted_cdf"))
        assert exact <= percentile(found, one) <= exact * (1 + 2**-10)
    assert found["fastest"] == raw.min()
    assert found["slowest"] == raw.max()
    assert found["average"] == round(raw.mean())


def test_buckets_of_a_histogram_follow_each_other_without_a_hole() -> None:
    buckets = [(0, 1, 50), (7, 1, 49), (4_096, 4, 1)]
    assert [at(buckets, one) for one in (1, 50, 50.1, 99, 99.1, 100)] == [0, 0, 7, 7, 4_099, 4_099]


def test_a_stall_counts_for_every_call_that_was_due_meanwhile() -> None:
    """A closed loop would have one slow call; half of those that were due waited for the stall."""
    with Server(stalling(after=200, seconds=0.25)) as server:
        found = measured(server.address, rate=1_000, duration=0.5, connections=1, details=10_000)
    assert status_of(found) == {"OK": 500}
    slow = [one["latency"] for one in found["details"] if one["latency"] > 10e6]
    # A busy machine may make more of them slow, never fewer.
    assert len(slow) >= 230
    assert 0.2e9 < percentile(found, 99) < 1e9
    # They are spread over the stall, as their due times were.
    assert numpy.percentile(slow, 90) - numpy.percentile(slow, 10) > 0.15e9


def test_waiting_for_a_stream_counts_too_and_makes_the_run_invalid() -> None:
    with Server(stalling(after=200, seconds=0.25), streams=2) as server:
        found = measured(server.address, rate=1_000, duration=0.5, connections=1)
    assert status_of(found) == {"OK": 500}
    assert 0.2e9 < percentile(found, 99) < 0.5e9
    assert not found["valid"]
    assert found["late"]["noStream"] > 200
    assert "free stream" in found["advice"][0]


def test_every_status_and_message_is_counted_and_refusals_have_no_latency() -> None:
    kinds = [(b"0", b""), (b"8", b"too%20many"), (b"14", b"gone"), (b"16", b"")]

    def reply(peer: Any, stream: int) -> bytes:
        status, message = kinds[peer.server.calls % 4]
        return answer(stream, status, message, body=b"" if message else answer_body(status))

    def answer_body(status: bytes) -> bytes:
        return b"\0\0\0\0\0" if status == b"0" else b""

    with Server(reply) as server:
        found = measured(server.address, closed=True, calls=400, warmup=0, streams=1)
    counts = {"OK": 100, "ResourceExhausted": 100, "Unavailable": 100, "Unauthenticated": 100}
    assert status_of(found) == counts
    assert found["errorDistribution"] == {
        "rpc error: code = ResourceExhausted desc = too many": 100,
        "rpc error: code = Unavailable desc = gone": 100,
        "rpc error: code = Unauthenticated desc = ": 100,
    }
    assert sum(bucket[2] for bucket in found["buckets"]) == 100


def test_what_most_calls_were_refused_for_comes_before_all_else() -> None:
    def reply(_peer: Any, stream: int) -> bytes:
        time.sleep(0.002)
        return answer(stream, b"3", b"placements: 'homme'", body=b"")

    with Server(reply) as server:
        arguments = "--to", server.address, "--probe", "0", "--rate", "900", "--duration", "300ms"
        arguments += "--warmup", "0s", "--connections", "1", "--streams", "1"
        shown, _told = command(*arguments, code=3)
        tried = "--to", server.address, "--p99-ms", "9", "--upto", "9", "--step", "0.3s"
        searched, told = command("find-max", *tried, "--from", "4", "--precision", "0.4", code=1)
    why = "rpc error: code = InvalidArgument desc = placements: 'homme'"
    assert re.match(rf"[\d,]+ of [\d,]+ calls were not OK, most of them {why}\n", shown)
    assert "INVALID: not a measurement" in shown
    assert f"calls were not OK, most of them {why}" in told
    assert "at most 30" in told
    assert searched == "no rate held p99 <= 9 ms\n"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not one whole message"),
        (b"\0\0\0\0\x05abcd", "not one whole message"),
        (b"\1\0\0\0\x04abcd", "not one whole message"),
    ],
)
def test_an_answer_that_is_no_whole_message_is_an_error(body: bytes, why: str) -> None:
    with Server(lambda _peer, stream: answer(stream, body=body)) as server:
        found = measured(server.address, closed=True, calls=10, warmup=0)
    assert status_of(found) == {"Internal": 10}
    assert found["connections"]["malformedAnswers"] == 10
    assert why in next(iter(found["errorDistribution"]))


def test_deadlines_are_sent_and_kept() -> None:
    with Server(lambda _peer, _stream: b"") as server:
        found = measured(server.address, rate=200, duration=0.3, deadline_ms=30)
        assert status_of(found) == {"DeadlineExceeded": 60}
        assert 30e6 <= found["fastest"] < 60e6
        assert server.resets >= 55


def test_calls_without_an_answer_at_the_end_are_counted() -> None:
    with Server(lambda _peer, _stream: b"", streams=5) as server:
        found = measured(server.address, rate=200, duration=0.2, drain=0.1, connections=1, warmup=0)
    assert status_of(found) == {"Canceled": 40}
    assert found["connections"]["unsentCalls"] == 35
    assert found["slowest"] > 0.28e9


@pytest.mark.parametrize("seen", [0, 1])
def test_goaway_costs_no_call(seen: int) -> None:
    """Calls over GOAWAY's last stream are sent again, on a new connection."""
    with Server(leaving(after=30, seen=seen)) as server:
        found = measured(server.address, closed=True, calls=500, warmup=0, streams=8)
        assert status_of(found) == {"OK": 500}
        assert found["connections"]["goaway"] >= 500 // 30 - 2
        assert found["connections"]["retriedCalls"] > 0
        assert found["connections"]["lost"] == 0


def test_a_refused_stream_is_sent_again() -> None:
    def reply(peer: Any, stream: int) -> bytes:
        if peer.calls % 3 == 0:
            return frame(RST_STREAM, 0, stream, REFUSED_STREAM.to_bytes(4, "big"))
        return answer(stream)

    with Server(reply) as server:
        found = measured(server.address, closed=True, calls=100, warmup=0, streams=1)
    assert status_of(found) == {"OK": 100}
    assert found["connections"]["retriedCalls"] > 20


def test_a_lost_connection_fails_its_calls_and_is_opened_again() -> None:
    def reply(peer: Any, stream: int) -> bytes:
        peer.closing = peer.calls == 50
        return b"" if peer.closing else answer(stream)

    with Server(reply) as server:
        found = measured(server.address, rate=1_000, duration=0.3, connections=1)
    counts = status_of(found)
    assert counts["OK"] > 200
    assert 1 <= counts["Unavailable"] <= 50
    assert "connection lost" in next(iter(found["errorDistribution"]))
    assert found["connections"]["opened"] >= 5


@pytest.mark.parametrize("wait", [False, True])
def test_while_no_server_is_there_calls_fail_or_wait_for_one(wait: bool) -> None:
    def last(peer: Any, stream: int) -> bytes:
        if peer.calls < 100:
            return answer(stream)
        peer.server.stop()
        return leaving(after=100, seen=1)(peer, stream)

    with Server(last) as first:
        settings = Settings(
            to=(first.address,),
            **{**QUICK, "connections": 1, "duration": 1.0, "warmup": 0},
            rate=500,
            wait_for_ready=wait,
        )
        outcomes: list[Any] = []
        thread = threading.Thread(target=lambda: outcomes.append(run(settings)))
        thread.start()
        time.sleep(0.5)
        with Server(port=int(first.address.partition(":")[2])) as second:
            thread.join(10)
            assert second.calls > 50
    found = result(outcomes[0])
    if wait:
        assert status_of(found) == {"OK": 500}
        assert 0.1e9 < found["slowest"] < 0.9e9
    else:
        counts = status_of(found)
        assert counts["OK"] + counts["Unavailable"] == 500
        assert 20 < counts["Unavailable"] < 400
        assert "no connection" in next(iter(found["errorDistribution"]))


def test_an_interrupted_run_says_what_it_has_measured() -> None:
    # A shell lets what it runs in the background ignore it, which a child would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Server() as server:
        arguments = ["--to", server.address, "--probe", "0", "--duration", "60", "--closed"]
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--warmup", "0", "--json", "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.calls < 100:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    found = json.loads(out)
    assert found["endReason"] == "canceled"
    assert status_of(found) == {"OK": found["count"]}
    assert found["count"] == server.calls


def test_the_display_has_a_line_for_the_run() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    settings = {"duration": 0.6, "warmup": 0, "probe": 0, "rate": 500}
    with Server() as server, live(Settings(to=(server.address,)), console) as watch:
        run(Settings(to=(server.address,), **settings), watch, look_s=0.1)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "p99 by 0.1 s" in shown
    assert "answered" in shown
    assert any(block in shown for block in "▂▃▄▅▆▇█")


def test_a_target_that_cannot_be_reached_is_named() -> None:
    with Server() as server:
        gone = server.address
    with pytest.raises(UnreachableError, match=f"{gone}: Connection refused"):
        measured(gone)
    _out, told = command("--to", gone, "--probe", "0", code=3)
    assert gone in told
    assert "nextbest serve" in told


def test_calls_go_to_all_targets() -> None:
    with Server() as first, Server() as second:
        to = (first.address, second.address)
        found = measured("", to=to, closed=True, calls=400, warmup=0, connections=4, streams=2)
        assert status_of(found) == {"OK": 400}
        # Whoever answers faster is given more; each has its connections' streams filled.
        assert min(first.calls, second.calls) >= 4


def test_constant_and_ramp_are_due_as_their_formulas_say() -> None:
    constant = generator.due_times(0, 1_000.0, 0.0, 10.0, 1, 50_000)
    assert len(constant) == 10_000
    assert constant[:3] == pytest.approx([0, 0.001, 0.002])
    for low, high in ((0.0, 2_000.0), (500.0, 1_500.0), (1_500.0, 500.0)):
        ramp = generator.due_times(2, high, low, 10.0, 1, 50_000)
        assert ramp[0] == 0
        # The area under the ramp: 10 s at the mean rate.
        assert len(ramp) == pytest.approx(10 * (low + high) / 2, abs=2)
        half = sum(1 for due in ramp if due < 5)
        assert half == pytest.approx(5 * (low + (low + high) / 2) / 2, abs=2)


def test_a_ramp_is_sent_as_it_is_due() -> None:
    with Server() as server:
        found = measured(server.address, schedule="ramp", rate=1_000, duration=1)
    assert found["count"] == pytest.approx(500, abs=2)
    counts = [one["count"] for one in found["intervals"]]
    # 5, 15, 25 ... in tenths of a second.
    assert counts == pytest.approx([5 + 10 * i for i in range(10)], abs=2)


def test_poisson_gaps_are_exponential_and_repeatable() -> None:
    due = numpy.array(generator.due_times(1, 1_000.0, 0.0, 100.0, 7, 200_000))
    gaps = numpy.diff(due)
    assert len(due) == pytest.approx(100_000, rel=0.02)
    assert gaps.mean() == pytest.approx(0.001, rel=0.02)
    assert gaps.std() == pytest.approx(0.001, rel=0.03)
    assert (gaps > 0.001).mean() == pytest.approx(math.exp(-1), rel=0.03)
    assert generator.due_times(1, 1_000.0, 0.0, 100.0, 7, 10) == due[:10].tolist()


def test_profiles_are_uniform_or_zipf() -> None:
    uniform = Counter(generator.draws(0, 100, 1.0, 3, 100_000))
    assert sorted(uniform) == list(range(100))
    assert max(uniform.values()) < 1.2 * min(uniform.values())
    for exponent in (0.5, 1.0, 1.5):
        drawn = Counter(generator.draws(1, 1_000, exponent, 3, 200_000))
        weights = numpy.arange(1, 1_001) ** -exponent
        shares = weights / weights.sum()
        seen = [count / 200_000 for _number, count in drawn.most_common(10)]
        assert seen == pytest.approx(shares[:10].tolist(), rel=0.15)


def test_event_ids_are_fresh_uuids_of_version_7() -> None:
    ids = [uuid.UUID(text) for text in generator.event_ids(1_000)]
    assert len(set(ids)) == 1_000
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert abs((ids[0].int >> 80) / 1_000 - time.time()) < 5


def test_made_requests_are_those_of_the_contract() -> None:
    settings = Settings(mix="decide=8,track,batch:3=0.5", placements=("a", "b"), profiles=50)
    decide, track, batch = workload(settings)
    assert [one.weight for one in (decide, track, batch)] == [8_000, 1_000, 500]
    asked = decision_pb2.DecideRequest.FromString(decide.bodies[0].data[5:])
    assert (asked.identity.id, list(asked.placements)) == ("customer-000000", ["a", "b"])
    assert asked.decision_id == ""
    assert asked.context["hour"].int_value == 12
    event = event_pb2.TrackRequest.FromString(track.bodies[0].data[5:])
    assert (len(event.event_id), event.event) == (36, "page_view")
    assert [kind for kind, _offset, _width in track.bodies[0].patches] == [0, 1]
    several = decision_pb2.DecideBatchRequest.FromString(batch.bodies[0].data[5:])
    assert len(several.requests) == 3
    for _kind, offset, width in batch.bodies[0].patches:
        assert batch.bodies[0].data[offset : offset + width] == b"000000"


def test_requests_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    decide = {"identity": {"id": "ann"}, "placements": ["home"]}
    track = {"method": "Track", "request": {"eventId": "x", "event": "login"}}
    file.write_text(f"{json.dumps(decide)}\n\n{json.dumps(track)}\n", encoding="utf-8")
    assert [path for path, _message in read_requests(file)] == [DECIDE, TRACK]
    parts = workload(Settings(requests=file, mix="decide=1,track=1,batch:5=1"))
    assert [len(part.bodies) for part in parts] == [1, 1, 1]
    with Server() as server:
        found = measured(server.address, requests=file, closed=True, calls=10, warmup=0)
    assert status_of(found) == {"OK": 10}
    for wrong, told in (
        ("{", r"requests.jsonl:1: "),
        ('{"placement": "x"}', r':1: .*"placement"'),
        ('{"method": "Explain"}', r":1: method: 'Explain', allowed: Decide, "),
    ):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(RequestsError, match=told):
            read_requests(file)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rate": 0}, "--rate: 0, allowed: 0.01 to"),
        ({"connections": 5_000}, "--connections: 5000, allowed: 1 to 1,024"),
        ({"spread": "zipf:x"}, "--spread: 'zipf:x', allowed: uniform, zipf"),
        ({"schedule": "bursts"}, "--schedule: 'bursts', allowed: constant"),
        ({"profile_id": "ann"}, "--profile-id: 'ann', allowed: a text with"),
        ({"server_pid": (2**22 + 1,)}, "--server-pid: 4194305, allowed: a running process"),
        ({"cpu": 4_000}, "--cpu: 4000, allowed: one of"),
        ({"to": ("nowhere",)}, "--to: 'nowhere', allowed: host:port"),
        ({"mix": "decide=x"}, "--mix: 'decide=x', allowed: decide, track"),
        ({"mix": "batch:1001"}, "--mix: 'batch:1001', allowed"),
        ({"metadata": ("A B=c",)}, "--metadata: 'A B=c', allowed: name=value"),
        ({"context": ("page",)}, "--context: 'page', allowed: NAME=VALUE"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=re.escape(told)):
        run(Settings(**wrong))
    assert read_mix("decide=8, batch:100=1")[1].name == "batch:100"


def test_the_json_has_the_fields_of_ghz_and_the_report_is_one_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib draws the report: nextbest[report]")
    html = tmp_path / "report.html"
    with Server() as server:
        options = ["--to", server.address, "--closed", "--calls", "150", "--probe", "0.02"]
        out, told = command(
            *options, "--mix", "decide=3,track=1", "--json", "-", "--html", str(html)
        )
    found = json.loads(out)
    assert {type(one["percentage"]) for one in found["latencyDistribution"]} <= {int, float}
    assert [one["percentage"] for one in found["latencyDistribution"]][:7] == [
        *(10, 25, 50, 75, 90, 95, 99)
    ]
    for name in ("count", "total", "average", "fastest", "slowest"):
        assert type(found[name]) is int
    assert found["count"] == 150
    assert sum(one["count"] for one in found["histogram"]) == 150
    assert sum(one["frequency"] for one in found["histogram"]) == pytest.approx(1)
    assert found["histogram"][0].keys() == {"mark", "count", "frequency"}
    assert found["endReason"] == "normal"
    assert {gap["when"] for gap in found["gaps"]} == {"before", "during", "after"}
    assert "latency, from when each call was due" in told
    page = html.read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert not re.search(r"(?:src|href)=.https?:|<script|@import|url\(h", page)


def test_a_run_without_an_answer_has_a_report_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib draws the report: nextbest[report]")
    json_file, html = tmp_path / "a.json", tmp_path / "a.html"
    with Server(lambda _peer, stream: answer(stream, b"8", b"full", b"")) as server:
        found = measured(server.address, closed=True, calls=20, warmup=0)
    json_file.write_text(json.dumps(found), encoding="utf-8")
    command("report", str(json_file), str(html))
    assert "No call has a latency" in html.read_text(encoding="utf-8")
    _out, told = command("report", str(json_file), "/nowhere/a.html", code=2)
    assert "'/nowhere/a.html', allowed: a file in a folder that is there" in told


def test_two_results_are_compared(tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    with Server() as server:
        for file, rate in zip(files, (200, 400), strict=True):
            found = measured(server.address, rate=rate, duration=0.2)
            file.write_text(json.dumps(found), encoding="utf-8")
    assert comparison(read(files[0]), read(files[1]), "a", "b")
    for arguments in (["compare", *map(str, files)], ["--compare", *map(str, files)]):
        out, _told = command(*arguments)
        assert re.search(r"calls\s*│\s*40 │\s*80 │\s*\+40 │\s*2\.000", out)
        assert "--rate differs: 200 and 400" in out
    files[1].write_text("{}", encoding="utf-8")
    _out, told = command("compare", *map(str, files), code=2)
    assert "no result of `nextbest bench --json`" in told


def test_find_max_finds_what_a_slow_server_can_do() -> None:
    """Each answer takes 2 ms, one after the other: 500/s at most."""

    def reply(_peer: Any, stream: int) -> bytes:
        time.sleep(0.002)
        return answer(stream)

    told: list[str] = []
    with Server(reply) as server:
        settings = Settings(to=(server.address,), **{**QUICK, "connections": 1, "drain": 0.3})
        search = Search(p99_ms=200, step_s=0.3, precision=0.4, rate_least=60, rate_most=2_000)
        rate, steps = find_max(settings, search, told.append)
    assert len(told) == len(steps)
    if any("invalid" in step.why for step in steps):
        pytest.skip("other work took the generator's core: nothing can be measured now")
    assert 50 < rate < 1_500
    assert any(step.why for step in steps)
    assert max(step.rate for step in steps if not step.why) == rate


def test_find_max_ends_where_no_rate_is_low_enough() -> None:
    with Server(lambda _peer, stream: answer(stream, b"3", body=b"")) as server:
        settings = Settings(to=(server.address,), **{**QUICK, "warmup": 0, "drain": 0.1})
        search = Search(p99_ms=200, step_s=0.1, rate_most=0.05)
        assert find_max(settings, search, lambda _line: None)[0] == 0


def test_without_libnghttp2_the_command_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['nextbest.bench.generator'] = None\n"
        "from nextbest.bench.command import main; sys.argv = ['bench']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert MISSING in done.stderr


@pytest.mark.parametrize(
    ("given", "unread"),
    [
        (("--closed", "--rate", "5"), "--rate"),
        (("--closed", "--schedule", "poisson"), "--schedule"),
        (("--requests", "x.jsonl", "--profiles", "5"), "--profiles"),
    ],
)
def test_options_that_nobody_would_read_are_refused(given: tuple[str, ...], unread: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nextbest.bench", *given],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"{unread}: given with {given[0]}" in done.stderr


def test_spans_are_read_as_elsewhere() -> None:
    given = {"500ms": 0.5, "5s": 5.0, "2m": 120.0, "1.5h": 5_400.0, "2.5": 2.5}
    assert {one: seconds(one) for one in given} == given
    _out, told = command("--duration", "5 s", code=2)
    assert "--duration" in told
    assert "a span such as" in told


def test_options_before_a_command_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nextbest.bench", "--to", "127.0.0.1:1", "find-max"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--to: before find-max" in done.stderr


def test_the_command_line_finds_commands_of_other_packages(tmp_path: Path) -> None:
    metadata = tmp_path / "more-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[nextbest.commands]\nload_test = nextbest.bench.command:app\nbroken = nowhere:app\n"
    )
    program = (
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "from nextbest.server.command.main import run\n"
        "sys.argv = ['nextbest', *{arguments}]; run()"
    )

    def told(*arguments: str) -> str:
        text = program.replace("{arguments}", repr(arguments))
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    everything = told("--help")
    assert "load_test" in everything
    assert "serve" in everything
    assert "nextbest broken: nowhere:app cannot be loaded" in everything
    assert "--rate" in told("load_test", "--help")


async def test_a_real_server_answers_a_mix_and_another_takes_over_when_it_drains(
    run_server: Any,
) -> None:
    """One of two servers is told to stop while calls come: GOAWAY, and the other takes them.

    gRPC's own server cancels calls that arrive between its GOAWAY and the client's sight of it.
    """
    async with run_server() as staying:
        async with run_server() as leaving_one:
            settings = Settings(
                to=(staying, leaving_one),
                mix="decide=8,track=2,batch:5=1",
                rate=400,
                context=(),
                scores=(),
                properties=("path=/pricing", "seconds=1.5"),
                **{**QUICK, "duration": 1.2},
            )
            task = asyncio.create_task(asyncio.to_thread(run, settings))
            await asyncio.sleep(0.6)
        found = result(await task)
    counts = status_of(found)
    assert found["count"] == 480
    assert counts["OK"] + counts.get("Canceled", 0) == 480, found["errorDistribution"]
    assert counts["OK"] >= 470
    assert found["connections"]["goaway"] == 1
    assert [part["name"] for part in found["parts"]] == ["decide", "track", "batch:5"]
    assert min(part["count"] - part["failed"] for part in found["parts"]) > 10
