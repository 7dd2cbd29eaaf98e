"""Exploration over both lanes of a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.v1 import decision_pb2
from tests.conftest import calling, running

FILES = {
    "schema.yaml": "attributes: {age: int}\n",
    "actions.yaml": "actions: {a: {value: 1}, b: {value: 2}, c: {value: 3}, d: {value: 4}}\n",
    "placements.yaml": """
placements:
  top: {slots: 1, exploration: {epsilon_greedy: 0.5}}
  page: {slots: 2, exploration: {softmax: {temperature: 2}}}
""",
}
DECISIONS = 100


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


async def asked(
    playbook: Path, lane: Path, fast_lane: bool
) -> tuple[list[list[decision_pb2.PlacementDecision]], dict[str, int]]:
    """The same decisions of a server of its own, over one lane, and what it counted."""
    engines: list[Engine] = []
    async with running(
        playbook, announced=engines.append, lane__addresses=f"unix:{lane}"
    ) as address:
        async with calling(address, fast_lane=fast_lane) as client:
            answers = [
                await client.decide("ann", ["top", "page"], decision_id=f"decision-{n}", seed=5)
                for n in range(DECISIONS)
            ]
        counts = engines[0].telemetry.decisions()
    return [list(answer.placements) for answer in answers], counts.explored


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_both_lanes_draw_the_same(playbook: Path, tmp_path: Path) -> None:
    plain, plain_counts = await asked(playbook, tmp_path / "one", False)
    fast, fast_counts = await asked(playbook, tmp_path / "two", True)
    assert plain == fast
    assert plain_counts == fast_counts
    for place, name in enumerate(("top", "page")):
        explored = [one.explored for each in fast for one in each[place].propositions]
        assert sum(explored) == fast_counts[name] > 10
