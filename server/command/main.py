"""The command line's entry: registers the commands and turns errors into one line and a code.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# What gRPC's core would write about an address in use, we say in one line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nextbest.core import errors as core_errors
from nextbest.server.command.console import (
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    NO_SERVER,
    TOO_LATE,
    complain,
)
from nextbest.server.errors import ConfigError, FaultyPlaybookError, ListenError

if TYPE_CHECKING:
    from nextbest.client.errors import NextbestError

# Each command's module beside this one; its function is named `NAME_command`, a group of
# commands `NAME_app`.
COMMANDS = {
    "serve": "serve",
    "demo": "demo",
    "check": "playbook",
    "schema": "playbook",
    "publish": "playbook",
    "activate": "playbook",
    "generations": "playbook",
    "decide": "person",
    "track": "person",
    "profile": "person",
    "load": "load",
    "query": "person",
    "eval": "evaluate",
    "erase": "person",
    "consent": "consent",
    "budget": "budget",
    "log": "log",
    "trace": "trace",
    "ope": "ope",
    "replay": "record",
    "whatif": "record",
    "shadow": "shadow",
    "slo": "slo",
    "top": "top",
    "experiment": "experiment",
}
# The options of fields that are named otherwise.
_OPTIONS = {
    "reason": "`--reason` names why not to contact somebody in a channel",
    "lawful_basis": "`--basis` names the lawful basis of a grant",
    "expires_at": "`--until` says when a grant ends",
    "occurred_at": "`--at` says when it happened",
}
# Packages add commands by this group of entry points: each a function or a `typer.Typer`.
ADDED = "nextbest.commands"


def make_app(
    names: Iterable[str] = COMMANDS, added: Mapping[str, EntryPoint] | None = None
) -> typer.Typer:
    """The command line with the commands of these names, whose modules are imported now."""
    app = typer.Typer(
        name="nextbest",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        epilog="Start with `nextbest serve --playbook server/examples/shop`, or `nextbest demo`. "
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # A callback keeps a lone command a command, and holds the options of all.
    app.callback()(_about)
    for name in names:
        module = import_module(f"nextbest.server.command.{COMMANDS[name]}")
        if group := getattr(module, f"{name}_app", None):
            app.add_typer(group, name=name)
        else:
            app.command(name)(getattr(module, f"{name}_command"))
    for name, entry in (added or {}).items():
        _add(app, name, entry)
    return app


def added_commands() -> dict[str, EntryPoint]:
    """The commands that installed packages add, by name; ours cannot be replaced."""
    return {one.name: one for one in entry_points(group=ADDED) if one.name not in COMMANDS}


def _add(app: typer.Typer, name: str, entry: EntryPoint) -> None:
    """Add a package's command; one that cannot be imported is named and left out."""
    try:
        command = entry.load()
    except (ImportError, AttributeError) as error:
        complain(f"nextbest {name}: {entry.value} cannot be loaded: {error}")
        return
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nextbest {version('nextbest')}")
        raise typer.Exit


def _about(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Decide the next best action: run the server, publish playbooks, ask for decisions."""


def run() -> None:
    """Run the command line and exit."""
    # Only the wanted command's module is imported: most need no CEL, no YAML or no gRPC.
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if wanted in COMMANDS:
            make_app([wanted])()
        added = added_commands()
        if wanted in added:
            make_app([], {wanted: added[wanted]})()
        make_app(added=added)()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _end(error)


def _end(error: Exception) -> NoReturn:
    """Exit with the error's code and a line or two; an error of our own goes on."""
    if isinstance(error, ConfigError):
        for fault in error.faults:
            complain(fault)
        sys.exit(EXIT_USAGE)
    if isinstance(error, FaultyPlaybookError):
        for each in error.faults:
            complain(str(each))
        sys.exit(EXIT_REFUSED)
    if isinstance(error, core_errors.NextbestError):
        complain(str(error))
        if isinstance(error, ListenError):
            _other_address(error)
        sys.exit(EXIT_REFUSED)
    _end_call(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        complain(f"{error.filename}: {error.strerror}")
        sys.exit(EXIT_USAGE)
    if isinstance(error, OSError | ValueError | TypeError):
        complain(str(error))
        sys.exit(EXIT_USAGE)
    raise error


def _other_address(error: ListenError) -> None:
    """Say what to do about an address in use, or given twice."""
    from nextbest.server.address import unix_path
    from nextbest.server.listener import GIVEN, IN_USE

    stop = ""
    if error.why == IN_USE:
        stop = f"stop what {'answers' if unix_path(error.address) else 'listens'} there, or "
    if error.free:
        option = error.option if error.option.endswith("=") else f"{error.option} "
        complain(f"{stop}give another address: `{option}{error.free}` is free")
    elif error.option and error.why.startswith((IN_USE, GIVEN)):
        complain(f"{stop}give another address with {error.option.removesuffix('=')}")


def _end_call(error: Exception) -> None:
    """Exit when the error is a client's, which only a command that made one can raise."""
    from nextbest.client.errors import DeadlineError, NextbestError, UnavailableError

    if isinstance(error, UnavailableError | DeadlineError) and error.reason:
        # A server has answered: it is there, and says what it cannot do, or not in time.
        _refused(error)
        sys.exit(EXIT_UNAVAILABLE)
    if isinstance(error, UnavailableError | DeadlineError):
        complain(f"no answer: {error.message}")
        complain(TOO_LATE if isinstance(error, DeadlineError) else NO_SERVER)
        sys.exit(EXIT_UNAVAILABLE)
    if isinstance(error, NextbestError):
        _refused(error)
        sys.exit(EXIT_REFUSED)


def _refused(error: NextbestError) -> None:
    from nextbest.client.errors import FaultyPlaybookError as RefusedPlaybookError

    if not error.violations:
        complain(error.message)
    for violation in error.violations:
        complain(f"{violation.field}: {violation.description}")
    known = error.faults if isinstance(error, RefusedPlaybookError) else 0
    if (more := known - len(error.violations)) > 0:
        complain(f"and {more:,} more; `nextbest check FOLDER` shows all of a playbook's")
    if error.reason == "NO_PLAYBOOK":
        complain(
            "publish one with `nextbest publish FOLDER`; where the log has one, "
            "`nextbest log status` tells how far this node has read"
        )
    if error.reason == "NO_LOG":
        complain("`nextbest serve --data FOLDER` keeps a log and snapshots, --log another log")
    for violation in error.violations:
        if violation.field in _OPTIONS:
            complain(_OPTIONS[violation.field])
    if error.reason == "UNKNOWN_GENERATION":
        complain("`nextbest generations` lists those that can be activated")
    if error.retry_after is not None:
        complain(f"try again in {error.retry_after:g} s")


if __name__ == "__main__":
    run()
