"""What safety costs: the log beside bare Redis and bare SQLite, snapshots, recovery; in one run.

    python -m bench.log [PART...] [--rounds N] [--seconds S] [--profiles N] [--json]

Parts: redis, sqlite, recovery, snapshots, backends; all unless some are named.  Servers, ours and
Redis's, share one core, and the generator or redis-benchmark has another.  What is compared is
measured in turns, with the same bytes and as many calls at once, and medians are told.  Every
figure is checked: logs are read back and hold just the events that were acknowledged, and digests
are equal after a restart, after recovery, and after a snapshot is loaded.  A server's cost at
APPLIED and at LOGGED is told for each of its threads, since rates swing with whatever else the
machine does.

Not shown: a network between node, Redis and clients; Redis on cores of its own, which its share of
the servers' core would go to; TLS; disks that are slower to sync than this one; more than one
node that writes; batches of other sizes than the load makes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from bench.machine import machine

from . import backends, files, hosts, recovery, snapshots, streams
from .cores import CORE_GENERATOR, CORE_SERVERS, require_two

Figures = dict[str, float]
PARTS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "redis": streams.measure,
    "sqlite": files.measure,
    "recovery": recovery.measure,
    "snapshots": snapshots.measure,
    "backends": backends.measure,
}
WIDTH = 46


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.log", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5, help="of everything, in turns")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run of a generator")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--streams", type=int, default=16, help="calls at once on a connection")
    parser.add_argument("--rate", type=float, default=1_000.0, help="of the open loops")
    parser.add_argument("--events", type=int, default=100_000, help="of what is done in process")
    parser.add_argument("--entries", type=int, default=300, help="of the backends' runs")
    parser.add_argument("--profiles", type=int, default=1_000_000, help="in the snapshot")
    parser.add_argument(
        "--text-bytes", type=int, default=0, help="of text for each of them besides"
    )
    parser.add_argument("--folder", help="where the files are: its disk is measured")
    parser.add_argument(
        "--set", action="append", default=[], help="a setting of the servers", metavar="KEY=VALUE"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"PART: {', '.join(sorted(unknown))}, allowed: {', '.join(PARTS)}")
    options.more = [word for setting in options.set for word in ("--set", setting)]
    return options


def measure(options: argparse.Namespace) -> Figures:
    """The parts that are wanted."""
    found: Figures = {}
    for name in options.parts or PARTS:
        found |= PARTS[name](options)
    return found


def shown(told: dict[str, str], figures: Figures) -> str:
    """The machine, the figures, and what they do not show."""
    lines = [f"{name:<{WIDTH}} {text}" for name, text in told.items()]
    lines += ["", *(f"{name:<{WIDTH}} {value:>16,.3f}" for name, value in figures.items())]
    lines += ["", (__doc__ or "").rpartition("\n\n")[2].strip()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the command."""
    options = options_of()
    require_two()
    told = machine()
    told["redis-server"] = hosts.require()
    told["cores"] = f"servers on {CORE_SERVERS}, generator on {CORE_GENERATOR}"
    figures = measure(options)
    if options.json:
        sys.stdout.write(json.dumps({"machine": told, "figures": figures}, indent=1) + "\n")
    else:
        sys.stdout.write(shown(told, figures))
    return 0
