"""Our server beside the systems a user would pick instead, in one run on two cores.

    python -m bench.peers build
    python -m bench.peers [--peers lane,aio,echo,...] [--rounds N] [--seconds S]
                          [--open S] [--profiles N] [--unix] [--json FILE] [--plot FILE.svg]

See bench/peers/README.md for what is compared and what it does not show.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench.machine import machine, pin
from bench.micro import people

from .build import build
from .drive import CORE_GENERATOR
from .measure import Found, cases_of, closed_rounds, open_rounds, other_calls
from .report import plain, plot, show
from .servers import running

WIDTH_MIN = 120
PEERS = ("lane", "aio", "echo", "typed", "cerbos", "flagd", "zen")


def options_of(arguments: list[str]) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("action", nargs="?", choices=("run", "build"), default="run")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs of each")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each closed run")
    parser.add_argument(
        "--open", type=float, default=0.0, help="seconds of each open run, 0: none", metavar="S"
    )
    parser.add_argument("--profiles", type=int, default=people.PROFILES)
    parser.add_argument(
        "--unix", action="store_true", help="unix sockets for the lane and the echo"
    )
    parser.add_argument("--json", help="write the result; - for standard output", metavar="FILE")
    parser.add_argument("--plot", type=Path, help="write an SVG", metavar="FILE")
    options = parser.parse_args(arguments)
    unknown = set(options.peers.split(",")) - set(PEERS)
    if unknown:
        parser.error(f"--peers: {', '.join(sorted(unknown))}, allowed: {', '.join(PEERS)}")
    return options


def told(arguments: list[str]) -> dict[str, str]:
    """Command, date and machine."""
    return {
        "command": shlex.join(["python", "-m", "bench.peers", *arguments]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine(),
    }


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Measure and report."""
    console = Console(stderr=options.json == "-")
    # Redirected, a console is 80 columns wide, and figures would be cut.
    console.width = max(console.width, WIDTH_MIN)
    about = told(arguments)
    found = Found()

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    wanted = set(options.peers.split(","))
    with running(wanted, options.profiles, options.unix) as (peers, missing):
        pin(CORE_GENERATOR)
        closed_rounds(found, peers, options.rounds, options.seconds, say)
        if options.open > 0:
            cases = cases_of(found, peers, options.rounds, options.open, say)
            open_rounds(found, cases, options.open, say)
        for peer in peers:
            peer.check()
            if peer.key == "lane":
                other_calls(found, peer, options.profiles, options.rounds, options.seconds, say)
    show(console, about, found, peers, missing)
    if options.plot:
        plot(options.plot, found, peers)
    if options.json:
        text = json.dumps(plain(about, found, peers, missing), indent=1) + "\n"
        sys.stdout.write(text) if options.json == "-" else Path(options.json).write_text(text)
    return 0


def main(arguments: list[str]) -> int:
    """Run the command."""
    options = options_of(arguments)
    if options.action == "run":
        if len(os.sched_getaffinity(0)) <= CORE_GENERATOR:
            raise SystemExit("two cores are needed: one for the servers, one for the generator")
        return run(options, arguments)
    results = build()
    for name, why in results.items():
        sys.stdout.write(f"{name}: {f'not built: {why}' if why else 'built'}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
