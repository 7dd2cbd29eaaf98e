"""The queue of spans: from who makes them to the exporter, bounded, each loss counted by why.

The library's own batch processor is not used: it tells nobody how many spans it has lost.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from nextbest.server.telemetry.trace.settings import LOSSES
from nextbest.server.telemetry.trace.spans import span_count

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

# A call makes some eight spans: this many entries are about a batch.
SPANS_OF_ENTRY = 8
# For an export that is under way when the exporter is told to end.
ABORT_S = 1.0

_log = logging.getLogger(__name__)


class SpanQueue:
    """Exports what it is given, in a thread of its own, until it is stopped.

    What it is given is a call, whose spans are made when its turn comes, or a span.
    entries_max: calls and spans that may wait.  batch_max: spans of one export.
    delay_s: how long they wait for more of them.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        make: Callable[[KeptCall], Sequence[ReadableSpan]],
        *,
        entries_max: int,
        batch_max: int,
        delay_s: float,
    ) -> None:
        self._exporter = exporter
        self._make = make
        self._told: Callable[[Sequence[ReadableSpan]], None] | None = None
        self._entries_max = entries_max
        self._batch_max = batch_max
        self._delay_s = delay_s
        self._entries: deque[KeptCall | ReadableSpan] = deque()
        self._changed = threading.Condition()
        self._stopping = self._ended = False
        self._lost = dict.fromkeys(LOSSES, 0)
        self._exported = 0
        # Of the export that is under way.
        self._rejected = 0
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def listen(self, told: Callable[[Sequence[ReadableSpan]], None]) -> None:
        """Tell of the spans of each export that was taken whole; before `start`."""
        self._told = told

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def put(self, entries: Sequence[KeptCall | ReadableSpan]) -> None:
        """Take as many as there is room for, the first ones; any thread may call it."""
        with self._changed:
            room = 0 if self._ended else self._entries_max - len(self._entries)
            self._entries.extend(entries[:room])
            self._lost["stopped" if self._ended else "queue_full"] += _count(entries[room:])
            if len(self._entries) * SPANS_OF_ENTRY >= self._batch_max:
                self._changed.notify()

    def reject(self, count: int) -> None:
        """Count spans that a receiver took and did not want, as OTLP's partial success says."""
        with self._changed:
            self._rejected += count

    def lost(self) -> dict[str, int]:
        """Spans that nobody received, by why; a failed export counts, though it may have come."""
        with self._changed:
            return dict(self._lost)

    @property
    def exported(self) -> int:
        """Spans that a receiver took."""
        return self._exported

    def stop(self, grace_s: float) -> None:
        """Export what waits, for so long at most, and end.  It blocks, a second longer at most."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(grace_s)
        with self._changed:
            self._ended = True
            self._lost["stopped"] += _count(self._entries)
            self._entries.clear()
        self._exporter.shutdown()
        if self._thread.ident is not None:
            self._thread.join(ABORT_S)

    def _run(self) -> None:
        while self._wait():
            while entries := self._take():
                spans = self._spans(entries)
                while batch := list(islice(spans, self._batch_max)):
                    self._export(batch)

    def _wait(self) -> bool:
        """Until there is something to do; False when there will be nothing any more."""
        with self._changed:
            if not self._stopping:
                self._changed.wait(self._delay_s)
            return bool(self._entries) or not self._stopping

    def _take(self) -> list[KeptCall | ReadableSpan]:
        most = max(self._batch_max // SPANS_OF_ENTRY, 1)
        with self._changed:
            return [self._entries.popleft() for _ in range(min(most, len(self._entries)))]

    def _spans(self, entries: Sequence[KeptCall | ReadableSpan]) -> Iterator[ReadableSpan]:
        for entry in entries:
            if isinstance(entry, ReadableSpan):
                yield entry
            else:
                yield from self._made(entry)

    def _made(self, call: KeptCall) -> Sequence[ReadableSpan]:
        try:
            return self._make(call)
        except Exception:
            _log.exception("spans: a call's cannot be made")
            with self._changed:
                self._lost["export_failed"] += span_count(call)
            return ()

    def _export(self, spans: Sequence[ReadableSpan]) -> None:
        try:
            done = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:
            _log.exception("spans: the exporter failed")
            done = False
        with self._changed:
            # A receiver's own word.
            rejected = min(max(self._rejected, 0), len(spans))
            self._rejected = 0
            if done:
                self._exported += len(spans) - rejected
                self._lost["rejected"] += rejected
            else:
                self._lost["export_failed"] += len(spans)
        if self._told and done and not rejected:
            self._told(spans)


def _count(entries: Sequence[KeptCall | ReadableSpan] | deque[KeptCall | ReadableSpan]) -> int:
    return sum(1 if isinstance(one, ReadableSpan) else span_count(one) for one in entries)
