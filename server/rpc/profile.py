"""ProfileService's long calls: ImportProfiles and QueryProfiles.

Both work in slices and give way to other calls between them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from nextbest.core.errors import DeadlineError, InvalidRequestError, NextbestError
from nextbest.server.publisher import Publisher
from nextbest.server.rpc.clock import now_us
from nextbest.server.rpc.message import (
    parse,
    require_playbook,
    require_size,
    require_time,
    with_header,
)
from nextbest.server.rpc.router import Handlers
from nextbest.server.rpc.status import refuse, status_of
from nextbest.server.rpc.wire import split, wrap
from nextbest.v1 import profile_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

SERVICE = "/nextbest.v1.ProfileService/"
BATCH_MAX = 1_000
FAULTS_MAX = 1_000
# What is read on, and thrown away, of a stream that is refused.
READ_ON_MAX = 1_000
READ_ON_S_MAX = 1.0
IMPORT_SLICE = 100
LIMIT_DEFAULT = 1_000
LIMIT_MAX = 1_000_000
# Clients take 4 MiB at most unless told otherwise, and one profile may be large.
ANSWER_BYTES = 1 << 20
PROFILES_FIELD = profile_pb2.QueryProfilesResponse.PROFILES_FIELD_NUMBER
YEAR_1_S, YEAR_9999_S = -62_135_596_800, 253_402_300_799


class ProfileService:
    """Translates between the contract and the engine's slices."""

    def __init__(
        self, engine: Engine, publisher: Publisher, bytes_max: int, query_slice: int
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._bytes_max = bytes_max
        self._query_slice = query_slice

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {
            SERVICE + "ImportProfiles": grpc.stream_unary_rpc_method_handler(self._import),
            SERVICE + "QueryProfiles": grpc.unary_stream_rpc_method_handler(self._query),
        }

    async def _import(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            require_time(context)
            require_playbook(self._engine)
            response = profile_pb2.ImportProfilesResponse()
            async for request in requests:
                require_size(request, self._bytes_max)
                for number, profile in enumerate(split(request, 1, BATCH_MAX), 1):
                    self._import_one(profile, response)
                    if number % IMPORT_SLICE == 0:
                        await asyncio.sleep(0)
            return with_header(response, self._engine).SerializeToString()
        except Exception as error:
            await _read_on(requests)
            await refuse(context, error)

    def _import_one(self, request: bytes, response: profile_pb2.ImportProfilesResponse) -> None:
        try:
            self._engine.upsert(request, now_us())
            response.accepted += 1
        except NextbestError as error:
            if len(response.faults) < FAULTS_MAX:
                response.faults.add(
                    index=response.accepted + response.refused,
                    write_id=_write_id(request),
                    error=status_of(error),
                )
            response.refused += 1

    async def _query(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            require_time(context)
            message = parse(profile_pb2.QueryProfilesRequest, request, self._bytes_max)
            if message.limit > LIMIT_MAX:
                raise InvalidRequestError("limit", str(message.limit), f"at most {LIMIT_MAX}")
            now = _moment(message)
            plan = await self._publisher.question(message.condition)
            async for slice_ in self._slices(plan, now, message, context):
                yield slice_
        except Exception as error:
            await refuse(context, error)

    async def _slices(
        self, plan: Any, now: int, message: profile_pb2.QueryProfilesRequest, context: Any
    ) -> AsyncIterator[bytes]:
        """Answers for each slice with people in it, and always one at the end."""
        left = message.limit or LIMIT_DEFAULT
        cursor = scanned = errors = 0
        while cursor >= 0 and left:
            found = self._engine.query(plan, now, message.profiles, cursor, self._query_slice)
            cursor, scanned, errors = (
                found.cursor,
                scanned + found.scanned,
                errors + found.errors,
            )
            people = found.profiles[:left]
            left -= len(people)
            if people or cursor < 0:
                counts = profile_pb2.QueryProfilesResponse(scanned=scanned, errors=errors)
                header = with_header(counts, self._engine).SerializeToString()
                for part in _parts(people):
                    yield header + part
            await asyncio.sleep(0)
            remaining = context.time_remaining()
            if remaining is not None and remaining <= 0:
                raise DeadlineError(f"the deadline passed after {scanned} people")


def _parts(people: list[bytes]) -> Iterator[bytes]:
    """The engine's Profile messages as they are, framed; no part is larger than clients take."""
    framed = [wrap(PROFILES_FIELD, each) for each in people]
    start = size = 0
    for index, each in enumerate(framed):
        size += len(each)
        if size > ANSWER_BYTES and index > start:
            yield b"".join(framed[start:index])
            start, size = index, len(each)
    yield b"".join(framed[start:])


def _moment(message: profile_pb2.QueryProfilesRequest) -> int:
    if not message.HasField("now"):
        return now_us()
    seconds, nanos = message.now.seconds, message.now.nanos
    if not YEAR_1_S <= seconds <= YEAR_9999_S or not 0 <= nanos < 1_000_000_000:
        raise InvalidRequestError("now", f"{seconds} s, {nanos} ns", "year 1 to 9999")
    return seconds * 1_000_000 + nanos // 1_000


def _write_id(request: bytes) -> str:
    try:
        return profile_pb2.UpsertProfileRequest.FromString(request).write_id[:128]
    except (DecodeError, UnicodeDecodeError):
        return ""


async def _read_on(requests: AsyncIterator[bytes]) -> None:
    """Read what is still coming of a refused stream, within a bound.

    A grpc.aio client whose stream ends while it is writing sees INTERNAL instead of the error.
    """
    with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError):
        async with asyncio.timeout(READ_ON_S_MAX):
            for _ in range(READ_ON_MAX):
                if await anext(requests, None) is None:
                    return
