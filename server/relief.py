"""Relief: cheaper answers on both lanes while the objective of Decide burns its budget too fast.

Answers are cheaper only where a placement's `degrade_to` lets them, and nobody is refused for it:
calls may be late for reasons that fewer of them would not change.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

METHOD = "Decide"
LOOK_S = 1.0
# The short window of a burn that pages: before it has passed, what helped cannot show.
GOES_ON_S = 300.0

_log = logging.getLogger(__name__)


class Relief:
    """Looks each second; `lanes` are told the level that they are at least at, 0 to 2."""

    def __init__(
        self,
        burning: Callable[[], frozenset[str]],
        lanes: Sequence[Callable[[int], None]],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burning = burning
        self._lanes = lanes
        self._clock_s = clock_s
        self._since_s: float | None = None
        self._level = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Tell the lanes what has changed."""
        level = self._wanted()
        if level == self._level:
            return
        self._level = level
        _log.warning("the objective of %s %s", METHOD, _told(level))
        for tell in self._lanes:
            tell(level)

    def _wanted(self) -> int:
        if METHOD not in self._burning():
            self._since_s = None
            return 0
        now_s = self._clock_s()
        if self._since_s is None:
            self._since_s = now_s
        return 1 if now_s - self._since_s < GOES_ON_S else 2


def _told(level: int) -> str:
    if not level:
        return "burns no more: answers are whole again"
    less = "scoring" if level == 1 else "all but fallbacks"
    return f"burns: answers leave out {less} where their placements let them"
