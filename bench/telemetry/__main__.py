"""What telemetry costs: the fast lane's highest rate, and the serving thread's time for a call.

    python -m bench.telemetry [--rounds N] [--seconds S] [--calls N] [--json]

Two builds in one run: as it ships, and with telemetry compiled out (NEXTBEST_NO_TELEMETRY); the
first run compiles both.  Rate: each round drives both servers in a closed loop, in changing order,
the first with 1 % of calls sampled, slow ones kept, histograms, a scrape every 5 s and spans
exported to an OTLP receiver; the figure is the median over rounds of the rate that is lost.
Call: one loop of decisions in each build's process, in turn, with no call sampled and with every
one; the figures are medians of the differences, some of which is Python that the fast lane has
not.  `lane_us` is the lane's thread alone.  Answers are compared.  Limits are those of
bench/limits.json, and one that is not kept ends the run with 1.

Not shown: other calls than Decide, and of more people than caches hold (their decisions take
longer); a scrape by several; one core alone, where spans and decisions share it.  In the loop one
reading of the clock, some 9 ns, is in both builds.
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

from . import cost, rate
from .builds import build


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = options_of(arguments)
    require_two()
    told = machine()
    builds = build()
    calls = cost.measure(builds, options.rounds, options.calls)
    with tempfile.TemporaryDirectory() as folder:
        rates = rate.measure(builds, Path(folder), options.rounds, options.seconds)
    figures = {**rate.figures(rates), **cost.figures(calls)}
    if options.json:
        rounds = {"rates": rates._asdict(), "calls_ns": calls}
        document = {"machine": told, "rounds": rounds, "figures": figures}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write(shown(told, figures))
    limits = json.loads(LIMITS.read_text(encoding="utf-8"))
    ours = {name: limit for name, limit in limits.items() if name.startswith("telemetry_")}
    off = faults(figures, ours)
    sys.stderr.write("".join(f"{fault}\n" for fault in off))
    return 1 if off else 0


def shown(told: dict[str, str], figures: dict[str, float]) -> str:
    """For people."""
    lines = [f"{name:<12} {text}" for name, text in told.items()]
    lines += ["", *(f"{name:<38} {value:>14,.3f}" for name, value in figures.items()), ""]
    return "\n".join([*lines, (__doc__ or "").split("\n\n", 2)[2].strip()]) + "\n"


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.15, help="of each run of the rate")
    parser.add_argument("--calls", type=int, default=2_000, help="of each turn of the loop")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
