"""Outcomes: known by their decision's age, taken whatever it is, and read once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nextbest.client.errors import InvalidArgumentError
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.server.examples import SHOP
from nextbest.server.record.files import Files
from nextbest.server.record.outcomes import Outcomes, credited, uuid7_us
from nextbest.v1 import decision_pb2, event_pb2, record_pb2
from tests.conftest import calling, running
from tests.record.test_replay import forged

DAY_MS = 86_400_000


def id_of(ms: int, rest: int = 1) -> str:
    """A UUIDv7 of a moment."""
    digits = f"{ms:012x}7000{0x8000_0000_0000_0000 + rest:016x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
@pytest.mark.parametrize("ack", ["applied", "logged"])
@pytest.mark.parametrize("fast_lane", [False, True])
async def test_an_outcome_is_told_by_its_decisions_age(
    tmp_path: Path, fast_lane: bool, ack: str
) -> None:
    engines: list[Engine] = []
    now_ms = time.time_ns() // 1_000_000
    settings = {"lane__addresses": f"unix:{tmp_path}/lane", "records__share": "1"}
    async with (
        running(
            SHOP, announced=engines.append, data__folder=tmp_path / "data", **settings
        ) as address,
        calling(address, fast_lane=fast_lane) as client,
    ):

        async def told(decision_id: str, event_id: str = "") -> int:
            answer = await client.track(
                "ann", "view", decision_id=decision_id, event_id=event_id, ack=ack
            )
            return answer.decision_age

        decided = await client.decide("ann", ["home_hero"])
        assert await told("") == event_pb2.DECISION_AGE_UNSPECIFIED
        assert await told(decided.decision_id, id_of(now_ms)) == event_pb2.DECISION_AGE_RECENT
        assert await told(decided.decision_id, id_of(now_ms)) == event_pb2.DECISION_AGE_RECENT
        assert await told(id_of(now_ms - 29 * DAY_MS)) == event_pb2.DECISION_AGE_RECENT
        assert await told(id_of(now_ms - 31 * DAY_MS)) == event_pb2.DECISION_AGE_EXPIRED
        assert await told("of the caller's own") == event_pb2.DECISION_AGE_UNKNOWN
        counts = engines[0].telemetry.decisions()
    assert counts.outcomes == {"recent": 2, "expired": 1, "unknown": 1}
    assert counts.outcomes_repeated == 1
    # All of them are there: nothing is lost, whatever is known of the decision.
    frames = list(Files(tmp_path / "data/records").frames())
    outcomes = Outcomes(frames)
    assert outcomes.counts() == (4, 0, 4)
    assert len(outcomes.of(decided.decision_id)) == 1
    assert outcomes.counts().unknown == 3


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
@pytest.mark.parametrize("fast_lane", [False, True])
async def test_what_no_decision_can_be_called_is_refused(tmp_path: Path, fast_lane: bool) -> None:
    now_ms = time.time_ns() // 1_000_000
    async with (
        running(SHOP, lane__addresses=f"unix:{tmp_path}/lane") as address,
        calling(address, fast_lane=fast_lane) as client,
    ):
        for field, wrong in (
            ("decision_id", {"decision_id": "x" * 129}),
            ("decision_id", {"decision_id": id_of(now_ms + 360_000)}),
            ("slot", {"decision_id": "x", "slot": 64}),
        ):
            with pytest.raises(InvalidArgumentError) as refused:
                await client.track("ann", "view", **wrong)
            assert [one.field for one in refused.value.violations] == [field]
        answer = await client.track("ann", "view", decision_id=id_of(now_ms + 240_000))
        assert answer.decision_age == event_pb2.DECISION_AGE_RECENT


def outcome(event_id: str, slot: int = 0, **texts: str) -> record_pb2.DecisionRecord:
    event = event_pb2.TrackRequest(event_id=event_id, event="buy", decision_id="one", slot=slot)
    for name, text in texts.items():
        event.properties[name].string_value = text
    return record_pb2.DecisionRecord(version=1, decided_at_us=9, outcome=event)


def test_one_that_came_to_two_nodes_counts_once() -> None:
    again = outcome("a")
    again.outcome.ack = event_pb2.TrackRequest(ack=2).ack
    again.decided_at_us = 12
    outcomes = Outcomes([forged(one) for one in (outcome("a"), again, outcome("b"))])
    assert outcomes.counts() == (2, 1, 2)
    assert [one.event.event_id for one in outcomes.of("one")] == ["a", "b"]
    assert outcomes.take(again.outcome)
    assert not outcomes.take(again.outcome)


@pytest.mark.parametrize(
    ("outcomes", "counts"),
    [([], 30), ([40], 30), ([25], 20), ([25, 40], 20), ([20], 20), ([5], 30)],
)
def test_of_a_decision_made_again_the_record_before_its_outcome_counts(
    outcomes: list[int], counts: int
) -> None:
    """Whatever node made it, and in whatever order the files are read."""
    made = {at_us: record_pb2.DecisionRecord(version=1, decided_at_us=at_us) for at_us in (30, 20)}
    for one in made.values():
        one.request.decision_id = "one"
    refused, preview = record_pb2.DecisionRecord(), record_pb2.DecisionRecord()
    refused.CopyFrom(made[30])
    refused.decided_at_us = 35
    refused.error.code = 8
    preview.CopyFrom(made[30])
    preview.decided_at_us = 36
    preview.request.preview = True
    happened = [outcome(str(at_us)) for at_us in outcomes]
    for one, at_us in zip(happened, outcomes, strict=True):
        one.decided_at_us = at_us
    decided = [forged(one) for one in (*made.values(), refused, preview)]
    found = Outcomes([*decided, *map(forged, happened)])
    assert [one.record.decided_at_us for one in decided if found.take_decision(one)] == [counts]


def test_what_was_refused_before_it_had_an_id_is_no_decision_made_again() -> None:
    refused = [record_pb2.DecisionRecord(version=1, decided_at_us=at_us) for at_us in (1, 2)]
    for one in refused:
        one.error.code = 3
    frames = list(map(forged, refused))
    found = Outcomes(frames)
    assert [found.take_decision(one) for one in frames] == [True, True]


def test_the_proposition_is_that_of_the_slot_and_what_is_said_of_it() -> None:
    answer = decision_pb2.DecideResponse()
    for placement, actions in (("top", ["red", "blue"]), ("side", ["grey"])):
        part = answer.placements.add(placement=placement)
        for slot, action in enumerate(actions):
            part.propositions.add(slot=slot, action=action)
    for expected, made in (
        (("top", "blue"), outcome("a", 1)),
        (("side", "grey"), outcome("c", 0, placement="side")),
        (("top", "red"), outcome("d", 0, action="red")),
    ):
        (one,) = Outcomes([forged(made)]).of("one")
        (found,) = credited(answer, one)
        assert (found.placement, found.proposition.action) == expected
    for count, made in ((2, outcome("b", 0)), (0, outcome("e", 1, placement="side"))):
        (one,) = Outcomes([forged(made)]).of("one")
        assert len(credited(answer, one)) == count


def test_only_a_uuid7_tells_its_time() -> None:
    assert uuid7_us(id_of(1_700_000_000_123)) == 1_700_000_000_123_000
    for other in ("", "x" * 36, id_of(5).replace("7000", "4000"), id_of(5)[:-1] + "g"):
        assert uuid7_us(other) == 0
