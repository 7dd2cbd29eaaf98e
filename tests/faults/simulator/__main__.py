"""Run seeds: `python -m tests.faults.simulator --seeds 0:20000 --jobs 2`, or `--replay SEED`.

With `--keep DIR` a sweep that was ended goes on where it was, as long as the code is the same.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.faults.simulator.features import whole
from tests.faults.simulator.kept import Kept
from tests.faults.simulator.run import MODES, Job, Outcome, run, run_job
from tests.faults.simulator.tally import Tally

Runs = Callable[[Iterable[Job]], Iterator[Outcome]]

TELL_S = 5.0
# A sweep ends after so many seeds that fail.
BROKEN_MAX = 20
# What is kept at once.
BLOCK = 1_000


def seeds_of(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last)) if last else range(int(first))


@contextmanager
def runner(jobs: int) -> Iterator[Runs]:
    """What runs seeds, in as many processes; outcomes come in any order."""
    if jobs == 1:
        yield lambda work: map(run_job, work)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield lambda work: pool.imap_unordered(run_job, work, chunksize=8)


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")


def replay(given: argparse.Namespace) -> int:
    """Run a seed, show what it did, and say whether it held."""
    features = whole(given.replay) if given.whole else None
    outcome = run(given.replay, mode=given.mode, features=features, trace=True)
    if given.trace:
        tell("\n".join(outcome.trace))
    tell(described(outcome))
    return 1 if outcome.fault else 0


def described(outcome: Outcome) -> str:
    what = outcome.fault or "every invariant held"
    counts = ", ".join(f"{value} {name}" for name, value in outcome.counts.items())
    return (
        f"seed {outcome.seed} ({outcome.mode}): {what}\n"
        f"  {counts}; {outcome.steps} steps in {outcome.seconds:.1f} simulated seconds, "
        f"trace {outcome.digest & 2**64 - 1:016x}"
    )


class Sweep:
    """Many seeds, each in the mode it draws unless one is given."""

    def __init__(self, given: argparse.Namespace, runs: Runs) -> None:
        self.seeds: range = given.seeds
        self._kept = Kept(given.keep)
        self._work = (given.mode, given.whole)
        self._runs = runs
        self.tally = Tally()
        self._begun_s = self._told_s = time.monotonic()
        # How many were run now, and not kept from an earlier time.
        self._ran = 0

    def run(self) -> None:
        """Ends after BROKEN_MAX seeds that fail; each is named with the command that replays it."""
        for first in range(self.seeds.start, self.seeds.stop, BLOCK):
            self.tally += self._block(range(first, min(first + BLOCK, self.seeds.stop)))
            if len(self.tally.broken) >= BROKEN_MAX:
                break
        self._tell_progress(self.tally)

    def _block(self, seeds: range) -> Tally:
        """What a part of them came to, from the file of an earlier time if there is one."""
        name = "-".join(filter(None, (f"{seeds.start}-{seeds.stop}", self._work[0])))
        name += "-whole" * self._work[1]
        if (known := self._kept.get(name)) is not None:
            return known
        tally = Tally()
        for outcome in self._runs((seed, *self._work) for seed in seeds):
            self._add(tally, outcome)
            if len(self.tally.broken) + len(tally.broken) >= BROKEN_MAX:
                return tally
        self._kept.put(name, tally)
        return tally

    def _add(self, tally: Tally, outcome: Outcome) -> None:
        tally.add(outcome)
        self._ran += 1
        if outcome.fault:
            again = f"--replay {outcome.seed} --mode {outcome.mode}{' --whole' * self._work[1]}"
            say(f"broken: {described(outcome)}")
            say(f"  again: python -m tests.faults.simulator {again} --trace")
        if time.monotonic() - self._told_s > TELL_S:
            self._told_s = time.monotonic()
            self._tell_progress(self.tally + tally)

    def _tell_progress(self, tally: Tally) -> None:
        each_ms = 1_000 * (time.monotonic() - self._begun_s) / max(self._ran, 1)
        done, broken = tally.seeds, len(tally.broken)
        say(f"{done} of {len(self.seeds)} seeds, {each_ms:.1f} ms each, {broken} broken")


def sweep(given: argparse.Namespace) -> int:
    with runner(given.jobs) as runs:
        made = Sweep(given, runs)
        made.run()
    tell(json.dumps(made.tally.message()) if given.json else made.tally.table())
    return 1 if made.tally.broken else 0


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds_of, default=range(200), help="A:B, or a count")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--mode", choices=("", *sorted(set(MODES))), default="")
    parser.add_argument("--whole", action="store_true", help="worlds that have everything")
    parser.add_argument("--keep", type=Path, help=f"a folder: the outcome of each {BLOCK} seeds")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")
    parser.add_argument("--replay", type=int, help="run this seed alone")
    parser.add_argument("--trace", action="store_true", help="with --replay: show every step")
    return parser.parse_args(words)


def main() -> int:
    given = arguments()
    return sweep(given) if given.replay is None else replay(given)


if __name__ == "__main__":
    sys.exit(main())
