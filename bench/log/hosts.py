"""Redis for a run: real servers on free loopback ports, ended afterwards."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .cores import CORE_SERVERS

START_S_MAX = 20.0
LOOK_S = 0.05
HOSTS = 3
QUORUM = 2
NAME = "nextbest"


class Redis(NamedTuple):
    """One server."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """As for --log."""
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *command: str) -> str:
        """What it answers to a command."""
        line = ["redis-cli", "-p", str(self.port), *command]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def require() -> str:
    """The version of redis-server."""
    for name in ("redis-server", "redis-sentinel", "redis-benchmark", "redis-cli"):
        if shutil.which(name) is None:
            raise SystemExit(f"{name} not found: install Debian's redis and redis-sentinel")
    line = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"v=(\S+)", line.stdout)
    return found[1] if found else line.stdout


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def redis(folder: Path, *more: str) -> Iterator[Redis]:
    """A server on the servers' core, in a folder of its own, with an append-only file."""
    port = free_port()
    where = folder / f"redis-{port}"
    where.mkdir()
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"dir {where}",
        'save ""',
        "appendonly yes",
        # A child that rewrites the file of one run would take its core from the next.
        "auto-aof-rewrite-percentage 0",
        "maxmemory-policy noeviction",
        *more,
    ]
    with _server("redis-server", where, lines, port) as found:
        yield found


@contextlib.contextmanager
def sentinels(folder: Path) -> Iterator[str]:
    """A master, two replicas and a Sentinel beside each; what --log takes."""
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(redis(folder, "min-replicas-to-write 1"))
        follow = (f"replicaof 127.0.0.1 {master.port}", "min-replicas-to-write 1")
        for _ in range(HOSTS - 1):
            stack.enter_context(redis(folder, *follow))
        wait(lambda: master.ask("INFO", "replication").count("state=online") == HOSTS - 1)
        found = [stack.enter_context(_sentinel(folder, master)) for _ in range(HOSTS)]
        for one in found:
            wait(lambda one=one: _knows(one))  # type: ignore[misc]
        yield f"sentinel://{','.join(f'127.0.0.1:{one.port}' for one in found)}/{NAME}"


def wait(holds: Callable[[], bool]) -> None:
    """Until something holds; ends the run when it does not in time."""
    deadline_s = time.monotonic() + START_S_MAX
    while not holds():
        if time.monotonic() > deadline_s:
            raise SystemExit("Redis did not start in time")
        time.sleep(LOOK_S)


@contextlib.contextmanager
def _sentinel(folder: Path, master: Redis) -> Iterator[Redis]:
    port = free_port()
    where = folder / f"sentinel-{port}"
    where.mkdir()
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"dir {where}",
        f"sentinel monitor {NAME} 127.0.0.1 {master.port} {QUORUM}",
    ]
    with _server("redis-sentinel", where, lines, port) as found:
        yield found


def _knows(sentinel: Redis) -> bool:
    """Whether it has found both replicas and both other Sentinels."""
    told = sentinel.ask("SENTINEL", "MASTER", NAME).splitlines()
    facts = dict(zip(told[::2], told[1::2], strict=True))
    return facts.get("num-slaves") == str(HOSTS - 1) == facts.get("num-other-sentinels")


@contextlib.contextmanager
def _server(program: str, where: Path, lines: list[str], port: int) -> Iterator[Redis]:
    file = where / "server.conf"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["taskset", "-c", str(CORE_SERVERS), program, str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # taskset has become the server: the id is still the same.
    found = Redis(port, process.pid)
    try:
        wait(lambda: _answers(found))
        yield found
    finally:
        process.kill()
        process.wait()


def _answers(server: Redis) -> bool:
    with contextlib.suppress(subprocess.CalledProcessError):
        return server.ask("PING") == "PONG"
    return False
