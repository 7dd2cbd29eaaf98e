"""Attempts: a refused call is made again when the server said, within its deadline."""

from __future__ import annotations

import random
import time

from nextbest.client.channel import ATTEMPTS_MAX
from nextbest.client.errors import OverloadedError
from nextbest.client.limits import seconds

# So much longer at most, by chance: those who were refused together shall not come together.
SPREAD = 0.25


class Attempts:
    """The attempts of one call; a refusal says that nothing was done."""

    def __init__(self, timeout: float) -> None:
        """timeout: the caller's, in seconds; raises TypeError or ValueError for a bad one."""
        self._end = time.monotonic() + seconds(timeout)
        self._more = ATTEMPTS_MAX - 1

    @property
    def left(self) -> float:
        """Seconds to the deadline."""
        return self._end - time.monotonic()

    def pause(self, error: OverloadedError) -> float:
        """Seconds to the next attempt; raise the error where none can be in time."""
        if error.retry_after is None or not self._more:
            raise error
        pause = error.retry_after * random.uniform(1, 1 + SPREAD)
        if pause >= self.left:
            raise error
        self._more -= 1
        return pause
