"""The publisher: compiles playbooks off the loop, publishes, activates and restores them.

Decisions go on while it compiles.  Writes are serialised, and a repeated write id gives the
first one's answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from nextbest.core.errors import AlreadyUsedError, NoPlaybookError
from nextbest.core.playbook.plan import Plan
from nextbest.server.archive import Archive, Entry
from nextbest.server.errors import BusyError, FaultyPlaybookError
from nextbest.server.playbook.compile import Compiled, compile_playbook
from nextbest.server.playbook.faults import Fault
from nextbest.server.playbook.question import question
from nextbest.server.rpc.clock import now_us
from nextbest.v1 import playbook_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

T = TypeVar("T")


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
        self, engine: Engine, archive: Archive | None, pending_max: int, writes_max: int
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._pending_max = pending_max
        self._pending = 0
        self._writes_max = writes_max
        self._writes: OrderedDict[str, tuple[bytes, Published]] = OrderedDict()
        self._compiled: dict[int, Compiled] = {}
        self._lock = asyncio.Lock()
        # One thread: the checkers are not made for several.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="compile")

    def close(self) -> None:
        """Stop the compiling thread; what it is at still ends."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def restore(self) -> int:
        """Publish what the archive holds; gives how many generations came back."""
        if self._archive is None:
            return 0
        archive = self._archive
        entries = await self._run(archive.entries)
        for entry in entries:
            compiled = await self._run(compile_playbook, files_of(entry.request))
            published = self._swap_in(compiled, entry)
            self._remember(entry.request.write_id, _digest(entry.request), published)
        if (active := await self._run(archive.active)) in self._compiled:
            self._engine.activate(active)
        return len(entries)

    async def validate(self, files: Mapping[str, bytes]) -> Compiled:
        """Compile without publishing; at most `pending_max` at once."""
        return await self._bounded(compile_playbook, files)

    async def publish(self, request: playbook_pb2.PublishPlaybookRequest) -> Published:
        """Compile, keep and activate a playbook.

        Raises FaultyPlaybookError with every fault, and AlreadyUsedError for a write id that
        was used for something else.
        """
        digest = _digest(request)
        if repeated := self._repeated(request.write_id, digest):
            return repeated
        compiled = await self._bounded(compile_playbook, files_of(request))
        if compiled.plan is None:
            raise FaultyPlaybookError(compiled.faults)
        async with self._lock:
            if repeated := self._repeated(request.write_id, digest):
                return repeated
            generations = self._engine.generations()
            number = max((g.number for g in generations), default=0) + 1
            entry = Entry(number, now_us(), request)
            if self._archive is not None:
                await self._run(self._archive.add, entry)
            published = self._swap_in(compiled, entry)
            self._remember(request.write_id, digest, published)
            if self._archive is not None:
                await self._run(self._archive.keep, set(self._compiled))
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
                await self._run(self._archive.activate, target)
        return published

    async def question(self, condition: str) -> Plan:
        """Compile a condition against the active playbook."""
        compiled = self._compiled.get(self._engine.generation)
        if compiled is None:
            raise NoPlaybookError("no playbook is active: publish one first")
        return await self._bounded(question, compiled, condition)

    def _swap_in(self, compiled: Compiled, entry: Entry) -> Published:
        if compiled.plan is None:
            raise FaultyPlaybookError(compiled.faults)
        previous = self._engine.generation
        number = self._engine.publish(
            compiled.plan,
            description=entry.request.description,
            published_at_us=entry.published_at_us,
            number=entry.number,
        )
        self._compiled[number] = compiled
        known = {generation.number for generation in self._engine.generations()}
        self._compiled = {n: c for n, c in self._compiled.items() if n in known}
        return Published(number, previous, compiled.plan.hash.hex(), compiled.faults)

    def _repeated(self, write_id: str, digest: bytes) -> Published | None:
        before = self._writes.get(write_id)
        if before is None:
            return None
        if before[0] != digest:
            raise AlreadyUsedError("write_id", repr(write_id))
        return before[1]

    def _remember(self, write_id: str, digest: bytes, published: Published) -> None:
        self._writes[write_id] = digest, published
        if len(self._writes) > self._writes_max:
            self._writes.popitem(last=False)

    async def _bounded(self, work: Callable[..., T], *arguments: object) -> T:
        if self._pending >= self._pending_max:
            raise BusyError("playbooks being compiled", self._pending_max)
        self._pending += 1
        try:
            return await self._run(work, *arguments)
        finally:
            self._pending -= 1

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)


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
