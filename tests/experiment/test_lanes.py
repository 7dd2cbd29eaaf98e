"""Experiments over both lanes of a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.v1 import decision_pb2
from tests.conftest import calling, running

STICKY = decision_pb2.ASSIGNMENT_REASON_STICKY
FILES = {
    "schema.yaml": "events: {visit: {}}\n",
    "experiments.yaml": "experiments: {one: {variants: [a, b]}}\n",
    "actions.yaml": "actions: {b: {eligibility: experiment.one == 'b'}, a: {value: 0.5}}\n",
    "placements.yaml": "placements: {page: {slots: 1}}\n",
}
PEOPLE = 40


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


async def asked(address: str, fast_lane: bool) -> dict[str, decision_pb2.Assignment]:
    """Everybody's place in the experiment, over one lane."""
    async with calling(address, fast_lane=fast_lane) as client:
        answers = [await client.decide(f"person-{n}", ["page"]) for n in range(PEOPLE)]
    for answer in answers:
        assert answer.placements[0].propositions[0].action == answer.experiments[0].variant
    return {f"person-{n}": answer.experiments[0] for n, answer in enumerate(answers)}


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
@pytest.mark.parametrize("first_fast", [False, True])
async def test_what_one_lane_exposed_the_other_keeps(
    playbook: Path, tmp_path: Path, first_fast: bool
) -> None:
    engines: list[Engine] = []
    async with running(
        playbook, announced=engines.append, lane__addresses=f"unix:{tmp_path}/lane"
    ) as address:
        first = await asked(address, first_fast)
        second = await asked(address, not first_fast)
        counts = engines[0].telemetry.decisions()
    assert {one.variant for one in first.values()} == {"a", "b"}
    for name, one in second.items():
        assert (one.variant, one.reason) == (first[name].variant, STICKY)
    assert (counts.exposures, counts.exposures_lost) == (PEOPLE, 0)


async def test_exposures_survive_a_restart(
    playbook: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """They are mutations of the log like any other event."""
    data = tmp_path_factory.mktemp("data")
    async with running(playbook, data__folder=data) as address:
        first = await asked(address, False)
        await asyncio.sleep(0.1)
    async with running(playbook, data__folder=data) as address:
        for name, one in (await asked(address, False)).items():
            assert (one.variant, one.reason) == (first[name].variant, STICKY)
