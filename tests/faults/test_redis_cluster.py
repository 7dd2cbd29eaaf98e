"""The surroundings themselves: real Redis servers and Sentinels, namespaces, and the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis
from hiredis import ReplyError
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.conftest import needs_redis
from tests.faults.netns import Network
from tests.faults.processes import FaultError, Processes, free_port
from tests.faults.proxy import Proxy
from tests.faults.redis_cluster import RedisCluster, Settings

needs_network = pytest.mark.skipif(bool(Network.unavailable()), reason=Network.unavailable())


@contextlib.asynccontextmanager
async def single(processes: Processes) -> AsyncIterator[RedisCluster]:
    """One server without Sentinels."""
    cluster = RedisCluster(
        processes, Settings(hosts=1, sentinels=(), more={"min-replicas-to-write": "0"})
    )
    await cluster.start()
    yield cluster


@needs_redis
@needs_network
async def test_a_split_promotes_on_the_side_of_the_sentinels(processes: Processes) -> None:
    with Network(["r1", "r2", "r3"]) as network:
        cluster = RedisCluster(processes, network=network)
        await cluster.start()
        old = cluster.master()
        assert old is not None
        network.split(["r1"])
        new = await cluster.failed_over(old)
        # Both believe to be the master, until the network is whole again.
        assert old.role() == new.role() == "master"
        await asyncio.sleep(1.5)
        with pytest.raises(ReplyError, match="NOREPLICAS"):
            old.run("SET", "key", "value")
        network.heal()


@needs_redis
async def test_a_server_can_be_paused_filled_and_wiped(processes: Processes) -> None:
    async with single(processes) as cluster:
        server = cluster.servers[0]
        server.process.pause()
        assert not server.answers()
        server.process.resume()
        server.set("maxmemory", 1)
        with pytest.raises(ReplyError, match="maxmemory"):
            server.run("SET", "key", "value")
        server.set("maxmemory", 0)
        server.run("SET", "key", "value")
        server.process.kill()
        with pytest.raises(OSError, match="refused"):
            server.run("PING")
        await cluster.start()
        assert server.run("GET", "key") == "value"
        server.process.kill()
        server.wipe_disk()
        await cluster.start()
        assert server.run("DBSIZE") == 0


@needs_redis
async def test_the_proxy_delays_drops_replies_and_goes_silent(processes: Processes) -> None:
    async with single(processes) as cluster, Proxy(*cluster.servers[0].address) as proxy:

        def set_key(value: str) -> float:
            started = time.monotonic()
            with contextlib.closing(
                redis.Redis(port=proxy.port, socket_timeout=0.5, retry=Retry(NoBackoff(), 0))
            ) as client:
                client.set("key", value)
            return time.monotonic() - started

        assert await asyncio.to_thread(set_key, "prompt") < 0.1
        proxy.delay_s = 0.1
        assert await asyncio.to_thread(set_key, "late") >= 0.1
        proxy.delay_s = 0.0
        proxy.drop_replies = True
        with pytest.raises(redis.exceptions.TimeoutError):
            await asyncio.to_thread(set_key, "unheard")
        # The commands that introduce a client are answered first, so nothing else was sent.
        proxy.drop_replies = False
        proxy.silent = True
        with pytest.raises(redis.exceptions.TimeoutError):
            await asyncio.to_thread(set_key, "silent")
        proxy.silent = False
        await asyncio.to_thread(set_key, "again")
        assert cluster.servers[0].run("GET", "key") == "again"


def test_processes_end_with_the_block_and_with_their_driver(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        sleeper = processes.add("sleeper", ["sleep", "600"])
        sleeper.start()
        sleeper.pause()
        assert sleeper.alive
    assert not sleeper.alive
    program = (
        "import pathlib, sys, time\n"
        "from tests.faults.processes import Processes\n"
        f"processes = Processes(pathlib.Path({str(tmp_path)!r}))\n"
        "child = processes.add('orphan', ['sleep', '600'])\n"
        "child.start()\n"
        "sys.stdout.write(f'{child.pid}\\n')\n"
        "sys.stdout.flush()\n"
        "time.sleep(600)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    orphan = int(driver.stdout.readline())
    # Before that it is still `setpriv`, which may not have asked for the signal yet.
    comm = Path(f"/proc/{orphan}/comm")
    assert _soon(lambda: comm.read_text() == "sleep\n")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    assert _soon(lambda: not _runs(orphan))


def test_what_never_started_says_so(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes, pytest.raises(FaultError, match="never started"):
        processes.add("idle", ["true"]).pause()
    assert free_port() > 0


def _soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
