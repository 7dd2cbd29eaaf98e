"""Epochs: each begins with an entry that says which master it was opened on."""

from __future__ import annotations

import logging
from typing import NamedTuple

from nextbest.server.log.ahead import fresh_nonce
from nextbest.server.log.contents import Contents, pack, place_of, position_message, unpack
from nextbest.server.log.context import Context
from nextbest.server.log.entry import DamagedEntryError
from nextbest.server.log.limits import EPOCHS_MAX, RESEED_SKIP
from nextbest.server.log.log import (
    BEFORE,
    EpochConflictError,
    LogAwayError,
    LogInfo,
    LogResetError,
    Position,
    Record,
    StaleEpochError,
)
from nextbest.v1 import log_pb2

_log = logging.getLogger(__name__)


class Epoch(NamedTuple):
    """The epoch appended to, and the master it was opened on."""

    number: int
    replication_id: str


class Epochs:
    """Knows the epoch to append to, and opens the next one when the master has changed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Numbers are never used twice, not even those of branches that were lost.
        self._highest = max((epoch[0] for epoch in context.engine.epochs()), default=0)
        # An epoch that this node only tried to open does not prove that there was a log.
        self._met = self._highest > 0
        self._replication_ids: dict[int, str] = {}
        self.current = Epoch(0, "")

    @property
    def highest(self) -> int:
        """The largest number ever seen."""
        return self._highest

    @property
    def met(self) -> bool:
        """Whether this node knows that the log has had an entry."""
        return self._met or self._context.here != BEFORE

    def meet(self) -> None:
        """The log is known to have had an entry: an empty one was wiped."""
        self._met = True

    def replication_id(self, number: int) -> str:
        """Of the master an epoch was opened on; empty when that is not known."""
        return self._replication_ids.get(number, "")

    async def ensure(self, info: LogInfo) -> Position:
        """See that the newest epoch is of the master connected to; gives the log's last entry.

        Raises LogResetError for an empty log, unless this node never saw one that was not.
        """
        for _ in range(self._context.limits.epoch_tries_max):
            tail = await self._context.log.last()
            self._met = self._met or tail is not None
            if tail is not None and await self._goes_on(tail.epoch, info.replication_id):
                self.current = Epoch(tail.epoch, info.replication_id)
                return place_of(tail)
            if tail is None and self.met:
                raise LogResetError("the log is empty, and was not")
            previous = BEFORE if tail is None else place_of(tail)
            try:
                return await self.open(info, previous, tail, create=tail is None)
            except (EpochConflictError, StaleEpochError) as error:
                _log.info("log: another member was first to open an epoch: %s", error)
        raise LogAwayError(f"epoch: not opened in {self._context.limits.epoch_tries_max} tries")

    async def open(
        self,
        info: LogInfo,
        previous: Position,
        tail: Record | None,
        *,
        create: bool = False,
        reseeded: bool = False,
    ) -> Position:
        """Open the next epoch behind the log's last entry; gives its first one."""
        number = 1 + max(self._highest, tail.epoch if tail else 0)
        # A member that died may have seen epochs on the wiped log that nobody else knows of.
        number += RESEED_SKIP if reseeded else 0
        opened = log_pb2.EpochOpen(
            replication_id=info.replication_id,
            previous=position_message(previous),
            member=self._context.member,
            reseeded=reseeded,
        )
        nonce = fresh_nonce(self._context.random)
        expected = (tail.epoch, tail.sequence) if tail else None
        before, self._highest = self._highest, number
        try:
            await self._context.log.open_epoch(number, pack(nonce, open=opened), expected, create)
        except (EpochConflictError, StaleEpochError):
            # In any other case it may have been, and the number is not used again.
            self._highest = before
            raise
        _log.info("log: epoch %d opened behind %d-%d", number, *previous[:2])
        self._met = True
        self.current = Epoch(number, info.replication_id)
        self._remember(number, info.replication_id)
        return Position(number, 0, nonce)

    def read(self, number: int, replication_id: str) -> None:
        """The reader passed the first entry of an epoch."""
        self._met = True
        self._highest = max(self._highest, number)
        self._remember(number, replication_id)
        if number > self.current.number:
            self.current = Epoch(number, replication_id)
            self._context.progress.moved()

    async def newer(self, than: int, timeout_s: float) -> None:
        """Wait until the reader has passed a newer epoch.  Raises LogAwayError if it does not."""
        if not await self._context.progress.until(lambda: self.current.number > than, timeout_s):
            raise LogAwayError(f"epoch: {than} is over, but the next one was not read")

    async def opening(self, number: int) -> Contents | None:
        """The first entry of an epoch; None when there is none (any more)."""
        record = await self._context.log.entry(number, 0)
        if record is None:
            return None
        try:
            contents = unpack(record)
        except DamagedEntryError:
            return None
        return contents if contents.kind == "open" else None

    async def _goes_on(self, number: int, replication_id: str) -> bool:
        """Whether the log's newest epoch is of this master, and no later one was ever seen."""
        if number < self._highest:
            # Positions of the later one are lost, and only an epoch behind it says so.
            return False
        # Unknown when it was trimmed: then another epoch does no harm.
        contents = await self.opening(number)
        if contents is None:
            return self._replication_ids.get(number) == replication_id
        self._remember(number, contents.body.replication_id)
        return bool(contents.body.replication_id == replication_id)

    def _remember(self, number: int, replication_id: str) -> None:
        self._replication_ids[number] = replication_id
        if len(self._replication_ids) > EPOCHS_MAX:
            del self._replication_ids[min(self._replication_ids)]
