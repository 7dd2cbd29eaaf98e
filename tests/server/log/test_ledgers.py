"""Ledgers of budgets: what is over goes, on every node alike, and nothing else is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from nextbest.core.playbook.plan import Period as Calendar
from nextbest.server.log.ledgers import LEDGERS_MAX, PERIODS_KEPT, Ledgers, Period, Process
from nextbest.v1 import log_pb2

ALL, DAY, MONTH = Calendar.ROLLING, Calendar.DAY, Calendar.MONTH
OWN = Process("a", 1)


def claim(name: str, number: int = 0, calendar: int = ALL, start: int = 0) -> log_pb2.Claim:
    return log_pb2.Claim(
        budget=name.encode(),
        period=number,
        calendar=calendar,
        start=start,
        amount=10,
        holder=OWN.member,
        process=OWN.mark,
    )


def days(first: int, last: int, names: int) -> Iterator[log_pb2.Claim]:
    """Claims of so many names each day, which no other day has."""
    for number in range(first, last):
        for name in range(names):
            yield claim(f"{number}-{name}", number, DAY)


def numbers(ledgers: Ledgers, calendar: int) -> set[int]:
    return {at.number for at, one in ledgers.known.items() if one.calendar == calendar}


def test_budgets_of_earlier_playbooks_go_with_their_periods() -> None:
    ledgers = Ledgers()
    assert all(map(ledgers.claim, days(20_000, 20_600, 10)))
    assert numbers(ledgers, DAY) == set(range(20_600 - PERIODS_KEPT, 20_600))
    assert len(ledgers.known) == 10 * PERIODS_KEPT < LEDGERS_MAX


def test_a_calendar_ends_the_periods_of_its_own_alone() -> None:
    ledgers = Ledgers()
    assert ledgers.claim(claim("ever"))
    assert ledgers.claim(claim("monthly", 24_000, MONTH))
    assert all(map(ledgers.claim, days(20_000, 20_100, 1)))
    assert not ledgers.claim(claim("monthly", 24_000, MONTH)), "its start is claimed"
    assert not ledgers.claim(claim("ever"))


def test_nothing_is_claimed_of_a_period_that_is_over() -> None:
    ledgers = Ledgers()
    assert all(map(ledgers.claim, days(20_000, 20_000 + PERIODS_KEPT + 1, 1)))
    assert not ledgers.claim(claim("20000-0", 20_000, DAY))
    report = log_pb2.BudgetReport(budget=b"20000-0", period=20_000, calendar=DAY, claimed=5)
    ledgers.join(OWN, report)
    assert Period(b"20000-0", 20_000) not in ledgers.known


def test_a_clock_far_ahead_ends_one_period_at_most() -> None:
    ledgers = Ledgers()
    assert all(map(ledgers.claim, days(20_000, 20_000 + PERIODS_KEPT, 1)))
    ledgers.claim(claim("ahead", 60_000, DAY))
    assert numbers(ledgers, DAY) == {20_001, 20_002, 20_003, 60_000}


def test_a_report_of_nothing_keeps_nothing() -> None:
    ledgers = Ledgers()
    ledgers.join(OWN, log_pb2.BudgetReport(budget=b"k", wanted=5))
    assert ledgers.known == {}


def test_too_many_for_all_time_get_nothing() -> None:
    ledgers = Ledgers()
    assert all(ledgers.claim(claim(str(number))) for number in range(LEDGERS_MAX))
    assert not ledgers.claim(claim("one more"))
    assert ledgers.claim(claim("0", start=10))


def test_who_begins_from_a_snapshot_ends_with_the_same() -> None:
    """Whichever entry the snapshot was taken behind."""
    random = Random(1)
    claims = [
        claim(str(random.randrange(6)), 20_000 + at // 20 + random.randrange(3), DAY, at * 10)
        for at in range(200)
    ]
    read = Ledgers()
    for one in claims:
        read.claim(one)
    for at in range(0, 200, 7):
        before, behind = Ledgers(), Ledgers()
        for one in claims[:at]:
            before.claim(one)
        behind.restore(before.messages())
        for one in claims[at:]:
            behind.claim(one)
        assert behind.known == read.known
