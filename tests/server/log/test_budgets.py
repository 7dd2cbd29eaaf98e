"""Budgets over the log: shares are claimed, and never spent twice, whatever becomes of the log."""

from __future__ import annotations

import asyncio
import itertools
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
from nextbest.server.log.memory import MemoryLog, MemoryStore
from nextbest.v1 import decision_pb2, log_pb2
from tests.server.log.member import LIMITS, PLAN, Member, eventually, following, now_us

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


async def test_many_claims_cost_no_lease() -> None:
    """Forty claims take three times as long as a lease lasts without heartbeats."""
    plan = plan_of()
    budgets = [replace(BUDGET, name=str(i), key=b"%16d" % i) for i in range(40)]
    plan = replace(plan, budgets=tuple(budgets))
    a = Member(SlowLog(MemoryStore()), process=next(_marks), plan=plan)
    async with following(a):
        await eventually(lambda: a.node.leads)
        term = a.node.coordinator.term
        seen: list[float] = []
        async with asyncio.timeout(10):
            while any(one.left == 0 for one in a.engine.budgets(now_us())):
                seen.append(asyncio.get_running_loop().time() - a.node.members.seen_s("a"))
                await asyncio.sleep(0.01)
        assert max(seen) < LIMITS.lease_ms / 1_000
        assert a.node.coordinator.term == term


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
