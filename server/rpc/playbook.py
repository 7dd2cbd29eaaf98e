"""PlaybookService: validate, publish, activate and list playbooks, and shadow a draft."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from nextbest.core.errors import InvalidRequestError
from nextbest.server.playbook.faults import Fault
from nextbest.server.publisher import Published, Publisher, files_of
from nextbest.server.rpc.message import parse, require_id, require_time, with_header
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.server.shadow.report import report
from nextbest.server.shadow.shadow import Shadow
from nextbest.v1 import playbook_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

SERVICE = "/nextbest.v1.PlaybookService/"
DESCRIPTION_BYTES_MAX = 1_024


class PlaybookService:
    """Translates between the contract, the publisher and the shadow."""

    def __init__(
        self, engine: Engine, publisher: Publisher, shadow: Shadow, bytes_max: int
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._bytes_max = bytes_max
        self._shadow = shadow

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {
            SERVICE + "ValidatePlaybook": unary(_guarded(self._validate)),
            SERVICE + "PublishPlaybook": unary(_guarded(self._publish)),
            SERVICE + "ActivateGeneration": unary(_guarded(self._activate)),
            SERVICE + "ListGenerations": unary(_guarded(self._list)),
            SERVICE + "StartShadow": unary(_guarded(self._start_shadow)),
            SERVICE + "GetShadow": unary(_guarded(self._get_shadow)),
            SERVICE + "StopShadow": unary(_guarded(self._stop_shadow)),
            SERVICE + "PromoteShadow": unary(_guarded(self._promote_shadow)),
        }

    async def _validate(self, request: bytes) -> bytes:
        message = parse(playbook_pb2.ValidatePlaybookRequest, request, self._bytes_max)
        _require_distinct(file.path for file in message.files)
        compiled = await self._publisher.validate(files_of(message))
        response = playbook_pb2.ValidatePlaybookResponse(
            playbook_hash=compiled.hash.hex(),
            faults=_messages(compiled.faults),
            budgets=await self._publisher.budget_changes(compiled),
        )
        return with_header(response, self._engine).SerializeToString()

    async def _publish(self, request: bytes) -> bytes:
        message = parse(playbook_pb2.PublishPlaybookRequest, request, self._bytes_max)
        _require_publishable(message)
        published = await self._publisher.publish(message)
        response = playbook_pb2.PublishPlaybookResponse(
            playbook_hash=published.hash, faults=_messages(published.faults)
        )
        return self._answer(response, published)

    async def _activate(self, request: bytes) -> bytes:
        message = parse(playbook_pb2.ActivateGenerationRequest, request, self._bytes_max)
        require_id("write_id", message.write_id)
        done = await self._publisher.activate(message.write_id, message.target)
        response = playbook_pb2.ActivateGenerationResponse(previous=done.previous)
        return self._answer(response, done)

    async def _list(self, request: bytes) -> bytes:
        parse(playbook_pb2.ListGenerationsRequest, request, self._bytes_max)
        response = playbook_pb2.ListGenerationsResponse()
        refused = {one.hash: why for one, why in self._publisher.refused()}
        for number, hash_bytes, publication in self._publisher.generations():
            generation = response.generations.add(
                number=number,
                playbook_hash=hash_bytes.hex(),
                description=publication.request.description,
                active=hash_bytes == self._engine.playbook_hash,
                refused=refused.get(hash_bytes, ""),
            )
            generation.published_at.FromMicroseconds(publication.published_at_us)
        return with_header(response, self._engine).SerializeToString()

    async def _start_shadow(self, request: bytes) -> bytes:
        message = parse(playbook_pb2.StartShadowRequest, request, self._bytes_max)
        _require_publishable(message.draft, "draft.")
        run, faults = await self._shadow.start(message)
        response = playbook_pb2.StartShadowResponse(
            playbook_hash=run.hash.hex(), faults=_messages(faults)
        )
        return with_header(response, self._engine).SerializeToString()

    async def _get_shadow(self, request: bytes) -> bytes:
        parse(playbook_pb2.GetShadowRequest, request, self._bytes_max)
        run = self._shadow.now
        response = playbook_pb2.GetShadowResponse() if run is None else report(run)
        return with_header(response, self._engine).SerializeToString()

    async def _stop_shadow(self, request: bytes) -> bytes:
        message = parse(playbook_pb2.StopShadowRequest, request, self._bytes_max)
        stopped = await self._shadow.stop(message.playbook_hash)
        response = playbook_pb2.StopShadowResponse(playbook_hash=stopped)
        return with_header(response, self._engine).SerializeToString()

    async def _promote_shadow(self, request: bytes) -> bytes:
        message = parse(playbook_pb2.PromoteShadowRequest, request, self._bytes_max)
        published = await self._shadow.promote(message.playbook_hash)
        response = playbook_pb2.PromoteShadowResponse(
            playbook_hash=published.hash, previous=published.previous
        )
        return self._answer(response, published)

    def _answer(
        self,
        response: playbook_pb2.PublishPlaybookResponse
        | playbook_pb2.ActivateGenerationResponse
        | playbook_pb2.PromoteShadowResponse,
        published: Published,
    ) -> bytes:
        """With what it does to budgets, and the position that it has in the log, if any."""
        with_header(response, self._engine).generation = published.generation
        response.budgets.extend(published.budgets)
        if published.position is not None:
            response.position.CopyFrom(published.position)
        return response.SerializeToString()


def _guarded(
    work: Callable[[bytes], Awaitable[bytes]],
) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def behaviour(request: bytes, context: Any) -> bytes:
        try:
            require_time(context)
            return await work(request)
        except Exception as error:
            await refuse(context, error)

    return behaviour


def _require_publishable(message: playbook_pb2.PublishPlaybookRequest, within: str = "") -> None:
    require_id(f"{within}write_id", message.write_id)
    size = len(message.description.encode())
    if size > DESCRIPTION_BYTES_MAX:
        allowed = f"at most {DESCRIPTION_BYTES_MAX} bytes"
        raise InvalidRequestError(f"{within}description", f"{size} bytes", allowed)
    _require_distinct(file.path for file in message.files)


def _require_distinct(paths: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, path in enumerate(paths):
        if path in seen:
            raise InvalidRequestError(f"files[{index}].path", repr(path), "each path once")
        seen.add(path)


def _messages(faults: Iterable[Fault]) -> list[playbook_pb2.PlaybookFault]:
    return [
        playbook_pb2.PlaybookFault(
            file=fault.file,
            line=fault.line,
            column=fault.column,
            what=fault.what,
            seen=fault.seen,
            allowed=fault.allowed,
            severity=fault.severity.value,  # type: ignore[arg-type]
        )
        for fault in faults
    ]
