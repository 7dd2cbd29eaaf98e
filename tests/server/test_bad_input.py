"""Whatever is sent, the answer is a typed error, and the server goes on."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from nextbest.client import AsyncClient, InvalidArgumentError
from nextbest.client import request as requests
from nextbest.v1 import (
    common_pb2,
    decision_pb2,
    event_pb2,
    playbook_pb2,
    profile_pb2,
)

UNARY = {
    "DecisionService/Decide": decision_pb2.DecideRequest,
    "DecisionService/DecideBatch": decision_pb2.DecideBatchRequest,
    "EventService/Track": event_pb2.TrackRequest,
    "ProfileService/GetProfile": profile_pb2.GetProfileRequest,
    "ProfileService/UpsertProfile": profile_pb2.UpsertProfileRequest,
    "ProfileService/LinkIdentity": profile_pb2.LinkIdentityRequest,
    "ProfileService/QueryProfiles": profile_pb2.QueryProfilesRequest,
    "PlaybookService/ValidatePlaybook": playbook_pb2.ValidatePlaybookRequest,
    "PlaybookService/PublishPlaybook": playbook_pb2.PublishPlaybookRequest,
    "PlaybookService/ActivateGeneration": playbook_pb2.ActivateGenerationRequest,
    "PlaybookService/ListGenerations": playbook_pb2.ListGenerationsRequest,
}
STREAMS = ("DecisionService/DecideStream", "EventService/TrackStream")
IMPORT = "ProfileService/ImportProfiles"
OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}


class Raw:
    """Sends any bytes to any method and tells the status code."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(self, method: str, *messages: bytes) -> grpc.StatusCode:
        path = f"/nextbest.v1.{method}"
        call: Any
        if method in STREAMS:
            call = self._channel.stream_stream(path)(_each(messages))
        elif method == IMPORT:
            call = self._channel.stream_unary(path)(_each(messages))
        elif method == "ProfileService/QueryProfiles":
            call = self._channel.unary_stream(path)(messages[0])
        else:
            call = self._channel.unary_unary(path)(messages[0])
        if method in STREAMS or method == "ProfileService/QueryProfiles":
            # The status comes behind the answers, which flow control holds until they are read.
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for _ in call:
                    pass
        code: grpc.StatusCode = await call.code()
        return code


async def _each(messages: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


@pytest.fixture
async def raw(address: str) -> AsyncIterator[Raw]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield Raw(channel)


@pytest.mark.parametrize("method", [*UNARY, IMPORT, *STREAMS])
async def test_random_bytes_get_a_typed_answer(raw: Raw, method: str) -> None:
    random_ = random.Random(method)
    for size in [*range(40), 200, 2_000, 60_000]:
        assert await raw(method, random_.randbytes(size)) not in OURS


@pytest.mark.parametrize("method", UNARY)
async def test_bytes_that_are_no_message_are_invalid(raw: Raw, method: str) -> None:
    for message in (b"\xff", b"\x0a\x05ab", b"\x0b" * 300, b"\x0a\xff\xff\xff\xff\x0f"):
        assert await raw(method, message) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", UNARY)
async def test_mutated_messages_get_a_typed_answer(raw: Raw, method: str) -> None:
    random_ = random.Random(method)
    sound = _sound(method).SerializeToString()
    for _ in range(150):
        data = bytearray(sound)
        for _ in range(random_.randint(1, 4)):
            data[random_.randrange(len(data))] = random_.randrange(256)
        assert await raw(method, bytes(data[: random_.randint(1, len(data))])) not in OURS


async def test_a_request_over_the_bound_names_it(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 262144") as caught:
        await client.decide("ann", ["home"], attributes={"email": "x" * 1_000_000})
    assert caught.value.violations[0].field == "request"


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"income": float("nan")}, "income"),
        ({"income": float("inf")}, "income"),
        ({"income": float("-inf")}, "income"),
        ({"income": "much"}, "income"),
        ({"age": 3.5}, "age"),
        ({"age": [1.0, 2.0]}, "age"),
        ({"email": "x" * 2_000}, "email"),
        ({"email": 3}, "email"),
        ({"agee": 3}, "agee"),
        ({"x" * 10_000: 3}, "10000 bytes that are no name"),
    ],
)
async def test_bad_attributes_are_refused_by_name(
    client: AsyncClient, attributes: dict[str, Any], field: str
) -> None:
    for call in (
        client.upsert_profile("ann", attributes),
        client.decide("ann", ["home"], attributes=attributes),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        assert field in "".join(caught.value.violations[0])
        assert caught.value.reason in {"INVALID_REQUEST", "UNKNOWN_NAME"}


@pytest.mark.parametrize("identity", ["", "x" * 257, "x" * 200_000])
async def test_bad_identities_are_refused(client: AsyncClient, identity: str) -> None:
    for call in (
        client.decide(identity, ["home"]),
        client.track(identity, "page_view"),
        client.get_profile(identity),
        client.upsert_profile(identity, {"age": 3}),
        client.link_identity("ann", identity),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        assert caught.value.violations[0].field


@pytest.mark.parametrize("seconds", [-62_135_596_800, 253_402_300_799, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("nanos", [0, -1, 2**31 - 1])
async def test_far_moments_get_a_typed_answer(raw: Raw, seconds: int, nanos: int) -> None:
    for method in UNARY:
        message: Any = _sound(method)
        for field in message.DESCRIPTOR.fields:
            if field.message_type and field.message_type.full_name.endswith("Timestamp"):
                getattr(message, field.name).seconds = seconds
                getattr(message, field.name).nanos = nanos
        assert await raw(method, message.SerializeToString()) not in OURS


async def test_long_lists_are_refused(client: AsyncClient) -> None:
    for call in (
        client.decide("ann", ["home"] * 100_000, timeout=5),
        client.decide("ann", ["home"] * 10_000, timeout=5),
        client.decide("ann", scores=["fit"] * 65),
        client.decide_batch([decision_pb2.DecideRequest()] * 100_000, timeout=5),
        client.decide_batch([decision_pb2.DecideRequest()] * 1_001),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        assert caught.value.violations[0].field


async def test_a_list_of_100_000_entries_is_refused(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgumentError):
        await client.upsert_profile("ann", {"email": ["x"] * 100_000})


async def test_bad_queries_are_refused(client: AsyncClient) -> None:
    for condition in ("", " ", "1", "profile", "(" * 5_000, "\x00", "profile.age >", "x" * 100_000):
        with pytest.raises(InvalidArgumentError) as caught:
            [part async for part in client.query_profiles(condition)]
        assert caught.value.violations[0].field == "condition"
    with pytest.raises(InvalidArgumentError, match="limit"):
        [part async for part in client.query_profiles("profile.age > 3", limit=2**32 - 1)]


async def test_bad_publishes_are_refused(client: AsyncClient) -> None:
    for files in (
        {},
        {"schema.yaml": b"\xff\xfe\x00"},
        {"../schema.yaml": b""},
        {"schema.yaml": b"[" * 100_000},
        {"schema.yaml": b"a: &a [*a]"},
        {"actions.yaml": b"\n".join(b"a%d: {" % n for n in range(10_000))},
        {"segments.yaml": b"segments: {a: segment.b, b: segment.a}"},
        {"schema.yaml": b"events: {e: {}}\ncounters: {c: {count: e, window: -7d}}"},
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await client.publish_playbook(files)
        assert caught.value.violations
    with pytest.raises(InvalidArgumentError, match="write_id"):
        await client.publish_playbook({}, write_id="x" * 129)
    with pytest.raises(InvalidArgumentError, match="description"):
        await client.publish_playbook({}, description="x" * 1_025)


async def test_an_import_batch_over_the_bound_is_refused(raw: Raw) -> None:
    batch = profile_pb2.ImportProfilesRequest(profiles=[profile_pb2.UpsertProfileRequest()] * 1_001)
    assert await raw(IMPORT, batch.SerializeToString()) is grpc.StatusCode.INVALID_ARGUMENT


def _sound(method: str) -> Message:
    """A request that is answered well."""
    ann = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id="ann")
    kind = UNARY[method]
    if kind is decision_pb2.DecideRequest:
        return requests.decide("ann", ["home"], attributes={"age": 3}, context={"page": "home"})
    if kind is decision_pb2.DecideBatchRequest:
        return decision_pb2.DecideBatchRequest(requests=[requests.decide("ann", ["home"])])
    if kind is event_pb2.TrackRequest:
        return requests.Event("ann", "page_view", {"path": "/"}).message()
    if kind is profile_pb2.UpsertProfileRequest:
        return requests.Upsert("ann", {"age": 3, "email": "a@b.c"}).message()
    if kind is profile_pb2.LinkIdentityRequest:
        return requests.link("ann", requests.anonymous("c"), False, None, "")
    if kind is profile_pb2.GetProfileRequest:
        return profile_pb2.GetProfileRequest(identity=ann)
    if kind is profile_pb2.QueryProfilesRequest:
        return profile_pb2.QueryProfilesRequest(condition="profile.age > 3", limit=10)
    if kind is playbook_pb2.ActivateGenerationRequest:
        return playbook_pb2.ActivateGenerationRequest(write_id="w", target=1)
    if kind is playbook_pb2.ListGenerationsRequest:
        return common_pb2.StringList(values=["ignored"])
    files = [playbook_pb2.PlaybookFile(path="schema.yaml", content=b"attributes: {age: int}")]
    if kind is playbook_pb2.PublishPlaybookRequest:
        return playbook_pb2.PublishPlaybookRequest(write_id="w", files=files)
    return playbook_pb2.ValidatePlaybookRequest(files=files)
