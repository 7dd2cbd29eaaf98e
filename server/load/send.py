"""Sends requests over gRPC: several streams at once, each with a bounded batch in flight.

Every write has an id that a repeat of it shares, so a batch whose answer was lost is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from nextbest.server.load.errors import LoadError, NoServerError
from nextbest.server.load.rows import Row
from nextbest.v1 import event_pb2, profile_pb2
from nextbest.v1.event_pb2_grpc import EventServiceStub
from nextbest.v1.profile_pb2_grpc import ProfileServiceStub

STREAMS: Final = 4
BATCH: Final = 256
BATCH_BYTES_MAX: Final = 128 * 1024  # of an import, half of what a server takes by default
WAITING_MAX: Final = 2 * STREAMS
ATTEMPTS_MAX: Final = 5
BACKOFF_S: Final = 0.2
TIMEOUT_S: Final = 60.0
AGAIN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})


@dataclass(slots=True)
class Item:
    """A request and the row it came of."""

    row: Row
    request: Any  # a Request; all of a batch are of one sort


@dataclass(slots=True)
class Answers:
    """What became of the requests; `refused` is called with each row and its reason."""

    refused: Callable[[Row, str], None]
    accepted: int = 0
    repeated: int = 0


Request = event_pb2.TrackRequest | profile_pb2.UpsertProfileRequest
Batch = list[Item]


class Sender:
    """Takes batches, keeps a few streams busy, and reports every answer."""

    def __init__(self, channel: grpc.aio.Channel, answers: Answers) -> None:
        self._events: Any = EventServiceStub(channel)  # type: ignore[no-untyped-call]
        self._profiles: Any = ProfileServiceStub(channel)  # type: ignore[no-untyped-call]
        self._answers = answers
        self._queue: asyncio.Queue[Batch | None] = asyncio.Queue(WAITING_MAX)
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Sender:
        self._workers = [asyncio.create_task(self._work()) for _ in range(STREAMS)]
        return self

    async def __aexit__(self, *_error: object) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def put(self, batch: Batch) -> None:
        """Wait for room and take a batch of one sort of request; LoadError when sending fails."""
        await self._or_failure(self._queue.put(batch))

    async def finish(self) -> None:
        """Wait for the answers of everything."""
        for _ in self._workers:
            await self._or_failure(self._queue.put(None))
        await asyncio.gather(*self._workers)

    async def _or_failure(self, put: Awaitable[None]) -> None:
        """A full queue whose workers have all failed would never empty: their error ends it."""
        if not self._queue.full():
            await put
            return
        waiting = asyncio.ensure_future(put)
        await asyncio.wait([waiting, *self._workers], return_when=asyncio.FIRST_COMPLETED)
        while not waiting.done():
            failed = [one for one in self._workers if one.done() and one.exception()]
            if failed:
                waiting.cancel()
                await failed[0]
            running = [one for one in self._workers if not one.done()]
            await asyncio.wait([waiting, *running], return_when=asyncio.FIRST_COMPLETED)

    async def _work(self) -> None:
        while batch := await self._queue.get():
            event = isinstance(batch[0].request, event_pb2.TrackRequest)
            await _again(self._track if event else self._import, batch)

    async def _track(self, batch: Batch) -> None:
        call = self._events.TrackStream(_stream(batch), timeout=TIMEOUT_S)
        answers = [answer async for answer in call]
        if len(answers) != len(batch):
            raise LoadError(f"TrackStream: {len(answers)} answers, allowed: {len(batch)}")
        for item, answer in zip(batch, answers, strict=True):
            if answer.HasField("error"):
                self._answers.refused(item.row, reason(answer.error))
                continue
            self._answers.accepted += 1
            self._answers.repeated += answer.response.duplicate

    async def _import(self, batch: Batch) -> None:
        message = profile_pb2.ImportProfilesRequest(profiles=[item.request for item in batch])
        answer = await self._profiles.ImportProfiles(_one(message), timeout=TIMEOUT_S)
        for fault in answer.faults:
            self._answers.refused(batch[fault.index].row, reason(fault.error))
        self._answers.accepted += len(batch) - len(answer.faults)


async def _stream(batch: Batch) -> AsyncIterator[event_pb2.TrackStreamRequest]:
    for item in batch:
        yield event_pb2.TrackStreamRequest(event=item.request)


async def _one(message: Any) -> AsyncIterator[Any]:
    yield message


async def _again(send: Callable[[Batch], Awaitable[None]], batch: Batch) -> None:
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            return await send(batch)
        except grpc.aio.AioRpcError as error:
            if error.code() not in AGAIN or attempt == ATTEMPTS_MAX:
                away = error.code() is grpc.StatusCode.UNAVAILABLE
                kind = NoServerError if away else LoadError
                raise kind(f"server: {error.code().name}: {error.details()}") from error
        await asyncio.sleep(BACKOFF_S * 2**attempt)


def reason(status: status_pb2.Status) -> str:
    """One line of a refusal: its code, and the fields that were wrong."""
    code = next((one.name for one in grpc.StatusCode if one.value[0] == status.code), "UNKNOWN")
    faults = []
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            faults += [f"{one.field}: {one.description}" for one in bad.field_violations]
    return f"{code}: {'; '.join(faults) or status.message}"
