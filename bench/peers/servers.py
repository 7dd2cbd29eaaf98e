"""The peers as processes: started on the servers' core, checked, ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

import grpc

from bench.micro import encode, people
from bench.micro.shop_100 import SLOTS, playbook
from nextbest.v1 import decision_pb2

from . import rule
from .build import BUILT, ECHO_NEEDS, GO_NEEDS, HERE, ROOT, version_of

DECIDE = "/nextbest.v1.DecisionService/Decide"
START_S_MAX = 600
STOP_S_MAX = 30
CALL_S_MAX = 10
CHECKED = 200
CORE_SERVER = 0
# gRPC C++ would start a poller for each core of the machine, pinned or not; it is left as it is.
ECHO_SETUP = "generated callback API, answers fixed bytes of a Decide's size, -O2"


@dataclass
class Peer:
    """A server under test."""

    key: str
    name: str
    setup: str
    address: str
    pid: int
    path: str
    bodies: list[bytes]
    # What is wrong with the answer to a request of that number; empty when nothing is.
    fault: Callable[[int, bytes], str]
    answer_bytes: int = 0
    request_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.request_bytes = round(median(len(data) for data in self.bodies))

    def ask(self, numbers: Sequence[int]) -> list[bytes]:
        """The answers to some of the requests."""
        with grpc.insecure_channel(self.address) as channel:
            call = channel.unary_unary(self.path, None, None)
            return [bytes(call(self.bodies[n], timeout=CALL_S_MAX)) for n in numbers]

    def check(self) -> None:
        """Raise SystemExit unless a sample of the answers is right; notes their median size."""
        numbers = range(0, len(self.bodies), max(1, len(self.bodies) // CHECKED))
        answers = self.ask(numbers)
        for number, answer in zip(numbers, answers, strict=True):
            if fault := self.fault(number, answer):
                raise SystemExit(f"{self.name}: answer to request {number}: {fault}")
        self.answer_bytes = round(median(len(answer) for answer in answers))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(command: Sequence[str], address: str, says_ready: bool) -> Iterator[int]:
    """A server's process on the servers' core, ready to be called; ended afterwards."""
    path = f"{ROOT / 'build/tree'}{os.pathsep}{ROOT}"
    environment = {**os.environ, "PYTHONPATH": path}
    started = subprocess.Popen(
        ["taskset", "-c", str(CORE_SERVER), *command],
        env=environment,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE if says_ready else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if started.stdout and started.stdout.readline() != "ready\n":
            raise SystemExit(f"{command[0]} ended before it was ready")
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=START_S_MAX)
        # taskset has become the server: the id is still the same.
        yield started.pid
    finally:
        started.terminate()
        try:
            started.wait(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        if started.stdout:
            started.stdout.close()


def decision_fault(number: int, answer: bytes) -> str:
    """What a whole decision must have; about nobody known there may be fewer slots filled."""
    del number
    response = decision_pb2.DecideResponse.FromString(answer)
    if len(response.placements) != 1 or len(response.scores) != 1:
        return f"not one placement and one score: {response}"
    slots = len(response.placements[0].propositions)
    if response.profile_known and slots != SLOTS:
        return f"{slots} slots filled, not {SLOTS}"
    return ""


@contextlib.contextmanager
def ours(folder: Path, profiles: int, unix: bool) -> Iterator[list[Peer]]:
    """Both lanes of one server that holds all people."""
    for name, text in playbook().items():
        (folder / name).write_text(text, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    lane = f"unix:{folder}/lane" if unix else f"127.0.0.1:{free_port()}"
    bodies = [encode.decide(request) for request in people.requests(profiles=profiles)]
    arguments = [str(folder), address, lane, str(profiles)]
    command = [sys.executable, "-m", "bench.peers.ours", *arguments]
    told = f"shop-100, {profiles:,} people, {SLOTS} slots, score"
    with process(command, address, says_ready=True) as pid:
        yield [
            Peer("lane", "nextbest, fast lane", told, lane, pid, DECIDE, bodies, decision_fault),
            Peer("aio", "nextbest, grpc.aio", told, address, pid, DECIDE, bodies, decision_fault),
        ]


@contextlib.contextmanager
def echo(folder: Path, model: Peer, typed: bool, unix: bool) -> Iterator[Peer]:
    """gRPC C++ with requests and an answer like the model's."""
    if not (BUILT / "echo").exists():
        raise FileNotFoundError(f"not built: python -m bench.peers build ({ECHO_NEEDS})")
    key = "typed" if typed else "echo"
    answers = sorted(model.ask(range(CHECKED)), key=len)
    answer = answers[len(answers) // 2]
    file = folder / f"answer-{key}"
    file.write_bytes(answer)
    address = f"unix:{folder}/{key}" if unix else f"127.0.0.1:{free_port()}"
    command = [str(BUILT / "echo"), str(file), address, *(["--typed"] if typed else [])]
    what = "messages parsed and serialised" if typed else "bytes, neither parsed nor built"
    name = f"gRPC C++ {version_of('echo')} echo{', typed' if typed else ''}"

    def fault(_number: int, seen: bytes) -> str:
        return "" if len(seen) == len(answer) else f"{len(seen)} bytes, not {len(answer)}"

    with process(command, address, says_ready=True) as pid:
        setup = f"{ECHO_SETUP}; {what}"
        yield Peer(key, name, setup, address, pid, DECIDE, model.bodies, fault)


def ruled(
    questions: Iterator[rule.Question], holds: Callable[[bytes], bool]
) -> tuple[list[bytes], Callable[[int, bytes], str]]:
    """Requests and what their answers must be; both answers must occur among them."""
    found = list(islice(questions, rule.ASKED))
    if len({question.holds for question in found}) != 2:
        raise SystemExit("the rule is the same for everybody")

    def fault(number: int, answer: bytes) -> str:
        wanted = found[number].holds
        return "" if holds(answer) == wanted else f"not {wanted}: {answer!r}"

    return [question.data for question in found], fault


@contextlib.contextmanager
def cerbos(folder: Path) -> Iterator[Peer]:
    """Cerbos with one policy."""
    if not (BUILT / "cerbos").exists():
        raise FileNotFoundError(f"not built: python -m bench.peers build ({GO_NEEDS})")
    port = free_port()
    command = [str(BUILT / "cerbos"), "server", "--log-level=ERROR"]
    command.append(f"--config={rule.cerbos_files(folder, port)}")
    bodies, fault = ruled(rule.cerbos_questions(), rule.cerbos_holds)
    path = "/cerbos.svc.v1.CerbosService/CheckResources"
    address = f"127.0.0.1:{port}"
    with process(command, address, says_ready=False) as pid:
        setup = "CheckResources of one resource, one policy of three conditions; audit off"
        name = f"Cerbos {version_of('cerbos')}"
        yield Peer("cerbos", name, setup, address, pid, path, bodies, fault)


@contextlib.contextmanager
def flagd(folder: Path) -> Iterator[Peer]:
    """flagd's evaluator with one flag."""
    if not (BUILT / "flagd").exists():
        raise FileNotFoundError(f"not built: python -m bench.peers build ({GO_NEEDS})")
    address = f"127.0.0.1:{free_port()}"
    command = [str(BUILT / "flagd"), str(rule.flagd_file(folder)), address]
    bodies, fault = ruled(rule.flagd_questions(), rule.flagd_holds)
    path = "/flagd.evaluation.v1.Service/ResolveBoolean"
    with process(command, address, says_ready=True) as pid:
        setup = "flagd's core behind grpc-go: ResolveBoolean, targeting of three conditions"
        name = f"flagd core {version_of('flagd')}"
        yield Peer("flagd", name, setup, address, pid, path, bodies, fault)


@contextlib.contextmanager
def zen(folder: Path) -> Iterator[Peer]:
    """zen-engine in Python."""
    from importlib import metadata

    try:
        version = metadata.version("zen-engine")
    except metadata.PackageNotFoundError:
        raise FileNotFoundError("not installed: pip install zen-engine") from None
    address = f"127.0.0.1:{free_port()}"
    script = str(HERE / "zen_server.py")
    command = [sys.executable, script, address, str(rule.zen_file(folder))]
    bodies, fault = ruled(rule.zen_questions(), rule.zen_holds)
    with process(command, address, says_ready=False) as pid:
        setup = "grpc.aio on uvloop, a compiled decision table of one row; JSON"
        path = "/peers.Zen/Evaluate"
        yield Peer("zen", f"zen-engine {version}", setup, address, pid, path, bodies, fault)


@contextlib.contextmanager
def running(
    wanted: set[str], profiles: int, unix: bool
) -> Iterator[tuple[list[Peer], dict[str, str]]]:
    """All wanted peers that can be had, and of each other one why not."""
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "playbook").mkdir()
        peers = stack.enter_context(ours(folder / "playbook", profiles, unix))
        starts: dict[str, Callable[[], contextlib.AbstractContextManager[Peer]]] = {
            "echo": lambda: echo(folder, peers[0], False, unix),
            "typed": lambda: echo(folder, peers[0], True, unix),
            "cerbos": lambda: cerbos(folder),
            "flagd": lambda: flagd(folder),
            "zen": lambda: zen(folder),
        }
        for key, start in starts.items():
            if key not in wanted:
                continue
            try:
                peers.append(stack.enter_context(start()))
            except (OSError, grpc.FutureTimeoutError) as error:
                missing[key] = str(error) or "did not answer"
        kept = [peer for peer in peers if peer.key in wanted]
        for peer in kept:
            peer.check()
        yield kept, missing
