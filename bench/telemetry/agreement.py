"""Whether the server's histogram of a method tells what a caller sees: p50, p99 and p99.9.

    python -m bench.telemetry.agreement [--calls N] [--rounds N] [--json]

A generator makes one call at a time over a Unix socket, and each call is counted by both.  The
server's time lies within the caller's: it begins with the read that brought the call's headers
and ends when the answer's last byte was given to the socket.  Between them are the caller's
write, the socket, waking the server's thread and finding the caller: 10 us or so where nobody
else wants the cores.  So the two agree where a call takes longer than that.  `batches` are such
calls: most of 100 decisions, 1.7 % of 300 and 0.3 % of 1,000, so that each percentile is of
another kind; actions are held back at their last gate, so that answers are small.  `decide`, of
some 5 us, shows the difference itself and is not judged.  A core that is taken from the generator
makes it wait, and the server cannot know: both run with real-time priority where that is allowed,
and of several rounds that counts in which the generator's core lost least.

Not shown: an open loop, in which a caller counts from when a call was due and the server cannot
know how long it has waited in the socket; TLS; other hosts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from bench.log.cores import CORE_GENERATOR, real_time, require_two
from bench.log.serving import Server, serving
from bench.machine import machine
from bench.micro.shop_100 import playbook
from bench.micro.subject import gated
from nextbest.bench.result import Result, result
from nextbest.bench.result import at as caller_at
from nextbest.bench.run import run
from nextbest.bench.settings import Settings
from nextbest.server.telemetry.buckets import bounds_s

DURATION = "rpc_server_call_duration_seconds"
PERCENTAGES = (50.0, 99.0, 99.9)
MIXES = {"batches": "batch:100=980,batch:300=17,batch:1000=3", "decide": "decide"}
METHODS = {"batches": "DecideBatch", "decide": "Decide"}
JUDGED = "batches"
# For the calls of a run, which ends with their number.
SPAN_S = 600.0


class Counted(NamedTuple):
    """A histogram: ascending bounds in seconds, the last one infinite, and the calls in each."""

    bounds_s: tuple[float, ...]
    calls: tuple[int, ...]

    def less(self, before: Counted) -> Counted:
        """What was counted since."""
        pairs = zip(self.calls, before.calls or (0,) * len(self.calls), strict=True)
        return Counted(self.bounds_s, tuple(now - then for now, then in pairs))

    def bucket(self, percentage: float) -> int:
        """The number of the bucket that the percentile lies in."""
        wanted = max(1.0, percentage * sum(self.calls) / 100)
        seen = 0
        for number, calls in enumerate(self.calls):
            seen += calls
            if seen >= wanted - 1e-6:
                return number
        raise SystemExit("the server has counted no call")


class Row(NamedTuple):
    """A percentile: the caller's, the bucket it lies in, and the bucket of the server's."""

    percentage: float
    caller_s: float
    caller: int
    server: int

    @property
    def apart(self) -> int:
        """How many buckets the caller's is above the server's."""
        return self.caller - self.server


class Round(NamedTuple):
    """A run's percentiles, and the share of its time that the generator's core was taken away."""

    rows: list[Row]
    lost: float

    @property
    def apart(self) -> int:
        """How many buckets there are between the two at most."""
        return max(abs(row.apart) for row in self.rows)


def counted(pages: str, method: str) -> Counted:
    """What a server has counted of a method on its fast lane."""
    with urllib.request.urlopen(f"{pages}/metrics") as page:
        text = page.read().decode()
    [family] = [one for one in text_string_to_metric_families(text) if one.name == DURATION]
    within = {
        float(one.labels["le"]): int(one.value)
        for one in family.samples
        if one.name == f"{DURATION}_bucket"
        and one.labels["rpc_method"].endswith(f"/{method}")
        and one.labels["lane"] == "fast"
    }
    bounds = tuple(sorted(within))
    sums = [0, *(within[bound] for bound in bounds)]
    return Counted(bounds, tuple(b - a for a, b in pairwise(sums)))


def compared(server: Server, pages: str, name: str, calls: int) -> Round:
    """One run: every call must be counted by both."""
    called(server, name, max(calls // 10, 1))
    before = counted(pages, METHODS[name])
    found = called(server, name, calls)
    since = counted(pages, METHODS[name]).less(before)
    if sum(since.calls) != calls:
        raise SystemExit(f"{sum(since.calls)} calls were counted, and {calls} were made")
    [lost] = [gap["lost"] for gap in found["gaps"] if gap["when"] == "during"]
    return Round([of(percentage, found, since) for percentage in PERCENTAGES], lost)


def of(percentage: float, found: Result, since: Counted) -> Row:
    """A percentile of both."""
    caller_s = caller_at(found["buckets"], percentage) / 1e9
    at = bisect_left(since.bounds_s, caller_s)
    return Row(percentage, caller_s, at, since.bucket(percentage))


def called(server: Server, name: str, calls: int) -> Result:
    """Calls one after another, each answered."""
    settings = Settings(
        to=(server.lane,),
        closed=True,
        connections=1,
        streams=1,
        calls=calls,
        duration=SPAN_S,
        warmup=0,
        probe=0,
        cpu=CORE_GENERATOR,
        mix=MIXES[name],
    )
    found = result(run(settings))
    if found["statusCodeDistribution"] != {"OK": calls}:
        raise SystemExit(f"not all calls were answered: {found['errorDistribution']}")
    return found


def pages_of(folder: Path) -> str:
    """Where a server's pages are, by what it has printed."""
    told = re.search(r"http://\S+(?=/metrics)", (folder / "printed").read_text())
    if told is None:
        raise SystemExit("the server has not said where its metrics are")
    return told[0]


def measure(options: argparse.Namespace) -> dict[str, list[Round]]:
    """Each mix in turn, several times."""
    with tempfile.TemporaryDirectory() as text, telling(Path(text)) as (server, pages):
        return {
            name: [compared(server, pages, name, options.calls) for _ in range(options.rounds)]
            for name in MIXES
        }


@contextmanager
def telling(folder: Path) -> Iterator[tuple[Server, str]]:
    """A server, and where its pages are."""
    files = gated(playbook())
    address = "telemetry.address=127.0.0.1:0"
    with real_time(), serving(folder, "--set", address, files=files) as server:
        yield server, pages_of(folder)


def figures(found: dict[str, list[Round]]) -> dict[str, float]:
    """Of the round that is judged."""
    best = min(found[JUDGED], key=lambda one: one.lost)
    apart = {f"agreement_p{row.percentage:g}_buckets": float(row.apart) for row in best.rows}
    return {**apart, "agreement_lost": best.lost, "agreement_buckets": float(best.apart)}


def shown(name: str, one: Round) -> str:
    """A round as a table."""
    lines = [f"{name:<10} {'the caller saw':>16} {'in bucket':>18} {'the server':>18}"]
    for row in one.rows:
        buckets = " ".join(f"{bucket_text(number):>18}" for number in (row.caller, row.server))
        lines.append(f"  p{row.percentage:<7g} {row.caller_s * 1e6:>13,.0f} us {buckets}")
    return "\n".join([*lines, f"  its core lost {one.lost:.2%}"])


def bucket_text(number: int) -> str:
    """A bucket's bounds in microseconds."""
    bounds = [0.0, *bounds_s(), float("inf")]
    return f"{bounds[number] * 1e6:,.0f} to {bounds[number + 1] * 1e6:,.0f}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    require_two()
    told = machine()
    found = measure(options)
    if options.json:
        document = {"machine": told, "rounds": found, "figures": figures(found)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    lines = [f"{name:<12} {text}" for name, text in told.items()]
    lines += ["", *(shown(name, one) for name, rounds in found.items() for one in rounds), ""]
    lines += [f"{name:<28} {value:g}" for name, value in figures(found).items()]
    sys.stdout.write("\n".join([*lines, "", (__doc__ or "").split("\n\n", 2)[2].strip()]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
