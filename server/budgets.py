"""Budgets as operators see them: over all nodes, with who has claimed what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from nextbest.core.playbook.plan import Period as Calendar
from nextbest.server.log.ledgers import Holder, Ledgers, Period, Process
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import BudgetInfo

MICROS = 1_000_000
_EPOCH = date(1970, 1, 1)
# 1970-01-01 was a Thursday.
_MONDAY = timedelta(days=3)

# What is known of a process that has claimed something.
State = Callable[[Process, Holder], str]


def budget_statuses(
    budgets: Iterable[BudgetInfo],
    ledgers: Ledgers | None,
    state: State = lambda _process, _holder: "",
) -> Iterator[log_pb2.BudgetStatus]:
    """Each with its parts; without a log, and so without ledgers, all of it is this process's."""
    for one in budgets:
        unit = MICROS if one.micros else 1
        period = Period.at(one)
        ledger = ledgers.known.get(period) if ledgers is not None else None
        status = log_pb2.BudgetStatus(
            name=one.name,
            since=first_day(one.calendar, one.period),
            max=one.max / unit,
            released=one.released / unit,
            refused="" if ledgers is None else ledgers.why_not(period, one.calendar),
        )
        if ledger is not None:
            for process, has in ledger.holders.items():
                if has.stopped and has.claimed == has.returned:
                    continue
                status.parts.add(
                    member=process.member,
                    process=process.mark,
                    claimed=(has.claimed - has.returned) / unit,
                    used=has.used / unit,
                    held=has.held / unit,
                    state=state(process, has),
                )
            status.claimed = (ledger.claimed - ledger.returned) / unit
            status.used = ledger.gone.used / unit
        elif ledgers is None:
            claimed = (one.used + one.held + one.left) / unit
            status.parts.add(
                claimed=claimed, used=one.used / unit, held=one.held / unit, state="running"
            )
            status.claimed = claimed
        status.used += sum(part.used for part in status.parts)
        status.held = sum(part.held for part in status.parts)
        yield status


def first_day(calendar: int, number: int) -> str:
    """The first day of a period by its number; empty for all time."""
    if calendar == Calendar.DAY:
        return str(_EPOCH + timedelta(days=number))
    if calendar == Calendar.WEEK:
        return str(_EPOCH + timedelta(days=7 * number) - _MONDAY)
    if calendar == Calendar.MONTH:
        year, month = divmod(number - 1, 12)
        return str(date(year, month + 1, 1))
    return ""


def amount(value: float) -> str:
    """Impressions, or a spend to its millionths."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")
