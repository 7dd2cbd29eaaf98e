"""What a process held when it stopped comes back, but for what impressions have used meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nextbest.server.log.contents import position_message, unpack
from nextbest.server.log.ledgers import Holder, Period, Process
from nextbest.server.log.log import BEFORE, Position, Record
from nextbest.server.log.memory import MemoryLog, MemoryStore
from nextbest.server.log.orphans import HOLD_BYTES
from nextbest.v1 import decision_pb2, event_pb2, log_pb2
from tests.server.log.member import APPLIED, Member, eventually, following, now_us
from tests.server.log.test_budgets import KEY, budget, plan_of

_marks = itertools.count(1_000)
HELD = 10
ALL = Period(KEY, 0)


def member(store: MemoryStore, name: str, hold: int = 1, **more: Any) -> Member:
    limits = {"returns_ms": 100, "gone_ms": 100, **more}
    plan = limits.pop("plan", None) or plan_of(hold_s=hold)
    log = limits.pop("log", None) or MemoryLog(store)
    return Member(log, name, process=next(_marks), plan=plan, **limits)


def decided(one: Member) -> str:
    """The id of a decision that proposes the action; empty where the budget lets it not."""
    request = decision_pb2.DecideRequest(placements=["page"])
    request.identity.id = "ann"
    answer = decision_pb2.DecideResponse.FromString(
        one.engine.decide(request.SerializeToString(), now_us())
    )
    return answer.decision_id if answer.placements[0].propositions else ""


async def held(one: Member, count: int = HELD) -> list[str]:
    """So many decisions that hold something."""
    found: list[str] = []
    while len(found) < count:
        found += filter(None, [decided(one)])
        await asyncio.sleep(0.002)
    return found


async def uses_exactly(count: int, *members: Member) -> None:
    """All that is left lets members show so much together, and no more."""
    used = 0
    while used < count:
        for one in members:
            if used < count and (id := decided(one)):
                show(one, id)
                used += 1
        await asyncio.sleep(0.002)
    for one in members:
        await eventually(lambda one=one: not budget(one).more)  # type: ignore[misc]
        assert not decided(one)


def show(one: Member, decision_id: str, again: str = "") -> None:
    """Track the impression of a decision; again: another one, and not that event once more."""
    request = event_pb2.TrackRequest(
        event_id=f"shown-{decision_id}{again}", event="impression", decision_id=decision_id
    )
    request.ack = APPLIED  # type: ignore[assignment]
    request.identity.id = "ann"
    request.occurred_at.FromMicroseconds(now_us())
    one.engine.track(request.SerializeToString(), now_us())


def holder(one: Member, other: Member) -> Holder:
    """What one member knows of another's process."""
    process = Process(other.node.context.member, other.node.context.process)
    return one.node.budgets.ledgers.of(ALL).holders[process]


async def test_what_was_held_comes_back_when_the_hold_is_over() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        await held(a)
        await a.stop()
        await eventually(lambda: holder(b, a).stopped)
        assert holder(b, a).held == HELD
        assert b.node.budgets.state(Process("a", a.node.context.process), holder(b, a)) == "stopped"
        async with asyncio.timeout(20):
            await uses_exactly(100, b)
        assert holder(b, a) == replace(holder(b, a), used=0, held=0)


async def test_what_is_shown_after_the_stop_is_used_once() -> None:
    """On whichever node, and the same impression again makes no difference."""
    store = MemoryStore()
    a, b, c = member(store, "a"), member(store, "b"), member(store, "c")
    async with following(b, c):
        await a.start()
        ids = await held(a)
        await a.stop()
        await eventually(lambda: holder(b, a).stopped and holder(c, a).stopped)
        for one in (b, c):
            show(one, ids[0])
        show(c, ids[1])
        await eventually(lambda: holder(b, a).held == holder(c, a).held == 0)
        assert holder(b, a).used == holder(c, a).used == 2
        async with asyncio.timeout(20):
            await uses_exactly(98, b, c)


async def test_a_late_impression_is_paid_of_what_is_left_or_not_at_all() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        ids = await held(a)
        await a.stop()
        await eventually(lambda: holder(b, a).held == 0)
        await eventually(lambda: budget(b).left > 0)
        show(b, ids[0])
        assert (budget(b).late, budget(b).unpaid) == (1, 0)
        async with asyncio.timeout(20):
            await uses_exactly(99, b)
        show(b, ids[1])
        assert (budget(b).late, budget(b).unpaid) == (1, 1)


async def test_another_impression_of_what_is_used_is_paid_once() -> None:
    """What came back was not of it."""
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        ids = await held(a)
        await a.stop()
        await eventually(lambda: holder(b, a).stopped)
        show(b, ids[0])
        await eventually(lambda: holder(b, a).held == 0)
        assert holder(b, a).used == 1
        await eventually(lambda: budget(b).left > 0)
        show(b, ids[0], again="again")
        assert (budget(b).used, budget(b).late, budget(b).unpaid) == (0, 0, 0)


class BusyLog(MemoryLog):
    """Calls somebody before it appends a last word."""

    before: Callable[[], None] = staticmethod(lambda: None)

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        contents = unpack(Record(0, 0, data))
        if contents.kind == "heartbeat" and not contents.body.now_ms:
            self.before()
        return await super().append(queue, epoch, replication_id, data, replicas)


async def test_an_impression_before_the_return_is_in_the_log_is_late() -> None:
    """It was not known when what has come back was counted."""
    store = MemoryStore()
    log = BusyLog(store)
    a, b = member(store, "a"), member(store, "b", log=log)
    async with following(b):
        await a.start()
        ids = await held(a)
        log.before = lambda: show(b, ids[0])
        await a.stop()
        await eventually(lambda: holder(b, a).held == 0)
        assert holder(b, a).used + budget(b).late + budget(b).unpaid == 1
        async with asyncio.timeout(20):
            await uses_exactly(100 - holder(b, a).used - budget(b).late, b)


async def test_an_impression_that_the_last_word_did_not_know_counts() -> None:
    """It came before the last word: who says that has not read it, and this node has."""
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        ids = await held(a)
        applied = b.position
        holds, _ = a.engine.budget_holds(*ALL, now_us(), HELD)
        assert len(holds) == HELD * HOLD_BYTES
        claimed = holder(b, a).claimed
        show(b, ids[0])
        await eventually(lambda: b.node.ahead == 0)
        await die(a, store)
        await b.until("following")
        last = last_word(a, holds, claimed, applied)
        await b.node.notes.append(heartbeat=last)
        await eventually(lambda: holder(b, a).stopped and holder(b, a).held == 0)
        assert holder(b, a).claimed - holder(b, a).returned == 1


async def die(one: Member, store: MemoryStore) -> None:
    """Stop without a last word of its own."""
    store.available = False
    await one.stop(0)
    store.available = True


def last_word(one: Member, holds: bytes, claimed: int, applied: Position) -> log_pb2.Heartbeat:
    """What a process says that holds all that it names, and gives the rest back."""
    count = len(holds) // HOLD_BYTES
    report = log_pb2.BudgetReport(
        budget=KEY, has=claimed, held=count, returned=claimed - count, holds=holds
    )
    context = one.node.context
    return log_pb2.Heartbeat(
        member=context.member,
        process=context.process,
        position=position_message(applied),
        budgets=[report],
    )


async def test_who_may_have_missed_an_impression_returns_nothing() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        await held(a)
        holds, _ = a.engine.budget_holds(*ALL, now_us(), HELD)
        claimed = holder(b, a).claimed
        await die(a, store)
        await b.until("following")
        b.node.context.retained._base = b.position
        await b.node.notes.append(heartbeat=last_word(a, holds, claimed, BEFORE))
        await eventually(lambda: holder(b, a).stopped)
        await asyncio.sleep(0.5)
        assert holder(b, a).returned == claimed - HELD
        assert holder(b, a).held == HELD


async def test_impressions_are_found_again_for_all_budgets_of_a_last_word() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b", returns_ms=60_000)
    async with following(b):
        await a.start()
        ids = await held(a)
        applied = b.position
        last = last_word_of_two(a, holder(b, a).claimed, applied)
        show(b, ids[0])
        await eventually(lambda: b.node.ahead == 0)
        await die(a, store)
        await b.until("following")
        await b.node.notes.append(heartbeat=last)
        await eventually(lambda: holder(b, a).stopped)
        for said in last.budgets:
            waiting = b.engine.waiting_orphans(said.budget, said.holds)
            assert len(waiting) == (HELD - 1) * HOLD_BYTES


async def test_what_is_retained_is_gone_through_once_for_a_last_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However many budgets it is about; here it is retained no more."""
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        await held(a)
        last = last_word_of_two(a, holder(b, a).claimed, BEFORE)
        await die(a, store)
        await b.until("following")
        b.node.context.retained._base = b.position
        await b.node.notes.append(heartbeat=last)
        await eventually(lambda: holder(b, a).stopped)
    assert len([one for one in caplog.messages if "stays claimed" in one]) == 1


def last_word_of_two(one: Member, claimed: int, applied: Position) -> log_pb2.Heartbeat:
    """As if a member held the same of two budgets."""
    holds, _ = one.engine.budget_holds(*ALL, now_us(), HELD)
    last = last_word(one, holds, claimed, applied)
    last.budgets.add().CopyFrom(last.budgets[0])
    last.budgets[1].budget = b"w" * 16
    return last


async def test_it_comes_back_after_a_restart_from_a_snapshot() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b", lease_ms=60_000)
    await a.start()
    ids = await held(a)
    await b.start()
    await b.until("following")
    await a.stop()
    await eventually(lambda: holder(b, a).stopped)
    show(b, ids[0])
    await eventually(lambda: b.node.ahead == 0)
    head = log_pb2.SnapshotHead(budgets=b.node.budgets.messages(), allowed=2)
    position = b.position
    await b.stop()
    (left,) = [one for one in head.budgets[0].holders if one.stopped]
    assert len(left.holds) == (HELD - 1) * HOLD_BYTES
    again = member(store, "b")
    for number, nonce, previous in b.engine.epochs():
        again.engine.epoch_opened(number, nonce, previous)
    again.engine.advance(position, now_us())
    again.node.restore(head)
    async with following(again), asyncio.timeout(20):
        show(again, ids[1])
        await uses_exactly(98, again)


async def test_who_begins_from_a_snapshot_waits_for_all_to_settle_too() -> None:
    """Somebody may bring back an impression that the log has lost."""
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        await held(a)
        await a.stop()
        await eventually(lambda: holder(b, a).stopped)
        head = log_pb2.SnapshotHead(budgets=b.node.budgets.messages(), allowed=2)
        position = b.position
    again = member(store, "c", lease_ms=60_000)
    for number, nonce, previous in b.engine.epochs():
        again.engine.epoch_opened(number, nonce, previous)
    again.engine.advance(position, now_us())
    again.node.restore(head)
    async with following(again):
        beat = log_pb2.Heartbeat(member="d", process=7, format=2, now_ms=now_us() // 1_000)
        await again.node.notes.append(heartbeat=beat)
        await asyncio.sleep(2)
        assert holder(again, a).held == HELD


async def test_impressions_that_wait_for_their_playbook_hold_a_return_up() -> None:
    store = MemoryStore()
    a, b, c = member(store, "a"), member(store, "b"), member(store, "c")
    newer = replace(plan_of(hold_s=1), hash=b"n" * 16)
    async with following(b, c):
        await eventually(lambda: b.node.leads or c.node.leads)
        await a.start()
        ids = await held(a)
        await a.stop()
        await eventually(lambda: holder(b, a).stopped and holder(c, a).stopped)
        lead, other = (b, c) if b.node.leads else (c, b)
        other.engine.publish(newer)
        for id in ids:
            show(other, id)
        await asyncio.sleep(1.5)
        assert holder(lead, a).held == HELD
        lead.engine.publish(newer)
        await eventually(lambda: holder(lead, a).held == 0)
        assert holder(lead, a).used == HELD


async def test_what_has_ended_as_a_process_stops_is_given_back() -> None:
    """It was held when anybody looked last, of a budget that the playbook has no more."""
    store = MemoryStore()
    ahead_us = 0
    a = member(store, "a", clock=lambda: now_us() + ahead_us, gone_ms=60_000)
    b = member(store, "b")
    other = replace(plan_of(), hash=b"o" * 16, contact=(), budgets=(), actions=())
    async with following(b):
        await a.start()
        await held(a)
        a.engine.publish(replace(other, placements=()))
        ahead_us = 1_000_000
        await a.stop()
        await eventually(lambda: holder(b, a).stopped)
        one = holder(b, a)
        assert (one.used, one.held, one.returned) == (0, 0, one.claimed)


async def test_a_last_word_renews_no_lease() -> None:
    """Others take none from it: it may be said of another process."""
    b = member(MemoryStore(), "b", pulse_ms=60_000, lease_ms=600_000)
    async with following(b):
        await asyncio.sleep(0.3)
        await b.node.leases.look()
        until_s = b.node.leases.until_s
        assert until_s > b.node.context.steady_s()
        report = log_pb2.BudgetReport(budget=KEY)
        said = log_pb2.Heartbeat(member="x", process=99, budgets=[report])
        await b.node.notes.append(heartbeat=said)
        await eventually(lambda: Process("x", 99) in b.node.budgets.ledgers.of(ALL).holders)
        await b.node.leases.look()
        assert b.node.leases.until_s == until_s


async def test_what_was_all_shown_before_a_snapshot_counts_as_used() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b", lease_ms=60_000)
    await b.start()
    await a.start()
    ids = await held(a, 1)
    await a.stop()
    await eventually(lambda: holder(b, a).stopped)
    show(b, ids[0])
    ledgers = b.node.budgets.messages()
    await b.stop()
    again = member(MemoryStore(), "b")
    again.node.restore(log_pb2.SnapshotHead(budgets=ledgers, allowed=2))
    async with following(again):
        await eventually(lambda: holder(again, a).held == 0)
        assert holder(again, a).used == 1


async def test_what_is_free_of_a_budget_that_is_gone_comes_back() -> None:
    """And what is held of it as that ends; one that is there again in time is left alone."""
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    other = replace(plan_of(), hash=b"o" * 16, contact=(), budgets=(), actions=())
    other = replace(other, placements=())
    # A coordinator gives of what its own playbook has.
    async with following(b, a):
        await eventually(lambda: b.node.leads)
        ids = await held(a)
        first = a.engine.generation
        a.engine.publish(other)
        a.engine.activate(first)
        await asyncio.sleep(0.3)
        assert holder(b, a).returned == 0
        a.engine.publish(other)
        show(a, ids[0])
        async with asyncio.timeout(20):
            await uses_exactly(99, b)
        assert holder(b, a).claimed - holder(b, a).returned == 1
        a.engine.activate(first)
        assert not decided(a)


class SlowClock(MemoryLog):
    """Does not say its time while it is slow; a process that stops asks for it."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.asked = asyncio.Event()
        self.quick = asyncio.Event()
        self.quick.set()

    async def time_ms(self) -> int:
        if not self.quick.is_set():
            self.asked.set()
            await self.quick.wait()
        return await super().time_ms()


async def test_a_claim_that_is_read_during_the_stop_comes_back() -> None:
    store = MemoryStore()
    log = SlowClock(store)
    a, b = member(store, "a", log=log), member(store, "b")
    async with following(b):
        await eventually(lambda: b.node.leads)
        await a.start()
        await held(a)
        log.quick.clear()
        stopping = asyncio.create_task(a.stop(5))
        await log.asked.wait()
        await b.node.notes.append(claim=claim_for(a, b))
        await eventually(lambda: a.position == b.position)
        log.quick.set()
        await stopping
        await eventually(lambda: holder(b, a).stopped and holder(b, a).held == 0)
        assert holder(b, a).claimed == holder(b, a).returned


def claim_for(one: Member, coordinator: Member) -> log_pb2.Claim:
    """What the coordinator claims for a member that has asked for 5 more."""
    ledger = coordinator.node.budgets.ledgers.of(ALL)
    return log_pb2.Claim(
        term=coordinator.node.coordinator.term,
        budget=KEY,
        start=ledger.claimed,
        amount=5,
        holder=one.node.context.member,
        process=one.node.context.process,
        calendar=ledger.calendar,
    )


async def test_a_stop_gives_back_what_is_free_of_a_budget_that_is_gone() -> None:
    store = MemoryStore()
    a, b = member(store, "a", gone_ms=60_000), member(store, "b")
    other = replace(plan_of(), hash=b"o" * 16, contact=(), budgets=(), actions=())
    other = replace(other, placements=())
    async with following(b):
        await a.start()
        await held(a)
        a.engine.publish(other)
        await a.stop()
        async with asyncio.timeout(20):
            await uses_exactly(100, b)


async def test_a_last_word_names_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not name counts as used."""
    monkeypatch.setattr("nextbest.server.log.budgets.NAMED_MAX", 4)
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        await held(a)
        await a.stop()
        await eventually(lambda: holder(b, a).stopped and holder(b, a).held == 0)
        assert holder(b, a).used == HELD - 4
        assert holder(b, a).claimed - holder(b, a).returned == HELD - 4
    beats = [one.body for one in map(unpack, store.records) if one.kind == "heartbeat"]
    assert max(len(said.holds) for one in beats for said in one.budgets) == 4 * HOLD_BYTES


async def test_a_process_that_is_not_heard_of_is_gone() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        await a.start()
        await held(a)
        process = Process("a", a.node.context.process)
        await eventually(lambda: b.node.budgets.state(process, holder(b, a)) == "running")
        await die(a, store)
        await eventually(lambda: b.node.budgets.state(process, holder(b, a)) == "gone")
