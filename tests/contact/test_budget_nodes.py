"""A budget over two servers on one real Redis, with eight callers at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from nextbest.client import AsyncClient
from nextbest.core import Engine
from nextbest.v1 import common_pb2
from tests.conftest import running
from tests.server.log.conftest import Process, start_redis
from tests.server.test_publisher import BUDGETS_MAX, many_budgets

__all__ = ["start_redis"]  # a fixture

FILES = {
    "schema.yaml": "events:\n  impression: {action: string}\n",
    "contact.yaml": """
budgets:
  summer: {of: {action: one}, max: 300, per: all, hold: 1h}
  money: {of: {action: two}, spend: {max: 10.00, cost: 0.05}, per: all, hold: 3s}
""",
    "actions.yaml": "actions: {one: {value: 2.0}, two: {value: 1.0}}\n",
    "placements.yaml": "placements: {page: {slots: 2}}\n",
}
WAITS = common_pb2.DEGRADATION_BUDGET_WAIT


async def used_up(address: str, elsewhere: str, caller: int, shown: Counter[str]) -> None:
    """Ask until nothing is to be waited for; every other time show it, by way of the other node."""
    async with AsyncClient(address) as client, AsyncClient(elsewhere) as other:
        for number in range(2_000):
            who = f"person-{caller}-{number}"
            answer = await client.decide(who, ["page"])
            for one in answer.placements[0].propositions:
                shown[one.action] += 1
                if one.action == "two" or number % 2:
                    about = {"action": one.action}
                    await other.track(
                        who, "impression", about, decision_id=answer.decision_id, slot=one.slot
                    )
            if not answer.placements[0].propositions:
                if WAITS not in answer.degraded:
                    return
                await asyncio.sleep(0.02)


async def test_two_nodes_never_overspend(
    tmp_path: Path, start_redis: Callable[..., Process]
) -> None:
    place = f"redis://127.0.0.1:{start_redis().port}/0"
    (playbook := tmp_path / "playbook").mkdir()
    for name, text in FILES.items():
        (playbook / name).write_text(text)
    shown: Counter[str] = Counter()
    async with (
        running(playbook, log__place=place, log__member="a") as a,
        running(None, log__place=place, log__member="b") as b,
        asyncio.timeout(60),
    ):
        await asyncio.gather(
            *(used_up(*((a, b) if caller % 2 else (b, a)), caller, shown) for caller in range(8))
        )
        assert shown == {"one": 300, "two": 200}
        # What was shown stays used, on whichever node it was told.
        await asyncio.sleep(3.5)
        async with AsyncClient(a) as first, AsyncClient(b) as second:
            for client in (first, second):
                answer = await client.decide("late", ["page"])
                assert not answer.placements[0].propositions
                await told(client)


async def test_a_node_says_which_playbook_it_cannot_hold(
    start_redis: Callable[..., Process],
) -> None:
    """Its table of budgets is full, and another node publishes one more."""
    place = f"redis://127.0.0.1:{start_redis().port}/0"
    files = {name: text.encode() for name, text in FILES.items()}

    def full(engine: Engine) -> None:
        engine.publish(many_budgets(BUDGETS_MAX))

    async with (
        running(None, log__place=place, log__member="a") as a,
        running(None, announced=full, log__place=place, log__member="b") as b,
        AsyncClient(a) as first,
        AsyncClient(b) as second,
        asyncio.timeout(60),
    ):
        published = await first.publish_playbook(files)
        while not (refused := (await second.log_status()).refused_playbooks):
            await asyncio.sleep(0.05)
        assert [(one.generation, one.playbook_hash) for one in refused] == [
            (published.generation, published.playbook_hash)
        ]
        assert "allowed: 4,096" in refused[0].why
        (listed,) = (await second.list_generations()).generations
        assert (listed.refused, listed.active) == (refused[0].why, False)
        telemetry = await second.telemetry()
        values = {one.name: one.samples[0].value for one in telemetry.metrics if one.samples}
        assert values["nextbest_playbooks_refused"] == 1
        assert not (await first.log_status()).refused_playbooks
        (here,) = (await first.list_generations()).generations
        assert (here.refused, here.active) == ("", True)


async def told(client: AsyncClient) -> None:
    """Each node knows of both, once the others' heartbeats were read."""
    async with asyncio.timeout(20):
        while True:
            money, summer = (await client.log_status()).budgets
            if (money.used, summer.used + summer.held) == (10.0, 300.0):
                break
            await asyncio.sleep(0.1)
    assert (money.name, money.max, money.claimed, money.since) == ("money", 10.0, 10.0, "")
    assert sorted(one.member for one in money.parts) == ["a", "b"]
    assert sum(one.claimed for one in summer.parts) == 300.0
