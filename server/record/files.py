"""The files of records: all of a folder, the oldest first, or one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nextbest.server.record.errors import DamagedRecordError
from nextbest.server.record.frames import Frame, frames

SUFFIX = ".records"


class Files:
    """Reads records; what is damaged is kept aside."""

    def __init__(self, path: Path) -> None:
        self.paths = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        # Where the playbooks are.
        self.folder = path if path.is_dir() else path.parent
        self.damaged: list[DamagedRecordError] = []

    def frames(self) -> Iterator[Frame]:
        """Each whole record, decisions and outcomes.  Raises OSError."""
        for path in self.paths:
            for frame in frames(str(path), path.read_bytes()):
                if isinstance(frame, DamagedRecordError):
                    self.damaged.append(frame)
                else:
                    yield frame

    def decisions(self, id: str = "") -> Iterator[Frame]:
        """Each decision, or those of one id."""
        for frame in self.frames():
            if not frame.record.HasField("outcome") and id in ("", frame.decision_id):
                yield frame
