"""Timing: the calls of grpc.aio that the engine answers, counted as those of the fast lane are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from google.rpc import code_pb2

from nextbest.server.rpc.message import require_size
from nextbest.server.rpc.status import end, status_of

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.core.engine import Call
    from nextbest.server.rpc.admission import Admission

# A call's request, gRPC's context and its timing; the answer.
Timed = Callable[[bytes, Any, "Call"], Awaitable[bytes]]
Behaviour = Callable[[bytes, Any], Awaitable[bytes]]
# As the fast lane.
TRACESTATE_MAX, BAGGAGE_MAX = 512, 1_024


def timed(
    engine: Engine, admission: Admission, method: str, behaviour: Timed, bytes_max: int
) -> Behaviour:
    """A gRPC behaviour that times another, admits and bounds it and gives its errors a status."""

    async def serve(request: bytes, context: Any) -> bytes:
        call = _begin(engine, method, context)
        try:
            admission.begin(method, call)
            if len(request) > bytes_max:
                require_size(request, bytes_max)
            answer = await behaviour(request, context, call)
        except asyncio.CancelledError:
            call.end(code_pb2.CANCELLED)
            raise
        except Exception as error:
            status = status_of(error)
            call.end(status.code, b"", error)
            await end(context, status)
        call.end(0, answer)
        return answer

    return serve


def _begin(engine: Engine, method: str, context: Any) -> Call:
    parent = ""
    lists: dict[str, list[str]] = {"tracestate": [], "baggage": []}
    for key, value in context.invocation_metadata():
        if key == "traceparent":
            parent = value
        elif key in lists:
            lists[key].append(value)
    state = _joined(lists["tracestate"], TRACESTATE_MAX)
    return engine.begin_call(method, parent.encode(), state, _joined(lists["baggage"], BAGGAGE_MAX))


def _joined(values: Sequence[str], most: int) -> bytes:
    """A header that is a list; one over its bound is none, as on the fast lane."""
    whole = ",".join(values).encode()
    return whole if len(whole) <= most else b""
