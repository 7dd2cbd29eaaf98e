"""Snapshots: the files in one folder, from a copy of the state to what a start begins with.

A file counts only when it was written whole, read back, and committed.  None is removed because
it is damaged: it is set aside under another name, and the one before is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from nextbest.server.log.log import Position
from nextbest.server.log.snapshot_file import (
    FORMAT,
    STRIPES_MAX,
    DamagedSnapshotError,
    SnapshotError,
    SnapshotFormatError,
    SnapshotReader,
    SnapshotWriter,
    Verified,
    failure,
)
from nextbest.v1 import common_pb2, log_pb2

KEPT = 2
NAME = re.compile(r"snapshot-(\d{1,12})\.nbs")
_NUMBERED = re.compile(r"snapshot-(\d{1,12})\.nbs(\.\w+)*")
_ASIDE = re.compile(r"snapshot-(\d{1,12})\.nbs\.(corrupt|lost)")
_NEW = ".new"
FAULTS_MAX = 100

# How long copying and writing may go on before the thread rests.  It rests for as long as others
# kept it from its core meanwhile, and at most for this part of the time: on an idle machine never.
_WORK_S = 0.002
_REST_MAX = 0.5
_NICE = 10

_log = logging.getLogger(__name__)

T = TypeVar("T")
Head = Callable[[], Awaitable[log_pb2.SnapshotHead]]
Stripe = Callable[[int], bytes]


class Fault(NamedTuple):
    """A snapshot that could not be used, where it is now, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """A file as a look at the folder finds it; `why` is empty when it can be used."""

    path: Path
    verified: Verified | None
    why: str


class Snapshot:
    """One valid file, open: it can be read even when the folder has moved on."""

    def __init__(self, path: Path, reader: SnapshotReader, verified: Verified) -> None:
        self.path = path
        self.head = verified.head
        self.bytes = verified.bytes
        self._reader = reader

    @property
    def position(self) -> Position:
        """The log is replayed from behind this entry."""
        return _position(self.head.position)

    @property
    def end(self) -> Position:
        """Nothing behind this entry is in it."""
        return _position(self.head.end)

    def stripes(self) -> Iterator[bytes]:
        """The stripes, one at a time; raises DamagedSnapshotError if they changed meanwhile."""
        return self._reader.stripes()

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


class Pending:
    """A file that is written and verified, but does not count yet: commit or discard it."""

    def __init__(self, snapshots: Snapshots, path: Path, verified: Verified) -> None:
        self.path = path
        self.head = verified.head
        self.bytes = verified.bytes
        self._snapshots = snapshots

    @property
    def position(self) -> Position:
        """The log is replayed from behind this entry."""
        return _position(self.head.position)

    @property
    def end(self) -> Position:
        """It may count when everything up to this entry is known to be replicated."""
        return _position(self.head.end)

    async def commit(self) -> Path:
        """Make it the newest and give its path; those before the one before go.

        Raises SnapshotError; the ones there stay.
        """
        try:
            return await self._snapshots.run(lambda: self._snapshots.commit(self.path))
        finally:
            self._snapshots.writing = False

    async def discard(self) -> None:
        """Throw it away."""
        try:
            await self._snapshots.run(lambda: self._snapshots.discard(self.path))
        finally:
            self._snapshots.writing = False


class Snapshots:
    """The snapshots in one folder, which is made if need be.  Raises SnapshotError.

    `faults` are those that could not be used, the newest 100.  What was set aside goes when it is
    older than `aside_days`, and not before there are two to use; 0 keeps it for good.
    """

    def __init__(self, folder: Path, aside_days: int = 0) -> None:
        self.folder = folder
        self._aside_days = aside_days
        self.faults: list[Fault] = []
        self._stop = threading.Event()
        # From the start of a write until it is committed or discarded.
        self.writing = False
        self._thread = ThreadPoolExecutor(1, "snapshot", initializer=_give_way)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in folder.glob("*" + _NEW):
                # A start in between: it never counted.
                left.unlink(missing_ok=True)
        except OSError as error:
            raise failure(folder, error) from error

    async def write(self, stripe: Stripe, head: Head) -> Pending:
        """Copy the state to a file that does not count yet.

        `stripe` is called in a thread for each number below 4,096; empty bytes are left out.
        Then `head` is awaited here, and may take its time, and the file is written to its end
        and read back.  One at a time; raises SnapshotError.
        """
        if self.writing:
            raise SnapshotError(f"{self.folder}: a snapshot is being written")
        self.writing = True
        try:
            return await self._write(stripe, head)
        except BaseException:
            self.writing = False
            raise

    async def _write(self, stripe: Stripe, head: Head) -> Pending:
        path = self.folder / f"snapshot{_NEW}"
        stop = self._stop = threading.Event()
        writer = await self.run(lambda: self._opened(path))
        try:
            await self.run(lambda: self._copy(writer, stripe, stop))
            told = await head()
            told.format = FORMAT
            verified = await self.run(lambda: self._finish(writer, told))
        except BaseException:
            # In the thread, behind what it may still be at when this was cancelled.
            stop.set()
            with contextlib.suppress(RuntimeError):
                self._thread.submit(writer.abandon)
            raise
        return Pending(self, path, verified)

    def newest_valid(self) -> Snapshot | None:
        """The newest snapshot that is whole, after reading all of it; None without one.

        Damaged ones on the way are set aside as `.corrupt`, and noted in `faults` like those
        that cannot be read.  Raises SnapshotFormatError when the newest whole one is of a
        version that is not read here.
        """
        for path in self.paths():
            try:
                return _snapshot(path)
            except SnapshotFormatError:
                raise
            except DamagedSnapshotError as error:
                self._fault(self._aside(path, "corrupt"), str(error))
            except SnapshotError as error:
                self._fault(path, str(error))
        return None

    def set_aside(self, snapshot: Snapshot, why: Literal["corrupt", "lost"]) -> Path:
        """Take a snapshot out of use, under another name that is returned; it is kept."""
        snapshot.close()
        aside = self._aside(snapshot.path, why)
        self._fault(aside, f"{snapshot.path}: {why}")
        return aside

    def paths(self) -> list[Path]:
        """The files in use, the newest first."""
        try:
            named = [(int(m[1]), p) for p in self.folder.iterdir() if (m := NAME.fullmatch(p.name))]
        except OSError as error:
            raise failure(self.folder, error) from error
        return [path for _, path in sorted(named, reverse=True)]

    def add(self, source: Path) -> Path:
        """Copy a snapshot's file here as the newest; raises SnapshotError if it is not whole."""
        reader = SnapshotReader(source)
        try:
            reader.verify()
        finally:
            reader.close()
        path = self.folder / f"restored{_NEW}"
        try:
            shutil.copyfile(source, path)
            path.chmod(0o600)
            _sync(path)
            _verified(path)
        except OSError as error:
            self.discard(path)
            raise failure(path, error) from error
        except SnapshotError:
            self.discard(path)
            raise
        return self.commit(path)

    async def run(self, work: Callable[[], T]) -> T:
        """Do what touches the disk in the thread; it ends even when the caller is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def commit(self, path: Path) -> Path:
        """Give a written file its name; keep two."""
        target = self.folder / _name(self._highest() + 1)
        try:
            path.rename(target)
            _sync(self.folder)
            paths = self.paths()
            for old in [*paths[KEPT:], *(self._outdated() if len(paths) >= KEPT else ())]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise failure(target, error) from error
        return target

    def _outdated(self) -> list[Path]:
        """What was set aside and is older than its time: people who were erased are in it."""
        if not self._aside_days:
            return []
        before_s = time.time() - self._aside_days * 86_400
        aside = [path for path in self.folder.iterdir() if _ASIDE.fullmatch(path.name)]
        old = [path for path in aside if path.stat().st_mtime < before_s]
        for path in old:
            _log.warning("snapshot: %s was set aside and is removed", path.name)
        return old

    def discard(self, path: Path) -> None:
        """Remove a file that never counted."""
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop writing; what is not committed is removed at the next start."""
        self._stop.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _opened(self, path: Path) -> SnapshotWriter:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise failure(path, error) from error
        return SnapshotWriter(path)

    def _copy(self, writer: SnapshotWriter, stripe: Stripe, stop: threading.Event) -> None:
        """Write all stripes, with rests."""
        since_s, used_s = time.perf_counter(), time.thread_time() + writer.disk_s
        for number in range(STRIPES_MAX):
            if data := stripe(number):
                writer.stripe(number, data)
            passed_s = time.perf_counter() - since_s
            if passed_s >= _WORK_S:
                waited_s = passed_s - (time.thread_time() + writer.disk_s - used_s)
                stop.wait(min(max(waited_s, 0.0), passed_s * _REST_MAX))
                since_s, used_s = time.perf_counter(), time.thread_time() + writer.disk_s
            if stop.is_set():
                raise SnapshotError(f"{self.folder}: the server stops")

    def _finish(self, writer: SnapshotWriter, head: log_pb2.SnapshotHead) -> Verified:
        writer.finish(head)
        try:
            return _verified(writer.path)
        except SnapshotError:
            # Kept to be looked at: the disk does not hold what it was given.
            self._fault(self._aside(writer.path, "corrupt"), "not what was written")
            raise

    def _aside(self, path: Path, why: str) -> Path:
        """Rename a file; where that is refused it stays, and is passed over each time."""
        name = (
            path.name if NAME.fullmatch(path.name) else f"snapshot-{self._highest() + 1:012d}.nbs"
        )
        target = path.with_name(f"{name}.{why}")
        try:
            path.rename(target)
            _sync(self.folder)
        except OSError as error:
            _log.warning("snapshot: %s cannot be set aside: %s", path, error.strerror)
            return path
        return target

    def _highest(self) -> int:
        """The highest number ever used here, by those set aside too."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError as error:
            raise failure(self.folder, error) from error
        return max((int(m[1]) for name in names if (m := _NUMBERED.fullmatch(name))), default=0)

    def _fault(self, path: Path, why: str) -> None:
        _log.error("snapshot: %s (now %s)", why, path.name)
        self.faults = [*self.faults, Fault(path, why)][-FAULTS_MAX:]


def look(folder: Path) -> list[Found]:
    """Every file of a folder, read and left as it is: the newest first, then those set aside.

    For tools: it takes no lock and changes nothing.
    """
    try:
        names = [path for path in folder.iterdir() if _NUMBERED.fullmatch(path.name)]
    except OSError as error:
        raise failure(folder, error) from error
    return [_found(path) for path in sorted(names, key=_order, reverse=True)]


def look_at(path: Path) -> Found:
    """One file, read and left as it is."""
    return _found(path)


def _name(number: int) -> str:
    return f"snapshot-{number:012d}.nbs"


def _found(path: Path) -> Found:
    try:
        return Found(path, _verified(path), "")
    except SnapshotError as error:
        return Found(path, None, str(error).removeprefix(f"{path}: "))


def _order(path: Path) -> tuple[bool, str]:
    return NAME.fullmatch(path.name) is not None, path.name


def _snapshot(path: Path) -> Snapshot:
    reader = SnapshotReader(path)
    try:
        return Snapshot(path, reader, reader.verify())
    except BaseException:
        reader.close()
        raise


def _verified(path: Path) -> Verified:
    reader = SnapshotReader(path)
    try:
        return reader.verify()
    finally:
        reader.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _position(message: common_pb2.Position) -> Position:
    return Position(message.epoch, message.sequence, message.nonce)


def _give_way() -> None:
    """Whatever else the process does goes before."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
