"""The stage of a scenario: a log, nodes and a load, what was measured, and how it is judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from tests.faults import checks, redis_cluster
from tests.faults.checks import Standing
from tests.faults.history import OK, UNKNOWN, History
from tests.faults.load import Load, Plan
from tests.faults.netns import Network
from tests.faults.nodes import Node
from tests.faults.processes import Processes
from tests.faults.redis_cluster import RedisCluster, Settings

CONVERGE_S: Final = 5.0
SETTLE_S: Final = 20.0
# How much the p99 of decisions may grow: while something is wrong, and when something dies.
LASTING_RATIO: Final = 1.1
SUDDEN_RATIO: Final = 2.0
# A difference of percentiles that small is the machine's, not the fault's.
NOISE_S: Final = 0.000_5

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """Say nothing."""


class UnavailableError(Exception):
    """What a scenario needs is not on this machine; the text says what."""


@dataclass(slots=True)
class Options:
    """How to run a scenario."""

    folder: Path
    times: int = 1
    decides_per_s: int = 2_000
    writes_per_s: int = 200
    # Before the fault, and after it.
    before_s: float = 2.0
    after_s: float = 3.0
    minutes: float = 1.0
    decide_timeout_s: float = 0.2
    say: Say = quiet


@dataclass(slots=True)
class Result:
    """What a scenario found: a row for each time, and what broke a promise."""

    name: str
    rows: list[dict[str, float | int | str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    # Promises of time that were broken: on a machine that others share it may be their doing.
    late: list[str] = field(default_factory=list)
    history: History = field(default_factory=History)

    def row(self, say: Say, **figures: float | int | str) -> None:
        """Add the figures of one time."""
        self.rows.append(figures)
        say(", ".join(f"{name} {_short(value)}" for name, value in figures.items()))

    def at_most(self, what: str, seen: float, most: float) -> None:
        """A promise: `seen` may not be over `most`."""
        if not seen <= most:
            self.faults.append(f"{what}: {_short(seen)}, allowed: at most {_short(most)}")

    def within(self, what: str, seen_s: float, most_s: float) -> None:
        """A promise of time: `seen_s` may not be over `most_s`."""
        if not seen_s <= most_s:
            self.late.append(f"{what}: {seen_s:.3g} s, allowed: at most {most_s:.3g} s")

    @property
    def broken(self) -> list[str]:
        """Every promise that was broken."""
        return self.faults + self.late

    def decided(self, failed: int, most: float = 0) -> None:
        """A promise: at most so many decisions failed."""
        if failed > most:
            why = sorted(self.history.decides.statuses.items(), key=lambda one: -one[1])[:3]
            self.faults.append(f"decisions failed: {failed}, allowed: at most {most:.3g}: {why}")

    def must(self, holds: bool, otherwise: str) -> None:
        """A promise that holds or does not."""
        if not holds:
            self.faults.append(otherwise)

    def percentiles(
        self, before_s: float, since_s: float, until_s: float, ratio: float
    ) -> dict[str, float]:
        """The p99 before and after `since_s`; a promise: it grew to at most `ratio` times.

        What lasts is judged by what is usual while it lasts, what is sudden by every call.
        """
        p99 = checks.steady_p99 if ratio == LASTING_RATIO else checks.whole_p99
        before = p99(self.history.decides, before_s, since_s)
        during = p99(self.history.decides, since_s, until_s)
        most = max(before * ratio, before + NOISE_S)
        stall_s = self.history.stall_s(since_s, until_s)
        note = f", the client itself stood still for {stall_s:.3g} s" if stall_s else ""
        self.within(f"decide p99 (before: {before:.4f} s{note})", during, most)
        return {"p99_before_ms": before * 1e3, "p99_ms": during * 1e3}


@dataclass
class Stage:
    """Everything that runs."""

    processes: Processes
    nodes: list[Node]
    cluster: RedisCluster | None = None
    network: Network | None = None

    @property
    def redis(self) -> RedisCluster:
        """The cluster, where there is one."""
        assert self.cluster is not None
        return self.cluster

    def load(self, options: Options, history: History, **plan: int | str | float) -> Load:
        """A client of all nodes."""
        wanted = {
            "decides_per_s": options.decides_per_s,
            "writes_per_s": options.writes_per_s,
            "decide_timeout_s": options.decide_timeout_s,
        }
        made = Plan(**{**wanted, **plan})  # type: ignore[arg-type]
        return Load([node.endpoint for node in self.nodes], made, history)

    async def standings(self) -> list[Standing]:
        """Where the nodes that answer stand."""
        found = await asyncio.gather(
            *(node.standing() for node in self.nodes if node.process.alive), return_exceptions=True
        )
        return [one for one in found if isinstance(one, Standing)]

    async def converged(self, timeout_s: float) -> tuple[float, list[str]]:
        """How long until all nodes are alike, and what still differs when the time is up."""
        started = time.monotonic()
        while True:
            standings = await self.standings()
            found = checks.apart(standings)
            if len(standings) < len(self.nodes):
                found.append(f"{len(standings)} of {len(self.nodes)} nodes answer")
            took = time.monotonic() - started
            if not found or took > timeout_s:
                return took, found
            await asyncio.sleep(0.05)


@asynccontextmanager
async def stage(
    options: Options,
    *,
    nodes: int = 3,
    settings: Settings | None = None,
    in_namespaces: bool = False,
    log: str = "",
    node_settings: Mapping[str, str] | None = None,
    data: Sequence[Path] = (),
) -> AsyncIterator[Stage]:
    """Redis with Sentinels and nodes, started; or nodes with the given log alone."""
    reason = redis_cluster.unavailable() if not log else ""
    reason = reason or (Network.unavailable() if in_namespaces else "")
    if reason:
        raise UnavailableError(reason)
    async with AsyncExitStack() as stack:
        names = [f"n{number}" for number in range(1, nodes + 1)]
        hosts = [f"r{number}" for number in range(1, (settings or Settings()).hosts + 1)]
        network = stack.enter_context(Network(hosts + names)) if in_namespaces else None
        processes = stack.enter_context(Processes(options.folder))
        cluster = None if log else RedisCluster(processes, settings, network)
        if cluster:
            await cluster.start()
        url = log or (cluster.url if cluster else "")
        made = []
        for number, name in enumerate(names):
            enter = network.enter(name) if network else ()
            folder = data[number] if data else None
            more = {**_log_settings(name, network), **(node_settings or {})}
            node = Node(processes, name, url, enter, more, folder)
            stack.push_async_callback(node.close)
            made.append(node)
        await _started(made)
        yield Stage(processes, made, cluster, network)


def _log_settings(name: str, network: Network | None) -> dict[str, str]:
    """Without namespaces each port stands for a host; Debian mends its Redis without a version."""
    by_port = "false" if network else "true"
    return {"log.member": name, "log.trust_build": "true", "log.hosts_by_port": by_port}


async def _started(nodes: Sequence[Node]) -> None:
    """The first alone: the playbook is then known to the others, who need not publish it."""
    await nodes[0].start()
    await asyncio.gather(*(node.start() for node in nodes[1:]))


async def judge(
    stage: Stage, load: Load, result: Result, *, converge_s: float = CONVERGE_S
) -> dict[str, float | int]:
    """After the load: repeat what is unknown, wait for quiet, and look for losses and doubles."""
    await load.stop()
    history = result.history
    unknown = sum(one.outcome == UNKNOWN for one in history.writes)
    unsettled = await load.settle(SETTLE_S)
    statuses = {one.status for one in history.writes if one.outcome != OK}
    result.must(not unsettled, f"{unsettled} writes cannot be settled: {sorted(statuses)[:3]}")
    took, apart = await stage.converged(converge_s)
    result.faults += apart
    losses = await census(stage, load, result)
    return {
        "writes": len(history.writes),
        "unknown": unknown,
        "lost": losses,
        "converged_s": round(took, 2),
    }


async def census(stage: Stage, load: Load, result: Result) -> int:
    """Count every write on every node; returns how many findings of loss there are."""
    present = {}
    for node in stage.nodes:
        try:
            present[node.name] = await node.counts(load.plan.prefix)
        except grpc.aio.AioRpcError as error:
            result.faults.append(f"{node.name}: {error.code().name}: {error.details()}")
    lost = checks.lost(result.history.writes, present)
    result.faults += lost + checks.doubled(present)
    result.faults += checks.invented(result.history.writes, present)
    missing = {one.person for one in result.history.acknowledged()}
    return sum(
        len(missing - {person for person, count in counts.items() if count})
        for counts in present.values()
    )


def _short(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
