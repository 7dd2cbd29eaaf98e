"""Prefetch: while a full reply is applied, the log is already asked for the one behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from nextbest.server.log.log import Entries

Place = tuple[int, int]


class Found(NamedTuple):
    """Entries of one reply, and whether it was full: then there may well be more."""

    entries: Entries
    full: bool


class Prefetch:
    """Reads at most one reply ahead, over a connection that has one read at a time.

    read: entries behind a place, waiting so many milliseconds for one.
    """

    def __init__(self, read: Callable[[Place, int], Awaitable[Found]]) -> None:
        self._read = read
        self._next: tuple[Place, asyncio.Task[Found]] | None = None

    async def read(self, after: Place, wait_ms: int) -> Entries:
        """Entries behind a place, oldest first; waits for one where none was read ahead."""
        found = await self._ahead(after)
        if found is None or not found.entries:
            found = await self._read(after, wait_ms)
        if found.full:
            place = found.entries[-1][:2]
            self._next = place, asyncio.ensure_future(self._read(place, 0))
        return found.entries

    async def close(self) -> None:
        """Let go of what was read ahead, once the connection is closed."""
        taken, self._next = self._next, None
        if taken is not None:
            await asyncio.gather(taken[1], return_exceptions=True)

    async def _ahead(self, after: Place) -> Found | None:
        """What was read ahead, if that is what is wanted now."""
        taken, self._next = self._next, None
        if taken is None:
            return None
        place, reading = taken
        found = await reading
        return found if place == after else None
