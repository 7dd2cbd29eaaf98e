"""SLOs: all objectives of a server, looked at every 10 s and whenever somebody asks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nextbest.server.telemetry.slo.burn import SEVERITIES
from nextbest.server.telemetry.slo.history import DENSE_S, History
from nextbest.server.telemetry.slo.objective import Objective
from nextbest.server.telemetry.slo.state import SloState, state_of
from nextbest.server.telemetry.slo.tally import Tally, tally

if TYPE_CHECKING:
    from nextbest.core.engine import CallCount

LOOK_S = DENSE_S[0]


class Slos:
    """Knows how every objective stands; any thread may ask."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        calls: Callable[[], Sequence[CallCount]],
        bounds_s: Sequence[float],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objectives = tuple(objectives)
        self._calls = calls
        self._bounds_s = tuple(bounds_s)
        self._clock_s = clock_s
        # The engine's counters are read, and histories written, by one thread at a time.
        self._lock = threading.Lock()
        now_s = clock_s()
        self._histories = [History(now_s, Tally(0, 0), one.window_s) for one in self._objectives]
        # By severity, the methods whose objective burns, as of the last look.
        self._burning: dict[str, frozenset[str]] = dict.fromkeys(SEVERITIES, frozenset())

    async def run(self) -> None:
        """Look every 10 s until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_S)

    def look(self) -> list[SloState]:
        """How all stand now; noted for later windows."""
        with self._lock:
            now_s = self._clock_s()
            counts = self._calls()
            totals = [tally(one, counts, self._bounds_s) for one in self._objectives]
            for history, total in zip(self._histories, totals, strict=True):
                history.add(now_s, total)
            looked = zip(self._objectives, self._histories, totals, strict=True)
            states = [state_of(one, history, now_s, total) for one, history, total in looked]
        self._burning = {
            severity: frozenset(s.objective.method for s in states if s.burning(severity))
            for severity in SEVERITIES
        }
        return states

    def burning(self, severity: str = "page") -> frozenset[str]:
        """The methods whose objective burns so fast, as of the last look; free to ask."""
        return self._burning[severity]
