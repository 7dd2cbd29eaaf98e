"""`nextbest serve --fast-lane` as a process: both lanes answer alike, start well and end well."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as some

from nextbest.client import request as requests
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.server import config
from nextbest.server.errors import ConfigError, LaneError
from nextbest.server.lane import FastLane
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, server_pb2, server_pb2_grpc

PLAYBOOK = Path(__file__).parents[1] / "cases" / "small"
COMMAND = [sys.executable, "-c", "from nextbest.server.command.main import run; run()"]
HIDDEN = "import sys; sys.modules['nextbest.core.lane_native'] = None; "
WAIT_S = 30
DECIDE = "/nextbest.v1.DecisionService/Decide"
BATCH = "/nextbest.v1.DecisionService/DecideBatch"
TRACK = "/nextbest.v1.EventService/Track"
NOW_S = 1_780_000_000

needs_lane = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


class Process:
    """A server with a fast lane as a process of its own; `lanes` are its real addresses."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.address = f"unix:{folder}/main"
        # One remembered decision: after another one, a repeat is decided and not recalled.
        command = [*COMMAND, "serve", "-l", self.address, "-p", str(PLAYBOOK)]
        command += ["--set", "engine.decisions_max=1", "--set", "engine.profiles_max=10000"]
        command += ["--set", "engine.dedupe_max=10000"]
        self._process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        self.announced = self._process.stderr.readline()
        found = re.search(r"fast lane on (.*), generation", self.announced)
        self.lanes = found[1].split(", ") if found else []

    @property
    def id(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it said since the start."""
        said = self._process.communicate(timeout=WAIT_S)[1]
        return self._process.returncode, said

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("lane")
    process = Process(folder, "-f", f"unix:{folder}/fast", "-f", "127.0.0.1:0")
    yield process
    process.kill()


Ask = Callable[[str, bytes], tuple[Any, ...]]


@pytest.fixture(scope="module")
def lanes(server: Process) -> Iterator[list[Ask]]:
    """Asks the server over each lane: the answer's bytes, or the error's code and details."""
    channels = [grpc.insecure_channel(a) for a in (server.address, *server.lanes)]
    yield [asker(channel) for channel in channels]
    for channel in channels:
        channel.close()


def asker(channel: grpc.Channel) -> Ask:
    def ask(method: str, request: bytes) -> tuple[Any, ...]:
        try:
            return (channel.unary_unary(method)(request, timeout=WAIT_S),)
        except grpc.RpcError as error:
            call: Any = error
            trailers = dict(call.trailing_metadata())
            return call.code(), call.details(), trailers.get("grpc-status-details-bin")

    return ask


def same(lanes: list[Ask], method: str, request: bytes) -> tuple[Any, ...]:
    """The answer of all lanes, which is one."""
    answers = []
    for ask in lanes:
        # Takes the place of the one decision that is remembered.
        ask(DECIDE, requests.decide("filler").SerializeToString())
        answers.append(ask(method, request))
    assert all(answer == answers[0] for answer in answers), answers
    return answers[0]


def decide(**fields: Any) -> decision_pb2.DecideRequest:
    """A request of which nothing is left to the server."""
    made = decision_pb2.DecideRequest(decision_id="d", seed=7, **fields)
    made.now.FromSeconds(NOW_S)
    return made


@needs_lane
def test_the_start_names_the_lanes_and_so_does_get_server(server: Process) -> None:
    assert len(server.lanes) == 2
    assert not server.lanes[1].endswith(":0")
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = server_pb2_grpc.ServerServiceStub(channel)
        about = stub.GetServer(server_pb2.GetServerRequest(), timeout=WAIT_S)
    assert list(about.addresses) == [server.address]
    assert list(about.fast_lanes) == server.lanes
    assert about.generation == 1
    assert about.position.nonce


@needs_lane
def test_every_other_method_is_refused_with_the_address_that_serves_it(lanes: list[Ask]) -> None:
    code, details, _ = lanes[1]("/nextbest.v1.ProfileService/GetProfile", b"")
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert re.search(r"served by unix:\S+/main", details)


def corpus() -> Iterator[tuple[str, bytes]]:
    """Requests that are answered and requests that are refused, each for a reason of its own."""
    ann = common_pb2.Identity(id="ann")
    page = {"page": common_pb2.Value(string_value="home")}
    age = {"age": common_pb2.Value(int_value=34), "plan": common_pb2.Value(string_value="free")}
    for message in (
        decide(identity=ann, placements=["home"], context=page),
        decide(identity=ann, placements=["home"], attributes=age, explain=True, segments=True),
        decide(identity=ann, scores=["*"]),
        decide(identity=ann, placements=["hom"]),
        decide(identity=ann, placements=["home", "home"]),
        decide(identity=ann, attributes={"agee": common_pb2.Value(int_value=1)}),
        decide(identity=ann, attributes={"age": common_pb2.Value(string_value="old")}),
        decide(identity=common_pb2.Identity(id="é" * 200)),
        decide(min_position=common_pb2.Position(epoch=1, sequence=9, nonce=9)),
        decide(),
        decision_pb2.DecideRequest(identity=ann, decision_id="d" * 129),
    ):
        yield DECIDE, message.SerializeToString()
        batch = decision_pb2.DecideBatchRequest(requests=[message, decide(identity=ann)])
        yield BATCH, batch.SerializeToString()
    for body in (b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x07", b"\x0b\x0c"):
        yield from ((method, body) for method in (DECIDE, BATCH, TRACK))
    yield BATCH, decision_pb2.DecideBatchRequest(requests=[decide()] * 1_001).SerializeToString()
    yield DECIDE, b"\x0a" + b"\x80\x80\x14" + b"x" * 327_680
    for event in ("page_view", "page_viev", ""):
        made = event_pb2.TrackRequest(event_id="", identity=ann, event=event)
        yield TRACK, made.SerializeToString()


@needs_lane
@pytest.mark.parametrize(("method", "request_bytes"), list(corpus()))
def test_both_lanes_answer_alike(lanes: list[Ask], method: str, request_bytes: bytes) -> None:
    same(lanes, method, request_bytes)


@needs_lane
def test_an_event_repeated_over_any_lane_is_a_duplicate(lanes: list[Ask]) -> None:
    event = event_pb2.TrackRequest(
        event_id="e1", identity=common_pb2.Identity(id="ann"), event="page_view"
    )
    event.properties["path"].string_value = "/"
    event.occurred_at.GetCurrentTime()
    asked = [lanes[1], *lanes]
    data = [ask(TRACK, event.SerializeToString())[0] for ask in asked]
    answers = [event_pb2.TrackResponse.FromString(each) for each in data]
    assert [answer.duplicate for answer in answers] == [False] + [True] * len(lanes)


TEXTS = some.text(max_size=12) | some.sampled_from(["home", "inbox", "ann", "*", "fit"])
VALUES = some.one_of(
    some.builds(common_pb2.Value, bool_value=some.booleans()),
    some.builds(common_pb2.Value, int_value=some.integers(-(2**63), 2**63 - 1)),
    some.builds(common_pb2.Value, double_value=some.floats()),
    some.builds(common_pb2.Value, string_value=TEXTS),
    some.just(common_pb2.Value()),
)
NAMES = some.sampled_from(["age", "plan", "email", "page", "agee", ""])
DECISIONS = some.builds(
    decide,
    identity=some.builds(common_pb2.Identity, kind=some.integers(0, 5), id=TEXTS),
    placements=some.lists(some.sampled_from(["home", "inbox", "hom"]), max_size=3),
    scores=some.lists(TEXTS, max_size=2),
    context=some.dictionaries(NAMES, VALUES, max_size=2),
    attributes=some.dictionaries(NAMES, VALUES, max_size=3),
    explain=some.booleans(),
    segments=some.booleans(),
)


@needs_lane
@given(request=DECISIONS, cut=some.integers(0, 40), noise=some.binary(max_size=4))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_lanes_answer_generated_requests_alike(
    lanes: list[Ask], request: decision_pb2.DecideRequest, cut: int, noise: bytes
) -> None:
    whole = request.SerializeToString(deterministic=True)
    same(lanes, DECIDE, whole)
    changed = whole[: len(whole) - cut] + noise if cut else whole + noise
    with contextlib.suppress(DecodeError):
        read = decision_pb2.DecideRequest.FromString(changed)
        # What the server would choose differs from call to call.
        assume(read.seed and read.decision_id and read.HasField("now"))
    same(lanes, DECIDE, changed)


@needs_lane
def test_health_is_answered_by_both(server: Process) -> None:
    for address in (server.address, *server.lanes):
        assert health(address) == health_pb2.HealthCheckResponse.SERVING


def health(address: str) -> Any:
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S).status


@needs_lane
def test_mode_and_peers_guard_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "fast"
    uids = str(os.getuid() + 1)
    arguments = ["-f", f"unix:{path}", "--set", "lane.mode=0600", "--set", f"lane.peer_uids={uids}"]
    process = Process(tmp_path, *arguments)
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        with grpc.insecure_channel(f"unix:{path}") as channel, pytest.raises(grpc.RpcError) as got:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        error: Any = got.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert health(process.address) == health_pb2.HealthCheckResponse.SERVING
    finally:
        process.kill()


@needs_lane
def test_a_lane_in_use_is_refused(server: Process, tmp_path: Path) -> None:
    for lane in server.lanes:
        command = [*COMMAND, "serve", "-l", f"unix:{tmp_path}/main", "-f", lane]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 1
        assert "in use" in result.stderr
        assert "--fast-lane" in result.stderr


@needs_lane
def test_threads_are_pinned_and_others_keep_off(tmp_path: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("this machine has one cpu")
    process = Process(tmp_path, "-f", "127.0.0.1:0", "--fast-lane-cpus", str(cpus[0]))
    try:
        tasks = list(Path(f"/proc/{process.id}/task").iterdir())
        named = {int(t.name): os.sched_getaffinity(int(t.name)) for t in tasks}
        pinned = [thread for thread, allowed in named.items() if allowed == {cpus[0]}]
        assert len(pinned) == 1
        assert all(cpus[0] not in named[thread] for thread in named if thread not in pinned)
        assert os.sched_getscheduler(pinned[0]) == os.SCHED_OTHER
        assert os.sched_getscheduler(process.id) == os.SCHED_BATCH
    finally:
        process.kill()


@needs_lane
async def test_a_cpu_that_is_not_there_is_refused() -> None:
    settings = config.load(flags={"lane.addresses": "127.0.0.1:0", "lane.cpus": "4095"})
    with pytest.raises(ConfigError, match="4095, allowed here"), FastLane(settings):
        pass


@needs_lane
async def test_a_thread_that_ends_by_itself_ends_the_server(tmp_path: Path) -> None:
    """Whoever serves no calls any more must not look alive."""
    settings = config.load(flags={"lane.addresses": f"unix:{tmp_path}/fast", "lane.threads": "2"})
    stop = asyncio.Event()
    with FastLane(settings) as lane:
        lane.listen()
        lane.start(Engine(profiles_max=100, dedupe_max=1_000), "unix:/main", stop.set)
        lane.check()
        lane._natives[1].stop()
        await asyncio.wait_for(stop.wait(), WAIT_S)
        with pytest.raises(LaneError, match="thread 1"):
            lane.check()
        await lane.drain(1_000)
    assert not (tmp_path / "fast").exists()


@needs_lane
@pytest.mark.parametrize("kind", ["unix", "ipv4"])
def test_sigterm_under_load_fails_no_call(tmp_path: Path, kind: str) -> None:
    """The channel goes over to the other server on GOAWAY; each call is answered."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    lanes = [f"unix:{folder}/fast" if kind == "unix" else "127.0.0.1:0" for folder in folders]
    two_threads = "--fast-lane-threads", "2"
    one, two = (
        Process(f, "-f", lane, *two_threads) for f, lane in zip(folders, lanes, strict=True)
    )
    try:
        options = [("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}')]
        reached = [f"{folder}/fast" for folder in folders]
        if kind == "ipv4":
            reached = [process.lanes[0] for process in (one, two)]
        target = f"{kind}:{','.join(reached)}"
        with grpc.insecure_channel(target, options) as channel:
            load = Load(channel, 8)
            time.sleep(1)
            before = load.answered
            one.signal(signal.SIGTERM)
            code, said = one.end()
            time.sleep(0.5)
            load.stop()
        assert before > 100
        assert load.answered > before
        assert load.failures == []
        assert code == 0, said
        assert "stopped" in said
        assert re.search(r"fast lane: .*\d", said)
    finally:
        one.kill()
        two.kill()


class Load:
    """Threads that decide one after another."""

    def __init__(self, channel: grpc.Channel, threads: int) -> None:
        self.answered = 0
        self.failures: list[object] = []
        self._done = threading.Event()
        self._decide = channel.unary_unary(DECIDE)
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        request = decision_pb2.DecideRequest(identity={"id": "ann"}).SerializeToString()
        while not self._done.is_set():
            try:
                self._decide(request, timeout=WAIT_S)
                self.answered += 1
            except grpc.RpcError as error:
                self.failures.append(error)

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


@needs_lane
def test_a_drain_turns_the_lanes_health_first_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    fast = f"unix:{tmp_path}/fast"
    process = Process(tmp_path, "-f", fast, "--set", "listen.drain_delay_ms=60000")
    try:
        process.signal(signal.SIGTERM)
        end = time.monotonic() + WAIT_S
        while health(fast) == health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert asker_once(fast, DECIDE, decide(identity={"id": "ann"}).SerializeToString())
        process.signal(signal.SIGINT)
        assert process.end()[0] == 130
    finally:
        process.kill()


def asker_once(address: str, method: str, request: bytes) -> bytes:
    with grpc.insecure_channel(address) as channel:
        answer: bytes = asker(channel)(method, request)[0]
        return answer


def test_without_libnghttp2_only_the_fast_lane_is_missing(tmp_path: Path) -> None:
    program = HIDDEN + COMMAND[-1]
    address = f"unix:{tmp_path}/main"
    command = [sys.executable, "-c", program, "serve", "-l", address, "-p", str(PLAYBOOK)]
    fast = [*command, "-f", f"unix:{tmp_path}/fast"]
    result = subprocess.run(fast, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr.strip()) == (1, LANE_MISSING)
    assert "libnghttp2-dev" in LANE_MISSING
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "listening on" in process.stderr.readline()
            assert asker_once(address, DECIDE, decide(identity={"id": "ann"}).SerializeToString())
        finally:
            process.terminate()
            # Its last words find somebody who reads them: else it ends with 120.
            process.communicate(timeout=60)
    assert process.returncode == 0
