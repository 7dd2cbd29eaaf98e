"""Exemplars: of each bucket of the calls' histogram one call whose trace can be found."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from nextbest.server.histogram import Exemplar
from nextbest.server.telemetry.methods import CODES, full_name
from nextbest.server.telemetry.trace.context import context_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from nextbest.core.engine import KeptCall

Labels = tuple[str, ...]
# Of the span of a call, where the histogram has its labels.
_ATTRIBUTES = ("rpc.system.name", "rpc.method", "rpc.response.status_code", "nextbest.lane")


class Exemplars:
    """Keeps the newest of each bucket, method, code and lane.  One thread adds, any reads."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._by_labels: dict[Labels, dict[int, Exemplar]] = {}

    def exported(self, spans: Sequence[ReadableSpan]) -> None:
        """A receiver took these spans."""
        for span in spans:
            about = span.attributes or {}
            if span.kind is SpanKind.SERVER and all(name in about for name in _ATTRIBUTES):
                self._add(tuple(str(about[name]) for name in _ATTRIBUTES), span)

    def captured(self, calls: Sequence[KeptCall]) -> None:
        """This server remembers these calls."""
        for call in calls:
            context = context_of(call).own
            took_ns = sum(call.steps_ns)
            labels = ("grpc", full_name(call.method), CODES[call.code], call.lane)
            ended_ns = call.began_ns + took_ns
            self._put(labels, Exemplar(took_ns / 1e9, ended_ns, context.trace_id, context.span_id))

    def of(self, labels: Labels) -> Mapping[int, Exemplar]:
        """Those of one histogram, by the number of their bucket."""
        return dict(self._by_labels.get(labels, {}))

    def _add(self, labels: Labels, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None or span.start_time is None or span.end_time is None:
            return
        seconds = (span.end_time - span.start_time) / 1e9
        self._put(labels, Exemplar(seconds, span.end_time, context.trace_id, context.span_id))

    def _put(self, labels: Labels, exemplar: Exemplar) -> None:
        bucket = bisect_left(self._bounds_s, exemplar.value)
        self._by_labels.setdefault(labels, {})[bucket] = exemplar
