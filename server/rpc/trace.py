"""TraceService: the calls that this server remembers, and where their time went."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.trace import format_span_id, format_trace_id

from nextbest.core.errors import InvalidRequestError
from nextbest.server.errors import UnknownTraceError
from nextbest.server.rpc.message import parse
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.server.telemetry.methods import CODES, METHODS, REASONS, full_name
from nextbest.server.telemetry.trace import answer as answers
from nextbest.server.telemetry.trace import timeline
from nextbest.server.telemetry.trace.captured import Captured
from nextbest.server.telemetry.trace.context import context_of
from nextbest.v1 import trace_pb2

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

SERVICE = "/nextbest.v1.TraceService/"
TRACE_ID = re.compile(r"[0-9a-f]{32}")
LIMIT, LIMIT_MAX = 100, 1_000
# What a list may be restricted to, by field.
NAMES = {"kept_for": REASONS, "method": tuple(METHODS), "code": CODES}
# Told beside the attributes.
FIELDS = {
    "rpc.system.name",
    "rpc.method",
    "rpc.response.status_code",
    "nextbest.lane",
    "nextbest.kept_for",
}


class TraceService:
    """Translates between the contract and the calls that were captured."""

    def __init__(self, captured: Captured, bytes_max: int) -> None:
        self._captured = captured
        self._bytes_max = bytes_max

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {SERVICE + "GetTrace": unary(self._get), SERVICE + "ListTraces": unary(self._list)}

    async def _get(self, request: bytes, context: Any) -> bytes:
        try:
            wanted = parse(trace_pb2.GetTraceRequest, request, self._bytes_max).trace_id
            # Reading hundreds of calls takes milliseconds, which the loop's calls would wait.
            return await asyncio.to_thread(self._trace, wanted)
        except Exception as error:
            await refuse(context, error)

    async def _list(self, request: bytes, context: Any) -> bytes:
        try:
            wanted = parse(trace_pb2.ListTracesRequest, request, self._bytes_max)
            _check(wanted)
            return await asyncio.to_thread(self._newest, wanted)
        except Exception as error:
            await refuse(context, error)

    def _trace(self, trace_id: str) -> bytes:
        if not TRACE_ID.fullmatch(trace_id):
            allowed = "32 hexadecimal digits in small letters"
            raise InvalidRequestError("trace_id", f"{len(trace_id)} characters", allowed)
        calls = [_call(one) for one in self._captured.trace(int(trace_id, 16))]
        if not calls:
            raise UnknownTraceError
        return trace_pb2.GetTraceResponse(calls=calls).SerializeToString()

    def _newest(self, wanted: trace_pb2.ListTracesRequest) -> bytes:
        found = (one for one in reversed(self._captured.calls()) if _is_wanted(one, wanted))
        calls = [_call(one, steps=False) for one in islice(found, wanted.limit or LIMIT)]
        return trace_pb2.ListTracesResponse(calls=calls).SerializeToString()


def _check(wanted: trace_pb2.ListTracesRequest) -> None:
    if wanted.limit > LIMIT_MAX:
        raise InvalidRequestError("limit", str(wanted.limit), f"at most {LIMIT_MAX}")
    for field, names in NAMES.items():
        value = getattr(wanted, field)
        if value and value not in names:
            raise InvalidRequestError(field, f"{len(value)} characters", ", ".join(names))


def _is_wanted(call: KeptCall, wanted: trace_pb2.ListTracesRequest) -> bool:
    return (
        (not wanted.kept_for or wanted.kept_for in call.reasons)
        and (not wanted.method or wanted.method == call.method)
        and (not wanted.code or wanted.code == CODES[call.code])
    )


def _call(call: KeptCall, *, steps: bool = True) -> trace_pb2.TracedCall:
    own, caller = context_of(call)
    about = answers.about(call, answers.answer_of(call))
    return trace_pb2.TracedCall(
        trace_id=format_trace_id(own.trace_id),
        span_id=format_span_id(own.span_id),
        parent_span_id=format_span_id(caller.span_id) if caller else "",
        method=full_name(call.method),
        code=CODES[call.code],
        lane=call.lane,
        kept_for=call.reasons,
        began=_moment(call.began_ns),
        took=_span(timeline.took_ns(call)),
        steps=_steps(call) if steps else (),
        attributes={name: _text(value) for name, value in about.items() if name not in FIELDS},
    )


def _steps(call: KeptCall) -> Iterator[trace_pb2.TracedStep]:
    for step in timeline.steps(call):
        yield trace_pb2.TracedStep(
            name=step.name, after=_span(step.after_ns), took=_span(step.took_ns), summed=step.summed
        )


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _moment(ns: int) -> Timestamp:
    return Timestamp(seconds=ns // 1_000_000_000, nanos=ns % 1_000_000_000)


def _span(ns: int) -> Duration:
    return Duration(seconds=ns // 1_000_000_000, nanos=ns % 1_000_000_000)
