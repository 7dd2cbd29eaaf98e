"""Telemetry of one server: has the engine count, and serves what it has counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError as Cancelled
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from nextbest.server.keeper import Keeper
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.collect import ServerCollector
from nextbest.server.telemetry.http import HttpServer, Page, text
from nextbest.server.telemetry.kept import KeptCalls, Sink
from nextbest.server.telemetry.trace.settings import TraceSettings

if TYPE_CHECKING:
    from nextbest.core import Engine

_log = logging.getLogger(__name__)

# How often the loop is looked at, and how late it may be before it counts as hanging.
LOOK_S = 0.5
HANGING_S = 10.0
# For the loop to say what only it may read.
ASKED_S = 2.0


class Telemetry:
    """Counts from the start on; serves pages where it has an address.

    Raises ListenError from `start`.
    """

    def __init__(
        self,
        engine: Engine,
        keeper: Keeper,
        lane: Callable[[], Mapping[str, int]],
        ready: Callable[[], bool],
        traces: TraceSettings,
    ) -> None:
        self._engine = engine
        self._keeper = keeper
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._registry = CollectorRegistry()
        self._registry.register(ServerCollector(engine, lane, self._ask, self._counts))
        self._http: HttpServer | None = None
        self._looking: asyncio.Task[None] | None = None
        self._seen_s = time.monotonic()
        self._late_s = 0.0
        # Who is told of the calls that are worth it, by name.
        sinks: dict[str, Sink] = {}
        engine.telemetry.configure(
            bounds_s(),
            {},
            keep=bool(sinks),
            ratio=traces.sampling.ratio,
            parent_based=traces.sampling.parent_based,
        )
        self._kept = KeptCalls(engine.telemetry, sinks)

    @property
    def address(self) -> str:
        """Where it serves, with the real port; empty where it does not."""
        return self._http.address if self._http else ""

    def start(self, address: str) -> None:
        """Tell of calls, and serve pages there; none for an empty address."""
        self._kept.start()
        if not address:
            return
        pages = {"/metrics": self._metrics, "/livez": self._livez, "/readyz": self._readyz}
        self._http = HttpServer(address, pages)
        self._looking = asyncio.create_task(self._look())
        _log.info("metrics on http://%s/metrics", self.address)

    async def stop(self) -> None:
        """Serve no more, and tell of the last calls."""
        if self._looking:
            self._looking.cancel()
        # They wait for threads, some of which wait for the loop.
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._kept.stop()
        if self._http:
            self._http.stop()

    async def _look(self) -> None:
        """Leave a sign of life."""
        while True:
            due_s = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._seen_s = time.monotonic()
            self._late_s = self._seen_s - due_s

    def _metrics(self, headers: Mapping[str, str], query: str) -> Page:
        del query
        encode, content_type = choose_encoder(headers.get("Accept", ""))
        return Page(HTTPStatus.OK, content_type, encode(self._registry))

    def _livez(self, _headers: Mapping[str, str], _query: str) -> Page:
        silent_s = time.monotonic() - self._seen_s
        if silent_s > HANGING_S:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, f"the loop hangs for {silent_s:.0f} s\n")
        return text(HTTPStatus.OK, "ok\n")

    def _readyz(self, _headers: Mapping[str, str], query: str) -> Page:
        ready = self._ready()
        body = "ok\n" if ready else "not ready: the log is away, or the server stops\n"
        if query == "verbose":
            told = {metric.name: value for metric, value in self._ask().items()}
            body += "".join(f"{name} {value:g}\n" for name, value in told.items())
        return text(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, body)

    def _ask(self) -> Mapping[catalogue.Metric, float]:
        """Called by another thread: what the loop says; only its absence when it hangs."""
        asked = asyncio.run_coroutine_threadsafe(self._gauges(), self._loop)
        try:
            return asked.result(ASKED_S)
        except (TimeoutError, Cancelled):
            asked.cancel()
            return {catalogue.LOOP_LATE: time.monotonic() - self._seen_s}

    def _counts(self) -> Mapping[catalogue.Metric, Mapping[tuple[str, ...], float]]:
        """What any thread may read, by the values of the metric's labels."""
        failures = self._kept.failures.items()
        return {catalogue.SINK_FAILURES: {(name,): float(count) for name, count in failures}}

    async def _gauges(self) -> Mapping[catalogue.Metric, float]:
        engine = self._engine
        epoch, sequence, _ = engine.position
        return {
            catalogue.GENERATION: engine.generation,
            catalogue.PROFILES: engine.store.profiles,
            catalogue.EVENTS_REMEMBERED: engine.store.remembered,
            catalogue.TOMBSTONES: engine.store.tombstones,
            catalogue.LOG_EPOCH: epoch,
            catalogue.LOG_SEQUENCE: sequence,
            catalogue.LOG_STALENESS: self._keeper.staleness_ms / 1_000,
            catalogue.READY: float(self._ready()),
            catalogue.LOOP_LATE: max(self._late_s, 0.0),
        }
