"""What the parts of a node share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from nextbest.server.log.ahead import Ahead
from nextbest.server.log.counts import Counts
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import Log, Position
from nextbest.server.log.progress import Progress
from nextbest.server.log.retained import Retained
from nextbest.server.log.standing import Standing

if TYPE_CHECKING:
    from nextbest.core import Engine


@dataclass(frozen=True, slots=True)
class Context:
    """One node's engine, log, state and sources of time and chance.

    steady_s: a clock that never goes back, CLOCK_MONOTONIC in seconds.
    member: its name, unlike every other's.  address: where the others reach it, or empty.
    process: this process's random mark, or 0.  now_us: the wall clock, in microseconds since 1970.
    """

    engine: Engine
    log: Log
    member: str
    address: str
    process: int
    limits: Limits
    now_us: Callable[[], int]
    steady_s: Callable[[], float]
    random: Random
    standing: Standing
    ahead: Ahead
    retained: Retained
    progress: Progress
    counts: Counts = field(default_factory=Counts)

    @property
    def here(self) -> Position:
        """How far the log is applied here."""
        return Position(*self.engine.position)

    def advance(self, position: Position, data: bytes) -> None:
        """The next entry of the log, of these bytes, is applied here."""
        self.retained.add(position, data, asyncio.get_running_loop().time())
        self.engine.advance(position, self.now_us())
        self.counts.applied += 1

    def let_go(self) -> None:
        """Let go of entries that are old, and let everybody look who waits for what was applied."""
        self.retained.cut(self.progress.committed, asyncio.get_running_loop().time())
        self.progress.moved()

    def caught_up(self, at_us: int) -> None:
        """The log's end was here at that time, if what is read is the log."""
        if not self.standing.behind:
            self.engine.caught_up(at_us)

    def go_astray(self, lost_ids: list[str]) -> None:
        """Something was applied here that no other member can have: a snapshot has to be loaded."""
        self.progress.lose(lost_ids)
        self.standing.set("astray", f"{len(lost_ids)} mutations cannot be brought to the others")
