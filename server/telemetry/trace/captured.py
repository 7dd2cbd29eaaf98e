"""Captured calls: the last ones worth a trace, in memory, whether or not they are exported."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nextbest.server.telemetry.trace.context import context_of

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

# A call's fixed part, about; what comes from the caller and the answer is added.
CALL_BYTES = 1_024
BYTES_MAX = 4 << 20

# Why a call was kept, and its gRPC code.
Kind = tuple[tuple[str, ...], int]


class Captured:
    """Remembers `calls_max` calls, of all together `bytes_max` bytes about.

    The kind with most calls loses its oldest one where there is no room: many that were sampled,
    or whose callers ask for what is not there, do not push out the few that were slow.
    """

    def __init__(self, calls_max: int, bytes_max: int = BYTES_MAX) -> None:
        self.calls_max = calls_max
        self._bytes_max = bytes_max
        self._bytes = self._count = 0
        # As many kinds as were met: sixteen reasons and seventeen codes are the most there are.
        self._kinds: dict[Kind, deque[KeptCall]] = {}
        self._changing = threading.Lock()

    def tell(self, calls: Sequence[KeptCall]) -> None:
        """Remember them."""
        with self._changing:
            for call in calls:
                self._add(call)

    def calls(self) -> list[KeptCall]:
        """All of them, the oldest first."""
        with self._changing:
            found = [call for calls in self._kinds.values() for call in calls]
        return sorted(found, key=lambda call: call.began_ns)

    def trace(self, trace_id: int) -> list[KeptCall]:
        """Those of one trace, the oldest first."""
        return [call for call in self.calls() if context_of(call).own.trace_id == trace_id]

    def _add(self, call: KeptCall) -> None:
        self._kinds.setdefault((call.reasons, call.code), deque()).append(call)
        self._count += 1
        self._bytes += _size(call)
        while self._count > self.calls_max or self._bytes > self._bytes_max:
            self._forget()

    def _forget(self) -> None:
        call = max(self._kinds.values(), key=len).popleft()
        self._count -= 1
        self._bytes -= _size(call)


def _size(call: KeptCall) -> int:
    return CALL_BYTES + len(call.answer) + len(call.tracestate) + len(call.baggage)
