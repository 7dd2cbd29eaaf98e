"""Counts: what a node has done with its log since it started."""

from __future__ import annotations

from nextbest.server.histogram import DURATION_BOUNDS_S, Histogram
from nextbest.server.log.log import (
    QUEUES,
    LogError,
    LogFullError,
    StaleEpochError,
    UnknownOutcomeError,
)

APPENDED = "appended"
# What an append that failed is counted as, by the first class that fits.
_OUTCOMES: tuple[tuple[type[LogError], str], ...] = (
    (UnknownOutcomeError, "unknown"),
    (LogFullError, "full"),
    (StaleEpochError, "stale"),
)
_REFUSED = "refused"
OUTCOMES = (APPENDED, *(name for _, name in _OUTCOMES), _REFUSED)


class QueueCounts:
    """One queue's appends: how they ended, what they brought, and how long they took."""

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.mutations = 0
        self.bytes = 0
        self.seconds = Histogram(DURATION_BOUNDS_S)

    def appended(self, size: int, seconds: float) -> None:
        """An entry of so many bytes is in the log."""
        self.outcomes[APPENDED] += 1
        self.bytes += size
        self.seconds.count(seconds)

    def failed(self, error: LogError) -> None:
        """An entry is not known to be in the log."""
        names = (name for kind, name in _OUTCOMES if isinstance(error, kind))
        self.outcomes[next(names, _REFUSED)] += 1


class Counts:
    """Of one node; the loop counts, and any thread reads."""

    def __init__(self) -> None:
        self.queues = tuple(QueueCounts() for _ in range(QUEUES))
        self.connects = 0
        # Entries read and applied, and epochs begun among them.
        self.applied = 0
        self.epochs = 0
        self.snapshots = 0
        self.snapshots_failed = 0
