"""Retained: the newest raw entries of the log, so that a tail it loses can be appended again."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from nextbest.server.log.log import Position

_COMPACT_AT = 1_024


class Kept(NamedTuple):
    """An entry as it was read, and when, on the loop's clock."""

    position: Position
    data: bytes
    read_s: float


class Retained:
    """Entries without a gap, oldest first; `base` is the one before the first."""

    def __init__(self, base: Position, retain_ms: int, bytes_max: int) -> None:
        self._base = base
        self._retain_s = retain_ms / 1_000
        self._bytes_max = bytes_max
        self._entries: list[Kept] = []
        self._first = 0
        self._bytes = 0
        # Entries let go that were not known to be committed.
        self.uncommitted = 0

    @property
    def base(self) -> Position:
        """The entry before the oldest that is kept."""
        return self._base

    def __len__(self) -> int:
        return len(self._entries) - self._first

    def position(self, index: int) -> Position:
        """Of the entry of that number, from 0; of the base for -1."""
        return self._base if index < 0 else self._entries[self._first + index].position

    def add(self, position: Position, data: bytes, now_s: float) -> None:
        """Keep the next entry."""
        self._entries.append(Kept(position, data, now_s))
        self._bytes += len(data)

    def cut(self, committed: Position, now_s: float) -> None:
        """Let go of old entries, but not of what is not known to be committed.

        Twice the bound is never passed: a member that runs out of memory keeps nothing at all.
        """
        while self._first < len(self._entries):
            kept = self._entries[self._first]
            old = kept.read_s < now_s - self._retain_s or self._bytes > self._bytes_max
            if kept.position[:2] > committed[:2]:
                old = self._bytes > 2 * self._bytes_max
                self.uncommitted += old
            if not old:
                break
            self._base = kept.position
            self._bytes -= len(kept.data)
            self._first += 1
        if self._first > _COMPACT_AT and self._first * 2 > len(self._entries):
            del self._entries[: self._first]
            self._first = 0

    def index(self, place: tuple[int, int]) -> int:
        """The number of the first entry at or behind a place; -1 when the base is."""
        if self._base[:2] >= place:
            return -1
        found = bisect_left(
            self._entries, place, lo=self._first, key=lambda kept: kept.position[:2]
        )
        return found - self._first

    def has(self, position: Position) -> bool:
        """Whether this very entry is kept, or is the base."""
        index = self.index(position[:2])
        return index < len(self) and self.position(index) == position

    def after(self, position: Position) -> list[Kept]:
        """The entries behind a position."""
        return self._entries[self._index(position) :]

    def take_after(self, position: Position) -> list[Kept]:
        """Remove the entries behind a position, which the log has lost; gives them."""
        index = self._index(position)
        lost = self._entries[index:]
        del self._entries[index:]
        self._bytes -= sum(len(kept.data) for kept in lost)
        if position[:2] < self._base[:2]:
            self._base = position
        return lost

    def _index(self, position: Position) -> int:
        key = position[:2]
        return bisect_right(self._entries, key, lo=self._first, key=lambda kept: kept.position[:2])
