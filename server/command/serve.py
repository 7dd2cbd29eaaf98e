"""`nextbest serve`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from nextbest.server.config import Config, load

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="NEXTBEST_CONFIG",
        help="As `nextbest schema --config` prints one.",
        metavar="FILE",
    ),
]
Playbook = Annotated[
    Path | None,
    typer.Option("--playbook", "-p", help="Publish this folder first.", metavar="FOLDER"),
]
Listen = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        "-l",
        help="host:port or unix:/path, 127.0.0.1:7600 by default; repeatable.",
        metavar="ADDRESS",
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data", "-d", help="Keep people and playbooks there: log and snapshots.", metavar="FOLDER"
    ),
]
LogPlace = Annotated[
    str | None,
    typer.Option(
        "--log",
        help="sqlite:PATH, redis://HOST, rediss://HOST, sentinel://H1,H2,H3/NAME or memory:; "
        "by default a file in the data folder.",
        metavar="PLACE",
    ),
]
AckLevel = Annotated[
    str | None,
    typer.Option(
        "--ack",
        help="When writes are answered: applied, logged or replicated.",
        metavar="LEVEL",
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        help="Any other setting, over file and environment; repeatable.",
        metavar="KEY=VALUE",
    ),
]
FastLane = Annotated[
    list[str] | None,
    typer.Option(
        "--fast-lane",
        "-f",
        help="unix:/path or 127.0.0.1:port; serves Decide, DecideBatch and Track natively; "
        "repeatable.",
        metavar="ADDRESS",
    ),
]
FastLaneThreads = Annotated[
    int | None,
    typer.Option(help="Native threads; by default one for each of its cpus.", metavar="NUMBER"),
]
FastLaneCpus = Annotated[
    str | None,
    typer.Option(
        help="A cpu for each thread, kept free of the server's other threads.", metavar="1,2"
    ),
]
FastLaneInsecure = Annotated[
    bool,
    typer.Option(
        "--fast-lane-insecure",
        help="Take addresses that other hosts reach: there is no TLS, a mesh must have it.",
    ),
]


def serve_command(
    playbook: Playbook = None,
    listen: Listen = None,
    data: DataFolder = None,
    log: LogPlace = None,
    ack: AckLevel = None,
    config: ConfigFile = None,
    fast_lane: FastLane = None,
    fast_lane_threads: FastLaneThreads = None,
    fast_lane_cpus: FastLaneCpus = None,
    fast_lane_insecure: FastLaneInsecure = False,
    set_: Pairs = None,
) -> None:
    """Run the server until SIGTERM or SIGINT, then drain.

    People and their events are held in memory.  With a data folder, or a log elsewhere, a
    stopped server has them again after its start; without either it forgets them.  Servers with
    the same log in Redis have the same people, and take each other's place.

    A password for Redis is not for the command line: `log.password_file` names a file with it.

    The fast lane serves the hot calls to any gRPC client, for a fraction of the CPU.  The
    clients of nextbest find it by themselves: give them the address of `--listen` alone.

    Examples:

      nextbest serve --playbook server/examples/shop

      nextbest serve --fast-lane unix:/run/nextbest-fast.sock

      nextbest serve --fast-lane 127.0.0.1:7601 --fast-lane-cpus 1,2

      nextbest serve -l 0.0.0.0:7600 -f 0.0.0.0:7601 --fast-lane-insecure

      nextbest serve -l 0.0.0.0:7600 -l unix:/run/nextbest.sock --data /var/lib/nextbest

      nextbest serve --log sentinel://10.0.0.1,10.0.0.2,10.0.0.3/nextbest --data /var/lib/nextbest

      nextbest serve --set engine.profiles_max=5000000
    """
    given: dict[str, str | list[str] | None] = {
        "listen.addresses": listen,
        "data.folder": str(data) if data else None,
        "data.playbook": str(playbook) if playbook else None,
        "log.place": log,
        "log.ack": ack,
        "lane.addresses": fast_lane,
        "lane.threads": None if fast_lane_threads is None else str(fast_lane_threads),
        "lane.cpus": fast_lane_cpus,
        "lane.insecure": "true" if fast_lane_insecure else None,
    }
    flags = {**_pairs(set_ or ()), **{key: value for key, value in given.items() if value}}
    settings = _settings(config, flags)
    from nextbest.server.telemetry import logs

    logs.configure(settings.telemetry.log_format, settings.telemetry.log_level)
    # Imported here: gRPC reads its environment at import, and other commands need no loop.
    from nextbest.server.serve import run

    run(settings)


def _settings(file: Path | None, flags: dict[str, str | list[str]]) -> Config:
    settings = load(file, os.environ, flags)
    if not settings.lane.addresses and any(key.startswith("lane.") for key in flags):
        raise typer.BadParameter(
            "missing, other options of the lane are given", param_hint="--fast-lane"
        )
    return settings


def _pairs(pairs: Iterable[str]) -> dict[str, str | list[str]]:
    """The KEY=VALUE of `--set`."""
    found: dict[str, str | list[str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r}, allowed: KEY=VALUE", param_hint="--set")
        found[key] = value
    return found
