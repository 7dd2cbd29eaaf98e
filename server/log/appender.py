"""An appender: one queue's way into the log, with one append in flight.

Whatever gathers meanwhile goes next.  Nothing is acknowledged unless the log said so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from nextbest.server.log.ahead import Batch
from nextbest.server.log.alarm import Alarm
from nextbest.server.log.backoff import Backoff
from nextbest.server.log.contents import pack, pack_batch
from nextbest.server.log.context import Context
from nextbest.server.log.entry import EntryTooLargeError
from nextbest.server.log.epochs import Epochs
from nextbest.server.log.level import LOGGED, REPLICATED
from nextbest.server.log.log import (
    LOGGED_QUEUE,
    REPLICATED_QUEUE,
    LogError,
    LogFullError,
    Position,
    StaleEpochError,
    UnknownOutcomeError,
)
from nextbest.server.log.own import Own
from nextbest.server.log.sieve import sift
from nextbest.server.span import exported, span


class Appender:
    """Takes what a queue of the engine holds and appends it, batch by batch."""

    def __init__(self, queue: int, context: Context, epochs: Epochs, own: Own) -> None:
        self._queue = queue
        self._own = own
        self._context = context
        self._epochs = epochs
        self._ack = REPLICATED if queue == REPLICATED_QUEUE else LOGGED
        self._lock = asyncio.Lock()
        self._alarm = Alarm(self._late)
        # What is being sent, while it is.
        self._sending: Batch | None = None
        # Set when the engine's queue has something.
        self._filled = asyncio.Event()
        self._backoff = Backoff(context.limits, context.random)
        self._replicas = 0
        # Whether what is appended is then where REPLICATED wants it, and all before it.
        self._commits = False

    def connected(self, replicas: int) -> None:
        """A new connection; what REPLICATED waits for on it."""
        self._replicas = replicas if self._queue == REPLICATED_QUEUE else 0
        self._commits = self._queue == REPLICATED_QUEUE or replicas == 0

    async def run(self) -> None:
        """Append until cancelled, or until the log has to be connected to again."""
        loop = asyncio.get_running_loop()
        descriptor = self._context.engine.log_fd(self._queue)
        loop.add_reader(descriptor, self._ring, descriptor)
        try:
            while True:
                batch = await self._next()
                await self._send(batch)
        finally:
            loop.remove_reader(descriptor)
            self._alarm.close()

    async def hand_over(self) -> None:
        """Append all that waits to be appended again; nobody here will read it back."""
        while (batch := self._context.ahead.next(self._queue)) is not None:
            await self._send(batch)
            if batch.logged:
                self._context.ahead.drop(batch)

    async def note(self, **body: Any) -> bool:
        """Append a housekeeping entry, once; False when it is not known to be in the log."""
        nonce = self._context.ahead.sign_note(self._context.now_us(), self._context.steady_s())
        try:
            await self._append(nonce, pack(nonce, **body))
            return True
        except StaleEpochError as error:
            await self._epochs.newer(error.epoch, self._context.limits.backoff_ms_max / 1_000)
        except LogFullError as error:
            self._context.standing.set("full", str(error))
        except UnknownOutcomeError as error:
            if error.new_epoch:
                raise
        return False

    def drain(self) -> None:
        """Answer everything that waits as unknown, and keep it: the log is slow or away."""
        engine, ahead, limits = self._context.engine, self._context.ahead, self._context.limits
        for _ in range(engine.log_waiting(self._queue)):
            if ahead.full:
                engine.log_unwait(self._queue)
                return
            data, mutations = engine.log_take(
                self._queue, limits.batch_mutations_max, limits.batch_bytes_max, gathered=True
            )
            if not mutations:
                return
            batch = ahead.add(data, mutations, self._queue)
            self._fail(batch)
            ahead.again(batch)

    async def _next(self) -> Batch:
        context = self._context
        while True:
            if (batch := context.ahead.next(self._queue)) is not None:
                return batch
            if self._queue == LOGGED_QUEUE:
                context.standing.clear("slow")
            if context.ahead.full:
                await context.ahead.room()
            self._filled.clear()
            data, mutations = context.engine.log_take(
                self._queue, context.limits.batch_mutations_max, context.limits.batch_bytes_max
            )
            if mutations:
                batch = context.ahead.add(data, mutations, self._queue)
                batch.begun_s = asyncio.get_running_loop().time()
                return batch
            await self._filled.wait()

    def _ring(self, descriptor: int) -> None:
        """The engine's queue has something, or had: what is taken is looked for there alone."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(descriptor)
        self._filled.set()

    async def _send(self, batch: Batch) -> None:
        context = self._context
        if batch.suspect and not self._sift(batch):
            return
        begun_s = asyncio.get_running_loop().time() if batch.answered else batch.begun_s
        self._sending = batch
        self._alarm.set(begun_s + context.limits.answer_ms / 1_000)
        try:
            await self._try(batch)
        except BaseException:
            # The engine's calls are told in their order: none may be left behind here.
            self._fail(batch)
            raise
        finally:
            self._alarm.stop()

    async def _try(self, batch: Batch) -> None:
        nonce = self._context.ahead.sign(batch, self._context.now_us())
        if self._queue == LOGGED_QUEUE:
            self._own.sent(batch)
        try:
            data = pack_batch(nonce, batch.data)
            position = await self._append(nonce, data)
        except EntryTooLargeError as error:
            self._give_up(batch, [str(error)])
        except (StaleEpochError, LogFullError, UnknownOutcomeError) as error:
            await self._refused(batch, error)
        else:
            self._done(batch, position)
            self._own.answered(batch, position, data)

    async def _append(self, nonce: int, data: bytes) -> Position:
        async with self._lock:
            number, sequence = await self._counted(data)
        self._context.standing.clear("full")
        position = Position(number, sequence, nonce)
        progress = self._context.progress
        progress.end = max(progress.end, position)
        if self._commits:
            progress.commit(position)
        return position

    async def _counted(self, data: bytes) -> tuple[int, int]:
        number, replication_id = self._epochs.current
        loop, counts = asyncio.get_running_loop(), self._context.counts.queues[self._queue]
        begun_s = loop.time()
        try:
            sequence = await self._appended(number, replication_id, data)
        except LogError as error:
            counts.failed(error)
            raise
        counts.appended(len(data), loop.time() - begun_s)
        return number, sequence

    async def _appended(self, number: int, replication_id: str, data: bytes) -> int:
        """Append within a span, where one goes anywhere; gives the entry's sequence."""
        append = self._context.log.append(self._queue, number, replication_id, data, self._replicas)
        if not exported():
            return await append
        with span("log.append", {"nextbest.log.epoch": number, "nextbest.log.bytes": len(data)}):
            return await append

    async def _refused(
        self, batch: Batch, error: StaleEpochError | LogFullError | UnknownOutcomeError
    ) -> None:
        """Keep a batch that is not known to be in the log, and try again a little later."""
        context = self._context
        self._own.broken()
        if isinstance(error, StaleEpochError):
            context.ahead.put_back(batch)
            await self._epochs.newer(error.epoch, context.limits.backoff_ms_max / 1_000)
            return
        self._fail(batch)
        context.ahead.put_back(batch)
        if isinstance(error, LogFullError):
            context.standing.set("full", str(error))
        elif self._queue == LOGGED_QUEUE or error.new_epoch:
            raise error
        # Too few replicas said that they have it.  If the master has it, it is read back by then.
        self.drain()
        await self._backoff.pause()

    def _done(self, batch: Batch, position: Position) -> None:
        batch.logged = True
        self._context.counts.queues[self._queue].mutations += batch.mutations
        if not batch.answered:
            self._context.ahead.tell(batch)
            self._context.engine.log_done(self._queue, batch.mutations, position, self._ack)
        self._backoff.reset()

    def _fail(self, batch: Batch) -> None:
        """Answer the batch's calls as unknown, if they still wait."""
        if not batch.answered:
            self._context.ahead.tell(batch)
            self._context.engine.log_failed(self._queue, batch.mutations)

    def _late(self) -> None:
        """The log takes too long: let nobody wait for it, again and again until it is done."""
        limits = self._context.limits
        assert self._sending is not None
        if self._queue == LOGGED_QUEUE:
            why = f"an append takes more than {limits.answer_ms} ms"
            self._context.standing.set("slow", why)
        self._fail(self._sending)
        self.drain()
        self._alarm.set(asyncio.get_running_loop().time() + limits.answer_ms / 1_000)

    def _sift(self, batch: Batch) -> bool:
        """Leave out what is dead or too old; False when nothing is left."""
        context = self._context
        store = context.engine.store
        sifted = sift(batch.data, store.incarnation, store.horizon_ms)
        if sifted.data is not batch.data:
            # Nobody may be told that the log has what was left out.
            self._fail(batch)
            context.ahead.replace(batch, sifted.data, sifted.mutations)
        batch.suspect = False
        if not sifted.mutations:
            self._give_up(batch, sifted.lost_ids)
        elif sifted.lost_ids:
            context.go_astray(sifted.lost_ids)
        return sifted.mutations > 0

    def _give_up(self, batch: Batch, lost_ids: list[str]) -> None:
        self._fail(batch)
        self._context.ahead.drop(batch)
        if lost_ids:
            self._context.go_astray(lost_ids)
