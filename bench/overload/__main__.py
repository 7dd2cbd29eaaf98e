"""Overload: what a lane still does when more is asked of it than it can do.

    python -m bench.overload [--seconds S] [--call-us U] [--json]
    python -m bench.overload --lane grpc [--deadline-ms D] [--seconds S] [--json]

The fast lane works U us longer on each call (`overload.test_call_us`), so that one core can ask
three times as much of it.  First its highest rate, in a closed loop of few calls; then open loops
at 1.5 and 3 times that rate, over 8 connections of 100 calls at once and over 64 of 20, whose
callers take their answers as they come.  For each: calls that were answered OK a second, as a share
of the highest rate (goodput); calls that were refused; p99 of the answered ones from when the
server read them, by its own histogram between two looks; the most memory it took more than before;
and how long after the load's end it was whole again: level 0, and a decision within the objective.
A closed loop of 256 calls, a queue of some 10 ms, must be served without a refusal.  Limits are
those of bench/limits.json, and one that is not kept ends the run with 1; they are the fast lane's.

grpc.aio's lane is driven as it is.  All of the server has one core here, gRPC's own threads too,
which read the calls that are too many.  With D each call of the open loops has so long, and what
is answered later counts as nothing.

Not shown: hundreds of connections (core/lane/README.md has figures), TLS, other hosts; how long
calls wait with their callers, who are told to by the protocol's backpressure, and give up at their
deadlines.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.limits import LIMITS, faults
from bench.log.cores import require_two
from bench.machine import machine

from .measure import FAST, LANES, Found, figures, measure


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = options_of(arguments)
    require_two()
    told = machine()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            Path(folder),
            options.seconds,
            options.lane,
            options.call_us if options.lane == FAST else 0,
            options.deadline_ms,
        )
    got = figures(found)
    if options.json:
        document = {"machine": told, "runs": found._asdict(), "figures": got}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write(shown(told, found))
    if options.lane != FAST:
        return 0
    limits = json.loads(LIMITS.read_text(encoding="utf-8"))
    ours = {name: limit for name, limit in limits.items() if name.startswith("overload_")}
    off = faults(got, ours)
    sys.stderr.write("".join(f"{fault}\n" for fault in off))
    return 1 if off else 0


def shown(told: dict[str, str], found: Found) -> str:
    """For people."""
    lines = [f"{name:<12} {text}" for name, text in told.items()]
    lines += ["", f"{'highest rate':<14} {found.maximum:>9,.0f} calls/s", ""]
    heads = ("asked/s", "OK/s", "goodput", "refused", "p99", "memory", "whole again")
    lines.append(f"{'':<14} " + " ".join(f"{head:>11}" for head in heads))
    for name, one in found.runs.items():
        cells = (
            f"{one.asked:,.0f}" if one.asked else "closed",
            f"{one.rate:,.0f}",
            f"{one.rate / found.maximum:.1%}",
            f"{one.refused:,}",
            f"{one.p99_ms:,.3g} ms",
            f"{one.memory_mb:+,.1f} MB",
            f"{one.recovery_s:,.2f} s",
        )
        lines.append(f"{name:<14} " + " ".join(f"{cell:>11}" for cell in cells))
    return "\n".join([*lines, "", (__doc__ or "").split("\n\n", 2)[2].strip()]) + "\n"


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--lane", choices=LANES, default=FAST)
    parser.add_argument("--deadline-ms", type=int, default=0, help="of each call; 0: none")
    parser.add_argument("--call-us", type=int, default=40, help="how much each call is slowed")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
