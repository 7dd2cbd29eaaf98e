"""The gate fails closed: whatever is not a grant that holds now is no consent."""

from __future__ import annotations

from typing import Any

import pytest

from nextbest.core import Engine
from nextbest.v1 import decision_pb2, profile_pb2
from tests.consent.people import (
    ACTIONS,
    CONTACT,
    NOW_US,
    SECOND,
    answer,
    engine_of,
    identity,
    link,
    plan_of,
    profile,
    proposed,
    say,
    why,
)

EMAIL = {"purpose": "email_marketing"}


@pytest.fixture
def engine() -> Engine:
    return engine_of()


def test_what_nobody_was_asked_is_no_consent(engine: Engine) -> None:
    assert proposed(engine) == ["welcome"]
    assert why(engine) == {
        "news": "consent email_marketing: not recorded",
        "for_you": "consent email_marketing: not recorded",
    }


def test_a_grant_lets_the_action_be_proposed(engine: Engine) -> None:
    say(engine, "ann", "granted", **EMAIL)
    assert proposed(engine) == ["news", "welcome"]
    assert why(engine) == {"for_you": "consent profiling: not recorded"}
    say(engine, "ann", "granted", purpose="profiling")
    assert proposed(engine) == ["news", "for_you", "welcome"]
    reasons = answer(engine, "ann", "page").placements[0].propositions[1].reasons
    assert list(reasons) == ["consent.email_marketing", "consent.profiling"]


@pytest.mark.parametrize("status", ["denied", "revoked"])
def test_what_is_taken_back_is_no_consent(engine: Engine, status: str) -> None:
    say(engine, "ann", "granted", **EMAIL)
    say(engine, "ann", status, **EMAIL)
    assert proposed(engine) == ["welcome"]
    assert why(engine)["news"] == f"consent email_marketing: {status}"
    say(engine, "ann", "granted", **EMAIL)
    assert proposed(engine) == ["news", "welcome"]


def test_a_grant_ends_with_the_microsecond_of_its_expiry(engine: Engine) -> None:
    end = NOW_US + 3_600 * SECOND + 1
    say(engine, "ann", "granted", expires_at=end, **EMAIL)
    assert proposed(engine, now_us=end - 1) == ["news", "welcome"]
    assert proposed(engine, now_us=end) == ["welcome"]
    assert why(engine, now_us=end)["news"] == "consent email_marketing: expired"
    (known,) = profile(engine, now_us=end - 1).consents
    assert known.holds
    assert known.expires_at.ToMicroseconds() == end
    assert not profile(engine, now_us=end).consents[0].holds


def test_a_playbook_that_learns_of_a_purpose_has_no_consent_of_it() -> None:
    engine = engine_of(
        contact=CONTACT | {"purposes": {"email_marketing": {}}},
        actions={
            "news": ACTIONS["news"],
        },
    )
    say(engine, "ann", "granted", **EMAIL)
    assert proposed(engine) == ["news"]
    engine.publish(plan_of())
    assert proposed(engine) == ["news", "welcome"]
    assert why(engine) == {"for_you": "consent profiling: not recorded"}


@pytest.mark.parametrize(
    "packed",
    ["", "1", "0" + "0" * 19, "4" + "0" * 19, "1x" + "0" * 18, "1-" + "0" * 18, "1" * 5 + "é"],
)
def test_what_cannot_be_read_is_no_consent_and_closes_a_channel(
    engine: Engine, packed: str
) -> None:
    upsert = profile_pb2.UpsertProfileRequest(write_id="damaged", identity=identity("ann"))
    upsert.attributes["@consent.email_marketing"].string_value = packed
    upsert.attributes["@channel.email.bounced"].string_value = packed
    engine.set_consent(upsert.SerializeToString(), NOW_US)
    assert why(engine)["news"] == "consent email_marketing: not readable"
    assert proposed(engine, placement="inbox") == []


def test_a_request_cannot_name_where_a_consent_is_kept(engine: Engine) -> None:
    upsert = profile_pb2.UpsertProfileRequest(write_id="w", identity=identity("ann"))
    upsert.attributes["@consent.email_marketing"].string_value = "1" + "0" * 19
    with pytest.raises(ValueError, match="attributes: 24 bytes that are no name"):
        engine.upsert(upsert.SerializeToString(), NOW_US)
    asked = decision_pb2.DecideRequest(identity=identity("ann"), placements=["page"])
    asked.attributes["@consent.email_marketing"].string_value = "1" + "0" * 19
    with pytest.raises(ValueError, match="attributes: 24 bytes that are no name"):
        engine.decide(asked.SerializeToString(), NOW_US)


def test_a_fallback_needs_its_consents_too() -> None:
    placements = {"page": {"slots": 1, "candidates": {"actions": "for_you"}, "fallback": "news"}}
    engine = engine_of(placements=placements)
    assert proposed(engine) == []
    say(engine, "ann", "granted", **EMAIL)
    assert proposed(engine) == ["news"]


def test_conditions_read_a_consent_at_the_decisions_moment() -> None:
    actions = {
        "mild": {"eligibility": "!consent.profiling"},
        "sharp": {"value": "consent.profiling ? 2.0 : 0.5"},
    }
    engine = engine_of(actions=actions)
    assert proposed(engine) == ["mild", "sharp"]
    say(engine, "ann", "granted", purpose="profiling", expires_at=NOW_US + SECOND)
    assert proposed(engine) == ["sharp"]
    assert proposed(engine, now_us=NOW_US + SECOND) == ["mild", "sharp"]


def test_consent_comes_before_every_other_gate() -> None:
    actions = {"news": {"consents": "profiling", "eligibility": "profile.age > 18"}}
    engine = engine_of(actions=actions)
    assert why(engine) == {"news": "consent profiling: not recorded"}


def test_each_gate_is_counted_for_itself() -> None:
    actions: dict[str, Any] = {
        f"{gate}_{n}": {gate: "consent.profiling && profile.age > 100"}
        for gate in ("eligibility", "applicability", "suitability")
        for n in range(3)
    }
    actions |= {f"consent_{n}": {"consents": "email_marketing"} for n in range(4)}
    engine = engine_of(actions=actions)
    assert proposed(engine) == []
    counts = engine.telemetry.decisions().candidates
    fates = {"not_eligible": 3, "not_applicable": 3, "not_suitable": 3, "no_consent": 4}
    found = {fate: sum(n for key, n in counts.items() if fate in key) for fate in fates}
    # Asked twice, explained and not.
    assert found == {fate: 2 * n for fate, n in fates.items()}


def test_linked_identities_have_what_was_said_last(engine: Engine) -> None:
    say(engine, "ann", "granted", NOW_US, **EMAIL)
    say(engine, "cookie", "revoked", NOW_US + SECOND, **EMAIL)
    assert proposed(engine) == ["news", "welcome"]
    link(engine, "ann", "cookie")
    assert proposed(engine) == proposed(engine, "cookie") == ["welcome"]
    link(engine, "ann", "cookie", unlink=True)
    say(engine, "ann", "granted", NOW_US + 2 * SECOND, **EMAIL)
    assert proposed(engine) == ["news", "welcome"]
    assert proposed(engine, "cookie") == ["welcome"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_at_the_same_millisecond_the_more_restrictive_stands(
    engine: Engine, order: tuple[int, ...]
) -> None:
    at = {"occurred_at": NOW_US - SECOND, **EMAIL}
    said: list[tuple[str, dict[str, Any]]] = [
        ("granted", at),
        ("granted", at | {"expires_at": NOW_US + SECOND}),
        ("revoked", at),
    ]
    for number in order[:2]:
        say(engine, "ann", said[number][0], **said[number][1])
    expected = {frozenset({0, 1}): "expired", frozenset({1, 2}): "revoked"}
    assert why(engine, now_us=NOW_US + SECOND)["news"].endswith(expected[frozenset(order[:2])])


def test_what_was_said_earlier_does_not_stand_against_what_was_said_later(engine: Engine) -> None:
    say(engine, "ann", "revoked", **EMAIL)
    say(engine, "ann", "granted", occurred_at=NOW_US - SECOND, **EMAIL)
    assert why(engine)["news"] == "consent email_marketing: revoked"


def test_an_erased_person_has_said_nothing(engine: Engine) -> None:
    say(engine, "ann", "granted", **EMAIL)
    say(engine, "ann", "denied", channel="email", reason="bounced")
    erase = profile_pb2.EraseProfileRequest(write_id="e", identity=identity("ann"))
    engine.erase(erase.SerializeToString(), NOW_US)
    assert why(engine)["news"] == "consent email_marketing: not recorded"
    assert list(profile(engine).consents) == list(profile(engine).channel_consents) == []


def test_the_profile_shows_what_was_said(engine: Engine) -> None:
    end = NOW_US + SECOND
    say(
        engine, "ann", "granted", basis="legitimate_interest", occurred_at=NOW_US - SECOND,
        expires_at=end, source="shop", **EMAIL,
    )  # fmt: skip
    say(engine, "ann", "denied", channel="email", reason="bounced", source="mail server")
    found = profile(engine)
    (consent,), (channel,) = found.consents, found.channel_consents
    assert (consent.purpose, consent.status, consent.lawful_basis) == ("email_marketing", 1, 6)
    assert (consent.holds, consent.source) == (True, "shop")
    assert consent.occurred_at.ToMicroseconds() == NOW_US - SECOND
    assert consent.expires_at.ToMicroseconds() == end
    assert (channel.channel, channel.reason, channel.status) == ("email", "bounced", 2)
    assert (channel.source, channel.occurred_at.ToMicroseconds()) == ("mail server", NOW_US)
    assert dict(found.attributes) == {}


def test_playbooks_without_consents_keep_their_hash() -> None:
    plain = {"actions": {"welcome": {"value": 1}}, "placements": {"page": {"slots": 4}}}
    without, empty = plan_of(contact=None, **plain), plan_of(contact={}, **plain)
    assert without.hash == empty.hash
    assert without.hash.hex() == "d93f5bce65381c06e7903df7608ac6bd"
    assert plan_of(contact={"purposes": {"profiling": {}}}, **plain).hash != without.hash
