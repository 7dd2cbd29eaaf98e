"""Budgets over the log: shares are claimed, and never spent twice, whatever becomes of the log."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import replace
from typing import Any

import pytest

from nextbest.core import BudgetInfo
from nextbest.core.playbook.plan import (
    Action,
    Budget,
    ContactKind,
    ContactRule,
    Event,
    Field,
    Period,
    Placement,
    ValueType,
)
from nextbest.server.log.contents import position_message, unpack
from nextbest.server.log.ledgers import LEDGERS_MAX, Process
from nextbest.server.log.log import Entries, LogFullError, Record
from nextbest.server.log.memory import MemoryLog, MemoryStore
from nextbest.v1 import decision_pb2, log_pb2
from tests.server.log.member import PLAN, Member, eventually, following, now_us

KEY = b"k" * 16
BUDGET = Budget("summer", KEY, 100, (1,), Period.ROLLING, False, False, 64, 60)
_marks = itertools.count(1)


def plan_of(**change: Any) -> Any:
    """One action under one budget."""
    shown = Event("impression", (Field("time", ValueType.TIMESTAMP),))
    return replace(
        PLAN,
        events=(*PLAN.events, shown),
        actions=(Action("one", contact=(0,)),),
        placements=(Placement("page", 1, "", (0,)),),
        contact=(ContactRule("budget summer", ContactKind.BUDGET, shown=True, budget=0),),
        budgets=(replace(BUDGET, **change),),
    )


def member(store: MemoryStore, name: str, **more: Any) -> Member:
    change = more.pop("budget", {})
    mark = next(_marks)
    return Member(MemoryLog(store), name, process=mark, plan=plan_of(**change), **more)


def budget(one: Member) -> BudgetInfo:
    return one.engine.budgets(now_us())[0]


def propose(one: Member) -> bool:
    """Whether a member's decision proposes the action."""
    request = decision_pb2.DecideRequest(placements=["page"])
    request.identity.id = "ann"
    answer = decision_pb2.DecideResponse.FromString(
        one.engine.decide(request.SerializeToString(), now_us())
    )
    return bool(answer.placements[0].propositions)


async def spend(one: Member, most: int = 10_000) -> int:
    """Propose until the budget has nothing that could still be granted; gives how often."""
    shown = 0
    while shown < most:
        if propose(one):
            shown += 1
        elif not budget(one).more:
            break
        await asyncio.sleep(0.001 if shown % 10 == 0 else 0)
    return shown


async def test_members_spend_a_budget_together_to_the_last_share() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(a, b):
        async with asyncio.timeout(20):
            spent = await asyncio.gather(spend(a), spend(b))
        assert sum(spent) <= 100
        left = budget(a).left + budget(b).left
        assert sum(spent) + left == 100
        assert min(spent) > 0
        ledger = a.node.budgets.messages()[0]
        assert ledger.claimed == 100
        assert b.node.budgets.messages()[0].claimed == 100


async def test_a_process_that_dies_takes_its_shares_with_it() -> None:
    store = MemoryStore()
    a = member(store, "a")
    await a.start()
    await a.until("following")
    await eventually(lambda: budget(a).left > 0)
    claimed = a.node.budgets.messages()[0].claimed
    had = budget(a).left
    store.available = False
    await a.stop(0)
    store.available = True
    again = member(store, "a")
    async with following(again):
        async with asyncio.timeout(20):
            spent = await spend(again)
    assert 0 < had <= claimed
    assert spent <= 100 - claimed + (claimed - had)
    assert spent + claimed == 100


async def test_who_stops_in_peace_gives_back_what_is_left() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(b):
        async with following(a):
            assert await spend(a, 5) == 5
        async with asyncio.timeout(20):
            spent = await spend(b)
        assert spent == 95


async def test_a_lost_tail_takes_claims_back_and_nobody_has_them_again() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(a, b):
        await eventually(lambda: budget(a).left > 0)
        before = len(store.records)
        granted = budget(a).left
        shown = await spend(a, 30)
        assert shown > granted, "it has claimed more since"
        store.fail_over(len(store.records) - before)
        await eventually(lambda: a.node.budgets.shares.revoked > 0)
        async with asyncio.timeout(20):
            more = sum(await asyncio.gather(spend(a), spend(b)))
        assert shown + more <= 100


async def test_claims_of_one_part_the_first_one_counts() -> None:
    store = MemoryStore()
    a, b = member(store, "a"), member(store, "b")
    async with following(a, b):
        await eventually(lambda: budget(a).left > 0 and budget(b).left > 0)
        coordinator = a if a.node.leads else b
        other = b if coordinator is a else a
        start = coordinator.node.budgets.messages()[0].claimed
        claim = log_pb2.Claim(
            budget=KEY, start=start, amount=7, term=coordinator.node.coordinator.term
        )
        first, second, old = (log_pb2.Claim(), log_pb2.Claim(), log_pb2.Claim())
        for one, holder in ((first, a), (second, b), (old, b)):
            one.CopyFrom(claim)
            one.holder = holder.node.context.member
            one.process = holder.node.context.process
        old.term -= 1
        old.start += 7
        had = budget(a).left, budget(b).left
        for one in (first, second, old):
            await other.node.notes.append(claim=one)
        await eventually(lambda: budget(a).left == had[0] + 7)
        assert budget(b).left == had[1]
        assert b.node.budgets.lost == 1
        assert a.node.budgets.messages()[0].claimed == start + 7


class SlowLog(MemoryLog):
    """Takes a while for every append."""

    async def append(self, *args: Any) -> int:
        await asyncio.sleep(0.02)
        return await super().append(*args)


async def test_many_claims_keep_no_heartbeat_waiting() -> None:
    """Forty claims take sixteen heartbeats' time."""
    plan = plan_of()
    budgets = [replace(BUDGET, name=str(i), key=b"%16d" % i) for i in range(40)]
    plan = replace(plan, budgets=tuple(budgets))
    store = MemoryStore()
    a = Member(SlowLog(store), process=next(_marks), plan=plan)
    async with following(a):
        async with asyncio.timeout(20):
            while any(one.left == 0 for one in a.engine.budgets(now_us())):
                await asyncio.sleep(0.01)
    kinds = [unpack(one).kind for one in store.records]
    runs = [len(list(run)) for kind, run in itertools.groupby(kinds) if kind == "claim"]
    assert sum(runs) >= 40
    assert max(runs) < 10


class HeldLog(MemoryLog):
    """Keeps the first claim waiting for a while."""

    held = False

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        if not self.held and unpack(Record(0, 0, data)).kind == "claim":
            self.held = True
            await asyncio.sleep(0.1)
        return await super().append(queue, epoch, replication_id, data, replicas)


async def test_a_ledger_begins_when_the_log_has_its_claim() -> None:
    """On the coordinator as on any other: what is over then goes at one position everywhere."""
    log = HeldLog(MemoryStore())
    a = Member(log, process=next(_marks), plan=plan_of())
    async with following(a):
        await eventually(lambda: log.held)
        assert a.node.budgets.ledgers.known == {}
        await eventually(lambda: budget(a).left > 0)


def alike(*members: Member) -> bool | None:
    """Whether all have the same ledgers; None where they are not at one position."""
    if len({one.position for one in members}) > 1:
        return None
    first = members[0].node.budgets.ledgers.known
    return all(one.node.budgets.ledgers.known == first for one in members)


async def test_nodes_at_one_position_know_the_same() -> None:
    store = MemoryStore()
    a, b, late = member(store, "a"), member(store, "b"), member(store, "c")
    async with following(a, b):
        await asyncio.gather(spend(a, 10), spend(b, 10))
        late.node.restore(log_pb2.SnapshotHead(budgets=a.node.budgets.messages(), allowed=2))
        async with following(late):
            seen = []
            async with asyncio.timeout(10):
                while len(seen) < 20:
                    propose(a)
                    if (found := alike(a, b, late)) is not None:
                        seen.append(found)
                    await asyncio.sleep(0.005)
            assert all(seen)
            # Whoever read a claim that is lost then is ahead until it has told it.
            store.fail_over(3)
            await eventually(lambda: bool(alike(a, b, late)))
            assert late.node.budgets.ledgers.known


async def test_what_is_claimed_is_in_snapshots() -> None:
    store = MemoryStore()
    a = member(store, "a")
    async with following(a):
        await eventually(lambda: budget(a).left > 0)
        head = log_pb2.SnapshotHead(budgets=a.node.budgets.messages(), allowed=2)
    fresh = member(MemoryStore(), "b")
    fresh.node.restore(head)
    assert fresh.node.budgets.messages() == list(head.budgets)
    assert fresh.node.coordinator.format == 2


@pytest.mark.parametrize("even", [False, True])
async def test_shares_are_released_with_the_time(even: bool) -> None:
    """Nobody claims what even pacing has not released yet."""
    change = {"period": Period.MONTH, "even": even, "shares": 100}
    store = MemoryStore()
    a = member(store, "a", budget=change)
    released = a.engine.budgets(now_us())[0].released
    async with following(a):
        spent = 0
        async with asyncio.timeout(20):
            while spent < released:
                spent += propose(a)
                await asyncio.sleep(0.001)
        await eventually(lambda: not budget(a).more)
        assert not propose(a)
        assert a.node.budgets.messages()[0].claimed == released


class SlowClaims(MemoryLog):
    """Takes a while for each claim, once it is slow."""

    slow = False
    begun = 0

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        if self.slow and unpack(Record(0, 0, data)).kind == "claim":
            self.begun += 1
            await asyncio.sleep(0.3)
        return await super().append(queue, epoch, replication_id, data, replicas)


async def test_what_is_claimed_for_one_that_stops_meanwhile_is_anybodys() -> None:
    log = SlowClaims(store := MemoryStore())
    a, b = Member(log, process=next(_marks), plan=plan_of()), member(store, "b")
    async with following(a):
        await eventually(lambda: a.node.leads and budget(a).left > 0)
        log.slow = True
        await b.start()
        await eventually(lambda: log.begun > 0)
        await b.stop(0.5)
        log.slow = False
        async with asyncio.timeout(20):
            assert await spend(a) == 100


class FullLog(MemoryLog):
    """Refuses heartbeats while it is full."""

    full = False
    refused = 0

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        if self.full and unpack(Record(0, 0, data)).kind == "heartbeat":
            self.refused += 1
            await asyncio.sleep(0.02)
            raise LogFullError("full")
        return await super().append(queue, epoch, replication_id, data, replicas)


async def test_what_a_refused_heartbeat_told_the_next_one_tells() -> None:
    """The coordinator takes the first heartbeat in an epoch as all that its member knows."""
    log = FullLog(store := MemoryStore())
    a = Member(log, process=next(_marks), plan=plan_of())
    async with following(a):
        await eventually(lambda: budget(a).left > 0)
        await a.node.pulse.beat()
        a.node.budgets.opened(a.position)
        log.full, before = True, len(store.records)
        first = asyncio.create_task(a.node.pulse.beat())
        # One that is made meanwhile would leave out what the first one tells.
        second = asyncio.create_task(a.node.pulse.beat())
        await eventually(lambda: log.refused > 0)
        log.full = False
        await asyncio.gather(first, second)
        beats = [one.body for one in map(unpack, store.records[before:]) if one.kind == "heartbeat"]
        assert [one.claimed for one in beats[0].budgets] == [a.node.budgets.messages()[0].claimed]


def ask(one: Member, asking: Process, wanted: int) -> None:
    """Let a member hear a heartbeat of another process, which asks for so much, or for nothing."""
    heartbeat = log_pb2.Heartbeat(
        member=asking.member,
        process=asking.mark,
        position=position_message(one.position),
        now_ms=now_us() // 1_000,
    )
    if wanted:
        heartbeat.budgets.add(budget=KEY, wanted=wanted)
    one.node.members.seen(heartbeat, asking.member, asyncio.get_running_loop().time())
    one.node.budgets.heard(heartbeat)


async def test_what_is_asked_for_is_given_though_heartbeats_follow() -> None:
    asking = Process("b", 7)
    async with following(a := member(MemoryStore(), "a")):
        await eventually(lambda: budget(a).left > 0)
        ask(a, asking, 10)
        ask(a, asking, 0)
        await eventually(
            lambda: asking in next(iter(a.node.budgets.ledgers.known.values())).holders
        )


class SteppedLog(MemoryLog):
    """Shows its entries one by one, while it is held."""

    held = False
    step = False

    async def read(self, after: tuple[int, int], wait_ms: int) -> Entries:
        found = await super().read(after, wait_ms)
        while self.held and not self.step:
            await asyncio.sleep(0.001)
        if not self.held:
            return found
        self.step = False
        return Entries.of(self._behind(after)[:1])


def claims(store: MemoryStore) -> list[log_pb2.Claim]:
    return [one.body for one in map(unpack, store.records) if one.kind == "claim"]


async def test_no_part_is_given_twice_while_claims_are_on_their_way() -> None:
    log = SteppedLog(store := MemoryStore())
    # Nobody but the other process asks.
    a = Member(log, plan=plan_of(), lease_ms=5_000)
    async with following(a):
        await eventually(lambda: a.node.coordinator.format == 2)
        log.held = True
        ask(a, Process("b", 7), 10)
        await eventually(lambda: len(claims(store)) == 1)
        ask(a, Process("b", 7), 10)
        await eventually(lambda: len(claims(store)) == 2)
        while not a.node.budgets.messages():
            log.step = True
            await eventually(lambda: not log.step)
            await asyncio.sleep(0.005)
        ask(a, Process("b", 7), 10)
        await eventually(lambda: len(claims(store)) == 3)
        first, second, third = claims(store)
        assert (second.start, third.start) == (first.amount, second.start + second.amount)
        log.held = False


async def test_a_budget_for_which_there_is_no_room_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    a = member(MemoryStore(), "a")
    for number in range(LEDGERS_MAX):
        assert a.node.budgets.ledgers.claim(log_pb2.Claim(budget=b"%16d" % number, amount=1))
    with caplog.at_level(logging.ERROR):
        async with following(a):
            await eventually(lambda: bool(caplog.records))
            # It asks twenty times a second.
            await asyncio.sleep(0.3)
    assert [one.getMessage() for one in caplog.records] == [
        "budget summer: nothing is given: the log keeps ledgers of 4,096 budgets and periods, "
        "those of earlier playbooks' budgets for all time among them: it has no room for another"
    ]
