"""What a client saw: every call with its times and outcome, and what was done to the servers."""

from __future__ import annotations

import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

OK, REFUSED, UNKNOWN = range(3)
STALLS_MAX: Final = 100_000
OUTCOMES: Final = ("acknowledged", "refused", "unknown")


class Place(NamedTuple):
    """A position in the log."""

    epoch: int
    sequence: int
    nonce: int


@dataclass(slots=True)
class Write:
    """One write; its id and its person stay the same however often it is tried."""

    number: int
    person: str
    request: bytes
    invoked_s: float
    ended_s: float = 0.0
    outcome: int = UNKNOWN
    node: int = -1
    attempts: int = 0
    place: Place | None = None
    # The status of the last attempt that was not acknowledged.
    status: str = ""
    # True when only a repeat after the load was acknowledged.
    settled: bool = False


class Decides:
    """Decisions by the million: times and outcomes in columns."""

    def __init__(self) -> None:
        self._invoked = array("d")
        self._ended = array("d")
        self._outcome = array("b")
        self.statuses: dict[str, int] = {}
        self.degraded = 0
        self.staleness_ms_max = 0

    def add(self, invoked_s: float, ended_s: float, outcome: int) -> None:
        """Record one."""
        self._invoked.append(invoked_s)
        self._ended.append(ended_s)
        self._outcome.append(outcome)

    def failed(self, status: str) -> None:
        """Count why one failed."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def __len__(self) -> int:
        return len(self._outcome)

    def columns(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """When each was made, when it ended (seconds of the same clock), and its outcome."""
        return (
            np.array(self._invoked, dtype=np.float64),
            np.array(self._ended, dtype=np.float64),
            np.array(self._outcome, dtype=np.int8),
        )


class Mark(NamedTuple):
    """Something that was done or seen."""

    at_s: float
    text: str


@dataclass
class History:
    """Everything of one run, on one monotonic clock."""

    started_s: float = field(default_factory=time.monotonic)
    writes: list[Write] = field(default_factory=list)
    decides: Decides = field(default_factory=Decides)
    marks: list[Mark] = field(default_factory=list)
    # Calls that the client could not make in time, because it was itself too slow.
    not_made: int = 0
    late_s_max: float = 0.0
    # When its own clock ticked late, and by how much: then the machine stood still, for all.
    stalls: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=STALLS_MAX))

    def mark(self, text: str) -> float:
        """Note that something happened now; returns the moment."""
        self.marks.append(Mark(time.monotonic(), text))
        return self.marks[-1].at_s

    def stall_s(self, since_s: float, until_s: float) -> float:
        """The longest stall of the client itself: what it measured then is the machine's."""
        return max((late for at, late in self.stalls if since_s <= at <= until_s), default=0.0)

    def acknowledged(self) -> list[Write]:
        """The writes that were acknowledged, at last."""
        return [one for one in self.writes if one.outcome == OK]
