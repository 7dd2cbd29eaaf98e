"""A log in a file: which action went into which slot, how probably, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import numpy as np

from nextbest.server.load.errors import LoadError
from nextbest.server.load.rows import Reader, Row, format_of
from nextbest.server.offpolicy.columns import CATEGORIES_MAX, Coded, Names, Numbers, as_numbers
from nextbest.server.offpolicy.errors import LogFileError
from nextbest.server.offpolicy.feedback import Floats, Integers
from nextbest.server.playbook.faults import one_of

ROWS_MAX: Final = 5_000_000
ACTIONS_MAX: Final = 10_000
ONLY_SLOT: Final = "all"


@dataclass(frozen=True, slots=True)
class Columns:
    """What a log's columns are called; the names are those of the Open Bandit Dataset.

    slot: empty where there is one slot only.
    context: names or patterns (`user_*`) of what the reward model may see: numbers as they are,
        with the column's mean where there is none, and of other columns each text as 0 or 1.
    cluster: whose rows depend on each other, such as a person's; empty: no row on another.
    """

    action: str = "item_id"
    slot: str = "position"
    reward: str = "click"
    propensity: str = "propensity_score"
    context: tuple[str, ...] = ("user_feature_*",)
    cluster: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class LogFile:
    """A log's columns, one element for each row; None for those that were not read."""

    action: Coded
    slot: Coded
    reward: Floats | None
    propensity: Floats | None
    context: Floats
    cluster: Integers | None


def read_log(path: Path, columns: Columns) -> LogFile:
    """Everything of a log; LogFileError names the first line that is wrong."""
    return _read(path, columns, {"action", "slot", "reward", "propensity", "cluster"})


def read_choices(path: Path, columns: Columns) -> LogFile:
    """What a log chose, and what came of it where it says so; the rest is not read."""
    wanted = Columns(columns.action, columns.slot, columns.reward, "", (), columns.cluster)
    return _read(path, wanted, {"action", "slot"})


class _Table:
    """Collects the columns that are wanted of a log, row by row."""

    def __init__(self, path: Path, columns: Columns, needed: set[str], header: list[str]) -> None:
        self._path = path
        column = _present(path, columns, needed, header)
        bounds = {"reward": (-math.inf, math.inf), "propensity": (0.0, 1.0)}
        most = {"action": ACTIONS_MAX, "slot": ACTIONS_MAX, "cluster": ROWS_MAX}
        self._numbers = {r: Numbers(*bounds[r]) for r in bounds if r in column}
        self._names = {r: Names(most[r]) for r in most if r in column}
        self._context = {
            n: Names(ROWS_MAX, may_lack=True) for n in _matching(columns.context, header)
        }
        self._sources: list[tuple[str, Numbers | Names]] = [
            *((column[role], one) for role, one in self._numbers.items()),
            *((column[role], one) for role, one in self._names.items()),
            *self._context.items(),
        ]

    def add(self, row: Row) -> None:
        """LogFileError with the row's line when one of its cells is wrong."""
        fields = row.fields or {}
        for name, collector in self._sources:
            try:
                collector.add(fields.get(name))
            except ValueError as error:
                raise LogFileError(_place(self._path, row), f"{name}: {error}") from None

    def finish(self) -> LogFile:
        """The columns; LogFileError when one of the context has too many categories."""
        action = self._names["action"].coded()
        slot, cluster = self._names.get("slot"), self._names.get("cluster")
        rows = len(action.code)
        numbers = {role: one.values() for role, one in self._numbers.items()}
        return LogFile(
            action,
            slot.coded() if slot else Coded((ONLY_SLOT,), np.zeros(rows, dtype=np.int64)),
            numbers.get("reward"),
            numbers.get("propensity"),
            np.column_stack([np.empty((rows, 0)), *map(self._spread, self._context)]),
            cluster.coded().code if cluster else None,
        )

    def _spread(self, name: str) -> Floats:
        """(rows x columns) a context column as numbers, or each of its texts as 0 and 1."""
        coded = self._context[name].coded()
        values = as_numbers(coded)
        if values is not None:
            return values[:, np.newaxis]
        if len(coded.names) > CATEGORIES_MAX:
            what = f"{name}: {len(coded.names):,} different texts, allowed: {CATEGORIES_MAX}"
            raise LogFileError(str(self._path), what)
        return np.eye(len(coded.names))[coded.code]


def _read(path: Path, columns: Columns, needed: set[str]) -> LogFile:
    table: _Table | None = None
    for row in _rows(path):
        table = table or _Table(path, columns, needed, list(row.fields or ()))
        table.add(row)
    if table is None:
        raise LogFileError(str(path), "no rows")
    return table.finish()


def _rows(path: Path) -> Iterator[Row]:
    """The rows of a file; LogFileError at the first that cannot be read."""
    try:
        for row in Reader(path, format_of(path)):
            if row.fault:
                raise LogFileError(_place(path, row), row.fault)
            if row.number > ROWS_MAX:
                raise LogFileError(str(path), f"rows: more, allowed: {ROWS_MAX:,}")
            yield row
    except LoadError as error:
        raise LogFileError(str(path), str(error).removeprefix(f"{path}: ")) from error


def _place(path: Path, row: Row) -> str:
    return f"{path}:{row.line or row.number}"


def _present(
    path: Path, columns: Columns, needed: set[str], header: Sequence[str]
) -> dict[str, str]:
    """The column of each role that is there; LogFileError when a needed one is not."""
    found = {}
    for role in ("action", "slot", "reward", "propensity", "cluster"):
        name = getattr(columns, role)
        # An empty name means none, though a column may be called just that.
        if name and name in header:
            found[role] = name
        elif name and role in needed:
            what = f"{role}: no column {name!r}, allowed: {one_of(name, header)}"
            raise LogFileError(str(path), what)
    return found


def _matching(patterns: Sequence[str], header: Sequence[str]) -> list[str]:
    return [name for name in header if any(fnmatchcase(name, one) for one in patterns)]
