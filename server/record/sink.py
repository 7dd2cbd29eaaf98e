"""The sink: takes records from the engine and keeps them in files, the newest ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from nextbest.core import Engine
from nextbest.server.record import publications
from nextbest.server.record.files import SUFFIX
from nextbest.server.record.stream import Stream
from nextbest.v1 import mutation_pb2

# How long records wait in memory.
TURN_S = 0.1

_PLAYBOOKS, _RECORDS = "the playbooks", "records"

_log = logging.getLogger(__name__)

# What was published, as far as it is known.
Published = Callable[[], Iterable[mutation_pb2.Publication]]


class Sink:
    """Writes what the engine records, a file after another; the oldest files go.

    folder: with the files, and in it the playbooks that they need.
    file_bytes_max, files_max: when the next file begins, and how many are kept.
    stream: takes the same records, as far as it can.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        file_bytes_max: int,
        files_max: int,
        published: Published,
        stream: Stream | None = None,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._published = published
        self.stream = stream
        self._path: Path | None = None
        # The playbook that decided when all were kept; without one there is nothing to keep.
        self._kept = b""
        # What cannot be written at present.
        self._failing: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    def open(self, share: float, buffer_bytes: int, explored: bool = False) -> None:
        """Make the folder, and have the engine record.  Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._engine.record(share, buffer_bytes, explored)

    async def run(self) -> None:
        """Write until cancelled, and what is left then."""
        streaming = asyncio.create_task(self.stream.run()) if self.stream else None
        try:
            while True:
                await asyncio.sleep(TURN_S)
                await self._turn()
        finally:
            if self._writing is not None:
                await asyncio.wait([self._writing])
            await self._pass_on()
            if streaming is not None:
                streaming.cancel()
                await asyncio.wait([streaming])

    async def _turn(self) -> None:
        if self._engine.records().waiting_bytes:
            # Whatever becomes of this task, what was taken is written, and in its order.
            self._writing = asyncio.create_task(self._pass_on())
            await asyncio.shield(self._writing)

    async def _pass_on(self) -> None:
        content = b""
        try:
            # Beside the loop: a full buffer takes tens of milliseconds.
            content = await asyncio.to_thread(self._engine.take_records)
            # Before what it decided: records without their playbook cannot be decided again.
            self._keep_playbooks()
            self._offer(content)
            await asyncio.to_thread(self._write, content)
        except Exception as error:  # Whatever it is, the next records are to be written.
            self._engine.lose_records(len(content))
            self._complain(_RECORDS, error)

    def _offer(self, content: bytes) -> None:
        if self.stream is not None and content:
            self.stream.offer(content)

    def _keep_playbooks(self) -> None:
        """Keep all that are known when another one decides: one may have come and gone since."""
        decides = self._engine.playbook_hash
        if decides in (b"", self._kept):
            return
        with self._told(_PLAYBOOKS):
            published = list(self._published())
            for publication in published:
                if self.stream is not None:
                    self.stream.keep(publication)
                publications.keep(self._folder, publication)
            if decides in {one.hash for one in published}:
                self._kept = decides
            self._failing.discard(_PLAYBOOKS)

    def _write(self, content: bytes) -> None:
        if content:
            _append(self._file(), content)
            self._failing.discard(_RECORDS)

    def _file(self) -> Path:
        """The file to append to: a new one at the start, and when one is full."""
        path = self._path
        if path is None or not path.exists() or path.stat().st_size >= self._file_bytes_max:
            path = self._path = self._folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}{SUFFIX}"
            self._forget()
        return path

    def _forget(self) -> None:
        """Drop the oldest files, so that with the new one there are as many as may be."""
        files = sorted(self._folder.glob(f"*{SUFFIX}"))
        for file in files[: max(len(files) - self._files_max + 1, 0)]:
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._complain(what, error)

    def _complain(self, what: str, error: Exception) -> None:
        """Once, until it can be written again."""
        if what not in self._failing:
            _log.error("records: %s cannot be written to %s: %s", what, self._folder, error)
        self._failing.add(what)


def _append(path: Path, content: bytes) -> None:
    """Append all of it, or nothing: what follows half a record would read like damage."""
    with open(path, "ab", buffering=0, opener=_private) as file:
        before = file.tell()
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(before)
            raise


def _private(path: str, flags: int) -> int:
    """Records hold what is known of people."""
    return os.open(path, flags, 0o600)
