"""Ledgers: what is claimed of budgets and by whom, as the log's entries say in their order.

What is claimed of a budget is a number that only grows: a claim holds where it starts at or behind
all that was claimed before it in the log.  So of two claims of one part the first one counts, a
part of a lost claim is wasted and never given twice, and any order of reports joins to the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nextbest.core.playbook.plan import Period as Calendar
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import BudgetInfo

# Budgets and periods known; beyond them nothing new is given.
LEDGERS_MAX = 4_096
# Of each calendar, over all budgets: the older ones are over.
PERIODS_KEPT = 4
# Of one budget and period, with those that are gone.
HOLDERS_MAX = 256


class Period(NamedTuple):
    """A budget by its key, in one of its periods."""

    key: bytes
    number: int

    @classmethod
    def at(cls, budget: BudgetInfo) -> Period:
        """That which a budget of the engine is in."""
        return cls(budget.key, budget.period)

    @classmethod
    def named(cls, message: log_pb2.Claim | log_pb2.BudgetReport | log_pb2.BudgetLedger) -> Period:
        """That which a message is about."""
        return cls(message.budget, message.period)


class Process(NamedTuple):
    """A member's process: one that starts anew is another."""

    member: str
    mark: int


@dataclass(slots=True)
class Holder:
    """What one process has of a budget's period; each only grows, but for `held`."""

    claimed: int = 0
    used: int = 0
    held: int = 0
    # Given back for good: it stopped, or the playbook has the budget no more.
    returned: int = 0
    # Its last word was read: it spends nothing any more.
    stopped: bool = False

    def join(self, said: Holder) -> None:
        """What it has said later, or was heard to say."""
        self.claimed = max(self.claimed, said.claimed)
        self.used = max(self.used, said.used)
        self.held = said.held
        # It knew nothing of what was claimed for it since its last word, and has not spent that.
        unknown = self.claimed - said.claimed if said.stopped else 0
        self.returned = max(self.returned, said.returned + unknown)
        self.stopped |= said.stopped


@dataclass(slots=True)
class Ledger:
    """A budget's period: what it is of, up to where it is claimed, and who has said what."""

    calendar: int = Calendar.ROLLING
    claimed: int = 0
    # Those longest not heard first.
    holders: dict[Process, Holder] = field(default_factory=dict)
    # The sum of those let go of.
    gone: Holder = field(default_factory=Holder)

    @property
    def returned(self) -> int:
        """What may be claimed again."""
        return self.gone.returned + sum(one.returned for one in self.holders.values())

    def holder(self, process: Process) -> Holder:
        """What a process has: it was heard, or is given something."""
        if process not in self.holders and len(self.holders) >= HOLDERS_MAX:
            self._let_go()
        self.holders[process] = self.holders.pop(process, Holder())
        return self.holders[process]

    def _let_go(self) -> None:
        """Of one that has stopped, where there is one, else of the one longest not heard.

        Of those that have stopped, what they held is over first: nothing more comes back of it.
        """
        stopped = [process for process, one in self.holders.items() if one.stopped]
        over = (process for process in stopped if not self.holders[process].held)
        one = self.holders.pop(next(over, next(iter(stopped or self.holders))))
        self.gone.claimed += one.claimed
        self.gone.used += one.used
        self.gone.returned += one.returned


class Ledgers:
    """All that are not over: a budget that no playbook has any more goes with its last period.

    One for all time is never over: who publishes it again goes on with what is used.
    """

    def __init__(self) -> None:
        self.known: dict[Period, Ledger] = {}

    def of(self, period: Period) -> Ledger:
        """A period's; an empty one where nothing is claimed yet."""
        return self.known.get(period) or Ledger()

    def claim(self, claim: log_pb2.Claim) -> bool:
        """Take a claim of the log; False for one that comes to nothing."""
        ledger = self._open(Period.named(claim), claim.calendar)
        if ledger is None or claim.start < ledger.claimed:
            return False
        ledger.claimed = claim.start + claim.amount
        holder = ledger.holder(Process(claim.holder, claim.process))
        holder.claimed += claim.amount
        if holder.stopped:
            # Nobody spends it, and it may be claimed again at once.
            holder.returned += claim.amount
        return True

    def join(self, process: Process, report: log_pb2.BudgetReport, last: bool = False) -> None:
        """Take what a process says of a budget; last: it stops."""
        if not (report.claimed or report.has or last):
            return
        ledger = self._open(Period.named(report), report.calendar)
        if ledger is None:
            return
        ledger.claimed = max(ledger.claimed, report.claimed)
        if last and report.has and not report.holds and process not in ledger.holders:
            # It was let go, with what it had given back: that is not counted again.
            return
        if report.has or last:
            said = Holder(report.has, report.used, report.held, report.returned, last)
            ledger.holder(process).join(said)

    def why_not(self, period: Period, calendar: int) -> str:
        """Why no claim of it can hold: it is over, or one too many; empty where one can."""
        if period in self.known:
            return ""
        kept = self._beside(period, calendar)
        if kept is None:
            return "its period is over"
        if len(kept) >= LEDGERS_MAX:
            return (
                f"the log keeps ledgers of {LEDGERS_MAX:,} budgets and periods, those of earlier "
                "playbooks' budgets for all time among them: it has no room for another"
            )
        return ""

    def _open(self, period: Period, calendar: int) -> Ledger | None:
        """A period's, made where there is none; None where it takes nothing."""
        if period not in self.known:
            kept = self._beside(period, calendar)
            if kept is None or len(kept) >= LEDGERS_MAX:
                return None
            self.known = kept
            self.known[period] = Ledger(calendar)
        return self.known[period]

    def _beside(self, new: Period, calendar: int) -> dict[Period, Ledger] | None:
        """What is not over once a calendar has come to a new period; None where that is over."""
        kept = self.known
        if calendar != Calendar.ROLLING:
            numbers = {at.number for at, one in kept.items() if one.calendar == calendar}
            oldest = sorted(numbers | {new.number})[-PERIODS_KEPT:][0]
            if new.number < oldest:
                return None
            kept = {
                at: one
                for at, one in kept.items()
                if one.calendar != calendar or at.number >= oldest
            }
        return kept

    def messages(self) -> list[log_pb2.BudgetLedger]:
        """All of them, for snapshots and for operators."""
        return [
            log_pb2.BudgetLedger(
                budget=period.key,
                period=period.number,
                calendar=ledger.calendar,
                claimed=ledger.claimed,
                holders=[_message(process, one) for process, one in ledger.holders.items()],
                gone=_message(Process("", 0), ledger.gone),
            )
            for period, ledger in self.known.items()
        ]

    def restore(self, messages: Iterable[log_pb2.BudgetLedger]) -> None:
        """Take over what a snapshot says."""
        for message in messages:
            ledger = self._open(Period.named(message), message.calendar)
            if ledger is None:
                continue
            ledger.claimed = max(ledger.claimed, message.claimed)
            for one in message.holders:
                ledger.holder(Process(one.member, one.process)).join(_holder(one))
            ledger.gone.join(_holder(message.gone))


def _message(process: Process, holder: Holder) -> log_pb2.BudgetHolder:
    return log_pb2.BudgetHolder(
        member=process.member,
        process=process.mark,
        claimed=holder.claimed,
        used=holder.used,
        held=holder.held,
        returned=holder.returned,
        stopped=holder.stopped,
    )


def _holder(said: log_pb2.BudgetHolder) -> Holder:
    return Holder(said.claimed, said.used, said.held, said.returned, said.stopped)
