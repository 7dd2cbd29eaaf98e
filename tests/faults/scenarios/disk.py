"""Disks that are full or fail: under SQLite, and under snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc

from nextbest.v1.common_pb2 import Position
from tests.faults import checks, disks
from tests.faults.disks import Disk, FailingDisk
from tests.faults.history import OK, History
from tests.faults.load import Load
from tests.faults.nodes import Node
from tests.faults.processes import FaultError, until
from tests.faults.stage import LASTING_RATIO, Options, Result, UnavailableError, judge, stage

DISK_BYTES = 48 << 20
RESUME_S = 5.0
# What a write that is refused for the disk's sake may be answered with.
TYPED = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"}


def _needs_disks() -> None:
    if reason := disks.unavailable():
        raise UnavailableError(reason)


async def sqlite_full(options: Options) -> Result:
    """The disk under SQLite full: writes are refused, decisions go on, and it needs no restart."""
    _needs_disks()
    result = Result("sqlite-full")
    history = result.history
    with Disk(options.folder / "disk", DISK_BYTES) as disk:
        data = disk.folder / "n1"
        async with (
            stage(options, nodes=1, log=f"sqlite:{data}/log.db", data=[data]) as made,
            made.load(options, history) as load,
        ):
            await asyncio.sleep(options.before_s)
            full = history.mark("disk full")
            disk.fill()
            await asyncio.sleep(options.after_s)
            state = await made.nodes[0].state()
            free = history.mark("disk free")
            disk.free()
            resumed_s = await _resumed(history, free, result) - free
            figures = _outage(result, options, full, free)
            await judge(made, load, result)
            await _survives_a_kill(made.nodes[0], load, result)
    result.row(options.say, state=state, resumed_s=resumed_s, **figures)
    result.must(state == "full", f"state: {state}, wanted: full")
    result.within("writes resume", resumed_s, RESUME_S)
    return result


async def sqlite_broken(options: Options) -> Result:
    """EIO under SQLite for a while: nothing acknowledged is lost, and it needs no restart."""
    return await _sqlite_fails("sqlite-broken", options, journal=False)


async def sqlite_read_only(options: Options) -> Result:
    """The file system under SQLite turns read-only after an error: decisions go on."""
    return await _sqlite_fails("sqlite-read-only", options, journal=True)


async def _sqlite_fails(name: str, options: Options, *, journal: bool) -> Result:
    _needs_disks()
    result = Result(name)
    history = result.history
    folder, image = options.folder / "disk", options.folder / "image"
    with FailingDisk(folder, image, journal=journal) as disk:
        data = disk.folder / "n1"
        async with (
            stage(options, nodes=1, log=f"sqlite:{data}/log.db", data=[data]) as made,
            made.load(options, history) as load,
        ):
            node = made.nodes[0]
            await asyncio.sleep(options.before_s)
            broken = history.mark("disk fails")
            disk.fail()
            await asyncio.sleep(options.after_s)
            state = await node.state()
            mended = history.mark("disk works")
            disk.mend()
            resumed_s = float("nan")
            if not journal:
                resumed_s = await _resumed(history, mended, result) - mended
                result.within("writes resume", resumed_s, RESUME_S)
            figures = _outage(result, options, broken, mended)
            late = _acknowledged(history, broken + 0.5, mended)
            await load.stop()
            present = {"n1": await node.counts(load.plan.prefix)}
    result.faults += checks.lost(history.writes, present) + checks.doubled(present)
    result.row(options.say, state=state, resumed_s=resumed_s, **figures)
    result.must(not late, f"{late} writes were acknowledged on a disk that fails")
    result.must(state in {"away", "full"}, f"state: {state}, wanted: away")
    return result


def _acknowledged(history: History, since_s: float, until_s: float) -> int:
    """How many writes were made and acknowledged within the span."""
    return sum(
        since_s < one.invoked_s and one.ended_s < until_s and one.outcome == OK
        for one in history.writes
    )


async def snapshot_full(options: Options) -> Result:
    """The disk of snapshots full: the old one stays, the node says why and goes on."""
    _needs_disks()
    with Disk(options.folder / "disk", DISK_BYTES) as disk:
        return await _snapshot("snapshot-full", disk.folder, disk.fill, disk.free, options)


async def snapshot_broken(options: Options) -> Result:
    """The disk of snapshots fails with EIO: likewise."""
    _needs_disks()
    with FailingDisk(options.folder / "disk", options.folder / "image") as disk:
        return await _snapshot("snapshot-broken", disk.folder, disk.fail, disk.mend, options)


async def _snapshot(
    name: str,
    folder: Path,
    break_disk: Callable[[], None],
    mend_disk: Callable[[], None],
    options: Options,
) -> Result:
    result = Result(name)
    history = result.history
    async with (
        stage(options, nodes=1, data=[folder / "n1"]) as made,
        made.load(options, history) as load,
    ):
        node = made.nodes[0]
        await asyncio.sleep(options.before_s)
        first = await node.snapshot()
        broken = history.mark("disk fails")
        break_disk()
        await asyncio.sleep(options.after_s)
        status = await _refused_snapshot(node)
        kept = (await node.status()).snapshot
        mended = history.mark("disk works")
        mend_disk()
        second = await node.snapshot()
        figures = _outage(result, options, broken, mended, writes_go_on=True)
        figures |= await judge(made, load, result)
        await _survives_a_kill(node, load, result)
    result.row(options.say, status=status, **figures)
    result.must(status.partition(":")[0] in TYPED, f"a snapshot on such a disk: {status}")
    result.must(kept == first.position, "the old snapshot is not the newest any more")
    newer = _order(second.position) > _order(first.position)
    result.must(newer, "no snapshot was written after the disk worked again")
    return result


def _order(position: Position) -> tuple[int, int]:
    return position.epoch, position.sequence


async def _refused_snapshot(node: Node) -> str:
    try:
        await node.snapshot()
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
    return "OK"


def _outage(
    result: Result, options: Options, since_s: float, until_s: float, *, writes_go_on: bool = False
) -> dict[str, float | int | str]:
    """Figures of the time in which writes were refused, or not even then."""
    history = result.history
    percentiles = result.percentiles(since_s - options.before_s, since_s, until_s, LASTING_RATIO)
    during = checks.decide_figures(history.decides, since_s, until_s)
    refused = [
        one
        for one in history.writes
        if since_s + 0.5 < one.invoked_s < until_s - 0.5 and (one.outcome != OK or one.settled)
    ]
    codes = {one.status.partition(":")[0] for one in refused}
    result.decided(during.failed)
    result.must(bool(refused) != writes_go_on, f"{len(refused)} writes were refused")
    result.must(codes <= TYPED, f"statuses: {sorted(codes)}, wanted: of {sorted(TYPED)}")
    return {
        "refused": len(refused),
        "codes": "/".join(sorted(codes)),
        "failed": during.failed,
        **percentiles,
    }


async def _resumed(history: History, since_s: float, result: Result) -> float:
    """When a write made after that moment was first acknowledged."""

    async def found() -> float:
        recent = history.writes[-1_000:]
        good = [one.ended_s for one in recent if one.invoked_s > since_s and one.outcome == OK]
        return min(good, default=0.0)

    try:
        return await until(found, 4 * RESUME_S, "writes resume")
    except FaultError as error:
        result.faults.append(str(error))
        return float("inf")


async def _survives_a_kill(node: Node, load: Load, result: Result) -> None:
    """What was acknowledged is there again after kill -9 and a restart."""
    await node.process.killed()
    await node.start()
    with suppress(FaultError):
        await until(lambda: _follows(node), 10.0, "follows")
    present = {node.name: await node.counts(load.plan.prefix)}
    result.faults += checks.lost(result.history.writes, present) + checks.doubled(present)


async def _follows(node: Node) -> bool:
    return await node.state() == "following"
