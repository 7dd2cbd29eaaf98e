"""Budgets over nodes: ties what the log says of them to this process's needs, shares and gifts.

A node asks for shares by its heartbeats; the coordinator claims them in the log; and the node
spends a share once the claim is safe there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.giver import Giver
from nextbest.server.log.ledgers import Ledgers, Period, Process
from nextbest.server.log.log import Position
from nextbest.server.log.members import Members
from nextbest.server.log.needs import Needs, near
from nextbest.server.log.notes import Notes
from nextbest.server.log.shares import Shares
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import BudgetInfo


class Budgets:
    """Passes on what the reader passes, and stops in order."""

    def __init__(
        self,
        context: Context,
        members: Members,
        coordinator: Coordinator,
        notes: Notes,
    ) -> None:
        self._context = context
        self._coordinator = coordinator
        self._notes = notes
        self._own = Process(context.member, context.process)
        self.ledgers = Ledgers()
        self.shares = Shares(context)
        self._needs = Needs(context, self._own, self.ledgers, self.shares)
        self._giver = Giver(context, members, coordinator, notes, self.ledgers)
        # Claims that came too late for their part.
        self.lost = 0
        context.engine.budgets_managed()

    def beats(self, soon: Callable[[], None]) -> None:
        """How to have the next heartbeat come at once; before the node starts."""
        self._needs.soon = soon

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside one another while the log is followed."""
        return [self._needs.run(), self.shares.run(), self._giver.run()]

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
        for report in heartbeat.budgets:
            # Only the last word of one that stops has no time.
            self.ledgers.join(process, report, last=not heartbeat.now_ms)
        self._giver.heard(process, heartbeat.budgets)

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

        It is told for nothing, too: what is claimed for this process later is then anybody's.
        """
        self._needs.stopped = True
        reports = [self._returned(budget) for budget in near(self._context)]
        self.shares.give_up()
        if reports and self._own.mark:
            context = self._context
            await self._notes.append(
                heartbeat=log_pb2.Heartbeat(
                    member=context.member, process=context.process, budgets=reports
                )
            )

    def _returned(self, budget: BudgetInfo) -> log_pb2.BudgetReport:
        """What is left here of a budget, which is then not spent here."""
        left = self._context.engine.take_back_budget(budget.key, budget.period)
        left += self.shares.waiting(Period.at(budget))
        report = self._needs.stand(budget)
        report.returned = left
        return report

    def messages(self) -> list[log_pb2.BudgetLedger]:
        """All that is known, for snapshots and for operators."""
        return self.ledgers.messages()

    def restore(self, ledgers: Iterable[log_pb2.BudgetLedger]) -> None:
        """Take over what a snapshot says."""
        self.ledgers.restore(ledgers)
