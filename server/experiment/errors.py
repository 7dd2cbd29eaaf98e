"""What keeps a report from being made; each says where, what was seen and what is allowed."""

from __future__ import annotations

from pathlib import Path

from nextbest.core.errors import INVALID_ARGUMENT, NextbestError


class ExperimentError(NextbestError):
    """Base: the report cannot be made."""

    status_code = INVALID_ARGUMENT
    status_reason = "EXPERIMENT"


class MissingExtraError(ExperimentError):
    """A library that only reports need is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library}: not installed; pip install 'nextbest[{extra}]'")
        self.library = library
        self.extra = extra


class OptionError(ExperimentError):
    """A part of the design is not allowed; `option` names it."""

    def __init__(self, option: str, seen: str, allowed: str) -> None:
        super().__init__(f"{option}: {seen}, allowed: {allowed}")
        self.option = option


class TooFewError(ExperimentError):
    """There is not enough to compare: variants, or subjects of one."""


class SubjectsError(ExperimentError):
    """What a source hands over is not subjects: a field, what it held and what it may hold."""

    def __init__(self, field: str, seen: str, allowed: str) -> None:
        super().__init__(f"{field}: {seen}, allowed: {allowed}")
        self.field = field


class FileError(ExperimentError):
    """A file cannot be read, or not further."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file.name}: {why}")
        self.file = file


class UnknownColumnError(FileError):
    """An option names a column that the file does not have."""

    def __init__(self, file: Path, column: str, allowed: str) -> None:
        super().__init__(file, f"column {column!r}: unknown, allowed: {allowed}")
        self.column = column


class CellError(FileError):
    """One cell is not what its column has to hold; `line` counts from 1, the header's."""

    def __init__(self, file: Path, line: str, column: str, seen: str, allowed: str) -> None:
        super().__init__(file, f"{line}: column {column!r}: {seen}, allowed: {allowed}")
        self.line = line
        self.column = column
