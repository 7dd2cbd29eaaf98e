"""The context of recorded decisions as a table: what the reward model sees."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from nextbest.server.offpolicy.feedback import CELLS_MAX, Floats, Integers
from nextbest.server.record.features import Feature

# Of the table: more would be millions of numbers that the reward hardly depends on.
COLUMNS_MAX: Final = 200
# Texts of one feature that are counted, to find the commonest: an id has another one in each row.
TEXTS_MAX: Final = 10_000


class _Column(Protocol):
    """A column that tells rows apart."""

    def write(self, column: Floats) -> None:
        """Fill it in."""


@dataclass(slots=True, eq=False)
class _Numbers:
    """A feature's numbers; where it was not read it has their mean."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def write(self, column: Floats) -> None:
        column[:] = np.mean(self.values)
        column[_indices(self.rows)] = self.values


@dataclass(slots=True, eq=False)
class _Texts:
    """A feature's texts by their numbers; `rare`: there were more than are counted."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    codes: array[int] = field(default_factory=lambda: array("q"))
    code: dict[str, int] = field(default_factory=dict)
    rare: bool = False

    def add(self, row: int, text: str) -> None:
        if text not in self.code and len(self.code) == TEXTS_MAX:
            self.rare = True
            return
        self.rows.append(row)
        self.codes.append(self.code.setdefault(text, len(self.code)))


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """One text of a feature: 1 where it was read, else 0."""

    of: _Texts
    code: int
    count: int

    def write(self, column: Floats) -> None:
        column[_indices(self.of.rows)[_indices(self.of.codes) == self.code]] = 1


class Context:
    """Gathers features row by row: a number as it is, each of the commonest texts as 0 or 1."""

    def __init__(self) -> None:
        self._rows = 0
        self._numbers: dict[str, _Numbers] = {}
        self._texts: dict[str, _Texts] = {}

    def add(self, features: Mapping[str, Feature]) -> None:
        """Take a row."""
        for name, one in features.items():
            if one.number is not None:
                numbers = self._numbers.setdefault(name, _Numbers())
                numbers.rows.append(self._rows)
                numbers.values.append(one.number)
            elif one.text is not None:
                self._texts.setdefault(name, _Texts()).add(self._rows, one.text)
        self._rows += 1

    def table(self) -> tuple[Floats, int]:
        """(rows x columns) numbers first, then the commonest texts; and how many had no room.

        What all rows have alike is no column.  Texts that were not counted are one of a feature.
        """
        columns: list[_Column] = [
            one for _, one in sorted(self._numbers.items()) if min(one.values) < max(one.values)
        ]
        texts = sorted(self._apart(), key=lambda one: -one.count)
        columns += texts
        most = min(COLUMNS_MAX, CELLS_MAX // max(self._rows, 1))
        table = np.zeros((self._rows, min(len(columns), most)), order="F")
        for at, column in enumerate(columns[:most]):
            column.write(table[:, at])
        rare = sum(one.rare for one in self._texts.values())
        return table, max(len(columns) - most, 0) + rare

    def _apart(self) -> Iterator[_Text]:
        """Each text that some rows have, and not all."""
        for _, one in sorted(self._texts.items()):
            for code, count in enumerate(np.bincount(_indices(one.codes)).tolist()):
                if count < self._rows:
                    yield _Text(one, code, count)


def _indices(of: array[int]) -> Integers:
    return np.frombuffer(of, dtype=np.int64)
