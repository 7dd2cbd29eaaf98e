"""`nextbest serve`."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from nextbest.server.config import load


def serve_command(
    playbook: Annotated[
        Path | None,
        typer.Option("--playbook", "-p", help="Publish this folder first.", metavar="FOLDER"),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen", "-l", help="host:port or unix:/path; repeatable.", metavar="ADDRESS"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", help="Keeps published playbooks, not people.", metavar="FOLDER"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar="NEXTBEST_CONFIG",
            help="As `nextbest schema --config` prints one.",
            metavar="FILE",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Over file and environment.", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Run the server until SIGTERM or SIGINT, then drain.

    People and their events are held in memory: a stopped server forgets them, so load or send
    them again after a start.

    Examples:

      nextbest serve --playbook server/examples/shop

      nextbest serve -l 0.0.0.0:7600 -l unix:/run/nextbest.sock --data /var/lib/nextbest

      nextbest serve --set engine.profiles_max=5000000
    """
    flags: dict[str, str | list[str]] = {}
    for pair in set_ or ():
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r}, allowed: KEY=VALUE", param_hint="--set")
        flags[key] = value
    if listen:
        flags["listen.addresses"] = listen
    if data:
        flags["data.folder"] = str(data)
    if playbook:
        flags["data.playbook"] = str(playbook)
    settings = load(config, os.environ, flags)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Imported here: gRPC reads its environment at import, and other commands need no loop.
    from nextbest.server.serve import run

    run(settings)
