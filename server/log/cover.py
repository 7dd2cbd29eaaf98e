"""Cover: when a snapshot holds nothing that the log could lose, and when one is taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from nextbest.server.log.context import Context
from nextbest.server.log.log import QUEUES, LogError, Position

_log = logging.getLogger(__name__)


class SnapshotVoidError(LogError):
    """A snapshot holds what the log may lose, or has lost: it must not become valid."""

    status_reason = "SNAPSHOT_VOID"


class Snapshots(Protocol):
    """What writes snapshots; see `Cover` for when one becomes valid."""

    @property
    def newest(self) -> Position:
        """How far the newest durable snapshot covers the log; BEFORE without one."""
        ...

    async def take(self) -> object:
        """Write one: mark, copy, settle, and only then make it valid."""
        ...


class Mark(NamedTuple):
    """Where a snapshot begins: the log is replayed from behind `position`."""

    position: Position
    horizon_ms: int
    divergences: int


class Cover:
    """Tells snapshots when they are covered."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def mark(self) -> Mark:
        """Call it before the first row is copied."""
        context = self._context
        return Mark(context.here, context.engine.store.horizon_ms, context.progress.divergences)

    async def settle(self, mark: Mark) -> Position:
        """Call it after the last row was copied; gives the entry behind which it holds nothing.

        Waits until all that was applied here by now, our own writes too, is read back from the
        log and known to be on as many replicas as REPLICATED waits for.  Raises
        SnapshotVoidError when that takes too long, or when the log lost something meanwhile.
        """
        limits = self._context.limits
        deadline_s = asyncio.get_running_loop().time() + limits.settle_ms_max / 1_000
        return await self._safe(lambda holds: self._until(mark, holds, deadline_s))

    async def settled(self) -> Position:
        """Wait as `settle` does, as long as it takes; gives the last entry applied when called.

        For one connection: what a lost tail takes back is not noticed.
        """
        here, progress = self._context.here, self._context.progress
        await self._safe(lambda holds: progress.until(holds, None))
        return here

    async def _safe(self, until: Callable[[Callable[[], bool]], Awaitable[object]]) -> Position:
        """Wait for all that was applied by now; gives an entry behind which nothing of it is."""
        ahead, progress = self._context.ahead, self._context.progress
        queued = [self._queued(queue) for queue in range(QUEUES)]
        await until(lambda: all(gone() for gone in queued))
        newest = ahead.newest
        await until(lambda: ahead.oldest > newest)
        end = self._context.here
        await until(lambda: progress.committed[:2] >= end[:2])
        return end

    def _queued(self, queue: int) -> Callable[[], bool]:
        """Whether all that waits in the engine's queue now has left it."""
        ahead, engine = self._context.ahead, self._context.engine
        target = ahead.told(queue) + engine.log_waiting(queue)
        return lambda: ahead.told(queue) >= target or not engine.log_waiting(queue)

    async def _until(self, mark: Mark, holds: Callable[[], bool], deadline_s: float) -> None:
        progress = self._context.progress

        def ended() -> bool:
            return holds() or not self._stands(mark)

        timeout_s = deadline_s - asyncio.get_running_loop().time()
        if not await progress.until(ended, timeout_s):
            raise SnapshotVoidError(
                f"snapshot: not covered by the log within {self._context.limits.settle_ms_max} ms"
            )
        if not self._stands(mark):
            raise SnapshotVoidError("snapshot: the log lost entries or moved its horizon meanwhile")

    def _stands(self, mark: Mark) -> bool:
        context = self._context
        return (
            mark.divergences == context.progress.divergences
            and mark.horizon_ms == context.engine.store.horizon_ms
            and not context.standing.has("astray")
        )


class Schedule:
    """Takes snapshots, one at a time and not in step with other members."""

    def __init__(self, context: Context, snapshots: Snapshots) -> None:
        self._context = context
        self._snapshots = snapshots
        self._wanted = asyncio.Event()

    def soon(self) -> None:
        """Take one as soon as the log is followed: nothing else holds what came before it."""
        self._wanted.set()

    async def run(self) -> None:
        """Take one every `snapshot_ms`, less up to half, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._pause_ms() / 1_000):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            try:
                await self._snapshots.take()
                self._wanted.clear()
            except Exception as error:
                # The last one stays, and the log is not trimmed past it.
                _log.error("snapshot: not taken: %s", error)
                await asyncio.sleep(self._context.limits.snapshot_again_ms / 1_000)

    def _pause_ms(self) -> float:
        limits, random = self._context.limits, self._context.random
        return limits.snapshot_ms * random.uniform(0.5, 1.0)
