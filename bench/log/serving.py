"""Our server as a process, and the native generator against it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.micro.shop_100 import playbook
from nextbest.bench.compiled import compiled
from nextbest.bench.plan import plan
from nextbest.bench.result import Result, percentile, result
from nextbest.bench.run import Outcome, drive, unreached
from nextbest.bench.settings import Settings
from nextbest.bench.workload import (
    PATCH_PROFILE,
    PATHS,
    TRACK,
    Body,
    Entry,
    Part,
    differing,
    event_patch,
    framed,
    request,
)
from nextbest.v1 import event_pb2, log_pb2, log_pb2_grpc

from .cores import CORE_GENERATOR, CORE_SERVERS, cpu_s, threads_s

ROOT = Path(__file__).resolve().parents[2]
SERVE = ("-c", "from nextbest.server.command.main import run; run()", "serve")
READY_S_MAX = 300.0
STOP_S_MAX = 60.0
CALL_S_MAX = 300.0
DIGEST_TRIES = 10
PROFILES = 100_000
PROFILE_DIGITS = 6
WARMUP_S = 0.5
# The main thread sleeps meanwhile, so that the generator has its core to itself.
LOOK_S = 60.0
ACKS = {"applied": 1, "logged": 2, "replicated": 3}
# Generated stubs have no types.
_HEALTH: Any = health_pb2_grpc.HealthStub
_LOG: Any = log_pb2_grpc.LogServiceStub


class Server(NamedTuple):
    """A server under test."""

    pid: int
    lane: str
    channel: grpc.Channel
    ready_s: float

    def status(self, digest: bool = False) -> log_pb2.GetLogStatusResponse:
        """How its log is."""
        call = _LOG(self.channel).GetLogStatus
        answer: log_pb2.GetLogStatusResponse = call(
            log_pb2.GetLogStatusRequest(digest=digest), timeout=CALL_S_MAX
        )
        return answer

    def digest(self) -> tuple[int, int]:
        """The digest of its events and of its rows, once all it wrote was read back."""
        self.settled()
        for _ in range(DIGEST_TRIES):
            status = self.status(digest=True)
            # None is given when the log moved on meanwhile, if only by a heartbeat.
            if status.digest_events or status.digest_rows:
                return status.digest_events, status.digest_rows
        raise SystemExit(f"no digest of one position in {DIGEST_TRIES} tries")

    def snapshot(self) -> log_pb2.TakeSnapshotResponse:
        """Have it take a snapshot."""
        call = _LOG(self.channel).TakeSnapshot
        answer: log_pb2.TakeSnapshotResponse = call(
            log_pb2.TakeSnapshotRequest(), timeout=CALL_S_MAX
        )
        return answer

    def settled(self) -> log_pb2.GetLogStatusResponse:
        """How its log is, once it has read back all that was written here."""
        deadline_s = time.monotonic() + READY_S_MAX
        while (status := self.status()).ahead:
            if time.monotonic() > deadline_s:
                raise SystemExit(f"{status.ahead} mutations are still ahead of the log")
            time.sleep(0.1)
        return status


class Run(NamedTuple):
    """One run of the generator: what it found, and microseconds of CPU for each call."""

    result: Result
    calls: int
    lane_us: float
    loop_us: float
    server_us: float
    beside_us: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return float(self.result["rps"])

    def us(self, at: float) -> float:
        """A percentile of the latency, in microseconds."""
        return percentile(self.result, at) / 1e3


@contextlib.contextmanager
def serving(
    folder: Path,
    *arguments: str,
    program: Sequence[str] = SERVE,
    cpu: int | str = CORE_SERVERS,
    files: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server with a playbook, that of shop-100 if none is given; ended afterwards."""
    source = folder / "playbook"
    source.mkdir(exist_ok=True)
    for name, text in (files or playbook()).items():
        (source / name).write_text(text, encoding="utf-8")
    lane, control = f"unix:{folder}/lane", f"unix:{folder}/control"
    path = f"{ROOT / 'build/tree'}{os.pathsep}{ROOT}"
    command = ["taskset", "-c", str(cpu), sys.executable, *program]
    command += ["--playbook", str(source), "--listen", control, "--fast-lane", lane, *arguments]
    begin = time.perf_counter()
    with (folder / "printed").open("ab") as printed:
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=printed, stderr=printed
        )
    channel = grpc.insecure_channel(control)
    try:
        _until_ready(process, channel, folder)
        # taskset has become the interpreter: the id is still the server's.
        yield Server(process.pid, lane, channel, time.perf_counter() - begin)
    finally:
        channel.close()
        process.terminate()
        try:
            process.wait(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(process: subprocess.Popen[bytes], channel: grpc.Channel, folder: Path) -> None:
    deadline_s = time.monotonic() + READY_S_MAX
    check = _HEALTH(channel).Check
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True)
        except grpc.RpcError:
            continue
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
        time.sleep(0.01)
    raise SystemExit(f"the server did not start:\n{(folder / 'printed').read_text()[-4_000:]}")


def track(ack: str = "") -> Part:
    """Events with fresh ids about anybody, at a level; at the server's own without one."""
    settings = Settings(profiles=PROFILES)
    entry = Entry("track", 1, 1_000)
    ends = []
    for digit in "09":
        message = event_pb2.TrackRequest.FromString(
            request(settings, entry, digit * PROFILE_DIGITS)
        )
        if ack:
            message.ack = ACKS[ack]  # type: ignore[assignment]
        ends.append(message)
    zero, nine = (framed(one.SerializeToString(deterministic=True)) for one in ends)
    patches = differing(zero, nine, PATCH_PROFILE) + event_patch(ends[0])
    return Part("track", 1, [Body(PATHS.index(TRACK), zero, patches)])


def generate(server: Server, parts: list[Part], beside: Sequence[int] = (), **told: Any) -> Run:
    """One run, in which every call must be answered; `beside`: who works for it too."""
    settings = Settings(to=(server.lane,), cpu=CORE_GENERATOR, probe=0, warmup=WARMUP_S, **told)
    made = plan(settings, parts)
    generator = compiled().Generator(made)
    before, others = threads_s(server.pid), sum(map(cpu_s, beside))
    if drive(generator, None, LOOK_S):
        raise KeyboardInterrupt
    if generator.progress()["phase"] == "unreached":
        raise SystemExit(unreached(settings, generator))
    others = sum(map(cpu_s, beside)) - others
    after = threads_s(server.pid)
    used = {thread: value - before.get(thread, 0.0) for thread, value in after.items()}
    found = result(Outcome(settings, made, generator, [], {}, [], "", False))
    if set(found["statusCodeDistribution"]) != {"OK"}:
        raise SystemExit(f"not all calls were answered: {found['errorDistribution']}")
    calls = generator.counts()["finished"]
    loop = used.pop(server.pid)
    lane = max(used.values())
    whole = loop + sum(used.values())
    return Run(found, calls, *(value / calls * 1e6 for value in (lane, loop, whole, others)))
