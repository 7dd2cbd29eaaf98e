"""What every backend of the log does alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nextbest.server.log import (
    EpochConflictError,
    Log,
    LogAwayError,
    LogResetError,
    Record,
    StaleEpochError,
    UnknownOutcomeError,
)
from nextbest.server.log.entry import frame
from nextbest.server.log.log import LOGGED_QUEUE, READ_BYTES_MAX
from nextbest.server.log.memory import MemoryLog, MemoryStore
from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from nextbest.server.log.sqlite import SqliteLog

OPEN = frame(b"open")


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    """A client of an empty log; not connected."""
    made: Log
    if request.param == "memory":
        made = MemoryLog(MemoryStore())
    elif request.param == "sqlite":
        made = SqliteLog(str(tmp_path / "log.db"), BackendSettings())
    else:
        settings = BackendSettings()
        place = parse(request.getfixturevalue("start_redis")().url)
        made = RedisLog(network(place, settings), settings)
    yield made
    await made.close()


async def opened(log: Log) -> str:
    """Connect and open epoch 1; the branch's id."""
    found = await log.connect()
    await log.open_epoch(1, OPEN, None, create=True)
    return found.replication_id


async def append(log: Log, branch: str, data: bytes, epoch: int = 1) -> int:
    return await log.append(LOGGED_QUEUE, epoch, branch, data, 0)


async def test_an_empty_log_says_so(log: Log) -> None:
    found = await log.connect()
    assert found.replication_id
    assert found.replicas == 0
    assert found.replicated_refused
    assert abs(found.time_ms - time.time() * 1_000) < 2_000
    assert abs(await log.time_ms() - time.time() * 1_000) < 2_000
    assert await log.last() is None
    assert await log.first() is None
    assert await log.entry(1, 0) is None
    assert list(await log.read((0, 0), 0)) == []


async def test_appends_get_dense_sequences_and_read_as_written(log: Log) -> None:
    branch = await opened(log)
    written = [OPEN, *(frame(bytes([n]) * (n * 100)) for n in range(1, 30))]
    assert [await append(log, branch, data) for data in written[1:]] == list(range(1, 30))
    read: list[Record] = []
    while found := await log.read(read[-1][:2] if read else (0, 0), 0):
        read += found
    assert read == [Record(1, sequence, data) for sequence, data in enumerate(written)]
    assert await log.first() == read[0]
    assert await log.last() == read[-1]
    assert await log.entry(1, 7) == read[7]
    assert await log.entry(1, 99) is None
    entries, size = await log.size()
    assert entries == 30
    assert size > 10_000


async def test_only_who_may_create_a_log_makes_one(log: Log) -> None:
    branch = (await log.connect()).replication_id
    with pytest.raises(LogResetError):
        await append(log, branch, frame(b"lost"))
    with pytest.raises(LogResetError):
        await log.open_epoch(1, OPEN, None, create=False)
    assert await log.last() is None


async def test_an_epoch_opens_only_behind_the_expected_entry(log: Log) -> None:
    branch = await opened(log)
    with pytest.raises(EpochConflictError) as conflict:
        await log.open_epoch(2, OPEN, None, create=True)
    assert conflict.value.seen == (1, 0)
    await append(log, branch, frame(b"later"))
    with pytest.raises(EpochConflictError):
        await log.open_epoch(2, OPEN, (1, 0), create=False)
    with pytest.raises(StaleEpochError):
        await log.open_epoch(1, OPEN, (1, 1), create=False)
    await log.open_epoch(2, OPEN, (1, 1), create=False)
    assert await log.last() == Record(2, 0, OPEN)


async def test_an_older_epoch_is_fenced_off(log: Log) -> None:
    branch = await opened(log)
    await log.open_epoch(2, OPEN, (1, 0), create=False)
    with pytest.raises(StaleEpochError):
        await append(log, branch, frame(b"stale"), epoch=1)
    assert await log.last() == Record(2, 0, OPEN)
    assert await append(log, branch, frame(b"new"), epoch=2) == 1


async def test_an_epoch_that_was_never_opened_here_is_not_acknowledged(log: Log) -> None:
    branch = await opened(log)
    with pytest.raises(UnknownOutcomeError) as unknown:
        await append(log, branch, frame(b"no open"), epoch=7)
    assert unknown.value.new_epoch


async def test_another_branch_is_not_acknowledged(log: Log) -> None:
    await opened(log)
    with pytest.raises(UnknownOutcomeError) as unknown:
        await append(log, "0" * 40, frame(b"elsewhere"))
    assert unknown.value.new_epoch


async def test_reading_waits_for_the_next_entry(log: Log) -> None:
    branch = await opened(log)
    begin = time.monotonic()
    assert list(await log.read((1, 0), 50)) == []
    assert time.monotonic() - begin >= 0.045
    waiting = asyncio.ensure_future(log.read((1, 0), 5_000))
    await asyncio.sleep(0.02)
    await append(log, branch, frame(b"next"))
    found = await asyncio.wait_for(waiting, 2)
    assert [record.sequence for record in found] == [1]


async def test_one_read_is_bounded_in_bytes(log: Log) -> None:
    branch = await opened(log)
    data = frame(b"x" * (1 << 20))
    for _ in range(44):
        await append(log, branch, data)
    sizes = []
    after = (0, 0)
    while found := await log.read(after, 0):
        after = found[-1][:2]
        sizes.append(sum(len(record.data) for record in found))
    assert sum(sizes) > 44 << 20
    # Redis bounds by count only: its first reply is of more than the usual size.
    assert max(sizes[1:]) <= READ_BYTES_MAX
    assert max(sizes) <= 33 << 20


async def test_trimming_keeps_the_entry_itself(log: Log) -> None:
    branch = await opened(log)
    for number in range(300):
        await append(log, branch, frame(b"%d" % number))
    await log.trim((1, 280))
    first = await log.first()
    assert first is not None
    assert first[:2] == (1, 280)
    assert (await log.size())[0] == 21
    assert await log.entry(1, 279) is None
    await log.trim((1, 100))
    assert (await log.size())[0] == 21
    assert await append(log, branch, frame(b"after")) == 301


async def test_connecting_again_goes_on_behind_the_last_entry(log: Log) -> None:
    branch = await opened(log)
    await append(log, branch, frame(b"one"))
    found = await log.connect()
    await log.open_epoch(2, OPEN, (1, 1), create=False)
    assert await append(log, found.replication_id, frame(b"two"), epoch=2) == 1
    assert [record[:2] for record in await log.read((0, 0), 0)] == [(1, 0), (1, 1), (2, 0), (2, 1)]


async def test_a_log_that_is_not_connected_is_away(log: Log) -> None:
    if isinstance(log, MemoryLog):
        pytest.skip("memory is always there")
    for call in (
        log.last(),
        log.read((0, 0), 0),
        log.size(),
        log.append(LOGGED_QUEUE, 1, "", OPEN, 0),
    ):
        with pytest.raises(LogAwayError):
            await call
