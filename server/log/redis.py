"""The log in Redis Streams: what is sent for each call, and what each reply proves.

An entry's id is `<epoch>-<sequence>`; sequences are dense, given by Redis.  A reply counts only
when it shows that the entry went to the master and branch that the epoch was opened on.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nextbest.server.collector import paused
from nextbest.server.log import topology
from nextbest.server.log.link import (
    Address,
    Command,
    Link,
    LinkError,
    Network,
    RedisReplyError,
    info,
)
from nextbest.server.log.log import (
    QUEUES,
    READ_BYTES_MAX,
    Entries,
    EpochConflictError,
    LogAwayError,
    LogError,
    LogFullError,
    LogInfo,
    LogResetError,
    Record,
    StaleEpochError,
    UnknownOutcomeError,
)
from nextbest.server.log.place import shown
from nextbest.server.log.prefetch import Found, Prefetch
from nextbest.server.log.settings import BackendSettings
from nextbest.server.span import exported, span

FIELD = b"e"
# XREAD cannot be bounded by bytes, only by count.  The count follows the largest entries seen of
# late, from one for entries of the usual bound; its own bound is for sudden growth.
READ_COUNT_MAX = 1_000
READ_COUNT_FIRST = READ_BYTES_MAX // (256 << 10)
# Entries let go at a time, so that Redis answers others in between.
TRIM_STEP = 10_000
_READER = QUEUES
_CONTROL = QUEUES + 1
_NAMES = ("logged", "replicated", "reader", "control")
_FULL = {"OOM", "MISCONF"}


class RedisLog:
    """A client of one stream in Redis, over connections that it owns.

    One for each queue, so that nothing waits behind a WAIT; one for blocking reads; one for the
    rest.  One that breaks stays broken until `connect`.
    """

    kind = "redis"

    def __init__(self, network: Network, settings: BackendSettings) -> None:
        self.place = f"{network.place} stream {settings.stream}"
        self._network = network
        self._settings = settings
        self._key = settings.stream.encode()
        self._links: list[Link | None] = [None] * len(_NAMES)
        self._address = Address("", 0)
        self._replication_id = ""
        # Calls besides appending and reading may come from several tasks.
        self._control = asyncio.Lock()
        self._largest = READ_BYTES_MAX // READ_COUNT_FIRST
        self._prefetch = Prefetch(self._read)

    async def connect(self) -> LogInfo:
        await self.close()
        try:
            self._address = await self._network.master()
            for index, name in enumerate(_NAMES):
                self._links[index] = await self._network.link(self._address, name)
        except LinkError as error:
            await self.close()
            raise LogAwayError(f"{self._network.place}: {error}") from error
        replication, clock = await self._ask(("INFO", "replication"), ("TIME",))
        fields = info(replication)
        if fields.get("role") != "master":
            await self.close()
            raise LogAwayError(f"{self._where()}: role {fields.get('role')}, allowed: master")
        self._replication_id = fields.get("master_replid", "")
        replicas, refused = await self.self_check()
        return LogInfo(self._replication_id, replicas, refused, _milliseconds(clock))

    async def self_check(self) -> tuple[int, str]:
        try:
            found = await self._network.facts()
        except LinkError as error:
            return self._settings.replicas, str(error)
        return topology.replicas(found, self._settings), topology.refusal(found, self._settings)

    async def stays(self) -> bool | None:
        named = await self._network.named()
        if not named:
            return True
        if self._links[_CONTROL] is None:
            return None
        # Whoever a majority names is the master, whatever the one connected to says of itself.
        majority = len(named) // 2 + 1
        here = [one.epoch for one in named if one and one.address == self._address]
        elsewhere = [one.epoch for one in named if one and one.address != self._address]
        if len(elsewhere) >= majority:
            return False
        # The one that replaced the master knows first: the others hear of it within seconds.
        newer = max(elsewhere, default=-1) > max(here, default=-1)
        return True if len(here) >= majority and not newer else None

    async def last(self) -> Record | None:
        return await self._one(("XREVRANGE", self._key, "+", "-", "COUNT", 1))

    async def first(self) -> Record | None:
        return await self._one(("XRANGE", self._key, "-", "+", "COUNT", 1))

    async def entry(self, epoch: int, sequence: int) -> Record | None:
        place = f"{epoch}-{sequence}"
        return await self._one(("XRANGE", self._key, place, place))

    async def read(self, after: tuple[int, int], wait_ms: int) -> Entries:
        return await self._prefetch.read(after, wait_ms)

    async def _read(self, after: tuple[int, int], wait_ms: int) -> Found:
        count = min(max(READ_BYTES_MAX // self._largest, 1), READ_COUNT_MAX)
        # BLOCK 0 would wait for ever.
        block: Command = ("BLOCK", wait_ms) if wait_ms else ()
        place = f"{after[0]}-{after[1]}"
        command = ("XREAD", "COUNT", count, *block, "STREAMS", self._key, place)
        # A host that changed branches meanwhile may show what seems to follow and does not.
        commands: list[Command] = [command, ("INFO", "replication")]
        reply, replication = await self._run(_READER, commands, self._settings.timeout_ms + wait_ms)
        if not _is_of(replication, self._replication_id):
            seen = info(replication).get("master_replid")
            raise LogAwayError(f"{self._where()}: on branch {seen}, not on the one connected to")
        with paused:
            found = _entries(reply[0][1] if reply else [])
            del reply
        if found:
            # Follows growth at once and lets go of it slowly.
            largest = max(map(len, found.data))
            self._largest = max(largest, self._largest // 2, 1)
        return Found(found, len(found) == count)

    async def open_epoch(
        self, epoch: int, data: bytes, expected: tuple[int, int] | None, create: bool
    ) -> None:
        async with self._control:
            tail: Command = ("XREVRANGE", self._key, "+", "-", "COUNT", 1)
            _, found = await self._run(_CONTROL, [("WATCH", self._key), tail])
            last = _record(found[0]) if found else None
            try:
                _may_open(last, epoch, expected, create)
            except LogError:
                await self._run(_CONTROL, [("UNWATCH",)])
                raise
            # Only where nothing is may a stream be made, and only by who was told to.
            keep: Command = () if create and last is None else ("NOMKSTREAM",)
            add = ("XADD", self._key, *keep, f"{epoch}-0", FIELD, data)
            replies = await self._transaction(_CONTROL, add, 0)
        if replies[3] is None:
            other = await self.last()
            raise EpochConflictError(expected, _place(other))
        self._appended(replies, epoch, self._replication_id, opening=True)

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        assert 0 <= queue < QUEUES
        add = ("XADD", self._key, "NOMKSTREAM", f"{epoch}-*", FIELD, data)
        replies = await self._transaction(queue, add, replicas)
        sequence = self._appended(replies, epoch, replication_id, opening=False)
        # WAIT counts on the connection that wrote, and returns the count on a timeout too.
        reached = replies[4] if replicas else 0
        if not isinstance(reached, int):
            raise UnknownOutcomeError(f"{self._where()}: WAIT: {reached}")
        if reached < replicas:
            raise UnknownOutcomeError(f"{self._where()}: {reached} of {replicas} replicas")
        return sequence

    async def trim(self, before: tuple[int, int]) -> None:
        place = f"{before[0]}-{before[1]}"
        step: Command = ("XTRIM", self._key, "MINID", "~", place, "LIMIT", TRIM_STEP)
        # Ends when whole blocks of entries are gone: nobody adds any before `before`.
        while (await self._ask(step))[0]:
            pass
        await self._ask(("XTRIM", self._key, "MINID", "=", place))

    async def time_ms(self) -> int:
        (clock,) = await self._ask(("TIME",))
        return _milliseconds(clock)

    async def size(self) -> tuple[int, int]:
        entries, size = await self._ask(("XLEN", self._key), ("MEMORY", "USAGE", self._key))
        return entries, size or 0

    async def close(self) -> None:
        links, self._links = self._links, [None] * len(_NAMES)
        for link in links:
            if link is not None:
                await link.close()
        await self._prefetch.close()

    def _where(self) -> str:
        return shown(self._address)

    def _link(self, index: int) -> Link:
        link = self._links[index]
        if link is None:
            raise LogAwayError(f"{self._where()}: not connected ({_NAMES[index]})")
        return link

    async def _run(
        self, index: int, commands: Sequence[Command], timeout_ms: int | None = None
    ) -> list[Any]:
        """Replies without errors.  Raises LogAwayError: for what changes nothing."""
        link = self._link(index)
        timeout_ms = self._settings.timeout_ms if timeout_ms is None else timeout_ms
        try:
            replies = await self._told(index, link, commands, timeout_ms)
        except BaseException as error:
            self._broken(index, link)
            if isinstance(error, LinkError):
                raise LogAwayError(f"{self._where()}: {error}") from error
            raise
        for reply in replies:
            if isinstance(reply, RedisReplyError):
                raise LogAwayError(f"{self._where()}: {reply.text}")
        return replies

    async def _told(
        self, index: int, link: Link, commands: Sequence[Command], timeout_ms: int
    ) -> list[Any]:
        """Run them within a span; reading is no call but a wait, and has none."""
        if index == _READER or not exported():
            return await link.run(commands, timeout_ms)
        names = [str(command[0]) for command in commands]
        about: dict[str, AttributeValue] = {
            "db.system.name": "redis",
            # The semantic conventions' name for a pipeline.
            "db.operation.name": names[0] if len(names) == 1 else "PIPELINE " + " ".join(names),
            "server.address": self._address.host,
            "server.port": self._address.port,
        }
        if len(names) > 1:
            about["db.operation.batch.size"] = len(names)
        with span(str(about["db.operation.name"]), about, kind=SpanKind.CLIENT):
            return await link.run(commands, timeout_ms)

    def _broken(self, index: int, link: Link) -> None:
        # `connect` may have put another in its place meanwhile.
        if self._links[index] is link:
            self._links[index] = None

    async def _ask(self, *commands: Command) -> list[Any]:
        async with self._control:
            return await self._run(_CONTROL, commands)

    async def _one(self, command: Command) -> Record | None:
        (reply,) = await self._ask(command)
        return _record(reply[0]) if reply else None

    async def _transaction(self, index: int, add: Command, replicas: int) -> list[Any]:
        """The replies to one append and to the question who took it, in one pipeline."""
        commands: list[Command] = [("MULTI",), add, ("INFO", "replication"), ("EXEC",)]
        timeout_ms = self._settings.timeout_ms
        if replicas:
            commands.append(("WAIT", replicas, self._settings.wait_ms))
            timeout_ms += self._settings.wait_ms
        link = self._link(index)
        try:
            return await self._told(index, link, commands, timeout_ms)
        except BaseException as error:
            self._broken(index, link)
            if isinstance(error, LinkError):
                raise UnknownOutcomeError(f"{self._where()}: {error}") from error
            raise

    def _appended(self, replies: list[Any], epoch: int, replication_id: str, opening: bool) -> int:
        """The entry's sequence, once the replies prove that it is where it should be."""
        started, queued, _, executed = replies[:4]
        if not isinstance(executed, list):
            raise self._refused(started, queued, executed)
        added, replication = executed
        if added is None:
            raise LogResetError(f"{self.place}: there is no stream")
        if isinstance(added, RedisReplyError):
            if "equal or smaller" in added.text:
                raise StaleEpochError(epoch)
            raise self._refusal(added)
        if isinstance(replication, RedisReplyError):
            raise UnknownOutcomeError(f"{self._where()}: INFO: {replication.text}")
        if not _is_master_of(replication, replication_id):
            fields = info(replication)
            role, seen = fields.get("role"), fields.get("master_replid")
            why = f"{self._where()}: {role} of branch {seen}, not of {replication_id}"
            raise UnknownOutcomeError(why, new_epoch=True)
        sequence = int(added.partition(b"-")[2])
        if not opening and sequence == 0:
            # The stream ends before the epoch began: it is another, or shorter, than it was.
            raise UnknownOutcomeError(f"{self._where()}: epoch {epoch} is gone", new_epoch=True)
        return sequence

    def _refused(self, started: Any, queued: Any, executed: Any) -> LogError:
        """What it means that there is no list of what was executed."""
        if not isinstance(executed, RedisReplyError):
            return UnknownOutcomeError(f"{self._where()}: EXEC: {executed!r}")
        cause = queued if isinstance(queued, RedisReplyError) else executed
        # Without MULTI the append stood alone, and only its own refusal says that it failed.
        if isinstance(started, RedisReplyError):
            refused = isinstance(queued, RedisReplyError)
        else:
            refused = executed.code == "EXECABORT"
        if refused:
            return self._refusal(cause)
        return UnknownOutcomeError(f"{self._where()}: EXEC: {executed.text}")

    def _refusal(self, cause: RedisReplyError) -> LogError:
        """The error for a definite refusal: nothing was appended."""
        # EXEC names the command's own refusal behind a fixed text.
        text = cause.text.rpartition("because of: ")[2]
        if "Invalid stream ID" in text:
            text = f"{text} (ids of the form 1-* need Redis 7.0)"
        kind = LogFullError if text.partition(" ")[0] in _FULL else LogAwayError
        return kind(f"{self._where()}: {text}")


def _may_open(
    last: Record | None, epoch: int, expected: tuple[int, int] | None, create: bool
) -> None:
    seen = _place(last)
    if seen != expected:
        raise EpochConflictError(expected, seen)
    if last is None and not create:
        raise LogResetError("there is no stream")
    if last and epoch <= last.epoch:
        raise StaleEpochError(epoch)


def _place(record: Record | None) -> tuple[int, int] | None:
    return (record.epoch, record.sequence) if record else None


def _record(item: list[Any]) -> Record:
    return _entries([item])[0]


def _entries(items: Sequence[list[Any]]) -> Entries:
    """The entries of a reply: recovery reads millions, so that no Python runs for each id."""
    places = b" ".join([place for place, _ in items]).replace(b"-", b" ")
    numbers = array("Q", map(int, places.split()))
    # Whatever else somebody put into the stream has no checksum either.
    data = [
        fields[1] if fields is not None and len(fields) == 2 and fields[0] == FIELD else b""
        for _, fields in items
    ]
    return Entries(numbers[::2], numbers[1::2], data)


def _is_of(replication: bytes, branch: str) -> bool:
    """Whether INFO's reply names that branch: asked with every append and every read."""
    return b"\r\nmaster_replid:%s\r\n" % branch.encode() in replication


def _is_master_of(replication: bytes, branch: str) -> bool:
    return b"\r\nrole:master\r\n" in replication and _is_of(replication, branch)


def _milliseconds(clock: list[bytes]) -> int:
    seconds, microseconds = clock
    return int(seconds) * 1_000 + int(microseconds) // 1_000
