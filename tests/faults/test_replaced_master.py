"""A master that was replaced while it stood still: who is connected to it must not trust it."""

from __future__ import annotations

import time

from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from tests.faults import redis_cluster
from tests.faults.conftest import needs_redis
from tests.faults.processes import Processes
from tests.faults.redis_cluster import RedisCluster

WAIT_S = 30.0


async def stays(log: RedisLog, expected: bool | None) -> None:
    """Ask until the answer is that one."""
    end_s = time.monotonic() + WAIT_S
    while (seen := await log.stays()) is not expected:
        assert time.monotonic() < end_s, seen


@needs_redis
async def test_the_sentinels_say_whether_a_master_stays(processes: Processes) -> None:
    cluster = RedisCluster(processes)
    await cluster.start()
    settings = BackendSettings()
    log = RedisLog(network(parse(cluster.url), settings), settings)
    assert await log.stays() is None
    await log.connect()
    try:
        await stays(log, True)
        old = cluster.master()
        assert old is not None
        old.process.pause()
        await cluster.failed_over(old)
        # The connection to the old one is as open as before.
        await stays(log, False)
        old.process.resume()
        await log.connect()
        await stays(log, True)
        for sentinel in cluster.sentinels[:2]:
            sentinel.process.kill()
        assert await log.stays() is None
    finally:
        await log.close()


@needs_redis
async def test_without_sentinels_nobody_replaces_a_master(processes: Processes) -> None:
    cluster = RedisCluster(processes, redis_cluster.Settings(hosts=1, sentinels=()))
    await cluster.start()
    settings = BackendSettings()
    log = RedisLog(network(parse(cluster.url), settings), settings)
    assert await log.stays() is True
