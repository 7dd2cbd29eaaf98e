"""The options that more than one command has, as typer takes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .settings import ADDRESS

REQUESTS = "What is asked"
LOAD = "How much, and when"
CONNECTION = "Connections"
OUTPUT = "Output"

SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(given: str | float) -> float:
    """The seconds of a number, or of a span such as 500ms; raises typer.BadParameter."""
    if found := SPAN.fullmatch(str(given)):
        return float(found[1]) * UNITS_S[found[2]]
    try:
        return float(given)
    except ValueError:
        allowed = "a number of seconds, or a span such as 500ms, 5s, 2m"
        raise typer.BadParameter(f"{given!r}, allowed: {allowed}") from None


To: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--to",
        envvar="NEXTBEST_TARGET",
        help="host:port or unix:/path; repeatable, or a,b.",
        metavar="ADDRESS",
        rich_help_panel=CONNECTION,
    ),
]
Connections: TypeAlias = Annotated[
    int, typer.Option("--connections", "-C", rich_help_panel=CONNECTION, metavar="N")
]
Streams: TypeAlias = Annotated[
    int,
    typer.Option(
        "--streams",
        "-S",
        help="Calls at once on a connection, at most; 0: 100, or 8 with --closed.",
        rich_help_panel=CONNECTION,
        metavar="N",
    ),
]
ConnectionCalls: TypeAlias = Annotated[
    int,
    typer.Option(
        "--connection-calls",
        help="A connection is closed and opened anew after so many calls; 0: never.",
        rich_help_panel=CONNECTION,
        metavar="N",
    ),
]
ServerPid: TypeAlias = Annotated[
    list[int] | None,
    typer.Option(
        "--server-pid",
        help="Tell this process's CPU for each call, memory and descriptors; repeatable.",
        rich_help_panel=OUTPUT,
        metavar="PID",
    ),
]
DeadlineMs: TypeAlias = Annotated[
    int,
    typer.Option(
        "--deadline-ms",
        help="Of each call, from when it was due; sent as grpc-timeout. 0: none.",
        rich_help_panel=CONNECTION,
        metavar="MS",
    ),
]
Connect: TypeAlias = Annotated[
    float,
    typer.Option(
        help="Seconds to connect.", rich_help_panel=CONNECTION, parser=seconds, metavar="SPAN"
    ),
]
WaitForReady: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--wait-for-ready",
        help="Calls wait while nothing is connected, instead of failing as UNAVAILABLE.",
        rich_help_panel=CONNECTION,
    ),
]
Metadata: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        help="Sent with each call; repeatable.",
        metavar="NAME=VALUE",
        rich_help_panel=CONNECTION,
    ),
]
Cpu: TypeAlias = Annotated[
    int,
    typer.Option(
        "--cpu", help="Pin the generator; -1: not.", rich_help_panel=CONNECTION, metavar="N"
    ),
]
Closed: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--closed",
        help="Closed loop: each answer starts the next call, the servers set the rate.",
        rich_help_panel=LOAD,
    ),
]
Rate: TypeAlias = Annotated[
    float,
    typer.Option(
        "--rate",
        "-r",
        help="Calls a second; of a ramp the last one.",
        rich_help_panel=LOAD,
        metavar="N",
    ),
]
Schedule: TypeAlias = Annotated[
    str,
    typer.Option(
        "--schedule",
        help="constant, poisson (as independent users come) or ramp.",
        rich_help_panel=LOAD,
        metavar="KIND",
    ),
]
RateFrom: TypeAlias = Annotated[
    float,
    typer.Option("--rate-from", help="Where a ramp begins.", rich_help_panel=LOAD, metavar="N"),
]
Duration: TypeAlias = Annotated[
    float,
    typer.Option(
        "--duration",
        "-d",
        help="What is measured: seconds, or a span such as 500ms, 5s, 2m.",
        rich_help_panel=LOAD,
        parser=seconds,
        metavar="SPAN",
    ),
]
Calls: TypeAlias = Annotated[
    int,
    typer.Option(
        "--calls",
        "-n",
        help="Stop after so many, however long it takes; 0: after --duration.",
        rich_help_panel=LOAD,
        metavar="N",
    ),
]
Warmup: TypeAlias = Annotated[
    float,
    typer.Option(
        "--warmup",
        help="Seconds before that are not measured.",
        rich_help_panel=LOAD,
        parser=seconds,
        metavar="SPAN",
    ),
]
Drain: TypeAlias = Annotated[
    float,
    typer.Option(
        "--drain",
        help="Seconds after the end in which answers count.",
        rich_help_panel=LOAD,
        parser=seconds,
        metavar="SPAN",
    ),
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seed",
        help="Of the mix, the profiles and Poisson's moments.",
        rich_help_panel=LOAD,
        metavar="N",
    ),
]
Mix: TypeAlias = Annotated[
    str,
    typer.Option(
        "--mix",
        "-m",
        help="decide, track, batch:N, health; with weights, as decide=8,track=1,batch:100=1.",
        metavar="KIND=WEIGHT,...",
        rich_help_panel=REQUESTS,
    ),
]
Requests: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--requests",
        "-f",
        help='JSON lines, also .gz: protobuf JSON, "method" Decide, DecideBatch or Track.',
        metavar="FILE",
        rich_help_panel=REQUESTS,
    ),
]
Profiles: TypeAlias = Annotated[
    int,
    typer.Option(help="How many are asked about.", rich_help_panel=REQUESTS, metavar="N"),
]
Spread: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Over the profiles: uniform, zipf or zipf:EXPONENT.",
        rich_help_panel=REQUESTS,
        metavar="KIND",
    ),
]
ProfileId: TypeAlias = Annotated[
    str,
    typer.Option(
        "--profile-id", help="An id of a number.", rich_help_panel=REQUESTS, metavar="PATTERN"
    ),
]
Placement: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--placement",
        "-p",
        help="Asked for; repeatable; home unless given.",
        rich_help_panel=REQUESTS,
        metavar="NAME",
    ),
]
Score: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--score",
        help="Asked for; repeatable; intent unless given, '' for none.",
        rich_help_panel=REQUESTS,
        metavar="NAME",
    ),
]
Context: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        "-c",
        help="Of each Decide; repeatable; shop-100's unless given, '' for none.",
        metavar="NAME=VALUE",
        rich_help_panel=REQUESTS,
    ),
]
Event: TypeAlias = Annotated[
    str, typer.Option(help="What Track records.", rich_help_panel=REQUESTS, metavar="NAME")
]
Property: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        help="Of the event; repeatable; '' for none.",
        metavar="NAME=VALUE",
        rich_help_panel=REQUESTS,
    ),
]
JsonFile: TypeAlias = Annotated[
    str,
    typer.Option(
        "--json",
        help="Write the result in ghz's field names; - for standard output.",
        metavar="FILE",
        rich_help_panel=OUTPUT,
    ),
]
Html: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--html",
        help="Write a report with plots: one file, works offline.",
        metavar="FILE",
        rich_help_panel=OUTPUT,
    ),
]
Details: TypeAlias = Annotated[
    int,
    typer.Option(
        "--details",
        help="Calls whose latency and status the JSON has each.",
        metavar="N",
        rich_help_panel=OUTPUT,
    ),
]
Probe: TypeAlias = Annotated[
    float,
    typer.Option(
        "--probe",
        help="Seconds that each core is watched for gaps, before and after.",
        parser=seconds,
        metavar="SPAN",
        rich_help_panel=OUTPUT,
    ),
]
LiveTable: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--live/--no-live",
        help="A table while it runs: on a terminal, unless said otherwise.",
        rich_help_panel=OUTPUT,
    ),
]
DEFAULT_TO = [ADDRESS]
