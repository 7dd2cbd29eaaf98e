"""The clients: plain values, targets, retries and errors, against a real server."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from nextbest.client import (
    AsyncClient,
    Client,
    Consent,
    Event,
    InvalidArgumentError,
    NextbestError,
    PreconditionError,
    UnavailableError,
    Upsert,
    anonymous,
)
from nextbest.client import request as requests
from nextbest.client.channel import service_config, target
from nextbest.client.ids import new_id
from nextbest.client.value import message, plain
from nextbest.v1 import common_pb2


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2.5,
        "text",
        datetime(2026, 6, 1, 12, 0, 0, 250_000, UTC),
        ["a", "b"],
        [1.0, 2.5],
    ],
)
def test_values_come_back_as_they_went(value: Any) -> None:
    assert plain(message(value)) == value


@pytest.mark.parametrize("value", [object(), b"bytes", [1, "a"], {"a": 1}, 2**63])
def test_other_values_are_refused_by_name(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"attributes\.age"):
        Upsert("ann", {"age": value}).message()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, common_pb2.AWAIT_MEMBERS_UNSPECIFIED),
        (True, common_pb2.AWAIT_MEMBERS_EVERY),
        (False, common_pb2.AWAIT_MEMBERS_NONE),
    ],
)
def test_whether_every_node_is_waited_for_is_the_callers_choice(
    given: bool | None, sent: int
) -> None:
    consent = Consent("ann", "email", "denied", reason="bounced", await_members=given)
    assert consent.message().await_members == sent
    assert requests.erase("ann", "w", None, given).await_members == sent


@pytest.mark.parametrize("given", ["NONE", 0, 1, common_pb2.AWAIT_MEMBERS_NONE])
def test_other_choices_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"await_members: .*, allowed: True, False, None"):
        Consent("ann", "profiling", "revoked", await_members=given).message()


async def test_the_choice_reaches_the_server(address: str) -> None:
    """Which refuses to wait at APPLIED, whatever the call."""
    chosen: Any = {"ack": "applied", "await_members": True}
    refused = "await_members: EVERY, with ack APPLIED"
    async with AsyncClient(address) as client:
        with pytest.raises(InvalidArgumentError, match=refused):
            await client.erase_profile("nobody", **chosen)
    with Client(address) as client, pytest.raises(InvalidArgumentError, match=refused):
        await asyncio.to_thread(client.erase_profile, "nobody", **chosen)


def test_a_text_is_no_list_of_names() -> None:
    for asked in ({"placements": "home"}, {"scores": "home"}):
        with pytest.raises(TypeError, match=f"{next(iter(asked))}: a text, allowed: a list of n"):
            requests.decide("ann", **asked)


def test_what_is_no_identity_is_refused_by_its_type() -> None:
    given: Any = 7
    with pytest.raises(TypeError, match="identity: int, allowed: a text or an Identity"):
        requests.decide(given, ["home"])


def test_a_slot_is_a_decisions() -> None:
    with pytest.raises(ValueError, match="slot: 3, allowed: 0, or with a decision_id"):
        Event("ann", "click", slot=3).message()
    assert Event("ann", "click", slot=3, decision_id="d").message().slot == 3


def test_ids_are_uuids_of_version_7_with_their_time() -> None:
    made = uuid.UUID(new_id())
    assert made.version == 7
    milliseconds = int.from_bytes(made.bytes[:6], "big")
    assert abs(milliseconds / 1_000 - datetime.now(UTC).timestamp()) < 5


@pytest.mark.parametrize(
    ("addresses", "wanted"),
    [
        ("127.0.0.1:7600", "127.0.0.1:7600"),
        (["unix:/run/a"], "unix:/run/a"),
        (["10.0.0.1:1", "10.0.0.2:1"], "ipv4:10.0.0.1:1,10.0.0.2:1"),
        (["[::1]:1", "[::2]:1"], "ipv6:[::1]:1,[::2]:1"),
    ],
)
def test_addresses_make_one_target(addresses: Any, wanted: str) -> None:
    assert target(addresses) == wanted


@pytest.mark.parametrize(
    "addresses", [[], "", ["unix:/a", "10.0.0.1:1"], "localhost", ["10.0.0.1:1", "10.0.0.2"]]
)
def test_other_addresses_are_refused(addresses: Any) -> None:
    with pytest.raises(ValueError, match="addresses"):
        target(addresses)


def test_the_service_config_retries_and_throttles() -> None:
    config = json.loads(service_config())
    policy = config["methodConfig"][0]["retryPolicy"]
    assert (policy["maxAttempts"], policy["retryableStatusCodes"]) == (
        3,
        ["UNAVAILABLE", "CANCELLED"],
    )
    assert config["retryThrottling"]["maxTokens"] > 0
    assert "round_robin" in config["loadBalancingConfig"][0]


async def test_the_synchronous_client_does_all_calls(address: str) -> None:
    await asyncio.to_thread(_all_calls, address)


def _all_calls(address: str) -> None:
    with Client(address) as client:
        client.upsert_profile("ann", {"age": 34, "plan": "free"})
        assert not client.track("ann", "page_view", {"path": "/"}).duplicate
        client.link_identity("ann", anonymous("cookie"))
        assert len(client.get_profile(anonymous("cookie")).profile.identities) == 2
        decided = client.decide("ann", ["home"], attributes={"age": 3}, explain=True)
        assert uuid.UUID(decided.decision_id).version == 7
        assert client.decide_batch([requests.decide("ann")]).results[0].HasField("response")
        assert len(list(client.decide_stream(_asked()))) == 2
        answers = client.track_stream([Event("ann", "page_view", {"path": "/"})])
        assert [answer.WhichOneof("result") for answer in answers] == ["response"]
        assert client.import_profiles([Upsert("bob", {"age": 1})]).accepted == 1
        parts = list(client.query_profiles("profile.age == 34"))
        assert sum(len(part.profiles) for part in parts) == 1
        files = {"schema.yaml": b"attributes: {age: int}"}
        assert client.validate_playbook(files).playbook_hash
        assert client.publish_playbook(files).generation == 2
        assert client.activate_generation(1).previous == 2
        assert len(client.list_generations().generations) == 2


def _asked() -> Iterator[Any]:
    yield requests.decide("ann", ["home"])
    yield requests.decide("bob", ["home"])


async def test_errors_carry_the_violations(client: AsyncClient) -> None:
    with pytest.raises(NextbestError) as caught:
        await client.decide("", ["home"])
    error = caught.value
    assert isinstance(error, InvalidArgumentError)
    assert error.violations[0].field.startswith("identity")
    assert error.violations[0].description
    assert error.metadata["field"] == error.violations[0].field
    assert (error.reason, error.retry_after) == ("INVALID_REQUEST", None)


async def test_no_server_is_unavailable_after_the_retries() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(UnavailableError):
            await client.decide("ann", timeout=2)


async def test_calls_go_round_several_addresses(run_server: Any) -> None:
    async with run_server() as one, run_server() as two, AsyncClient([one, two]) as client:
        nonces: set[int] = set()
        for _ in range(100):
            nonces.add((await client.list_generations()).position.nonce)
            if len(nonces) == 2:
                break
            await asyncio.sleep(0.01)
    assert len(nonces) == 2


async def test_a_person_is_forgotten_with_every_identity(client: AsyncClient) -> None:
    await client.upsert_profile("ann", {"country": "PL"})
    await client.link_identity("ann", anonymous("cookie"))
    answer = await client.erase_profile("ann")
    assert [each.id for each in answer.identities] == ["ann", "cookie"]
    assert not (await client.get_profile(anonymous("cookie"))).profile_known
    again = await client.erase_profile("ann")
    assert not again.identities
    # Who writes of them later registers them anew.
    await client.upsert_profile("ann", {"country": "DE"})
    profile = (await client.get_profile("ann")).profile
    assert plain(profile.attributes["country"]) == "DE"
    assert len(profile.identities) == 1


async def test_a_level_that_the_server_has_not_is_refused(client: AsyncClient) -> None:
    with pytest.raises(PreconditionError, match="APPLIED"):
        await client.track("ann", "login", ack="logged")
    with pytest.raises(ValueError, match="replicated"):
        await client.track("ann", "login", ack="twice")  # type: ignore[arg-type]
