"""Columns: names and numbers gathered row by row, and then arrays."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nextbest.server.offpolicy.feedback import Floats, Integers

# A context column of text becomes as many columns of 0 and 1.
CATEGORIES_MAX: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column of names: `code` says for each row which of `names`."""

    names: tuple[str, ...]
    code: Integers


class Names:
    """Collects a column of names as numbers."""

    def __init__(self, most: int, may_lack: bool = False) -> None:
        self._may_lack = may_lack
        self._number: dict[str, int] = {}
        self._code = array("q")
        self._most = most

    def add(self, value: object) -> None:
        """ValueError when the value is no name, or one too many."""
        name = "" if value is None else str(value)
        if not name and not self._may_lack:
            raise ValueError("nothing, allowed: a name")
        number = self._number.setdefault(name, len(self._number))
        if number >= self._most:
            raise ValueError(f"one more name, allowed: {self._most:,} different ones")
        self._code.append(number)

    def coded(self) -> Coded:
        """The column, its names in the order of their length and letters, so of numbers too."""
        names = sorted(self._number, key=lambda name: (len(name), name))
        place = np.empty(len(names), dtype=np.int64)
        place[[self._number[name] for name in names]] = np.arange(len(names))
        return Coded(tuple(names), place[np.frombuffer(self._code, dtype=np.int64)])


class Numbers:
    """Collects a column of numbers; `most` and `over` bound them."""

    def __init__(self, over: float = -math.inf, most: float = math.inf) -> None:
        self._values = array("d")
        self._over = over
        self._most = most

    def add(self, value: Any) -> None:
        """ValueError when the value is no finite number, or out of bounds."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError("not a finite number")
        if not self._over < number <= self._most:
            raise ValueError(f"{number:g}, allowed: over {self._over:g}, at most {self._most:g}")
        self._values.append(number)

    def values(self) -> Floats:
        return np.array(self._values, dtype=np.float64)


def as_numbers(column: Coded) -> Floats | None:
    """A column of finite numbers, the mean where there is none; None when it has other texts."""
    try:
        values = np.array([name or math.nan for name in column.names], dtype=np.float64)
    except ValueError:
        return None
    lacking = np.array([not name for name in column.names])
    if lacking.all() or not np.isfinite(values[~lacking]).all():
        return None
    found: Floats = values[column.code]
    return np.where(np.isnan(found), np.nanmean(found), found)
