"""Needs: how much more of each budget this process asks for, and what it tells of those it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from nextbest.server.log.context import Context
from nextbest.server.log.ledgers import Holder, Ledgers, Period, Process
from nextbest.server.log.shares import Shares
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import BudgetInfo

# A node keeps for so many seconds at the pace of late, two shares at least, and asks for more when
# half of it is left.
AHEAD_S = 4.0
# The next period's first share is claimed so long before it begins.
EARLY_US = 10_000_000
# Unchanged reports are repeated so often: whoever reads the log from its middle knows then.
REPEAT_S = 30.0
# Over which the pace of late is taken.
PACE_S = 0.5


class _Pace(NamedTuple):
    since_s: float
    taken: int
    per_s: float


def near(context: Context) -> Iterator[BudgetInfo]:
    """The active playbook's budgets, and those of the next period when it is near."""
    engine, now_us = context.engine, context.now_us()
    here = engine.budgets(now_us)
    yield from here
    if not here:
        return
    for one, early in zip(here, engine.budgets(now_us, EARLY_US), strict=True):
        if early.period != one.period:
            yield early


class Needs:
    """Looks how far budgets are used here.

    soon: has the next heartbeat come at once.  A process without a mark asks for nothing: one that
    starts anew could not be told from it.
    """

    def __init__(self, context: Context, own: Process, ledgers: Ledgers, shares: Shares) -> None:
        self._context = context
        self._own = own
        self._ledgers = ledgers
        self._shares = shares
        self.soon: Callable[[], None] = lambda: None
        # A process that stops asks for nothing more.
        self.stopped = False
        # When what was asked for; the last reports and when each was made; and the pace of late.
        self._asked_s: dict[Period, float] = {}
        self._told: dict[Period, tuple[bytes, float]] = {}
        self._paces: dict[Period, _Pace] = {}
        # Since when the playbook lacks those that this process has something of; and what it has
        # given back of each for good.
        self._gone_s: dict[Period, float] = {}
        self._returned: dict[Period, int] = {}

    async def run(self) -> None:
        """See again and again whether a budget runs low, until cancelled."""
        while True:
            # All are looked at: each learns whether it may still have more.
            wanted = [self._wanted(one) for one in near(self._context)]
            if any(wanted) and not self.stopped:
                self.soon()
            await asyncio.sleep(self._context.limits.budget_ms / 1_000)

    def had(self, period: Period) -> None:
        """What was asked for has come."""
        self._asked_s.pop(period, None)

    def tell_again(self) -> None:
        """What the log may have lost is told with the next heartbeat."""
        self._told.clear()

    def reports(self) -> list[log_pb2.BudgetReport]:
        """What the next heartbeat says: what has changed, and what is asked for."""
        if self.stopped:
            return []
        here, gone = list(near(self._context)), self._gone()
        self._forget({*map(Period.at, here), *gone})
        reports = [self._report(one) for one in here]
        reports += map(self._report_gone, gone)
        return [one for one in reports if one is not None]

    def calendars(self) -> dict[Period, int]:
        """All that this process may have something of, and what each is a period of."""
        gone = {period: self._ledgers.of(period).calendar for period in self._gone()}
        return gone | {Period.at(one): one.calendar for one in near(self._context)}

    def _gone(self) -> list[Period]:
        """Those of budgets that the active playbook has no more, of which this process has had."""
        now_us = self._context.now_us()
        keys = {one.key for one in self._context.engine.budgets(now_us)}
        known = self._ledgers.known.items()
        return [at for at, one in known if at.key not in keys and self._own in one.holders]

    def _forget(self, kept: set[Period]) -> None:
        """Let go of what is over."""
        for items in (self._told, self._paces, self._asked_s, self._gone_s):
            for period in items.keys() - kept:
                del items[period]
        for period in self._returned.keys() - self._ledgers.known.keys():
            del self._returned[period]

    def _report(self, budget: BudgetInfo) -> log_pb2.BudgetReport | None:
        now_s = asyncio.get_running_loop().time()
        period = Period.at(budget)
        self._gone_s.pop(period, None)
        report = self.stand(period, budget.calendar)
        plain = report.SerializeToString()
        report.wanted = self._wanted(budget)
        if report.wanted:
            self._asked_s[period] = now_s
        told, told_s = self._told.get(period, (b"", 0.0))
        if plain == told and not report.wanted and now_s - told_s < REPEAT_S:
            return None
        self._told[period] = plain, now_s
        return report

    def _report_gone(self, period: Period) -> log_pb2.BudgetReport | None:
        """Give back what is free of it by now, and say so once."""
        now_s = asyncio.get_running_loop().time()
        since_s = self._gone_s.setdefault(period, now_s)
        if now_s - since_s >= self._context.limits.gone_ms / 1_000:
            self.take_back(period)
        report = self.stand(period, self._ledgers.of(period).calendar)
        plain = report.SerializeToString()
        if plain == self._told.get(period, (b"", 0.0))[0]:
            return None
        self._told[period] = plain, now_s
        return report

    def take_back(self, period: Period, besides: int = 0) -> int:
        """Spend nothing more of what is free here, and give it back; and something besides.

        Gives what this process has given back by then.
        """
        left = self._context.engine.take_back_budget(*period) + besides
        self._returned[period] = self._returned.get(period, 0) + left
        return self._returned[period]

    def stand(self, period: Period, calendar: int) -> log_pb2.BudgetReport:
        """How this process stands to a budget."""
        ledger = self._ledgers.of(period)
        has = self._context.engine.budget_has(*period, self._context.now_us())
        return log_pb2.BudgetReport(
            budget=period.key,
            period=period.number,
            calendar=calendar,
            claimed=ledger.claimed,
            has=ledger.holders.get(self._own, Holder()).claimed,
            used=has.used,
            held=has.held,
            returned=self._returned.get(period, 0),
        )

    def _wanted(self, budget: BudgetInfo) -> int:
        """How much more of a budget to ask for now; 0 when it is asked for, or not to be had."""
        period = Period.at(budget)
        waiting = self._shares.waiting(period)
        open_ = self._open(budget)
        self._tell_engine(budget, waiting > 0 or open_ > 0)
        ahead = int(self._pace_of(budget) * AHEAD_S)
        target = max(2 * max(budget.share, budget.dearest), ahead)
        wanted = target - budget.left - waiting
        asks = self._own.mark and open_ > 0 and 2 * wanted >= target and not self._asks(period)
        return wanted if asks else 0

    def _open(self, budget: BudgetInfo) -> int:
        """How much of what is released by now nobody has claimed."""
        ledger = self._ledgers.of(Period.at(budget))
        return min(budget.released, budget.max) + ledger.returned - ledger.claimed

    def _tell_engine(self, budget: BudgetInfo, more: bool) -> None:
        """Whether a decision that finds too little left may find more later, or elsewhere."""
        # Before the first claim there is no window that would say so.
        if more != budget.more or self._ledgers.of(Period.at(budget)).claimed == 0:
            self._context.engine.grant_budget(budget.key, budget.period, 0, more)

    def _asks(self, period: Period) -> bool:
        """Whether it was asked for a moment ago."""
        now_s = asyncio.get_running_loop().time()
        asked_s = self._asked_s.get(period)
        return asked_s is not None and now_s - asked_s < self._context.limits.pulse_ms / 1_000

    def _pace_of(self, budget: BudgetInfo) -> float:
        """How much of it a second has taken of late."""
        now_s = asyncio.get_running_loop().time()
        period = Period.at(budget)
        taken = budget.used + budget.held
        before = self._paces.get(period, _Pace(now_s, taken, 0.0))
        if now_s - before.since_s >= PACE_S:
            per_s = (taken - before.taken) / (now_s - before.since_s)
            before = _Pace(now_s, taken, max(0.0, per_s, before.per_s / 2))
        self._paces[period] = before
        return before.per_s
