"""Progress: how far the log is known to be replicated, and who waits for this node to get on."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

from nextbest.server.log.log import Position

_log = logging.getLogger(__name__)


class Progress:
    """What others wait for; the engine holds how far the log is applied."""

    def __init__(self, committed: Position, lost_ids_max: int) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self.committed = committed
        # When that last moved on, by the loop's clock; None before it did.
        self.committed_s: float | None = None
        # The newest entry that is known of; the heartbeats move it once a second.
        self.end = committed
        # How often the node was on a branch that was lost.
        self.divergences = 0
        # The newest ids of mutations that could not be brought back.
        self.lost_ids: deque[str] = deque(maxlen=lost_ids_max)

    def commit(self, position: Position) -> None:
        """Everything up to this entry is on as many replicas as REPLICATED waits for."""
        if position[:2] > self.committed[:2]:
            self.committed = position
            self.committed_s = asyncio.get_running_loop().time()
            self.moved()

    @property
    def committed_age_s(self) -> float | None:
        """Since that last moved on; None before it did."""
        if self.committed_s is None:
            return None
        return asyncio.get_running_loop().time() - self.committed_s

    def diverge(self, common: Position) -> None:
        """What lies behind `common` is lost."""
        self.divergences += 1
        if self.committed[:2] > common[:2]:
            self.committed = common
        self.moved()

    def lose(self, ids: Iterable[str]) -> None:
        """Note what cannot be brought back."""
        for one in ids:
            _log.error("log: cannot be brought back: %s", one)
            self.lost_ids.append(one)

    def moved(self) -> None:
        """Let everybody who waits look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def until(self, holds: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until something holds; False when it does not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    await self._next_move()
        except TimeoutError:
            return holds()
        return True

    async def _next_move(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
