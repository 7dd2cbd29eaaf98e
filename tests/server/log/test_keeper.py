"""What a server keeps: over a stop, a damaged snapshot, a log that is away, and among nodes."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis.asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextbest.client import AsyncClient
from nextbest.client.errors import (
    DeadlineError,
    NextbestError,
    PreconditionError,
    UnavailableError,
)
from nextbest.client.request import decide
from nextbest.server.errors import ConfigError, DataError, RecoveryError
from nextbest.server.log import LogInUseError
from nextbest.server.log.contents import pack
from nextbest.server.log.snapshot_file import SnapshotFormatError
from nextbest.v1 import decision_pb2, log_pb2

from .test_snapshot import restated

PLAYBOOK = Path(__file__).parents[2] / "cases" / "small"
TINY = {"schema.yaml": b"attributes: {age: int}\nevents: {visit: {}}\n"}
ADULT = {**TINY, "segments.yaml": b"segments: {adult: profile.age >= 18}\n"}
MENDED_BY = r"--data.*log\.peers.*log\.advertise.*nextbest log restore"
ANN = {"plan": "free", "age": 34, "email": "a@b.c"}


@pytest.fixture
def run(run_server: Any, tmp_path: Path) -> Any:
    """Runs a server on the test's data folder; `run(log__ack="applied")` sets a key."""

    @asynccontextmanager
    async def running(**flags: Any) -> AsyncIterator[AsyncClient]:
        given = {"data__folder": tmp_path / "data", **flags}
        async with run_server(**given) as address, AsyncClient(address) as client:
            yield client

    return running


async def views(client: AsyncClient, person: str) -> int:
    found = await client.get_profile(person)
    return int(found.profile.counters["views_30d"].value.int_value)


async def status(client: AsyncClient) -> log_pb2.GetLogStatusResponse:
    return await client.log_status(digest=True)


async def following(client: AsyncClient) -> log_pb2.GetLogStatusResponse:
    """Once everything applied is read back."""
    end = time.monotonic() + 5
    while (found := await status(client)).state != "following" or found.ahead:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.02)
    return found


async def test_what_was_written_is_there_after_a_stop(run: Any) -> None:
    async with run() as client:
        answer = await client.upsert_profile("ann", ANN)
        assert answer.ack == 2
        assert answer.position.epoch
        await client.track("ann", "page_view", {"path": "home"})
        before = await following(client)
        assert (before.kind, before.replicated_refused != "") == ("sqlite", True)
    async with run() as client:
        found = await client.get_profile("ann")
        assert found.profile.attributes["age"].int_value == 34
        after = await following(client)
        assert after.position.epoch == before.position.epoch + 1
        assert (after.digest_events, after.digest_rows) == (
            before.digest_events,
            before.digest_rows,
        )


async def test_a_snapshot_and_the_log_behind_it_give_the_same_state(run: Any) -> None:
    async with run() as client:
        for person in range(50):
            await client.upsert_profile(f"p{person}", ANN)
            await client.track(f"p{person}", "page_view", {"path": "home"})
        await client.link_identity("p1", "p2")
        taken = await client.take_snapshot()
        await client.upsert_profile("late", ANN)
        await client.erase_profile("p3")
        before = await following(client)
        assert before.snapshot.sequence == taken.position.sequence
        assert Path(taken.path).stat().st_size == taken.bytes
    async with run() as client:
        after = await following(client)
        assert (after.digest_events, after.digest_rows) == (
            before.digest_events,
            before.digest_rows,
        )
        assert not (await client.get_profile("p3")).profile_known
        assert len((await client.get_profile("p1")).profile.identities) == 2
        # What is known of ids comes back too.
        assert after.horizon_ms == before.horizon_ms


async def test_a_damaged_snapshot_is_set_aside_and_the_one_before_used(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with run() as client:
        await client.upsert_profile("ann", ANN)
        await client.take_snapshot()
        await client.upsert_profile("bob", ANN)
        newest = Path((await client.take_snapshot()).path)
        before = await following(client)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    async with run() as client:
        after = await following(client)
        assert after.digest_rows == before.digest_rows
    assert newest.with_name(newest.name + ".corrupt").read_bytes() == data
    assert "damaged at byte" in caplog.text


async def test_the_log_is_trimmed_only_up_to_the_older_snapshot(run: Any) -> None:
    async with run() as client:
        await client.upsert_profile("ann", ANN)
        first = await client.take_snapshot()
        shown = (await following(client)).members
        assert all(member.snapshot.epoch == 0 for member in shown)
        await client.upsert_profile("bob", ANN)
        await client.take_snapshot()
        end = time.monotonic() + 5
        while (await status(client)).members[0].snapshot.sequence != first.position.sequence:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_without_a_valid_snapshot_a_whole_log_suffices(run: Any) -> None:
    async with run() as client:
        await client.upsert_profile("ann", ANN)
        path = Path((await client.take_snapshot()).path)
        before = await following(client)
    path.write_bytes(path.read_bytes()[:1_000])
    async with run() as client:
        assert (await following(client)).digest_rows == before.digest_rows


async def test_a_newer_snapshot_is_refused_at_the_start(run: Any) -> None:
    async with run() as client:
        await client.upsert_profile("ann", ANN)
        path = Path((await client.take_snapshot()).path)
    path.write_bytes(restated(path.read_bytes(), 2))
    with pytest.raises(SnapshotFormatError, match="a newer version wrote it"):
        async with run():
            pass


async def test_a_snapshot_restored_elsewhere_brings_a_new_node_up(run: Any, tmp_path: Path) -> None:
    async with run() as client:
        await client.upsert_profile("ann", ANN)
        taken = await client.take_snapshot()
        copy = tmp_path / "copy.nbs"
        copy.write_bytes(b"".join([piece async for piece in client.read_snapshot()]))
    assert copy.read_bytes() == Path(taken.path).read_bytes()


async def test_a_folder_in_use_is_refused(run: Any, tmp_path: Path) -> None:
    async with run():
        with pytest.raises(DataError, match="in use"):
            async with run():
                pass
        other = {"data__folder": tmp_path / "other"}
        with pytest.raises(LogInUseError):
            async with run(**other, log__place=f"sqlite:{tmp_path}/data/log.db"):
                pass


async def test_the_level_of_a_write_is_the_servers_or_the_calls(run: Any) -> None:
    async with run(log__ack="applied") as client:
        assert (await client.track("ann", "page_view", {"path": "home"})).ack == 1
        answer = await client.track("ann", "page_view", {"path": "home"}, ack="logged")
        assert answer.ack == 2
        with pytest.raises(PreconditionError, match="sqlite"):
            await client.track("ann", "page_view", {"path": "home"}, ack="replicated")


async def test_without_a_log_there_is_nothing_to_look_after(run_server: Any) -> None:
    async with run_server() as address, AsyncClient(address) as client:
        found = await status(client)
        assert (found.kind, found.place, found.state) == ("memory", "memory:", "following")
        for call in (client.take_snapshot(), client.reseed_log()):
            with pytest.raises(PreconditionError) as refused:
                await call
            assert refused.value.reason == "NO_LOG"


async def test_a_stop_during_recovery_is_heeded(run: Any, start_redis: Callable[..., Any]) -> None:
    """`serve` waits for a log that is away; a stop must not wait for it."""
    server = start_redis()
    server.kill()
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7), run(log__place=server.url, log__start_ms=60_000):
            pass
    assert time.monotonic() - begun < 3


@pytest.fixture
def nodes(run_server: Any, tmp_path: Path, start_redis: Callable[..., Any]) -> Any:
    """Runs nodes of one log in Redis: `nodes("a")` gives a client of it."""
    server = start_redis("appendonly yes")

    @asynccontextmanager
    async def node(name: str, **flags: Any) -> AsyncIterator[AsyncClient]:
        given = {
            "data__folder": tmp_path / name,
            "log__place": server.url,
            "log__member": name,
            "playbook": None,
            **flags,
        }
        async with run_server(**given) as address:
            address = flags.get("listen__addresses", address)
            async with AsyncClient(address) as client:
                client.address = address  # type: ignore[attr-defined]
                yield client

    node.redis = server  # type: ignore[attr-defined]
    return node


async def eventually(call: Callable[[], Any], within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while not await call():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.02)


async def generation_of(client: AsyncClient) -> int:
    return (await client.list_generations()).generation


async def test_what_one_node_publishes_the_others_take(nodes: Any) -> None:
    async with nodes("a") as a, nodes("b") as b:
        first = await a.publish_playbook(TINY, write_id="w", description="tiny")
        assert first.position.epoch
        await eventually(lambda: is_at(b, 1))
        second = await b.publish_playbook(ADULT)
        assert second.generation == 2
        await eventually(lambda: is_at(a, 2))
        # A repeat through another node is the same write.
        again = await b.publish_playbook(TINY, write_id="w", description="tiny")
        assert (again.generation, again.playbook_hash) == (1, first.playbook_hash)
        back = await a.activate_generation(1)
        assert (back.generation, back.previous) == (1, 2)
        await eventually(lambda: is_at(b, 1))
        assert (await b.list_generations()).generations == (await a.list_generations()).generations


async def is_at(client: AsyncClient, generation: int) -> bool:
    return await generation_of(client) == generation


async def test_events_of_a_playbook_that_is_still_compiled_wait_for_it(nodes: Any) -> None:
    async with nodes("a") as a, nodes("b") as b:
        await a.publish_playbook(TINY)
        for _ in range(20):
            await a.track("ann", "visit")
        await following(a)
        await eventually(lambda: alike(a, b))
        assert (await status(b)).parked == 0


async def alike(a: AsyncClient, b: AsyncClient) -> bool:
    one, two = await following(a), await following(b)
    return (one.digest_events, one.digest_rows) == (two.digest_events, two.digest_rows)


async def test_a_new_node_reads_all_and_reads_its_own_writes_anywhere(nodes: Any) -> None:
    async with nodes("a") as a:
        await a.publish_playbook(TINY)
        await a.upsert_profile("ann", {"age": 3})
        async with nodes("b") as b:
            assert (await b.get_profile("ann")).profile.attributes["age"].int_value == 3
            for age in range(20):
                written = await a.upsert_profile("ann", {"age": age})
                seen = await b.get_profile("ann", min_position=written.position)
                assert seen.profile.attributes["age"].int_value == age


async def test_a_batch_waits_for_the_positions_it_names(nodes: Any) -> None:
    async with nodes("a") as a, nodes("b") as b:
        await a.publish_playbook(TINY)
        await eventually(lambda: is_at(b, 1))
        for age in range(20):
            written = [await a.upsert_profile(p, {"age": age}) for p in ("ann", "bob")]
            asked = [decide(one, [], min_position=written[0].position) for one in ("ann", "bob")]
            asked[1].min_position.CopyFrom(written[1].position)
            results = (await b.decide_batch(asked)).results
            assert [one.WhichOneof("result") for one in results] == ["response"] * 2
        # One that does not come in time is refused alone.
        asked = [decide("ann", [], min_position=one.position) for one in written]
        asked[0].min_position.sequence += 1_000
        begun = time.monotonic()
        with pytest.raises(DeadlineError):
            await b.decide_batch(asked, timeout=0.5)
        assert 0.4 < time.monotonic() - begun < 5
        async with grpc.aio.insecure_channel(b.address) as channel:
            call = channel.unary_unary("/nextbest.v1.DecisionService/DecideBatch")
            data = await call(decision_pb2.DecideBatchRequest(requests=asked).SerializeToString())
        results = decision_pb2.DecideBatchResponse.FromString(data).results
        assert [one.WhichOneof("result") for one in results] == ["error", "response"]
        assert "min_position" in results[0].error.message


async def test_a_node_whose_part_of_the_log_is_gone_needs_anothers_snapshot(
    nodes: Any, tmp_path: Path
) -> None:
    async with nodes("a", log__member_ms=1_000) as a:
        await a.publish_playbook(TINY)
        async with nodes("b") as b:
            await b.upsert_profile("ann", {"age": 3})
            await following(b)
            await b.take_snapshot()
        await a.upsert_profile("bob", {"age": 4})
        await a.take_snapshot()
        newest = Path((await a.take_snapshot()).path)
        last = (await following(a)).position
        nodes.redis.call("XTRIM", "nextbest", "MINID", f"{last.epoch}-{last.sequence}")
        with pytest.raises(RecoveryError, match=MENDED_BY):
            async with nodes("b", log__start_ms=500):
                pass
        shutil.copy(newest, tmp_path / "a.nbs")
        for old in (tmp_path / "b" / "snapshots").glob("*.nbs"):
            old.rename(old.with_suffix(".old"))
        with pytest.raises(RecoveryError, match="no valid snapshot"):
            async with nodes("b", log__start_ms=500):
                pass
        newest = Path((await a.take_snapshot()).path)
        shutil.copy(newest, tmp_path / "b" / "snapshots")
        async with nodes("b") as b:
            assert (await b.get_profile("bob")).profile.attributes["age"].int_value == 4
            await eventually(lambda: alike(a, b))


async def test_a_node_whose_part_of_the_log_is_gone_fetches_a_snapshot(
    nodes: Any, tmp_path: Path
) -> None:
    short = tempfile.mkdtemp()
    where = f"unix:{short}/a"
    flags = {"log__member_ms": 1_000, "listen__addresses": where, "log__advertise": where}
    async with nodes("a", **flags) as a:
        await a.publish_playbook(TINY)
        async with nodes("b") as b:
            await b.upsert_profile("ann", {"age": 3})
            await following(b)
            await b.take_snapshot()
        await trimmed(nodes, a)
        # One that has an older snapshot, and one that is new.
        async with nodes("b") as b, nodes("c") as c:
            for client in (b, c):
                found = await client.get_profile("bob")
                assert found.profile.attributes["age"].int_value == 4
            await eventually(lambda: alike(a, b))
            await eventually(lambda: alike(a, c))
            members = {one.name: one.address for one in (await status(b)).members}
            assert members == {"a": where, "b": "", "c": ""}
    shutil.rmtree(short)
    assert not list(tmp_path.glob("*/snapshots/*.new"))


async def trimmed(nodes: Any, a: AsyncClient) -> None:
    """Have a node write, take its two snapshots, and the log hold nothing older."""
    await a.upsert_profile("bob", {"age": 4})
    await a.take_snapshot()
    await a.take_snapshot()
    await a.take_snapshot()
    older = (await following(a)).position
    nodes.redis.call("XTRIM", "nextbest", "MINID", f"{older.epoch}-{older.sequence}")
    await a.take_snapshot()


async def test_peers_that_give_nothing_of_use_are_named(nodes: Any, tmp_path: Path) -> None:
    async with nodes("a", log__member_ms=1_000) as a:
        await a.publish_playbook(TINY)
        await a.upsert_profile("ann", {"age": 3})
        async with nodes("empty", log__place=f"sqlite:{tmp_path}/other.db") as empty:
            await trimmed(nodes, a)
            asked = {"log__peers": f"unix:/nowhere,{empty.address}", "log__start_ms": 500}
            with pytest.raises(RecoveryError, match="there is none yet") as refused:
                async with nodes("b", **asked):
                    pass
            assert "unix:/nowhere: UNAVAILABLE" in str(refused.value)
            # A snapshot of another log is no use, however sound it is.
            await empty.take_snapshot()
            with pytest.raises(RecoveryError, match="no peer gave a snapshot"):
                async with nodes("b", **asked):
                    pass
        assert not list((tmp_path / "b" / "snapshots").iterdir())
        with pytest.raises(RecoveryError, match=r"log\.advertise"):
            async with nodes("b", log__start_ms=500):
                pass


async def test_a_log_trimmed_past_what_was_loaded_without_it_ends_the_server(nodes: Any) -> None:
    async with nodes("a", log__member_ms=1_000) as a:
        await a.publish_playbook(TINY)
        async with nodes("b") as b:
            await following(b)
            await b.take_snapshot()
        await trimmed(nodes, a)
    nodes.redis.kill()

    async def served() -> None:
        async with nodes("b", log__start_ms=200):
            nodes.redis.start()
            await asyncio.sleep(3)

    with pytest.raises(RecoveryError, match=MENDED_BY):
        await served()


async def test_two_members_of_one_name_are_found_out(nodes: Any, tmp_path: Path) -> None:
    async with nodes("a") as a:
        await a.publish_playbook(TINY)
        other = {"data__folder": tmp_path / "other"}
        async with nodes("a", **other) as twin:
            for client in (a, twin):
                await eventually(lambda client=client: is_state(client, "twin"), 10)
                assert "another process has this name" in (await status(client)).reason
            await a.upsert_profile("ann", {"age": 3})
        await eventually(lambda: is_state(a, "following"), 10)


async def is_state(client: AsyncClient, wanted: str) -> bool:
    return (await status(client)).state == wanted


async def test_a_snapshot_of_a_lost_branch_is_set_aside_and_the_one_before_used(
    nodes: Any,
) -> None:
    async with nodes("a") as a:
        await a.publish_playbook(TINY)
        await a.upsert_profile("ann", {"age": 3})
        first = await a.take_snapshot()
        await a.upsert_profile("ann", {"age": 4})
        lost = Path((await a.take_snapshot()).path)
    await lose_tail(nodes.redis.port, first.position.sequence + 1)
    async with nodes("a") as a:
        assert (await a.get_profile("ann")).profile.attributes["age"].int_value == 3
        await following(a)
    assert lost.with_name(lost.name + ".lost").exists()


async def lose_tail(port: int, kept: int) -> None:
    """Put others in the place of the entries of epoch 1 from there on, as a failover may."""
    async with redis.asyncio.Redis(port=port) as client:
        entries = await client.xrange("nextbest")
        await client.delete("nextbest")
        for sequence, (name, fields) in enumerate(entries):
            if sequence >= kept:
                fields = {b"e": pack(sequence, heartbeat=log_pb2.Heartbeat(member="z"))}
            await client.xadd("nextbest", fields, id=name)


async def test_with_redis_away_decisions_go_on_and_health_turns(
    nodes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with nodes("a", log__stale_ms_max=500) as a:
        await a.publish_playbook(TINY)
        assert await health(a) == health_pb2.HealthCheckResponse.SERVING
        nodes.redis.kill()
        await eventually(lambda: is_serving(a, False))
        answer = await a.decide("ann", [])
        assert answer.staleness_ms >= 500
        assert list(answer.degraded) == [4]
        taken_s = []
        for _ in range(5):
            begun = time.monotonic()
            with pytest.raises(UnavailableError) as refused:
                await a.track("ann", "visit")
            taken_s.append(time.monotonic() - begun)
            assert refused.value.retry_after is not None
        # One may meet a busy machine.
        assert min(taken_s) < 0.1
        nodes.redis.start()
        await eventually(lambda: is_serving(a, True))
        await a.track("ann", "visit")


async def test_a_start_without_redis_serves_what_the_snapshot_holds(nodes: Any) -> None:
    async with nodes("a") as a:
        await a.publish_playbook(TINY)
        await a.upsert_profile("ann", {"age": 3})
        await a.take_snapshot()
    nodes.redis.kill()
    async with nodes("a", log__start_ms=200) as a:
        assert (await a.get_profile("ann")).profile.attributes["age"].int_value == 3
        assert await health(a) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(NextbestError):
            await a.upsert_profile("ann", {"age": 4})
        nodes.redis.start()
        await following(a)
        await a.upsert_profile("ann", {"age": 4})


async def health(client: Any) -> int:
    async with grpc.aio.insecure_channel(client.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        return int((await stub.Check(health_pb2.HealthCheckRequest())).status)


async def is_serving(client: Any, wanted: bool) -> bool:
    return (await health(client) == health_pb2.HealthCheckResponse.SERVING) == wanted


async def test_a_log_that_is_gone_is_no_new_beginning(run: Any, tmp_path: Path) -> None:
    async with run() as client:
        await client.upsert_profile("ann", ANN)
        await following(client)
    for left in (tmp_path / "data").glob("log.db*"):
        left.unlink()
    async with run(data__playbook="", log__start_ms=500) as client:
        found = await status(client)
        assert found.state == "reset"
        with pytest.raises(NextbestError):
            await client.upsert_profile("ann", ANN)
        await client.reseed_log()
        assert (await following(client)).position.epoch >= 1


async def test_a_level_that_nothing_gives_is_no_setting(run_server: Any) -> None:
    with pytest.raises(ConfigError, match=r"log\.ack: replicated"):
        async with run_server(log__ack="replicated"):
            pass
