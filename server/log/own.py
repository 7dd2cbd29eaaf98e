"""Own: entries of ours, which were applied when they were accepted, pass without being applied.

One that the log has answered need not be read back where it stands right behind what is applied
here: it went to the branch of the epoch, and sequences are dense, so that nothing lies between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nextbest.server.log.ahead import Batch
from nextbest.server.log.context import Context
from nextbest.server.log.log import Position
from nextbest.server.log.sieve import ids_before

# Told each own MutationBatch that is known to be in the log.
Passed = Callable[[bytes], None]


class Own:
    """Passes own entries, and says whether there is anything else to read."""

    def __init__(self, context: Context, passed: Passed) -> None:
        self._context = context
        self._passed = passed
        # Whether nothing that was read waits to be applied.
        self.open = False
        # Whether large appends at LOGGED follow one another: one was sent since it was last looked.
        self._busy = False
        # That others' entries are to be read, and what ends a rest: that, or its time.
        self._look = False
        self._roused = asyncio.Event()

    def sent(self, batch: Batch) -> None:
        """An append at LOGGED is under way: its answer tells whether others' came before it."""
        self._busy = batch.mutations >= self._context.limits.rest_mutations_min

    def broken(self) -> None:
        """No answer is to come that tells it."""
        self._busy = False
        self._rouse()

    def answered(self, batch: Batch, position: Position, data: bytes) -> None:
        """Pass the entry if it is the next one; else others' are to be read, and it with them."""
        context, here = self._context, self._context.here
        if position[:2] <= here[:2]:
            return
        if self.open and self.follows(position, here) and context.ahead.came(position.nonce):
            self.came(batch, position)
            context.advance(position, data)
            context.let_go()
        else:
            self._rouse()

    def follows(self, position: Position, here: Position) -> bool:
        """Whether nothing can lie between an entry and the last one applied here."""
        return position[:2] == (here.epoch, here.sequence + 1)

    def came(self, batch: Batch, position: Position) -> None:
        """The log has an entry of this batch, and all before it is applied here."""
        context = self._context
        context.ahead.read_back = position
        if position.nonce == batch.nonces[-1]:
            # When it was sent, the log ended before it, and now it is applied up to there.
            context.caught_up(batch.sent_us)
        self._passed(batch.data)
        if batch.suspect and (ids := ids_before(batch.data, context.engine.store.horizon_ms)):
            context.go_astray(ids)

    async def rest(self) -> None:
        """Before the log is read: while answers to appends say that there is nothing, for a while.

        Others' entries are read as soon as an answer leaves them out, or no more is to come.
        """
        self.open = True
        limits = self._context.limits
        for _ in range(limits.rest_ms_max // limits.rest_ms):
            if not self._busy:
                break
            self._busy = False
            if await self._leaps(limits.rest_ms / 1_000):
                break
        self._look = False

    def _rouse(self) -> None:
        self._look = True
        self._roused.set()

    async def _leaps(self, within_s: float) -> bool:
        """Whether there is something to read, once that is known or a time has passed."""
        if not self._look:
            self._roused.clear()
            # Of no task's: to cancel one and to catch that takes longer than the rest of it.
            timer = asyncio.get_running_loop().call_later(within_s, self._roused.set)
            try:
                await self._roused.wait()
            finally:
                timer.cancel()
        return self._look
