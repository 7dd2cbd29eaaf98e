"""The log on real Redis processes that are flushed, demoted, stopped, filled and killed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from nextbest.server.log import (
    LogAwayError,
    LogFullError,
    LogInfo,
    LogResetError,
    StaleEpochError,
    UnknownOutcomeError,
)
from nextbest.server.log.entry import frame
from nextbest.server.log.link import Command
from nextbest.server.log.log import LOGGED_QUEUE, REPLICATED_QUEUE
from nextbest.server.log.network import packed
from nextbest.server.log.redis import READ_COUNT_MAX, RedisLog
from nextbest.server.log.settings import BackendSettings

OPEN = frame(b"open")
DATA = frame(b"x" * 200)
Start = Callable[..., Any]
Make = Callable[..., RedisLog]


async def opened(log: RedisLog) -> str:
    branch = (await log.connect()).replication_id
    await log.open_epoch(1, OPEN, None, create=True)
    return branch


async def append(log: RedisLog, branch: str, epoch: int = 1, replicas: int = 0) -> int:
    queue = REPLICATED_QUEUE if replicas else LOGGED_QUEUE
    return await log.append(queue, epoch, branch, DATA, replicas)


async def stored(log: RedisLog) -> int:
    return (await log.size())[0]


def test_commands_are_packed_as_redis_py_packs_them() -> None:
    large, small = b"e" * 5_000, b"\r\n$"
    commands: list[Command] = [
        ("MULTI",),
        ("XADD", b"key", "NOMKSTREAM", "1-*", b"e", large),
        ("INFO", "replication"),
        ("EXEC",),
        # The next epoch, and then a word less.
        ("XADD", b"key", "NOMKSTREAM", "2-*", b"e", large),
        ("XADD", b"key", "2-*", b"e", large),
        ("XADD", b"key", "NOMKSTREAM", "2-*", b"e", small),
        ("WAIT", 1, 1_000),
        ("WAIT", 2, 1_000),
        ("SET", large, "\N{LATIN SMALL LETTER E WITH ACUTE}"),
    ]
    packer = redis.asyncio.Connection()
    # The second time some words are known.
    for _ in range(2):
        for some in (commands, commands[1:2], commands[4:6]):
            assert b"".join(packed(some)) == b"".join(packer.pack_commands(some))


async def test_a_flushed_stream_is_a_reset_not_a_new_one(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    await append(log, branch)
    server.call("FLUSHALL")
    with pytest.raises(LogResetError):
        await append(log, branch)
    assert server.call("EXISTS", "nextbest") == "0"
    with pytest.raises(LogResetError):
        await log.open_epoch(2, OPEN, None, create=False)


async def test_a_demoted_master_acknowledges_nothing(start_redis: Start, redis_log: Make) -> None:
    server, other = start_redis(), start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    server.call("REPLICAOF", "127.0.0.1", str(other.port))
    # The connection lives on, and the refusal is a definite one.
    with pytest.raises(LogAwayError, match="READONLY"):
        await append(log, branch)
    with pytest.raises(LogAwayError, match="role"):
        await log.connect()


async def test_a_writable_replica_acknowledges_nothing(start_redis: Start, redis_log: Make) -> None:
    server, other = start_redis("replica-read-only no"), start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    other.kill()
    server.call("REPLICAOF", "127.0.0.1", str(other.port))
    with pytest.raises(UnknownOutcomeError, match="slave") as unknown:
        await append(log, branch)
    assert unknown.value.new_epoch


async def test_a_master_demoted_and_promoted_again_is_another_branch(
    start_redis: Start, redis_log: Make
) -> None:
    server, other = start_redis(), start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    await append(log, branch)
    other.follow(server)
    other.call("REPLICAOF", "NO", "ONE")
    server.follow(other)
    server.call("REPLICAOF", "NO", "ONE")
    # The same connection, to a master as before: only the replication id tells.
    with pytest.raises(UnknownOutcomeError) as unknown:
        await append(log, branch)
    assert unknown.value.new_epoch
    found = await log.connect()
    assert found.replication_id != branch
    await log.open_epoch(2, OPEN, (1, 2), create=False)
    assert await append(log, found.replication_id, epoch=2) == 1


async def test_a_stale_writer_is_told_so_and_appends_nothing(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    first, second = redis_log(server.url), redis_log(server.url)
    branch = await opened(first)
    await second.connect()
    await second.open_epoch(2, OPEN, (1, 0), create=False)
    with pytest.raises(StaleEpochError):
        await append(first, branch, epoch=1)
    assert await stored(first) == 2


async def test_of_two_that_open_an_epoch_at_once_one_wins(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    logs = [redis_log(server.url) for _ in range(8)]
    await opened(logs[0])
    for log in logs[1:]:
        await log.connect()
    results = await asyncio.gather(
        *(log.open_epoch(2, OPEN, (1, 0), create=False) for log in logs), return_exceptions=True
    )
    assert sorted(result is None for result in results) == [False] * 7 + [True]
    assert await stored(logs[0]) == 2


async def test_replicas_are_waited_for(start_redis: Start, redis_log: Make) -> None:
    server, replica = start_redis(), start_redis()
    replica.follow(server)
    log = redis_log(server.url)
    branch = await opened(log)
    assert await append(log, branch, replicas=1) == 1
    assert replica.call("XLEN", "nextbest") == "2"


async def test_a_stopped_replica_makes_the_outcome_unknown(
    start_redis: Start, redis_log: Make
) -> None:
    server, replica = start_redis(), start_redis()
    replica.follow(server)
    log = redis_log(server.url)
    branch = await opened(log)
    replica.signal(signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(UnknownOutcomeError, match="0 of 1 replicas") as unknown:
        await append(log, branch, replicas=1)
    assert not unknown.value.new_epoch
    assert time.monotonic() - begin < 1
    # The entry stays, and the other queue does not wait behind it.
    assert await append(log, branch) == 2
    replica.signal(signal.SIGCONT)
    await patiently(lambda: append(log, branch, replicas=1))
    assert await stored(log) >= 4


async def test_logged_does_not_wait_behind_replicated(start_redis: Start, redis_log: Make) -> None:
    server, replica = start_redis(), start_redis()
    replica.follow(server)
    log = redis_log(server.url)
    branch = await opened(log)
    replica.signal(signal.SIGSTOP)
    waiting = asyncio.create_task(append(log, branch, replicas=1))
    await asyncio.sleep(0.02)
    begin = time.monotonic()
    await append(log, branch)
    assert time.monotonic() - begin < 0.1
    with pytest.raises(UnknownOutcomeError):
        await waiting


async def test_a_full_redis_refuses_and_recovers(start_redis: Start, redis_log: Make) -> None:
    server = start_redis("maxmemory-policy noeviction")
    log = redis_log(server.url)
    branch = await opened(log)
    server.call("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(LogFullError):
        await append(log, branch)
    with pytest.raises(LogFullError):
        await log.open_epoch(2, OPEN, (1, 0), create=False)
    # Reading goes on, and so does writing once there is room, over the same connections.
    assert await stored(log) == 1
    server.call("CONFIG", "SET", "maxmemory", "0")
    assert await append(log, branch) == 1


async def test_without_enough_replicas_redis_refuses(start_redis: Start, redis_log: Make) -> None:
    server = start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    server.call("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(LogAwayError, match="NOREPLICAS"):
        await append(log, branch)
    assert await stored(log) == 1
    server.call("CONFIG", "SET", "min-replicas-to-write", "0")
    assert await append(log, branch) == 1


async def test_a_redis_that_cannot_write_its_disk_counts_as_full(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    server.call("CONFIG", "SET", "save", "3600 1")
    blocking = server.folder / "dump.rdb"
    blocking.mkdir()
    server.call("BGSAVE")
    while "rdb_last_bgsave_status:err" not in server.call("INFO", "persistence"):
        await asyncio.sleep(0.02)
    with pytest.raises(LogFullError, match="MISCONF"):
        await append(log, branch)
    assert await stored(log) == 1
    blocking.rmdir()
    server.call("SAVE")
    assert await append(log, branch) == 1


async def test_a_user_without_transactions_is_told_what_is_known(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    # Without MULTI the append stands alone: it is done, but nothing shows where.
    server.call("ACL", "SETUSER", "default", "-multi")
    with pytest.raises(UnknownOutcomeError):
        await append(log, branch)
    assert await stored(log) == 2
    server.call("ACL", "SETUSER", "default", "-xadd")
    with pytest.raises(LogAwayError, match="NOPERM"):
        await append(log, branch)
    assert await stored(log) == 2


async def test_a_server_killed_during_an_append_leaves_it_unknown(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    server.signal(signal.SIGSTOP)
    appending = asyncio.create_task(append(log, branch))
    await asyncio.sleep(0.05)
    server.kill()
    with pytest.raises(UnknownOutcomeError):
        await appending
    # That connection is not used again; others find out by themselves.
    begin = time.monotonic()
    with pytest.raises(LogAwayError, match="not connected"):
        await append(log, branch)
    with pytest.raises(LogAwayError):
        await log.time_ms()
    with pytest.raises(LogAwayError):
        await log.connect()
    assert time.monotonic() - begin < 0.2


async def test_a_silent_server_ends_every_call_in_time(start_redis: Start, redis_log: Make) -> None:
    server = start_redis()
    settings = BackendSettings(timeout_ms=100, connect_ms=100)
    log = redis_log(server.url, settings)
    branch = await opened(log)
    server.signal(signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(UnknownOutcomeError, match="no answer in 100 ms"):
        await append(log, branch)
    with pytest.raises(LogAwayError):
        await log.last()
    with pytest.raises(LogAwayError):
        await log.read((0, 0), 50)
    assert time.monotonic() - begin < 0.6


async def test_a_cancelled_append_leaves_no_reply_for_the_next(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    server.signal(signal.SIGSTOP)
    appending = asyncio.create_task(append(log, branch))
    await asyncio.sleep(0.02)
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    server.signal(signal.SIGCONT)
    with pytest.raises(LogAwayError, match="not connected"):
        await append(log, branch)
    await log.connect()
    assert await append(log, branch) >= 1


async def test_a_lost_reply_is_not_retried(start_redis: Start, redis_log: Make) -> None:
    """The same as redis-py's default client, which appends twice and answers as if once."""
    server = start_redis()

    async def forward(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if losing and lose[0]:
                    lose[0] = False
                    break
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", server.port)
        writers.extend((writer, ours))
        await asyncio.gather(forward(reader, ours, False), forward(theirs, writer, True))

    lose = [False]
    writers: list[asyncio.StreamWriter] = []
    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    log = redis_log(f"redis://127.0.0.1:{port}")
    branch = await opened(log)
    lose[0] = True
    with pytest.raises(UnknownOutcomeError):
        await append(log, branch)
    await log.connect()
    assert await stored(log) == 2

    client = redis.asyncio.Redis(port=port)
    await client.xadd("theirs", {"e": b"1"})
    lose[0] = True
    await client.xadd("theirs", {"e": b"2"})
    assert await client.xlen("theirs") == 3
    await client.aclose()
    await log.close()
    proxy.close()
    await proxy.wait_closed()
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_reader_does_not_take_more_than_it_asked_for_room(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    log = redis_log(server.url)
    branch = await opened(log)
    for _ in range(2_100):
        await append(log, branch)
    counts = []
    after = (0, 0)
    while found := await log.read(after, 0):
        counts.append(len(found))
        after = found[-1][:2]
    assert sum(counts) == 2_101
    assert max(counts) == READ_COUNT_MAX
    assert len(counts) < 12


@pytest.fixture
async def full_log(start_redis: Start, redis_log: Make) -> tuple[Any, RedisLog]:
    """A server, and a client that has read nothing of more entries than one reply brings."""
    server = start_redis()
    log = redis_log(server.url)
    await opened(log)
    lines = "".join(f"XADD nextbest 1-{number} e {number}\n" for number in range(1, 2_500))
    server.call(lines=lines)
    return server, log


async def test_the_next_entries_are_asked_for_while_the_first_are_applied(
    full_log: tuple[Any, RedisLog],
) -> None:
    server, log = full_log
    after = (await log.read((0, 0), 0))[-1][:2]
    await asyncio.sleep(0.05)
    assert "cmdstat_xread:calls=2," in server.call("INFO", "commandstats")
    # That reply is the one that is given: one more is asked for, for the next time.
    assert (await log.read(after, 0))[0][:2] == (1, after[1] + 1)
    await asyncio.sleep(0.05)
    assert "cmdstat_xread:calls=3," in server.call("INFO", "commandstats")


async def test_what_was_read_ahead_is_not_given_for_another_place(
    full_log: tuple[Any, RedisLog],
) -> None:
    _, log = full_log
    await log.read((0, 0), 0)
    assert [record.sequence for record in await log.read((1, 2_490), 0)] == list(
        range(2_491, 2_500)
    )


async def test_a_log_is_read_from_where_it_ended_after_it_was_read_ahead(
    full_log: tuple[Any, RedisLog],
) -> None:
    server, log = full_log
    after, seen = (0, 0), 0
    while found := await log.read(after, 0):
        after, seen = found[-1][:2], seen + len(found)
    assert seen == 2_500
    waiting = asyncio.create_task(log.read(after, 5_000))
    await asyncio.sleep(0.02)
    server.call("XADD", "nextbest", "1-2500", "e", "last")
    assert [record.data for record in await waiting] == [b"last"]


async def test_a_log_that_is_closed_while_it_is_read_ahead_is_read_anew(
    full_log: tuple[Any, RedisLog],
) -> None:
    _, log = full_log
    first = list(await log.read((0, 0), 0))
    await log.close()
    await log.connect()
    assert list(await log.read((0, 0), 0))[: len(first)] == first


async def test_a_reply_is_parsed_while_the_garbage_collector_rests(
    full_log: tuple[Any, RedisLog],
) -> None:
    _, log = full_log
    after, seen = (0, 0), 0
    before, threshold = gc.get_stats()[0]["collections"], gc.get_threshold()
    gc.set_threshold(50)
    try:
        while found := await log.read(after, 0):
            after, seen = found[-1][:2], seen + len(found)
    finally:
        gc.set_threshold(*threshold)
    assert seen == 2_500
    # Each entry is made of three objects that would be counted.
    assert gc.get_stats()[0]["collections"] - before < 3 * seen / 50 / 2


async def test_what_others_put_into_the_stream_is_an_entry_without_bytes(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    log = redis_log(server.url)
    await opened(log)
    server.call("XADD", "nextbest", "1-*", "somebody", "else")
    assert [record.data for record in await log.read((1, 0), 0)] == [b""]


async def test_a_password_is_used_and_never_shown(start_redis: Start, redis_log: Make) -> None:
    server = start_redis("user writer on >s3cret ~* &* +@all", "user default off")
    log = redis_log(f"redis://writer:s3cret@127.0.0.1:{server.port}")
    await opened(log)
    assert "s3cret" not in log.place
    wrong = redis_log(f"redis://writer:wr0ng@127.0.0.1:{server.port}")
    with pytest.raises(LogAwayError) as away:
        await wrong.connect()
    assert "wr0ng" not in str(away.value)


async def test_the_check_names_what_one_redis_alone_cannot_keep(
    start_redis: Start, redis_log: Make
) -> None:
    server = start_redis()
    settings = BackendSettings(trust_build=False)
    refused = (await redis_log(server.url, settings).connect()).replicated_refused
    for reason in ("Redis hosts: 1", "Sentinels: 0", "appendonly: no", "min-replicas-to-write: 0"):
        assert reason in refused
    assert "CVE-2025-49844" in refused


@pytest.fixture
def watched(start_redis: Start) -> tuple[list[Any], list[Any], str]:
    """Three servers, the first the master, three Sentinels, and the place they make."""
    servers = [start_redis("appendonly yes", "min-replicas-to-write 1") for _ in range(3)]
    for server in servers[1:]:
        server.follow(servers[0])
    monitor = (
        f"sentinel monitor m 127.0.0.1 {servers[0].port} 2\n"
        "sentinel down-after-milliseconds m 500\nsentinel failover-timeout m 3000\n"
    )
    sentinels = [start_redis(sentinel=monitor) for _ in range(3)]
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    return servers, sentinels, f"sentinel://{hosts}/m"


async def allowed(log: RedisLog) -> LogInfo:
    """Connect until REPLICATED is allowed: when the Sentinels know of each other."""
    end = time.monotonic() + 15
    while True:
        try:
            found = await log.connect()
            if not found.replicated_refused:
                return found
            refused = found.replicated_refused
        except LogAwayError as away:
            refused = str(away)
        assert time.monotonic() < end, refused
        await asyncio.sleep(0.1)


async def patiently(call: Callable[[], Awaitable[Any]]) -> None:
    """Call until it is neither refused nor unknown."""
    end = time.monotonic() + 10
    while True:
        try:
            await call()
            return
        except (UnknownOutcomeError, LogAwayError):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_sentinels_name_the_master_and_the_check_passes(
    watched: tuple[list[Any], list[Any], str], redis_log: Make
) -> None:
    servers, sentinels, place = watched
    log = redis_log(place)
    found = await allowed(log)
    assert found.replicas == 1
    await log.open_epoch(1, OPEN, None, create=True)
    assert await append(log, found.replication_id, replicas=found.replicas) == 1

    # One host down is what REPLICATED is for; one that would be preferred is refused.
    servers[2].kill()
    sentinels[0].kill()
    assert (await log.connect()).replicated_refused == ""
    servers[1].call("CONFIG", "SET", "replica-priority", "10")
    assert "replica-priority: 10, 100" in (await log.connect()).replicated_refused


async def test_after_a_failover_what_was_replicated_is_there(
    watched: tuple[list[Any], list[Any], str], redis_log: Make
) -> None:
    servers, _, place = watched
    log = redis_log(place)
    before = await allowed(log)
    await log.open_epoch(1, OPEN, None, create=True)
    for _ in range(20):
        await append(log, before.replication_id, replicas=before.replicas)
    servers[0].kill()
    with pytest.raises(UnknownOutcomeError):
        await append(log, before.replication_id, replicas=before.replicas)
    after = await allowed(log)
    assert after.replication_id != before.replication_id
    last = await log.last()
    assert last is not None
    assert last[:2] == (1, 20)
    # The other replica takes a moment to follow the new master, which refuses until then.
    await patiently(lambda: log.open_epoch(2, OPEN, (1, 20), create=False))
    await patiently(lambda: append(log, after.replication_id, epoch=2, replicas=after.replicas))
    with pytest.raises(StaleEpochError):
        await append(log, before.replication_id, epoch=1)


async def test_a_sentinel_without_that_master_is_said(start_redis: Start, redis_log: Make) -> None:
    sentinel = start_redis(sentinel="sentinel resolve-hostnames no\n")
    log = redis_log(f"sentinel://127.0.0.1:{sentinel.port}/nobody")
    with pytest.raises(LogAwayError, match="knows no master nobody"):
        await log.connect()
