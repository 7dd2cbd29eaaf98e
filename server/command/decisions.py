"""`nextbest log export --output`: decision records as a table for analysts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nextbest.server.command.console import (
    AGAIN,
    EXIT_REFUSED,
    MOMENT,
    REPEATED,
    complain,
    counted,
    moment_us,
    out,
    show_json,
)
from nextbest.server.errors import ConfigError

if TYPE_CHECKING:
    from nextbest.server.record.export import Exported, Period
    from nextbest.server.record.files import Files
    from nextbest.server.record.rows import Told

# Compiling playbooks needs CEL and YAML: only this command imports what reads records.
SHOWN_MAX = 20
FIELD = "EVENT.PROPERTY"

Output: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Decisions, as Parquet.", metavar="FILE.parquet"),
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace an --output that is there already.")
]
Since: TypeAlias = Annotated[
    str, typer.Option(help=f"Decisions from then on: {MOMENT}, or 7d, before now.", metavar="TIME")
]
Until: TypeAlias = Annotated[
    str, typer.Option(help="Decisions before then, likewise.", metavar="TIME")
]
Values: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--value", help="What an event's outcome is worth; repeatable.", metavar=FIELD),
]
Candidates: TypeAlias = Annotated[
    bool, typer.Option(help="Decide again for every candidate's fate and factors.")
]
AsRecorded: TypeAlias = Annotated[
    bool, typer.Option("--as-recorded", help="Ids, and attributes tagged pii, as they are.")
]
KeyFile: TypeAlias = Annotated[
    str,
    typer.Option(
        help="16 to 64 bytes for pseudonyms; else they hold within one export.", metavar="FILE"
    ),
]


def told_of(values: Sequence[str], candidates: bool, as_recorded: bool, key_file: str) -> Told:
    """What rows are to tell, from the options."""
    from nextbest.server.record.rows import Told
    from nextbest.server.telemetry.events.pseudonym import KEY, pseudonyms

    if as_recorded and key_file:
        raise typer.BadParameter("with --as-recorded", param_hint="--key-file")
    pairs = []
    for text in values:
        event, dot, name = text.partition(".")
        if not (event and dot and name):
            allowed = f"{FIELD}, such as purchase.amount"
            raise typer.BadParameter(f"{text!r}, allowed: {allowed}", param_hint="--value")
        pairs.append((event, name))
    try:
        hide = None if as_recorded else pseudonyms(key_file)
    except ConfigError as error:
        why = error.faults[0].removeprefix(f"{KEY}: ")
        raise typer.BadParameter(why, param_hint="--key-file") from None
    return Told(hide, candidates, tuple(pairs))


def period_of(since: str, until: str) -> Period:
    """The decisions that are meant."""
    from nextbest.server.record.export import Period

    everything = Period()
    since_us = moment_us(since, "--since", everything.since_us)
    until_us = moment_us(until, "--until", everything.until_us)
    if since_us >= until_us:
        raise typer.BadParameter(f"{since!r}, allowed: before --until", param_hint="--since")
    return Period(since_us, until_us)


def export_decisions(
    places: Sequence[Path], output: Path, told: Told, period: Period, force: bool, as_json: bool
) -> None:
    """Write the file, and say what is in it; exit with 1 where a record is damaged."""
    from nextbest.server.record.export import export
    from nextbest.server.record.files import Files, folder_of
    from nextbest.server.record.playbooks import Playbooks

    if output.suffix != ".parquet":
        raise typer.BadParameter(f"{output}, allowed: a name in .parquet", param_hint="--output")
    files = Files(*map(folder_of, places))
    playbooks = Playbooks(files.folder, {}, files.folders[1:])
    with progress(output.name) as report:
        exported = export(files, playbooks, told, period, output, report, force)
    tell_damage(files)
    for path in exported.left:
        complain(f"{path}: of an export that was killed; it is removed")
    for why in exported.empty:
        complain(f"{why}; it is empty in the file")
    if as_json:
        damage = {"damaged": list(map(str, files.damaged)), "cut": list(map(str, files.cut))}
        show_json({**asdict(exported), "counts": exported.counts._asdict(), **damage})
    else:
        _show(output, exported)
    if files.damaged:
        raise typer.Exit(EXIT_REFUSED)


def tell_damage(files: Files) -> None:
    """Name what could not be read."""
    lost = [*files.damaged, *files.cut]
    for error in lost[:SHOWN_MAX]:
        complain(str(error))
    if len(lost) > SHOWN_MAX:
        complain(f"and {len(lost) - SHOWN_MAX:,} more")


def _show(output: Path, exported: Exported) -> None:
    counts = exported.counts
    out().print(
        f"{output}: {counted(exported.decisions, 'decision|decisions')}, "
        f"{counted(exported.outcomes, 'outcome|outcomes')} of them"
    )
    for count, what in (
        (exported.again, AGAIN),
        (counts.repeated, REPEATED),
        (counts.unknown, "outcome|outcomes of decisions not among the records: not written"),
    ):
        if count:
            out().print(counted(count, what))
    for why, count in exported.undecided.items():
        out().print(counted(count, "decision|decisions without candidates") + f": {why}")


@contextmanager
def progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the screen for what is done, of what is to be; nothing where there is no screen."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
