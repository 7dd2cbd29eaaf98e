"""The clients: plain values, targets, retries and errors, against a real server."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from nextbest.client import (
    AsyncClient,
    Client,
    Consent,
    Event,
    FaultyPlaybookError,
    InvalidArgumentError,
    NextbestError,
    PreconditionError,
    UnavailableError,
    Upsert,
    anonymous,
    plain,
)
from nextbest.client import request as requests
from nextbest.client.address import target
from nextbest.client.channel import service_config
from nextbest.client.ids import new_id
from nextbest.client.value import message
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
        ("shop_1.internal:7600", "shop_1.internal:7600"),
        ("dns:///shop:7600", "dns:///shop:7600"),
        ("[fe80::1]:7600", "[fe80::1]:7600"),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1"),
        (["unix:/run/a"], "unix:/run/a"),
        (("unix:/a", "unix:/b"), "unix:/a,/b"),
        (["10.0.0.1:1", "10.0.0.2:1"], "ipv4:10.0.0.1:1,10.0.0.2:1"),
        (["ipv4:10.0.0.1:1", "10.0.0.2:1"], "ipv4:10.0.0.1:1,10.0.0.2:1"),
        (["[::1]:1", "[::2]:1"], "ipv6:[::1]:1,[::2]:1"),
        ("10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1"),
        ("[::1]:1, [::2]:1", "ipv6:[::1]:1,[::2]:1"),
        ("unix:/a,unix:/b", "unix:/a,/b"),
        ("unix:/a,/b", "unix:/a,/b"),
        ("unix:a,b", "unix:a,b"),
    ],
)
def test_addresses_make_one_target(addresses: Any, wanted: str) -> None:
    assert target(addresses) == wanted


KINDS = pytest.mark.parametrize("kind", [Client, AsyncClient])
ONE = re.escape("host:port, [ipv6]:port, unix:/path or dns:///host:port")
SEVERAL = re.escape("several ip:port, several [ipv6]:port, or several unix:/path")


@KINDS
@pytest.mark.parametrize(
    ("addresses", "seen"),
    [
        ("", "''"),
        ("localhost", "'localhost'"),
        ("localhost:port", "'localhost:port'"),
        ("localhost:0", "'localhost:0'"),
        ("localhost:99999", "'localhost:99999'"),
        ("http://localhost:7600", "'http://localhost:7600'"),
        ("::1:7600", "'::1:7600'"),
        ("[::g]:7600", re.escape("'[::g]:7600'")),
        ("a b:7600", "'a b:7600'"),
        ("unix:", "'unix:'"),
        ("ipv4:localhost:1", "'ipv4:localhost:1'"),
        (["10.0.0.1:1", "10.0.0.2"], "'10.0.0.2'"),
        ("10.0.0.1:1,10.0.0.2:1,x y:1", "'x y:1'"),
        ("10.0.0.1:1,10.0.0.2", "'10.0.0.1:1,10.0.0.2'"),
        ("10.0.0.1:1,", "'10.0.0.1:1,'"),
    ],
)
def test_what_is_no_address_is_refused_when_the_client_is_made(
    kind: Any, addresses: Any, seen: str
) -> None:
    with pytest.raises(ValueError, match=f"addresses: {seen}, allowed: {ONE}"):
        kind(addresses)


@KINDS
@pytest.mark.parametrize(
    "addresses",
    [
        ["unix:/a", "10.0.0.1:1"],
        ["[::1]:1", "10.0.0.1:1"],
        ["shop:1", "shop:2"],
        "shop:1,shop:2",
    ],
)
def test_several_addresses_are_of_one_kind(kind: Any, addresses: Any) -> None:
    with pytest.raises(ValueError, match=f"addresses: '.*', allowed: {SEVERAL}"):
        kind(addresses)


@KINDS
@pytest.mark.parametrize("addresses", [None, 7600, b"localhost:7600", [b"localhost:7600"], [None]])
def test_addresses_are_texts(kind: Any, addresses: Any) -> None:
    with pytest.raises(TypeError, match=r"addresses: .*, allowed: a text or a list of texts"):
        kind(addresses)
    with pytest.raises(ValueError, match="addresses: 0, allowed: 1 to 64"):
        kind([])


@pytest.mark.parametrize("timeout", ["1s", True, [1]])
async def test_a_timeout_is_a_number(timeout: Any) -> None:
    await _refused(TypeError, timeout)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e18])
async def test_a_timeout_is_a_time_that_can_pass(timeout: float) -> None:
    await _refused(ValueError, timeout)


async def test_only_a_stream_goes_without_a_deadline() -> None:
    wanted = "timeout: None, allowed: seconds"
    with Client("127.0.0.1:1") as client, pytest.raises(TypeError, match=wanted):
        client.decide("ann", ["home"], timeout=None)  # type: ignore[arg-type]
    async with AsyncClient("127.0.0.1:1") as waiting:
        waiting.decide_stream(_none(), timeout=None)
        with pytest.raises(TypeError, match=wanted):
            await waiting.track("ann", "visit", timeout=None)  # type: ignore[arg-type]


async def _refused(kind: type[Exception], timeout: Any) -> None:
    """By every sort of call, before anything is sent; a stream's error is not left to its use."""
    wanted = f"timeout: {re.escape(repr(timeout))}, allowed: seconds, above 0 to 31,536,000"
    with Client("127.0.0.1:1") as client:
        for call in (
            partial(client.decide, "ann", ["home"]),
            partial(client.get_profile, "ann"),
            partial(client.import_profiles, []),
            partial(client.decide_stream, []),
            partial(client.query_profiles, "true"),
        ):
            with pytest.raises(kind, match=wanted):
                call(timeout=timeout)
    async with AsyncClient("127.0.0.1:1") as waiting:
        for wait in (
            partial(waiting.decide, "ann", ["home"]),
            partial(waiting.get_profile, "ann"),
            partial(waiting.import_profiles, []),
        ):
            with pytest.raises(kind, match=wanted):
                await wait(timeout=timeout)
        for stream in (
            partial(waiting.track_stream, _none()),
            partial(waiting.query_profiles, "true"),
        ):
            with pytest.raises(kind, match=wanted):
                stream(timeout=timeout)


async def _none() -> AsyncIterator[Any]:
    for each in ():
        yield each


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


async def test_a_faulty_playbook_tells_its_first_faults(client: AsyncClient) -> None:
    """With file, line, field and what is wrong, a line each, and how many there are besides."""
    names = "".join(f"  a{n}: {{type: no_such_type}}\n" for n in range(40))
    with pytest.raises(FaultyPlaybookError) as caught:
        await client.publish_playbook({"schema.yaml": f"attributes:\n{names}".encode()})
    first, *lines = str(caught.value).splitlines()
    assert first == "the playbook has 40 faults"
    assert re.match(r"schema\.yaml:2:14: attribute type, seen 'no_such_type', allowed: ", lines[0])
    assert (len(lines), lines[-1], caught.value.faults) == (11, "and 30 more", 40)
    with pytest.raises(InvalidArgumentError) as other:
        await client.publish_playbook({"schema.yaml": b"attributs: {}"})
    assert len(str(other.value).splitlines()) == 2
