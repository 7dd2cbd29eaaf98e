"""Every RPC over a real socket, with the real engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from nextbest.client import (
    AlreadyUsedError,
    AsyncClient,
    DeadlineError,
    Event,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    PositionLostError,
    PreconditionError,
    Upsert,
    anonymous,
)
from nextbest.client import request as requests
from nextbest.server.errors import FaultyPlaybookError, ListenError
from nextbest.server.rpc.listen import bind
from nextbest.v1 import common_pb2, decision_pb2, profile_pb2

PLAYBOOK = Path(__file__).parents[1] / "cases" / "small"
TINY = {"schema.yaml": b"attributes: {age: int}\nevents: {visit: {}}\n"}
ADULT = {**TINY, "segments.yaml": b"segments: {adult: profile.age >= 18}\n"}


async def test_decide_answers_with_propositions_and_header(client: AsyncClient) -> None:
    await client.upsert_profile("ann", {"plan": "free", "age": 34, "email": "a@b.c"})
    answer = await client.decide("ann", ["home"], scores=["*"], context={"page": "home"})
    assert answer.profile_known
    assert answer.generation == 1
    assert answer.position.epoch == 1
    assert len(answer.playbook_hash) == 32
    assert answer.placements[0].propositions
    assert [score.name for score in answer.scores] == ["fit", "engagement"]


async def test_the_same_decision_id_gets_the_same_answer(client: AsyncClient) -> None:
    request = {"decision_id": "d1", "context": {"page": "home"}}
    first = await client.decide("ann", ["home"], **request)  # type: ignore[arg-type]
    await client.upsert_profile("ann", {"plan": "free", "age": 34, "email": "a@b.c"})
    assert await client.decide("ann", ["home"], **request) == first  # type: ignore[arg-type]
    with pytest.raises(AlreadyUsedError):
        await client.decide("ann", ["inbox"], decision_id="d1")


async def test_an_unknown_id_is_an_empty_profile(client: AsyncClient) -> None:
    assert not (await client.decide("nobody", ["home"])).profile_known
    assert not (await client.get_profile("nobody")).profile_known


async def test_unknown_names_come_back_with_the_nearest(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgumentError, match="home") as caught:
        await client.decide("ann", ["hom"])
    assert caught.value.reason == "UNKNOWN_NAME"
    assert caught.value.violations[0].field.startswith("placements")
    with pytest.raises(InvalidArgumentError, match="page_view"):
        await client.track("ann", "page_viev")
    with pytest.raises(InvalidArgumentError, match="age"):
        await client.upsert_profile("ann", {"agee": 3})


async def test_a_batch_answers_each_request(client: AsyncClient) -> None:
    batch = [requests.decide("ann", ["home"]), requests.decide("bob", ["hom"])]
    answer = await client.decide_batch(batch)
    assert answer.results[0].response.placements[0].placement == "home"
    assert answer.results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert answer.results[1].error.details


async def test_streams_answer_in_order_and_survive_errors(client: AsyncClient) -> None:
    async def asked() -> AsyncIterator[decision_pb2.DecideRequest]:
        for number in range(20):
            placement = "home" if number % 3 else "hom"
            yield requests.decide("ann", [placement], decision_id=f"d{number}")

    results = [result async for result in client.decide_stream(asked())]
    assert [result.HasField("error") for result in results] == [n % 3 == 0 for n in range(20)]
    assert results[1].response.decision_id == "d1"

    async def done() -> AsyncIterator[Event]:
        yield Event("ann", "page_view", {"path": "/"}, event_id="", occurred_at=None)
        yield Event("ann", "page_viev")

    answers = [answer async for answer in client.track_stream(done())]
    assert [answer.WhichOneof("result") for answer in answers] == ["response", "error"]


async def test_events_count_once_and_are_read_back(client: AsyncClient) -> None:
    made = Event("ann", "page_view", {"path": "/pricing"}).message()
    for duplicate in (False, True):
        answer = await client.track(
            "ann", "page_view", {"path": "/pricing"}, event_id=made.event_id
        )
        assert answer.duplicate is duplicate
    profile = (await client.get_profile("ann", min_position=answer.position)).profile
    assert profile.counters["views_7d"].value.int_value == 1


async def test_linked_identities_are_one_person(client: AsyncClient) -> None:
    await client.track(anonymous("cookie"), "page_view", {"path": "/"})
    answer = await client.link_identity("ann", anonymous("cookie"))
    assert [identity.id for identity in answer.identities] == ["ann", "cookie"]
    known = await client.get_profile("ann")
    assert known.profile.counters["views_7d"].value.int_value == 1
    parted = await client.link_identity("ann", anonymous("cookie"), unlink=True)
    assert [identity.id for identity in parted.identities] == ["ann"]


async def test_a_position_of_another_history_is_lost(client: AsyncClient) -> None:
    other = common_pb2.Position(epoch=9, sequence=9, nonce=9)
    with pytest.raises(PositionLostError):
        await client.decide("ann", ["home"], min_position=other)


async def test_import_reports_refused_ones_and_keeps_the_others(client: AsyncClient) -> None:
    upserts = [
        Upsert(f"p{n}", {"age": n % 90} if n % 2 else {"agee": 1}, write_id=f"w{n}")
        for n in range(2_500)
    ]
    answer = await client.import_profiles(upserts)
    assert (answer.accepted, answer.refused, len(answer.faults)) == (1_250, 1_250, 1_000)
    assert [(fault.index, fault.write_id) for fault in answer.faults[:2]] == [(0, "w0"), (2, "w2")]
    assert answer.faults[0].error.code == 3
    assert (await client.get_profile("p3")).profile_known


async def test_a_refused_import_says_why_to_a_client_that_is_still_sending(address: str) -> None:
    """A stream that the server ends early would be INTERNAL in grpc.aio's client."""

    async def batches() -> AsyncIterator[bytes]:
        for number in range(50):
            yield b"\xff" if number == 3 else b""
            await asyncio.sleep(0)

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_unary("/nextbest.v1.ProfileService/ImportProfiles")
        for _ in range(40):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(batches())
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_query_streams_those_who_satisfy(run_server: Any) -> None:
    async with run_server(rpc__query_slice=100) as address, AsyncClient(address) as client:
        await client.import_profiles(Upsert(f"p{n}", {"age": n}) for n in range(1_000))
        parts = [part async for part in client.query_profiles("profile.age >= 900", limit=60)]
        assert sum(len(part.profiles) for part in parts) == 60
        found = [part async for part in client.query_profiles("profile.age >= 900")]
        assert len(found) > 1
        assert (found[-1].scanned, found[-1].errors) == (1_000, 0)
        ids = {person.identities[0].id for part in found for person in part.profiles}
        assert ids == {f"p{n}" for n in range(900, 1_000)}
        with pytest.raises(InvalidArgumentError, match=r"profile\.age"):
            [part async for part in client.query_profiles("profile.agee > 3")]


async def test_a_query_for_large_profiles_stays_within_what_clients_take(
    run_server: Any,
) -> None:
    async with run_server(rpc__query_slice=5_000) as address, AsyncClient(address) as client:
        text = "x" * 1_000
        upserts = (Upsert(f"p{n}", {"email": text}) for n in range(5_000))
        assert (await client.import_profiles(upserts)).accepted == 5_000
        parts = [
            part
            async for part in client.query_profiles(
                "has(profile.email)", limit=9_999, profiles=True
            )
        ]
        assert len(parts) > 4
        found = [person.identities[0].id for part in parts for person in part.profiles]
        assert sorted(found) == sorted(f"p{n}" for n in range(5_000))
        assert {part.scanned for part in parts} == {5_000}


async def test_decisions_go_on_during_a_query(run_server: Any) -> None:
    async with run_server(rpc__query_slice=10) as address, AsyncClient(address) as client:
        await client.import_profiles(Upsert(f"p{n}", {"age": n}) for n in range(3_000))

        async def query() -> int:
            parts = client.query_profiles("profile.age > 0", limit=9_999)
            return len([part async for part in parts])

        assert await decided_during(client, asyncio.create_task(query())) >= 2


async def test_decisions_go_on_during_a_publish(client: AsyncClient) -> None:
    segments = "".join(f"  s{n}: profile.age > {n} && profile.age < {2 * n}\n" for n in range(200))
    files = {**TINY, "segments.yaml": f"segments:\n{segments}".encode()}
    publish = asyncio.create_task(client.publish_playbook(files))
    await asyncio.sleep(0)
    assert await decided_during(client, publish) > 5


async def decided_during(client: AsyncClient, task: asyncio.Task[Any]) -> int:
    decided = 0
    while not task.done():
        await client.decide("p7")
        decided += 1
    await task
    return decided


async def test_publish_is_idempotent_and_activation_goes_back(client: AsyncClient) -> None:
    first = await client.publish_playbook(TINY, write_id="w", description="tiny")
    assert first.generation == 2
    again = await client.publish_playbook(TINY, write_id="w", description="tiny")
    assert (again.generation, again.playbook_hash) == (2, first.playbook_hash)
    with pytest.raises(AlreadyUsedError):
        await client.publish_playbook(ADULT, write_id="w")
    back = await client.activate_generation(1, write_id="a")
    assert (back.generation, back.previous) == (1, 2)
    listed = (await client.list_generations()).generations
    assert [(each.number, each.active) for each in listed] == [(1, True), (2, False)]
    assert listed[1].description == "tiny"
    with pytest.raises(NotFoundError) as caught:
        await client.activate_generation(77)
    assert caught.value.reason == "UNKNOWN_GENERATION"


async def test_a_faulty_playbook_gives_every_fault(client: AsyncClient) -> None:
    faulty = {"schema.yaml": b"attributes: {age: inn}\nevents: {a: {b: strng}}\n"}
    with pytest.raises(InvalidArgumentError) as caught:
        await client.publish_playbook(faulty)
    fields = [violation.field for violation in caught.value.violations]
    assert fields == ["schema.yaml:1:19", "schema.yaml:2:17"]
    assert caught.value.reason == "FAULTY_PLAYBOOK"
    answer = await client.validate_playbook(faulty)
    assert [(fault.line, fault.column) for fault in answer.faults] == [(1, 19), (2, 17)]
    assert not answer.playbook_hash
    assert (await client.validate_playbook(TINY)).playbook_hash


async def test_published_playbooks_come_back_after_a_restart(
    run_server: Any, tmp_path: Path
) -> None:
    flags = {"data__folder": tmp_path, "engine__generations_max": 2, "playbook": None}
    async with run_server(**flags) as address, AsyncClient(address) as client:
        with pytest.raises(PreconditionError):
            await client.decide("ann")
        await client.publish_playbook(TINY, write_id="w1")
        await client.publish_playbook(PLAYBOOK, write_id="w2", description="two")
        third = await client.publish_playbook(ADULT, write_id="w3")
        await client.activate_generation(2)
        before = (await client.list_generations()).generations
    async with run_server(**flags) as address, AsyncClient(address) as client:
        assert (await client.list_generations()).generations == before
        assert (await client.publish_playbook(ADULT, write_id="w3")).generation == 3
        assert (await client.decide("ann", ["home"])).generation == 2
        assert (await client.publish_playbook(TINY)).generation == third.generation + 1


async def test_calls_over_the_bound_are_refused_with_a_delay(run_server: Any) -> None:
    async with run_server(rpc__in_flight_max=1) as address, AsyncClient(address) as client:
        entered = asyncio.Event()
        leave = asyncio.Event()

        async def slow() -> AsyncIterator[decision_pb2.DecideRequest]:
            yield requests.decide("ann", ["home"])
            await leave.wait()

        async def stream() -> None:
            async for _ in client.decide_stream(slow()):
                entered.set()

        task = asyncio.create_task(stream())
        await entered.wait()
        for refused in (client.list_generations(), client.import_profiles([Upsert("ann", {})])):
            with pytest.raises(OverloadedError) as caught:
                await refused
            assert caught.value.reason == "BUSY"
            assert caught.value.retry_after is not None
        leave.set()
        await task
        assert await until_accepted(client) == 1


async def until_accepted(client: AsyncClient) -> int:
    """The server learns of the end of a call a moment after its client."""
    while True:
        try:
            return (await client.list_generations()).generation
        except OverloadedError:
            await asyncio.sleep(0.01)


async def test_calls_that_never_wait_are_answered_beside_as_many_streams_as_may_be(
    run_server: Any,
) -> None:
    async with run_server(rpc__in_flight_max=1) as address, AsyncClient(address) as client:
        leave = asyncio.Event()

        async def slow() -> AsyncIterator[decision_pb2.DecideRequest]:
            yield requests.decide("ann", ["home"])
            await leave.wait()

        answers = client.decide_stream(slow())
        assert await anext(answers)
        assert (await client.decide("ann", ["home"])).placements
        await client.track("ann", "page_view", {"path": "/"})
        await client.upsert_profile("ann", {"age": 3})
        assert (await client.get_profile("ann")).profile_known
        leave.set()
        assert [result async for result in answers] == []


async def test_an_expired_deadline_is_refused(client: AsyncClient) -> None:
    call = asyncio.create_task(client.decide("ann", ["home"], timeout=0.01))
    await asyncio.sleep(0)
    # The loop is also the server's: nothing can answer before the deadline has passed.
    time.sleep(0.05)
    with pytest.raises(DeadlineError):
        await call


async def test_health_is_reported_by_service(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "nextbest.v1.DecisionService", "nextbest.v1.PlaybookService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_an_unknown_method_is_unimplemented(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/nextbest.v1.DecisionService/Decode")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("on", [False, True])
async def test_reflection_is_served_only_when_asked_for(run_server: Any, on: bool) -> None:
    async with run_server(listen__reflection=on) as address:

        def names() -> list[str]:
            with grpc.insecure_channel(address) as channel:
                return list(ProtoReflectionDescriptorDatabase(channel).get_services())

        if on:
            assert "nextbest.v1.DecisionService" in await asyncio.to_thread(names)
        else:
            with pytest.raises(grpc.RpcError):
                await asyncio.to_thread(names)


async def test_an_address_that_cannot_be_taken_is_named(run_server: Any) -> None:
    async with run_server() as address:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        with pytest.raises(ListenError, match="no folder"):
            bind(server, address.replace("socket", "none/socket"))
        taken = bind(server, "127.0.0.1:0")
        with pytest.raises(ListenError, match="in use"):
            bind(grpc.aio.server(options=[("grpc.so_reuseport", 0)]), taken)


async def test_a_faulty_folder_stops_the_start(run_server: Any, tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text("attributes: {age: inn}\n")
    with pytest.raises(FaultyPlaybookError):
        async with run_server(tmp_path):
            pass


async def test_late_and_future_events_are_refused(client: AsyncClient) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=10)
    with pytest.raises(InvalidArgumentError, match="occurred_at"):
        await client.track("ann", "page_view", {"path": "/"}, occurred_at=soon)


async def test_query_profiles_gives_whole_profiles_when_asked(client: AsyncClient) -> None:
    await client.upsert_profile("ann", {"age": 40})
    found: list[profile_pb2.Profile] = []
    async for part in client.query_profiles("profile.age == 40", profiles=True):
        found.extend(part.profiles)
    assert [person.attributes["age"].int_value for person in found] == [40]
