"""Decisions asked for again: the same answer, until what it rests on is no longer so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from nextbest.core import Engine
from nextbest.core.errors import AlreadyUsedError
from nextbest.server.playbook.grants import upsert_of
from nextbest.v1 import common_pb2, decision_pb2, mutation_pb2, profile_pb2
from tests.consent.people import (
    NOW_US,
    SECOND,
    engine_of,
    identity,
    link,
    plan_of,
    request,
    say,
)

STALE = common_pb2.DEGRADATION_CONSENT_STALE
ALL = ["news", "for_you", "welcome"]


def granted(**parts: Any) -> Engine:
    """An engine with two people who allow it all."""
    engine = engine_of(**parts)
    for who in ("ann", "bob"):
        say(engine, who, "granted", purpose="email_marketing")
        say(engine, who, "granted", purpose="profiling")
    return engine


def again(
    engine: Engine, who: str = "ann", placement: str = "page", after_us: int = 0
) -> decision_pb2.DecideResponse:
    """The one decision about somebody in a placement, asked for so long after the first time."""
    asked = decision_pb2.DecideRequest(
        decision_id=f"{who}-{placement}", identity=identity(who), placements=[placement]
    )
    found = engine.decide(asked.SerializeToString(), NOW_US + after_us)
    return decision_pb2.DecideResponse.FromString(found)


def actions(found: decision_pb2.DecideResponse) -> list[str]:
    return [one.action for one in found.placements[0].propositions]


def erase(engine: Engine, who: str) -> None:
    message = profile_pb2.EraseProfileRequest(write_id=f"erase-{who}", identity=identity(who))
    engine.erase(message.SerializeToString(), NOW_US)


def apply(engine: Engine, who: str, status: str, after_us: int = SECOND, **more: Any) -> None:
    """What another node has accepted so long after the first decision, as the log tells it."""
    plan = plan_of()
    mutation = mutation_pb2.Mutation(
        stamp=(NOW_US + after_us) // 1_000 << 16,
        playbook=plan.hash,
        attributes=upsert_of(request(who, status, **more), plan, NOW_US),
    )
    engine.apply(mutation.SerializeToString())


TAKEN_BACK: dict[str, Callable[[Engine], None]] = {
    "revoked": lambda engine: say(engine, "ann", "revoked", purpose="email_marketing"),
    "denied": lambda engine: say(engine, "ann", "denied", purpose="email_marketing"),
    "elsewhere": lambda engine: apply(engine, "ann", "revoked", purpose="email_marketing"),
    "erased": lambda engine: erase(engine, "ann"),
    "ends": lambda engine: say(
        engine, "ann", "granted", purpose="email_marketing", expires_at=NOW_US + 1
    ),
}


@pytest.mark.parametrize("change", TAKEN_BACK.values(), ids=TAKEN_BACK)
def test_a_consent_taken_back_is_not_used_by_the_decision_asked_for_again(
    change: Callable[[Engine], None],
) -> None:
    engine = granted()
    first = again(engine)
    assert actions(first) == ALL
    assert again(engine, after_us=SECOND) == first
    change(engine)
    second = again(engine, after_us=2 * SECOND)
    assert actions(second) == ["welcome"]
    assert second.decision_id == first.decision_id
    assert again(engine, after_us=3 * SECOND) == second, "which is the answer from here on"


def test_a_consent_that_has_ended_since_is_not_used() -> None:
    engine = granted()
    end_us = NOW_US + 10 * SECOND
    say(engine, "ann", "granted", purpose="email_marketing", expires_at=end_us)
    first = again(engine)
    assert actions(first) == ALL
    assert again(engine, after_us=10 * SECOND - 1) == first
    assert actions(again(engine, after_us=10 * SECOND)) == ["welcome"]


def test_an_id_whose_consent_has_ended_is_not_taken_for_another_request() -> None:
    engine = granted()
    say(engine, "ann", "granted", purpose="email_marketing", expires_at=NOW_US + SECOND)
    again(engine)
    other = decision_pb2.DecideRequest(
        decision_id="ann-page", identity=identity("bob"), placements=["page"]
    )
    for after_us in (0, 2 * SECOND):
        with pytest.raises(AlreadyUsedError):
            engine.decide(other.SerializeToString(), NOW_US + after_us)
    assert actions(again(engine, after_us=2 * SECOND)) == ["welcome"]


def test_a_decision_made_again_draws_as_it_did() -> None:
    page = {"slots": 1, "exploration": {"epsilon_greedy": 0.9}}
    engine = granted(placements={f"page{number}": page for number in range(20)})
    answers = [again(engine, placement=f"page{number}") for number in range(20)]
    assert len({actions(one)[0] for one in answers}) == 3
    for turn in (1, 2):
        # The same once more changes nothing but the grounds.
        say(engine, "ann", "granted", NOW_US + turn * SECOND, purpose="profiling")
        for number, first in enumerate(answers):
            second = again(engine, placement=f"page{number}", after_us=turn * SECOND)
            assert second != first, "it was made again"
            assert second.placements == first.placements


def test_who_is_not_to_be_contacted_is_not_by_the_decision_asked_for_again() -> None:
    engine = granted()
    assert actions(again(engine, placement="inbox")) == ALL
    say(engine, "ann", "denied", channel="email", reason="unsubscribed")
    assert actions(again(engine, placement="inbox")) == []


def test_what_a_linked_identity_says_counts_and_so_does_the_link() -> None:
    engine = granted()
    say(engine, "work", "denied", NOW_US + SECOND, purpose="email_marketing")
    assert actions(again(engine)) == ALL
    link(engine, "ann", "work")
    assert actions(again(engine)) == ["welcome"]
    say(engine, "work", "granted", NOW_US + 2 * SECOND, purpose="email_marketing")
    assert actions(again(engine)) == ALL
    apply(engine, "work", "revoked", 3 * SECOND, purpose="email_marketing")
    assert actions(again(engine)) == ["welcome"]
    link(engine, "ann", "work", unlink=True)
    assert actions(again(engine)) == ALL


def test_what_others_say_changes_no_answer() -> None:
    engine = granted()
    first = again(engine)
    say(engine, "bob", "revoked", purpose="email_marketing")
    erase(engine, "bob")
    link(engine, "carl", "dora")
    assert again(engine, after_us=SECOND) == first


def test_an_answer_by_consents_is_not_given_while_the_lease_is_over() -> None:
    engine = granted()
    engine.consents_until(time.monotonic_ns() // 1_000 + 60 * SECOND)
    assert actions(again(engine)) == ALL
    engine.consents_until(0)
    stale = again(engine, after_us=SECOND)
    assert actions(stale) == ["welcome"]
    assert list(stale.degraded) == [STALE]
    assert again(engine, after_us=2 * SECOND) == stale


def test_an_answer_without_consents_is_given_whatever_the_lease() -> None:
    engine = engine_of(
        contact=None, actions={"welcome": {"value": 1}}, placements={"page": {"slots": 1}}
    )
    first = again(engine)
    engine.consents_until(0)
    assert again(engine, after_us=SECOND) == first


def test_what_the_decision_reserved_and_held_is_not_counted_twice() -> None:
    contact = {
        "purposes": {"email_marketing": {"basis": "consent"}},
        "caps": {
            "each": {"count": "impression", "of": "action", "max": 2, "window": "1d"},
        },
        "budgets": {"all": {"of": {"action": "welcome"}, "max": 5, "per": "all", "hold": "10m"}},
    }
    engine = engine_of(
        contact=contact,
        schema={"events": {"impression": {"action": "string"}}},
        actions={"welcome": {"value": 3}, "news": {"consents": "email_marketing", "value": 1}},
        placements={"page": {"slots": 2}},
    )
    for turn in range(4):
        status = ("granted", "revoked")[turn % 2]
        say(engine, "ann", status, NOW_US + turn * SECOND, purpose="email_marketing")
        expected = ["welcome", "news"][: 2 - turn % 2]
        assert actions(again(engine, after_us=turn * SECOND)) == expected
    assert engine.budgets(NOW_US)[0].held == 1
    other = decision_pb2.DecideRequest(identity=identity("ann"), placements=["page"])
    for expected in (["welcome"], []):
        found = engine.decide(other.SerializeToString(), NOW_US + 5 * SECOND)
        assert actions(decision_pb2.DecideResponse.FromString(found)) == expected
