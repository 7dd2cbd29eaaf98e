"""The log in one SQLite file, for a server without Redis: durable on this machine's disk.

One process at a time has the file.  A thread of its own does all work on it, so that a slow disk
holds up nobody who does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
import uuid
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nextbest.server.log.log import (
    READ_BYTES_MAX,
    READ_ENTRIES_MAX,
    REPLICATED_QUEUE,
    Entries,
    EpochConflictError,
    LogAwayError,
    LogError,
    LogFullError,
    LogInfo,
    LogInUseError,
    LogPlaceError,
    LogResetError,
    NotReplicatedError,
    Record,
    StaleEpochError,
    UnknownOutcomeError,
)
from nextbest.server.log.settings import BackendSettings

PAGE_BYTES = 16_384
# For one whole batch, in the WAL and in the file.
ROOM_BYTES = 524_288
# Entries let go in one transaction, so that appends get in between.
TRIM_STEP = 256
# A row's key is its epoch and its sequence in one number, which keeps rows in the log's order.
_SEQUENCE_BITS = 40
_SEQUENCE_MAX = (1 << _SEQUENCE_BITS) - 1
_EPOCH_MAX = (1 << (63 - _SEQUENCE_BITS)) - 1
# SQLite's application id of a log: "nblo".
_MARK = 0x6E626C6F
_REFUSED = "sqlite: one file on one disk holds it all"
_PRAGMAS = (
    # Before anything is read: no other process gets in, and no shared memory is needed.
    "locking_mode=EXCLUSIVE",
    f"page_size={PAGE_BYTES}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=FAST",
)

_Result = TypeVar("_Result")


class _Waiter:
    """Somebody on an event loop who waits for the thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def tell(self, result: Any, error: BaseException | None = None) -> None:
        """Give the result, or the error, from the thread."""
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._set, result, error)

    def _set(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class _Append(NamedTuple):
    """An append that waits for the next commit."""

    epoch: int
    data: bytes
    waiter: _Waiter


class _File:
    """The open file.  Used by the thread only."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._lock: int | None = None
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._settled = False
        self._why = "not open"
        self.count = 0
        self.tail: tuple[int, int] | None = None

    def open(self) -> None:
        """Take the file for this process, open it, and read where it ends."""
        self.close_database("opened again")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = _locked(self._path)
        except OSError as error:
            raise LogAwayError(f"{self._path}: {error.strerror}") from error
        self._checked(self._open)

    def _open(self) -> None:
        # Its entries are of people: nobody else reads it, nor the files that SQLite puts beside.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        database = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=0
        )
        self._database = database
        for pragma in _PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
        database.execute(f"PRAGMA max_page_count={self._bytes_max // page_bytes}")
        self._claim(database)
        self.count, last = database.execute("SELECT count(*), max(id) FROM entries").fetchone()
        self.tail = None if last is None else _place(last)
        self._inode = self._path.stat().st_ino
        self._settled = False

    def _claim(self, database: sqlite3.Connection) -> None:
        """Make a new file ours, and leave alone what is somebody else's."""
        (mark,) = database.execute("PRAGMA application_id").fetchone()
        if mark == _MARK:
            return
        if database.execute("SELECT 1 FROM sqlite_master").fetchone():
            self.close_database("not a log")
            raise LogPlaceError("log", f"{self._path} with other tables", "a file of its own")
        database.execute("BEGIN")
        database.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, data BLOB)")
        database.execute(f"PRAGMA application_id={_MARK}")
        database.execute("COMMIT")

    def _settle(self, database: sqlite3.Connection) -> None:
        """Before the first write: bring what the WAL holds into the file, durably.

        After an fsync that failed, the WAL may read well though it is not on the disk; entries
        behind it would be lost with it.
        """
        if not self._settled:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._settled = True

    def close_database(self, why: str) -> None:
        """Close without another try at whatever failed."""
        database, self._database, self._why = self._database, None, why
        if database is not None:
            try:
                database.close()
            except sqlite3.Error as error:
                self._why = f"{why}; closing: {error}"

    def close(self) -> None:
        """Close the file and let other processes have it."""
        self.close_database("closed")
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def rows(self, where: str, values: tuple[int, ...]) -> Entries:
        """At most READ_ENTRIES_MAX rows and READ_BYTES_MAX bytes, and at least one row."""
        return self._checked(lambda: self._rows(where, values))

    def _rows(self, where: str, values: tuple[int, ...]) -> Entries:
        keys: list[int] = []
        found: list[bytes] = []
        bytes_left = READ_BYTES_MAX
        cursor = self._there().execute(f"SELECT id, data FROM entries {where}", values)
        for key, data in cursor:
            bytes_left -= len(data)
            if found and bytes_left < 0:
                break
            keys.append(key)
            found.append(data)
            if len(found) == READ_ENTRIES_MAX:
                break
        cursor.close()
        epochs = array("Q", [key >> _SEQUENCE_BITS for key in keys])
        return Entries(epochs, array("Q", [key & _SEQUENCE_MAX for key in keys]), found)

    def insert(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Add rows of epoch, sequence and data in one durable transaction.

        Raises LogFullError and LogAwayError: they are not there; UnknownOutcomeError: the commit
        failed, and only reading the file anew can tell.
        """
        self._checked(lambda: self._insert(rows))
        self.count += len(rows)
        self.tail = rows[-1][:2]

    def _insert(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        database = self._there()
        try:
            removed = self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            removed = True
        if removed:
            # SQLite would go on writing to a file that nobody can find again.
            raise LogResetError(f"{self._path}: the file was removed or replaced")
        self._settle(database)
        database.execute("BEGIN")
        keyed = [(_key(epoch, sequence), data) for epoch, sequence, data in rows]
        database.executemany("INSERT INTO entries VALUES (?, ?)", keyed)
        self._commit(database)

    def require_room(self) -> None:
        """Raise LogFullError unless the disk has room for an epoch's opening and what follows it.

        Else each try on a full disk would leave another epoch with nothing in it.
        """
        disk = self._checked(lambda: os.statvfs(self._path))
        free = disk.f_bavail * disk.f_frsize
        if free < ROOM_BYTES:
            raise LogFullError(
                f"{self._path}: {free} bytes are free, allowed: {ROOM_BYTES} or more"
            )

    def delete(self, before: int) -> int:
        """Remove the oldest rows before a key, at most TRIM_STEP; how many there were."""
        return self._checked(lambda: self._delete(before))

    def _delete(self, before: int) -> int:
        database = self._there()
        self._settle(database)
        database.execute("BEGIN")
        oldest = "SELECT id FROM entries WHERE id < ? ORDER BY id LIMIT ?"
        cursor = database.execute(
            f"DELETE FROM entries WHERE id IN ({oldest})", (before, TRIM_STEP)
        )
        self._commit(database)
        self.count -= cursor.rowcount
        return cursor.rowcount

    def bytes(self) -> int:
        """How many bytes of the file are in use."""

        def used() -> int:
            database = self._there()
            values = [
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            ]
            return int((values[0] - values[1]) * values[2])

        return self._checked(used)

    def _commit(self, database: sqlite3.Connection) -> None:
        try:
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if _primary(error) == sqlite3.SQLITE_FULL:
                raise
            # What reached the disk before the fault is not known.
            self.close_database(str(error))
            raise UnknownOutcomeError(f"{self._path}: commit: {error}", new_epoch=True) from error

    def _there(self) -> sqlite3.Connection:
        if self._database is None:
            raise LogAwayError(f"{self._path}: {self._why}")
        return self._database

    def _checked(self, work: Callable[[], _Result]) -> _Result:
        """Do work; after any fault the file is closed, and only `open` goes on."""
        try:
            return work()
        except sqlite3.Error as error:
            self.close_database(str(error))
            kind = LogFullError if _primary(error) == sqlite3.SQLITE_FULL else LogAwayError
            raise kind(f"{self._path}: {error}") from error
        except OSError as error:
            self.close_database(str(error.strerror))
            raise LogAwayError(f"{self._path}: {error.strerror}") from error


class SqliteLog:
    """The client of a log in a file; there is one for a file at a time, in any process."""

    kind = "sqlite"

    def __init__(self, path: str, settings: BackendSettings) -> None:
        self.place = f"sqlite:{path}"
        self._file = _File(Path(path), settings.file_bytes_max)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Filled by the loop, emptied by the thread; one for each of who may append at a time.
        self._appends: deque[_Append] = deque()
        self._thread: threading.Thread | None = None
        self._replication_id = ""
        self._appended = asyncio.Event()

    async def connect(self) -> LogInfo:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="log", daemon=True)
            self._thread.start()
        await self._do(self._file.open)
        # Fresh each time, so that whoever appends opens an epoch first, behind what is there.
        self._replication_id = uuid.uuid4().hex
        return LogInfo(self._replication_id, *await self.self_check(), await self.time_ms())

    async def self_check(self) -> tuple[int, str]:
        return 0, _REFUSED

    async def stays(self) -> bool | None:
        return True

    async def last(self) -> Record | None:
        return await self._one("ORDER BY id DESC LIMIT 1", ())

    async def first(self) -> Record | None:
        return await self._one("ORDER BY id LIMIT 1", ())

    async def entry(self, epoch: int, sequence: int) -> Record | None:
        return await self._one("WHERE id = ?", (_key(epoch, sequence),))

    async def read(self, after: tuple[int, int], wait_ms: int) -> Entries:
        event = self._appended
        found = await self._behind(after)
        if found or not wait_ms:
            return found
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                await event.wait()
        except TimeoutError:
            return found
        return await self._behind(after)

    async def open_epoch(
        self, epoch: int, data: bytes, expected: tuple[int, int] | None, create: bool
    ) -> None:
        await self._do(lambda: self._open_epoch(epoch, data, expected, create))
        self._wake()

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        if queue == REPLICATED_QUEUE or replicas:
            raise NotReplicatedError(_REFUSED)
        if self._thread is None:
            raise LogAwayError(f"{self.place}: closed")
        if replication_id != self._replication_id:
            raise UnknownOutcomeError(f"{self.place}: opened again", new_epoch=True)
        waiter = _Waiter()
        self._appends.append(_Append(epoch, data, waiter))
        self._jobs.put(self._commit)
        sequence: int = await waiter.future
        self._wake()
        return sequence

    async def trim(self, before: tuple[int, int]) -> None:
        key = _key(*before)
        while await self._do(lambda: self._file.delete(key)) == TRIM_STEP:
            pass

    async def time_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def size(self) -> tuple[int, int]:
        return await self._do(lambda: (self._file.count, self._file.bytes()))

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    def _wake(self) -> None:
        self._appended.set()
        self._appended = asyncio.Event()

    async def _behind(self, after: tuple[int, int]) -> Entries:
        return await self._do(lambda: self._file.rows("WHERE id > ? ORDER BY id", (_key(*after),)))

    async def _one(self, where: str, values: tuple[int, ...]) -> Record | None:
        found = await self._do(lambda: self._file.rows(where, values))
        return found[0] if found else None

    async def _do(self, work: Callable[[], _Result]) -> _Result:
        """Have the thread do work, after what it was given before, and wait for it."""
        if self._thread is None:
            raise LogAwayError(f"{self.place}: closed")
        waiter = _Waiter()

        def job() -> None:
            try:
                waiter.tell(work())
            except Exception as error:
                waiter.tell(None, error)

        self._jobs.put(job)
        result: _Result = await waiter.future
        return result

    def _work(self) -> None:
        """The thread: one job after another, until there is no more."""
        while (job := self._jobs.get()) is not None:
            job()
        self._commit()
        self._file.close()

    def _open_epoch(
        self, epoch: int, data: bytes, expected: tuple[int, int] | None, create: bool
    ) -> None:
        tail = self._file.tail
        if tail != expected:
            raise EpochConflictError(expected, tail)
        if tail is None and not create:
            raise LogResetError(f"{self.place}: empty")
        if tail and epoch <= tail[0]:
            raise StaleEpochError(epoch)
        if epoch > _EPOCH_MAX:
            raise LogFullError(f"epoch: {epoch}, allowed: {_EPOCH_MAX}")
        self._file.require_room()
        self._file.insert([(epoch, 0, data)])

    def _commit(self) -> None:
        """Commit all appends that wait, together: what came meanwhile shares the disk's time."""
        rows: list[tuple[int, int, bytes]] = []
        waiters = []
        while self._appends:
            append = self._appends.popleft()
            try:
                sequence = self._next(append.epoch, len(rows))
            except LogError as error:
                append.waiter.tell(None, error)
            else:
                rows.append((append.epoch, sequence, append.data))
                waiters.append(append.waiter)
        if not rows:
            return
        try:
            self._file.insert(rows)
        except Exception as error:
            for waiter in waiters:
                waiter.tell(None, error)
        else:
            for row, waiter in zip(rows, waiters, strict=True):
                waiter.tell(row[1])

    def _next(self, epoch: int, ahead: int) -> int:
        """The sequence of an append that follows `ahead` others not committed yet."""
        tail = self._file.tail
        if tail is None:
            raise LogResetError(f"{self.place}: empty")
        if epoch < tail[0]:
            raise StaleEpochError(epoch)
        if epoch > tail[0]:
            raise UnknownOutcomeError(f"{self.place}: epoch {epoch} is gone", new_epoch=True)
        return tail[1] + 1 + ahead


def _locked(path: Path) -> int:
    """A descriptor that keeps other processes away from the file.  Raises LogInUseError."""
    beside = path.with_name(path.name + ".lock")
    lock = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise LogInUseError(str(path), int(owner) if owner.isdecimal() else 0) from None
    except OSError:
        os.close(lock)
        raise
    return lock


def _key(epoch: int, sequence: int) -> int:
    # Whatever is past the largest is behind every entry.
    return min(epoch, _EPOCH_MAX) << _SEQUENCE_BITS | min(sequence, _SEQUENCE_MAX)


def _place(key: int) -> tuple[int, int]:
    return key >> _SEQUENCE_BITS, key & _SEQUENCE_MAX


def _primary(error: sqlite3.Error) -> int:
    """SQLite's primary code for an error: extended codes keep it in their low byte."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
