"""The publisher: has playbooks compiled, publishes and activates them, and follows the catalogue.

What is published here goes to the log before this node stamps anything with it.  What others
publish comes out of the log: it is compiled beside the running server and taken when ready; until
then their events wait.  Decisions go on meanwhile.  Publishing is serialised, and a repeated
write id gives the first one's answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nextbest.core.errors import (
    AckRefusedError,
    AlreadyUsedError,
    InvalidRequestError,
    LogFailedError,
    NextbestError,
    NoPlaybookError,
)
from nextbest.core.playbook.plan import Plan
from nextbest.server.budget_changes import budget_changes, change_text, without_room
from nextbest.server.budgets import budget_statuses
from nextbest.server.catalogue import PUBLICATION, Catalogue, Generation
from nextbest.server.clock import now_us
from nextbest.server.compiler import Compiler
from nextbest.server.config import Rpc
from nextbest.server.errors import BusyError, FaultyPlaybookError, ForeignPlaybookError
from nextbest.server.log.ledgers import Ledgers
from nextbest.server.log.level import APPLIED, LOGGED, REPLICATED
from nextbest.server.playbook.exchange import Compilation, pack, read_plan
from nextbest.server.playbook.faults import Fault
from nextbest.server.rpc.waiting import Waiting
from nextbest.server.span import span
from nextbest.v1 import common_pb2, event_pb2, mutation_pb2, playbook_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

# Publications that may be on their way to the log without anybody waiting for them.
UNSURE_MAX = 16
# How long a playbook of another node that could not be compiled is left alone.
RETRY_S = 5.0

_log = logging.getLogger(__name__)


class _Ready(NamedTuple):
    """A playbook that can be published, or is: conditions are compiled against it."""

    plan: Plan
    files: bytes  # packed
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a publish or an activation; `previous` is the generation before.

    `position` is where the log has it; None without a log.
    """

    generation: int
    previous: int
    hash: str
    faults: tuple[Fault, ...] = ()
    position: common_pb2.Position | None = None
    # What it has done to budgets of the playbook before.
    budgets: tuple[playbook_pb2.BudgetChange, ...] = ()


class Publisher:
    """Owns the compiled playbooks behind the engine's generations."""

    def __init__(
        self,
        engine: Engine,
        catalogue: Catalogue,
        compiler: Compiler,
        waiting: Waiting,
        bounds: Rpc,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._compiler = compiler
        self._waiting = waiting
        self._bounds = bounds
        self._pending = 0
        self._writes: OrderedDict[str, tuple[bytes, Published]] = OrderedDict()
        self._ready: dict[bytes, _Ready] = {}
        self._lock = asyncio.Lock()
        # Publications whose way into the log is not known yet.
        self._unsure: set[bytes] = set()
        # Playbooks of the log that cannot be held here, by their hashes, and why.
        self._refused: dict[bytes, str] = {}
        self._behind = asyncio.Event()
        # Unset while what the log has announced is not all published here.
        self._level = asyncio.Event()
        self._level.set()
        self._tasks: set[asyncio.Task[Published]] = set()
        # What is claimed of budgets over all nodes; None without a log.
        self.ledgers: Ledgers | None = None

    async def restore(self, mutations: Iterable[bytes]) -> None:
        """Take the publications and activations of a snapshot, and compile what they name."""
        for mutation in mutations:
            self._catalogue.apply(mutation)
        self._engine.observe(self._catalogue.last_stamp, now_us())
        await self._catch_up()

    def announced(self, mutation: bytes) -> None:
        """A publication or an activation was read from the log."""
        try:
            if self._catalogue.apply(mutation):
                self._level.clear()
                self._behind.set()
        except NextbestError as error:
            _log.error("publisher: a mutation of the log is passed over: %s", error)

    def passed(self, batch: bytes) -> None:
        """An own entry was read back: it may hold what was not known to be in the log."""
        for mutation in [one for one in self._unsure if one in batch]:
            self._unsure.discard(mutation)
            self.announced(mutation)

    async def run(self) -> None:
        """Compile and take what others publish, until cancelled."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                await self._catch_up()
                if not self._behind.is_set():
                    self._level.set()
            except Exception:
                _log.exception("publisher: a playbook of the log cannot be taken yet")
                await asyncio.sleep(RETRY_S)
                self._behind.set()

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the playbooks of the log so far are here; False when they are not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._level.wait()
        except TimeoutError:
            return False
        return True

    async def validate(self, files: Mapping[str, bytes]) -> Compilation:
        """Compile without publishing; at most `publishes_max` at once."""
        async with self._bounded():
            return await self._compiler.compile(await asyncio.to_thread(pack, files))

    async def budget_changes(self, compiled: Compilation) -> tuple[playbook_pb2.BudgetChange, ...]:
        """What publishing a compiled playbook would do to budgets; nothing where it has errors."""
        if not compiled.hash:
            return ()
        return self._changes(await asyncio.to_thread(read_plan, compiled.plan))

    async def publish(self, request: playbook_pb2.PublishPlaybookRequest) -> Published:
        """Compile and log a playbook, and make it the active one.

        Raises FaultyPlaybookError with every fault, AlreadyUsedError for a write id that was
        used for something else, InvalidRequestError where its budgets find no room, and what the
        log raises: LogFailedError when nobody knows whether the log has it.
        """
        digest = _digest(request)
        if repeated := self._repeated(request.write_id, digest):
            return repeated
        with span("playbook.publish") as made:
            async with self._bounded():
                with span("playbook.compile"):
                    ready = await self._compile(files_of(request))
            published = await self._alone(self._publish(request, digest, ready))
            made.set_attribute("nextbest.generation", published.generation)
            return published

    async def activate(self, write_id: str, target: int) -> Published:
        """Make an earlier generation active again; raises as `publish`."""
        with span("playbook.activate", {"nextbest.generation": target}):
            return await self._alone(self._activate(write_id, target))

    def publications(self) -> list[mutation_pb2.Publication]:
        """What was published, as far as it is here."""
        return [one.publication for one in self._catalogue.generations()]

    def generations(self) -> list[Generation]:
        """The playbooks that can be activated, by their numbers."""
        return self._catalogue.generations()

    def refused(self) -> list[tuple[Generation, str]]:
        """The generations of the log that this node cannot hold, and why."""
        known = self._catalogue.generations() if self._refused else []
        return [(one, self._refused[one.hash]) for one in known if one.hash in self._refused]

    def plans(self) -> dict[bytes, Plan]:
        """The plans of the playbooks that can decide here, by their hashes."""
        return {hash_bytes: ready.plan for hash_bytes, ready in self._ready.items()}

    async def question(self, condition: str) -> Plan:
        """The active playbook's plan with a condition as its last expression."""
        ready = self._ready.get(self._engine.playbook_hash)
        if ready is None:
            raise NoPlaybookError("no playbook is active: publish one first")
        async with self._bounded():
            code = await self._compiler.condition(ready.plan.hash, ready.files, condition)
        return dataclasses.replace(ready.plan, expressions=(*ready.plan.expressions, code))

    async def _alone(self, work: Coroutine[None, None, Published]) -> Published:
        """Do one at a time, to its end even when its caller gives up waiting."""

        async def alone() -> Published:
            async with self._lock:
                return await work

        task = asyncio.create_task(alone())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _publish(
        self, request: playbook_pb2.PublishPlaybookRequest, digest: bytes, ready: _Ready
    ) -> Published:
        if repeated := self._repeated(request.write_id, digest):
            return repeated
        known = {one.hash: one.number for one in self._catalogue.generations()}
        publication = mutation_pb2.Publication(
            hash=ready.plan.hash,
            number=known.get(ready.plan.hash) or self._catalogue.next_number(),
            published_at_us=now_us(),
            request=request,
        )
        self._engine.require_budgets(ready.plan)
        self._ready[ready.plan.hash] = ready
        changes = self._warned(ready.plan)
        published = await self._take(publication)
        published = dataclasses.replace(published, faults=ready.faults, budgets=changes)
        self._remember(request.write_id, digest, published)
        return published

    async def _activate(self, write_id: str, target: int) -> Published:
        digest = b"activate %d" % target
        if repeated := self._repeated(write_id, digest):
            return repeated
        generation = self._catalogue.find(target)
        publication = mutation_pb2.Publication()
        publication.CopyFrom(generation.publication)
        publication.number = target
        await self._make_ready(generation)
        plan = self._ready[generation.hash].plan
        self._engine.require_budgets(plan)
        changes = self._warned(plan)
        published = dataclasses.replace(await self._take(publication), budgets=changes)
        self._remember(write_id, digest, published)
        return published

    def _changes(self, plan: Plan) -> tuple[playbook_pb2.BudgetChange, ...]:
        """What a playbook does to the active one's budgets; asked before it is active."""
        found = [] if self.ledgers is None else list(without_room(plan, self.ledgers))
        active = self._ready.get(self._engine.playbook_hash)
        if active is not None:
            statuses = budget_statuses(self._engine.budgets(now_us()), self.ledgers)
            found += budget_changes(active.plan, statuses, plan)
        return tuple(found)

    def _warned(self, plan: Plan) -> tuple[playbook_pb2.BudgetChange, ...]:
        """The same, told in the process' log: a folder published at the start has no reader."""
        changes = self._changes(plan)
        for change in changes:
            _log.warning("publisher: %s", change_text(change))
        return changes

    async def _take(self, publication: mutation_pb2.Publication) -> Published:
        """Log a publication, and only then let the engine have it."""
        if len(self._unsure) >= UNSURE_MAX:
            raise BusyError("publications on their way to the log", UNSURE_MAX)
        mutation, position = await self._logged(publication.SerializeToString(deterministic=True))
        self._catalogue.apply(mutation)
        previous = self._engine.generation
        self._follow()
        numbers = {one.hash: one.number for one in self._catalogue.generations()}
        number = numbers.get(publication.hash, publication.number)
        return Published(number, previous, publication.hash.hex(), position=position)

    async def _logged(self, publication: bytes) -> tuple[bytes, common_pb2.Position | None]:
        """Have the log hold it as strongly as it can; gives the mutation and where it is."""
        for ack in (REPLICATED, LOGGED):
            with contextlib.suppress(AckRefusedError):
                return await self._submit(publication, ack)
        mutation = self._engine.submit(PUBLICATION, publication, now_us(), APPLIED)
        return mutation, None

    async def _submit(self, publication: bytes, ack: int) -> tuple[bytes, common_pb2.Position]:
        mutation = b""

        def submit(request: bytes, now: int, token: int) -> None:
            nonlocal mutation
            mutation = self._engine.submit(PUBLICATION, request, now, ack, token)

        try:
            answer = await self._waiting.write(submit, publication)
        except LogFailedError:
            # It may be in the log, or come to it later: `passed` tells.
            self._unsure.add(mutation)
            raise
        return mutation, event_pb2.TrackResponse.FromString(answer).position

    async def _catch_up(self) -> None:
        """Compile what the catalogue names, the active one first, and take it."""
        generations = self._catalogue.generations()
        generations.sort(key=lambda one: one.hash != self._catalogue.active)
        failure: Exception | None = None
        for generation in generations:
            try:
                await self._make_ready(generation)
                self._follow()
            except (FaultyPlaybookError, ForeignPlaybookError, InvalidRequestError) as error:
                # Another node published what this one does not take: it keeps its playbook.
                self._refused[generation.hash] = str(error)
                _log.error("publisher: generation %d of the log: %s", generation.number, error)
            except NextbestError as error:
                failure = error
        if failure is not None:
            raise failure

    async def _make_ready(self, generation: Generation) -> None:
        if generation.hash in self._ready:
            return
        ready = await self._compile(files_of(generation.publication.request))
        if ready.plan.hash != generation.hash:
            raise ForeignPlaybookError(ready.plan.hash, generation.hash)
        self._ready[generation.hash] = ready

    def _follow(self) -> None:
        """Bring the engine to the catalogue, as far as its playbooks are compiled."""
        catalogued = self._catalogue.generations()
        before = self._engine.playbook_hash
        known = {one.hash: one.number for one in self._engine.generations()}
        self._renumber(known, catalogued)
        active = self._catalogue.active
        for generation in catalogued:
            ready = self._ready.get(generation.hash)
            if ready is None:
                continue
            if generation.hash not in known:
                self._admit(generation, ready.plan, generation.hash == active)
            elif generation.hash == active:
                self._engine.activate(generation.number)
        kept = {one.hash for one in catalogued} | {self._engine.playbook_hash}
        self._refused = {h: why for h, why in self._refused.items() if h in kept}
        self._ready = {h: ready for h, ready in self._ready.items() if h in kept}
        if before and self._engine.playbook_hash != before:
            hash_text = self._engine.playbook_hash.hex()
            _log.info("generation %d (%s) is active", self._engine.generation, hash_text)
        # Plans live long and have no cycles: the collector need not go over them again.
        gc.freeze()

    def _admit(self, generation: Generation, plan: Plan, active: bool) -> None:
        """Give the engine a generation of the log, unless its budgets find no room.

        Then this node keeps its playbook, and takes the generation once others have gone.
        """
        request = generation.publication.request
        try:
            self._engine.publish(
                plan,
                description=request.description,
                published_at_us=generation.publication.published_at_us,
                number=generation.number,
                active=active,
            )
            self._refused.pop(generation.hash, None)
        except InvalidRequestError as error:
            if generation.hash not in self._refused:
                _log.error("publisher: generation %d of the log: %s", generation.number, error)
            self._refused[generation.hash] = str(error)

    def _renumber(self, known: Mapping[bytes, int], catalogued: Iterable[Generation]) -> None:
        """Give the engine's generations the catalogue's numbers."""
        numbers = {one.hash: one.number for one in catalogued}
        free = max([*numbers.values(), *known.values()], default=0) + 1
        taken = set(numbers.values())
        renumbered: dict[int, int] = {}
        for hash_bytes, number in known.items():
            wanted = numbers.get(hash_bytes, number)
            if hash_bytes not in numbers and number in taken:
                # Forgotten by the catalogue, and its number is another's now.
                wanted, free = free, free + 1
            renumbered[number] = wanted
        if any(before != after for before, after in renumbered.items()):
            self._engine.renumber(renumbered)

    async def _compile(self, files: Mapping[str, bytes]) -> _Ready:
        packed = await asyncio.to_thread(pack, files)
        compiled = await self._compiler.compile(packed)
        if not compiled.hash:
            raise FaultyPlaybookError(compiled.faults)
        plan = await asyncio.to_thread(read_plan, compiled.plan)
        return _Ready(plan, packed, compiled.faults)

    def _repeated(self, write_id: str, digest: bytes) -> Published | None:
        """What came of the same write before, here or on another node."""
        before = self._writes.get(write_id) or self._published_elsewhere(write_id)
        if before is None:
            return None
        if before[0] != digest:
            raise AlreadyUsedError("write_id", f"an id of {len(write_id.encode())} bytes")
        return before[1]

    def _published_elsewhere(self, write_id: str) -> tuple[bytes, Published] | None:
        for number, hash_bytes, publication in self._catalogue.generations():
            if publication.request.write_id == write_id:
                return _digest(publication.request), Published(number, 0, hash_bytes.hex())
        return None

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
