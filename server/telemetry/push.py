"""The push: readings sent to a receiver of OTLP, again and again, by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpExporter,
)
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
)

from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.environment import HTTP
from nextbest.server.telemetry.otlp import metrics_data
from nextbest.server.telemetry.push_settings import PushSettings
from nextbest.server.telemetry.readings import Source
from nextbest.server.telemetry.resource import resource

STOP_S = 3.0
QUIET_S = 60.0
# They write a line for every try that fails.
_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)

_log = logging.getLogger(__name__)


class Push:
    """Sends every `interval_s`, and once more at its end.

    Raises ConfigError for what the exporter cannot use.
    """

    def __init__(self, settings: PushSettings) -> None:
        self._exporter = _exporter(settings)
        self._interval_s = settings.interval_s
        self._sources: Sequence[Source] = ()
        self._began_ns = time.time_ns()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-push", daemon=True)
        self._outcomes = {"sent": 0, "failed": 0}

    def start(self, sources: Sequence[Source]) -> None:
        """Begin to send what the sources have."""
        self._sources = sources
        for name in _LOGGERS:
            # In place of the library's own, which lets traces silence metrics and logs.
            logging.getLogger(name).filters[:] = [_QUIET]
        self._thread.start()

    def stop(self) -> None:
        """Send what was counted until now, and end; blocks for 3 s at most."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
        self._exporter.shutdown()

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How often it went well, and how often not."""
        return self._outcomes

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._send()
        self._send()

    def _send(self) -> None:
        try:
            data = metrics_data(resource(), self._sources, self._began_ns, time.time_ns())
            done = self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception:
            _log.exception("metrics: not sent")
            done = False
        self._outcomes["sent" if done else "failed"] += 1


class _Quiet(logging.Filter):
    """Lets a line pass once a minute, whatever it is about."""

    def __init__(self) -> None:
        super().__init__()
        # A library has few lines to write, about few signals and addresses.
        self._passed_s: dict[tuple[object, ...], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        now_s = time.monotonic()
        about = record.args if isinstance(record.args, tuple) else ()
        words = [one for one in about if isinstance(one, str)]
        line = (record.name, record.levelno, str(record.msg), *words)
        if now_s - self._passed_s.get(line, -QUIET_S) < QUIET_S:
            return False
        self._passed_s[line] = now_s
        return True


_QUIET = _Quiet()
_log.addFilter(_QUIET)


def _exporter(settings: PushSettings) -> MetricExporter:
    """The OTEL_EXPORTER_OTLP_* variables are its own."""
    if settings.exporter == "console":
        return ConsoleMetricExporter()
    try:
        return HttpExporter() if settings.protocol == HTTP else GrpcExporter()
    except Exception as error:
        # Its own errors name the variable.
        raise ConfigError([f"OTEL_EXPORTER_OTLP_*: {error}"]) from error
