"""The branch: whether this node stands on the log's history, and the way back when it does not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import NamedTuple

from nextbest.core.errors import PositionLostError
from nextbest.server.log.contents import (
    Contents,
    UnknownKindError,
    place_of,
    position_from,
    unpack,
)
from nextbest.server.log.context import Context
from nextbest.server.log.entry import DamagedEntryError, UnknownFormatError
from nextbest.server.log.epochs import Epochs
from nextbest.server.log.limits import EPOCHS_MAX
from nextbest.server.log.log import (
    BEFORE,
    LOGGED_QUEUE,
    Log,
    LogError,
    LogResetError,
    Position,
    Record,
)
from nextbest.server.log.retained import Kept
from nextbest.v1 import mutation_pb2

_log = logging.getLogger(__name__)


class DivergedError(LogError):
    """What follows in the log does not follow what this node has applied."""

    status_reason = "LOG_DIVERGED"
    retry_ms = 100


# What helps a member that lacks a part of the log.
FETCH = (
    "give this node a data folder (--data) and say where others are (log.peers here, or "
    "log.advertise there), or bring another node's snapshot with `nextbest log snapshot --output` "
    "and `nextbest log restore`"
)


class BootstrapError(LogError):
    """Nothing that this node has kept is in the log: it needs another member's snapshot.

    `foreign` is True when an operator started the log anew from a history that is not ours, so
    that even what was committed here may be missing there.
    """

    status_reason = "LOG_BOOTSTRAP"
    retry_ms = 0

    def __init__(self, why: str, foreign: bool = False) -> None:
        super().__init__(why)
        self.foreign = foreign


class Junction(NamedTuple):
    """Where this node's history and the log's part.

    common: the last entry of both.  reseeded: the first entry of a log that an operator started
    anew from there, to be read next; else None.
    """

    common: Position
    reseeded: Record | None


class Branch:
    """Compares what this node has applied with what the log holds, by nonces."""

    def __init__(self, context: Context, epochs: Epochs) -> None:
        self._context = context
        self._epochs = epochs

    async def holds(self, position: Position) -> bool:
        """Whether the log has this very entry, in this very epoch."""
        return await self.nonce_at(position) == position.nonce

    async def nonce_at(self, position: Position) -> int | None:
        """The nonce of the log's entry there; None without one."""
        record = await self._context.log.entry(position.epoch, position.sequence)
        return None if record is None else place_of(record).nonce

    async def junction(self) -> Junction:
        """Where to read on from.

        Raises LogResetError when the log was wiped, and BootstrapError when its part of the log
        was trimmed, was lost behind its snapshot, or never was this log's.
        """
        here = self._context.here
        first = await self._context.log.first()
        if first is None:
            if not self._epochs.met:
                return Junction(BEFORE, None)
            raise LogResetError("the log is empty, and was not")
        if here == BEFORE:
            return await self._beginning(first)
        if await self._stands(here):
            return Junction(here, None)
        if (reseeded := await self._reseeded()) is not None:
            return reseeded
        return Junction(await self._last_common(first), None)

    def turn_back(self, junction: Junction) -> int:
        """Go back to the junction; what lies behind it here is ahead again.  Gives how many."""
        context = self._context
        if junction.common == context.here:
            return 0
        if junction.common[:2] < (base := context.retained.base)[:2]:
            # Listed, not guessed: what these entries held is not kept any more.
            context.progress.lose([f"entries behind {_shown(junction.common)} to {_shown(base)}"])
        lost = context.retained.take_after(junction.common)
        _log.error(
            "log: diverged: %d entries behind %s are not in the log",
            len(lost),
            _shown(junction.common),
        )
        context.engine.rewind(junction.common)
        context.progress.diverge(junction.common)
        return sum(self._ahead_again(kept) for kept in lost)

    def leave(self, foreign: bool) -> None:
        """Take what is kept, and others may not have, as ahead of the log that is not ours."""
        retained = self._context.retained
        since = retained.base if foreign else self._context.progress.committed
        for kept in retained.after(since):
            self._ahead_again(kept)

    async def _stands(self, here: Position) -> bool:
        """Whether the entry at our position is ours, and its epoch the one we know."""
        if not await self.holds(here):
            return False
        nonces = dict(self._known())
        if here.sequence == 0 or here.epoch not in nonces:
            return True
        opened = await self.nonce_at(Position(here.epoch, 0, 0))
        return opened is None or opened == nonces[here.epoch]

    async def _beginning(self, first: Record) -> Junction:
        try:
            contents = unpack(first)
        except DamagedEntryError:
            contents = None
        if contents is None or contents.kind != "open" or contents.body.previous.epoch:
            raise BootstrapError(
                f"the log begins at {first.epoch}-{first.sequence}, and nothing came before here; "
                f"{FETCH}"
            )
        return Junction(BEFORE, None)

    async def _reseeded(self) -> Junction | None:
        """The way on over the newest entry by which an operator started the log anew."""
        known = self._known()
        try:
            async for number, record, contents in self._openings():
                if record is None or contents is None or (number, contents.nonce) in known:
                    return None
                previous = position_from(contents.body.previous)
                if contents.body.reseeded and not self._is_ours(previous):
                    raise BootstrapError(
                        f"the log was started anew behind {_shown(previous)}, which is not known "
                        f"here; {FETCH}",
                        foreign=True,
                    )
                if contents.body.reseeded:
                    return Junction(previous, record)
        except (DamagedEntryError, UnknownFormatError):
            pass
        return None

    async def _openings(self) -> AsyncIterator[tuple[int, Record | None, Contents | None]]:
        """The log's epochs, the newest first, each with its first entry and what is in that.

        No contents: it opens no epoch.  No entry: it is not there any more; nothing comes behind
        either.  Raises what `unpack` raises.
        """
        log = self._context.log
        tail = await log.last()
        number = tail.epoch if tail else 0
        for _ in range(EPOCHS_MAX):
            record = await log.entry(number, 0) if number else None
            contents = unpack(record) if record else None
            if contents and contents.kind != "open":
                contents = None
            yield number, record, contents
            if contents is None:
                return
            number = contents.body.previous.epoch

    def _known(self) -> set[tuple[int, int]]:
        """The epochs that this node has passed: number and nonce of each."""
        return {epoch[:2] for epoch in self._context.engine.epochs()}

    def _is_ours(self, position: Position) -> bool:
        """Whether this node has applied that entry."""
        retained = self._context.retained
        if position[:2] >= retained.base[:2]:
            return retained.has(position)
        try:
            return self._context.engine.reached(position)
        except PositionLostError:
            return False

    async def _last_common(self, first: Record) -> Position:
        """Bisect what is kept: histories that parted do not meet again."""
        retained = self._context.retained
        count = len(retained)
        low = retained.index((first.epoch, first.sequence))
        if low >= count or not await self.holds(retained.position(low)):
            raise await self._nothing_common(first)
        high = count
        while high - low > 1:
            middle = (low + high) // 2
            if await self.holds(retained.position(middle)):
                low = middle
            else:
                high = middle
        return retained.position(low)

    async def _nothing_common(self, first: Record) -> LogError:
        base = self._context.retained.base
        last = await self._context.log.last()
        new = first.sequence == 0 and first.epoch <= self._epochs.highest
        if last is not None and (last.epoch, last.sequence) >= base[:2] and not new:
            return BootstrapError(
                f"the log begins at {first.epoch}-{first.sequence}, and holds nothing applied "
                f"here; {FETCH}"
            )
        if not await self.knows_log():
            return LogResetError(
                f"the log begins at {first.epoch}-{first.sequence} and is not the one applied here"
            )
        return BootstrapError(
            f"the log lost a part of what this node's snapshot holds, to {_shown(base)}; {FETCH}, "
            "or where no node follows the log start it anew from this one with `nextbest log "
            "reseed --force`"
        )

    async def knows_log(self) -> bool:
        """Whether the log is one that this node has followed, whatever it has lost since."""
        known = self._known()
        try:
            async for number, record, _ in self._openings():
                if record is None:
                    # Of an epoch whose beginning was trimmed the number has to do.
                    return number in {epoch for epoch, _ in known}
                if place_of(record)[::2] in known:
                    return True
        except (DamagedEntryError, UnknownFormatError, UnknownKindError):
            pass
        return False

    def _ahead_again(self, kept: Kept) -> int:
        record = Record(kept.position.epoch, kept.position.sequence, kept.data)
        try:
            contents = unpack(record)
        except DamagedEntryError:
            return 0
        if contents.kind != "batch":
            return 0
        count = len(mutation_pb2.MutationBatch.FromString(contents.body).mutations)
        if count:
            # All of an entry may be of people who were erased since.
            self._context.ahead.add(contents.body, count, LOGGED_QUEUE)
        return count


async def lies_on(log: Log, position: Position) -> bool:
    """Whether a log has this very entry: what a snapshot is checked by before it is trusted."""
    record = await log.entry(position.epoch, position.sequence)
    return record is not None and place_of(record) == position


def _shown(position: Position) -> str:
    return f"{position.epoch}-{position.sequence}"
