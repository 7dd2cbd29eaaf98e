"""ProfileService's control and long calls: SetConsent, EraseProfile, ImportProfiles, QueryProfiles.

The last two work in slices and give way to other calls between them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from nextbest.core.errors import (
    DeadlineError,
    InvalidRequestError,
    LogBusyError,
    NextbestError,
    NoPlaybookError,
)
from nextbest.server.clock import now_us
from nextbest.server.log.leases import MembersBehindError
from nextbest.server.playbook.grants import upsert_of
from nextbest.server.publisher import Publisher
from nextbest.server.rpc.message import (
    parse,
    require_playbook,
    require_size,
    require_time,
    with_header,
)
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse, status_of
from nextbest.server.rpc.waiting import Answer, Waiting
from nextbest.server.rpc.wire import split, wrap
from nextbest.v1 import common_pb2, profile_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

# Waits until no node decides without a position, at most so many seconds; None: as long as needed.
EveryMember = Callable[[tuple[int, int, int], float | None], Awaitable[None]]

SERVICE = "/nextbest.v1.ProfileService/"
BATCH_MAX = 1_000
FAULTS_MAX = 1_000
# What of a deadline is left for the error, where every member was waited for.
TELL_S = 0.05
# Has gRPC's clients make no retries of their own: one would wait again, to the deadline, and the
# caller would not learn who is behind.
_NO_RETRY = ("grpc-retry-pushback-ms", "-1")
# What is read on, and thrown away, of a stream that is refused.
READ_ON_MAX = 1_000
READ_ON_S_MAX = 1.0
IMPORT_SLICE = 100
# An import waits so long for a place in the log's queue, each time.
BUSY_TRIES_MAX = 500
BUSY_PAUSE_S = 0.01
LIMIT_DEFAULT = 1_000
LIMIT_MAX = 1_000_000
# Clients take 4 MiB at most unless told otherwise, and one profile may be large.
ANSWER_BYTES = 1 << 20
PROFILES_FIELD = profile_pb2.QueryProfilesResponse.PROFILES_FIELD_NUMBER
YEAR_1_S, YEAR_9999_S = -62_135_596_800, 253_402_300_799


class ProfileService:
    """Translates between the contract and the engine's slices."""

    def __init__(
        self,
        engine: Engine,
        publisher: Publisher,
        waiting: Waiting,
        catch_up: Callable[[], Awaitable[None]],
        every_member: EveryMember,
        bytes_max: int,
        query_slice: int,
    ) -> None:
        self._engine = engine
        self._waiting = waiting
        self._catch_up = catch_up
        self._every_member = every_member
        self._publisher = publisher
        self._bytes_max = bytes_max
        self._query_slice = query_slice

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {
            SERVICE + "EraseProfile": unary(self._erase),
            SERVICE + "SetConsent": unary(self._consent),
            SERVICE + "ImportProfiles": grpc.stream_unary_rpc_method_handler(self._import),
            SERVICE + "QueryProfiles": grpc.unary_stream_rpc_method_handler(self._query),
        }

    async def _erase(self, request: bytes, context: Any) -> bytes:
        """Forget what any node has acknowledged before; at APPLIED what this one knows."""
        try:
            message = parse(profile_pb2.EraseProfileRequest, request, self._bytes_max)
            if message.ack != common_pb2.ACK_LEVEL_APPLIED:
                await self._catch_up()
            every = _awaits(message, True)
            answer = await self._waiting.write(self._engine.erase, request)
            response = profile_pb2.EraseProfileResponse.FromString(answer)
            await self._await_members(every, response, context)
            return answer
        except Exception as error:
            await refuse(context, error)

    async def _consent(self, request: bytes, context: Any) -> bytes:
        try:
            message = parse(profile_pb2.SetConsentRequest, request, self._bytes_max)
            upsert = self._consent_of(message).SerializeToString(deterministic=True)
            every = _awaits(message, message.status != profile_pb2.CONSENT_STATUS_GRANTED)
            answer = await self._waiting.write(self._engine.set_consent, upsert)
            response = profile_pb2.SetConsentResponse.FromString(answer)
            await self._await_members(every, response, context)
            return answer
        except Exception as error:
            await refuse(context, error)

    async def _await_members(
        self,
        every: bool,
        response: profile_pb2.SetConsentResponse | profile_pb2.EraseProfileResponse,
        context: Any,
    ) -> None:
        """Wait for every node's decisions, where that was asked for and the log has the write."""
        if not every or response.ack <= common_pb2.ACK_LEVEL_APPLIED:
            return
        remaining_s = context.time_remaining()
        within_s = None if remaining_s is None else max(remaining_s - TELL_S, 0.0)
        at = response.position
        try:
            await self._every_member((at.epoch, at.sequence, at.nonce), within_s)
        except MembersBehindError:
            context.set_trailing_metadata((_NO_RETRY,))
            raise

    def _consent_of(
        self, message: profile_pb2.SetConsentRequest
    ) -> profile_pb2.UpsertProfileRequest:
        plan = self._engine.plan
        if plan is None:
            raise NoPlaybookError("no playbook is active: publish one first")
        return upsert_of(message, plan, now_us())

    async def _import(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            require_time(context)
            require_playbook(self._engine)
            response = profile_pb2.ImportProfilesResponse()
            async for request in requests:
                require_size(request, self._bytes_max)
                await self._import_all(split(request, 1, BATCH_MAX), response)
            return with_header(response, self._engine).SerializeToString()
        except Exception as error:
            await _read_on(requests)
            await refuse(context, error)

    async def _import_all(
        self, profiles: Iterable[bytes], response: profile_pb2.ImportProfilesResponse
    ) -> None:
        """Import one message's profiles; they wait for the log together."""
        begun: list[tuple[bytes, Answer | NextbestError]] = []
        for number, profile in enumerate(profiles, 1):
            begun.append((profile, await self._begin(profile)))
            if number % IMPORT_SLICE == 0:
                await asyncio.sleep(0)
        for profile, answer in begun:
            try:
                if isinstance(answer, NextbestError):
                    raise answer
                if not isinstance(answer, bytes):
                    await answer
                response.accepted += 1
            except NextbestError as error:
                _refuse_one(profile, error, response)

    async def _begin(self, profile: bytes) -> Answer | NextbestError:
        """Begin one write; where too many wait for the log, a little later."""
        for _ in range(BUSY_TRIES_MAX):
            try:
                return self._waiting.begin(self._engine.upsert, profile)
            except LogBusyError as error:
                busy = error
                await asyncio.sleep(BUSY_PAUSE_S)
            except NextbestError as error:
                return error
        return busy

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


def _awaits(
    message: profile_pb2.SetConsentRequest | profile_pb2.EraseProfileRequest, default: bool
) -> bool:
    """Whether a write waits for every member."""
    wanted = message.await_members
    if wanted not in common_pb2.AwaitMembers.values():
        raise InvalidRequestError("await_members", str(wanted), "EVERY, NONE or unset")
    every = wanted == common_pb2.AWAIT_MEMBERS_EVERY
    if every and message.ack == common_pb2.ACK_LEVEL_APPLIED:
        raise InvalidRequestError("await_members", "EVERY, with ack APPLIED", "LOGGED, REPLICATED")
    return every or (default and wanted == common_pb2.AWAIT_MEMBERS_UNSPECIFIED)


def _refuse_one(
    request: bytes, error: NextbestError, response: profile_pb2.ImportProfilesResponse
) -> None:
    if len(response.faults) < FAULTS_MAX:
        response.faults.add(
            index=response.accepted + response.refused,
            write_id=_write_id(request),
            error=status_of(error),
        )
    response.refused += 1


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
