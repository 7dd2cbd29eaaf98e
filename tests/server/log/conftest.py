"""Real Redis and Sentinel processes on free loopback ports, and a disk that fails."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings

START_SECONDS_MAX = 10
SETTINGS = BackendSettings(
    connect_ms=1_000, timeout_ms=1_000, wait_ms=300, trust_build=True, hosts_by_port=True
)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return _free_port()


class Process:
    """A redis-server, or a Sentinel, of this test."""

    def __init__(self, folder: Path, *settings: str, sentinel: str = "") -> None:
        self.port = _free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir(parents=True)
        self.file = self.folder / "redis.conf"
        written = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", *settings]
        self.file.write_text("\n".join(written) + "\n" + sentinel)
        self._sentinel = bool(sentinel)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = ["redis-server", str(self.file), *(["--sentinel"] if self._sentinel else [])]
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        end = time.monotonic() + START_SECONDS_MAX
        # It may want a password first.
        while not self.call("PING").startswith(("PONG", "NOAUTH")):
            assert self.process.poll() is None, (self.folder / "output").read_text()
            assert time.monotonic() < end, "redis-server did not start in time"
            time.sleep(0.01)

    def call(self, *words: str, lines: str = "") -> str:
        """What redis-cli prints for a command, or for lines of them on one connection."""
        command = ["redis-cli", "-p", str(self.port), *words]
        done = subprocess.run(
            command, input=lines, capture_output=True, text=True, timeout=10, check=False
        )
        return done.stdout.strip()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def follow(self, master: Process) -> None:
        """Become a replica and wait until the master has heard that it has everything."""
        self.call("REPLICAOF", "127.0.0.1", str(master.port))
        end = time.monotonic() + START_SECONDS_MAX
        # WAIT counts a replica only from its first acknowledgement on, and asks for one.
        heard = re.compile(rf"port={self.port},state=online,offset=[1-9]")
        while not heard.search(master.call("INFO", "replication")):
            assert time.monotonic() < end, "the replica did not connect in time"
            master.call(lines="PUBLISH probe 1\nWAIT 100 20\n")


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts servers: `start_redis("maxmemory 8mb")`."""
    if not shutil.which("redis-server") or not shutil.which("redis-cli"):
        pytest.skip("no redis-server (Debian: redis-server): install it to run these tests")
    started: list[Process] = []

    def start(*settings: str, sentinel: str = "") -> Process:
        # Without a dump by default: tests say what persists.
        given = settings if sentinel else ('save ""', "repl-diskless-sync-delay 0", *settings)
        process = Process(tmp_path, *given, sentinel=sentinel)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.signal(signal.SIGCONT)
        process.kill()


@pytest.fixture
async def redis_log() -> AsyncIterator[Callable[..., RedisLog]]:
    """Makes clients of a place: `redis_log(process.url, wait_ms=100)`."""
    made: list[RedisLog] = []

    def make(url: str, settings: BackendSettings = SETTINGS) -> RedisLog:
        made.append(RedisLog(network(parse(url), settings), settings))
        return made[-1]

    yield make
    for log in made:
        await log.close()
    # Aborted transports let go of their sockets in the loop's next round.
    await asyncio.sleep(0)


@dataclass
class Thin:
    """A file system of 32 MiB that promises more than the disk under it has: fsync fails."""

    folder: Path
    below: Path
    device: str = ""

    def run(self, *words: str) -> str:
        done = subprocess.run([*words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def make(self) -> None:
        for folder in (self.folder, self.below):
            folder.mkdir()
        self.run("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(self.below))
        with (self.below / "image").open("wb") as image:
            image.truncate(32 << 20)
        self.run("mkfs.ext2", "-q", str(self.below / "image"))
        self.attach()

    def attach(self) -> None:
        self.device = self.run("losetup", "-f", "--show", str(self.below / "image"))
        self.run("mount", "-o", "errors=continue", self.device, str(self.folder))

    def detach(self) -> None:
        self.run("umount", str(self.folder))
        self.run("losetup", "-d", self.device)
        self.device = ""

    def grow(self) -> None:
        self.run("mount", "-o", "remount,size=64m", str(self.below))

    def remove(self) -> None:
        if self.device:
            subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)
            subprocess.run(["losetup", "-d", self.device], check=False, capture_output=True)
        subprocess.run(["umount", str(self.below)], check=False, capture_output=True)


@pytest.fixture
def thin_disk(tmp_path: Path) -> Iterator[Thin]:
    """A disk whose writes fail when they are synced, until it grows."""
    thin = Thin(tmp_path / "folder", tmp_path / "below")
    try:
        thin.make()
    except (OSError, subprocess.CalledProcessError) as error:
        thin.remove()
        pytest.skip(f"a loop device on a small file system takes root, losetup and ext2: {error}")
    yield thin
    thin.remove()
