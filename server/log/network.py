"""The real network of the Redis log: single connections, and how the master is found.

redis-py connects and authenticates.  Its retries, its pools and its silent reconnecting
are not used: they would append twice and answer as if it were once.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import hiredis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from nextbest.server.collector import paused
from nextbest.server.log.alarm import Alarm
from nextbest.server.log.link import (
    Address,
    Command,
    Link,
    LinkError,
    Named,
    Network,
    RedisFacts,
    RedisReplyError,
    Topology,
    info,
)
from nextbest.server.log.log import LogPlaceError
from nextbest.server.log.place import Place, shown
from nextbest.server.log.settings import BackendSettings

PASSWORD_BYTES_MAX = 4_096
_COPIED_BYTES_MAX = 4_096
# Of replies so small the collector may go over what they are parsed into.
_COLLECTED_BYTES_MAX = 4_096
_CLIENT_NAME = "nextbest"
# Commands whose words hardly change.
_SAME = frozenset(("MULTI", "INFO", "EXEC", "WAIT"))
_FACTS: tuple[Command, ...] = (
    ("INFO", "server"),
    ("INFO", "replication"),
    ("CONFIG", "GET", "replica-priority"),
    ("CONFIG", "GET", "appendonly"),
    ("CONFIG", "GET", "save"),
    ("CONFIG", "GET", "maxmemory-policy"),
    ("CONFIG", "GET", "min-replicas-to-write"),
)


class RedisLink(asyncio.Protocol):
    """One connection that redis-py has opened, used once: broken is broken.

    It takes the transport over, and parses what comes as it comes: a run is one write, and one
    wake-up when the last reply is there.
    """

    def __init__(self, connection: Connection) -> None:
        # Kept: it closes the transport when it is let go.
        self._connection = connection
        self._transport: asyncio.WriteTransport | None = None
        self._parser = hiredis.Reader(replyError=RedisReplyError)
        self._replies: list[Any] = []
        self._wanted = 0
        self._done: asyncio.Future[list[Any]] | None = None
        self._timeout_ms = 0
        self._alarm = Alarm(self._late)

    async def connect(self) -> None:
        """Connect, and say who it is.  Raises what redis-py raises."""
        await self._connection.connect()  # type: ignore[no-untyped-call]
        assert self._connection._writer is not None
        transport = self._connection._writer.transport
        transport.set_protocol(self)
        self._transport = transport

    async def run(self, commands: Sequence[Command], timeout_ms: int) -> list[Any]:
        # Two at once would take each other's replies for their own.
        assert self._done is None
        if self._transport is None:
            raise LinkError("not connected")
        loop = asyncio.get_running_loop()
        self._done, self._wanted, self._replies = loop.create_future(), len(commands), []
        self._timeout_ms = timeout_ms
        self._alarm.set(loop.time() + timeout_ms / 1_000)
        try:
            self._transport.writelines(packed(commands))
            return await self._done
        except BaseException:
            self._break("given up")
            raise
        finally:
            self._alarm.stop()
            self._done = None

    async def close(self) -> None:
        self._break("closed")

    def data_received(self, data: bytes) -> None:
        try:
            if len(data) > _COLLECTED_BYTES_MAX:
                with paused:
                    self._parse(data)
            else:
                self._parse(data)
        except hiredis.HiredisError as error:
            self._break(str(error))
            return
        seen = len(self._replies)
        if self._done is None or self._done.done() or seen > self._wanted:
            self._break("it said more than it was asked")
        elif seen == self._wanted:
            # Not kept besides: it may be large.
            replies, self._replies = self._replies, []
            self._done.set_result(replies)

    def _parse(self, data: bytes) -> None:
        self._parser.feed(data)
        while (reply := self._parser.gets()) is not False:
            self._replies.append(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(str(exc or "connection lost"))

    def _late(self) -> None:
        self._break(f"no answer in {self._timeout_ms} ms")

    def _break(self, why: str) -> None:
        """Close at once.  An orderly close would still send what waits to be sent."""
        self._alarm.close()
        self._transport = None
        if self._connection._writer is not None:
            self._connection._writer.transport.abort()
        self._connection._close()  # type: ignore[no-untyped-call]
        if self._done is not None and not self._done.done():
            self._done.set_exception(LinkError(why))


class _Connector:
    """Makes links by the settings; what both ways to find a master share."""

    def __init__(self, place: Place, settings: BackendSettings) -> None:
        self.place = place.text
        self._place = place
        self._settings = settings
        self._user = place.user or settings.user
        self._password = place.password or _password(settings.password_file)
        self._sentinel_password = _password(settings.sentinel_password_file)

    async def link(self, address: Address, name: str) -> Link:
        settings = self._settings
        more: dict[str, Any] = {"db": self._place.database, "client_name": f"{_CLIENT_NAME}-{name}"}
        if self._password:
            more |= {"username": self._user or None, "password": self._password}
        if self._place.tls:
            more |= {
                "ssl_ca_certs": settings.tls_ca_file or None,
                "ssl_certfile": settings.tls_cert_file or None,
                "ssl_keyfile": settings.tls_key_file or None,
            }
        return await self._connect(address, more)

    async def _sentinel(self, address: Address) -> Link:
        more: dict[str, Any] = {"client_name": f"{_CLIENT_NAME}-sentinel"}
        if self._sentinel_password:
            user = self._settings.sentinel_user or None
            more |= {"username": user, "password": self._sentinel_password}
        return await self._connect(address, more)

    async def _connect(self, address: Address, more: dict[str, Any]) -> Link:
        kind = SSLConnection if "ssl_ca_certs" in more else Connection
        connection = kind(
            host=address.host,
            port=address.port,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
            # One deadline for a whole run replaces one for each read.
            socket_timeout=None,
            socket_connect_timeout=None,
            **more,
        )
        link = RedisLink(connection)
        connect_ms = self._settings.connect_ms
        try:
            async with asyncio.timeout(connect_ms / 1_000):
                await link.connect()
        except (RedisError, OSError, TimeoutError) as error:
            await link.close()
            raise LinkError(f"{shown(address)}: {_why(error, connect_ms)}") from error
        except BaseException:
            await link.close()
            raise
        return link

    async def _ask(self, link: Link, *commands: Command) -> list[Any]:
        """The replies; raises LinkError for one that is an error.  Closes the link."""
        try:
            replies = await link.run(commands, self._settings.timeout_ms)
        finally:
            await link.close()
        for reply in replies:
            if isinstance(reply, RedisReplyError):
                raise LinkError(reply.text)
        return replies

    async def _role(self, address: Address) -> list[Any]:
        (role,) = await self._ask(await self.link(address, "role"), ("ROLE",))
        return list(role)

    async def _all_facts(
        self, hosts: Iterable[Address], sentinels: Iterable[Address], faults: Iterable[str]
    ) -> Topology:
        known = list(dict.fromkeys(hosts))
        found = await asyncio.gather(*(self._facts(host) for host in known))
        silent = [known[index] for index, one in enumerate(found) if one is None]
        refused = [one for one in found if isinstance(one, str)]
        return Topology(
            hosts=tuple(one for one in found if isinstance(one, RedisFacts)),
            sentinels=tuple(dict.fromkeys(sentinels)),
            silent=tuple(silent),
            faults=(*faults, *refused),
        )

    async def _facts(self, address: Address) -> RedisFacts | str | None:
        """What a host says; a text of why it says too little; None when it is silent."""
        try:
            link = await self.link(address, "facts")
            replies = await link.run(_FACTS, self._settings.timeout_ms)
        except LinkError:
            return None
        await link.close()
        for command, reply in zip(_FACTS, replies, strict=True):
            if isinstance(reply, RedisReplyError):
                asked = " ".join(map(str, command))
                return f"{shown(address)} {asked}: {reply.text}"
        server, replication = info(replies[0]), info(replies[1])
        priority, append_only, save, policy, least = (_value(one) for one in replies[2:])
        return RedisFacts(
            address=address,
            role=replication.get("role", ""),
            version=server.get("redis_version", ""),
            replica_priority=int(priority or 0),
            append_only=append_only == "yes",
            save=save,
            policy=policy,
            min_replicas_to_write=int(least or 0),
        )


class FixedNetwork(_Connector):
    """One Redis at a known address: nothing takes over when it dies."""

    async def master(self) -> Address:
        return self._place.hosts[0]

    async def named(self) -> Sequence[Named | None]:
        return ()

    async def facts(self) -> Topology:
        master = self._place.hosts[0]
        try:
            role = await self._role(master)
        except LinkError as error:
            return Topology((), (), (master,), (str(error),))
        replicas = role[2] if role[0] == b"master" else []
        hosts = [Address(host.decode(), int(port)) for host, port, _ in replicas]
        return await self._all_facts([master, *hosts], [], [])


class SentinelNetwork(_Connector):
    """A master that Sentinels watch and replace."""

    def __init__(self, place: Place, settings: BackendSettings) -> None:
        super().__init__(place, settings)
        # The one that answered last is asked first.
        self._order = list(place.hosts)

    async def master(self) -> Address:
        """Ask the Sentinels in turn; what one names must say itself that it is the master."""
        reasons = []
        for sentinel in tuple(self._order):
            try:
                found = await self._named(sentinel)
                role = await self._role(found)
            except LinkError as error:
                reasons.append(str(error))
                continue
            if role[0] == b"master":
                self._order.remove(sentinel)
                self._order.insert(0, sentinel)
                return found
            reasons.append(f"{shown(found)}: role {role[0].decode()}, allowed: master")
        raise LinkError("; ".join(dict.fromkeys(reasons)))

    async def named(self) -> Sequence[Named | None]:
        return await asyncio.gather(*map(self._told, self._place.hosts))

    async def _told(self, sentinel: Address) -> Named | None:
        """Whom a Sentinel names, and by which failover; None where it does not say."""
        name = self._place.name
        try:
            found, master = await self._ask(
                await self._sentinel(sentinel),
                ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),
                ("SENTINEL", "MASTER", name),
            )
        except LinkError:
            return None
        address = Address(found[0].decode(), int(found[1]))
        return Named(address, int(_fields(master)[b"config-epoch"]))

    async def facts(self) -> Topology:
        """What the Sentinels know together: each learns of the others only after seconds."""
        asked = self._place.hosts
        found = await asyncio.gather(*map(self._known_to, asked), return_exceptions=True)
        hosts: list[Address] = []
        sentinels = await _resolved(asked)
        faults = []
        for answer in found:
            if isinstance(answer, LinkError):
                faults.append(str(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                hosts += answer[0]
                sentinels += answer[1]
        # One that is down is no fault; with a majority down nothing would take over.
        enough = len(faults) * 2 < len(asked)
        return await self._all_facts(hosts, sentinels, [] if enough else faults)

    async def _named(self, sentinel: Address) -> Address:
        asked: Command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.name)
        (found,) = await self._ask(await self._sentinel(sentinel), asked)
        if found is None:
            raise LinkError(f"{shown(sentinel)}: knows no master {self._place.name}")
        return Address(found[0].decode(), int(found[1]))

    async def _known_to(self, sentinel: Address) -> tuple[list[Address], list[Address]]:
        """The Redis hosts, and the other Sentinels, that a Sentinel knows."""
        name = self._place.name
        master, old, replicas, others = await self._ask(
            await self._sentinel(sentinel),
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),
            # Towards the end of a failover the first names the new master already, and the
            # replicas are still those of the old one, which only this names.
            ("SENTINEL", "MASTER", name),
            ("SENTINEL", "REPLICAS", name),
            ("SENTINEL", "SENTINELS", name),
        )
        if master is None:
            raise LinkError(f"{shown(sentinel)}: knows no master {name}")
        hosts = [Address(master[0].decode(), int(master[1])), *map(_listed, [old, *replicas])]
        return await _resolved(hosts), await _resolved(map(_listed, others))


def network(place: Place, settings: BackendSettings) -> Network:
    """The network of a place that is Redis.  Raises LogPlaceError for unusable settings."""
    return (SentinelNetwork if place.kind == "sentinel" else FixedNetwork)(place, settings)


def _password(path: str) -> str:
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            return file.read(PASSWORD_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise LogPlaceError("password_file", f"{path}: {why}", "a readable file") from error


async def _resolved(found: Iterable[Address]) -> list[Address]:
    """Names as addresses, since Sentinels mix both and hosts are compared."""
    loop = asyncio.get_running_loop()
    result = []
    for one in found:
        try:
            known = await loop.getaddrinfo(one.host, one.port, type=socket.SOCK_STREAM)
        except OSError:
            result.append(one)
        else:
            result.append(Address(str(known[0][4][0]), one.port))
    return result


def _listed(fields: list[bytes]) -> Address:
    """The address in one of Sentinel's lists of names and values."""
    found = _fields(fields)
    return Address(found[b"ip"].decode(), int(found[b"port"]))


def _fields(listed: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(listed[::2], listed[1::2], strict=True))


def _value(reply: list[bytes]) -> str:
    """The value in CONFIG GET's reply of one name; empty for a name it does not know."""
    return reply[1].decode() if len(reply) > 1 else ""


@functools.lru_cache(maxsize=16)
def _packed_once(words: Command, count: int) -> bytes:
    """The first words of a command of so many, where they are the same each time."""
    data = (word if isinstance(word, bytes) else str(word).encode() for word in words)
    return b"*%d\r\n" % count + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in data)


def packed(commands: Iterable[Command]) -> list[bytes]:
    """Commands as bytes, in few pieces: what redis-py does, without a look at every type."""
    pieces, small = [], bytearray()
    for command in commands:
        last = command[-1]
        if command[0] in _SAME:
            small += _packed_once(command, len(command))
        elif isinstance(last, bytes) and len(last) > _COPIED_BYTES_MAX:
            # An append: what is before the entry stays as it is for an epoch.
            small += _packed_once(command[:-1], len(command)) + b"$%d\r\n" % len(last)
            # Not copied once more.
            pieces += [bytes(small), last]
            small = bytearray(b"\r\n")
        else:
            small += _packed_words(command)
    pieces.append(bytes(small))
    return pieces


def _packed_words(command: Command) -> bytes:
    data = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"".join([b"*%d\r\n" % len(data), *(b"$%d\r\n%s\r\n" % (len(one), one) for one in data)])


def _why(error: BaseException, timeout_ms: int) -> str:
    return f"no answer in {timeout_ms} ms" if isinstance(error, TimeoutError) else str(error)
