"""The asyncio client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import grpc

from nextbest.client import request
from nextbest.client.address import target
from nextbest.client.attempts import Attempts
from nextbest.client.errors import OverloadedError, from_call
from nextbest.client.ids import new_id
from nextbest.client.limits import (
    BATCH_S,
    CONSENT_S,
    DECIDE_S,
    LONG_S,
    PUBLISH_S,
    WRITE_S,
    seconds,
    seconds_or_none,
)
from nextbest.client.request import Ack, Consent, ConsentStatus, Event, Files, Identity, Upsert
from nextbest.client.route import AsyncRoute
from nextbest.client.source import AsyncSource, Either, either, outcome
from nextbest.client.value import Plain
from nextbest.v1 import (
    common_pb2,
    decision_pb2,
    event_pb2,
    log_pb2,
    playbook_pb2,
    profile_pb2,
    telemetry_pb2,
    trace_pb2,
)

Position: TypeAlias = common_pb2.Position
T = TypeVar("T")


class AsyncClient:
    """A client for asyncio; keep one for the whole process, made inside its loop.

    `addresses` is "host:port" or "unix:/path", or several "ip:port" or "unix:/path", used in turn:
    a list, or a text with commas.  Identities are a known id as text, or what `anonymous(id)`
    makes.  A datetime without a zone is read as UTC.
    Every call has a deadline (`timeout`, in seconds) and raises a NextbestError; an argument that
    no call can have is a TypeError or ValueError, here or at the call.  A call is tried up to three
    times while the server is unavailable, or when it says when to come again; ids that
    are not given are made once, so that a repeat changes nothing.  A consent taken back and an
    erasure are answered when no node decides without them: in milliseconds, or where a node is cut
    off in seconds.  Where many are given, the iterable may be plain, which must not block, or
    async; what it raises ends the call, and comes out as it is.

    The first decide, decide_batch or track asks the server for its fast lane, and such calls
    take it while it is within reach; `fast_lane=False` keeps all of them to `addresses`.
    """

    def __init__(
        self, addresses: str | Sequence[str] = "127.0.0.1:7600", *, fast_lane: bool = True
    ) -> None:
        self._route = AsyncRoute(target(addresses), fast_lane)

    @property
    def fast_lane(self) -> str:
        """The address of the fast lane in use; "" before the first call, and without one."""
        return self._route.lane

    async def close(self) -> None:
        """Close the channels; calls in flight end."""
        await self._route.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def decide(
        self,
        identity: Identity,
        placements: Sequence[str] = (),
        *,
        scores: Sequence[str] = (),
        context: Mapping[str, Plain] | None = None,
        attributes: Mapping[str, Plain] | None = None,
        now: datetime | None = None,
        seed: int = 0,
        explain: bool = False,
        segments: bool = False,
        preview: bool = False,
        decision_id: str = "",
        min_position: Position | None = None,
        timeout: float = DECIDE_S,
    ) -> decision_pb2.DecideResponse:
        """Decide for one person.  `attributes` hold for this decision only."""
        message = request.decide(
            identity,
            placements,
            scores=scores,
            context=context,
            attributes=attributes,
            now=now,
            seed=seed,
            explain=explain,
            segments=segments,
            preview=preview,
            decision_id=decision_id,
            min_position=min_position,
        )
        return await self._prompt("Decide", message, timeout)

    async def decide_batch(
        self, requests: Sequence[decision_pb2.DecideRequest], *, timeout: float = BATCH_S
    ) -> decision_pb2.DecideBatchResponse:
        """Decide for many, at most 1,000; each result is a response or an error.

        `nextbest.client.request.decide` makes the requests.
        """
        message = decision_pb2.DecideBatchRequest(requests=requests)
        return await self._prompt("DecideBatch", message, timeout)

    async def track(
        self,
        identity: Identity,
        event: str,
        properties: Mapping[str, Plain] | None = None,
        *,
        occurred_at: datetime | None = None,
        event_id: str = "",
        decision_id: str = "",
        slot: int = 0,
        ack: Ack = None,
        timeout: float = WRITE_S,
    ) -> event_pb2.TrackResponse:
        """Record an event.  The same `event_id` counts once.

        An id of your own, such as "order-17", needs `occurred_at`, the same at each try: under
        another time it is another event.  A UUIDv7, as an id made here is, carries its time.

        `ack` says when to answer: "applied", "logged" or "replicated"; None leaves it to the
        server.  UnavailableError may mean that the outcome is not known: retry with the same id.
        """
        made = Event(
            identity, event, properties or {}, occurred_at, event_id, decision_id, slot, ack
        )
        return await self._prompt("Track", made.message(), timeout)

    async def get_profile(
        self,
        identity: Identity,
        *,
        now: datetime | None = None,
        min_position: Position | None = None,
        timeout: float = WRITE_S,
    ) -> profile_pb2.GetProfileResponse:
        """What is known of a person; `plain` reads the values of attributes and counters."""
        message = request.profile(identity, now, min_position)
        return await self._call("GetProfile", message, timeout)

    async def upsert_profile(
        self,
        identity: Identity,
        attributes: Mapping[str, Plain],
        *,
        occurred_at: datetime | None = None,
        write_id: str = "",
        ack: Ack = None,
        timeout: float = WRITE_S,
    ) -> profile_pb2.UpsertProfileResponse:
        """Set attributes; None as a value unsets."""
        message = Upsert(identity, attributes, occurred_at, write_id, ack).message()
        return await self._call("UpsertProfile", message, timeout)

    async def set_consent(
        self,
        identity: Identity,
        purpose: str,
        status: ConsentStatus,
        *,
        basis: str = "",
        occurred_at: datetime | None = None,
        expires_at: datetime | None = None,
        source: str = "",
        write_id: str = "",
        ack: Ack = None,
        await_members: bool | None = None,
        timeout: float = CONSENT_S,
    ) -> profile_pb2.SetConsentResponse:
        """Record what a person allows; `basis` may be left out where the purpose has one only.

        `await_members`: whether it is answered once no node decides without it; what is not granted
        is unless that is False.
        """
        consent = Consent(
            identity,
            purpose,
            status,
            basis=basis,
            occurred_at=occurred_at,
            expires_at=expires_at,
            source=source,
            write_id=write_id,
            ack=ack,
            await_members=await_members,
        )
        return await self.write_consent(consent, timeout=timeout)

    async def do_not_contact(
        self,
        identity: Identity,
        channel: str,
        reason: str,
        *,
        over: bool = False,
        occurred_at: datetime | None = None,
        source: str = "",
        write_id: str = "",
        ack: Ack = None,
        await_members: bool | None = None,
        timeout: float = CONSENT_S,
    ) -> profile_pb2.SetConsentResponse:
        """Close a channel to a person for a reason; `over` ends that reason."""
        consent = Consent(
            identity,
            channel,
            "granted" if over else "denied",
            reason=reason,
            occurred_at=occurred_at,
            source=source,
            write_id=write_id,
            ack=ack,
            await_members=await_members,
        )
        return await self.write_consent(consent, timeout=timeout)

    async def write_consent(
        self, consent: Consent, *, timeout: float = CONSENT_S
    ) -> profile_pb2.SetConsentResponse:
        """Record a consent of a purpose or a channel."""
        return await self._call("SetConsent", consent.message(), timeout)

    async def link_identity(
        self,
        first: Identity,
        second: Identity,
        *,
        unlink: bool = False,
        occurred_at: datetime | None = None,
        write_id: str = "",
        ack: Ack = None,
        timeout: float = WRITE_S,
    ) -> profile_pb2.LinkIdentityResponse:
        """Link two identities into one person, or part them."""
        message = request.link(first, second, unlink, occurred_at, write_id, ack)
        return await self._call("LinkIdentity", message, timeout)

    async def erase_profile(
        self,
        identity: Identity,
        *,
        write_id: str = "",
        ack: Ack = None,
        await_members: bool | None = None,
        timeout: float = CONSENT_S,
    ) -> profile_pb2.EraseProfileResponse:
        """Forget a person, every identity of it, for good.

        It is answered once no node decides by what was known, unless `await_members` is False.
        """
        message = request.erase(identity, write_id, ack, await_members)
        return await self._call("EraseProfile", message, timeout)

    async def import_profiles(
        self,
        upserts: Either[Upsert | profile_pb2.UpsertProfileRequest],
        *,
        timeout: float = LONG_S,
    ) -> profile_pb2.ImportProfilesResponse:
        """Set attributes of many; refused ones are reported, the others stand."""
        batches = request.import_batches_async(either("upserts", upserts))
        return await self._upload("ImportProfiles", batches, timeout)

    async def validate_playbook(
        self, files: Files, *, timeout: float = PUBLISH_S
    ) -> playbook_pb2.ValidatePlaybookResponse:
        """Every fault of a playbook, a folder or contents by path."""
        message = playbook_pb2.ValidatePlaybookRequest(files=request.files(files))
        return await self._call("ValidatePlaybook", message, timeout)

    async def publish_playbook(
        self,
        files: Files,
        *,
        description: str = "",
        write_id: str = "",
        timeout: float = PUBLISH_S,
    ) -> playbook_pb2.PublishPlaybookResponse:
        """Compile a playbook and make it the active generation.

        Raises FaultyPlaybookError with a violation for each fault.
        """
        message = playbook_pb2.PublishPlaybookRequest(
            write_id=write_id or new_id(), files=request.files(files), description=description
        )
        return await self._call("PublishPlaybook", message, timeout)

    async def activate_generation(
        self, target: int, *, write_id: str = "", timeout: float = WRITE_S
    ) -> playbook_pb2.ActivateGenerationResponse:
        """Make an earlier generation active again."""
        message = playbook_pb2.ActivateGenerationRequest(
            write_id=write_id or new_id(), target=target
        )
        return await self._call("ActivateGeneration", message, timeout)

    async def list_generations(
        self, *, timeout: float = WRITE_S
    ) -> playbook_pb2.ListGenerationsResponse:
        """The generations that can be activated."""
        message = playbook_pb2.ListGenerationsRequest()
        return await self._call("ListGenerations", message, timeout)

    async def start_shadow(
        self,
        files: Files,
        *,
        share: float = 1.0,
        description: str = "",
        write_id: str = "",
        timeout: float = PUBLISH_S,
    ) -> playbook_pb2.StartShadowResponse:
        """Have a draft decide beside the active playbook, on that node, without effect.

        share: of the decisions, above 0 to 1.  Raises as `publish_playbook`, and PreconditionError
        where a shadow of another draft runs.
        """
        draft = playbook_pb2.PublishPlaybookRequest(
            write_id=write_id or new_id(), files=request.files(files), description=description
        )
        message = playbook_pb2.StartShadowRequest(draft=draft, share=share)
        return await self._call("StartShadow", message, timeout)

    async def get_shadow(self, *, timeout: float = WRITE_S) -> playbook_pb2.GetShadowResponse:
        """What the shadow would have changed so far; without one its hash is empty."""
        return await self._call("GetShadow", playbook_pb2.GetShadowRequest(), timeout)

    async def stop_shadow(
        self, playbook_hash: str = "", *, timeout: float = WRITE_S
    ) -> playbook_pb2.StopShadowResponse:
        """End the shadow of that draft, of any by default."""
        message = playbook_pb2.StopShadowRequest(playbook_hash=playbook_hash)
        return await self._call("StopShadow", message, timeout)

    async def promote_shadow(
        self, playbook_hash: str, *, timeout: float = PUBLISH_S
    ) -> playbook_pb2.PromoteShadowResponse:
        """Publish exactly the draft that is shadowed, and end the shadow."""
        message = playbook_pb2.PromoteShadowRequest(playbook_hash=playbook_hash)
        return await self._call("PromoteShadow", message, timeout)

    def decide_stream(
        self,
        requests: Either[decision_pb2.DecideRequest],
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[decision_pb2.DecideResult]:
        """Decide for a stream; a result is a response or an error, in the requests' order."""
        given = either("requests", requests)
        wrapped = (decision_pb2.DecideStreamRequest(request=each) async for each in given)
        answers = self._stream("DecideStream", AsyncSource(wrapped), timeout)
        return (answer.result async for answer in answers)

    def track_stream(
        self,
        events: Either[Event | event_pb2.TrackRequest],
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[event_pb2.TrackStreamResponse]:
        """Record a stream of events; each is answered, in its order."""
        given = either("events", events)
        wrapped = (request.track_stream(each) async for each in given)
        return self._stream("TrackStream", AsyncSource(wrapped), timeout)

    def query_profiles(
        self,
        condition: str,
        *,
        limit: int = 0,
        now: datetime | None = None,
        profiles: bool = False,
        timeout: float = LONG_S,
    ) -> AsyncIterator[profile_pb2.QueryProfilesResponse]:
        """The people for whom a CEL condition holds, in parts; the last one has the totals."""
        message = request.query(condition, limit, now, profiles)
        return self._stream("QueryProfiles", message, timeout)

    async def log_status(
        self, *, digest: bool = False, timeout: float = LONG_S
    ) -> log_pb2.GetLogStatusResponse:
        """How the log, the node that answers and the other members are.

        `digest` sums up the state, which takes about a second for a million people.
        """
        return await self._call("GetLogStatus", log_pb2.GetLogStatusRequest(digest=digest), timeout)

    async def slo(self, *, timeout: float = LONG_S) -> telemetry_pb2.GetSloResponse:
        """How the objectives of the node that answers stand."""
        return await self._call("GetSlo", telemetry_pb2.GetSloRequest(), timeout)

    async def telemetry(self, *, timeout: float = WRITE_S) -> telemetry_pb2.GetTelemetryResponse:
        """Every metric of the node that answers."""
        message = telemetry_pb2.GetTelemetryRequest()
        return await self._call("GetTelemetry", message, timeout)

    async def take_snapshot(self, *, timeout: float = LONG_S) -> log_pb2.TakeSnapshotResponse:
        """Have the node write a snapshot; the answer comes when it counts."""
        return await self._call("TakeSnapshot", log_pb2.TakeSnapshotRequest(), timeout)

    def read_snapshot(self, *, timeout: float = LONG_S) -> AsyncIterator[bytes]:
        """The file of the node's newest snapshot, in pieces."""
        answers = self._stream("ReadSnapshot", log_pb2.ReadSnapshotRequest(), timeout)
        return (answer.data async for answer in answers)

    async def reseed_log(
        self, *, force: bool = False, timeout: float = LONG_S
    ) -> log_pb2.ReseedLogResponse:
        """Start a wiped log anew from the memory of the node that is asked.

        With `force` the entries that the log has are given up.
        """
        return await self._call("ReseedLog", log_pb2.ReseedLogRequest(force=force), timeout)

    async def trace(self, trace_id: str, *, timeout: float = LONG_S) -> trace_pb2.GetTraceResponse:
        """The calls of a trace that the node has served and remembers; 32 hexadecimal digits."""
        message = trace_pb2.GetTraceRequest(trace_id=trace_id)
        return await self._call("GetTrace", message, timeout)

    async def traces(
        self,
        *,
        limit: int = 0,
        kept_for: str = "",
        method: str = "",
        code: str = "",
        timeout: float = LONG_S,
    ) -> trace_pb2.ListTracesResponse:
        """The calls that the node remembers, the newest first, without their steps.

        kept_for: only those kept for this, "sampled", "slow", "degraded" or "error".  method: only
        those of this one, "Decide".  code: only those with this gRPC status, "UNAVAILABLE".
        """
        request = trace_pb2.ListTracesRequest(
            limit=limit, kept_for=kept_for, method=method, code=code
        )
        return await self._call("ListTraces", request, timeout)

    async def _prompt(self, name: str, message: object, timeout: float) -> Any:
        """A hot call, made again when it is refused with a time to come again."""
        return await self._again(partial(self._hot, name, message), timeout)

    async def _call(self, name: str, message: object, timeout: float) -> Any:
        """Any other call, likewise."""
        return await self._again(partial(self._other, name, message), timeout)

    async def _again(self, attempt: Callable[[float], Awaitable[Any]], timeout: float) -> Any:
        attempts = Attempts(timeout)
        while True:
            try:
                return await attempt(attempts.left)
            except OverloadedError as error:
                await asyncio.sleep(attempts.pause(error))

    async def _hot(self, name: str, message: object, timeout: float) -> Any:
        """Over the fast lane, or once more over the target when the lane is gone."""
        end = time.monotonic() + timeout
        calls = await self._route.hot(timeout)
        try:
            return await getattr(calls, name)(message, timeout=end - time.monotonic())
        except grpc.aio.AioRpcError as error:
            if not self._route.lost(calls, error):
                raise from_call(error) from None
        # The target may have been away as well, and has until the deadline to come back.
        return await self._other(name, message, end - time.monotonic(), wait_for_ready=True)

    async def _other(
        self, name: str, message: object, timeout: float, wait_for_ready: bool = False
    ) -> Any:
        calls = self._route.control
        try:
            return await getattr(calls, name)(
                message, timeout=timeout, wait_for_ready=wait_for_ready
            )
        except grpc.aio.AioRpcError as error:
            if not self._route.follow(calls, error):
                raise from_call(error) from None
        return await self._other(name, message, timeout)

    async def _upload(self, name: str, messages: AsyncIterator[T], timeout: float) -> Any:
        # A stream cannot be sent twice: its way must be known before, and open.
        limit = seconds(timeout)
        await self._route.hot(limit)
        call = getattr(self._route.control, name)
        with closing(AsyncSource(messages)) as source:
            return await outcome(call(source, timeout=limit, wait_for_ready=True), source)

    def _stream(self, name: str, messages: object, timeout: float | None) -> AsyncIterator[Any]:
        # Not in the generator: what the caller gave is refused at the call, not at the first part.
        return self._parts(name, messages, seconds_or_none(timeout))

    async def _parts(
        self, name: str, messages: object, timeout: float | None
    ) -> AsyncIterator[Any]:
        await self._route.hot(timeout or LONG_S)
        call = getattr(self._route.control, name)(messages, timeout=timeout)
        answers = aiter(call)
        try:
            while (answer := await outcome(anext(answers, None), messages)) is not None:
                yield answer
        finally:
            call.cancel()
            if isinstance(messages, AsyncSource):
                messages.close()
