"""Crossings over a real server: both lanes at once, a restart, and explanations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from nextbest.client import AsyncClient, InvalidArgumentError
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from tests.conftest import calling, running
from tests.record.people import recording, taken
from tests.trigger.people import FILES, NOW_US, SECOND, buy, crossings, decide, plan_of

EVENTS = 300


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    folder = tmp_path / "playbook"
    folder.mkdir()
    for name, part in FILES.items():
        (folder / name).write_text(yaml.safe_dump(part, sort_keys=False))
    return folder


async def counts(client: AsyncClient, who: str) -> Mapping[str, int]:
    """Somebody's counters of segments."""
    profile = (await client.get_profile(who)).profile
    found = {name: one.value.int_value for name, one in profile.counters.items()}
    return {name: found[name] for name in ("vip_in", "vip_out", "welcomed_in")}


async def shop(client: AsyncClient, who: str, amounts: list[float]) -> None:
    """Buy and give back, one after the other."""
    for amount in amounts:
        await client.track(who, "purchase", {"amount": amount})


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_both_lanes_tell_alike(playbook: Path, tmp_path: Path) -> None:
    async with (
        running(playbook, lane__addresses=f"unix:{tmp_path}/lane") as address,
        AsyncClient(address, fast_lane=False) as slow,
        calling(address, fast_lane=True) as fast,
    ):
        found = []
        for name, client in (("slow", slow), ("fast", fast)):
            await shop(client, name, [60.0, 60.0, -100.0, 100.0])
            found.append(await counts(slow, name))
            with pytest.raises(InvalidArgumentError, match="the engine alone tells of this one"):
                await client.track(name, "segment_entered", {"segment": "vip"})
        assert found[0] == found[1] == {"vip_in": 2, "vip_out": 1, "welcomed_in": 1}
        assert fast.fast_lane


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_writes_of_both_lanes_at_once_tell_each_crossing_once(
    playbook: Path, tmp_path: Path
) -> None:
    """Threads that each saw only the end would find one crossing twice, or none."""
    engines: list[Engine] = []
    async with (
        running(
            playbook, announced=engines.append, lane__addresses=f"unix:{tmp_path}/lane"
        ) as address,
        AsyncClient(address, fast_lane=False) as slow,
        calling(address, fast_lane=True) as fast,
    ):
        amounts = [150.0, -150.0] * (EVENTS // 2)
        callers = [shop(client, "ann", amounts) for client in (slow, fast, slow, fast)]
        await asyncio.gather(*callers)
        found = await counts(slow, "ann")
        assert found["vip_in"] == found["vip_out"] > 0
        await shop(fast, "ann", [200.0])
        found = await counts(slow, "ann")
        assert found["vip_in"] == found["vip_out"] + 1
    assert crossings(engines[0])[1:] == (0, 0)


def test_an_explained_decision_is_replayed(tmp_path: Path) -> None:
    """What it tells of triggers is read for its record, too."""
    plan = plan_of(
        actions={"actions": {"one": {"eligibility": "segment.vip"}, "two": {}}},
        placements={"placements": {"page": {"slots": 2}}},
    )
    engine = recording(plan)
    for number in range(40):
        who, now_us = f"u{number % 5}", NOW_US + number * SECOND
        buy(engine, f"e{number}", 30.0, who, now_us)
        assert len(decide(engine, who, now_us, explain=True).triggers) == 6
    found = list(replay(taken(engine)[1], Playbooks(tmp_path, {plan.hash: plan})))
    assert [one.equal for one in found] == [True] * 40


async def test_a_restart_keeps_what_was_told(
    playbook: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    async with running(playbook, data__folder=data) as address, AsyncClient(address) as client:
        await shop(client, "ann", [60.0, 60.0])
        before = await counts(client, "ann")
        assert before == {"vip_in": 1, "vip_out": 0, "welcomed_in": 1}
        # Crossings are queued behind the event whose answer has come: the next one is behind them.
        await client.track("bob", "visit")
    async with running(playbook, data__folder=data) as address, AsyncClient(address) as client:
        assert await counts(client, "ann") == before
        await shop(client, "ann", [1.0])
        assert await counts(client, "ann") == before
