"""Telemetry of one server: has the engine count, and serves what it has counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError as Cancelled
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from nextbest.server.keeper import Keeper
from nextbest.server.overload import Load
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.collect import Collected
from nextbest.server.telemetry.events.settings import LOSSES as EVENT_LOSSES
from nextbest.server.telemetry.exemplars import Exemplars
from nextbest.server.telemetry.families import Families
from nextbest.server.telemetry.http import HttpServer, Page, text
from nextbest.server.telemetry.kept import KeptCalls, Sink
from nextbest.server.telemetry.overload import Overload
from nextbest.server.telemetry.readings import Readings, by_name
from nextbest.server.telemetry.runtime import Runtime
from nextbest.server.telemetry.slo.burn import SEVERITIES
from nextbest.server.telemetry.slo.objective import Objective
from nextbest.server.telemetry.slo.readings import readings
from nextbest.server.telemetry.slo.slos import Slos
from nextbest.server.telemetry.slo.state import SloState
from nextbest.server.telemetry.state import State
from nextbest.server.telemetry.trace.captured import Captured
from nextbest.server.telemetry.trace.sampling import Sampling
from nextbest.server.telemetry.trace.settings import LOSSES

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.server.record.stream import StreamCounts
    from nextbest.server.shadow.shadow import Shadow
    from nextbest.server.telemetry.events.events import Events
    from nextbest.server.telemetry.push import Push
    from nextbest.server.telemetry.trace.tracing import Tracing

_log = logging.getLogger(__name__)

# How late the loop may be before it counts as hanging.
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
        loads: Mapping[str, Callable[[], Load]],
        not_ready: Callable[[], str],
        captured: Captured,
        tracing: Tracing | None,
        events: Events | None,
        sampling: Sampling,
        push: Push | None,
        objectives: Sequence[Objective],
    ) -> None:
        self._engine = engine
        # Why calls are not welcome; "" when they are.
        self._not_ready = not_ready
        # Of the monotonic clock.
        self.began_s = time.monotonic()
        self._state = State(engine, keeper)
        self._runtime = Runtime()
        self._loop = asyncio.get_running_loop()
        bounds = bounds_s(one.threshold_s for one in objectives)
        self.slos = Slos(objectives, engine.telemetry.calls, bounds)
        self._registry = CollectorRegistry()
        self._exemplars = Exemplars(bounds)
        collected = Collected(engine, lane, bounds, self._exemplars.of)
        self._sources = (
            collected.readings,
            Overload(loads).readings,
            self._ask,
            self._counts,
            self._runtime.readings,
            partial(readings, self.slos),
        )
        self._registry.register(Families(self._sources))
        self._push = push
        self._http: HttpServer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # Who is told of the calls that are worth it, by name.
        sinks: dict[str, Sink] = {"captured": captured.tell} if captured.calls_max else {}
        if tracing:
            sinks["traces"] = tracing.tell
            tracing.listen(self._exemplars.exported)
        elif captured.calls_max:
            sinks["exemplars"] = self._exemplars.captured
        if events:
            sinks["events"] = events.tell
        self._tracing = tracing
        self._events = events
        engine.telemetry.configure(
            bounds,
            {one.method: one.threshold_s for one in objectives},
            keep=bool(sinks),
            # The standard's default, every call, is for an export alone: who only captures wants
            # what was remarkable or asked for.
            ratio=sampling.ratio if tracing or events or sampling.given else 0.0,
            parent_based=sampling.parent_based,
        )
        self._kept = KeptCalls(engine.telemetry, sinks)

    @property
    def address(self) -> str:
        """Where it serves, with the real port; empty where it does not."""
        return self._http.address if self._http else ""

    def start(self, address: str) -> None:
        """Tell of calls, and serve pages there; none for an empty address."""
        if self._tracing:
            self._tracing.start()
            self._tracing.adopt()
        if self._events:
            self._events.start()
        self._kept.start()
        self._begin(self.slos.run())
        if self._push:
            self._push.start(self._sources)
        if address or self._push:
            self._watch()
        if not address:
            return
        pages = {"/metrics": self._metrics, "/livez": self._livez, "/readyz": self._readyz}
        self._http = HttpServer(address, pages)
        _log.info("metrics on http://%s/metrics", self.address)

    def _watch(self) -> None:
        """Begin what only who tells of it needs."""
        self._runtime.pauses.start()
        self._begin(self._runtime.lag.run(), self._state.account())

    def _begin(self, *parts: Coroutine[None, None, None]) -> None:
        for part in parts:
            task = asyncio.create_task(part)
            task.add_done_callback(_tell_if_failed)
            self._tasks.append(task)

    def readings(self) -> Readings:
        """Every metric as it is now; for any thread but the loop's, which is asked for a part."""
        return {metric: values for source in self._sources for metric, values in source().items()}

    def follow(self, stream: StreamCounts) -> None:
        """Tell of the stream of decision records, too."""
        self._state.stream = stream

    def overlook(self, shadow: Shadow) -> None:
        """Tell of drafts that decide beside the active playbook, too."""
        self._state.shadow = shadow

    async def stop(self) -> None:
        """Serve no more, and tell of the last calls; some 7 s where no receiver answers."""
        self._runtime.pauses.stop()
        for task in self._tasks:
            task.cancel()
        # They wait for threads, some of which wait for the loop.
        await asyncio.to_thread(self._kept.stop)
        parts = (self._tracing, self._events, self._push, self._http)
        ends = [asyncio.to_thread(part.stop) for part in parts if part]
        for end in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(end, Exception):
                _log.error("telemetry: %s while stopping", type(end).__name__)

    def _metrics(self, headers: Mapping[str, str], query: str) -> Page:
        del query
        encode, content_type = choose_encoder(headers.get("Accept", ""))
        return Page(HTTPStatus.OK, content_type, encode(self._registry))

    def _livez(self, _headers: Mapping[str, str], _query: str) -> Page:
        silent_s = self._runtime.lag.silent_s
        if silent_s > HANGING_S:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, f"the loop hangs for {silent_s:.0f} s\n")
        return text(HTTPStatus.OK, "ok\n")

    def _readyz(self, _headers: Mapping[str, str], query: str) -> Page:
        why = self._not_ready()
        body = f"not ready: {why}\n" if why else "ok\n"
        if query == "verbose":
            body += "".join(_told(self._ask()))
            body += "".join(map(_slo_line, self.slos.look()))
        return text(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, body)

    def _ask(self) -> Readings:
        """Called by another thread: what the loop says; only its absence when it hangs."""
        asked = asyncio.run_coroutine_threadsafe(self._gauges(), self._loop)
        try:
            return asked.result(ASKED_S)
        except (TimeoutError, Cancelled):
            asked.cancel()
            return {catalogue.LOOP_LATE: {(): self._runtime.lag.silent_s}}

    def _counts(self) -> Readings:
        """What any thread may read."""
        lost = self._tracing.lost() if self._tracing else dict.fromkeys(LOSSES, 0)
        return {
            catalogue.SINK_FAILURES: by_name(self._kept.failures),
            catalogue.SPANS_EXPORTED: {(): self._tracing.exported if self._tracing else 0},
            catalogue.SPANS_DROPPED: by_name(lost),
            **_events_told(self._events),
            catalogue.PUSHES: by_name(self._push.outcomes) if self._push else {},
        }

    async def _gauges(self) -> Readings:
        return {
            **self._state.readings(),
            catalogue.READY: {(): float(not self._not_ready())},
            catalogue.LOOP_LATE: {(): self._runtime.lag.late_s},
        }


def _tell_if_failed(task: asyncio.Task[None]) -> None:
    """Decisions go on without it, but what it counted stands still from now on."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("telemetry: %s has ended", task.get_coro(), exc_info=error)


def _events_told(events: Events | None) -> Readings:
    lost = events.lost() if events else dict.fromkeys(EVENT_LOSSES, 0)
    return {
        catalogue.DECISION_EVENTS_EXPORTED: {(): events.exported if events else 0},
        catalogue.DECISION_EVENTS_DROPPED: by_name(lost),
    }


def _told(readings: Readings) -> Iterator[str]:
    for metric, values in readings.items():
        if metric.kind == "histogram":
            # /metrics has it; a line for a person has one number.
            continue
        for labels, value in values.items():
            pairs = zip(metric.labels, labels, strict=True)
            told = ",".join(f'{name}="{label}"' for name, label in pairs)
            yield f"{metric.name}{{{told}}} {value:g}\n" if told else f"{metric.name} {value:g}\n"


def _slo_line(state: SloState) -> str:
    """An objective for people; it does not make a server unready, for others are as slow."""
    burns = [severity for severity in SEVERITIES if state.burning(severity)]
    return (
        f"slo {state.objective.method}: {state.compliance:.6f} good of {state.window.tally.calls} "
        f"calls in {state.window.covered_s:.0f} s, objective {state.objective.ratio:g}, budget "
        f"left {state.budget_remaining:.4f}, burns: {', '.join(burns) or 'nothing'}\n"
    )
