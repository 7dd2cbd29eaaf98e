"""The purge: takes erased people out of what this member keeps in memory besides its rows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from google.protobuf.message import DecodeError

from nextbest.server.log.contents import pack_batch, unpack
from nextbest.server.log.context import Context
from nextbest.server.log.entry import DamagedEntryError
from nextbest.server.log.log import Record
from nextbest.server.log.sieve import EVER, is_dead, sift
from nextbest.v1 import mutation_pb2

# How often it is looked whether somebody was erased since.
LOOK_S = 1.0
# How long it works at a time, and how long it rests then: decisions go before.
WORK_S = 0.001
REST_S = 0.004
# How long it then waits before it begins anew, in proportion to what it took.
PAUSE = 2

_log = logging.getLogger(__name__)


class Purge:
    """Rewrites raw entries, batches ahead of the log, and what waits for a playbook.

    What an erasure ends would be left out whenever it is appended again: it need not be kept.
    Of the erasures themselves the ids stay until the entries go.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen = context.engine.store.erasures
        # Mutations taken out.
        self.purged = 0

    async def run(self) -> None:
        """Purge within seconds of an erasure, until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s = LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = LOOK_S
            if (erasures := self._context.engine.store.erasures) != self._seen:
                before, begun_s = self.purged, loop.time()
                await self.purge()
                # What was erased meanwhile is looked for in the next round.
                self._seen = erasures
                pause_s = max(LOOK_S, PAUSE * (loop.time() - begun_s))
                _log.info("purge: %d mutations of erased people", self.purged - before)

    async def purge(self) -> None:
        """Take out what is dead by now, of all that was here when this was called."""
        context, loop = self._context, asyncio.get_running_loop()
        self._purge_parked()
        context.ahead.rewrite(self._living)
        place, end = context.retained.base[:2], context.here[:2]
        while place < end:
            end_s = loop.time() + WORK_S
            enough = partial(_is_past, loop.time, end_s)
            place = context.retained.rewrite(place, self._living_entry, enough)
            await asyncio.sleep(REST_S)

    def _purge_parked(self) -> None:
        engine = self._context.engine
        for data in engine.parked_mutations():
            if is_dead(mutation_pb2.Mutation.FromString(data), engine.store.incarnation):
                self.purged += engine.unpark(data)

    def _living(self, data: bytes) -> tuple[bytes, int]:
        """A batch without what is dead, and how many mutations it then has."""
        sifted = sift(data, self._context.engine.store.incarnation, EVER)
        self.purged += sifted.dead
        return sifted.data, sifted.mutations

    def _living_entry(self, record: Record) -> bytes:
        """An entry without what is dead, under the same nonce."""
        try:
            contents = unpack(record)
            living = self._living(contents.body) if contents.kind == "batch" else None
        except (DamagedEntryError, DecodeError):
            return record.data
        if living is None or living[0] is contents.body:
            return record.data
        return pack_batch(contents.nonce, living[0])


def _is_past(time_s: Callable[[], float], end_s: float) -> bool:
    return time_s() >= end_s
