"""What an engine counts of its decisions, against what its answers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from nextbest.core import Engine
from nextbest.core.engine import FATE_NAMES, OTHER_NAME
from nextbest.core.playbook.plan import Action, Placement, Plan
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from nextbest.v1 import common_pb2, decision_pb2, profile_pb2
from tests.lane.target import PLAYBOOK, decide

NOW_US = 1_780_000_000_000_000
PEOPLE: dict[str, dict[str, Any]] = {
    "ann": {"age": 30, "email": "a@example.com", "title": "CEO"},
    "bob": {"age": 12, "email": "b@example.com"},
    "eve": {"plan": "pro"},
    "unknown": {},
}
PLACEMENTS_TOLD, PAIRS_TOLD = 100, 1_000


def small() -> Plan:
    plan = compile_playbook(read_folder(PLAYBOOK)).plan
    assert plan
    return plan


def engine(plan: Plan | None = None) -> Engine:
    """An engine that knows PEOPLE, but for the unknown one."""
    made = Engine()
    made.publish(plan or small())
    for who, attributes in PEOPLE.items() if plan is None else ():
        request = profile_pb2.UpsertProfileRequest(write_id=who, identity=person(who))
        for name, value in attributes.items():
            kind = "int_value" if isinstance(value, int) else "string_value"
            setattr(request.attributes[name], kind, value)
        if attributes:
            made.upsert(request.SerializeToString(), NOW_US)
    return made


def person(who: str) -> common_pb2.Identity:
    return common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=who)


def answered(made: Engine, *placements: str, **more: Any) -> decision_pb2.DecideResponse:
    answer = made.decide(decide(*placements, **more), NOW_US)
    return decision_pb2.DecideResponse.FromString(answer)


def proposed(answers: Iterable[decision_pb2.DecideResponse]) -> Counter[tuple[str, str]]:
    return Counter(
        (one.placement, proposition.action)
        for answer in answers
        for one in answer.placements
        for proposition in one.propositions
    )


def plan_of(placements: int, actions: int, prefix: str = "") -> Plan:
    """A playbook whose placements have all actions as candidates."""
    return replace(
        small(),
        hash=f"{prefix}{placements}-{actions}".encode().ljust(16, b"\0"),
        actions=tuple(Action(f"{prefix}a{n}", "all") for n in range(actions)),
        placements=tuple(
            Placement(f"p{n}", 1, "", candidates=tuple(range(actions))) for n in range(placements)
        ),
    )


def test_what_is_proposed_is_counted_by_name() -> None:
    made = engine()
    answers = [
        answered(made, *placements, who=who)
        for who in PEOPLE
        for placements in (("home",), ("inbox",), ("home", "inbox"))
    ]
    counts = made.telemetry.decisions()
    assert counts.decisions == {"home": 8, "inbox": 8}
    assert counts.propositions == dict(proposed(answers))
    fallbacks = Counter(
        one.placement
        for answer in answers
        for one in answer.placements
        for proposition in one.propositions
        if proposition.fallback
    )
    assert counts.fallbacks == dict(fallbacks)
    assert (counts.repeated, counts.degraded, counts.failed) == (0, {}, {})


@pytest.mark.parametrize("explained", [False, True])
def test_fates_are_those_that_an_explanation_names(explained: bool) -> None:
    made = engine()
    wanted: Counter[tuple[str, str]] = Counter()
    for who in PEOPLE:
        for placements in (("home", "inbox"), ("inbox", "home")):
            answered(made, *placements, who=who, explain=explained)
            twin = answered(engine(), *placements, who=who, explain=True)
            for one in twin.explanations:
                wanted.update((one.placement, FATE_NAMES[c.fate]) for c in one.candidates)
    assert len({fate for _, fate in wanted}) > 4
    assert made.telemetry.decisions().candidates == dict(wanted)


def test_a_repeat_is_counted_as_one() -> None:
    made = engine()
    for _ in range(3):
        answered(made, "home", decision_id="d1")
    counts = made.telemetry.decisions()
    assert (counts.decisions, counts.repeated) == ({"home": 1}, 2)


def test_entries_of_a_batch_count_each() -> None:
    made = engine()
    requests = [decide("home"), decide("home", "inbox"), decide("nowhere"), decide("home")]
    batch = decision_pb2.DecideBatchRequest(
        requests=[decision_pb2.DecideRequest.FromString(one) for one in requests]
    )
    made.decide_batch(batch.SerializeToString(), NOW_US)
    counts = made.telemetry.decisions()
    assert counts.decisions == {"home": 3, "inbox": 1}
    assert counts.failed == {grpc.StatusCode.INVALID_ARGUMENT.value[0]: 1}


def test_an_answer_without_the_log_is_counted_as_degraded() -> None:
    made = engine()
    made.attach_log(10)
    made.log_away(True, NOW_US)
    answer = answered(made, "home")
    assert answer.degraded == [common_pb2.DEGRADATION_LOG_AWAY]
    assert made.telemetry.decisions().degraded == {"log_away": 1}


def test_counts_do_not_fall_when_playbooks_change() -> None:
    made = engine()
    answered(made, "home")
    before = made.telemetry.decisions().propositions
    assert before
    made.publish(plan_of(1, 2, "other"))
    answered(made, "p0")
    between = made.telemetry.decisions()
    assert between.propositions == {**before, ("p0", "othera0"): 1}
    made.activate(1)
    answered(made, "home")
    assert made.telemetry.decisions().propositions == {
        **{pair: 2 * count for pair, count in before.items()},
        ("p0", "othera0"): 1,
    }


def test_the_first_names_are_told_and_the_rest_are_summed() -> None:
    made = engine(plan_of(PLACEMENTS_TOLD + 5, 12))
    for number in range(PLACEMENTS_TOLD + 5):
        answered(made, f"p{number}")
    counts = made.telemetry.decisions()
    assert len(counts.decisions) == PLACEMENTS_TOLD + 1
    assert counts.decisions[OTHER_NAME] == 5
    assert sum(counts.propositions.values()) == PLACEMENTS_TOLD + 5
    # Of 12 pairs each, those of the first 83 placements have places, and 4 of the next.
    assert counts.propositions["p83", "a0"] == 1
    assert counts.propositions["p84", OTHER_NAME] == 1
    assert counts.propositions[OTHER_NAME, OTHER_NAME] == 5


def test_a_place_goes_to_a_new_name_once_no_playbook_in_use_has_the_old() -> None:
    made = engine(plan_of(1, PAIRS_TOLD, "old"))
    for _ in range(3):
        answered(made, "p0")
    made.publish(plan_of(1, PAIRS_TOLD, "new"))
    answered(made, "p0")
    # The playbook before may still be read while the next one is given its places.
    assert made.telemetry.decisions().propositions == {("p0", "olda0"): 3, ("p0", OTHER_NAME): 1}
    made.publish(plan_of(1, PAIRS_TOLD, "newer"))
    answered(made, "p0")
    counts = made.telemetry.decisions()
    assert counts.propositions == {("p0", "newera0"): 1, ("p0", OTHER_NAME): 1}
    assert counts.decisions == {"p0": 5}
