"""A file with one row per subject, read into arrays.

Owns columns and cells; what the numbers mean is the analysis's.  Faults quote a cell only when it
is a number: a wrong column may hold what belongs to a person.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nextbest.server.experiment.errors import (
    CellError,
    FileError,
    OptionError,
    TooFewError,
    UnknownColumnError,
)
from nextbest.server.experiment.once import Once
from nextbest.server.experiment.subjects import (
    NUMBER_MAX,
    VARIANTS_MAX,
    Covariate,
    Kind,
    Metric,
    Subjects,
)
from nextbest.server.load.errors import LoadError
from nextbest.server.load.rows import Fields, Reader, Row, format_of
from nextbest.server.playbook.faults import one_of

ROWS_MAX: Final = 50_000_000
NAME_CHARACTERS_MAX: Final = 100
METRICS_MAX: Final = 50
_TRUTH: Final[dict[object, float]] = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}

Cell = Callable[[object], float | None]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what; `control` is a value of the variant's column.

    subject: has each subject's id, which is only compared with the others; "" when none is given.
    """

    variant: str
    control: str
    conversions: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    subject: str = ""

    def __post_init__(self) -> None:
        named = [name for name, _ in self.numbers()]
        if not self.conversions and not self.values:
            raise OptionError("--conversion, --value", "neither", f"1 to {METRICS_MAX} columns")
        if len(named) > METRICS_MAX:
            raise OptionError("--conversion, --value", f"{len(named)} columns", f"{METRICS_MAX}")
        for name in named:
            if named.count(name) > 1 or name in (self.variant, self.subject):
                raise OptionError("columns", f"{name!r} is named twice", "each column once")

    def numbers(self) -> list[tuple[str, Kind]]:
        """The columns that hold numbers, in the order of the options."""
        amounts = [(name, Kind.VALUE) for name in (*self.values, *self.covariates)]
        return [*((name, Kind.CONVERSION) for name in self.conversions), *amounts]


def read(file: Path, columns: Columns) -> Subjects:
    """The subjects of a CSV, JSON lines or Parquet file; .gz too.

    An ExperimentError names the file, the line and the column of the first fault.
    """
    try:
        reading = _Reading(file, columns)
        for place, fields in _rows(file):
            reading.add(place, fields)
    except LoadError as error:
        raise FileError(file, str(error).removeprefix(f"{file}: ")) from error
    return reading.subjects()


def _unit(file: Path) -> str:
    return "row" if format_of(file) == "parquet" else "line"


def _rows(file: Path) -> Iterator[tuple[int, Fields]]:
    """Each row with its line, or its number where a file has no lines."""
    format_ = format_of(file)
    before = 1 if format_ == "csv" else 0
    delimiter = "\t" if ".tsv" in file.suffixes else ","
    for row in Reader(file, format_, delimiter):
        if row.number > ROWS_MAX:
            raise FileError(file, f"more than {ROWS_MAX:,} rows, allowed: up to that many")
        place = row.number + before
        if row.fields is None:
            raise FileError(file, f"{_unit(file)} {place}: {row.fault}")
        before += _more_lines(row)
        yield place, row.fields


def _more_lines(row: Row) -> int:
    """How many lines a row takes besides its first: quoted cells may hold some."""
    return row.raw.count("\n") if isinstance(row.raw, str) else 0


class _Reading:
    """Collects the rows of a file, 8 bytes a number."""

    def __init__(self, file: Path, columns: Columns) -> None:
        self._file = file
        self._columns = columns
        self._unit = _unit(file)
        self._once = Once()
        self._codes = array("i")
        self._variants: dict[str, int] = {}
        self._numbers = [
            (name, _truth if kind is Kind.CONVERSION else _amount, array("d"))
            for name, kind in columns.numbers()
        ]

    def add(self, place: int, fields: Fields) -> None:
        """Take a row's cells; CellError at the first that is not allowed."""
        if not self._codes:
            self._check_columns(fields)
        self._codes.append(self._variant(place, fields))
        if self._columns.subject:
            self._once.add(self._subject(place, fields), place)
        for name, cell, kept in self._numbers:
            number = cell(fields.get(name))
            if number is None:
                allowed = "0, 1, true or false" if cell is _truth else f"a number, +-{NUMBER_MAX:g}"
                raise self._fault(place, name, _seen(fields.get(name)), allowed)
            kept.append(number)

    def subjects(self) -> Subjects:
        """What was read, the control's code being 0."""
        if not self._codes:
            raise TooFewError(f"{self._file.name}: no rows, allowed: one per subject")
        self._check_subjects()
        names = list(self._variants)
        control = self._columns.control
        if control not in names:
            raise OptionError("--control", repr(control), one_of(control, sorted(names)))
        order = [control, *sorted(name for name in names if name != control)]
        codes = np.array([order.index(name) for name in names], np.int32)
        metrics, covariates = self._split()
        return Subjects(tuple(order), codes[np.array(self._codes)], metrics, covariates)

    def _split(self) -> tuple[tuple[Metric, ...], tuple[Covariate, ...]]:
        arrays = {name: np.array(kept) for name, _, kept in self._numbers}
        kinds = self._columns.numbers()[: len(arrays) - len(self._columns.covariates)]
        return (
            tuple(Metric(name, kind, arrays[name]) for name, kind in kinds),
            tuple(Covariate(name, arrays[name]) for name in self._columns.covariates),
        )

    def _check_columns(self, fields: Fields) -> None:
        subject = (self._columns.subject,) if self._columns.subject else ()
        for name in (self._columns.variant, *subject, *(name for name, _, _ in self._numbers)):
            if name not in fields:
                raise UnknownColumnError(self._file, name, one_of(name, map(_shown, fields)))

    def _check_subjects(self) -> None:
        repeat = self._once.repeat()
        if repeat:
            seen = f"the subject of {self._unit} {repeat.first} again"
            raise self._fault(repeat.second, self._columns.subject, seen, "one row per subject")

    def _fault(self, place: int, column: str, seen: str, allowed: str) -> CellError:
        return CellError(self._file, f"{self._unit} {place}", column, seen, allowed)

    def _subject(self, place: int, fields: Fields) -> str:
        cell = fields.get(self._columns.subject)
        if cell is None or cell == "":
            raise self._fault(place, self._columns.subject, _seen(cell), "a subject's id")
        return str(cell)

    def _variant(self, place: int, fields: Fields) -> int:
        cell = fields.get(self._columns.variant)
        name = str(cell) if isinstance(cell, str | int) else ""
        code = self._variants.get(name)
        return self._new_variant(place, name, cell) if code is None else code

    def _new_variant(self, place: int, name: str, cell: object) -> int:
        column = self._columns.variant
        if not 0 < len(name) <= NAME_CHARACTERS_MAX:
            allowed = f"a variant's name of 1 to {NAME_CHARACTERS_MAX} characters"
            raise self._fault(place, column, _seen(cell), allowed)
        if len(self._variants) == VARIANTS_MAX:
            seen = f"the {VARIANTS_MAX + 1}st different name"
            raise self._fault(place, column, seen, f"up to {VARIANTS_MAX} variants")
        return self._variants.setdefault(name, len(self._variants))


def _truth(cell: object) -> float | None:
    if isinstance(cell, str):
        return _TRUTH.get(cell) if cell in _TRUTH else _TRUTH.get(cell.strip().lower())
    return float(cell) if isinstance(cell, int | float) and cell in (0, 1) else None


def _amount(cell: object) -> float | None:
    try:
        number = float(cell) if isinstance(cell, str | int | float) else None
    except (ValueError, OverflowError):
        return None
    # Not so for NaN and the infinite, either.
    return number if number is not None and abs(number) <= NUMBER_MAX else None


def _shown(column: str) -> str:
    """A column's name as it can be printed: what is no table has anything for a header."""
    name = column if column.isprintable() else ascii(column)
    return name if len(name) <= NAME_CHARACTERS_MAX else f"{name[:NAME_CHARACTERS_MAX]}..."


def _seen(cell: object) -> str:
    """What a cell holds: a number as it stands, of all else only the kind and length."""
    if cell is None or cell == "":
        return "empty"
    if not isinstance(cell, str):
        return str(cell) if isinstance(cell, int | float) else type(cell).__name__
    try:
        return f"{float(cell):g}"
    except ValueError:
        return f"a text of {len(cell)} characters"
