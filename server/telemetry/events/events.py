"""Events of one server: a bounded queue to the official exporter, each loss counted by why."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    ConsoleLogRecordExporter,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.environment import HTTP
from nextbest.server.telemetry.events.evaluation import EvaluationMaker
from nextbest.server.telemetry.events.pseudonym import Pseudonym
from nextbest.server.telemetry.events.settings import LOSSES, EventSettings
from nextbest.server.telemetry.resource import resource

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

DECIDING = {"Decide", "DecideBatch"}
SCOPE = InstrumentationScope("nextbest")
# For what waits to be exported at the end, and for an export that is under way then.
STOP_S, ABORT_S = 3.0, 1.0

_log = logging.getLogger(__name__)


class Events:
    """Exports decisions as events.  Raises ConfigError for what the exporter cannot use.

    What is lost is counted in events where they were made, and in calls before.
    """

    def __init__(self, settings: EventSettings, pseudonym: Pseudonym) -> None:
        self._settings = settings
        self._make = EvaluationMaker(pseudonym)
        self._exporter = _exporter(settings)
        self._calls: deque[KeptCall] = deque()
        self._changed = threading.Condition()
        self._stopping = self._ended = False
        self._lost = dict.fromkeys(LOSSES, 0)
        self.exported = 0
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def tell(self, calls: Sequence[KeptCall]) -> None:
        """Export the decisions among those calls, as far as there is room."""
        decided = [call for call in calls if call.method in DECIDING and not call.code]
        with self._changed:
            room = 0 if self._ended else self._settings.queue_max - len(self._calls)
            self._calls.extend(decided[:room])
            self._lost["stopped" if self._ended else "queue_full"] += len(decided[room:])
            if len(self._calls) >= self._settings.batch_max:
                self._changed.notify()

    def lost(self) -> Mapping[str, int]:
        """What nobody received, by why; a failed export counts, though it may have come."""
        with self._changed:
            return dict(self._lost)

    def stop(self) -> None:
        """Export what waits, and end; blocks for 4 s at most."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
        with self._changed:
            self._ended = True
            self._lost["stopped"] += len(self._calls)
            self._calls.clear()
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        if self._thread.ident is not None:
            self._thread.join(ABORT_S)

    def _run(self) -> None:
        while self._wait():
            while calls := self._take():
                records = [record for call in calls for record in self._made(call)]
                if records:
                    self._export(records)

    def _wait(self) -> bool:
        """Until there is something to do; False when there will be nothing any more."""
        with self._changed:
            if not self._stopping:
                self._changed.wait(self._settings.delay_s)
            return bool(self._calls) or not self._stopping

    def _take(self) -> list[KeptCall]:
        with self._changed:
            most = min(self._settings.batch_max, len(self._calls))
            return [self._calls.popleft() for _ in range(most)]

    def _made(self, call: KeptCall) -> Iterator[ReadableLogRecord]:
        try:
            records: Sequence[LogRecord] = self._make(call)
        except Exception:
            _log.exception("events: a call's cannot be made")
            self._lose("export_failed", 1)
            return
        for record in records:
            yield ReadableLogRecord(record, resource(), SCOPE)

    def _export(self, records: Sequence[ReadableLogRecord]) -> None:
        try:
            done = self._exporter.export(records) is LogRecordExportResult.SUCCESS
        except Exception:
            _log.exception("events: the exporter failed")
            done = False
        if done:
            self.exported += len(records)
        else:
            self._lose("export_failed", len(records))

    def _lose(self, why: str, count: int) -> None:
        with self._changed:
            self._lost[why] += count


def _exporter(settings: EventSettings) -> LogRecordExporter:
    """The OTEL_EXPORTER_OTLP_* variables are the exporter's own."""
    if settings.exporter == "console":
        return ConsoleLogRecordExporter()
    try:
        return HttpExporter() if settings.protocol == HTTP else GrpcExporter()
    except Exception as error:
        # Its own errors name the variable.
        raise ConfigError([f"OTEL_EXPORTER_OTLP_*: {error}"]) from error
