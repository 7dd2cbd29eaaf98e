"""Orphans: what processes held of budgets when they stopped, until it is used or has come back.

A process that stops names what it held in its last word.  From there on every node looks out for
the impressions; and once the last hold is over, the coordinator says in the log how much of it
nothing has used, which may then be claimed again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import NamedTuple

from nextbest.server.log.contents import unpack
from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.entry import DamagedEntryError
from nextbest.server.log.ledgers import Ledgers, Period, Process
from nextbest.server.log.log import Position, Record
from nextbest.server.log.members import Members
from nextbest.server.log.notes import Notes
from nextbest.v1 import log_pb2

# All that one last word names: 2.6 MB.  What is held beyond them counts as used.
NAMED_MAX = 65_536
# Of one hold: numbers of 8 bytes, of which the third is the amount.
_NUMBERS = 5
HOLD_BYTES = 8 * _NUMBERS
_AMOUNT = 2

_log = logging.getLogger(__name__)


class Left(NamedTuple):
    """What a process held of one budget, and when that is over by the log's clock."""

    holds: bytes
    until_ms: int


class Orphans:
    """Follows last words; a node that may have missed an impression of one never returns it."""

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
        self._left: dict[tuple[Period, Process], Left] = {}
        # What waited of those that this member returns as it first said so: an impression since
        # then is late, and counts here.
        self._returns: dict[tuple[Period, Process], bytes] = {}

    def heard(
        self, process: Process, reports: Iterable[log_pb2.BudgetReport], applied: Position
    ) -> None:
        """A last word; its process had applied the log so far, and knew those impressions."""
        adopted = [Period.named(one) for one in reports if self._learn(process, one)]
        if adopted and not self._confirm_after(applied):
            _log.warning("log: what %s held of budgets stays claimed", process.member)
            for period in adopted:
                self._end(period, process)

    def _learn(self, process: Process, report: log_pb2.BudgetReport) -> bool:
        """Take what is said of one budget; whether there is something new to look out for."""
        period = Period.named(report)
        if report.holds:
            known = (period, process) in self._left
            return not known and self._adopt(period, process, report)
        self._end(period, process)
        return False

    def _adopt(
        self, period: Period, process: Process, said: log_pb2.BudgetReport | log_pb2.BudgetHolder
    ) -> bool:
        """Look out for the impressions of what it held; False where there is no room for all."""
        self._left[period, process] = Left(said.holds, said.held_until_ms)
        if not self._context.engine.adopt_orphans(period.key, said.holds):
            self._end(period, process)
            return False
        return True

    def _confirm_after(self, applied: Position) -> bool:
        """Find those impressions that were applied here before a last word was read.

        False where they are retained no more.
        """
        retained = self._context.retained
        if retained.base[:2] > applied[:2]:
            return False
        for kept in retained.after(applied):
            with contextlib.suppress(DamagedEntryError):
                contents = unpack(Record(*kept.position[:2], kept.data))
                if contents.kind == "batch":
                    self.passed(contents.body)
        return True

    def passed(self, batch: bytes) -> None:
        """An own entry was read back: what is in it was applied, perhaps before a last word."""
        if self._left:
            self._context.engine.confirm_orphans(batch)

    async def run(self) -> None:
        """Return what is due where this member coordinates, until cancelled."""
        context = self._context
        while True:
            await asyncio.sleep(context.limits.pulse_ms / 1_000)
            for period, process in list(self._left):
                if process not in self._ledgers.of(period).holders:
                    # The period is over, or there were too many holders.
                    self._end(period, process)
            if not self._left or not self._coordinator.leads:
                continue
            now_ms = await context.log.time_ms() - context.limits.returns_ms
            due = [at for at, left in self._left.items() if left.until_ms <= now_ms]
            if due and await self._all_known():
                for period, process in due:
                    await self._return(period, process)

    async def _all_known(self) -> bool:
        """Whether all impressions are applied here that the log has, or that it has lost."""
        context = self._context
        if context.standing.state != "following":
            return False
        end = await context.log.last()
        since_ms = context.now_us() // 1_000 - context.limits.lease_ms
        return (
            end is not None
            and await context.progress.until(
                lambda: context.here[:2] >= (end.epoch, end.sequence),
                context.limits.pulse_ms / 1_000,
            )
            # Impressions that wait for their playbook have confirmed nothing yet.
            and not context.engine.parked_mutations()
            # Members bring back in an epoch what the log has lost with the one before.
            and self._members.smallest_settled(since_ms).epoch >= context.here.epoch
            # A master that was replaced may lack what its successor has.
            and await context.log.stays() is True
        )

    async def _return(self, period: Period, process: Process) -> None:
        """Say in the name of who has stopped what has come back; the rest of it counts as used."""
        ledger = self._ledgers.of(period)
        holder, left = ledger.holders.get(process), self._left.get((period, process))
        if holder is None or left is None:
            return
        # Said again, it is the same: nobody knows which of them the log has.
        waited = self._returns.setdefault((period, process), self.waiting(period, left))
        back = amount(waited)
        report = log_pb2.BudgetReport(
            budget=period.key,
            period=period.number,
            calendar=ledger.calendar,
            claimed=ledger.claimed,
            has=holder.claimed,
            used=holder.used + holder.held - back,
            returned=holder.returned + back,
        )
        await self._notes.append(
            heartbeat=log_pb2.Heartbeat(
                member=process.member, process=process.mark, budgets=[report]
            )
        )

    def waiting(self, period: Period, left: Left) -> bytes:
        """What of it no impression has used."""
        return self._context.engine.waiting_orphans(period.key, left.holds)

    def _end(self, period: Period, process: Process) -> None:
        """It has come back, or nobody can tell any more whether it may."""
        left = self._left.pop((period, process), None)
        returned = self._returns.pop((period, process), b"")
        if left is not None:
            self._context.engine.return_orphans(*period, returned)
            self._context.engine.end_orphans(period.key, left.holds)

    def fill(self, ledgers: Iterable[log_pb2.BudgetLedger]) -> None:
        """Add to a snapshot's ledgers what waits."""
        for ledger in ledgers:
            period = Period.named(ledger)
            for holder in ledger.holders:
                left = self._left.get((period, Process(holder.member, holder.process)))
                if left is not None:
                    holder.holds = self.waiting(period, left)
                    holder.held_until_ms = left.until_ms

    def restore(self, ledgers: Iterable[log_pb2.BudgetLedger]) -> None:
        """Take over what a snapshot says; the log behind it has the impressions since."""
        for ledger in ledgers:
            for holder in ledger.holders:
                # Where impressions have confirmed all of it, that is to be said yet.
                if holder.held_until_ms:
                    process = Process(holder.member, holder.process)
                    self._adopt(Period.named(ledger), process, holder)


def amount(holds: bytes) -> int:
    """How much these are together."""
    return sum(memoryview(holds).cast("q")[_AMOUNT::_NUMBERS])
