"""Run seeds: `python -m tests.faults.simulator --seeds 0:20000 --jobs 2`, or `--replay SEED`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.faults.simulator.run import MODES, Outcome, run, run_job

TELL_S = 5.0
# A sweep ends after so many seeds that fail.
BROKEN_MAX = 20


def seeds_of(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last)) if last else range(int(first))


def outcomes(seeds: range, jobs: int, mode: str) -> Iterator[Outcome]:
    work = [(seed, mode) for seed in seeds]
    if jobs == 1:
        yield from map(run_job, work)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_job, work, chunksize=8)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def replay(seed: int, mode: str, trace: bool) -> int:
    """Run a seed, show what it did, and say whether it held."""
    outcome = run(seed, mode=mode, trace=True)
    if trace:
        say("\n".join(outcome.trace))
    say(described(outcome))
    return 1 if outcome.fault else 0


def described(outcome: Outcome) -> str:
    what = outcome.fault or "every invariant held"
    counts = ", ".join(f"{value} {name}" for name, value in outcome.counts.items())
    return (
        f"seed {outcome.seed} ({outcome.mode}): {what}\n"
        f"  {counts}; {outcome.steps} steps in {outcome.seconds:.1f} simulated seconds, "
        f"trace {outcome.digest & 2**64 - 1:016x}"
    )


class Tally:
    """What a sweep came to, by mode."""

    def __init__(self) -> None:
        self.seeds: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.counts: dict[str, Counter[str]] = {}

    def add(self, outcome: Outcome) -> None:
        self.seeds[outcome.mode] += 1
        self.broken[outcome.mode] += bool(outcome.fault)
        self.counts.setdefault(outcome.mode, Counter()).update(outcome.counts)

    def table(self) -> str:
        modes = sorted(self.seeds)
        rows = [("", *modes, "all")]
        for name, counts in (("seeds", self.seeds), ("broken", self.broken)):
            rows.append((name, *(str(counts[mode]) for mode in modes), str(counts.total())))
        for name in next(iter(self.counts.values()), ()):
            values = [self.counts[mode][name] for mode in modes]
            rows.append((name, *map(str, values), str(sum(values))))
        return "\n".join(f"{row[0]:<14}" + "".join(f"{one:>12}" for one in row[1:]) for row in rows)


def sweep(seeds: range, jobs: int, mode: str) -> int:
    """Run all seeds, each in the mode it draws unless one is given, and print what they did.

    Stops after BROKEN_MAX seeds that fail; each is named with the command that replays it.
    """
    begun_s = told_s = time.monotonic()
    tally = Tally()
    for done, outcome in enumerate(outcomes(seeds, jobs, mode), start=1):
        tally.add(outcome)
        if outcome.fault:
            say(f"broken: {described(outcome)}\n  again: {again(outcome)}")
        enough = tally.broken.total() >= BROKEN_MAX
        if enough or time.monotonic() - told_s > TELL_S or done == len(seeds):
            told_s = time.monotonic()
            each_ms = 1000 * (told_s - begun_s) / done
            broken = tally.broken.total()
            say(f"{done} of {len(seeds)} seeds, {each_ms:.1f} ms each, {broken} broken")
        if enough:
            break
    say(tally.table())
    return 1 if tally.broken.total() else 0


def again(outcome: Outcome) -> str:
    """The command that shows a run step by step."""
    flags = f"--replay {outcome.seed} --mode {outcome.mode} --trace"
    return f"python -m tests.faults.simulator {flags}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=seeds_of, default=range(200), help="A:B, or a count")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--mode", choices=("", *sorted(set(MODES))), default="")
    parser.add_argument("--replay", type=int, help="run this seed alone")
    parser.add_argument("--trace", action="store_true", help="with --replay: show every step")
    given = parser.parse_args()
    if given.replay is not None:
        return replay(given.replay, given.mode, given.trace)
    return sweep(given.seeds, given.jobs, given.mode)


if __name__ == "__main__":
    sys.exit(main())
