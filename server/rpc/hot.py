"""The hot calls: bytes in, one engine call, bytes out.

No await before an answer that is there: an engine call takes microseconds, far less than a hop to
another task, and nothing can interleave with it.  Only a write that waits for the log, and a read
that waits for a position, give the loop away.  No Python protobuf message is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from nextbest.core import status_bytes
from nextbest.core.engine import READ_WAIT_US
from nextbest.core.errors import NextbestError, PositionNotReachedError
from nextbest.server.clock import deadline_us, now_us
from nextbest.server.rpc.message import require_size
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.server.rpc.timing import Timed, timed
from nextbest.server.rpc.waiting import Answer, Waiting, Write
from nextbest.server.rpc.wire import unwrap, wrap

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.core.engine import Call
    from nextbest.server.rpc.admission import Admission

Decide = Callable[[bytes, int, int, "Call"], bytes]
# The engine's method for a write, with the timing of the call that makes it.
WriteOf = Callable[["Call"], Write]

# Events of one stream that wait for the log together.
STREAM_WRITES_MAX = 256


def handlers(engine: Engine, admission: Admission, waiting: Waiting, bytes_max: int) -> Handlers:
    """The handlers of the calls that mostly answer without waiting, by full method name."""
    calls = {
        "DecisionService/Decide": _decide(engine.decide, waiting),
        "DecisionService/DecideBatch": _batch(engine, waiting),
        "ProfileService/GetProfile": _decide(_profile(engine), waiting),
        "EventService/Track": _write(lambda call: partial(engine.track, call=call), waiting),
        "ProfileService/UpsertProfile": _write(lambda _call: engine.upsert, waiting),
        "ProfileService/LinkIdentity": _write(lambda _call: engine.link, waiting),
    }
    return {
        f"/nextbest.v1.{path}": unary(
            timed(engine, admission, path.rpartition("/")[2], call, bytes_max)
        )
        for path, call in calls.items()
    }


def streams(engine: Engine, waiting: Waiting, bytes_max: int) -> Handlers:
    """The handlers of the streams, by full method name; they wait for their requests."""
    decided = partial(_decided, engine, waiting)
    tracked = partial(_tracked, engine, waiting)
    return {
        "/nextbest.v1.DecisionService/DecideStream": _stream(decided, bytes_max),
        "/nextbest.v1.EventService/TrackStream": _stream(tracked, bytes_max),
    }


def _profile(engine: Engine) -> Decide:
    return lambda request, now, _deadline, _call: engine.profile(request, now)


def _decide(decide: Decide, waiting: Waiting) -> Timed:
    async def behaviour(request: bytes, context: Any, call: Call) -> bytes:
        now = now_us()
        deadline = deadline_us(context, now)
        try:
            return decide(request, now, deadline, call)
        except PositionNotReachedError as error:
            again = partial(_again, decide, request, deadline, call)
            return await waiting.read(again, deadline, error)

    return behaviour


def _batch(engine: Engine, waiting: Waiting) -> Timed:
    """A batch waits for each position that it names, and then answers as far as they are here."""

    async def behaviour(request: bytes, context: Any, call: Call) -> bytes:
        now = now_us()
        deadline = deadline_us(context, now)
        until = deadline or now + READ_WAIT_US
        while True:
            try:
                return engine.decide_batch(request, now, deadline, call, whole=now < until)
            except PositionNotReachedError:
                await waiting.position(until)
                call.waited()
            now = now_us()

    return behaviour


def _again(decide: Decide, request: bytes, deadline: int, call: Call) -> bytes:
    call.waited()
    return decide(request, now_us(), deadline, call)


def _write(write: WriteOf, waiting: Waiting) -> Timed:
    async def behaviour(request: bytes, _context: Any, call: Call) -> bytes:
        answer = waiting.begin(write(call), request)
        if isinstance(answer, bytes):
            return answer
        try:
            return await answer
        finally:
            call.waited()

    return behaviour


def _decided(engine: Engine, waiting: Waiting, request: bytes) -> Answer:
    entry = unwrap(request)
    try:
        return wrap(1, wrap(1, engine.decide(entry, now_us())))
    except PositionNotReachedError as error:
        again = partial(_decide_again, engine, entry)
        return _entry(waiting.read(again, 0, error), _decided_wrapped)
    except NextbestError as error:
        return wrap(1, wrap(2, status_bytes(error)))


def _decide_again(engine: Engine, request: bytes) -> bytes:
    return engine.decide(request, now_us())


def _decided_wrapped(field: int, result: bytes) -> bytes:
    return wrap(1, wrap(field, result))


def _tracked(engine: Engine, waiting: Waiting, request: bytes) -> Answer:
    try:
        answer = waiting.begin(engine.track, unwrap(request))
    except NextbestError as error:
        return wrap(2, status_bytes(error))
    return wrap(1, answer) if isinstance(answer, bytes) else _entry(answer, wrap)


async def _entry(answer: Awaitable[bytes], wrapped: Callable[[int, bytes], bytes]) -> bytes:
    """An answer that was waited for, or its error, as an entry of a stream."""
    try:
        return wrapped(1, await answer)
    except NextbestError as error:
        return wrapped(2, status_bytes(error))


def _stream(item: Callable[[bytes], Answer], bytes_max: int) -> grpc.RpcMethodHandler[Any, Any]:
    """A stream answered entry by entry in its order; gRPC's flow control bounds it."""

    async def behaviour(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        try:
            async for answer in _in_order(requests, item, bytes_max):
                yield answer
        except Exception as error:
            await refuse(context, error)

    return grpc.stream_stream_rpc_method_handler(behaviour)


async def _in_order(
    requests: AsyncIterator[bytes], item: Callable[[bytes], Answer], bytes_max: int
) -> AsyncIterator[bytes]:
    """The answers in the order of their requests, of which some wait together."""
    answers: asyncio.Queue[Answer | None] = asyncio.Queue(STREAM_WRITES_MAX)

    async def take() -> None:
        try:
            async for request in requests:
                require_size(request, bytes_max)
                answer = item(request)
                await answers.put(
                    answer if isinstance(answer, bytes) else asyncio.ensure_future(answer)
                )
        finally:
            await answers.put(None)

    taking = asyncio.create_task(take())
    try:
        while (answer := await answers.get()) is not None:
            yield answer if isinstance(answer, bytes) else await answer
        await taking
    finally:
        taking.cancel()
        _abandon(answers)
        with suppress(asyncio.CancelledError, Exception):
            await taking


def _abandon(answers: asyncio.Queue[Answer | None]) -> None:
    """Let nobody wait for the answers of a stream that has ended."""
    while not answers.empty():
        answer = answers.get_nowait()
        if isinstance(answer, asyncio.Future):
            answer.cancel()
