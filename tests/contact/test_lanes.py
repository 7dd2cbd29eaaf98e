"""The contact policy over both lanes of a real server, and over a restart."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from nextbest.core import LANE_MISSING, lane_available
from nextbest.v1 import decision_pb2
from tests.conftest import calling, running

FILES = {
    "schema.yaml": """
attributes: {time_zone: string}
events:
  impression: {action: string, channel: string}
  dismissal: {action: string}
""",
    "contact.yaml": """
channels: [email, web]
time_zone: {from: profile.time_zone, default: Etc/UTC}
caps:
  weekly: {count: impression, of: {channel: email}, max: 2, window: 7d}
  monthly: {count: impression, of: {channel: web}, max: 9, window: month}
suppression:
  tired: {after: 1, count: dismissal, of: action, pause: 1d}
quiet_hours:
  all_day: {channels: web, from: "00:00", to: "24:00"}
""",
    "actions.yaml": "actions: {one: {value: 3.0}, two: {value: 2.0}, three: {value: 1.0}}\n",
    "placements.yaml": """
placements:
  inbox: {slots: 3, channel: email}
  page: {slots: 3}
  banner: {slots: 3, channel: web}
""",
}


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


async def told(address: str, fast_lane: bool) -> list[decision_pb2.PlacementExplanation]:
    """What one lane says of every candidate of Ann's; the same without asking why."""
    async with calling(address, fast_lane=fast_lane) as client:
        names = ["inbox", "page", "banner"]
        explained = await client.decide("ann", names, explain=True)
        plain = await client.decide("ann", names)
        assert list(plain.placements) == list(explained.placements)
        return list(explained.explanations)


def held(explanations: list[decision_pb2.PlacementExplanation]) -> dict[str, dict[str, str]]:
    """The rule that keeps back each action of each placement."""
    return {
        each.placement: {
            one.action: one.condition
            for one in each.candidates
            if one.fate == decision_pb2.FATE_CONTACT_POLICY
        }
        for each in explanations
    }


async def contact(address: str, fast_lane: bool) -> None:
    """One impression by e-mail and one dismissal, over one lane."""
    async with calling(address, fast_lane=fast_lane) as client:
        await client.track("ann", "impression", {"action": "one", "channel": "email"})
        await client.track("ann", "dismissal", {"action": "three"})


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_both_lanes_keep_to_the_policy(playbook: Path, tmp_path: Path) -> None:
    async with running(playbook, lane__addresses=f"unix:{tmp_path}/lane") as address:
        await contact(address, True)
        await contact(address, False)
        fast, slow = await told(address, True), await told(address, False)
    quiet = dict.fromkeys(("one", "two"), "quiet_hours all_day")
    assert held(fast) == held(slow)
    assert held(fast) == {
        "inbox": {"three": "suppression tired"} | dict.fromkeys(("one", "two"), "cap weekly"),
        "page": {"three": "suppression tired"},
        "banner": {"three": "suppression tired"} | quiet,
    }
    assert [[one.counted for one in each.candidates] for each in fast] == [
        [one.counted for one in each.candidates] for each in slow
    ]


SPENT = {
    "contact.yaml": """
budgets:
  summer: {of: {action: one}, max: 100, per: all, hold: 1h}
  money: {spend: {max: 20.00, cost: 0.05}, per: all, hold: 1h}
""",
    "placements.yaml": "placements: {inbox: {slots: 3}}\n",
}


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_eight_callers_never_overspend_a_budget(playbook: Path, tmp_path: Path) -> None:
    """Over both lanes at once: what all are proposed together is the budget to the last part."""
    for name, text in SPENT.items():
        (playbook / name).write_text(text)
    shown: Counter[str] = Counter()

    async def ask(address: str, caller: int) -> None:
        async with calling(address, fast_lane=caller % 2 == 0) as client:
            for number in range(40):
                answer = await client.decide(f"person-{caller}-{number}", ["inbox"])
                for one in answer.placements[0].propositions:
                    shown[one.action] += 1
                    about = {"action": one.action}
                    if number % 2:
                        await client.track(
                            f"person-{caller}-{number}",
                            "impression",
                            about,
                            decision_id=answer.decision_id,
                            slot=one.slot,
                        )

    async with running(playbook, lane__addresses=f"unix:{tmp_path}/lane") as address:
        await asyncio.gather(*(ask(address, caller) for caller in range(8)))
    assert shown["one"] == 100
    assert sum(shown.values()) == 400


async def test_what_was_counted_survives_a_restart(
    playbook: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    async with running(playbook, data__folder=data) as address:
        await contact(address, False)
        await contact(address, False)
        before = held(await told(address, False))
    async with running(playbook, data__folder=data) as address:
        assert held(await told(address, False)) == before
    assert before["inbox"]["one"] == "cap weekly"
