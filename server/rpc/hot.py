"""The hot calls: bytes in, one engine call, bytes out.

No await before the answer: an engine call takes microseconds, far less than a hop to another
task, and nothing can interleave with it.  No Python protobuf message is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc

from nextbest.core import status_bytes
from nextbest.core.errors import NextbestError
from nextbest.server.rpc.clock import deadline_us, now_us
from nextbest.server.rpc.message import require_size
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.server.rpc.wire import unwrap, wrap

if TYPE_CHECKING:
    from nextbest.core import Engine

Decide = Callable[[bytes, int, int], bytes]
Write = Callable[[bytes, int], bytes]
Behaviour = Callable[[bytes, Any], Awaitable[bytes]]


def handlers(engine: Engine, bytes_max: int) -> Handlers:
    """The handlers of every call that answers without waiting, by full method name."""
    return {
        "/nextbest.v1.DecisionService/Decide": unary(_decide(engine.decide, bytes_max)),
        "/nextbest.v1.DecisionService/DecideBatch": unary(_decide(engine.decide_batch, bytes_max)),
        "/nextbest.v1.EventService/Track": unary(_call(engine.track, bytes_max)),
        "/nextbest.v1.ProfileService/GetProfile": unary(_call(engine.profile, bytes_max)),
        "/nextbest.v1.ProfileService/UpsertProfile": unary(_call(engine.upsert, bytes_max)),
        "/nextbest.v1.ProfileService/LinkIdentity": unary(_call(engine.link, bytes_max)),
    }


def streams(engine: Engine, bytes_max: int) -> Handlers:
    """The handlers of the streams, by full method name; they wait for their requests."""
    return {
        "/nextbest.v1.DecisionService/DecideStream": _stream(_decide_item(engine), bytes_max),
        "/nextbest.v1.EventService/TrackStream": _stream(_track_item(engine), bytes_max),
    }


def _decide(decide: Decide, bytes_max: int) -> Behaviour:
    async def behaviour(request: bytes, context: Any) -> bytes:
        try:
            if len(request) > bytes_max:
                require_size(request, bytes_max)
            now = now_us()
            return decide(request, now, deadline_us(context, now))
        except Exception as error:
            await refuse(context, error)

    return behaviour


def _call(method: Write, bytes_max: int) -> Behaviour:
    async def behaviour(request: bytes, context: Any) -> bytes:
        try:
            if len(request) > bytes_max:
                require_size(request, bytes_max)
            return method(request, now_us())
        except Exception as error:
            await refuse(context, error)

    return behaviour


def _decide_item(engine: Engine) -> Callable[[bytes], bytes]:
    def item(request: bytes) -> bytes:
        try:
            result = wrap(1, engine.decide(unwrap(request), now_us()))
        except NextbestError as error:
            result = wrap(2, status_bytes(error))
        return wrap(1, result)

    return item


def _track_item(engine: Engine) -> Callable[[bytes], bytes]:
    def item(request: bytes) -> bytes:
        try:
            return wrap(1, engine.track(unwrap(request), now_us()))
        except NextbestError as error:
            return wrap(2, status_bytes(error))

    return item


def _stream(item: Callable[[bytes], bytes], bytes_max: int) -> grpc.RpcMethodHandler[Any, Any]:
    """A stream answered entry by entry in its order; gRPC's flow control bounds it."""

    async def behaviour(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        try:
            async for request in requests:
                require_size(request, bytes_max)
                yield item(request)
        except Exception as error:
            await refuse(context, error)

    return grpc.stream_stream_rpc_method_handler(behaviour)
