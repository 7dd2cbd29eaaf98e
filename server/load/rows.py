"""Rows of a file, one at a time and in bounded memory; a malformed row is a row too."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from nextbest.server.load.errors import LoadError

LINE_CHARACTERS_MAX: Final = 1 << 20
NESTING_MAX: Final = 16
PARQUET_BATCH: Final = 4_096
HASH_BLOCK: Final = 1 << 20

Fields = dict[str, Any]
FORMATS: Final = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
FORMATS_ALLOWED: Final = ("csv", "jsonl", "parquet")


@dataclass(slots=True)
class Row:
    """One row: its number from 1, its fields or why it has none, and what the file holds.

    line: where it begins in a CSV file, from 1 and with the header; 0 in other files.
    """

    number: int
    fields: Fields | None
    raw: object
    fault: str = ""
    line: int = 0


def format_of(path: Path) -> str:
    """The format a file's name tells; LoadError when it tells none."""
    suffixes = [one.lower() for one in path.suffixes]
    last = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if last == ".parquet":
        return "parquet"
    if last not in FORMATS:
        raise LoadError(f"{path}: format unknown, allowed: .csv, .tsv, .jsonl, .ndjson, .parquet")
    return FORMATS[last]


def content_hash(path: Path) -> str:
    """16 hexadecimal digits that tell the file's content, so that rows have lasting ids."""
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class Reader:
    """Iterates over a file's rows; `read_bytes` of `total_bytes` have been read so far."""

    def __init__(self, path: Path, format_: str, delimiter: str = ",") -> None:
        self.path = path
        self.total_bytes = path.stat().st_size
        self._format = format_
        self._delimiter = delimiter
        self._raw: IO[bytes] | None = None

    @property
    def read_bytes(self) -> int:
        """How far the file has been read, compressed bytes for a .gz."""
        raw = self._raw
        return 0 if raw is None or raw.closed else raw.tell()

    def __iter__(self) -> Iterator[Row]:
        if self._format == "parquet":
            yield from self._parquet()
            return
        number = 0
        read = _csv_rows if self._format == "csv" else _json_rows
        with self.path.open("rb") as self._raw, _text(self._raw, self.path) as file:
            try:
                for row in read(_lines(file), self._delimiter):
                    number = row.number
                    yield row
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                yield Row(number + 1, None, "", f"file: cannot be read further ({error})")

    def _parquet(self) -> Iterator[Row]:
        try:
            from pyarrow import ArrowException  # an optional dependency
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise LoadError(f"{self.path}: Parquet needs pyarrow (nextbest[parquet])") from error
        number = 0
        with self.path.open("rb") as self._raw:
            try:
                for batch in ParquetFile(self._raw).iter_batches(batch_size=PARQUET_BATCH):
                    for fields in batch.to_pylist():
                        number += 1
                        yield Row(number, _flat(fields), fields)
            except (ArrowException, OSError) as error:
                yield Row(number + 1, None, "", f"file: cannot be read further ({error})")


def _text(raw: IO[bytes], path: Path) -> IO[str]:
    """Undecodable bytes become surrogates, which the row's check then refuses."""
    source: Any = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
    return io.TextIOWrapper(source, encoding="utf-8-sig", errors="surrogateescape", newline="")


class _Lines:
    """Hands lines to a parser and keeps those of the current row; cuts endless lines off."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._taken: list[str] = []
        self.cut = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LINE_CHARACTERS_MAX)
        if not line:
            raise StopIteration
        if len(line) == LINE_CHARACTERS_MAX and not line.endswith("\n"):
            self.cut = True
            while (rest := self._file.readline(LINE_CHARACTERS_MAX)) and not rest.endswith("\n"):
                pass
        self._taken.append(line)
        return line

    def take(self) -> tuple[str, str]:
        """The lines since the last call, and what is wrong with them as text."""
        raw = "".join(self._taken).rstrip("\r\n")
        self._taken.clear()
        cut, self.cut = self.cut, False
        if cut:
            return raw, f"line: longer than {LINE_CHARACTERS_MAX:,} characters"
        if not raw.isascii() and any("\udc80" <= letter <= "\udcff" for letter in raw):
            return raw, "line: bytes that are not UTF-8"
        return raw, ""


def _lines(file: IO[str]) -> _Lines:
    return _Lines(file)


def _csv_rows(lines: _Lines, delimiter: str) -> Iterator[Row]:
    parser = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(parser, None)
    except csv.Error as error:
        raise LoadError(f"header: {error}") from error
    if header is None:
        return
    lines.take()
    if len(set(header)) != len(header):
        raise LoadError("header: a column's name stands there twice")
    number = 0
    while True:
        number += 1
        line = parser.line_num + 1
        try:
            values = next(parser, None)
            fault = ""
        except csv.Error as error:
            values, fault = [], f"csv: {error}"
        if values is None:
            return
        raw, spoiled = lines.take()
        fault = spoiled or fault
        if not values and not fault:  # an empty line is no row, but it keeps its number
            continue
        if not fault and len(values) != len(header):
            fault = f"columns: {len(values)}, allowed: {len(header)}"
        fields = None if fault else dict(zip(header, values, strict=True))
        yield Row(number, fields, raw, fault, line)


def _json_rows(lines: _Lines, _delimiter: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        raw, fault = lines.take()
        if not fault and not raw.strip():
            continue
        fields: object = None
        try:
            fields = None if fault else json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            fault = f"json: {error}"
        if not fault and not isinstance(fields, dict):
            fault = f"json: {type(fields).__name__}, allowed: an object"
        yield Row(number, _flat(fields) if isinstance(fields, dict) else None, raw, fault)


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _flat(fields: Fields, depth: int = 0) -> Fields:
    """Nested objects become columns of dotted names: {"a": {"b": 1}} is {"a.b": 1}."""
    if depth == NESTING_MAX or not any(isinstance(value, dict) for value in fields.values()):
        return fields
    flat: Fields = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{k}": v for k, v in _flat(value, depth + 1).items()})
        else:
            flat[name] = value
    return flat
