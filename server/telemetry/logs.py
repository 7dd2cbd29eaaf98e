"""Logs: how a server's lines are written, for people or for programs."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from nextbest.server.error_text import stack

CONSOLE = "%(asctime)s %(levelname)s %(message)s"

_log = logging.getLogger(__name__)


def configure(form: str = "console", level: str = "info") -> None:
    """Write this process's lines to standard error, those of libraries and of crashes too.

    form: console or json.  level: debug, info, warning or error; lower ones are left out.
    """
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # It writes a line for each malformed tracestate, with what the caller sent.
    logging.getLogger("opentelemetry.trace.span").setLevel(logging.CRITICAL)
    sys.excepthook = lambda _kind, error, _trace: _uncaught("the process", error)
    sys.unraisablehook = lambda what: _uncaught("a finalizer", what.exc_value)
    threading.excepthook = lambda what: _uncaught("a thread", what.exc_value)
    # Of a crash in native code: frames, and no values.
    faulthandler.enable()


def on_loop_error(_loop: asyncio.AbstractEventLoop, about: Mapping[str, Any]) -> None:
    """An event loop's handler of errors that nobody waited for.

    The loop's own one writes what was to be called, with its arguments.
    """
    error = about.get("exception")
    told = "an error that nobody waited for" if error else about.get("message", "")
    _log.error("loop: %s", told, exc_info=error)


class ConsoleFormatter(logging.Formatter):
    """For people: one line, then an error's stack."""

    def __init__(self) -> None:
        super().__init__(CONSOLE)

    def formatException(self, ei: Any) -> str:
        return stack(ei[1]) if ei[1] else ""


class JsonFormatter(ConsoleFormatter):
    """For programs: one JSON object a line; a span's ids where the line was written within one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        span = get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = format_trace_id(span.trace_id)
            line["span_id"] = format_span_id(span.span_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _Handler(logging.StreamHandler[Any]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Logging's own report of a line that cannot be written has the line's arguments."""
        place = f"{record.pathname}:{record.lineno}"
        if record.args is not None:
            self.handle(_lost(record, f"a line of {place} cannot be written"))


def _lost(record: logging.LogRecord, text: str) -> logging.LogRecord:
    return logging.LogRecord(
        record.name, logging.ERROR, record.pathname, record.lineno, text, None, None
    )


def _rfc3339(created_s: float) -> str:
    moment = datetime.fromtimestamp(created_s, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _uncaught(where: str, error: BaseException | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        return
    _log.critical("an error ended %s", where, exc_info=error)
