"""A lane, driven to its highest rate and beyond."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from bench.log.cores import CORE_GENERATOR
from bench.log.serving import serving
from bench.telemetry.agreement import pages_of, real_time
from nextbest.bench.process import usage
from nextbest.bench.result import Result, result
from nextbest.bench.run import run
from nextbest.bench.settings import Settings
from nextbest.v1 import common_pb2, decision_pb2

from .pages import answered, level, shed

FAST, GRPC = LANES = ("fast", "grpc")
OBJECTIVE_S = 0.005
# Of the closed loop that finds the highest rate: the lane always has a call, and none waits long.
FEW_CONNECTIONS, FEW_STREAMS = 8, 8
# Of the open loops, by what their runs are called besides.
SHAPES = {"": (8, 100), "_many": (64, 20)}
# A queue of some 10 ms, which has to be served.
QUEUE_CONNECTIONS, QUEUE_STREAMS = 8, 32
TIMES = {"1.5x": 1.5, "3x": 3.0}
LOOK_S = 0.1
RECOVERY_S_MAX = 30.0
DECIDE = "/nextbest.v1.DecisionService/Decide"


class Target(NamedTuple):
    """A lane of a server: what it is called on its pages, and where it and they are."""

    name: str
    address: str
    pages: str
    pid: int
    deadline_ms: int = 0


class Run(NamedTuple):
    """What came of one load: calls a second that were asked (0: a closed loop) and answered OK."""

    asked: float
    rate: float
    refused: int
    p99_ms: float
    memory_mb: float
    recovery_s: float


class Found(NamedTuple):
    """The highest rate, and the runs by name."""

    maximum: float
    runs: dict[str, Run]


def measure(folder: Path, seconds: float, lane: str, call_us: int, deadline_ms: int) -> Found:
    """All runs on one server; calls have that deadline in the open loops, 0 for none."""
    arguments = ("--set", f"overload.test_call_us={call_us}")
    arguments += ("--set", "telemetry.address=127.0.0.1:0")
    with real_time(), serving(folder, *arguments) as server:
        address = server.lane if lane == FAST else f"unix:{folder}/control"
        target = Target(lane, address, pages_of(folder), server.pid)
        before = highest(target, seconds)
        runs = {"256 calls": queued(target, seconds)}
        due = target._replace(deadline_ms=deadline_ms)
        for (name, times), (more, shape) in product(TIMES.items(), SHAPES.items()):
            runs[name + more] = overloaded(due, seconds, times * before, shape)
        # Of a machine that others use too, both are too low.
        maximum = max(before, highest(target, seconds))
    return Found(maximum, runs)


def highest(target: Target, seconds: float) -> float:
    """Calls a second, each answered."""
    found = driven(
        target, seconds, drain_s=1, closed=True, connections=FEW_CONNECTIONS, streams=FEW_STREAMS
    )
    if set(found["statusCodeDistribution"]) != {"OK"}:
        raise SystemExit(f"not all calls were answered: {found['errorDistribution']}")
    return float(found["rps"])


def queued(target: Target, seconds: float) -> Run:
    """A closed loop with more calls than the lane does within its target."""
    return looked_at(
        target,
        seconds,
        closed=True,
        connections=QUEUE_CONNECTIONS,
        streams=QUEUE_STREAMS,
    )


def overloaded(target: Target, seconds: float, rate: float, shape: tuple[int, int]) -> Run:
    """An open loop at a rate that the lane cannot do, over connections of so many calls."""
    connections, streams = shape
    return looked_at(target, seconds, rate=rate, connections=connections, streams=streams)


def looked_at(target: Target, seconds: float, **told: Any) -> Run:
    """One load, the server's own figures around it, and how it gets over it."""
    pages, lane = target.pages, target.name
    before, held, refused = answered(pages, lane), usage(target.pid).rss, shed(pages, lane)
    most = [held]
    found = driven(target, seconds, lambda _generator: most.append(usage(target.pid).rss), **told)
    recovery_s = recovered(target)
    codes: dict[str, int] = found["statusCodeDistribution"]
    return Run(
        asked=told.get("rate", 0.0),
        rate=codes.get("OK", 0) / seconds,
        refused=shed(pages, lane) - refused,
        p99_ms=answered(pages, lane).less(before).at(99) * 1e3,
        memory_mb=(max(most) - held) / 1e6,
        recovery_s=recovery_s,
    )


def driven(
    target: Target,
    seconds: float,
    watch: Callable[[object], object] | None = None,
    drain_s: float = 0.0,
    **told: Any,
) -> Result:
    """One run of the generator; what has no answer at its end is cancelled."""
    settings = Settings(
        to=(target.address,),
        cpu=CORE_GENERATOR,
        duration=seconds,
        # Calls of a warm-up that are answered late would take the place of those that count.
        warmup=0,
        drain=drain_s,
        probe=0,
        mix="decide",
        deadline_ms=target.deadline_ms,
        **told,
    )
    return result(run(settings, watch, look_s=LOOK_S))  # type: ignore[arg-type]


def recovered(target: Target) -> float:
    """Seconds until the lane leaves nothing out and decides within the objective."""
    begin = time.monotonic()
    someone = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id="somebody")
    asked = decision_pb2.DecideRequest(identity=someone, placements=["home"])
    request = asked.SerializeToString()
    with grpc.insecure_channel(target.address) as channel:
        decide = channel.unary_unary(DECIDE)
        while (spent := time.monotonic() - begin) < RECOVERY_S_MAX:
            if prompt(decide, request) and level(target.pages, target.name) == 0:
                return spent
            time.sleep(0.01)
    raise SystemExit(f"the {target.name} lane was not whole again within {RECOVERY_S_MAX:g} s")


def prompt(decide: Any, request: bytes) -> bool:
    """Whether a decision comes, and within the objective."""
    begin = time.monotonic()
    try:
        decide(request, timeout=1)
    except grpc.RpcError:
        return False
    return time.monotonic() - begin <= OBJECTIVE_S


def figures(found: Found) -> dict[str, float]:
    """What the limits are about."""
    open_loops = {name: one for name, one in found.runs.items() if one.asked}
    goodput = {
        f"overload_goodput_{name}": one.rate / found.maximum for name, one in open_loops.items()
    }
    return {
        **goodput,
        "overload_maximum": found.maximum,
        "overload_queue_refused": found.runs["256 calls"].refused,
        "overload_p99_ms": max(one.p99_ms for one in open_loops.values()),
        "overload_memory_mb": max(one.memory_mb for one in open_loops.values()),
        "overload_recovery_s": max(one.recovery_s for one in open_loops.values()),
    }
