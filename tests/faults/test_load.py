"""The client itself: it keeps its rate, records what happened, and repeats with the same id."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults import checks
from tests.faults.history import OK, History
from tests.faults.load import APPLIED, Load, Plan
from tests.faults.nodes import Node
from tests.faults.processes import Processes

PLAN = Plan(decides_per_s=500, writes_per_s=100, ack=APPLIED)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[Node]]:
    """Two servers that know nothing of each other."""
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(Processes(tmp_path))
        made = [Node(processes, name, "") for name in ("n1", "n2")]
        for node in made:
            stack.push_async_callback(node.close)
        await asyncio.gather(*(node.start() for node in made))
        yield made


async def test_a_load_keeps_its_rate_and_survives_a_kill(nodes: list[Node]) -> None:
    history = History()
    async with Load([node.endpoint for node in nodes], PLAN, history) as load:
        await asyncio.sleep(1.0)
        before = time.monotonic()
        present = [await node.counts("w") for node in nodes]
        killed = history.mark("killed n1")
        nodes[0].process.kill()
        await asyncio.sleep(1.0)
        now = time.monotonic()
        assert await load.settle(5.0) == 0
    assert 400 < len(history.decides) / (now - history.started_s) < 510
    assert 80 < len(history.writes) / (now - history.started_s) < 110
    assert history.not_made == 0
    during = checks.decide_figures(history.decides, killed, killed + 1)
    assert during.failed == 0
    assert during.gap_s < 0.25
    # Each server has what it acknowledged: together, every event once.
    together = {"both": {**present[0], **present[1]}}
    assert not present[0].keys() & present[1].keys()
    early = [one for one in history.writes if one.outcome == OK and one.ended_s < before]
    assert not checks.lost(early, together)
    assert not checks.doubled(together)
    # What died with the first one is missed, as no log connects the two.
    survivor = {"n2": await nodes[1].counts("w")}
    assert checks.lost(early, survivor)
    assert nodes[0].process.exit_code == -9
