"""The node's clock, in microseconds since 1970, and a call's deadline on it."""

from __future__ import annotations

import time
from typing import Any


def now_us() -> int:
    """Now."""
    return time.time_ns() // 1_000


def deadline_us(context: Any, now: int) -> int:
    """The moment by which a call wants its answer; 0 when it does not say."""
    left = context.time_remaining()
    return 0 if left is None else now + int(left * 1_000_000)
