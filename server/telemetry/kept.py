"""Kept calls: one thread takes them from the engine and hands them to who tells of them.

It must not do their work: a sink that needs time has a queue of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall
    from nextbest.core.engine import Telemetry as Counted

# A ring holds 1,024 calls: enough for 50,000 a second of one serving thread.
EVERY_S = 0.02
TAKEN_MAX = 1_024
STOP_S = 2.0

# Told the calls, the oldest of each thread first.  It runs in the taking thread.
Sink = Callable[[Sequence["KeptCall"]], None]

_log = logging.getLogger(__name__)


class KeptCalls:
    """Takes what the engine keeps, every 20 ms, until it is stopped.  `sinks` have names."""

    def __init__(self, counted: Counted, sinks: Mapping[str, Sink]) -> None:
        self._counted = counted
        self._sinks = dict(sinks)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # By sink: how often it raised, each time losing what it was given.
        self.failures = dict.fromkeys(self._sinks, 0)

    def start(self) -> None:
        """Begin; nothing where nobody wants to be told."""
        if self._sinks:
            self._thread = threading.Thread(target=self._run, name="kept-calls", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Take what is there, and end; blocks for 2 s at most."""
        self._stopping.set()
        if self._thread:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._take()
        # What was kept before the stop.
        while self._take():
            pass

    def _take(self) -> bool:
        """Hand over what is there; False for nothing."""
        calls = self._counted.take(TAKEN_MAX)
        if calls:
            for name, sink in self._sinks.items():
                self._give(name, sink, calls)
        return bool(calls)

    def _give(self, name: str, sink: Sink, calls: Sequence[KeptCall]) -> None:
        try:
            sink(calls)
        except Exception:
            self.failures[name] += 1
            # A sink that fails does so again, fifty times a second.
            if self.failures[name] & (self.failures[name] - 1) == 0:
                _log.exception("kept calls: %s failed, %d times now", name, self.failures[name])
