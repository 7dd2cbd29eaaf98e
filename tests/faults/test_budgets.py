"""A budget over two real nodes, of which one dies, and then the master of their log, or stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nextbest.client import AsyncClient
from nextbest.client.errors import NextbestError
from nextbest.v1 import log_pb2
from tests.faults.conftest import needs_redis
from tests.faults.nodes import Node
from tests.faults.processes import Processes, until
from tests.faults.redis_cluster import RedisCluster

MOST, SHARE = 2_000, 20
FILES = {
    "schema.yaml": "events:\n  impression: {action: string}\n",
    "contact.yaml": f"""
budgets:
  all: {{max: {MOST}, shares: {MOST // SHARE}, per: all, hold: 1h}}
""",
    "actions.yaml": "actions: {one: {value: 1.0}}\n",
    "placements.yaml": "placements: {page: {}}\n",
}
# Of a small one, whose holds are soon over, what is held when a node stops.
FEW, HELD, HOLD_S = 60, 12, 6
SMALL = {
    **FILES,
    "contact.yaml": f"""
budgets:
  all: {{max: {FEW}, shares: 6, per: all, hold: {HOLD_S}s}}
""",
}
LONG_S = 60.0


def written(processes: Processes, files: dict[str, str]) -> Path:
    """A playbook's folder."""
    playbook = processes.folder / "playbook"
    playbook.mkdir()
    for name, text in files.items():
        (playbook / name).write_text(text)
    return playbook


@asynccontextmanager
async def two_nodes(
    processes: Processes, cluster: RedisCluster, files: dict[str, str] = FILES
) -> AsyncIterator[list[Node]]:
    """Nodes `a` and `b` with the budget, on a log in Redis."""
    playbook = written(processes, files)
    await cluster.start()
    settings = {"log.trust_build": "true", "log.hosts_by_port": "true"}
    nodes = [
        Node(processes, name, cluster.url, (), {**settings, "log.member": name}, playbook=playbook)
        for name in ("a", "b")
    ]
    try:
        await asyncio.gather(*(started(node) for node in nodes))
        yield nodes
    finally:
        for node in nodes:
            await node.close()


async def started(node: Node) -> None:
    """Start it, on a machine that may be busy with other things."""
    node.process.start()
    await node.ready(LONG_S)


class Callers:
    """Ask nodes over both lanes, and show every other proposition."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        # Propositions that were answered, by node.
        self.proposed: Counter[str] = Counter()
        self.pause_s = 0.04
        self.stopped = False

    async def run(self) -> None:
        """Until stopped."""
        lanes = [(node, fast) for node in self._nodes for fast in (True, False)]
        await asyncio.gather(*(self._ask(node, fast) for node, fast in lanes))

    async def _ask(self, node: Node, fast: bool) -> None:
        """Ask one node over one lane, again whenever it dies."""
        number = 0
        while not self.stopped:
            try:
                async with AsyncClient(node.endpoint.control, fast_lane=fast) as client:
                    while not self.stopped:
                        number += 1
                        await self._show(client, node, f"{node.name}-{fast}-{number}")
                        await asyncio.sleep(self.pause_s)
            except NextbestError:
                await asyncio.sleep(0.1)

    async def _show(self, client: AsyncClient, node: Node, who: str) -> None:
        answer = await client.decide(who, ["page"])
        for one in answer.placements[0].propositions:
            self.proposed[node.name] += 1
            if self.proposed.total() % 2:
                about = {"action": one.action}
                id = answer.decision_id
                await client.track(who, "impression", about, decision_id=id, slot=one.slot)


async def budget(node: Node) -> log_pb2.BudgetStatus:
    return (await node.status()).budgets[0]


async def claims(node: Node, member: str) -> dict[int, float]:
    """What each process of a member has claimed, by its mark, as a node knows."""
    parts = (await budget(node)).parts
    return {one.process: one.claimed for one in parts if one.member == member}


@needs_redis
async def test_a_dead_node_and_a_dead_master_never_overspend(processes: Processes) -> None:
    cluster = RedisCluster(processes)
    async with two_nodes(processes, cluster) as (a, b):
        callers = Callers([a, b])
        calling = asyncio.create_task(callers.run())
        try:
            await busy(callers, "a", "b")
            await a.process.killed()
            dead, its = callers.proposed["a"], await claims(b, "a")
            await started(a)
            await busy(callers, "a", "b")
            assert its.items() <= (await claims(b, "a")).items(), "what it had counts as spent"
            assert len(await claims(b, "a")) == 2, "a process that starts anew is another"
            master = cluster.master()
            assert master is not None
            master.process.kill()
            await cluster.failed_over(master)
            await busy(callers, "a", "b")
            callers.pause_s = 0.0
            await used_up(callers, a, b)
        finally:
            callers.stopped = True
            await calling
        found = await budget(b)
    assert 0 < found.used <= MOST
    assert all(one.used + one.held <= one.claimed for one in found.parts)
    assert callers.proposed.total() + its_left(its, dead) <= MOST
    # Besides, a claim that the master's death met on its way may be wasted.
    assert callers.proposed.total() + its_left(its, dead) >= MOST - 4 * SHARE


def its_left(its: dict[int, float], dead: int) -> float:
    """What a dead process had and has proposed nothing for: nobody has it again."""
    (claimed,) = its.values()
    assert dead <= claimed
    return claimed - dead


async def busy(callers: Callers, *names: str) -> None:
    """Wait until each of the nodes has proposed something more."""
    before = Counter(callers.proposed)

    async def more() -> bool:
        return all(callers.proposed[name] > before[name] + SHARE for name in names)

    await until(more, LONG_S, "propositions of both nodes")


async def used_up(callers: Callers, *nodes: Node) -> None:
    """Wait until all is claimed, and nobody proposes anything any more."""

    async def over() -> bool:
        before = callers.proposed.total()
        await asyncio.sleep(2.5)
        found = [(await budget(node)).claimed for node in nodes]
        return found == [MOST] * len(nodes) and callers.proposed.total() == before

    await until(over, LONG_S, "the end of the budget")


async def held(node: Node, count: int) -> list[str]:
    """The ids of so many decisions that propose something."""
    found: list[str] = []

    async def enough() -> bool:
        async with AsyncClient(node.endpoint.control) as client:
            while len(found) < count:
                answer = await client.decide("ann", ["page"])
                if not answer.placements[0].propositions:
                    return False
                found.append(answer.decision_id)
        return True

    await until(enough, LONG_S, f"{count} propositions of {node.name}")
    return found


async def show(node: Node, *ids: str) -> None:
    """Track the impressions of decisions, whoever has made them."""
    async with AsyncClient(node.endpoint.control) as client:
        for id in ids:
            await client.track("ann", "impression", {"action": "one"}, decision_id=id, slot=0)


async def uses_exactly(node: Node, count: int) -> None:
    """It can show so much more, and nothing beyond."""
    for _ in range(count):
        await show(node, *await held(node, 1))
    async with AsyncClient(node.endpoint.control) as client:
        for _ in range(20):
            assert not (await client.decide("ann", ["page"])).placements[0].propositions
            await asyncio.sleep(0.1)
    found = await budget(node)
    assert (found.used, found.held) == (FEW, 0)


async def states(node: Node) -> dict[str, str]:
    """What a node says of the processes that have claimed something, by member."""
    return {one.member: one.state for one in (await budget(node)).parts}


@needs_redis
@pytest.mark.parametrize("shown", [0, 2])
async def test_what_a_stopped_node_held_another_can_use(processes: Processes, shown: int) -> None:
    async with two_nodes(processes, RedisCluster(processes), SMALL) as (a, b):
        ids = await held(a, HELD)
        assert (await states(b))["a"] == "running"
        await asyncio.to_thread(a.process.stop)
        (left,) = [one for one in (await budget(b)).parts if one.member == "a"]
        assert (left.state, left.held, left.claimed) == ("stopped", HELD, HELD)
        await show(b, *ids[:shown])
        await uses_exactly(b, FEW - shown)


@needs_redis
async def test_what_a_dead_node_had_is_lost(processes: Processes) -> None:
    async with two_nodes(processes, RedisCluster(processes), SMALL) as (a, b):
        await held(a, HELD)

        async def gone() -> bool:
            return (await states(b)).get("a") == "gone"

        await a.process.killed()
        await until(gone, LONG_S, "the silence of a")
        (its,) = (await claims(b, "a")).values()
        assert its >= HELD
        await held(b, int(FEW - its))


async def test_what_was_held_before_a_restart_comes_back(processes: Processes) -> None:
    """With a log in a file, which one process has: all but what is shown after it."""
    node = Node(processes, "a", "", playbook=written(processes, SMALL))
    try:
        await started(node)
        ids = await held(node, HELD)
        await asyncio.to_thread(node.process.stop)
        await started(node)
        assert "stopped" in {one.state for one in (await budget(node)).parts}
        await show(node, *ids[:2])
        await uses_exactly(node, FEW - 2)
    finally:
        await node.close()
