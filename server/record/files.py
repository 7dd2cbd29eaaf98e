"""The files of records: all of some folders, the oldest first, or single ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from nextbest.server.record.content import FileContent
from nextbest.server.record.errors import CutRecordError, DamagedRecordError, RecordError
from nextbest.server.record.frames import Frame, frames

SUFFIX = ".records"
EXPORT_SUFFIX = ".parquet"
# Of a server's data folder.
FOLDER = "records"


def folder_of(path: Path) -> Path:
    """The records of a server's data folder; any other path as it is."""
    records = path / FOLDER
    return records if records.is_dir() and not any(path.glob(f"*{SUFFIX}")) else path


class Files:
    """Reads records; what is damaged is kept aside, and so is what a crash has cut off.

    paths: files and folders; each node writes a folder of its own, and what came of a decision may
    be in another one's.
    """

    def __init__(self, *paths: Path) -> None:
        for path in paths:
            if path.suffix == EXPORT_SUFFIX:
                raise RecordError(f"{path}: an export, allowed: the records that it was made of")
        self._parts = [sorted(one.glob(f"*{SUFFIX}")) if one.is_dir() else [one] for one in paths]
        self.paths = [path for part in self._parts for path in part]
        # Where the playbooks are.
        self.folders = [one if one.is_dir() else one.parent for one in paths]
        self.damaged: list[DamagedRecordError] = []
        self.cut: list[CutRecordError] = []
        # How far they have been read since the last start.
        self.read_bytes = 0

    @property
    def folder(self) -> Path:
        """The first one."""
        return self.folders[0]

    @cached_property
    def total_bytes(self) -> int:
        """The size of all files, as it is when it is asked for first.  Raises OSError."""
        return sum(path.stat().st_size for path in self.paths if path.exists())

    def frames(self) -> Iterator[Frame]:
        """Each whole record, decisions and outcomes, from the start.  Raises OSError."""
        self.damaged, self.cut, self.read_bytes = [], [], 0
        parts = [self._part(part) for part in self._parts]
        # Those of one folder stand in the order in which they were written.
        return parts[0] if len(parts) == 1 else heapq.merge(*parts, key=_decided_at_us)

    def decisions(self, id: str = "") -> Iterator[Frame]:
        """Each decision, or those of one id."""
        for frame in self.frames():
            if not frame.record.HasField("outcome") and id in ("", frame.decision_id):
                yield frame

    def _part(self, paths: Sequence[Path]) -> Iterator[Frame]:
        for path in paths:
            try:
                with path.open("rb") as file:
                    yield from self._file(str(path), file)
            except FileNotFoundError:
                # Where the server runs, the oldest file goes when a new one is begun.
                if not path.parent.is_dir():
                    raise

    def _file(self, path: str, file: BinaryIO) -> Iterator[Frame]:
        content = FileContent(file)
        size, at = len(content), 0
        for frame in self._whole(frames(path, content)):
            self.read_bytes += frame.offset - at
            at = frame.offset
            yield frame
        self.read_bytes += size - at

    def _whole(self, found: Iterator[Frame | DamagedRecordError]) -> Iterator[Frame]:
        for frame in found:
            if isinstance(frame, CutRecordError):
                self.cut.append(frame)
            elif isinstance(frame, DamagedRecordError):
                self.damaged.append(frame)
            else:
                yield frame


def _decided_at_us(frame: Frame) -> int:
    return frame.record.decided_at_us
