"""Tracing: what of a server is exported as spans."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from nextbest.server.span import export
from nextbest.server.telemetry.resource import resource
from nextbest.server.telemetry.trace.export import exporter
from nextbest.server.telemetry.trace.queue import SpanQueue
from nextbest.server.telemetry.trace.settings import TraceSettings
from nextbest.server.telemetry.trace.spans import SpanMaker

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from nextbest.core.engine import KeptCall

# For what waits to be exported at the end.
STOP_S = 3.0


class Tracing:
    """Exports the spans of calls.  Raises ConfigError for what the exporter cannot use."""

    def __init__(self, settings: TraceSettings, baggage: Collection[str]) -> None:
        self._queue = SpanQueue(
            exporter(settings, self._reject),
            SpanMaker(resource(), baggage),
            entries_max=settings.queue_max,
            batch_max=settings.batch_max,
            delay_s=settings.delay_s,
        )
        self._provider = TracerProvider(
            settings.sampling.sampler(), resource(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(_ToQueue(self._queue))

    def start(self) -> None:
        """Begin to export."""
        self._queue.start()

    def listen(self, told: Callable[[Sequence[ReadableSpan]], None]) -> None:
        """Tell of the spans of each export that was taken whole; before `start`."""
        self._queue.listen(told)

    def adopt(self) -> None:
        """Export the process's other spans too; the first one that does so has them."""
        export(self._provider)

    def tell(self, calls: Sequence[KeptCall]) -> None:
        """Export those calls, as far as there is room."""
        self._queue.put(calls)

    @property
    def exported(self) -> int:
        """Spans that were received."""
        return self._queue.exported

    def lost(self) -> Mapping[str, int]:
        """Spans that were not, by why."""
        return self._queue.lost()

    def stop(self) -> None:
        """Export what waits, and end; blocks for 4 s at most."""
        self._queue.stop(STOP_S)

    def _reject(self, count: int) -> None:
        self._queue.reject(count)


class _ToQueue(SpanProcessor):
    def __init__(self, queue: SpanQueue) -> None:
        self._queue = queue

    def on_end(self, span: ReadableSpan) -> None:
        self._queue.put((span,))
