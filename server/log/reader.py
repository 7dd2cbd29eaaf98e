"""The reader: applies the log in its order, and notices when that is not what it seems."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from nextbest.core.errors import InvalidRequestError, NoMemoryError, StoreFullError
from nextbest.server.log.backoff import Backoff
from nextbest.server.log.branch import Branch, DivergedError
from nextbest.server.log.budgets import Budgets
from nextbest.server.log.contents import Contents, place_of, position_from, unpack
from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.entry import DamagedEntryError
from nextbest.server.log.epochs import Epochs
from nextbest.server.log.leases import Leases
from nextbest.server.log.log import BEFORE, Entries, LogGapError, Position, Record
from nextbest.server.log.members import Members
from nextbest.server.log.own import Own

_log = logging.getLogger(__name__)

Announced = Callable[[bytes], None]


class Reader:
    """Reads behind the engine's position, and moves it."""

    def __init__(
        self,
        context: Context,
        epochs: Epochs,
        branch: Branch,
        members: Members,
        coordinator: Coordinator,
        budgets: Budgets,
        announced: Announced,
        own: Own,
        leases: Leases,
    ) -> None:
        self._context = context
        self._epochs = epochs
        self._branch = branch
        self._members = members
        self._coordinator = coordinator
        self._budgets = budgets
        self._announced = announced
        self._own = own
        self._leases = leases
        self._backoff = Backoff(context.limits, context.random)
        self._verified_s = 0.0
        self.dead_letters = 0
        # The newest entries that could not be read.
        self.dead = deque[Position](maxlen=context.limits.dead_letters_max)

    async def run(self, first: Record | None) -> None:
        """Read until cancelled; `first` comes before all else.

        Raises LogGapError and DivergedError when what follows is not what was expected, and
        the errors of a newer format or kind, which this version must not pass.
        """
        # No append is under way: first the log is read to its end.
        self._own.broken()
        if first is not None:
            await self._pass(first)
        try:
            while True:
                await self._read()
        finally:
            # What was read when it ended is not applied.
            self._own.open = False

    async def _read(self) -> None:
        context, loop = self._context, asyncio.get_running_loop()
        wait_ms = context.limits.read_wait_ms
        await self._own.rest()
        sent_us, after = context.now_us(), context.here
        entries = await context.log.read(after[:2], wait_ms)
        self._own.open = False
        if not entries:
            # The log had nothing new when it gave up waiting, which was no earlier than this.
            context.caught_up(min(sent_us + wait_ms * 1_000, context.now_us()))
            await self._verify()
        begun_s = loop.time()
        passed = self._passed_meanwhile(entries, after)
        while passed < len(entries):
            if not (plain := self._pass_plain(entries, passed)):
                await self._pass(entries[passed])
            passed += plain or 1
            if loop.time() - begun_s >= context.limits.apply_slice_ms / 1_000:
                context.progress.moved()
                await asyncio.sleep(0)
                begun_s = loop.time()
        context.let_go()

    def _passed_meanwhile(self, entries: Entries, after: Position) -> int:
        """How many of the entries passed as our own while they were read."""
        here = self._context.here
        if here == after:
            return 0
        known = sum((record.epoch, record.sequence) <= here[:2] for record in entries)
        if known and here[:2] == entries[known - 1][:2] and place_of(entries[known - 1]) != here:
            raise DivergedError(f"entry {here} is another in the log")
        return known

    def _pass_plain(self, entries: Entries, first: int) -> int:
        """Apply entries that need nothing but the engine; gives how many.

        Nearly all are of that kind when a node starts, and a start has to go through all.
        """
        context = self._context
        if context.ahead.expects:
            return 0
        columns = entries.epochs, entries.sequences, entries.data
        nonces = context.engine.apply_entries(*columns, first, context.ahead.own, context.now_us())
        if nonces:
            now_s = asyncio.get_running_loop().time()
            context.retained.extend(entries[first : first + len(nonces)], nonces, now_s)
            context.counts.applied += len(nonces)
        return len(nonces)

    async def _verify(self) -> None:
        """Notice when a log that brings nothing new has lost what it had."""
        context, now_s = self._context, asyncio.get_running_loop().time()
        if now_s - self._verified_s < context.limits.verify_ms / 1_000 or context.here == BEFORE:
            return
        self._verified_s = now_s
        if not await self._branch.holds(context.here):
            raise DivergedError(f"entry {context.here} is not in the log any more")

    async def _pass(self, record: Record) -> None:
        """Apply the next entry and move on to it."""
        context, here = self._context, self._context.here
        place = (record.epoch, record.sequence)
        if place != (here.epoch, here.sequence + 1) and (
            record.epoch <= here.epoch or record.sequence
        ):
            raise LogGapError(here[:2], place)
        contents = self._unpack(record)
        position = Position(*place, contents.nonce)
        if record.sequence == 0:
            await self._enter(here, position, contents)
        await self._apply(position, contents)
        context.advance(position, record.data)

    def _unpack(self, record: Record) -> Contents:
        try:
            return unpack(record)
        except DamagedEntryError as error:
            self._skip(Position(record.epoch, record.sequence, 0), error)
            return Contents(0, "damaged", None)

    def _skip(self, position: Position, error: Exception) -> None:
        """No version can read it, so every member skips it."""
        _log.error("log: skipped for good: %s", error)
        self.dead_letters += 1
        self.dead.append(position)

    async def _enter(self, here: Position, position: Position, contents: Contents) -> None:
        """Pass the first entry of an epoch, which must follow the last one applied here."""
        replication_id, previous, strict = "", None, here == BEFORE
        if contents.kind == "open":
            previous = position_from(contents.body.previous)
            replication_id = contents.body.replication_id
            strict = strict or contents.body.reseeded
        # An epoch may begin without its opening, when the log lost that, and with a wrong one,
        # when the branch changed under who wrote it.  It still follows our entry if that is there.
        if not self.follows(previous, here) and (strict or not await self._branch.holds(here)):
            raise DivergedError(f"epoch {position.epoch} follows {previous}, and this is {here}")
        self._context.engine.epoch_opened(position.epoch, position.nonce, here)
        self._context.counts.epochs += 1
        self._epochs.read(position.epoch, replication_id)
        self._coordinator.opened(position)
        if here != BEFORE:
            self._leases.entered()
        self._budgets.opened(position)

    def follows(self, previous: Position | None, here: Position) -> bool:
        """Whether an epoch that says it follows `previous` follows this node's last entry."""
        return previous == here

    async def _apply(self, position: Position, contents: Contents) -> None:
        body, coordinator = contents.body, self._coordinator
        if contents.kind == "batch":
            await self._apply_batch(position, body)
        elif (sent := self._context.ahead.note_came(contents.nonce)) is not None:
            self._context.caught_up(sent[0])
            # Others take no lease from a last word, which may be of somebody else.
            if contents.kind == "heartbeat" and body.now_ms:
                self._leases.came(sent[1])
        if contents.kind == "heartbeat":
            now_s = asyncio.get_running_loop().time()
            if body.now_ms:
                # Else it is the last word of one that stops.
                self._members.seen(body, body.member, now_s)
                self._leases.heard(body)
            self._budgets.heard(body)
        elif contents.kind == "lease":
            coordinator.leased(position, body)
            self._budgets.moved()
        elif contents.kind == "horizon":
            coordinator.horizon(position, body)
        elif contents.kind == "trim":
            coordinator.trim(body)
        elif contents.kind == "format":
            coordinator.allow(body)
            self._budgets.moved()
        elif contents.kind == "claim":
            self._budgets.claimed(position, body)

    async def _apply_batch(self, position: Position, data: bytes) -> None:
        ahead = self._context.ahead
        if (own := ahead.came(position.nonce)) is not None:
            self._own.came(own, position)
            return
        if ahead.came_back(data) is not None:
            ahead.read_back = position
        while True:
            try:
                result = self._context.engine.apply_batch(data, self._context.now_us())
                break
            except InvalidRequestError as error:
                self._skip(position, error)
                return
            except (NoMemoryError, StoreFullError) as error:
                # Skipping it would make this node differ from the others for good.
                self._context.standing.set("stuck", f"applying: {error}")
                await self._backoff.pause()
        self._backoff.reset()
        self._context.standing.clear("stuck")
        for mutation in result.announced:
            self._announced(mutation)
