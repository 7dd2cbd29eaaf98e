"""The router: which handler serves a method, and how many calls may be in flight.

gRPC looks a method up in the task that then runs the call, so the end of that task is the end
of the call, whatever becomes of it: answered, refused or cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc

from nextbest.server.errors import BusyError
from nextbest.server.rpc.status import refuse

Handlers: TypeAlias = "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"


class Router(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Finds handlers by their full method name.

    Calls of `waiting` handlers, which await something before they answer, are counted, and
    refused over `in_flight_max`.  Those of `prompt` handlers never wait, so that one runs at
    a time; counting them would cost more than many of them do.  `begin` is told of every call,
    those of unknown methods too: nothing else is registered at the server.
    """

    def __init__(
        self,
        prompt: Handlers,
        waiting: Handlers,
        in_flight_max: int,
        begin: Callable[[], None],
    ) -> None:
        self._prompt = dict(prompt)
        self._waiting = dict(waiting)
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._begin = begin
        self._refusal = _refusal(BusyError("calls in flight", in_flight_max))

    @property
    def in_flight(self) -> int:
        """How many calls of waiting handlers are being served."""
        return self._in_flight

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler for a call; None for an unknown method."""
        self._begin()
        method = handler_call_details.method
        return self._prompt.get(method) or self._counted(method)

    def _counted(self, method: str) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = self._waiting.get(method)
        task = asyncio.current_task()
        if handler is None or task is None:
            return handler
        if self._in_flight >= self._in_flight_max:
            return self._refusal
        self._in_flight += 1
        task.add_done_callback(self._done)
        return handler

    def _done(self, _: asyncio.Task[Any]) -> None:
        self._in_flight -= 1


def unary(behaviour: Callable[[bytes, Any], Awaitable[bytes]]) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler of one request and one answer, both bytes."""
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _refusal(error: BusyError) -> grpc.RpcMethodHandler[Any, Any]:
    # A stream handler ends any kind of call without waiting for its request.
    async def behaviour(_requests: Any, context: Any) -> None:
        await refuse(context, error)

    return grpc.stream_stream_rpc_method_handler(behaviour)
