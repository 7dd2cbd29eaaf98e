"""Budgets: shares of them are claimed in the log, and spent only once the claim is safe there.

What is claimed of a budget is a number that only grows: a claim holds where it starts at or behind
all that was claimed before it in the log.  So of two claims of one part the first one counts, a
part of a lost claim is wasted and never given twice, and any order of reports joins to the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.entry import CLAIMS_FORMAT
from nextbest.server.log.log import BEFORE, Position
from nextbest.server.log.members import Members
from nextbest.server.log.notes import Notes
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import BudgetInfo

# Budgets and periods known; beyond them nothing new is given.
LEDGERS_MAX = 4_096
# Of one budget: older ones are over.
PERIODS_KEPT = 4
# Of one budget and period, with those that are gone.
HOLDERS_MAX = 256
# Claims of this process that a lost tail may take back.
CLAIMS_KEPT = 1_024
# A node keeps for so many seconds at the pace of late, two shares at least, and asks for more when
# half of it is left.
AHEAD_S = 4.0
# No claim takes more of what is left to claim, than this part of it, a share at least.
FAIR_PART = 8
# The next period's first share is claimed so long before it begins.
EARLY_US = 10_000_000
# Unchanged reports are repeated so often: whoever reads the log from its middle knows then.
REPEAT_S = 30.0

_log = logging.getLogger(__name__)


class Period(NamedTuple):
    """A budget by its key, in one of its periods."""

    key: bytes
    number: int


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
    # Given back when it stopped: it spends nothing any more.
    returned: int = 0


@dataclass(slots=True)
class Ledger:
    """A budget's period: up to where it is claimed, and who has said what."""

    claimed: int = 0
    holders: dict[Process, Holder] = field(default_factory=dict)

    @property
    def returned(self) -> int:
        """What may be claimed again."""
        return sum(one.returned for one in self.holders.values())

    def holder(self, process: Process) -> Holder:
        """What a process has; the longest known one goes where there are too many."""
        if process not in self.holders and len(self.holders) >= HOLDERS_MAX:
            del self.holders[next(iter(self.holders))]
        return self.holders.setdefault(process, Holder())


class _Claim(NamedTuple):
    """A claim of this process that was read back."""

    position: Position
    period: Period
    amount: int


class _Asked(NamedTuple):
    amount: int
    at_s: float


class Budgets:
    """Follows claims and reports, asks for shares, and gives them where this member coordinates.

    soon: has the next heartbeat come at once.  A process without a mark asks for nothing: one that
    starts anew could not be told from it.
    """

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
        self.soon: Callable[[], None] = lambda: None
        self.ledgers: dict[Period, Ledger] = {}
        self._waiting: list[_Claim] = []
        self._granted: list[_Claim] = []
        # What processes ask for; what this one has asked for, and given.
        self._wants: dict[tuple[Process, Period], int] = {}
        self._asked: dict[Period, _Asked] = {}
        self._given: dict[Period, _Asked] = {}
        self._opened = BEFORE
        # The last reports, when each was made, and how much was used in all.
        self._told: dict[Period, tuple[bytes, float]] = {}
        self._pace: dict[Period, tuple[float, int, float]] = {}
        self._stopped = False
        # Claims that came too late for their part, and those that a lost tail took back.
        self.lost = self.revoked = 0
        context.engine.budgets_managed()

    # What the reader passes.

    def claimed(self, position: Position, claim: log_pb2.Claim) -> None:
        """The reader passed a claim."""
        if claim.term != self._coordinator.term or claim.amount <= 0:
            return
        period = Period(claim.budget, claim.period)
        ledger = self._ledger(period)
        process = Process(claim.holder, claim.process)
        own = process == self._own
        if ledger is None or claim.start < ledger.claimed:
            self.lost += own
            return
        ledger.claimed = claim.start + claim.amount
        ledger.holder(process).claimed += claim.amount
        self._given.pop(period, None)
        if own and not self._stopped:
            self._asked.pop(period, None)
            self._waiting.append(_Claim(position, period, claim.amount))
            self.soon()

    def heard(self, heartbeat: log_pb2.Heartbeat) -> None:
        """The reader passed a heartbeat, with what its process says of budgets."""
        process = Process(heartbeat.member, heartbeat.process)
        gone = [one for one in self._wants if one[0].member == process.member]
        for one in gone:
            del self._wants[one]
        for report in heartbeat.budgets:
            self._join(process, report)
        if any(one[0] == process for one in self._wants):
            self.moved()

    def _join(self, process: Process, report: log_pb2.BudgetReport) -> None:
        period = Period(report.budget, report.period)
        ledger = self._ledger(period)
        if ledger is None:
            return
        ledger.claimed = max(ledger.claimed, report.claimed)
        if report.has or report.used or report.returned:
            holder = ledger.holder(process)
            holder.claimed = max(holder.claimed, report.has)
            holder.used = max(holder.used, report.used)
            holder.held = report.held
            holder.returned = max(holder.returned, report.returned)
        if report.wanted > 0:
            self._wants[process, period] = report.wanted

    def moved(self) -> None:
        """The reader passed what may let this member give."""
        if self._wants and self._coordinator.leads:
            self.soon()

    def opened(self, position: Position) -> None:
        """The reader passed the first entry of an epoch: what the log has lost is told again."""
        self._opened = position
        self._told.clear()
        self._given.clear()
        self.soon()

    def turn_back(self, common: Position) -> None:
        """Claims on a tail that was lost are nothing to spend any more, but stay claimed."""
        engine = self._context.engine
        for claim in self._granted:
            if claim.position[:2] > common[:2]:
                self.revoked += 1
                engine.grant_budget(claim.period.key, claim.period.number, -claim.amount, True)
        self._granted = [one for one in self._granted if one.position[:2] <= common[:2]]
        self._waiting = [one for one in self._waiting if one.position[:2] <= common[:2]]
        self._told.clear()

    def _ledger(self, period: Period) -> Ledger | None:
        """A period's, made where there is none; None where there are too many."""
        found = self.ledgers.get(period)
        if found is None and len(self.ledgers) < LEDGERS_MAX:
            found = self.ledgers[period] = Ledger()
            same = sorted(one.number for one in self.ledgers if one.key == period.key)
            for number in same[:-PERIODS_KEPT]:
                del self.ledgers[Period(period.key, number)]
        return self.ledgers.get(period, found)

    # What this process needs.

    async def watch(self) -> None:
        """See again and again whether a budget runs low, until cancelled."""
        while True:
            # All are looked at: each learns whether it may still have more.
            wanted = [self._wanted(one) for one in self._budgets()]
            if any(wanted) and not self._stopped:
                self.soon()
            await asyncio.sleep(self._context.limits.budget_ms / 1_000)

    def _budgets(self) -> Iterator[BudgetInfo]:
        """The active playbook's, and those of the next period when it is near."""
        engine, now_us = self._context.engine, self._context.now_us()
        here = engine.budgets(now_us)
        yield from here
        if not here:
            return
        for one, early in zip(here, engine.budgets(now_us, EARLY_US), strict=True):
            if early.period != one.period:
                yield early

    def _wanted(self, budget: BudgetInfo) -> int:
        """How much more of a budget to ask for now; 0 when it is asked for, or not to be had."""
        now_s = asyncio.get_running_loop().time()
        period = Period(budget.key, budget.period)
        ledger = self.ledgers.get(period) or Ledger()
        waiting = sum(one.amount for one in self._waiting if one.period == period)
        more = waiting > 0 or ledger.claimed - ledger.returned < budget.max
        if more != budget.more or ledger.claimed == 0:
            self._context.engine.grant_budget(budget.key, budget.period, 0, more)
        target = max(2 * max(budget.share, budget.dearest), int(self._pace_of(budget) * AHEAD_S))
        wanted = target - budget.left - waiting
        open_ = min(budget.released, budget.max) + ledger.returned - ledger.claimed
        asked = self._asked.get(period)
        if (
            not self._own.mark
            or 2 * wanted < target
            or open_ <= 0
            or (asked is not None and now_s - asked.at_s < self._context.limits.pulse_ms / 1_000)
        ):
            return 0
        return wanted

    def _pace_of(self, budget: BudgetInfo) -> float:
        """How much of it a second has taken of late."""
        now_s = asyncio.get_running_loop().time()
        taken = budget.used + budget.held
        period = Period(budget.key, budget.period)
        since_s, before, pace = self._pace.get(period, (now_s, taken, 0.0))
        if now_s - since_s >= 0.5:
            pace = max(0.0, (taken - before) / (now_s - since_s), pace / 2)
            since_s, before = now_s, taken
        self._pace[period] = since_s, before, pace
        return pace

    def reports(self) -> list[log_pb2.BudgetReport]:
        """What the next heartbeat says: what has changed, and what is asked for."""
        if self._stopped:
            return []
        now_s = asyncio.get_running_loop().time()
        found = [one for budget in self._budgets() if (one := self._report(budget, now_s))]
        for kept in (self._told, self._pace, self._asked, self._given):
            for period in [one for one in kept if one not in self.ledgers]:
                del kept[period]
        return found

    def _report(self, budget: BudgetInfo, now_s: float) -> log_pb2.BudgetReport | None:
        period = Period(budget.key, budget.period)
        ledger = self.ledgers.get(period) or Ledger()
        report = log_pb2.BudgetReport(
            budget=budget.key,
            period=budget.period,
            claimed=ledger.claimed,
            has=ledger.holders.get(self._own, Holder()).claimed,
            used=budget.used,
            held=budget.held,
        )
        plain = report.SerializeToString()
        report.wanted = self._wanted(budget)
        if report.wanted:
            self._asked[period] = _Asked(report.wanted, now_s)
        told, told_s = self._told.get(period, (b"", 0.0))
        if plain == told and not report.wanted and now_s - told_s < REPEAT_S:
            return None
        self._told[period] = plain, now_s
        return report

    # What is safe, and what is given.

    async def work(self, now_s: float) -> None:
        """Spend what is safe by now, and give others what they ask for."""
        if self._waiting:
            await self._settle()
        if self._wants and self._gives():
            await self._give(now_s)

    async def _settle(self) -> None:
        committed = self._context.progress.committed
        safe = [one for one in self._waiting if one.position[:2] <= committed[:2]]
        # A master that was replaced may have had a replica still.
        if not safe or await self._context.log.stays() is not True or self._stopped:
            return
        for claim in safe:
            # It may be gone by now: the log has turned back meanwhile.
            if claim in self._waiting:
                self._waiting.remove(claim)
                self._granted.append(claim)
                self._context.engine.grant_budget(*claim.period, claim.amount, True)
        del self._granted[:-CLAIMS_KEPT]

    def _gives(self) -> bool:
        """Whether this member may give: it coordinates, and all have told again what they have."""
        context = self._context
        if not self._coordinator.leads or self._coordinator.format < CLAIMS_FORMAT:
            return False
        if context.standing.state != "following":
            return False
        since_ms = context.now_us() // 1_000 - context.limits.lease_ms
        return all(one.position[:2] >= self._opened[:2] for one in self._members.since(since_ms))

    async def _give(self, now_s: float) -> None:
        known = {Period(one.key, one.period): one for one in self._budgets()}
        lease_s = self._context.limits.lease_ms / 1_000
        members = max(1, self._members.alive(now_s - lease_s))
        wants, self._wants = self._wants, {}
        for (process, period), wanted in wants.items():
            budget = known.get(period)
            if budget is None or now_s - self._members.seen_s(process.member) > lease_s:
                continue
            await self._claim(process, period, budget, wanted, members, now_s)

    async def _claim(
        self,
        process: Process,
        period: Period,
        budget: BudgetInfo,
        wanted: int,
        members: int,
        now_s: float,
    ) -> None:
        ledger = self._ledger(period)
        if ledger is None:
            _log.error("budget %s: nothing is given: %d are known", budget.name, LEDGERS_MAX)
            return
        start = ledger.claimed
        given = self._given.get(period)
        if given is not None and now_s - given.at_s < self._context.limits.lease_ms / 1_000:
            start = max(start, given.amount)
        open_ = budget.released + ledger.returned - start
        fair = max(budget.share, budget.dearest, open_ // (FAIR_PART * members))
        amount = min(max(wanted, budget.share), fair)
        amount = min(-(-amount // budget.grain) * budget.grain, open_)
        if amount <= 0:
            return
        self._given[period] = _Asked(start + amount, now_s)
        await self._notes.append(
            claim=log_pb2.Claim(
                budget=period.key,
                period=period.number,
                start=start,
                amount=amount,
                holder=process.member,
                process=process.mark,
                term=self._coordinator.term,
            )
        )

    # Stops, starts and reports.

    async def give_back(self) -> None:
        """Before the node stops: what nobody has been promised is anybody's again."""
        self._stopped = True
        reports = []
        for budget in self._budgets():
            period = Period(budget.key, budget.period)
            left = self._context.engine.take_back_budget(budget.key, budget.period)
            left += sum(one.amount for one in self._waiting if one.period == period)
            holder = self.ledgers.get(period, Ledger()).holders.get(self._own)
            if left > 0 and holder is not None:
                reports.append(
                    log_pb2.BudgetReport(
                        budget=budget.key,
                        period=budget.period,
                        has=holder.claimed,
                        used=budget.used,
                        held=budget.held,
                        returned=left,
                    )
                )
        if reports:
            context = self._context
            await self._notes.append(
                heartbeat=log_pb2.Heartbeat(
                    member=context.member, process=context.process, budgets=reports
                )
            )

    def messages(self) -> list[log_pb2.BudgetLedger]:
        """All that is known, for snapshots and for operators."""
        return [
            log_pb2.BudgetLedger(
                budget=period.key,
                period=period.number,
                claimed=ledger.claimed,
                holders=[
                    log_pb2.BudgetHolder(
                        member=process.member,
                        process=process.mark,
                        claimed=holder.claimed,
                        used=holder.used,
                        held=holder.held,
                        returned=holder.returned,
                    )
                    for process, holder in ledger.holders.items()
                ],
            )
            for period, ledger in self.ledgers.items()
        ]

    def restore(self, ledgers: Iterable[log_pb2.BudgetLedger]) -> None:
        """Take over what a snapshot says."""
        for message in ledgers:
            ledger = self._ledger(Period(message.budget, message.period))
            if ledger is None:
                continue
            ledger.claimed = max(ledger.claimed, message.claimed)
            for one in message.holders:
                holder = ledger.holder(Process(one.member, one.process))
                holder.claimed = max(holder.claimed, one.claimed)
                holder.used = max(holder.used, one.used)
                holder.held = one.held
                holder.returned = max(holder.returned, one.returned)
