"""The publisher: has playbooks compiled, publishes, activates and restores them.

Decisions go on meanwhile.  Writes are serialised, and a repeated write id gives the
first one's answer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nextbest.core.errors import AlreadyUsedError, NoPlaybookError
from nextbest.core.playbook.plan import Plan
from nextbest.server.archive import Archive, Entry
from nextbest.server.compiler import Compiler
from nextbest.server.config import Rpc
from nextbest.server.errors import BusyError, FaultyPlaybookError
from nextbest.server.playbook.exchange import Compilation, pack, read_plan
from nextbest.server.playbook.faults import Fault
from nextbest.server.rpc.clock import now_us
from nextbest.v1 import playbook_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine


class _Ready(NamedTuple):
    """A playbook that can be published, or is: conditions are compiled against it."""

    plan: Plan
    files: bytes  # packed
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a publish or an activation; `previous` is the generation before."""

    generation: int
    previous: int
    hash: str
    faults: tuple[Fault, ...] = ()


class Publisher:
    """Owns the compiled playbooks behind the engine's generations."""

    def __init__(
        self, engine: Engine, archive: Archive | None, compiler: Compiler, bounds: Rpc
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._bounds = bounds
        self._pending = 0
        self._writes: OrderedDict[str, tuple[bytes, Published]] = OrderedDict()
        self._known: dict[int, _Ready] = {}
        self._lock = asyncio.Lock()
        self._compiler = compiler

    async def restore(self) -> int:
        """Publish what the archive holds; gives how many generations came back."""
        if self._archive is None:
            return 0
        archive = self._archive
        entries = await asyncio.to_thread(archive.entries)
        for entry in entries:
            ready = await self._compile(files_of(entry.request))
            published = self._swap_in(ready, entry)
            self._remember(entry.request.write_id, _digest(entry.request), published)
        if (active := await asyncio.to_thread(archive.active)) in self._known:
            self._engine.activate(active)
        return len(entries)

    async def validate(self, files: Mapping[str, bytes]) -> Compilation:
        """Compile without publishing; at most `publishes_max` at once."""
        async with self._bounded():
            return await self._compiler.compile(await asyncio.to_thread(pack, files))

    async def publish(self, request: playbook_pb2.PublishPlaybookRequest) -> Published:
        """Compile, keep and activate a playbook.

        Raises FaultyPlaybookError with every fault, and AlreadyUsedError for a write id that
        was used for something else.
        """
        digest = _digest(request)
        if repeated := self._repeated(request.write_id, digest):
            return repeated
        async with self._bounded():
            ready = await self._compile(files_of(request))
        async with self._lock:
            if repeated := self._repeated(request.write_id, digest):
                return repeated
            generations = self._engine.generations()
            number = max((g.number for g in generations), default=0) + 1
            entry = Entry(number, now_us(), request)
            if self._archive is not None:
                await asyncio.to_thread(self._archive.add, entry)
            published = self._swap_in(ready, entry)
            self._remember(request.write_id, digest, published)
            if self._archive is not None:
                await asyncio.to_thread(self._archive.keep, set(self._known))
        return published

    async def activate(self, write_id: str, target: int) -> Published:
        """Make an earlier generation active again."""
        digest = b"activate %d" % target
        async with self._lock:
            if repeated := self._repeated(write_id, digest):
                return repeated
            previous = self._engine.activate(target)
            published = Published(target, previous, self._engine.playbook_hash.hex())
            self._remember(write_id, digest, published)
            if self._archive is not None:
                await asyncio.to_thread(self._archive.activate, target)
        return published

    async def question(self, condition: str) -> Plan:
        """The active playbook's plan with a condition as its last expression."""
        known = self._known.get(self._engine.generation)
        if known is None:
            raise NoPlaybookError("no playbook is active: publish one first")
        plan = known.plan
        async with self._bounded():
            code = await self._compiler.condition(plan.hash, known.files, condition)
        return dataclasses.replace(plan, expressions=(*plan.expressions, code))

    async def _compile(self, files: Mapping[str, bytes]) -> _Ready:
        packed = await asyncio.to_thread(pack, files)
        compiled = await self._compiler.compile(packed)
        if not compiled.hash:
            raise FaultyPlaybookError(compiled.faults)
        plan = await asyncio.to_thread(read_plan, compiled.plan)
        return _Ready(plan, packed, compiled.faults)

    def _swap_in(self, ready: _Ready, entry: Entry) -> Published:
        previous = self._engine.generation
        number = self._engine.publish(
            ready.plan,
            description=entry.request.description,
            published_at_us=entry.published_at_us,
            number=entry.number,
        )
        self._known[number] = ready
        numbers = {generation.number for generation in self._engine.generations()}
        self._known = {n: known for n, known in self._known.items() if n in numbers}
        # Plans live long and have no cycles: the collector need not go over them again.
        gc.freeze()
        return Published(number, previous, ready.plan.hash.hex(), ready.faults)

    def _repeated(self, write_id: str, digest: bytes) -> Published | None:
        before = self._writes.get(write_id)
        if before is None:
            return None
        if before[0] != digest:
            raise AlreadyUsedError("write_id", repr(write_id))
        return before[1]

    def _remember(self, write_id: str, digest: bytes, published: Published) -> None:
        self._writes[write_id] = digest, published
        if len(self._writes) > self._bounds.writes_max:
            self._writes.popitem(last=False)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        if self._pending >= self._bounds.publishes_max:
            raise BusyError("playbooks being compiled", self._bounds.publishes_max)
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1


def files_of(
    request: playbook_pb2.PublishPlaybookRequest | playbook_pb2.ValidatePlaybookRequest,
) -> dict[str, bytes]:
    """The files of a request, by path."""
    return {file.path: file.content for file in request.files}


def _digest(request: playbook_pb2.PublishPlaybookRequest) -> bytes:
    hashed = hashlib.blake2b(request.description.encode(), digest_size=16)
    for path, content in sorted(files_of(request).items()):
        hashed.update(b"%d %d " % (len(path.encode()), len(content)))
        hashed.update(path.encode())
        hashed.update(content)
    return hashed.digest()
