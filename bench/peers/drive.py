"""One run of the native generator against one server, and the CPU that the server spent."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

from nextbest.bench.compiled import compiled
from nextbest.bench.machine import gap, now
from nextbest.bench.plan import plan
from nextbest.bench.result import Result, percentile, result
from nextbest.bench.run import Outcome, drive, unreached
from nextbest.bench.settings import Settings
from nextbest.bench.workload import Body, Part, framed

from .servers import Peer

CORE_GENERATOR = 1
CONNECTIONS, STREAMS = 16, 8
# The main thread sleeps meanwhile, so that the generator has its core to itself.
LOOK_S = 60.0
WARMUP_S = 0.5
PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9, "p9999": 99.99}


class Load(NamedTuple):
    """What is asked: its path, and requests as the harness has them; the answer counts for so
    many decisions or events."""

    path: str
    parts: list[Part]
    each: int = 1


def load_of(peer: Peer) -> Load:
    """A peer's own requests, in turn."""
    return Load(peer.path, [Part(peer.key, 1, [Body(0, framed(b), ()) for b in peer.bodies])])


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of all threads a process has or had.

    A process's CPU clock is numbered by the complement of its id (see clock_getcpuclockid).
    """
    return time.clock_gettime((~pid << 3) | 2)


def measured(peer: Peer, load: Load, **options: Any) -> Result:
    """One run; `cpu_us` and `failed`, the calls that were not OK, are added to its result."""
    settings = Settings(to=(peer.address,), cpu=CORE_GENERATOR, probe=0, **options)
    told = replace(plan(settings, load.parts), paths=(load.path.encode(),))
    generator = compiled().Generator(told)
    date = now()
    before = cpu_s(peer.pid)
    interrupted = drive(generator, None, LOOK_S)
    cpu = cpu_s(peer.pid) - before
    if generator.progress()["phase"] == "unreached":
        raise SystemExit(f"{peer.name}: {unreached(settings, generator)}")
    if interrupted:
        raise KeyboardInterrupt
    counts = generator.counts()
    seen = counts["observed_ns"], counts["gap_ns"], counts["gap_most_ns"], counts["gaps"]
    gaps = [gap("during", CORE_GENERATOR, *seen)]
    found = result(Outcome(settings, told, generator, gaps, {}, [], date, False))
    found["failed"] = found["count"] - found["statusCodeDistribution"].get("OK", 0)
    found["cpu_us"] = cpu / max(counts["finished"], 1) * 1e6
    return found


def answered(peer: Peer, load: Load, **options: Any) -> Result:
    """One run in which every call must be answered: what is refused costs less."""
    found = measured(peer, load, **options)
    if found["failed"]:
        raise SystemExit(f"{peer.name}: {found['errorDistribution']}")
    return found


def summary(found: Result) -> dict[str, Any]:
    """What a run comes to; latencies in microseconds."""
    return {
        "rate": found["rps"],
        "cpu_us": found["cpu_us"],
        **{f"{name}_us": percentile(found, at) / 1e3 for name, at in PERCENTILES.items()},
        "max_us": found["slowest"] / 1e3,
        "count": found["count"],
        "failed": found["failed"],
        "valid": found["valid"] and not found["failed"],
        "advice": found["advice"],
        "late_share": found["late"]["share"],
        "lost_share": found["gaps"][0]["lost"],
        "answer_bytes": found["parts"][0]["answerBytes"]["average"],
    }


def saturated(peer: Peer, load: Load, seconds: float) -> Result:
    """A closed loop that keeps 128 calls open."""
    return answered(
        peer,
        load,
        closed=True,
        connections=CONNECTIONS,
        streams=STREAMS,
        duration=seconds,
        warmup=WARMUP_S,
    )


def one_at_a_time(peer: Peer, load: Load, seconds: float) -> Result:
    """A closed loop of a single call."""
    return answered(
        peer, load, closed=True, connections=1, streams=1, duration=seconds, warmup=WARMUP_S
    )


def paced(peer: Peer, load: Load, rate: float, seconds: float) -> Result:
    """An open loop: calls are due by the clock, and late answers do not delay the next."""
    return measured(
        peer, load, rate=rate, connections=CONNECTIONS, duration=seconds, warmup=WARMUP_S
    )
