"""A log in this process's memory, for tests and for trying things out: nothing survives.

Several clients share one MemoryStore, as several nodes share one Redis.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from nextbest.server.log.log import (
    QUEUES,
    READ_BYTES_MAX,
    READ_ENTRIES_MAX,
    Entries,
    EpochConflictError,
    LogAwayError,
    LogFullError,
    LogInfo,
    LogResetError,
    Record,
    StaleEpochError,
    UnknownOutcomeError,
)

BYTES_MAX = 1 << 30


class MemoryStore:
    """The entries and which branch they are.  Used from one event loop.

    `replicas` is what clients are told to wait for; with 0 nothing is acknowledged at
    REPLICATED.  `available` is False while the log is away.
    """

    def __init__(self, replicas: int = 0, bytes_max: int = BYTES_MAX) -> None:
        self.replicas = replicas
        self.bytes_max = bytes_max
        self.available = True
        self.replication_id = uuid.uuid4().hex
        self.records: list[Record] = []
        self.bytes = 0
        self._appended = asyncio.Event()

    def add(self, record: Record) -> None:
        """Put an entry at the end and wake who waits for one.  Raises LogFullError."""
        if self.bytes + len(record.data) > self.bytes_max:
            raise LogFullError(f"memory: {self.bytes} bytes, allowed: {self.bytes_max}")
        self.records.append(record)
        self.bytes += len(record.data)
        self._appended.set()
        self._appended = asyncio.Event()

    async def appended(self, wait_ms: int) -> None:
        """Wait for the next entry, at most so long."""
        event = self._appended
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                await event.wait()
        except TimeoutError:
            return

    def drop(self, count: int) -> None:
        """Forget the oldest entries."""
        self.bytes -= sum(len(record.data) for record in self.records[:count])
        del self.records[:count]

    def fail_over(self, lost: int = 0) -> None:
        """Become another branch, as if a replica took over that lacked the newest entries."""
        if lost:
            self.bytes -= sum(len(record.data) for record in self.records[-lost:])
            del self.records[-lost:]
        self.replication_id = uuid.uuid4().hex

    def wipe(self) -> None:
        """Lose everything but the branch's id, as FLUSHALL does."""
        self.records.clear()
        self.bytes = 0


class MemoryLog:
    """A client of a MemoryStore."""

    kind = "memory"
    place = "memory:"

    def __init__(
        self, store: MemoryStore, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self._replication_id = ""

    async def connect(self) -> LogInfo:
        store = self._there()
        self._replication_id = store.replication_id
        return LogInfo(store.replication_id, *await self.self_check(), self._now_ms())

    async def self_check(self) -> tuple[int, str]:
        replicas = self._there().replicas
        return replicas, "" if replicas else "memory: one process holds it all"

    async def stays(self) -> bool | None:
        return True

    async def last(self) -> Record | None:
        records = self._there().records
        return records[-1] if records else None

    async def first(self) -> Record | None:
        records = self._there().records
        return records[0] if records else None

    async def entry(self, epoch: int, sequence: int) -> Record | None:
        records = self._there().records
        index = bisect_left(records, (epoch, sequence), key=_place)
        found = records[index] if index < len(records) else None
        return found if found and _place(found) == (epoch, sequence) else None

    async def read(self, after: tuple[int, int], wait_ms: int) -> Entries:
        found = self._behind(after)
        if not found and wait_ms:
            await self._store.appended(wait_ms)
            found = self._behind(after)
        if self._store.replication_id != self._replication_id:
            raise LogAwayError("memory: another branch since it was connected to")
        return Entries.of(found)

    async def open_epoch(
        self, epoch: int, data: bytes, expected: tuple[int, int] | None, create: bool
    ) -> None:
        last = await self.last()
        seen = _place(last) if last else None
        if seen != expected:
            raise EpochConflictError(expected, seen)
        if last is None and not create:
            raise LogResetError("memory: the log is empty")
        if last and epoch <= last.epoch:
            raise StaleEpochError(epoch)
        self._store.add(Record(epoch, 0, data))

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        assert 0 <= queue < QUEUES
        last = await self.last()
        if last is None:
            raise LogResetError("memory: the log is empty")
        if epoch < last.epoch:
            raise StaleEpochError(epoch)
        sequence = last.sequence + 1 if epoch == last.epoch else 0
        self._store.add(Record(epoch, sequence, data))
        # As on Redis, the entry is in the log before its branch is looked at.
        if replication_id != self._store.replication_id or sequence == 0:
            raise UnknownOutcomeError("memory: appended to another branch", new_epoch=True)
        if replicas > self._store.replicas:
            raise UnknownOutcomeError(f"replicas: {self._store.replicas} of {replicas}")
        return sequence

    async def trim(self, before: tuple[int, int]) -> None:
        store = self._there()
        store.drop(bisect_left(store.records, before, key=_place))

    async def time_ms(self) -> int:
        self._there()
        return self._now_ms()

    async def size(self) -> tuple[int, int]:
        store = self._there()
        return len(store.records), store.bytes

    async def close(self) -> None:
        """Nothing is held."""

    def _there(self) -> MemoryStore:
        if not self._store.available:
            raise LogAwayError("memory: away")
        return self._store

    def _behind(self, after: tuple[int, int]) -> list[Record]:
        records = self._there().records
        start = bisect_right(records, after, key=_place)
        found: list[Record] = []
        bytes_left = READ_BYTES_MAX
        for record in records[start : start + READ_ENTRIES_MAX]:
            bytes_left -= len(record.data)
            if found and bytes_left < 0:
                break
            found.append(record)
        return found


def _place(record: Record) -> tuple[int, int]:
    return record.epoch, record.sequence
