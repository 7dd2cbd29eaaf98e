"""Retained: the newest raw entries of the log, so that a tail it loses can be appended again."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

from nextbest.server.log.log import Entries, Position, Record

_COMPACT_AT = 1_024
# Redis and SQLite give no larger numbers.
_NUMBER_MAX = (1 << 64) - 1
# What keeping one costs besides its bytes: a start may bring millions of small ones.
ENTRY_BYTES = 80


# Behind every entry.
_LAST = (_NUMBER_MAX, 0)


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
        # Of each entry.  The garbage collector goes over all that is in a list, and over no array.
        self._epochs = array("Q")
        self._sequences = array("Q")
        self._nonces = array("Q")
        self._read_s = array("d")
        self._data: list[bytes] = []
        self._first = 0
        self._bytes = 0
        # Entries let go that were not known to be committed.
        self.uncommitted = 0

    @property
    def base(self) -> Position:
        """The entry before the oldest that is kept."""
        return self._base

    def __len__(self) -> int:
        return len(self._data) - self._first

    def position(self, index: int) -> Position:
        """Of the entry of that number, from 0; of the base for -1."""
        return self._base if index < 0 else self._position(self._first + index)

    def add(self, position: Position, data: bytes, now_s: float) -> None:
        """Keep the next entry."""
        self._epochs.append(position.epoch)
        self._sequences.append(position.sequence)
        self._nonces.append(position.nonce)
        self._read_s.append(now_s)
        self._data.append(data)
        self._bytes += len(data) + ENTRY_BYTES

    def extend(self, entries: Entries, nonces: Iterable[int], now_s: float) -> None:
        """Keep the next entries, of these nonces."""
        self._epochs += entries.epochs
        self._sequences += entries.sequences
        self._nonces.extend(nonces)
        self._read_s.extend(repeat(now_s, len(entries)))
        self._data += entries.data
        self._bytes += sum(map(len, entries.data)) + ENTRY_BYTES * len(entries)

    def cut(self, committed: Position, now_s: float) -> None:
        """Let go of old entries, but not of what is not known to be committed.

        Twice the bound is never passed: a member that runs out of memory keeps nothing at all.
        """
        first = self._first
        if first == len(self._data) or not self._old(first, now_s):
            return
        until = self._behind(committed)
        while first < len(self._data):
            old = self._old(first, now_s)
            if first >= until:
                old = self._bytes > 2 * self._bytes_max
                self.uncommitted += old
            if not old:
                break
            self._bytes -= len(self._data[first]) + ENTRY_BYTES
            first += 1
        if first > self._first:
            self._base = self._position(first - 1)
            self._first = first
        if first > _COMPACT_AT and first * 2 > len(self._data):
            self._drop(0, first)
            self._first = 0

    def _old(self, index: int, now_s: float) -> bool:
        return self._read_s[index] < now_s - self._retain_s or self._bytes > self._bytes_max

    def index(self, place: tuple[int, int]) -> int:
        """The number of the first entry at or behind a place; -1 when the base is."""
        if self._base[:2] >= place:
            return -1
        return self._search(bisect_left, place) - self._first

    def has(self, position: Position) -> bool:
        """Whether this very entry is kept, or is the base."""
        index = self.index(position[:2])
        return index < len(self) and self.position(index) == position

    def after(self, position: Position) -> list[Kept]:
        """The entries behind a position."""
        return [self._kept(index) for index in range(self._behind(position), len(self._data))]

    def take_after(self, position: Position) -> list[Kept]:
        """Remove the entries behind a position, which the log has lost; gives them."""
        lost = self.after(position)
        self._drop(self._behind(position), len(self._data))
        self._bytes -= sum(len(kept.data) + ENTRY_BYTES for kept in lost)
        if position[:2] < self._base[:2]:
            self._base = position
        return lost

    def rewrite(
        self,
        place: tuple[int, int],
        change: Callable[[Record], bytes],
        enough: Callable[[], bool],
    ) -> tuple[int, int]:
        """Change the bytes of the entries behind a place, until it is enough.

        Gives the place to go on from.
        """
        for index in range(self._behind(place), len(self._data)):
            place = self._position(index)[:2]
            data = change(Record(*place, self._data[index]))
            self._bytes += len(data) - len(self._data[index])
            self._data[index] = data
            if enough():
                return place
        return _LAST

    def _behind(self, position: Sequence[int]) -> int:
        return self._search(bisect_right, position)

    def _search(self, bisect: Callable[..., int], position: Sequence[int]) -> int:
        """Where a place belongs: among those of its epoch, or between two epochs."""
        epoch, sequence = position[:2]
        first = bisect_left(self._epochs, epoch, lo=self._first)
        end = bisect_right(self._epochs, epoch, lo=first)
        return bisect(self._sequences, sequence, first, end)

    def _position(self, index: int) -> Position:
        return Position(self._epochs[index], self._sequences[index], self._nonces[index])

    def _kept(self, index: int) -> Kept:
        return Kept(self._position(index), self._data[index], self._read_s[index])

    def _drop(self, first: int, end: int) -> None:
        for numbers in (self._epochs, self._sequences, self._nonces, self._read_s):
            del numbers[first:end]
        del self._data[first:end]
