"""Calls that wait: writes for the log, reads for a position.  The engine tells when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING

from nextbest.core.errors import NextbestError, PositionNotReachedError
from nextbest.server.clock import now_us

if TYPE_CHECKING:
    from nextbest.core import Engine

# A write of the engine: the request, the clock and a token; None when the answer is to come.
Write = Callable[[bytes, int, int], bytes | None]
Answer = bytes | Awaitable[bytes]

# Answers handed on in one turn of the loop; the rest comes in the next.
TURN_MAX = 1_000


class Waiting:
    """Gives each call that waits its answer; the engine bounds how many there are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tokens = count(1)
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._loop = asyncio.get_running_loop()
        self._watched = -1

    def begin(self, method: Write, request: bytes) -> Answer:
        """Make a write: its answer, or where that has to wait an awaitable of it."""
        token = next(self._tokens)
        answer = method(request, now_us(), token)
        return self._later(token) if answer is None else answer

    async def write(self, method: Write, request: bytes) -> bytes:
        """Make a write and wait for its answer."""
        answer = self.begin(method, request)
        return answer if isinstance(answer, bytes) else await answer

    async def read(
        self, method: Callable[[], bytes], deadline_us: int, error: PositionNotReachedError
    ) -> bytes:
        """Read again once the position that raised `error` is here, or its time is up."""
        await self.position(deadline_us)
        try:
            return method()
        except PositionNotReachedError:
            raise error from None

    async def position(self, deadline_us: int) -> None:
        """After PositionNotReachedError: wait until it is worth asking again, or time is up."""
        token = next(self._tokens)
        self._engine.await_position(token, now_us(), deadline_us)
        await self._later(token)

    def close(self) -> None:
        """Stop listening to the engine."""
        if self._watched >= 0:
            self._loop.remove_reader(self._watched)
            self._watched = -1

    def _later(self, token: int) -> asyncio.Future[bytes]:
        if self._watched < 0:
            self._watched = self._engine.completed_fd
            self._loop.add_reader(self._watched, self._completed)
        call: asyncio.Future[bytes] = self._loop.create_future()
        self._calls[token] = call
        return call

    def _completed(self) -> None:
        for _ in range(TURN_MAX):
            done = self._engine.completed(now_us())
            if done is None:
                return
            token, answer = done
            call = self._calls.pop(token)
            # A call that was cancelled has nobody to tell.
            if call.done():
                continue
            if isinstance(answer, NextbestError):
                call.set_exception(answer)
            else:
                call.set_result(answer)
        self._loop.call_soon(self._completed)
