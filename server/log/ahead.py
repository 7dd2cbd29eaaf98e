"""Ahead: batches applied here that were not read back from the log yet.

Nothing leaves before it was read back or sifted out, whatever an append answered.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Container, Sequence
from random import Random

from nextbest.server.log.log import BEFORE, LOGGED_QUEUE, QUEUES

_NONCE_BITS = 64
# Housekeeping entries of ours whose way into the log is watched; one is under way as a rule.
_NOTES_MAX = 64


class Batch:
    """Mutations applied here, as the bytes of a MutationBatch."""

    __slots__ = (
        "answered",
        "begun_s",
        "data",
        "digest",
        "logged",
        "mutations",
        "nonces",
        "queue",
        "sent_us",
        "serial",
        "suspect",
    )

    def __init__(self, data: bytes, mutations: int, queue: int, serial: int) -> None:
        self.data = data
        self.mutations = mutations
        self.queue = queue
        self.serial = serial
        # Made when the log may have lost it: what it is recognised by if another member saved it.
        self.digest = b""
        # Nobody waits for it: its calls have their answer, or it has none.
        self.answered = False
        # The log said that it has what was sent last.
        self.logged = False
        # Older than a horizon, a lost tail or an outage: look inside before sending it.
        self.suspect = False
        self.nonces: list[int] = []
        self.begun_s = 0.0
        self.sent_us = 0


def digest_of(data: bytes) -> bytes:
    """What a batch is recognised by when another member appended it."""
    return hashlib.blake2b(data, digest_size=16).digest()


class Ahead:
    """The batches ahead of the log, oldest first."""

    def __init__(self, bytes_max: int, random: Random) -> None:
        self._bytes_max = bytes_max
        self._random = random
        self._batches: dict[int, Batch] = {}
        self._own: dict[int, Batch] = {}
        self._digests: dict[bytes, Batch] = {}
        self._unsent = tuple[deque[Batch], ...](deque() for _ in range(QUEUES))
        self._bytes = 0
        self._serial = 0
        self._told = [0] * QUEUES
        # Mutations still in the engine's queues that a horizon has passed.
        self._passed = [0] * QUEUES
        self._notes: dict[int, tuple[int, float]] = {}
        self._lighter = asyncio.Event()
        # Where the newest of them was read back.
        self.read_back = BEFORE

    @property
    def mutations(self) -> int:
        """How many mutations are ahead of the log."""
        return sum(batch.mutations for batch in self._batches.values())

    @property
    def answered(self) -> int:
        """How many of them nobody waits for any more."""
        return sum(batch.mutations for batch in self._batches.values() if batch.answered)

    @property
    def newest(self) -> int:
        """The serial number of the newest batch ever."""
        return self._serial

    @property
    def oldest(self) -> int:
        """The serial number of the oldest batch ahead; of the next one when there is none."""
        return next(iter(self._batches), self._serial + 1)

    @property
    def own(self) -> Container[int]:
        """The nonces of what was sent and not read back."""
        return self._own

    @property
    def expects(self) -> bool:
        """Whether a batch may come back in another member's entry."""
        return bool(self._digests)

    def told(self, queue: int) -> int:
        """How many mutations of a queue had their calls answered."""
        return self._told[queue]

    def tell(self, batch: Batch) -> None:
        """Note that the batch's calls get their answer."""
        batch.answered = True
        self._told[batch.queue] += batch.mutations

    def add(self, data: bytes, mutations: int, queue: int) -> Batch:
        """Note a batch that was applied here."""
        self._serial += 1
        batch = Batch(data, mutations, queue, self._serial)
        batch.suspect = self._passed[queue] > 0
        self._passed[queue] = max(self._passed[queue] - mutations, 0)
        self._batches[batch.serial] = batch
        self._bytes += len(data)
        return batch

    def again(self, batch: Batch) -> None:
        """Append it (again) after those that wait."""
        self._unsent[batch.queue].append(batch)

    def put_back(self, batch: Batch) -> None:
        """Append it again before those that wait."""
        self._unsent[batch.queue].appendleft(batch)

    def all_again(self, replicated: bool) -> None:
        """Append whatever is left again: a new connection has read the log to its end.

        replicated: whether the log has replicas, and so a queue that waits for them.
        """
        for waiting in self._unsent:
            waiting.clear()
        for batch in self._batches.values():
            batch.suspect = True
            self._unsent[batch.queue if replicated else LOGGED_QUEUE].append(batch)

    def expect(self) -> None:
        """Look out for what others append again: a new connection reads on."""
        for batch in self._batches.values():
            batch.digest = batch.digest or digest_of(batch.data)
            self._digests[batch.digest] = batch

    def waits(self, queue: int) -> bool:
        """Whether a batch of a queue waits to be appended again."""
        return bool(self._unsent[queue])

    def next(self, queue: int) -> Batch | None:
        """The oldest batch of a queue that waits to be appended."""
        waiting = self._unsent[queue]
        while waiting:
            batch = waiting.popleft()
            if batch.serial in self._batches:
                return batch
        return None

    def sign(self, batch: Batch, now_us: int) -> int:
        """A fresh nonce to send it with, known before anything leaves."""
        nonce = fresh_nonce(self._random)
        batch.nonces.append(nonce)
        batch.sent_us = now_us
        batch.logged = False
        self._own[nonce] = batch
        return nonce

    def sign_note(self, now_us: int, steady_s: float) -> int:
        """A fresh nonce for a housekeeping entry."""
        nonce = fresh_nonce(self._random)
        self._notes[nonce] = now_us, steady_s
        if len(self._notes) > _NOTES_MAX:
            del self._notes[next(iter(self._notes))]
        return nonce

    def note_came(self, nonce: int) -> tuple[int, float] | None:
        """When a housekeeping entry of ours was sent, by both clocks; None for another's."""
        return self._notes.pop(nonce, None)

    def came(self, nonce: int) -> Batch | None:
        """Take the batch whose entry was read; None when the entry is not one of ours."""
        batch = self._own.get(nonce)
        if batch is not None:
            self.drop(batch)
        return batch

    def came_back(self, data: bytes) -> Batch | None:
        """Take the batch of these bytes, which another member appended."""
        batch = self._digests.get(digest_of(data)) if self._digests else None
        if batch is not None:
            self.drop(batch)
        return batch

    def drop(self, batch: Batch) -> None:
        """Forget a batch."""
        if self._batches.pop(batch.serial, None) is None:
            return
        if self._digests.get(batch.digest) is batch:
            del self._digests[batch.digest]
        for nonce in batch.nonces:
            del self._own[nonce]
        self._bytes -= len(batch.data)
        self._lighter.set()

    def rewrite(self, change: Callable[[bytes], tuple[bytes, int]]) -> None:
        """Change the batches that nobody waits for; an empty one goes.

        A batch under way is known by its nonces, and one that another member saved by what it
        was before.
        """
        for batch in list(self._batches.values()):
            if not batch.answered:
                continue
            data, mutations = change(batch.data)
            if mutations:
                self.replace(batch, data, mutations)
            else:
                self.drop(batch)

    def replace(self, batch: Batch, data: bytes, mutations: int) -> None:
        """Give a batch, whose calls have their answer, other contents."""
        self._bytes += len(data) - len(batch.data)
        batch.data, batch.mutations = data, mutations

    def suspect_all(self, queued: Sequence[int]) -> None:
        """Look inside each batch before it is sent, or when it is read back.

        queued: how many mutations each of the engine's queues holds, to be looked at too.
        """
        self._passed = list(queued)
        for batch in self._batches.values():
            batch.suspect = True

    @property
    def full(self) -> bool:
        """Whether as much is ahead as may be."""
        return self._bytes >= self._bytes_max

    async def room(self) -> None:
        """Wait until less than the bound is ahead."""
        while self.full:
            self._lighter.clear()
            await self._lighter.wait()


def fresh_nonce(random: Random) -> int:
    """A nonce; never 0, which stands for an entry that cannot be read."""
    return random.getrandbits(_NONCE_BITS) or 1
