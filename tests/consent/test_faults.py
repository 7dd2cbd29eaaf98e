"""What a playbook and a request may not say of consents, and with which words they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from nextbest.core.errors import InvalidRequestError, UnknownNameError
from nextbest.server.playbook.grants import upsert_of
from nextbest.v1 import profile_pb2
from tests.consent.people import (
    ACTIONS,
    CONTACT,
    NOW_US,
    PLACEMENTS,
    SECOND,
    compiled,
    engine_of,
    plan_of,
    request,
    say,
)

EMAIL = {"purpose": "email_marketing", "basis": "consent"}
CHANNEL = {"channel": "email", "reason": "bounced"}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("granted", {"purpose": "email_marketin", "basis": "consent"},
     "purpose: 'email_marketin', allowed: email_marketing, profiling (did you mean email_mark"),
    ("granted", {"purpose": ""}, "purpose: empty, allowed: email_marketing, profiling"),
    ("granted", {}, "purpose: unset, allowed: a purpose, or a channel"),
    ("granted", {"purpose": "email_marketing"},
     "lawful_basis: unset, allowed: consent, legitimate_interest for email_marketing"),
    ("granted", {"purpose": "profiling", "basis": "contract"},
     "lawful_basis: contract, allowed: consent for profiling"),
    ("denied", {"purpose": "profiling", "basis": "contract"}, "lawful_basis: contract, allowed"),
    ("unspecified", EMAIL, "status: unset, allowed: granted, denied, revoked"),
    ("granted", EMAIL | {"occurred_at": NOW_US - SECOND, "expires_at": NOW_US - SECOND},
     "expires_at: 2027-01-15T07:59:59Z, allowed: after 2027-01-15T07:59:59Z, when it occurred"),
    ("granted", EMAIL | {"expires_at": NOW_US - 2 * SECOND},
     "expires_at: 2027-01-15T07:59:58Z, allowed: after 2027-01-15T08:00:00Z, when it occurred"),
    ("granted", EMAIL | {"expires_at": -1}, "expires_at: -1 s, 999999000 ns, allowed: a time from"),
    ("revoked", EMAIL | {"expires_at": NOW_US + SECOND},
     "expires_at: a time, with revoked, allowed: unset, or granted"),
    ("granted", EMAIL | {"occurred_at": NOW_US + SECOND},
     "occurred_at: 2027-01-15T08:00:01Z, allowed: until 2027-01-15T08:00:00Z, the server's clock, "
     "or unset, for granted"),
    ("denied", {"purpose": "email"},
     "reason: unset, allowed: bounced, unsubscribed for the channel email"),
    ("granted", EMAIL | {"source": "x" * 129}, "source: 129 bytes, allowed: at most 128 bytes"),
    ("granted", EMAIL | {"reason": "bounced"}, "reason: a text, allowed: none for a purpose"),
    ("denied", CHANNEL | {"channel": "emial"},
     "channel: 'emial', allowed: one with reasons in contact.yaml: email, push (did you mean em"),
    ("denied", CHANNEL | {"reason": "bouncd"},
     "reason: 'bouncd', allowed: bounced, unsubscribed (did you mean bounced?)"),
    ("denied", {"channel": "email"}, "reason: empty, allowed: bounced, unsubscribed"),
    ("denied", CHANNEL | {"basis": "consent"}, "lawful_basis: a basis, allowed: none for a"),
    ("denied", CHANNEL | {"expires_at": NOW_US + SECOND}, "expires_at: a time, allowed: none for"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "said", "words"), BAD, ids=range(len(BAD)))
def test_bad_consents_are_refused(status: str, said: dict[str, Any], words: str) -> None:
    plan = plan_of()
    with pytest.raises(InvalidRequestError) as caught:
        upsert_of(request("ann", status, **said), plan, NOW_US)
    assert words in str(caught.value)
    assert isinstance(caught.value, UnknownNameError) == ("did you mean" in words)


def test_an_unknown_status_or_basis_is_refused_by_its_number() -> None:
    message = request("ann", **EMAIL)
    message.status = 9  # type: ignore[assignment]
    with pytest.raises(InvalidRequestError, match="status: 9, allowed: granted"):
        upsert_of(message, plan_of(), NOW_US)
    message = request("ann", **EMAIL)
    message.lawful_basis = 99  # type: ignore[assignment]
    with pytest.raises(InvalidRequestError, match="lawful_basis: 99, allowed: consent"):
        upsert_of(message, plan_of(), NOW_US)


def test_a_playbook_without_purposes_says_so() -> None:
    plan = plan_of(contact={}, actions={"welcome": {}})
    with pytest.raises(UnknownNameError, match=r"allowed: none: the playbook's contact\.yaml has"):
        upsert_of(request("ann", **EMAIL), plan, NOW_US)


def test_a_channel_without_reasons_is_not_said_to_be_unknown() -> None:
    with pytest.raises(UnknownNameError, match="'web', allowed: one with reasons in contact"):
        upsert_of(request("ann", "denied", channel="web", reason="bounced"), plan_of(), NOW_US)


def test_a_playbook_whose_channels_have_no_reasons_says_so() -> None:
    plan = plan_of(contact=CONTACT | {"channels": {"email": [], "web": []}})
    with pytest.raises(UnknownNameError, match=r"'email', allowed: none: no channel has reasons"):
        upsert_of(request("ann", "denied", **CHANNEL), plan, NOW_US)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"write_id": ""}, "write_id"),
        ({"write_id": "w" * 129}, "write_id"),
        ({"identity": {"kind": 1, "id": ""}}, "identity"),
        ({"occurred_at": {"seconds": NOW_US // SECOND + 301}}, "occurred_at"),
    ],
    ids=range(4),
)
def test_what_every_write_needs_a_consent_needs_too(change: dict[str, Any], words: str) -> None:
    message = request("ann", "denied", **EMAIL)
    changed = profile_pb2.SetConsentRequest(**change)
    for field in change:
        message.ClearField(field)
    message.MergeFrom(changed)
    engine = engine_of()
    upsert = upsert_of(message, plan_of(), NOW_US)
    with pytest.raises(InvalidRequestError, match=words):
        engine.set_consent(upsert.SerializeToString(), NOW_US)


def test_a_repeated_write_changes_nothing_and_another_of_its_id_is_refused() -> None:
    engine = engine_of()
    say(engine, "ann", "granted", write_id="one", **EMAIL)
    say(engine, "ann", "revoked", NOW_US + SECOND, **EMAIL)
    digest = engine.digest()
    say(engine, "ann", "granted", NOW_US + 2 * SECOND, write_id="one", **EMAIL)
    assert engine.digest() == digest
    with pytest.raises(Exception, match="write_id: an id of 3 bytes was used for another"):
        say(engine, "ann", "denied", NOW_US + 2 * SECOND, write_id="one", **EMAIL)


PURPOSES = CONTACT["purposes"]
BAD_FILES: list[tuple[dict[str, Any], str]] = [
    ({"actions": ACTIONS | {"x": {"consents": "email_marketin"}}},
     "consents of x, seen 'email_marketin', allowed: email_marketing, profiling (did you mean"),
    ({"contact": {"channels": CONTACT["channels"]}}, "'email_marketing', allowed: none is def"),
    ({"contact": CONTACT | {"purposes": {"profiling": {"basis": "whim"}}}},
     "purpose basis, seen 'whim', allowed: consent, contract, legal_obligation"),
    ({"contact": CONTACT | {"purposes": PURPOSES | {"p": {"basis": []}}}}, "a list of 1 to 6"),
    ({"contact": CONTACT | {"purposes": PURPOSES | {"for": {}}}}, "a name that CEL does not"),
    ({"contact": CONTACT | {"purposes": PURPOSES | {"email__marketing": {}}}},
     "a name that differs from"),
    ({"contact": CONTACT | {"channels": {"email": ["bounced", "bounced"]}}},
     "reasons of channel email, seen 'bounced', allowed: each reason once"),
    ({"placements": PLACEMENTS | {"inbox": {"channel": "emial"}}},
     "channel, seen 'emial', allowed: email, push, web (did you mean email?)"),
    ({"actions": ACTIONS | {"x": {"treatments": [{"name": "t", "channels": "sms"}]}}},
     "channel, seen 'sms', allowed: email, push, web"),
    ({"actions": ACTIONS | {"x": {"eligibility": "consent.emails"}}}, "consent.emails"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "words"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_bad_playbooks_are_refused(parts: dict[str, Any], words: str) -> None:
    found = compiled(**parts)
    assert found.plan is None
    assert any(words in str(fault) for fault in found.faults), list(map(str, found.faults))
