"""The context of recorded decisions as a table: what the reward model sees."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Final

import numpy as np

from nextbest.server.offpolicy.columns import CATEGORIES_MAX
from nextbest.server.offpolicy.feedback import Floats
from nextbest.server.record.features import Feature

# Of the table: more would be millions of numbers that the reward hardly depends on.
COLUMNS_MAX: Final = 200


class Context:
    """Gathers features row by row: a number as it is, each text as 0 or 1.

    A number that was not read is the mean; a text of too many kinds is left out.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._numbers: dict[str, tuple[array[int], array[float]]] = {}
        self._texts: dict[str, tuple[array[int], array[int], dict[str, int]]] = {}

    def add(self, features: Mapping[str, Feature]) -> None:
        """Take a row."""
        for name, one in features.items():
            if one.number is not None:
                rows, values = self._numbers.setdefault(name, (array("q"), array("d")))
                rows.append(self._rows)
                values.append(one.number)
            elif one.text is not None:
                self._add_text(name, one.text)
        self._rows += 1

    def _add_text(self, name: str, text: str) -> None:
        rows, codes, kinds = self._texts.setdefault(name, (array("q"), array("q"), {}))
        if len(kinds) <= CATEGORIES_MAX:
            rows.append(self._rows)
            codes.append(kinds.setdefault(text, len(kinds)))

    def values(self, rows: int) -> Floats:
        """(rows x columns) those that tell rows apart, numbers first."""
        columns: list[Floats] = []
        for name in sorted(self._numbers):
            at, values = self._numbers[name]
            column = np.full(rows, float(np.mean(values)))
            column[np.array(at)] = values
            columns.append(column)
        for name in sorted(self._texts):
            columns += self._spread(name, rows)
        apart = [one for one in columns if np.ptp(one) > 0][:COLUMNS_MAX]
        return np.column_stack(apart) if apart else np.empty((rows, 0))

    def _spread(self, name: str, rows: int) -> list[Floats]:
        """A column of 0 and 1 for each text."""
        at, codes, kinds = self._texts[name]
        if len(kinds) > CATEGORIES_MAX:
            return []
        code = np.full(rows, -1, dtype=np.int64)
        code[np.array(at, dtype=np.int64)] = codes
        return [(code == one).astype(np.float64) for one in range(len(kinds))]
