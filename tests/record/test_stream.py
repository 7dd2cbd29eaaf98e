"""The stream of records: a real server's, in a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import redis

from nextbest.client import AsyncClient
from nextbest.server.config import load
from nextbest.server.errors import ConfigError
from nextbest.server.examples import SHOP
from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.settings import BackendSettings
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.record.files import Files
from nextbest.server.record.frames import Frame, frames
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.server.record.sink import Sink
from nextbest.server.record.stream import Stream, StreamBounds, pieces
from nextbest.v1 import mutation_pb2
from tests.conftest import running
from tests.record.people import live, plan_of, recording, taken
from tests.server.log.conftest import Process, start_redis

__all__ = ["start_redis"]  # a fixture
Start = Callable[..., Process]
KEY = "nextbest.records"


def read(process: Process) -> bytes:
    """All that is in the stream, as a file's content."""
    with redis.Redis(port=process.port) as client:
        entries = client.xrange(KEY)
    return b"".join(fields[b"records"] for _, fields in entries)


async def decided(address: str, count: int, first: int = 0) -> None:
    async with AsyncClient(address) as client:
        for number in range(first, first + count):
            await client.decide(f"u{number}", ["home_hero"])


async def test_the_stream_has_what_the_files_have(tmp_path: Path, start_redis: Start) -> None:
    process = start_redis()
    settings = {"records__share": "1", "records__stream": process.url}
    async with running(SHOP, data__folder=tmp_path / "data", **settings) as address:
        await decided(address, 100)
        # Those of the last moment are streamed at the end.
    (file,) = (tmp_path / "data/records").glob("*.records")
    content = await asyncio.to_thread(read, process)
    assert content == file.read_bytes()
    found = [one for one in frames("stream", content) if isinstance(one, Frame)]
    assert len(found) == 100
    with redis.Redis(port=process.port) as client:
        ((name, packed),) = client.hgetall(f"{KEY}.playbooks").items()
    publication = mutation_pb2.Publication.FromString(packed)
    compiled = compile_playbook({one.path: one.content for one in publication.request.files})
    assert compiled.plan is not None
    assert compiled.plan.hash.hex() == name.decode()
    playbooks = Playbooks(tmp_path, {compiled.plan.hash: compiled.plan})
    assert [one for one in replay(found, playbooks) if not one.equal] == []


async def test_a_redis_that_is_away_costs_only_the_stream(
    tmp_path: Path, start_redis: Start
) -> None:
    process = start_redis()
    settings = {"records__share": "1", "records__stream": process.url}
    async with running(SHOP, data__folder=tmp_path / "data", **settings) as address:
        await decided(address, 20)
        await asyncio.sleep(0.4)
        await asyncio.to_thread(process.kill)
        await decided(address, 20, 20)
        await asyncio.sleep(0.4)
        await asyncio.to_thread(process.start)
        await asyncio.sleep(2.5)
        await decided(address, 20, 40)
    files = Files(tmp_path / "data/records")
    assert len(list(files.decisions())) == 60
    assert files.damaged == []
    content = await asyncio.to_thread(read, process)
    people = {
        one.record.request.identity.id
        for one in frames("stream", content)
        if isinstance(one, Frame)
    }
    assert people >= {f"u{number}" for number in range(40, 60)}


def kept(process: Process) -> set[str]:
    """The hashes of the playbooks beside the stream."""
    with redis.Redis(port=process.port) as client:
        return {name.decode() for name in client.hkeys(f"{KEY}.playbooks")}


async def test_no_record_stands_there_without_its_playbook(
    tmp_path: Path, start_redis: Start
) -> None:
    process = start_redis()
    process.call("SET", f"{KEY}.playbooks", "in the way")
    settings = {"records__share": "1", "records__stream": process.url}
    async with running(SHOP, data__folder=tmp_path / "data", **settings) as address:
        await decided(address, 20)
        await asyncio.sleep(0.4)
        assert await asyncio.to_thread(read, process) == b""
        await asyncio.to_thread(process.call, "DEL", f"{KEY}.playbooks")
        await until_kept(process, address)
        # It comes back empty.
        await asyncio.to_thread(process.kill)
        await asyncio.to_thread(process.start)
        await until_kept(process, address)
        await decided(address, 20, 1_000)
    content = await asyncio.to_thread(read, process)
    found = [one for one in frames("stream", content) if isinstance(one, Frame)]
    people = {one.record.request.identity.id for one in found}
    assert people >= {f"u{number}" for number in range(1_000, 1_020)}
    assert {one.record.playbook.hex() for one in found} == await asyncio.to_thread(kept, process)


async def until_kept(process: Process, address: str) -> None:
    """Decide until there is a playbook beside the stream."""
    end_s = time.monotonic() + 30
    while not await asyncio.to_thread(kept, process):
        assert time.monotonic() < end_s
        await decided(address, 1)
        await asyncio.sleep(0.1)


async def test_a_playbook_that_comes_while_others_are_sent_is_sent(start_redis: Start) -> None:
    process = start_redis()
    stream = Stream(
        network(parse(process.url), BackendSettings()), StreamBounds(KEY, 50, 10_000_000, 5_000, 8)
    )
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 1)
    content, _ = taken(engine)
    task = asyncio.create_task(stream.run())
    stream.offer(content)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(process.call, "CLIENT", "PAUSE", "600", "ALL")
    stream.keep(mutation_pb2.Publication(hash=b"first"))
    stream.offer(content)
    await asyncio.sleep(0.3)
    stream.keep(mutation_pb2.Publication(hash=b"second"))
    stream.offer(content)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert stream.counts.entries == 3
    assert kept(process) == {b"first".hex(), b"second".hex()}


async def test_the_playbook_that_decides_is_there_after_many_others(
    tmp_path: Path, start_redis: Start
) -> None:
    """However long ago it was published, and though Redis comes back empty."""
    process = start_redis()
    bounds = StreamBounds(KEY, 50, 10_000_000, 1_000, 3)
    stream = Stream(network(parse(process.url), BackendSettings()), bounds)
    plan = plan_of(SHOP)
    engine = recording(plan)
    published = [mutation_pb2.Publication(hash=plan.hash)]
    sink = Sink(engine, tmp_path, 1 << 30, 3, lambda: published, stream)
    task = asyncio.create_task(sink.run())
    live(engine, plan, 1)
    await asyncio.sleep(0.3)
    for number in range(4):
        # Another one decides for a while; the catalogue forgets those of long ago.
        other = replace(plan, hash=b"%16d" % number)
        engine.publish(other)
        published[1:] = [*published[1:][-1:], mutation_pb2.Publication(hash=other.hash)]
        live(engine, plan, 1, number)
        await asyncio.sleep(0.3)
    engine.activate(1)
    live(engine, plan, 1, 9)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(process.kill)
    await asyncio.to_thread(process.start)
    end_s = time.monotonic() + 30
    seeds = count(10)
    while not await asyncio.to_thread(kept, process):
        assert time.monotonic() < end_s
        live(engine, plan, 1, next(seeds))
        await asyncio.sleep(0.3)
    assert plan.hash.hex() in await asyncio.to_thread(kept, process)
    assert len(await asyncio.to_thread(kept, process)) <= 3
    task.cancel()
    await asyncio.wait([task])


async def test_what_waits_is_bounded_and_what_is_lost_is_counted(start_redis: Start) -> None:
    process = start_redis()
    process.kill()
    made = network(parse(process.url), BackendSettings(connect_ms=200))
    stream = Stream(made, StreamBounds(KEY, 100, 50_000, 500, 8))
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 200)
    content, found = taken(engine)
    chunks = [content[one.offset : one.offset + 1_000] for one in found[:100]]
    for chunk in chunks:
        stream.offer(chunk)
        assert stream.counts.waiting_bytes <= 50_000
    assert stream.counts.lost_bytes == sum(map(len, chunks)) - stream.counts.waiting_bytes > 0
    task = asyncio.create_task(stream.run())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert stream.counts.waiting_bytes == 0
    assert stream.counts.lost_bytes == sum(map(len, chunks))


async def test_the_stream_is_trimmed(start_redis: Start) -> None:
    process = start_redis("stream-node-max-entries 10")
    made = network(parse(process.url), BackendSettings())
    stream = Stream(made, StreamBounds(KEY, 50, 10_000_000, 1_000, 8))
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 1)
    content, _ = taken(engine)
    task = asyncio.create_task(stream.run())
    for _ in range(300):
        stream.offer(content)
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])
    assert stream.counts.entries == 300
    assert 50 <= int(process.call("XLEN", KEY)) <= 60


def test_pieces_are_whole_records() -> None:
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 50)
    content, found = taken(engine)
    ends = {one.offset for one in found} | {len(content)}
    for most in (1, 1_000, 5_000, 10_000_000):
        parts = list(pieces(content, most))
        assert b"".join(parts) == content
        at = 0
        for part in parts:
            at += len(part)
            assert at in ends
        assert max(map(len, parts)) <= max(most, 5_000)


@pytest.mark.parametrize("setting", [("stream", "redis://h"), ("explored", "true")])
def test_what_records_nothing_without_a_share_is_refused(setting: tuple[str, str]) -> None:
    key, value = setting
    with pytest.raises(ConfigError) as refused:
        load(None, {}, {f"records.{key}": value})
    assert refused.value.faults == (f"records.share: '0', allowed: over 0, where {key} is set",)


@pytest.mark.parametrize(
    "place", ["memory:", "sqlite:/tmp/a", "redis://user:secret@/x", "http://a"]
)
def test_another_place_is_refused_without_its_password(place: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {}, {"records.stream": place})
    (fault,) = refused.value.faults
    assert fault.startswith("records.stream: ")
    assert "secret" not in fault
    # Of the log's places, those of a Redis.
    allowed = fault.partition("allowed: ")[2]
    assert not {"memory:", "sqlite:"} & set(allowed.replace(",", "").split())
