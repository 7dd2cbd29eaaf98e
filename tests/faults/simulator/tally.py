"""What many seeds came to, by mode."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.faults.simulator.run import Outcome

Counts = dict[str, Counter[str]]


class Tally:
    """Sums of what happened, and each seed that broke."""

    def __init__(self) -> None:
        self.counts: Counts = {}
        # (mode, seed, what broke).
        self.broken: list[tuple[str, int, str]] = []

    @property
    def seeds(self) -> int:
        return sum(counts["seeds"] for counts in self.counts.values())

    def add(self, outcome: Outcome) -> None:
        counts = self.counts.setdefault(outcome.mode, Counter())
        found = {"seeds": 1, "broken": int(bool(outcome.fault)), "steps": outcome.steps}
        for name, value in (found | outcome.counts).items():
            counts[name] += value
        if outcome.fault:
            self.broken.append((outcome.mode, outcome.seed, outcome.fault))

    def __add__(self, other: Tally) -> Tally:
        made = Tally()
        made.broken = self.broken + other.broken
        for tally in (self, other):
            for mode, counts in tally.counts.items():
                made.counts.setdefault(mode, Counter()).update(counts)
        return made

    def message(self) -> dict[str, Any]:
        """All of it, for JSON."""
        broken = [{"mode": mode, "seed": seed, "fault": why} for mode, seed, why in self.broken]
        return {"counts": self.counts, "broken": broken}

    @classmethod
    def of(cls, message: dict[str, Any]) -> Tally:
        made = cls()
        made.counts = {mode: Counter(counts) for mode, counts in message["counts"].items()}
        made.broken = [(one["mode"], one["seed"], one["fault"]) for one in message["broken"]]
        return made

    def table(self) -> str:
        modes = sorted(self.counts)
        rows = [("", *modes, "all")]
        for name in next(iter(self.counts.values()), ()):
            values = [self.counts[mode][name] for mode in modes]
            rows.append((name, *map(str, values), str(sum(values))))
        return "\n".join(f"{row[0]:<14}" + "".join(f"{one:>12}" for one in row[1:]) for row in rows)
