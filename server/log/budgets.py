"""Budgets over nodes: ties what the log says of them to this process's needs, shares and gifts.

A node asks for shares by its heartbeats; the coordinator claims them in the log; and the node
spends a share once the claim is safe there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, ClassVar

from nextbest.server.log.contents import position_from, position_message
from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.giver import Giver
from nextbest.server.log.ledgers import Holder, Ledgers, Period, Process
from nextbest.server.log.log import Position
from nextbest.server.log.members import Members
from nextbest.server.log.needs import Needs
from nextbest.server.log.notes import Notes
from nextbest.server.log.orphans import HOLD_BYTES, NAMED_MAX, Orphans
from nextbest.server.log.shares import Shares
from nextbest.v1 import log_pb2


class Budgets:
    """Passes on what the reader passes, and stops in order."""

    orphans_type: ClassVar[type[Orphans]] = Orphans

    def __init__(
        self,
        context: Context,
        members: Members,
        coordinator: Coordinator,
        notes: Notes,
    ) -> None:
        self._context = context
        self._members = members
        self._coordinator = coordinator
        self._notes = notes
        self._own = Process(context.member, context.process)
        self.ledgers = Ledgers()
        self.shares = Shares(context)
        self._needs = Needs(context, self._own, self.ledgers, self.shares)
        self._giver = Giver(context, members, coordinator, notes, self.ledgers)
        self.orphans = self.orphans_type(context, members, coordinator, notes, self.ledgers)
        # Claims that came too late for their part.
        self.lost = 0
        context.engine.budgets_managed()

    def beats(self, soon: Callable[[], None]) -> None:
        """How to have the next heartbeat come at once; before the node starts."""
        self._needs.soon = soon

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside one another while the log is followed."""
        return [self._needs.run(), self.shares.run(), self._giver.run(), self.orphans.run()]

    def claimed(self, position: Position, claim: log_pb2.Claim) -> None:
        """The reader passed a claim."""
        if claim.term != self._coordinator.term or claim.amount <= 0:
            return
        own = Process(claim.holder, claim.process) == self._own
        if not self.ledgers.claim(claim):
            self.lost += own
            return
        if own and not self._needs.stopped:
            period = Period.named(claim)
            self._needs.had(period)
            self.shares.add(position, period, claim.amount)
            # The next heartbeat tells whether the claim is safe.
            self._needs.soon()

    def heard(self, heartbeat: log_pb2.Heartbeat) -> None:
        """The reader passed a heartbeat, with what its process says of budgets."""
        process = Process(heartbeat.member, heartbeat.process)
        # Only the last word of one that stops has no time.
        last = not heartbeat.now_ms
        for report in heartbeat.budgets:
            self.ledgers.join(process, report, last)
        # Of one that stops itself, too: a snapshot that it takes yet is to say what waits.
        if last and (process != self._own or self._needs.stopped):
            self.orphans.heard(process, heartbeat.budgets, position_from(heartbeat.position))
        if not last:
            self._giver.heard(process, heartbeat.budgets)

    def passed(self, batch: bytes) -> None:
        """The log is known to have an own entry."""
        self.orphans.passed(batch)

    def state(self, process: Process, holder: Holder) -> str:
        """What is known of a process: "running", "stopped" or "gone"."""
        if holder.stopped:
            return "stopped"
        since_s = asyncio.get_running_loop().time() - self._context.limits.lease_ms / 1_000
        if process == self._own or self._members.runs(process.member, process.mark, since_s):
            return "running"
        return "gone"

    def moved(self) -> None:
        """The reader passed what may let this member give."""
        self._giver.moved()

    def opened(self, position: Position) -> None:
        """The reader passed the first entry of an epoch: what the log has lost is told again."""
        self._giver.opened(position)
        self._needs.tell_again()
        self._needs.soon()

    def tell_again(self) -> None:
        """A heartbeat is not known to be in the log."""
        self._needs.tell_again()

    def turn_back(self, common: Position) -> None:
        """Forget what lies on the branch that was lost; it stays claimed."""
        self.shares.turn_back(common)
        self._needs.tell_again()

    def reports(self) -> list[log_pb2.BudgetReport]:
        """What the next heartbeat says."""
        return self._needs.reports()

    async def give_back(self) -> None:
        """Before the node stops: what nobody has been promised is anybody's again.

        It is told for nothing, too: what is claimed for this process later is then anybody's.  What
        is held is named, for the impressions to come.
        """
        context = self._context
        try:
            there_ms = await context.log.time_ms()
        finally:
            # Not before: a claim that was read meanwhile is given back, too.
            self._needs.stopped = True
        reports = self._last_words(there_ms)
        self.shares.give_up()
        if reports and self._own.mark:
            await self._notes.append(
                heartbeat=log_pb2.Heartbeat(
                    member=context.member,
                    process=context.process,
                    # Impressions up to here are not among what is held.
                    position=position_message(context.here),
                    budgets=reports,
                )
            )

    def _last_words(self, there_ms: int) -> list[log_pb2.BudgetReport]:
        """What this process says last of each budget; there_ms: the log's clock."""
        reports, named = [], NAMED_MAX
        for period, calendar in self._needs.calendars().items():
            # Holds that have ended by now come back with what is free.
            report = self._needs.stand(period, calendar)
            # What waits may be safe, and is then not known to be.
            report.returned = self._needs.take_back(period, self.shares.waiting(period))
            holds, ends_us = self._context.engine.budget_holds(
                *period, self._context.now_us(), named
            )
            named -= len(holds) // HOLD_BYTES
            report.holds = holds
            report.held_until_ms = there_ms + ends_us // 1_000 + 1 if holds else 0
            reports.append(report)
        return reports

    def messages(self) -> list[log_pb2.BudgetLedger]:
        """All that is known, for snapshots and for operators."""
        messages = self.ledgers.messages()
        self.orphans.fill(messages)
        return messages

    def restore(self, ledgers: Collection[log_pb2.BudgetLedger]) -> None:
        """Take over what a snapshot says."""
        self.ledgers.restore(ledgers)
        self.orphans.restore(ledgers)
