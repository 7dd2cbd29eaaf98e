"""`nextbest load`: a file's rows to the server, with a progress bar and a summary."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from nextbest.server.command.console import (
    ADDRESS,
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    NO_SERVER,
    AsJson,
    To,
    complain,
    listening,
    out,
)
from nextbest.server.load import LoadError, NoServerError, Summary, load, read_mapping


def load_command(
    file: Annotated[
        Path,
        typer.Argument(help="CSV, JSON lines or Parquet; .gz too.", metavar="FILE", exists=True),
    ],
    mapping: Annotated[
        Path,
        typer.Option("--mapping", "-m", help="The mapping (YAML).", metavar="FILE", exists=True),
    ],
    to: To = ADDRESS,
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", help="Where refused rows go, as JSON lines.", metavar="FILE"),
    ] = None,
    first_row: Annotated[int, typer.Option(min=1, help="Where to begin.", metavar="NUMBER")] = 1,
    last_row: Annotated[
        int, typer.Option(min=0, help="Where to stop; 0: at the end.", metavar="NUMBER")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Load profiles or events from a file.

    It can be run again without doubling anything.  Refused rows go to the rejects file
    (FILE.rejects.jsonl here unless given), each with its number and the reason; the exit code
    is 1 when there are any.

    Examples:

      nextbest load leads.csv.gz --mapping server/examples/mappings/leads.yaml
    """
    target = listening(to)
    refused = rejects or Path(f"{file.name}.rejects.jsonl")
    errors = Console(stderr=True)
    try:
        rows = first_row, last_row
        summary = asyncio.run(_load(file, mapping, target, refused, rows, errors))
    except NoServerError as error:
        complain(str(error))
        complain(NO_SERVER)
        raise typer.Exit(EXIT_UNAVAILABLE) from error
    except LoadError as error:
        complain(str(error))
        raise typer.Exit(EXIT_REFUSED) from error
    if as_json:
        typer.echo(json.dumps(summary.as_dict()))
    else:
        out().print(_report(summary))
    if summary.refused:
        raise typer.Exit(EXIT_REFUSED)


async def _load(
    file: Path, mapping: Path, to: str, rejects: Path, rows: tuple[int, int], console: Console
) -> Summary:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(file.name, total=None, rows=0)

        def report(done: int, total: int, rows: int) -> None:
            bar.update(task, completed=done, total=max(total, 1), rows=rows)

        return await load(
            file,
            read_mapping(mapping),
            to,
            rejects=rejects,
            progress=report,
            first_row=rows[0],
            last_row=rows[1],
        )


def _report(summary: Summary) -> Group:
    table = Table(
        title=f"{Path(summary.file).name} in {summary.seconds:.1f} s", title_justify="left"
    )
    table.add_column("rows", justify="right")
    for name in ("accepted", "counted before", "refused", "rows/s"):
        table.add_column(name, justify="right")
    numbers = (summary.rows, summary.accepted, summary.repeated, summary.refused)
    table.add_row(*(f"{one:,}" for one in numbers), f"{summary.rows_per_second:,.0f}")
    parts: list[RenderableType] = [table]
    for why, count in sorted(summary.reasons.items(), key=lambda one: -one[1]):
        parts.append(Text(f"  refused {count:,}: {why}"))
    if summary.rejects:
        parts.append(Text(f"  refused rows are in {summary.rejects}"))
    return Group(*parts)
