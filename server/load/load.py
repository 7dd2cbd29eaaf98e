"""One load: rows to requests, requests to the server, refused rows to the rejects file."""

from __future__ import annotations

import asyncio
import difflib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import grpc

from nextbest.server.load.convert import to_value
from nextbest.server.load.errors import LoadError, RefusedError
from nextbest.server.load.mapping import Mapping, Rule
from nextbest.server.load.rows import Reader, Row, content_hash, format_of
from nextbest.server.load.send import (
    BATCH,
    BATCH_BYTES_MAX,
    Answers,
    Batch,
    Item,
    Request,
    Sender,
)
from nextbest.v1 import common_pb2, event_pb2, profile_pb2

PROGRESS_ROWS: Final = 500
REASONS_MAX: Final = 20
ROWS_MAX: Final = 2**62

Progress = Callable[[int, int, int], None]  # bytes read, bytes in all, rows


@dataclass(slots=True)
class Summary:
    """What became of a file's rows: rows = accepted + refused, and accepted = new + repeated."""

    file: str
    content: str
    rows: int = 0
    accepted: int = 0
    repeated: int = 0  # events that had been counted before
    refused: int = 0
    seconds: float = 0.0
    rejects: str = ""
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Rows read, converted, sent and answered in a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "rows_per_second": round(self.rows_per_second)}


class Rejects:
    """The rejects file: one JSON object for each refused row, made when the first one comes."""

    def __init__(self, path: Path, summary: Summary) -> None:
        self._path = path
        self._summary = summary
        self._file: IO[str] | None = None

    def __enter__(self) -> Rejects:
        # What an earlier run refused isn't of this run.
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row: Row, why: str) -> None:
        """Write a refused row down."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
            self._summary.rejects = str(self._path)
        line = {"row": row.number, "reason": why, "raw": row.raw}
        self._file.write(json.dumps(line, default=str) + "\n")
        self._summary.refused += 1
        self._count(why)

    def _count(self, why: str) -> None:
        reasons = self._summary.reasons
        known = why if why in reasons or len(reasons) < REASONS_MAX else "others"
        reasons[known] = reasons.get(known, 0) + 1


async def load(
    path: Path,
    mapping: Mapping,
    address: str,
    *,
    rejects: Path,
    progress: Progress | None = None,
    first_row: int = 1,
    last_row: int = 0,
) -> Summary:
    """Load a file; LoadError when it or the server cannot be used at all.

    `first_row` and `last_row` (0: the last) load a part of the file.  Running
    it again changes nothing: a row's ids come of the file's content and its number.
    """
    if not path.is_file():
        raise LoadError(f"{path}: no such file")
    summary = Summary(str(path), content_hash(path))
    start = time.perf_counter()
    options = [("grpc.max_receive_message_length", 16 << 20)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        with Rejects(rejects, summary) as refused:
            answers = Answers(refused.add)
            async with Sender(channel, answers) as sender:
                rows = range(first_row, last_row + 1 if last_row else ROWS_MAX)
                await _send(path, mapping, sender, refused, summary, progress, rows)
                await sender.finish()
    summary.accepted, summary.repeated = answers.accepted, answers.repeated
    summary.seconds = round(time.perf_counter() - start, 3)
    return summary


async def _send(
    path: Path,
    mapping: Mapping,
    sender: Sender,
    refused: Rejects,
    summary: Summary,
    progress: Progress | None,
    rows: range,
) -> None:
    format_ = mapping.format or format_of(path)
    reader = Reader(path, format_, mapping.delimiter)
    batches = Batches(sender)
    for row in reader:
        if row.number >= rows.stop:
            break
        if row.number not in rows:
            continue
        summary.rows += 1
        if format_ == "csv" and summary.rows == 1 and row.fields is not None:
            _check_columns(path, mapping, row)
        try:
            await batches.add(Item(row, request_of(row, mapping, summary.content)))
        except RefusedError as error:
            refused.add(row, str(error))
        if summary.rows % PROGRESS_ROWS == 0:
            if progress:
                progress(reader.read_bytes, reader.total_bytes, summary.rows)
            await asyncio.sleep(0)
    await batches.flush()
    if progress:
        progress(reader.total_bytes, reader.total_bytes, summary.rows)


class Batches:
    """Gathers requests of each sort until there are enough for one call."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._open: dict[type, tuple[Batch, list[int]]] = {}

    async def add(self, item: Item) -> None:
        """Add a request, and hand the batch on when it is full."""
        sort = type(item.request)
        batch, size = self._open.setdefault(sort, ([], [0]))
        batch.append(item)
        size[0] += item.request.ByteSize()
        if len(batch) >= BATCH or size[0] >= BATCH_BYTES_MAX:
            del self._open[sort]
            await self._sender.put(batch)

    async def flush(self) -> None:
        """Hand on what there is."""
        for batch, _ in self._open.values():
            await self._sender.put(batch)
        self._open.clear()


def _check_columns(path: Path, mapping: Mapping, row: Row) -> None:
    known = sorted(row.fields or ())
    for name in sorted(mapping.columns - set(known)):
        close = difflib.get_close_matches(name, known, 1)
        near = f", did you mean {close[0]!r}?" if close else f", allowed: {', '.join(known)}"
        raise LoadError(f"{path}: column {name!r} is not in the header{near}")


def request_of(row: Row, mapping: Mapping, content: str) -> Request:
    """The request a row becomes; RefusedError when it becomes none."""
    if row.fields is None:
        raise RefusedRowError(row.fault)
    for rule in mapping.rules:
        if rule.holds(row.fields):
            return _request(row, rule, f"{content}-{row.number}")
    raise RefusedRowError("row: no rule of the mapping is for it")


class RefusedRowError(RefusedError):
    """A row refused as a whole."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)


def _request(row: Row, rule: Rule, id_: str) -> Request:
    fields = row.fields or {}
    identity = common_pb2.Identity(kind=rule.kind, id=rule.id(fields))
    request: Request
    if rule.event:
        request = event_pb2.TrackRequest(event_id=id_, identity=identity, event=rule.event)
        target = request.properties
    else:
        request = profile_pb2.UpsertProfileRequest(write_id=id_, identity=identity)
        target = request.attributes
    for name, read in rule.values:
        value = read(fields)
        if value is not None:
            target[name].CopyFrom(to_value(value))
    if rule.time is not None:
        moment = rule.time(fields)
        if moment is None and rule.event:
            raise RefusedRowError("time: empty, allowed: when the event happened")
        if moment is not None and rule.keep_order:
            # Rows of one time stay in the file's order, and within that second.
            moment += timedelta(microseconds=row.number % 1_000_000)
        if moment is not None:
            request.occurred_at.FromDatetime(moment)
    return request
