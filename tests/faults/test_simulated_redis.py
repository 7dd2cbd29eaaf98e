"""The simulated Redis answers as redis-server 7.0 does: the same commands to both."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.simulator.commands import Connection, ErrorReply
from tests.faults.simulator.loop import Loop
from tests.faults.simulator.redis import Server
from tests.faults.simulator.wires import Wires

KEY, OTHER = b"log", b"other"
PROGRAMS = 60
COMMANDS_MAX = 40


class Real:
    """A connection to a real server that gives replies as they are."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.file = self.socket.makefile("rb")

    def send(self, *commands: tuple[object, ...]) -> None:
        out = []
        for command in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
            out.append(b"*%d\r\n" % len(words))
            out += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(out))

    def run(self, *commands: tuple[object, ...]) -> list[Any]:
        self.send(*commands)
        return [self.reply() for _ in commands]

    def reply(self) -> Any:
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            return ErrorReply(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2]
        return [self.reply() for _ in range(int(rest))]

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Simulated:
    """The same on a simulated server: answers once the loop has nothing more to do."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answered: list[list[Any]] = []
        self.closed = False
        self.connection: Connection = server.accept(self.answered.append, self._close)

    def _close(self) -> None:
        self.closed = True

    def send(self, *commands: tuple[object, ...]) -> None:
        self.connection.receive(commands)

    def run(self, *commands: tuple[object, ...]) -> list[Any]:
        self.send(*commands)
        return self.reply()

    def reply(self) -> list[Any]:
        advance(self.server.loop, 0.3)
        return self.answered.pop(0)

    def close(self) -> None:
        self.connection.leave()


def advance(loop: Loop, seconds: float) -> None:
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


def simulated_server(seed: int = 1) -> Server:
    server = Server(Wires(Loop(seed)), "h1")
    server.min_replicas = 0
    server.servers = {server.address: server}
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_redis(folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(200):
        try:
            Real(port).close()
            return process, port
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise TimeoutError(f"redis-server on {port}")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    process, port = start_redis(tmp_path_factory.mktemp("redis"))
    yield port
    process.kill()
    process.wait()


def an_id(random: Random) -> str:
    ms = random.choice(["0", "1", "2", "3", "4"])
    return random.choice([f"{ms}-*", f"{ms}-*", f"{ms}-*", ms, f"{ms}-{random.randrange(6)}", "x"])


def a_bound(random: Random) -> str:
    plain = random.choice(["-", "+", "1", "2", f"1-{random.randrange(5)}", "3-1", "y"])
    return "(" + plain if plain[0].isdigit() and random.random() < 0.3 else plain


def a_command(random: Random) -> tuple[object, ...]:
    key = random.choice([KEY, KEY, KEY, OTHER])
    kind = random.randrange(18)
    value = bytes(random.randrange(256) for _ in range(5))
    if kind < 5:
        option = random.choice([(), ("NOMKSTREAM",), ("NOMKSTREAM", "MINID", "=", "1-1")])
        extra = random.choice([(), (), (), ("odd",)])
        return ("XADD", key, *option, an_id(random), "e", value, *extra)
    count = random.choice([(), ("COUNT", random.randrange(4)), ("COUNT", "z"), ("LIMIT", 1)])
    made: list[tuple[object, ...]] = [
        ("XRANGE", key, a_bound(random), a_bound(random), *count),
        ("XREVRANGE", key, a_bound(random), a_bound(random), *count),
        ("XREAD", "COUNT", random.randrange(5), "STREAMS", key, random.choice(["0", "1-1", "$"])),
        ("XTRIM", key, "MINID", random.choice(["1-1", "2", "= 1"]), *random.choice([(), ("u",)])),
        ("XTRIM", key, "MINID", random.choice("=~"), random.choice(["1-2", "3-0"])),
        ("XLEN", key),
        ("EXISTS", KEY, OTHER),
        ("TYPE", key),
        ("DEL", key) if random.random() < 0.3 else ("XLEN", key),
        ("FLUSHALL",) if random.random() < 0.2 else ("XLEN", key),
        ("PING",),
        ("NOSUCH", "a", "b") if random.random() < 0.5 else ("XADD", key, "1-*", "e"),
        ("XINFO", "STREAM", key),
    ]
    return made[kind - 5]


def comparable(value: Any) -> Any:
    """A reply without what depends on Redis's memory layout."""
    if isinstance(value, ErrorReply):
        return "error", str(value)
    if isinstance(value, list):
        if value[:1] == [b"length"]:
            inner = [comparable(one) for one in value]
            return inner[:2] + inner[6:]
        return [comparable(one) for one in value]
    return value


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_get_the_same_replies(real: int, seed: int) -> None:
    random = Random(seed)
    server = simulated_server()
    ours, theirs = [Simulated(server) for _ in range(2)], [Real(real) for _ in range(2)]
    for _program in range(PROGRAMS // 6):
        assert ours[0].run(("FLUSHALL",)) == theirs[0].run(("FLUSHALL",))
        for _ in range(random.randrange(COMMANDS_MAX)):
            who = random.randrange(2)
            commands = [a_command(random) for _ in range(random.randrange(1, 4))]
            if random.random() < 0.4:
                last = random.choice(["EXEC", "EXEC", "EXEC", "DISCARD"])
                commands = [("MULTI",), *commands, (last,)]
                if random.random() < 0.6:
                    commands.insert(0, ("WATCH", random.choice([KEY, OTHER])))
            if random.random() < 0.2:
                commands = commands[: random.randrange(len(commands)) + 1]
            seen, wanted = ours[who].run(*commands), theirs[who].run(*commands)
            assert comparable(seen) == comparable(wanted), commands
    for one in theirs:
        one.close()


def test_a_watched_stream_that_changed_aborts_the_transaction(real: int) -> None:
    server = simulated_server()
    for first, second in (
        (Simulated(server), Simulated(server)),
        (Real(real), Real(real)),
    ):
        first.run(("FLUSHALL",), ("XADD", KEY, "1-*", "e", "a"), ("WATCH", KEY))
        second.run(("XADD", KEY, "1-*", "e", "b"))
        assert first.run(("MULTI",), ("XADD", KEY, "2-*", "e", "c"), ("EXEC",))[-1] is None
        first.run(("WATCH", KEY))
        second.run(("FLUSHALL",))
        assert first.run(("MULTI",), ("XADD", KEY, "2-*", "e", "c"), ("EXEC",))[-1] is None
        # No key, no change: a second FLUSHALL of nothing touches nothing.
        first.run(("WATCH", KEY))
        second.run(("FLUSHALL",))
        nothing = [("MULTI",), ("XADD", KEY, "NOMKSTREAM", "2-*", "e", "c"), ("EXEC",)]
        assert first.run(*nothing)[-1] == [None]
        first.close()
        second.close()


def test_a_blocked_read_is_answered_by_the_next_entry(real: int) -> None:
    server = simulated_server()
    for reader, writer in (
        (Simulated(server), Simulated(server)),
        (Real(real), Real(real)),
    ):
        writer.run(("FLUSHALL",), ("XADD", KEY, "1-*", "e", "a"))
        reader.send(("XREAD", "COUNT", 10, "BLOCK", 2000, "STREAMS", KEY, "1-0"))
        time.sleep(0.05 if isinstance(reader, Real) else 0)
        # A new stream with smaller ids does not reach the reader; a larger one does.
        writer.run(("FLUSHALL",), ("XADD", KEY, "1-*", "e", "b"), ("XADD", KEY, "2-*", "e", "c"))
        answer = reader.reply()
        answer = answer[0] if isinstance(reader, Simulated) else answer
        assert answer == [[KEY, [[b"2-0", [b"e", b"c"]]]]]
        reader.close()
        writer.close()


def test_a_full_server_refuses_what_grows(real: int) -> None:
    server = simulated_server()
    server.maxmemory = 1
    refused = [("MULTI",), ("XADD", KEY, "2-*", "e", "b"), ("INFO", "replication"), ("EXEC",)]
    fine = [("MULTI",), ("EXEC",), ("XTRIM", KEY, "MINID", "1-1")]
    replies = []
    for one in (Simulated(server), Real(real)):
        one.run(("FLUSHALL",))
        server.maxmemory = 0
        one.run(("XADD", KEY, "1-*", "e", "a" * 100), ("CONFIG", "SET", "maxmemory", 1))
        server.maxmemory = 1
        replies.append(comparable([*one.run(*refused), *one.run(*fine)]))
        one.run(("CONFIG", "SET", "maxmemory", 0))
        one.close()
    assert replies[0] == replies[1]


class Pair:
    """A master and a replica: simulated ones, or real ones."""

    def __init__(self, folder: Path | None) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.servers: list[Server] = []
        self.ports: list[int] = []
        self.connected: list[Simulated | Real] = []
        if folder is not None:
            for name in ("a", "b"):
                (folder / name).mkdir()
                process, port = start_redis(folder / name, "--min-replicas-to-write", "0")
                self.processes.append(process)
                self.ports.append(port)
            return
        wires = Wires(Loop(7))
        self.servers = [Server(wires, "h1"), Server(wires, "h2")]
        for server in self.servers:
            server.min_replicas = 0
            server.servers = {one.address: one for one in self.servers}
            server.launch()

    def connect(self, which: int) -> Simulated | Real:
        made = Simulated(self.servers[which]) if self.servers else Real(self.ports[which])
        self.connected.append(made)
        return made

    def replicate(self, which: int, master: int | None) -> None:
        one = self.connect(which)
        if master is None:
            one.run(("REPLICAOF", "NO", "ONE"))
        elif self.servers:
            one.run(("REPLICAOF", self.servers[master].host, 6379))
        else:
            one.run(("REPLICAOF", "127.0.0.1", self.ports[master]))

    def until_linked(self, which: int, wanted: bytes = b"master_link_status:up") -> None:
        for _ in range(200):
            one = self.connect(which)
            reply = one.run(("INFO", "replication"))[0]
            if wanted in reply:
                return
            time.sleep(0 if self.servers else 0.05)
        raise TimeoutError("replication")

    def pass_time(self, seconds: float) -> None:
        if self.servers:
            advance(self.servers[0].loop, seconds)
        else:
            time.sleep(seconds)

    def freeze(self, which: int, frozen: bool) -> None:
        if self.servers:
            server = self.servers[which]
            (server.loop.pause if frozen else server.loop.resume)(server.process)
        else:
            self.processes[which].send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def end(self) -> None:
        for one in self.connected:
            one.close()
        for process in self.processes:
            process.kill()
            process.wait()


def field(one: Simulated | Real, name: str) -> str:
    text = one.run(("INFO", "replication"))[0].decode()
    return str(dict(line.split(":", 1) for line in text.splitlines() if ":" in line)[name])


def append(epoch: int, value: str) -> list[tuple[object, ...]]:
    add = ("XADD", KEY, "NOMKSTREAM", f"{epoch}-*", "e", value)
    return [("MULTI",), add, ("INFO", "replication"), ("EXEC",), ("WAIT", 1, 250)]


def first_of(reply: Any) -> Any:
    return reply[0] if isinstance(reply, list) else reply


def frozen_replica(pair: Pair, a: Simulated | Real) -> list[Any]:
    """Who waits on another connection is told about that connection's own last offset."""
    other, late = pair.connect(0), pair.connect(0)
    other.run(("PING",))
    # Until the replica has told by itself, once a second, that it has all.
    pair.pass_time(1.3)
    pair.freeze(1, True)
    replies = a.run(*append(1, "y"))
    seen = [replies[3][0], replies[4]]
    seen.append(other.run(("WAIT", 1, 150))[0])
    late.run(("PING",))
    seen.append(late.run(("WAIT", 1, 150))[0])
    pair.freeze(1, False)
    seen.append(a.run(("WAIT", 1, 250))[0])
    return seen


def story(pair: Pair) -> list[Any]:
    """A replica, a frozen one, a promotion with a lost tail, and both ways back."""
    seen: list[Any] = []
    pair.replicate(1, 0)
    pair.until_linked(1)
    # A master begins to send when the replica has said, once a second, how far it is.
    pair.pass_time(1.3)
    a, b = pair.connect(0), pair.connect(1)
    a.run(("XADD", KEY, "1-*", "e", "open"))
    replies = a.run(*append(1, "x"))
    seen.append([replies[3][0], replies[4]])
    seen.append(comparable(b.run(("XADD", KEY, "1-*", "e", "no"))[0]))
    seen.append(comparable([b.run(*append(1, "no"))[i] for i in (0, 1, 2, 3, 4)]))
    seen += frozen_replica(pair, a)
    first = field(a, "master_replid")
    seen.append(field(b, "master_replid") == first)
    pair.replicate(1, None)
    seen.append(field(b, "master_replid2") == first)
    seen.append(field(b, "master_replid") == first)
    # What the old master still takes is a lost tail; WAIT says so.
    replies = a.run(*append(1, "lost"))
    seen.append([replies[3][0], replies[4]])
    b.run(("XADD", KEY, "2-*", "e", "open"))
    reader = pair.connect(0)
    reader.send(("XREAD", "BLOCK", 5000, "STREAMS", KEY, "9-0"))
    time.sleep(0 if pair.servers else 0.05)
    pair.replicate(0, 1)
    seen.append(comparable(first_of(reader.reply())))
    pair.until_linked(0)
    for one in (pair.connect(0), pair.connect(1)):
        seen.append(one.run(("XRANGE", KEY, "-", "+"))[0])
    a = pair.connect(0)
    seen.append(field(a, "master_replid") == field(b, "master_replid"))
    # Re-promotion gives another id: an old connection's appends can be told.
    pair.replicate(0, None)
    seen.append(field(a, "master_replid") in (first, field(b, "master_replid")))
    seen.append(comparable(a.run(("XADD", KEY, "1-*", "e", "stale"))[0]))
    return seen


def test_roles_replication_and_wait_are_as_in_redis(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    simulated, real = Pair(None), Pair(tmp_path)
    try:
        assert story(simulated) == story(real)
    finally:
        real.end()
