"""Captured calls: the last ones of each kind worth a trace, in memory, whether or not exported."""

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

# Why a call was kept, and its gRPC code: 15 times 17 kinds at most.
Kind = tuple[tuple[str, ...], int]


class Captured:
    """Remembers `calls_max` calls, of all together `bytes_max` bytes about.

    Where there is no room the kind that has most loses its oldest call: many that were sampled,
    or whose callers ask for what is not there, do not push out the few that were slow.
    """

    def __init__(self, calls_max: int, bytes_max: int = BYTES_MAX) -> None:
        self.calls_max = calls_max
        self._bytes_max = bytes_max
        self._bytes = self._count = 0
        self._kinds: dict[Kind, _Calls] = {}
        self._changing = threading.Lock()

    def tell(self, calls: Sequence[KeptCall]) -> None:
        """Remember them."""
        with self._changing:
            for call in calls:
                self._add(call)

    def calls(self) -> list[KeptCall]:
        """All of them, the oldest first."""
        with self._changing:
            found = [call for kind in self._kinds.values() for call in kind.calls]
        return sorted(found, key=lambda call: call.began_ns)

    def trace(self, trace_id: int) -> list[KeptCall]:
        """Those of one trace, the oldest first."""
        return [call for call in self.calls() if context_of(call).own.trace_id == trace_id]

    def _add(self, call: KeptCall) -> None:
        self._bytes += self._kinds.setdefault((call.reasons, call.code), _Calls()).add(call)
        self._count += 1
        while self._count > self.calls_max:
            self._forget(max(self._kinds.values(), key=lambda kind: len(kind.calls)))
        while self._bytes > self._bytes_max:
            self._forget(max(self._kinds.values(), key=lambda kind: kind.bytes))

    def _forget(self, kind: _Calls) -> None:
        self._bytes -= kind.forget()
        self._count -= 1


class _Calls:
    """Those of one kind, the oldest first."""

    def __init__(self) -> None:
        self.calls: deque[KeptCall] = deque()
        self.bytes = 0

    def add(self, call: KeptCall) -> int:
        """Remember one; its bytes."""
        self.calls.append(call)
        self.bytes += _size(call)
        return _size(call)

    def forget(self) -> int:
        """Forget the oldest; its bytes."""
        size = _size(self.calls.popleft())
        self.bytes -= size
        return size


def _size(call: KeptCall) -> int:
    return CALL_BYTES + len(call.answer) + len(call.tracestate) + len(call.baggage)
