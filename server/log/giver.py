"""The giver: claims shares of budgets for those who ask, where this member coordinates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.entry import CLAIMS_FORMAT
from nextbest.server.log.ledgers import Ledgers, Period, Process
from nextbest.server.log.log import BEFORE, Position
from nextbest.server.log.members import Members
from nextbest.server.log.needs import near
from nextbest.server.log.notes import Notes
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import BudgetInfo

# No claim takes more of what is left to claim, than this part of it, a share at least.
FAIR_PART = 8

_log = logging.getLogger(__name__)


class _Given(NamedTuple):
    """Up to where a budget was given by a claim that was not read back yet, and when."""

    end: int
    at_s: float


class Giver:
    """Follows what processes ask for; a claim waits for the log, and nothing else waits for it."""

    def __init__(
        self,
        context: Context,
        members: Members,
        coordinator: Coordinator,
        notes: Notes,
        ledgers: Ledgers,
    ) -> None:
        self._context = context
        self._members = members
        self._coordinator = coordinator
        self._notes = notes
        self._ledgers = ledgers
        self._wants: dict[tuple[Process, Period], int] = {}
        self._given: dict[Period, _Given] = {}
        # Those of which nothing can be given: it is logged once.
        self._refused: set[Period] = set()
        self._opened = BEFORE
        self._due = asyncio.Event()

    def heard(self, process: Process, reports: Iterable[log_pb2.BudgetReport]) -> None:
        """What a process asks for; another one of its member is gone."""
        for one in [one for one in self._wants if one[0] != process]:
            if one[0].member == process.member:
                del self._wants[one]
        for report in reports:
            if report.wanted > 0:
                self._wants[process, Period.named(report)] = report.wanted
                self._due.set()

    def moved(self) -> None:
        """The reader passed what may let this member give."""
        self._due.set()

    def opened(self, position: Position) -> None:
        """An epoch has begun: what was given in the last one may be lost."""
        self._opened = position
        self._given.clear()

    async def run(self) -> None:
        """Give what is asked for, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if not self._coordinator.leads:
                # Who waits asks whoever leads then again.
                self._wants.clear()
            if not self._wants:
                continue
            if self._may_give():
                await self._give()
            else:
                await asyncio.sleep(self._context.limits.early_ms / 1_000)
                self._due.set()

    def _may_give(self) -> bool:
        """Whether all members read claims, and have told again what they have in this epoch."""
        context = self._context
        if self._coordinator.format < CLAIMS_FORMAT or context.standing.state != "following":
            return False
        since_ms = context.now_us() // 1_000 - context.limits.lease_ms
        return all(one.position[:2] >= self._opened[:2] for one in self._members.since(since_ms))

    async def _give(self) -> None:
        known = {Period.at(one): one for one in near(self._context)}
        wants, self._wants = self._wants, {}
        since_s = self._alive_since_s()
        self._given = {at: one for at, one in self._given.items() if one.at_s > since_s}
        self._refused &= known.keys()
        for (process, period), wanted in wants.items():
            budget = known.get(period)
            if budget is not None and self._is_alive(process, period):
                await self._claim(process, budget, wanted)

    def _is_alive(self, process: Process, period: Period) -> bool:
        has = self._ledgers.of(period).holders.get(process)
        if has is not None and has.stopped:
            return False
        return self._members.seen_s(process.member) >= self._alive_since_s()

    def _alive_since_s(self) -> float:
        return asyncio.get_running_loop().time() - self._context.limits.lease_ms / 1_000

    async def _claim(self, process: Process, budget: BudgetInfo, wanted: int) -> None:
        period = Period.at(budget)
        if not self._takes(period, budget):
            return
        start = self._start(period)
        amount = self._amount(budget, start, wanted)
        if amount <= 0:
            return
        self._given[period] = _Given(start + amount, asyncio.get_running_loop().time())
        known = await self._notes.append(
            claim=log_pb2.Claim(
                budget=budget.key,
                period=budget.period,
                calendar=budget.calendar,
                start=start,
                amount=amount,
                holder=process.member,
                process=process.mark,
                term=self._coordinator.term,
            )
        )
        if not known:
            # Should the log have it for all that, the next claim of this part comes to nothing.
            self._given.pop(period, None)

    def _takes(self, period: Period, budget: BudgetInfo) -> bool:
        """Whether anything can be given of it at all; notes when that ends."""
        why = self._ledgers.why_not(period, budget.calendar)
        if not why:
            self._refused.discard(period)
        elif period not in self._refused:
            self._refused.add(period)
            _log.error("budget %s: nothing is given: %s", budget.name, why)
        return not why

    def _start(self, period: Period) -> int:
        """Where the next part begins: behind what was given a moment ago, too."""
        given = self._given.get(period)
        return max(self._ledgers.of(period).claimed, given.end if given else 0)

    def _amount(self, budget: BudgetInfo, start: int, wanted: int) -> int:
        """How much to give: a fair part, in whole grains, of what is released by now."""
        returned = self._ledgers.of(Period.at(budget)).returned
        open_ = budget.released + returned - start
        members = max(1, self._members.alive(self._alive_since_s()))
        fair = max(budget.share, budget.dearest, open_ // (FAIR_PART * members))
        amount = min(max(wanted, budget.share), fair)
        return min(-(-amount // budget.grain) * budget.grain, open_)
