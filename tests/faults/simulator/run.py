"""Runs seeds: one at a time with a trace, or many on all cores."""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import traceback
from dataclasses import dataclass, field
from itertools import count
from random import Random

from tests.faults.simulator import invariants, scenario
from tests.faults.simulator.features import Features, drawn, whole
from tests.faults.simulator.world import World

# What a seed draws its mode from: half of all seeds have many faults at once.
MODES = ("single", "many", "many", "unsafe")
# A seed, its mode ("" for the one it draws), and whether its world has everything.
Job = tuple[int, str, bool]
# What a run leaves in cycles is collected between runs, every so many: while it is little, and its
# memory can be had again.
COLLECT_EVERY = 5
# What is free between blocks that are not goes back to the system: gigabytes after some thousand
# runs.  What is given back has to be had again, a page at a time.
TRIM_EVERY = 1_000


# M_MMAP_THRESHOLD of mallopt(3), fixed: an engine's large tables, mostly never touched, are then
# fresh pages each time and need not be cleared.
_LIBC = ctypes.CDLL(None)
_LIBC.mallopt(-3, 1 << 18)
_jobs = count()


@dataclass(slots=True)
class Outcome:
    """What a seed came to; `fault` is empty when every invariant held."""

    seed: int
    mode: str
    digest: int
    steps: int
    fault: str
    seconds: float
    trace: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def run(
    seed: int,
    *,
    world_type: type[World] = World,
    trace: bool = False,
    mode: str = "",
    features: Features | None = None,
) -> Outcome:
    """Run a seed to its end."""
    heard = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return _run(seed, world_type, trace, mode, features or drawn(seed))
    finally:
        logging.disable(heard)


def _run(seed: int, world_type: type[World], trace: bool, mode: str, features: Features) -> Outcome:
    mode = mode or Random(f"mode {seed}").choice(MODES)
    world = world_type(seed, features)
    lines: list[str] = []
    if trace:
        world.loop.trace = lines.append
    fault = ""
    try:
        world.loop.run_until_complete(scenario.play(world, mode))
        invariants.check(world, mode)
    except AssertionError as error:
        fault = f"{type(error).__name__}: {error}"
        if not isinstance(error, (invariants.BrokenError, scenario.NotSettledError)):
            fault += "\n" + traceback.format_exc()
    except Exception:
        fault = traceback.format_exc()
    for error in world.loop.errors:
        where = traceback.format_exception(error.get("exception")) if fault else []
        fault += f"\n{error['process']}: {error.get('message')}\n" + "".join(where)
    outcome = Outcome(
        seed, mode, world.loop.digest, world.loop.steps, fault, world.loop.now - 1000, lines
    )
    outcome.counts = counted(world)
    world.close()
    return outcome


def run_job(job: Job) -> Outcome:
    """Run one of many in this process."""
    collect(next(_jobs))
    seed, mode, is_whole = job
    return run(seed, mode=mode, features=whole(seed) if is_whole else None)


def counted(world: World) -> dict[str, int]:
    """How much of what happened in a run."""
    done = [one for one in world.writes if one.acknowledged is not None]
    return {
        "acknowledged": len(done),
        "attempts": sum(len(one.attempts) for one in world.writes),
        "unknown": sum(a.outcome == "unknown" for w in world.writes for a in w.attempts),
        "revocations": len(world.revoked),
        "unheeded": len(world.unheeded),
        "deaths": len(world.deaths),
        "proposed": world.proposed,
        "shown": world.shown,
        "orphans shown": world.orphans_shown,
        "overspent": len(world.overspent),
        "lost tails": len(world.losses),
        "excused": len(world.excused),
        "deaths between": sum(since > 0 for since in world.deaths_away.values()),
        "divergences": sum(
            one.node.context.progress.divergences for one in world.machines if not one.recovering
        ),
        "snapshots": sum(len(one.disk.kept) for one in world.machines),
        "horizons": sum(one.engine.store.horizon_ms > 0 for one in world.machines),
        "epochs": max(len(one.engine.epochs()) for one in world.machines),
    }


def collect(before: int) -> None:
    """Keep memory flat over many seeds: `before` have run in this process."""
    if before == 0 and multiprocessing.parent_process() is not None:
        # A worker's, which has nothing else to do; a process of tests goes on to others.
        gc.disable()
        gc.freeze()
    if before % COLLECT_EVERY == 0 and not gc.isenabled():
        gc.collect()
    if before % TRIM_EVERY == 0:
        _LIBC.malloc_trim(0)
