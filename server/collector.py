"""The garbage collector, which rests while much is made that has no cycles."""

from __future__ import annotations

import gc
import threading
from types import TracebackType


class Paused:
    """Nothing is collected while any thread is within: the collector is the process's own.

    It would go over all that is new several times, and find nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._collects = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._collects = gc.isenabled()
                gc.disable()
            self._within += 1

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._within -= 1
            if self._collects and not self._within:
                gc.enable()


paused = Paused()
