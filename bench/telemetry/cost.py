"""What telemetry takes of the serving thread for a call: the same loop in both builds, in turn."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from .builds import ROOT, tree
from .rate import quartiles

# How many calls of 1 are sampled.
UNSAMPLED, SAMPLED = 0.0, 1.0
# Slower than this is kept for being slow: the loop's calls are not, but for an interruption.
SLOW_SHARE_MAX = 0.01


class Loop(NamedTuple):
    """A loop that runs under a build."""

    asked: IO[str]
    told: IO[str]

    def turn(self, ratio: float, calls: int) -> tuple[float, int, int]:
        """Nanoseconds of a call, a checksum of the answers, and the calls that were kept."""
        self.asked.write(f"{ratio} {calls}\n")
        self.asked.flush()
        line = self.told.readline().split()
        if len(line) != 3:
            raise SystemExit("the loop has ended")
        return float(line[0]), int(line[1]), int(line[2])


@contextlib.contextmanager
def looping(folder: Path) -> Iterator[Loop]:
    """A loop under the build in that folder."""
    path = f"{tree(folder)}{os.pathsep}{ROOT}"
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.telemetry.loop"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Loop(process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def measure(builds: dict[str, Path], rounds: int, calls: int) -> dict[str, list[float]]:
    """Nanoseconds that a call takes longer, by whether it is sampled, of each round."""
    with looping(builds["with"]) as ours, looping(builds["without"]) as bare:
        for loop in (ours, bare):
            loop.turn(UNSAMPLED, calls)
        found = [_round(ours, bare, calls, number) for number in range(rounds)]
    return {
        "unsampled": [unsampled - without for without, unsampled, _ in found],
        "sampled": [sampled - without for without, _, sampled in found],
        "decide": [without for without, _, _ in found],
    }


def _round(ours: Loop, bare: Loop, calls: int, number: int) -> tuple[float, float, float]:
    """Without, unsampled and sampled, in changing order, with the same answers."""
    turns = [(bare, UNSAMPLED), (ours, UNSAMPLED), (ours, SAMPLED)]
    order = [(number + step) % 3 for step in range(3)]
    found = {at: turns[at][0].turn(turns[at][1], calls) for at in order}
    if len({found[at][1] for at in range(3)}) != 1:
        raise SystemExit("the builds give different answers")
    kept = [found[at][2] for at in range(3)]
    if kept[0] or kept[1] > SLOW_SHARE_MAX * calls or kept[2] < calls:
        raise SystemExit(f"calls that were kept: {kept} of {calls}")
    return found[0][0], found[1][0], found[2][0]


def figures(found: dict[str, list[float]]) -> dict[str, float]:
    """In microseconds."""
    return {
        name: ns / 1_000
        for each, values in found.items()
        for name, ns in quartiles(f"telemetry_{each}_us", values).items()
    }
