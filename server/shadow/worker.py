"""The shadow's process: decides records again by a draft, within the CPU that it is given.

What a draft does here, however slow it is or whatever it takes, is nobody's wait; and a process
that dies takes nothing with it.
"""

from __future__ import annotations

import time
from collections import Counter as Multiset

from nextbest.server.error_text import stack
from nextbest.server.helper import answer_all
from nextbest.server.playbook.exchange import read_plan
from nextbest.server.record.errors import NoPlaybookFileError
from nextbest.server.record.frames import Frame, frames
from nextbest.server.record.whatif import Draft, Effect, Readable, try_one
from nextbest.server.shadow.exchange import (
    Batch,
    Compared,
    Failure,
    NotStarted,
    Reads,
    Start,
    Started,
)

# The last of all.
NICENESS = 19
# The records' file, in an error.
_NAME = "shadow"


class _Told:
    """Playbooks as the server has told of them."""

    def __init__(self) -> None:
        self._reads: dict[bytes, Reads] = {}

    def learn(self, batch: Batch) -> None:
        self._reads.update(batch.playbooks)

    def plan(self, hash_bytes: bytes) -> Readable:
        if hash_bytes not in self._reads:
            raise NoPlaybookFileError(f"playbook {hash_bytes.hex()}: it is gone")
        return self._reads[hash_bytes]


class Worker:
    """Answers requests; the draft is the last that it was started with."""

    def __init__(self) -> None:
        self._told = _Told()
        self._draft: Draft | None = None
        self._cpu_s = 0.0

    def answer(self, request: object) -> object:
        """The answer to one request; a Failure for what is our own fault."""
        try:
            if isinstance(request, Start):
                return self._start(request)
            if isinstance(request, Batch):
                return self._compare(request)
            raise TypeError(f"request: {type(request).__name__}")
        except Exception as error:
            return Failure(stack(error))

    def _start(self, request: Start) -> Started:
        self._told = _Told()
        self._draft = Draft(read_plan(request.plan), self._told)
        return Started(self._spent())

    def _compare(self, batch: Batch) -> Compared | NotStarted:
        if self._draft is None:
            return NotStarted()
        end_s = time.process_time() + batch.cpu_s
        self._told.learn(batch)
        effect, against, decided = Effect(), Multiset[bytes](), 0
        for frame in frames(_NAME, batch.records):
            if decided and time.process_time() >= end_s:
                break
            decided += 1
            if isinstance(frame, Frame):
                against[frame.record.playbook] += _tried(frame, self._draft, effect)
        return Compared(decided, effect, +against, self._spent())

    def _spent(self) -> float:
        """CPU since the last time."""
        before, self._cpu_s = self._cpu_s, time.process_time()
        return self._cpu_s - before


def _tried(frame: Frame, draft: Draft, effect: Effect) -> int:
    """Decide a record again; 1 if it could be compared."""
    before = effect.records
    try:
        try_one(frame, draft, effect)
    except NoPlaybookFileError as error:
        effect.failed[str(error)] += 1
    return effect.records - before


if __name__ == "__main__":
    answer_all(Worker().answer, NICENESS)
