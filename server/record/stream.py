"""The stream: decision records on their way into Redis, for whoever reads them as they come.

Each entry's field `records` is a piece of a file of records, whole records behind their lengths;
the playbooks that they need are in a hash beside the stream, by their hashes.  Nobody waits for
it: what Redis cannot take in time is dropped, and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from nextbest.server.log.link import Command, Link, LinkError, Network, RedisReplyError
from nextbest.server.record.frames import ends
from nextbest.v1 import mutation_pb2

FIELD: Final = "records"
PLAYBOOKS: Final = ".playbooks"
# An entry holds as many whole records as fit, and one at least.
ENTRY_BYTES: Final = 65_536
# Entries that are sent at once.
RUN_ENTRIES: Final = 32
# How long to wait for a Redis that is away, before it is asked again.
AWAY_S: Final = 1.0
# How long the last records may take at the end.
END_S: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """key: of the stream.  entries_max: about as many are kept, the newest.

    waiting_bytes_max: what may wait for Redis.  timeout_ms: how long it may take to answer.
    playbooks_max: the newest, which a Redis that comes back empty is given again.
    """

    key: str
    entries_max: int
    waiting_bytes_max: int
    timeout_ms: int
    playbooks_max: int


@dataclass(slots=True)
class StreamCounts:
    """Since the start: entries that Redis took, and bytes of records that it did not take.

    What was sent and not answered counts as lost: it may be there.
    """

    entries: int = 0
    lost_bytes: int = 0
    waiting_bytes: int = 0


class Stream:
    """Appends what it is offered, in its order, to a stream in Redis."""

    def __init__(self, network: Network, bounds: StreamBounds) -> None:
        self._network = network
        self._bounds = bounds
        self._waiting: deque[bytes] = deque()
        self._playbooks: dict[bytes, bytes] = {}
        # Those that Redis has taken on this connection.
        self._taken: set[bytes] = set()
        self._some = asyncio.Event()
        self._link: Link | None = None
        self._away = False
        self._ending = False
        self.counts = StreamCounts()

    def offer(self, content: bytes) -> None:
        """Take whole records, or drop them where too many wait."""
        if self.counts.waiting_bytes + len(content) > self._bounds.waiting_bytes_max:
            self.counts.lost_bytes += len(content)
            return
        self._waiting.append(content)
        self.counts.waiting_bytes += len(content)
        self._some.set()

    def keep(self, publication: mutation_pb2.Publication) -> None:
        """Have a playbook stand beside the records that it decided; those kept last stay."""
        packed = self._playbooks.pop(publication.hash, b"") or publication.SerializeToString()
        self._playbooks[publication.hash] = packed
        while len(self._playbooks) > self._bounds.playbooks_max:
            del self._playbooks[next(iter(self._playbooks))]

    async def run(self) -> None:
        """Append until cancelled, and for a moment longer what is left then."""
        appending = asyncio.create_task(self._append_all())
        try:
            await asyncio.shield(appending)
        finally:
            # What is on its way is not to be lost.
            self._ending = True
            self._some.set()
            await asyncio.wait([appending], timeout=END_S)
            appending.cancel()
            await asyncio.wait([appending])
            self._lose(self.counts.waiting_bytes)
            if self._link is not None:
                await self._link.close()

    async def _append_all(self) -> None:
        while not self._ending:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                # Beside the loop: there may be many records.
                for run in await asyncio.to_thread(_runs, self._waiting.popleft()):
                    await self._append(run)

    async def _append(self, run: list[bytes]) -> None:
        """Append some entries once: what was sent may be there, and is not sent again."""
        size = sum(map(len, run))
        try:
            refused = await self._refused(run)
        except LinkError as error:
            self._link = None
            self._complain(str(error))
            self._lose(size)
            if not self._ending:
                await asyncio.sleep(AWAY_S)
            return
        if refused:
            self._complain(refused)
            self._lose(size)
            return
        self._away = False
        self.counts.waiting_bytes -= size
        self.counts.entries += len(run)

    async def _refused(self, run: list[bytes]) -> str:
        """Send entries behind the playbooks that they need; gives why Redis refuses them."""
        link = await self._connected()
        # A copy: another playbook may come meanwhile.
        for name, content in list(self._playbooks.items()):
            if name in self._taken:
                continue
            command: Command = ("HSET", self._bounds.key + PLAYBOOKS, name.hex(), content)
            if why := _refusal(await link.run([command], self._bounds.timeout_ms)):
                return why
            self._taken.add(name)
        kept: Command = ("MAXLEN", "~", self._bounds.entries_max)
        entries: list[Command] = [
            ("XADD", self._bounds.key, *kept, "*", FIELD, piece) for piece in run
        ]
        return _refusal(await link.run(entries, self._bounds.timeout_ms))

    async def _connected(self) -> Link:
        if self._link is None:
            address = await self._network.master()
            self._link = await self._network.link(address, "records")
            # It may be another Redis, or have come back empty.
            self._taken.clear()
        return self._link

    def _lose(self, size: int) -> None:
        self.counts.waiting_bytes -= size
        self.counts.lost_bytes += size

    def _complain(self, why: str) -> None:
        """Once, until it takes something again."""
        if not self._away:
            where = self._network.place
            _log.error("records: the stream at %s takes none: %s", where, why)
        self._away = True


def _refusal(replies: list[Any]) -> str:
    """The first error among replies; empty for none."""
    return next((one.text for one in replies if isinstance(one, RedisReplyError)), "")


def _runs(content: bytes) -> list[list[bytes]]:
    """The entries to send, some at a time."""
    found = list(pieces(content, ENTRY_BYTES))
    return [found[at : at + RUN_ENTRIES] for at in range(0, len(found), RUN_ENTRIES)]


def pieces(content: bytes, most: int) -> Iterator[bytes]:
    """Whole records together, up to so many bytes; a larger one alone."""
    start = at = 0
    for end in ends(content):
        if end - start > most and at > start:
            yield content[start:at]
            start = at
        at = end
    if at > start:
        yield content[start:at]
