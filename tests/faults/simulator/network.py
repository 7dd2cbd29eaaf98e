"""The port of the Redis log onto the simulated world: connections, Sentinels asked, facts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from nextbest.server.log.link import (
    Address,
    Command,
    LinkError,
    Named,
    RedisFacts,
    RedisReplyError,
    Topology,
)
from tests.faults.simulator.commands import Connection, ErrorReply
from tests.faults.simulator.loop import Loop, Process
from tests.faults.simulator.redis import Server
from tests.faults.simulator.sentinel import Sentinel
from tests.faults.simulator.wires import Wire, Wires

CONNECT_S = 1.0
ASK_S = 0.5


def replies_of(replies: Sequence[object]) -> list[Any]:
    """Replies as a client gets them: errors as RedisReplyError, within an EXEC's list too."""
    return [
        RedisReplyError(str(reply))
        if type(reply) is ErrorReply
        # An EXEC's list; entries of streams hold no errors.
        else replies_of(reply)
        if type(reply) is list and ErrorReply in map(type, reply)
        else reply
        for reply in replies
    ]


class SimLink:
    """One connection of one process to one server; implements Link."""

    def __init__(self, wires: Wires, owner: Process, host: str, server: Server) -> None:
        self.wires = wires
        self.loop = wires.loop
        self.owner = owner
        self.server = server
        self.out = Wire(wires, host, server.host)
        self.back = Wire(wires, server.host, host)
        self.connection: Connection | None = None
        self.closed = False
        self._waiting: asyncio.Future[Any] | None = None

    # The client's side.

    async def open(self) -> None:
        self._waiting = self.loop.create_future()
        if not self.server.running and self.server.host not in self.wires.dark:
            # The host refuses for its dead server, unless it is cut off.
            if self.wires.both_open(self.out.source, self.out.target):
                await asyncio.sleep(2 * self.wires.delay(self.out.source, self.out.target))
                self.closed = True
                raise LinkError(f"{self.server.host}: connection refused")
        else:
            self.out.send(self.server.process, self._accept)
        await self._answer(CONNECT_S)

    async def run(self, commands: Sequence[Command], timeout_ms: int) -> list[Any]:
        if self.closed or self.connection is None:
            raise LinkError(f"{self.server.host}: closed")
        assert self._waiting is None, "one run at a time"
        self._waiting = self.loop.create_future()
        self.out.send(self.server.process, self._deliver, list(commands))
        return await self._answer(timeout_ms / 1000)

    async def _answer(self, timeout_s: float) -> Any:
        assert self._waiting is not None
        timer = self.loop.call_later(timeout_s, self._fail, "no answer in time")
        try:
            return await self._waiting
        except asyncio.CancelledError:
            self._end()
            raise
        finally:
            timer.cancel()
            self._waiting = None

    async def close(self) -> None:
        self._fail("closed")

    def _fail(self, why: str) -> None:
        if self.closed:
            return
        self._end()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(LinkError(f"{self.server.host}: {why}"))

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.leave()

    def leave(self) -> None:
        """Say goodbye to the server; also done for a process that has died."""
        if self.connection is not None:
            self.out.send(self.server.process, self.connection.leave)

    def _reply(self, replies: list[Any]) -> None:
        if not self.closed and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(replies)

    def _reset(self) -> None:
        self._fail("connection reset")

    # The server's side.

    def _accept(self) -> None:
        self.connection = self.server.accept(self._answered, self._hang_up)
        self.back.send(self.owner, self._reply, [])

    def _deliver(self, commands: list[Command]) -> None:
        connection = self.connection
        assert connection is not None
        if connection.closed:
            self._hang_up()
            return
        if self.wires.repeated and self.loop.random.random() < self.wires.repeated:
            self.loop.note("repeat", self.server.host, self.owner)
            other = self.server.accept(lambda _replies: None, lambda: None)
            other.receive(commands)
            other.leave()
        connection.receive(commands)

    def _answered(self, replies: list[Any]) -> None:
        self.note_replies(replies)
        if self.wires.lost_reply and self.loop.random.random() < self.wires.lost_reply:
            self.loop.note("lost reply", self.server.host, "to", self.owner)
            return
        self.back.send(self.owner, self._reply, replies_of(replies))

    def note_replies(self, replies: list[Any]) -> None:
        if self.loop.trace is not None:
            shown = [one for one in replies if one not in (b"OK", b"QUEUED", None)]
            self.loop.note("answers", self.owner, short(shown))

    def _hang_up(self) -> None:
        self.back.send(self.owner, self._reset)


def short(value: object) -> str:
    """A reply, cut to a readable length."""
    if isinstance(value, list):
        return (
            "["
            + ", ".join(short(one) for one in value[:6])
            + ("..." if len(value) > 6 else "")
            + "]"
        )
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>" if len(value) > 24 else value.decode(errors="replace")
    return str(value)


class SimNetwork:
    """What one process sees of the world; implements Network."""

    def __init__(
        self,
        wires: Wires,
        host: str,
        servers: dict[tuple[str, int], Server],
        sentinels: Sequence[Sentinel],
    ) -> None:
        self.wires = wires
        self.loop: Loop = wires.loop
        self.host = host
        self.servers = servers
        self.sentinels = sentinels
        self.place = "sentinel://simulated/nextbest"
        self.links: list[SimLink] = []

    async def master(self) -> Address:
        for sentinel in self.loop.random.sample(self.sentinels, len(self.sentinels)):
            try:
                found = await self.ask(sentinel.host, sentinel.process, sentinel.master_for_clients)
            except LinkError:
                continue
            if found is not None:
                return Address(*found)
        raise LinkError("no Sentinel knows a master")

    async def named(self) -> list[Named | None]:
        return [await self._named(sentinel) for sentinel in self.sentinels]

    async def _named(self, sentinel: Sentinel) -> Named | None:
        def look() -> tuple[Any, int]:
            return sentinel.master_for_clients(), sentinel.config_epoch

        try:
            found, epoch = await self.ask(sentinel.host, sentinel.process, look)
        except LinkError:
            return None
        return None if found is None else Named(Address(*found), epoch)

    async def link(self, address: Address, _name: str) -> SimLink:
        made = SimLink(self.wires, self.loop.current, self.host, self.servers[tuple(address)])
        self.links = [one for one in self.links if not one.closed]
        self.links.append(made)
        await made.open()
        return made

    async def facts(self) -> Topology:
        hosts, silent = [], []
        for server in self.servers.values():
            try:
                hosts.append(
                    await self.ask(server.host, server.process, lambda s=server: facts_of(s))
                )
            except LinkError:
                silent.append(Address(*server.address))
        sentinels = tuple(Address(one.host, 26379) for one in self.sentinels)
        return Topology(tuple(hosts), sentinels, tuple(silent))

    async def ask(self, host: str, process: Process, function: Callable[[], Any]) -> Any:
        """A small question and its answer on a connection of their own.  Raises LinkError."""
        answer = self.loop.create_future()
        out, back = Wire(self.wires, self.host, host), Wire(self.wires, host, self.host)
        owner = self.loop.current

        def receive(value: Any) -> None:
            if not answer.done():
                answer.set_result(value)

        out.send(process, lambda: back.send(owner, receive, function()))
        timer = self.loop.call_later(ASK_S, give_up, answer, host)
        try:
            return await answer
        finally:
            timer.cancel()

    def drop(self) -> None:
        """The process has died: its host closes its connections."""
        for link in self.links:
            if not link.closed:
                link.closed = True
                link.leave()


def give_up(answer: asyncio.Future[Any], host: str) -> None:
    if not answer.done():
        answer.set_exception(LinkError(f"{host}: no answer in time"))


def facts_of(server: Server) -> RedisFacts:
    return RedisFacts(
        Address(*server.address),
        "slave" if server.master else "master",
        "7.0.15",
        server.priority,
        server.persistent,
        "3600 1" if server.persistent else "",
        server.policy,
        server.min_replicas,
    )
