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


class Captured:
    """Remembers `calls_max` calls, of all together `bytes_max` bytes about.

    Half of them may be calls that were sampled and nothing else: many of those do not push out
    the few that were slow, degraded or in error.
    """

    def __init__(self, calls_max: int, bytes_max: int = BYTES_MAX) -> None:
        self.calls_max = calls_max
        self._sampled = _Last(calls_max // 2, bytes_max // 2)
        self._remarkable = _Last(calls_max - calls_max // 2, bytes_max // 2)
        self._changing = threading.Lock()

    def tell(self, calls: Sequence[KeptCall]) -> None:
        """Remember them."""
        with self._changing:
            for call in calls:
                (self._sampled if call.reasons == ("sampled",) else self._remarkable).add(call)

    def calls(self) -> list[KeptCall]:
        """All of them, the oldest first."""
        with self._changing:
            found = [*self._sampled.calls, *self._remarkable.calls]
        return sorted(found, key=lambda call: call.began_ns)

    def trace(self, trace_id: int) -> list[KeptCall]:
        """Those of one trace, the oldest first."""
        return [call for call in self.calls() if context_of(call).own.trace_id == trace_id]


class _Last:
    def __init__(self, calls_max: int, bytes_max: int) -> None:
        self.calls: deque[KeptCall] = deque()
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._bytes = 0

    def add(self, call: KeptCall) -> None:
        self.calls.append(call)
        self._bytes += _size(call)
        while len(self.calls) > self._calls_max or self._bytes > self._bytes_max:
            self._bytes -= _size(self.calls.popleft())


def _size(call: KeptCall) -> int:
    return CALL_BYTES + len(call.answer) + len(call.tracestate) + len(call.baggage)
