"""Relief: a server whose objective burns gives cheaper answers, and refuses nobody."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from nextbest.core import LANE_MISSING, lane_available
from nextbest.server.playbook.folder import read_folder
from nextbest.server.relief import GOES_ON_S, Relief
from nextbest.v1 import common_pb2, decision_pb2
from tests.lane.target import DECIDE, PLAYBOOK, decide
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import Scrape, page, scraped

CALLS = 300
# Nobody decides within it over grpc.aio.
OBJECTIVE = "Decide 99.9% < 5us over 30d"
ACTIONS = """\
actions:
  low: {value: 1}
  high: {value: "2.0 + 1.0"}
"""
LEVEL = "nextbest_overload_level"


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    folder = tmp_path / "playbook"
    folder.mkdir()
    (folder / "schema.yaml").write_bytes(read_folder(PLAYBOOK)["schema.yaml"])
    (folder / "actions.yaml").write_text(ACTIONS)
    placements = "placements: {home: {slots: 2, degrade_to: no_scoring}}"
    (folder / "placements.yaml").write_text(placements)
    return folder


def decided(address: str, calls: int = 1) -> list[int]:
    """What the last of so many answers left out."""
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(DECIDE)
        answers = [ask(decide("home"), timeout=20) for _ in range(calls)]
    return list(decision_pb2.DecideResponse.FromString(answers[-1]).degraded)


def test_the_level_is_1_while_it_burns_and_2_when_that_goes_on() -> None:
    now_s, burning = [0.0], frozenset({"Decide"})
    told: list[int] = []
    relief = Relief(lambda: burning, [told.append], lambda: now_s[0])
    for moment_s in (0.0, 1.0, GOES_ON_S - 1, GOES_ON_S, 2 * GOES_ON_S):
        now_s[0] = moment_s
        relief.look()
    burning = frozenset({"Track"})
    relief.look()
    assert told == [1, 2, 0]


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
def test_answers_are_cheaper_on_both_lanes_while_the_objective_burns(
    tmp_path: Path, playbook: Path
) -> None:
    arguments = ("--set", f"slo.objectives={OBJECTIVE}", "--set", "overload.degrade_on_burn=true")
    with Server(tmp_path, *arguments, playbook=playbook) as server:
        assert decided(server.address, CALLS) == []
        # Looks at the objectives, which the server itself does each 10 s.
        assert "burns: page" in page(f"{server.http}/readyz?verbose")[2]
        found = scraped(server.http, lambda now: now.value(LEVEL) == 2)
        for lane, address in (("fast", server.lane), ("grpc", server.address)):
            assert found.value(LEVEL, lane=lane) == 1
            assert decided(address) == [common_pb2.DEGRADATION_SCORES_SKIPPED]
        assert Scrape(server.http).value("nextbest_shed_calls_total") == 0


def test_answers_stay_whole_where_nobody_asked_for_that(tmp_path: Path, playbook: Path) -> None:
    objective = ("--set", f"slo.objectives={OBJECTIVE}")
    with Server(tmp_path, *objective, playbook=playbook) as server:
        decided(server.address, CALLS)
        assert "burns: page" in page(f"{server.http}/readyz?verbose")[2]
        assert "answers leave out" not in server.printed()
        assert decided(server.address) == []
