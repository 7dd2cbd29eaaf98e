"""Minutes or hours under load, with something killed each minute."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from tests.faults import checks
from tests.faults.load import REPLICATED
from tests.faults.stage import Options, Result, Stage, judge, stage

MINUTE_S = 60.0
SAMPLE_S = 5.0
# The first minutes fill caches and columns; a slope is taken from what comes after.
WARM_SHARE = 0.2
SLOPE_BYTES_PER_WRITE = 2_000


async def soak(options: Options) -> Result:
    """Kill something each minute; the last node is never killed, and its memory is watched."""
    result = Result("soak")
    async with stage(options) as made, made.load(options, result.history, ack=REPLICATED) as load:
        watching = asyncio.create_task(_watch(made, result))
        began = time.monotonic()
        minute = 0
        while time.monotonic() - began < options.minutes * MINUTE_S:
            await asyncio.sleep(MINUTE_S / 3)
            text = await _break(made, minute)
            at = result.history.mark(text)
            options.say(f"minute {minute + 1}: {text}")
            await asyncio.sleep(MINUTE_S / 3)
            await _mend(made)
            await asyncio.sleep(max(0.0, began + (minute + 1) * MINUTE_S - time.monotonic()))
            _report(result, minute, text, at, options)
            minute += 1
        watching.cancel()
        samples, spread = await watching
        figures = await judge(made, load, result)
    slope = _slope(samples)
    result.row(
        options.say, round="end", rss_mb_per_hour=slope * 3_600 / 1e6, unequal=spread, **figures
    )
    # A person is stored for each write, which is what may grow.
    allowed = load.plan.writes_per_s * SLOPE_BYTES_PER_WRITE
    result.at_most("memory, bytes a second", slope, allowed)
    return result


async def _break(made: Stage, minute: int) -> str:
    """One of five faults in turn; returns what was done."""
    cluster, killable = made.redis, made.nodes[:-1]
    node = killable[(minute // 5) % len(killable)]
    match minute % 5:
        case 0:
            await node.process.killed()
            return f"killed {node.name}"
        case 1:
            master = cluster.master()
            assert master is not None
            await master.process.killed()
            return f"killed {master.name}, the master"
        case 2:
            replica = cluster.replicas()[0]
            await replica.process.killed()
            return f"killed {replica.name}, a replica"
        case 3:
            node.process.pause()
            await asyncio.sleep(5.0)
            node.process.resume()
            return f"paused {node.name} for 5 s"
        case _:
            sentinel = cluster.sentinels[(minute // 5) % len(cluster.sentinels)]
            await sentinel.process.killed()
            return f"killed {sentinel.name}"


async def _mend(made: Stage) -> None:
    for server in (*made.redis.servers, *made.redis.sentinels):
        if not server.process.alive:
            server.process.start()
    for node in made.nodes:
        if not node.process.alive:
            await node.start()


def _report(result: Result, minute: int, text: str, at: float, options: Options) -> None:
    now = time.monotonic()
    figures = checks.decide_figures(result.history.decides, now - MINUTE_S, now)
    result.row(
        options.say,
        minute=minute + 1,
        fault=text,
        failed=figures.failed,
        p99_ms=figures.p99_s * 1e3,
        gap_ms=figures.gap_s * 1e3,
        write_gap_s=checks.write_gap(result.history.writes[-60_000:], at - 1, now),
    )
    result.decided(figures.failed, figures.calls * 0.001)


async def _watch(made: Stage, result: Result) -> tuple[list[tuple[float, int]], int]:
    """Samples of the last node's memory; digests that differ are findings at once."""
    samples: list[tuple[float, int]] = []
    unequal = 0
    try:
        while True:
            samples.append((time.monotonic(), made.nodes[-1].process.resident_bytes()))
            found = checks.unequal(await made.standings())
            unequal += len(found)
            result.faults += found[: max(0, checks.FINDINGS_MAX - len(result.faults))]
            await asyncio.sleep(SAMPLE_S)
    except asyncio.CancelledError:
        return samples, unequal


def _slope(samples: list[tuple[float, int]]) -> float:
    """Bytes a second, by least squares over what comes after the warm part."""
    late = samples[int(len(samples) * WARM_SHARE) :]
    if len(late) < 3:
        return 0.0
    times, sizes = zip(*late, strict=True)
    return float(np.polyfit(np.array(times) - times[0], np.array(sizes, dtype=float), 1)[0])
