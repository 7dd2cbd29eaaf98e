"""Whether every subject has one row: two would count one person as two."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np


class Repeat(NamedTuple):
    """The lines of a subject's first and second row."""

    first: int
    second: int


class Once:
    """Remembers 16 bytes for each subject, of which none tells who it is.

    Two of 50 million subjects share a hash of 64 bits in one run of 15,000, and not in the next
    run, since each has a seed of its own.
    """

    def __init__(self) -> None:
        self._hashes = array("q")
        self._lines = array("q")

    def add(self, subject: str, line: int) -> None:
        """Take a row."""
        self._hashes.append(hash(subject))
        self._lines.append(line)

    def repeat(self) -> Repeat | None:
        """The first row that is its subject's second; None when there is none."""
        hashes, lines = np.array(self._hashes), np.array(self._lines)
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(np.diff(hashes[order]) == 0)
        if not same.size:
            return None
        place = same[np.argmin(lines[order[same + 1]])]
        return Repeat(int(lines[order[place]]), int(lines[order[place + 1]]))
