"""Traced calls: a span for each call of the control plane that has one request and one answer."""

from __future__ import annotations

from typing import Any

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.span import span

HEADERS = ("traceparent", "tracestate")
_PROPAGATOR = TraceContextTextMapPropagator()


def traced(handlers: Handlers) -> Handlers:
    """The same handlers; those of streams are as they were."""
    return {method: _traced(method, handler) for method, handler in handlers.items()}


def _traced(
    method: str, handler: grpc.RpcMethodHandler[Any, Any]
) -> grpc.RpcMethodHandler[Any, Any]:
    behaviour: Any = handler.unary_unary
    if behaviour is None:
        return handler
    name = method.removeprefix("/")
    about = {"rpc.system.name": "grpc", "rpc.method": name}

    async def serve(request: bytes, context: Any) -> bytes:
        parent = _caller(context)
        with span(name, about, kind=SpanKind.SERVER, parent=parent, tells_errors=False) as made:
            # A refusal tells its own.
            answer: bytes = await behaviour(request, context)
            made.set_attribute("rpc.response.status_code", "OK")
            return answer

    return unary(serve)


def _caller(context: Any) -> Context:
    sent = {key: value for key, value in context.invocation_metadata() if key in HEADERS}
    return _PROPAGATOR.extract(sent, Context())
