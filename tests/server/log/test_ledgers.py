"""Ledgers of budgets: what is over goes, on every node alike, and nothing else is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from nextbest.core.playbook.plan import Period as Calendar
from nextbest.server.log.ledgers import (
    HOLDERS_MAX,
    LEDGERS_MAX,
    PERIODS_KEPT,
    Ledgers,
    Period,
    Process,
)
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


def given(ledgers: Ledgers, mark: int, amount: int = 10) -> log_pb2.Claim:
    """A claim for a process of `b`, from where all is claimed."""
    start = ledgers.of(Period(b"k", 0)).claimed
    return log_pb2.Claim(budget=b"k", start=start, amount=amount, holder="b", process=mark)


def said(has: int, used: int = 0, returned: int = 0, held: int = 0) -> log_pb2.BudgetReport:
    return log_pb2.BudgetReport(budget=b"k", has=has, used=used, returned=returned, held=held)


def restored(ledgers: Ledgers) -> Ledgers:
    other = Ledgers()
    other.restore(ledgers.messages())
    return other


def test_restarts_alone_use_nothing_up() -> None:
    ledgers = Ledgers()
    alive = given(ledgers, 1)
    assert ledgers.claim(alive)
    for mark in range(2, 2 * HOLDERS_MAX):
        assert ledgers.claim(given(ledgers, mark))
        ledgers.join(Process("b", mark), said(10, used=1, returned=9), last=True)
    ledger = ledgers.of(Period(b"k", 0))
    assert len(ledger.holders) == HOLDERS_MAX
    assert ledger.holders[Process("b", 1)].claimed == 10, "it has not stopped"
    assert ledger.claimed - ledger.returned == 10 + 2 * HOLDERS_MAX - 2
    assert ledger.gone.used + sum(one.used for one in ledger.holders.values()) == (
        2 * HOLDERS_MAX - 2
    )
    assert restored(ledgers).known == ledgers.known


def test_of_many_that_crashed_the_longest_silent_one_goes() -> None:
    ledgers = Ledgers()
    for mark in range(1, HOLDERS_MAX + 1):
        ledgers.claim(given(ledgers, mark))
    ledgers.join(Process("b", 1), said(10, used=3))
    ledgers.claim(given(ledgers, HOLDERS_MAX + 1))
    holders = ledgers.of(Period(b"k", 0)).holders
    assert Process("b", 1) in holders
    assert Process("b", 2) not in holders


def test_what_one_has_given_back_that_was_let_go_is_counted_once() -> None:
    """What comes back of its holds is lost then; so one whose holds are over goes first."""
    ledgers = Ledgers()
    for mark in (1, 2):
        ledgers.claim(given(ledgers, mark))
    ledgers.join(Process("b", 1), said(10, held=2, returned=8), last=True)
    ledgers.join(Process("b", 2), said(10, used=2, returned=8), last=True)
    for mark in range(3, HOLDERS_MAX + 2):
        ledgers.claim(given(ledgers, mark))
    assert Process("b", 1) in ledgers.of(Period(b"k", 0)).holders
    assert Process("b", 2) not in ledgers.of(Period(b"k", 0)).holders
    ledgers.claim(given(ledgers, HOLDERS_MAX + 2))
    assert Process("b", 1) not in ledgers.of(Period(b"k", 0)).holders
    ledgers.join(Process("b", 1), said(10, returned=10), last=True)
    assert ledgers.of(Period(b"k", 0)).returned == 16


def test_what_is_claimed_for_one_that_has_stopped_is_anybodys() -> None:
    """Whether the claim comes behind its last word, or before, when it did not know of it."""
    ledgers = Ledgers()
    for _ in range(2):
        assert ledgers.claim(given(ledgers, 1))
    ledgers.join(Process("b", 1), said(10, used=4, returned=6), last=True)
    ledger = ledgers.of(Period(b"k", 0))
    assert (ledger.claimed, ledger.returned) == (20, 16)
    ledgers = restored(ledgers)
    assert ledgers.claim(given(ledgers, 1))
    ledger = ledgers.of(Period(b"k", 0))
    assert (ledger.claimed, ledger.returned) == (30, 26)


def test_a_last_word_for_nothing_is_kept() -> None:
    ledgers = Ledgers()
    ledgers.join(Process("b", 1), said(0), last=True)
    assert ledgers.claim(given(ledgers, 1))
    assert ledgers.of(Period(b"k", 0)).returned == 10


def test_why_no_claim_can_hold_is_told() -> None:
    ledgers = Ledgers()
    assert all(map(ledgers.claim, days(20_000, 20_000 + PERIODS_KEPT, 1)))
    assert ledgers.why_not(Period(b"new", 19_999), DAY) == "its period is over"
    for name in range(LEDGERS_MAX - PERIODS_KEPT):
        assert ledgers.why_not(Period(b"new", 0), ALL) == ""
        assert ledgers.claim(claim(f"ever-{name}"))
    assert "4,096 budgets and periods" in ledgers.why_not(Period(b"new", 0), ALL)
    assert "4,096 budgets and periods" in ledgers.why_not(Period(b"new", 20_003), DAY)
    assert not ledgers.claim(claim("new")), "it is so"
    # A day that is over makes room.
    assert ledgers.why_not(Period(b"new", 20_004), DAY) == ""
    assert ledgers.why_not(Period(b"ever-0", 0), ALL) == "", "it is known"
