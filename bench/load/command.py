"""`nextbest bench`: the commands, their output and exit codes.

Exit codes: 0 measured, 1 measured and some calls were not OK, 2 wrong usage, 3 no valid
measurement: no server, or calls that were not sent on time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o
from .settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from .generator import Generator

EXIT_FAILED, EXIT_USAGE, EXIT_INVALID = 1, 2, 3
LISTS = {
    "to": "to",
    "placement": "placements",
    "score": "scores",
    "context": "context",
    "property": "properties",
    "metadata": "metadata",
}

# What an option leaves unread: a file has its own requests, a closed loop has no rate.
UNREAD = {
    "requests": (
        "mix",
        "placement",
        "score",
        "context",
        "event",
        "property",
        "profiles",
        "profile_id",
        "spread",
    ),
    "closed": ("rate", "schedule", "rate_from"),
}

app = typer.Typer(
    name="bench",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def errors() -> Console:
    """Where everything goes that is no result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What went wrong, in a line or two, and the exit code."""
    from .errors import BenchError, UnreachableError

    try:
        yield
    except BenchError as error:
        for line in str(error).splitlines():
            errors().print(line, style="red", soft_wrap=True)
        if isinstance(error, UnreachableError):
            errors().print("start a server with `nextbest serve`, or name one with --to")
            raise typer.Exit(EXIT_INVALID) from None
        # Nothing was measured: wrong usage, or something that has to be installed first.
        raise typer.Exit(EXIT_USAGE if isinstance(error, ValueError) else EXIT_INVALID) from None


def settings_of(given: dict[str, Any]) -> Settings:
    """The settings of a command's arguments; a list that is not given keeps its default."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name == "server_pid":
            found[name] = tuple(value or ())
        elif name not in LISTS:
            found[name] = value
        elif value is not None:
            texts = [part for one in value for part in one.split(",")] if name == "to" else value
            found[LISTS[name]] = tuple(text.strip() for text in texts if text.strip())
    return Settings(**found)


HELP = """
Put a server under load and say how fast it answers.

By default an open loop: calls are due by the clock, whether the answers come or not, and a
call's latency counts from when it was due.  So a server that stalls shows with every call
that should have been made meanwhile.  A run in which over 1% of the calls were sent more
than 100 us late is INVALID: it measured the generator.  Where the machine itself loses time
the figures are doubtful, so the share of time that each core loses is printed.

Exit codes: 0 measured; 1 some calls were not OK; 2 wrong usage; 3 invalid, or no server.

Examples:

  nextbest bench --rate 20000 --duration 60 --cpu 1 --html report.html

  nextbest bench --rate 5000 --schedule poisson --mix decide=8,track=1,batch:100=1

  nextbest bench --closed --connections 16 --streams 8      (the most that it can do)

  nextbest bench --requests requests.jsonl --deadline-ms 20 --json a.json

  nextbest bench compare a.json b.json

  nextbest bench find-max --p99-ms 1 --to unix:/run/nextbest.sock
"""


@app.callback(help=HELP)
def bench(
    context_: typer.Context,
    mix: o.Mix = "",
    requests: o.Requests = None,
    placement: o.Placement = None,
    score: o.Score = None,
    context: o.Context = None,
    event: o.Event = "page_view",
    property: o.Property = None,
    profiles: o.Profiles = 100_000,
    profile_id: o.ProfileId = "customer-{:06d}",
    spread: o.Spread = "uniform",
    rate: o.Rate = 1_000,
    duration: o.Duration = 10,
    calls: o.Calls = 0,
    warmup: o.Warmup = 1,
    drain: o.Drain = 2,
    schedule: o.Schedule = "constant",
    rate_from: o.RateFrom = 0,
    closed: o.Closed = False,
    seed: o.Seed = 1,
    to: o.To = o.DEFAULT_TO,
    connections: o.Connections = 8,
    streams: o.Streams = 0,
    connection_calls: o.ConnectionCalls = 0,
    deadline_ms: o.DeadlineMs = 0,
    metadata: o.Metadata = None,
    connect: o.Connect = 5,
    wait_for_ready: o.WaitForReady = False,
    cpu: o.Cpu = -1,
    json: o.JsonFile = "",
    html: o.Html = None,
    details: o.Details = 0,
    probe: o.Probe = 0.2,
    server_pid: o.ServerPid = None,
    live: o.LiveTable = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            help="Run nothing; the differences of two results.",
            metavar="A.json B.json",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
) -> None:
    """One run, or a comparison; `HELP` is what it says of itself."""
    given = dict(locals())
    if context_.invoked_subcommand:
        refuse_misplaced(context_)
        return
    with one_line_errors():
        if compare:
            show_comparison(*compare)
            return
        refuse_unread(context_)
        for name in ("context_", "compare", "json", "html", "live"):
            del given[name]
        measure(settings_of(given), json, html, live)


def given_options(context: typer.Context) -> dict[str, str]:
    """The options that stand on the command line: by name, as they are spelled."""
    return {
        one.name or "": one.opts[0]
        for one in context.command.params
        if getattr(context.get_parameter_source(one.name or ""), "name", "") == "COMMANDLINE"
    }


def refuse_misplaced(context: typer.Context) -> None:
    """Options before the name of a command would be read by nobody."""
    for spelled in given_options(context).values():
        raise typer.BadParameter(
            f"before {context.invoked_subcommand}, allowed: after it", param_hint=spelled
        )


def refuse_unread(context: typer.Context) -> None:
    """Options that another one makes meaningless."""
    given = given_options(context)
    for name, others in UNREAD.items():
        for other in others:
            if name in given and other in given:
                raise typer.BadParameter(
                    f"given with {given[name]}, which leaves it unread, allowed: one of the two",
                    param_hint=given[other],
                )


def measure(settings: Settings, file: str, html: Path | None, live: bool | None) -> None:
    """One run, its output, and the exit code."""
    from .result import result
    from .run import run
    from .summary import summary

    before_the_run(file, html)
    console = errors()
    with watching(settings, console, console.is_terminal if live is None else live) as watch:
        found = result(run(settings, watch))
    (console if file == "-" else results()).print(summary(found))
    write_json(found, file)
    if html:
        from .page import page

        write(html, page(found))
        console.print(f"report: {html}", soft_wrap=True)
    if not found["valid"]:
        raise typer.Exit(EXIT_INVALID)
    if found["count"] != found["statusCodeDistribution"].get("OK", 0):
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def watching(
    settings: Settings, console: Console, wanted: bool
) -> Iterator[Callable[[Generator], None] | None]:
    """The live table, when it is wanted."""
    from .live import live

    with live(settings, console) if wanted else nullcontext() as watch:
        yield watch


def results() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def before_the_run(file: str, html: Path | None) -> None:
    """What would spoil the output is said before the run, not after it."""
    from .errors import OptionError, option_fault

    for option, path in (("--json", Path(file)), ("--html", html)):
        if path is not None and (not path.parent.is_dir() or (path.name and path.is_dir())):
            raise OptionError([option_fault(option, str(path), "a file in a folder that is there")])
    if html:
        from .plots import require

        require()


def write_json(found: dict[str, Any], file: str) -> None:
    """`--json`."""
    text = json.dumps(found, indent=1) + "\n"
    if file == "-":
        sys.stdout.write(text)
    elif file:
        write(Path(file), text)


def write(file: Path, text: str) -> None:
    """Write a file, or say why not."""
    from .errors import ResultError

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResultError(str(error)) from None


@app.command("compare")
def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A.json")],
    second: Annotated[Path, typer.Argument(metavar="B.json")],
) -> None:
    """Show how two results of `--json` differ."""
    with one_line_errors():
        show_comparison(first, second)


def show_comparison(first: Path, second: Path) -> None:
    """The table of `compare`."""
    from .compare import comparison
    from .result import read

    results().print(comparison(read(first), read(second), str(first), str(second)))


@app.command("find-max")
def find_max_command(
    p99_ms: Annotated[
        float, typer.Option("--p99-ms", help="What p99 may be.", metavar="MS", min=0)
    ] = 1,
    step: Annotated[
        float,
        typer.Option("--step", help="Seconds for each rate.", parser=o.seconds, metavar="SPAN"),
    ] = 3,
    precision: Annotated[
        float, typer.Option(help="Stop when the two ends are this close.", metavar="SHARE")
    ] = 0.02,
    from_: Annotated[float, typer.Option("--from", help="Least rate.", metavar="N")] = 0,
    upto: Annotated[
        float, typer.Option(help="Highest rate; 0: what a closed loop reaches.", metavar="N")
    ] = 0,
    failed_share: Annotated[
        float, typer.Option(help="Of the calls that may be not OK.", metavar="SHARE")
    ] = 0,
    mix: o.Mix = "",
    requests: o.Requests = None,
    placement: o.Placement = None,
    score: o.Score = None,
    context: o.Context = None,
    event: o.Event = "page_view",
    property: o.Property = None,
    profiles: o.Profiles = 100_000,
    profile_id: o.ProfileId = "customer-{:06d}",
    spread: o.Spread = "uniform",
    schedule: o.Schedule = "constant",
    warmup: o.Warmup = 1,
    seed: o.Seed = 1,
    to: o.To = o.DEFAULT_TO,
    connections: o.Connections = 8,
    streams: o.Streams = 0,
    deadline_ms: o.DeadlineMs = 0,
    metadata: o.Metadata = None,
    connect: o.Connect = 5,
    cpu: o.Cpu = -1,
    json: o.JsonFile = "",
) -> None:
    """Search the highest rate at which p99 stays under a limit.

    A closed loop tells about how much the servers can do; then rates are tried by halving, each
    in an open loop, and each is told on standard error.  A rate holds when p99 is at most the
    limit, calls were sent on time, and all were answered OK.  Exit code 1: none did.

    By default some 7 rates of 4 s each are tried; at most 30 rates, and each once more where the
    machine was disturbed.

    Example:

      nextbest bench find-max --p99-ms 1 --cpu 1 --to unix:/run/nextbest.sock
    """
    given = dict(locals())
    own = ("p99_ms", "step", "precision", "from_", "upto", "failed_share", "json")
    searched = {name: given.pop(name) for name in own}
    with one_line_errors():
        search_max(settings_of(given), searched)


def search_max(settings: Settings, given: dict[str, Any]) -> None:
    """`find-max`: the steps as they come, then the rate."""
    from .find_max import Search, find_max, plan_text

    search = Search(
        given["p99_ms"],
        given["step"],
        given["precision"],
        given["from_"],
        given["upto"],
        given["failed_share"],
    )
    # Before the first step, which takes seconds; and apart from the result, which a pipe may take.
    steps_to = errors()
    search.validate()
    steps_to.print(plan_text(settings, search), soft_wrap=True)
    rate, steps = find_max(settings, search, lambda line: steps_to.print(line, soft_wrap=True))
    console = steps_to if given["json"] == "-" else results()
    told = f"{rate:,.0f}/s is the highest rate that held p99 <= {search.p99_ms:g} ms"
    console.print(told if rate else f"no rate held p99 <= {search.p99_ms:g} ms", soft_wrap=True)
    plain = {"rate": rate, "p99LimitMs": search.p99_ms, "steps": [one.plain() for one in steps]}
    write_json(plain, given["json"])
    if not rate:
        raise typer.Exit(EXIT_FAILED)


@app.command("report")
def report_command(
    file: Annotated[Path, typer.Argument(help="What --json has written.", metavar="A.json")],
    html: Annotated[Path, typer.Argument(metavar="REPORT.html")],
) -> None:
    """Make the HTML report of an earlier result."""
    with one_line_errors():
        from .page import page
        from .result import read

        before_the_run("", html)
        write(html, page(read(file)))


def main() -> None:
    """`python -m nextbest.bench`."""
    app(prog_name="nextbest bench")
