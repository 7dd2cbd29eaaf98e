"""The node on the backends that hold data: SQLite, and real Redis processes."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from nextbest.core.errors import LogAwayError, LogFailedError, WritesRefusedError
from nextbest.server.log.log import LogInUseError
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from nextbest.server.log.sqlite import SqliteLog
from tests.server.log.conftest import Process
from tests.server.log.member import APPLIED, LOGGED, Member, equal, eventually, following


async def gathered(calls: Iterable[Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*calls, return_exceptions=True)


def sqlite(folder: Path) -> SqliteLog:
    return SqliteLog(str(folder / "log.db"), BackendSettings())


async def test_a_restart_on_sqlite_continues_where_it_was(tmp_path: Path) -> None:
    member = Member(sqlite(tmp_path))
    async with following(member):
        answers = await asyncio.gather(*(member.write(f"e{number}") for number in range(500)))
        assert {answer.ack for answer in answers} == {LOGGED}
        # Group commit: what gathered while a commit ran shared the next one.
        assert len({answer.position.sequence for answer in answers}) < 100
        digest = member.engine.digest()
    again = Member(sqlite(tmp_path))
    async with following(again):
        assert again.engine.digest() == digest
        assert again.position.epoch == 2
        assert (await again.write("e1")).duplicate


async def test_a_second_process_on_the_file_does_not_start(tmp_path: Path) -> None:
    first = Member(sqlite(tmp_path))
    async with following(first):
        with pytest.raises(LogInUseError):
            await Member(sqlite(tmp_path)).start()


async def test_a_full_sqlite_file_refuses_writes_and_applied_ones_wait(tmp_path: Path) -> None:
    small = BackendSettings(file_bytes_max=1 << 20)
    member = Member(SqliteLog(str(tmp_path / "log.db"), small))
    async with following(member):
        for start in range(0, 20_000, 500):
            some = (member.track(f"{number:0>100}") for number in range(start, start + 500))
            # On a slow machine some are refused before it is full.
            await gathered(some)
            if member.node.state == "full":
                break
        await member.until("full")
        before = member.views()
        await member.track("e1", ack=APPLIED)
        assert member.views() == before + 1
        assert member.node.state == "full"


async def test_members_on_redis_converge(
    start_redis: Callable[..., Process], redis_log: Callable[..., RedisLog]
) -> None:
    url = start_redis().url
    a, b = Member(redis_log(url), "a"), Member(redis_log(url), "b")
    async with following(a, b):
        await asyncio.gather(*((a if n % 2 else b).write(f"e{n}") for n in range(200)))
        await equal(a, b)
        assert a.views() == b.views() == 200


async def test_a_tail_that_redis_lost_is_appended_again(
    start_redis: Callable[..., Process], redis_log: Callable[..., RedisLog]
) -> None:
    master, replica = start_redis(), start_redis()
    replica.follow(master)
    a, b = Member(redis_log(master.url), "a"), Member(redis_log(master.url), "b")
    async with following(a, b):
        for number in range(20):
            await a.write(f"kept{number}")
        await eventually(
            lambda: replica.call("XLEN", "nextbest") == master.call("XLEN", "nextbest")
        )
        await asyncio.to_thread(replica.call, "REPLICAOF", "NO", "ONE")
        for number in range(20):
            await b.write(f"lost{number}")
        await equal(a, b)
        # Demoted and promoted again, with the other's data.
        await asyncio.to_thread(master.follow, replica)
        await asyncio.to_thread(master.call, "REPLICAOF", "NO", "ONE")
        await eventually(lambda: b.node.status().divergences == 1)
        await a.until("following")
        await b.until("following")
        await equal(a, b)
        assert a.views() == b.views() == 40
    fresh = Member(redis_log(master.url), "c")
    async with following(fresh):
        assert fresh.views() == 40


async def test_a_redis_restarted_empty_is_found_and_started_anew_from_memory(
    start_redis: Callable[..., Process], redis_log: Callable[..., RedisLog]
) -> None:
    redis = start_redis()
    a, b = Member(redis_log(redis.url), "a"), Member(redis_log(redis.url), "b")
    async with following(a, b):
        for number in range(20):
            await a.write(f"e{number}")
        redis.kill()
        await a.until("away")
        redis.start()
        begun = time.monotonic()
        await a.until("reset")
        await b.until("reset")
        assert time.monotonic() - begun < 1.5
        with pytest.raises(WritesRefusedError):
            await a.track("no", ack=APPLIED)
        await a.node.reseed()
        await a.until("following")
        await b.until("following")
        await b.write("e20")
        await equal(a, b)
        assert a.views() == b.views() == 21


async def test_a_redis_that_hangs_is_not_waited_for(
    start_redis: Callable[..., Process], redis_log: Callable[..., RedisLog]
) -> None:
    redis = start_redis()
    member = Member(redis_log(redis.url))
    async with following(member):
        await member.write("e1")
        redis.signal(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(LogFailedError):
            await member.track("e2")
        assert time.monotonic() - begun < 0.1
        begun = time.monotonic()
        with pytest.raises(LogAwayError):
            await member.track("e3")
        assert time.monotonic() - begun < 0.05
        redis.signal(signal.SIGCONT)
        await member.until("following")
        await eventually(lambda: member.node.ahead == 0)
        assert (await member.write("e2")).duplicate
        assert member.views() == 2
