"""Real Redis servers with Sentinels, to be killed, paused, split, wiped and filled.

Administration goes over unix sockets, which no network fault touches.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import hiredis
from hiredis import ReplyError

from tests.faults.netns import Network
from tests.faults.processes import FaultError, Process, Processes, free_port, until

MASTER_NAME: Final = "nextbest"
READY_S: Final = 20.0
DOWN_AFTER_MS: Final = 1_000
FAILOVER_TIMEOUT_MS: Final = 5_000
_COMMAND_S: Final = 2.0
_POLL_S: Final = 0.05
_AWAY: Final = (ReplyError, OSError)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the servers are set up; the defaults pass the node's own examination."""

    hosts: int = 3
    # The hosts that also have a Sentinel; by default each.
    sentinels: Sequence[int] | None = None
    quorum: int = 2
    more: dict[str, str] = field(default_factory=dict)


class Server:
    """One `redis-server` or `redis-sentinel`."""

    def __init__(self, process: Process, folder: Path, address: tuple[str, int]) -> None:
        self.process = process
        self.folder = folder
        self.address = address

    @property
    def name(self) -> str:
        """Such as "redis2"."""
        return self.process.name

    def run(self, *command: str | int, timeout_s: float = _COMMAND_S) -> Any:
        """Run one command over a connection of its own; raises ReplyError and OSError."""
        reader = hiredis.Reader(encoding="utf-8")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(self.folder / "socket"))
            connection.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
            while (reply := reader.gets()) is False:
                data = connection.recv(65_536)
                if not data:
                    raise ConnectionError(f"{self.name}: closed the connection")
                reader.feed(data)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def answers(self) -> bool:
        """Whether it runs and has loaded its data."""
        try:
            return bool(self.process.alive and self.run("PING", timeout_s=0.2))
        except _AWAY:
            return False

    def role(self) -> str:
        """ "master", "slave" or "sentinel"; empty when it does not answer."""
        try:
            return str(self.run("ROLE")[0])
        except _AWAY:
            return ""

    def info(self, section: str) -> dict[str, str]:
        """What INFO says of a section."""
        lines = (line.partition(":") for line in self.run("INFO", section).splitlines())
        return {name: value for name, colon, value in lines if colon}

    def set(self, name: str, value: str | int) -> None:
        """CONFIG SET."""
        self.run("CONFIG", "SET", name, value)

    def wipe_disk(self) -> None:
        """Delete what it keeps on disk; it must not run."""
        if self.process.alive:
            raise FaultError(f"{self.name}: runs, its files are in use")
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix in {".rdb", ".aof"}:
                path.unlink()


class RedisCluster:
    """One master, its replicas, and Sentinels on the same hosts; each in a folder of its own."""

    def __init__(
        self,
        processes: Processes,
        settings: Settings | None = None,
        network: Network | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._processes = processes
        self._network = network
        self.hosts = [f"r{number}" for number in range(1, self._settings.hosts + 1)]
        self._first = self._address(0, 6379)
        self.servers = [self._server(number) for number in range(self._settings.hosts)]
        placed = self._settings.sentinels
        self.sentinels = [
            self._sentinel(number, host)
            for number, host in enumerate(range(self._settings.hosts) if placed is None else placed)
        ]

    @property
    def url(self) -> str:
        """What `--log` takes."""
        if not self.sentinels:
            host, port = self.servers[0].address
            return f"redis://{host}:{port}"
        addresses = ",".join(f"{host}:{port}" for host, port in (s.address for s in self.sentinels))
        return f"sentinel://{addresses}/{MASTER_NAME}"

    async def start(self) -> None:
        """Start what does not run, and wait until a failover would succeed."""
        for server in self.servers:
            if not server.process.alive:
                server.process.start()
        await _until(self._replicating, READY_S, "replicas follow the master")
        for sentinel in self.sentinels:
            if not sentinel.process.alive:
                sentinel.process.start()
        if self.sentinels:
            await _until(self._agreed, READY_S, "Sentinels know all servers and each other")

    def master(self) -> Server | None:
        """The master that most Sentinels name; without Sentinels, the first server."""
        if not self.sentinels:
            return self.servers[0]
        votes = [vote for vote in map(self._named, self.sentinels) if vote]
        most = max(votes, key=votes.count, default=None)
        return next((one for one in self.servers if one.address == most), None)

    def replicas(self) -> list[Server]:
        """All servers but the master."""
        master = self.master()
        return [one for one in self.servers if one is not master]

    async def failed_over(self, old: Server, timeout_s: float = 30.0) -> Server:
        """Wait until another one is the master and says so itself; returns it."""

        def promoted() -> Server | None:
            master = self.master()
            return master if master and master is not old and master.role() == "master" else None

        found = await _until(promoted, timeout_s, "a replica is promoted")
        assert found is not None
        return found

    async def whole(self, timeout_s: float = 30.0) -> None:
        """Wait until all servers that run follow one master."""
        await _until(self._whole, timeout_s, "all servers follow one master")

    def _replicating(self) -> bool:
        if not all(one.answers() for one in self.servers):
            return False
        count = int(self.servers[0].info("replication")["connected_slaves"])
        return count == len(self.servers) - 1

    def _whole(self) -> bool:
        master = self.master()
        if master is None or master.role() != "master":
            return False
        others = [one for one in self.servers if one is not master and one.process.alive]
        return all(_follows(one, master) for one in others)

    def _agreed(self) -> bool:
        return all(map(self._knows_all, self.sentinels))

    def _knows_all(self, sentinel: Server) -> bool:
        try:
            flat = sentinel.run("SENTINEL", "MASTER", MASTER_NAME)
        except _AWAY:
            return False
        state = dict(zip(flat[::2], flat[1::2], strict=True))
        return (
            int(state["num-slaves"]) == len(self.servers) - 1
            and int(state["num-other-sentinels"]) == len(self.sentinels) - 1
            and state["flags"] == "master"
        )

    def _named(self, sentinel: Server) -> tuple[str, int] | None:
        try:
            named = sentinel.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME, timeout_s=0.5)
        except _AWAY:
            return None
        return (str(named[0]), int(named[1])) if named else None

    def _server(self, number: int) -> Server:
        address = self._address(number, 6379) if number else self._first
        lines = {
            **_SERVER,
            "port": str(address[1]),
            "bind": address[0],
            **({"replicaof": "{} {}".format(*self._first)} if number else {}),
            **self._settings.more,
        }
        return self._made("redis-server", f"redis{number + 1}", number, address, lines)

    def _sentinel(self, number: int, host: int) -> Server:
        address = self._address(host, 26379 + number)
        first = self._first
        lines = {
            "port": str(address[1]),
            "bind": address[0],
            "protected-mode": "no",
            "sentinel monitor": f"{MASTER_NAME} {first[0]} {first[1]} {self._settings.quorum}",
            "sentinel down-after-milliseconds": f"{MASTER_NAME} {DOWN_AFTER_MS}",
            "sentinel failover-timeout": f"{MASTER_NAME} {FAILOVER_TIMEOUT_MS}",
        }
        return self._made("redis-sentinel", f"sentinel{number + 1}", host, address, lines)

    def _address(self, host: int, port: int) -> tuple[str, int]:
        """A namespace has all ports to itself; on loopback a free one is taken."""
        if self._network:
            return self._network.address(self.hosts[host]), port
        return "127.0.0.1", free_port()

    def _made(
        self, program: str, name: str, host: int, address: tuple[str, int], lines: dict[str, str]
    ) -> Server:
        folder = self._processes.folder / name
        folder.mkdir()
        lines |= {"dir": str(folder), "unixsocket": str(folder / "socket")}
        file = folder / f"{program}.conf"
        file.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        enter = self._network.enter(self.hosts[host]) if self._network else []
        return Server(self._processes.add(name, [program, str(file)], enter), folder, address)


_SERVER: Final = {
    "protected-mode": "no",
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "min-replicas-to-write": "1",
    "min-replicas-max-lag": "1",
    "replica-priority": "100",
    "repl-diskless-sync-delay": "0",
}


def _follows(server: Server, master: Server) -> bool:
    try:
        found = server.info("replication")
    except _AWAY:
        return False
    at = (str(found.get("master_host")), int(found.get("master_port", 0)))
    return found["role"] == "slave" and at == master.address and found["master_link_status"] == "up"


async def _until(found: Callable[[], T], timeout_s: float, what: str) -> T:
    """Ask in a thread: a server that is paused answers late, and calls go on meanwhile."""

    async def asked() -> T:
        return await asyncio.to_thread(found)

    return await until(asked, timeout_s, what, _POLL_S)


def unavailable() -> str:
    """Why there can be no cluster here; empty when there can."""
    missing = [one for one in ("redis-server", "redis-sentinel") if not shutil.which(one)]
    return f"not installed: {', '.join(missing)}" if missing else ""
