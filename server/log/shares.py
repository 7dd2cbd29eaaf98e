"""Shares: what this process has claimed of budgets, spent once the log keeps the claim."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from nextbest.server.log.context import Context
from nextbest.server.log.ledgers import Period
from nextbest.server.log.log import Position

# Spent ones that a lost tail may still take back, the newest: a claim is spent once replicas have
# it, so that a failover takes some at most.
SHARES_KEPT = 1_024


class _Share(NamedTuple):
    position: Position
    period: Period
    amount: int


class Shares:
    """Those that wait to be safe, and those that are spent."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: list[_Share] = []
        # Set where some may wait.
        self._claimed = asyncio.Event()
        self._granted: list[_Share] = []
        # Those that a lost tail took back.
        self.revoked = 0

    def add(self, position: Position, period: Period, amount: int) -> None:
        """A claim of this process was read back."""
        self._waiting.append(_Share(position, period, amount))
        self._claimed.set()

    def waiting(self, period: Period) -> int:
        """How much waits to be safe."""
        return sum(one.amount for one in self._waiting if one.period == period)

    def turn_back(self, common: Position) -> None:
        """Those on a tail that was lost are nothing to spend any more, but stay claimed."""
        engine = self._context.engine
        for share in self._granted:
            if share.position[:2] > common[:2]:
                self.revoked += 1
                engine.grant_budget(share.period.key, share.period.number, -share.amount, True)
        self._granted = [one for one in self._granted if one.position[:2] <= common[:2]]
        self._waiting = [one for one in self._waiting if one.position[:2] <= common[:2]]

    def give_up(self) -> None:
        """Spend nothing more of what waits."""
        self._waiting.clear()

    async def run(self) -> None:
        """Let be spent what is safe by now, until cancelled."""
        context = self._context
        while True:
            if not self._waiting:
                # Not roused by each entry of a log that nobody claims in.
                self._claimed.clear()
                await self._claimed.wait()
            await context.progress.until(lambda: bool(self._safe()), None)
            safe = self._safe()
            # A master that was replaced may have had a replica still.
            if await context.log.stays() is True:
                self._grant(safe)
            else:
                await asyncio.sleep(context.limits.pulse_ms / 1_000)

    def _safe(self) -> list[_Share]:
        committed = self._context.progress.committed
        return [one for one in self._waiting if one.position[:2] <= committed[:2]]

    def _grant(self, safe: list[_Share]) -> None:
        for share in safe:
            # It may be gone by now: the log has turned back meanwhile.
            if share in self._waiting:
                self._waiting.remove(share)
                self._granted.append(share)
                self._context.engine.grant_budget(*share.period, share.amount, True)
        del self._granted[:-SHARES_KEPT]
