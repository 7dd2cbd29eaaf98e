"""Content: a file's bytes as they are asked for, as though all of them were there.

Read, and not mapped into memory: where somebody cuts a mapped file short, the process that reads
it ends with SIGBUS; a server does that when it takes back a record that it could not write.
"""

from __future__ import annotations

import os
from typing import BinaryIO


class FileContent:
    """What a file has now of what it had when it was opened; in slices only."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._size = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        return min(self._size, os.fstat(self._descriptor).st_size)

    def __getitem__(self, part: slice) -> bytes:
        """Raises OSError."""
        start, end, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(end - start, 0), start)
