"""Attempts: what is refused with a time to come again is made again then, by both clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nextbest.client import AsyncClient, Client, OverloadedError
from nextbest.client.attempts import Attempts
from nextbest.client.channel import ATTEMPTS_MAX
from nextbest.v1 import decision_pb2

# When a server that is busy says to come again.
RETRY_S = 0.1
Listing = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def busy(address: str) -> AsyncIterator[asyncio.Event]:
    """The server has as many calls in flight as it takes, until the event is set."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[decision_pb2.DecideRequest]:
        yield decision_pb2.DecideRequest()
        await leave.wait()

    async with AsyncClient(address) as client:

        async def stream() -> None:
            async for _ in client.decide_stream(slow()):
                entered.set()

        task = asyncio.create_task(stream())
        await entered.wait()
        try:
            yield leave
        finally:
            leave.set()
            await task


@asynccontextmanager
async def listing(kind: str, address: str) -> AsyncIterator[Listing]:
    """A call that a busy server refuses."""
    if kind == "asyncio":
        async with AsyncClient(address) as client:
            yield client.list_generations
        return
    with Client(address) as waiting:

        async def call(**told: float) -> Any:
            return await asyncio.to_thread(waiting.list_generations, **told)

        yield call


@pytest.mark.parametrize("kind", ["asyncio", "threads"])
async def test_a_refused_call_is_made_again_when_it_may_come(run_server: Any, kind: str) -> None:
    async with (
        run_server(rpc__in_flight_max=1) as address,
        listing(kind, address) as call,
        busy(address) as leave,
    ):
        begin = time.monotonic()
        asking = asyncio.ensure_future(call(timeout=20))
        await asyncio.sleep(RETRY_S / 2)
        leave.set()
        assert (await asking).generation == 1
        assert time.monotonic() - begin >= RETRY_S


@pytest.mark.parametrize("kind", ["asyncio", "threads"])
async def test_attempts_are_few_and_end_at_the_deadline(run_server: Any, kind: str) -> None:
    async with (
        run_server(rpc__in_flight_max=1) as address,
        listing(kind, address) as call,
        busy(address),
    ):
        begin = time.monotonic()
        with pytest.raises(OverloadedError):
            await call(timeout=60)
        assert time.monotonic() - begin >= (ATTEMPTS_MAX - 1) * RETRY_S
        with pytest.raises(OverloadedError, match="over the bound"):
            await call(timeout=RETRY_S / 2)


def test_no_pause_goes_beyond_the_deadline() -> None:
    again, never = OverloadedError("", retry_after=1.0), OverloadedError("")
    assert 1.0 <= Attempts(10.0).pause(again) <= 1.25
    for timeout, error in ((0.9, again), (10.0, never)):
        with pytest.raises(OverloadedError):
            Attempts(timeout).pause(error)
    attempts = Attempts(60.0)
    for _ in range(ATTEMPTS_MAX - 1):
        attempts.pause(again)
    with pytest.raises(OverloadedError):
        attempts.pause(again)
