"""The export: records and their outcomes as a Parquet file, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from nextbest.server.record.errors import RecordError
from nextbest.server.record.files import Files
from nextbest.server.record.frames import Frame
from nextbest.server.record.outcomes import Counts, Outcomes
from nextbest.server.record.partial import partial_of, place
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.rows import Row, Rows, Told
from nextbest.server.record.schema import library, schema

# Rows that are in memory at once: some megabytes, and a row group each.
ROWS_AT_ONCE: Final = 2_048
# How far it is: bytes of the files read, of all that are to be read.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Period:
    """Decisions from a moment on, and before another one, in microseconds since 1970."""

    since_us: int = 0
    until_us: int = 2**63 - 1

    def has(self, at_us: int) -> bool:
        return self.since_us <= at_us < self.until_us


@dataclass(slots=True)
class Exported:
    """What was written.

    outcomes: of decisions in the file.
    again: records of decisions made again under their ids, and copies, but for the one that counts.
    undecided: decisions without candidates, by why.
    empty: values that no outcome has, which may not have happened yet, and why.
    left: partial files of exports to the same target that were killed, which are removed.
    """

    decisions: int = 0
    outcomes: int = 0
    again: int = 0
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0))
    undecided: dict[str, int] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def export(
    files: Files,
    playbooks: Playbooks,
    told: Told,
    period: Period,
    target: Path,
    report: Progress,
    force: bool = False,
) -> Exported:
    """Write the decisions of a period, in two passes: outcomes may stand far behind.

    force: replace a target that is there already, which is refused otherwise.

    Raises RecordError, OSError, and MissingLibraryError.
    """
    library()
    parquet = _parquet()
    if not files.paths:
        raise RecordError(f"{files.folder}: no records; serve with --set records.share=1")
    _check(target, force)
    identities = "pseudonyms" if told.hide else "as recorded"
    made = schema({"nextbest.identities": identities})
    with partial_of(target) as partial:
        with parquet.ParquetWriter(partial.path, made, compression="zstd") as writer:
            exported = _write(files, Rows(playbooks, told), period, writer, made, report)
        _name(partial.path, target, force)
        exported.left = list(map(str, partial.left))
    return exported


def _check(target: Path, force: bool) -> None:
    if not target.parent.is_dir():
        raise RecordError(f"{target}: there is no folder {target.parent}, allowed: one that is")
    if target.exists() and not force:
        raise _there(target)


def _name(partial: Path, target: Path, force: bool) -> None:
    if force:
        partial.replace(target)
        return
    try:
        place(partial, target)
    except FileExistsError:
        # It has come meanwhile.
        raise _there(target) from None


def _there(target: Path) -> RecordError:
    return RecordError(f"{target}: it is there already, allowed: a new file, or --force")


def _write(
    files: Files, rows: Rows, period: Period, writer: Any, made: Any, report: Progress
) -> Exported:
    total = 2 * max(files.total_bytes, 1)
    outcomes = Outcomes(_told(files, report, 0, total))
    exported = Exported(undecided=rows.undecided, empty=rows.empty(outcomes.events()))
    found = _rows(_told(files, report, total // 2, total), rows, outcomes, period, exported)
    while batch := list(islice(found, ROWS_AT_ONCE)):
        writer.write_batch(library().RecordBatch.from_pylist(batch, made))
    exported.counts = outcomes.counts()
    outcomes.close()
    return exported


def _rows(
    frames: Iterator[Frame], rows: Rows, outcomes: Outcomes, period: Period, exported: Exported
) -> Iterator[Row]:
    for frame in frames:
        record = frame.record
        if not record.HasField("outcome"):
            # Asked for in any case: an outcome is unknown only where no record has its decision.
            found = outcomes.of(frame.decision_id)
            if not period.has(record.decided_at_us):
                continue
            if not outcomes.take_decision(frame):
                exported.again += 1
            else:
                exported.decisions += 1
                exported.outcomes += len(found)
                yield rows.row(frame, found)


def _told(files: Files, report: Progress, before: int, total: int) -> Iterator[Frame]:
    for number, frame in enumerate(files.frames()):
        if number % ROWS_AT_ONCE == 0:
            report(before + files.read_bytes, total)
        yield frame
    report(before + files.read_bytes, total)


def _parquet() -> Any:
    import pyarrow.parquet

    return pyarrow.parquet
