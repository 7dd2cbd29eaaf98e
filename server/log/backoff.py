"""Back-off: longer pauses after each failure, and no two members in step."""

from __future__ import annotations

import asyncio
from random import Random

from nextbest.server.log.limits import Limits


class Backoff:
    """Pauses that double from `backoff_ms` to `backoff_ms_max`, each cut by up to half."""

    def __init__(self, limits: Limits, random: Random) -> None:
        self._limits = limits
        self._random = random
        self._next_ms = limits.backoff_ms

    def reset(self) -> None:
        """It went well: begin with the shortest pause again."""
        self._next_ms = self._limits.backoff_ms

    def pause_s(self) -> float:
        """How long the next pause is."""
        pause_ms = self._next_ms * self._random.uniform(0.5, 1.0)
        self._next_ms = min(self._next_ms * 2, self._limits.backoff_ms_max)
        return pause_ms / 1_000

    async def pause(self) -> None:
        """Wait."""
        await asyncio.sleep(self.pause_s())
