"""The command line's entry: registers the commands and turns errors into one line and a code.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no server.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import typer

from nextbest.client.errors import DeadlineError, NextbestError, UnavailableError
from nextbest.core import errors as core_errors
from nextbest.server.command import demo, evaluate, load, person, playbook, serve
from nextbest.server.command.console import EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_USAGE, complain
from nextbest.server.errors import ConfigError, FaultyPlaybookError

app = typer.Typer(
    name="nextbest",
    help="Decide the next best action: run the server, publish playbooks, ask for decisions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _name, _command in (
    ("serve", serve.serve_command),
    ("demo", demo.demo_command),
    ("check", playbook.check_command),
    ("schema", playbook.schema_command),
    ("publish", playbook.publish_command),
    ("activate", playbook.activate_command),
    ("generations", playbook.generations_command),
    ("decide", person.decide_command),
    ("track", person.track_command),
    ("profile", person.profile_command),
    ("load", load.load_command),
    ("query", person.query_command),
    ("eval", evaluate.eval_command),
):
    app.command(_name)(_command)


def run() -> None:
    """Run the command line and exit."""
    try:
        app()
    except (UnavailableError, DeadlineError) as error:
        complain(f"no answer: {error.message}")
        complain("start a server with `nextbest serve`, or name one with --to")
        sys.exit(EXIT_UNAVAILABLE)
    except NextbestError as error:
        _refused(error)
        sys.exit(EXIT_REFUSED)
    except ConfigError as error:
        for fault in error.faults:
            complain(fault)
        sys.exit(EXIT_USAGE)
    except FaultyPlaybookError as error:
        for each in error.faults:
            complain(str(each))
        sys.exit(EXIT_REFUSED)
    except core_errors.NextbestError as error:
        complain(str(error))
        sys.exit(EXIT_REFUSED)
    except (OSError, ValueError, TypeError) as error:
        complain(str(error))
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        sys.exit(130)


def _refused(error: NextbestError) -> None:
    if not error.violations:
        complain(error.message)
    for violation in error.violations:
        complain(f"{violation.field}: {violation.description}")
    if error.reason == "NO_PLAYBOOK":
        complain("publish one with `nextbest publish FOLDER`")
    if error.reason == "UNKNOWN_GENERATION":
        complain("`nextbest generations` lists those that can be activated")
    if error.retry_after is not None:
        complain(f"try again in {error.retry_after:g} s")


if __name__ == "__main__":
    run()
