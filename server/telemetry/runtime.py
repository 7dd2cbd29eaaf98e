"""The runtime: Python's collector, the event loop and the process."""

from __future__ import annotations

import asyncio
import gc
import platform
import time

from prometheus_client import ProcessCollector

from nextbest.server.histogram import DURATION_BOUNDS_S, Histogram
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.readings import Readings, by_name
from nextbest.server.version import version

# How often the loop is looked at.
LOOK_S = 0.1
PROCESS = [metric for metric in catalogue.METRICS if metric.name.startswith("process_")]


class Pauses:
    """Times Python's collector, which holds up every thread that runs Python."""

    def __init__(self) -> None:
        self.by_generation = [Histogram(DURATION_BOUNDS_S) for _ in gc.get_threshold()]
        self._begun_s = 0.0

    def start(self) -> None:
        """Begin."""
        gc.callbacks.append(self._called)

    def stop(self) -> None:
        """Be done, begun or not."""
        if self._called in gc.callbacks:
            gc.callbacks.remove(self._called)

    def _called(self, phase: str, information: dict[str, int]) -> None:
        # One collection runs at a time, whichever thread began it.
        if phase == "start":
            self._begun_s = time.perf_counter()
        elif self._begun_s:
            pause_s = time.perf_counter() - self._begun_s
            self.by_generation[information["generation"]].count(pause_s)


class LoopLag:
    """How late the event loop comes to what is due."""

    def __init__(self) -> None:
        self.seconds = Histogram(DURATION_BOUNDS_S)
        # When it was last seen alive, by time.monotonic, and how late it was then.
        self.seen_s = time.monotonic()
        self.late_s = 0.0

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            due_s = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.seen_s = time.monotonic()
            # Timers may come a little early.
            self.late_s = max(self.seen_s - due_s, 0.0)
            self.seconds.count(self.late_s)

    @property
    def silent_s(self) -> float:
        """Since it was last seen."""
        return time.monotonic() - self.seen_s


class Runtime:
    """The process, with all of the above."""

    def __init__(self) -> None:
        self.pauses = Pauses()
        self.lag = LoopLag()
        self._process = ProcessCollector(registry=None)

    def readings(self) -> Readings:
        """All of it, from any thread."""
        pauses = {str(n): one.read() for n, one in enumerate(self.pauses.by_generation)}
        return {
            catalogue.GC_PAUSE: by_name(pauses),
            catalogue.LOOP_LAG: {(): self.lag.seconds.read()},
            catalogue.BUILD: {(version(), platform.python_version()): 1.0},
            **self._used(),
        }

    def _used(self) -> Readings:
        """Memory, processor time and descriptors, as all of Prometheus' clients name them."""
        values = {one.name: one.samples[0].value for one in self._process.collect()}
        return {metric: {(): values[metric.name]} for metric in PROCESS if metric.name in values}
