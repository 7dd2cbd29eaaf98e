"""A run: one draft, its process, and what it has found."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nextbest.core.playbook.plan import Plan
from nextbest.server.clock import now_us
from nextbest.server.helper import Helper, HelperGoneError, HelperLateError
from nextbest.server.record.whatif import Effect
from nextbest.server.shadow.budget import Budget
from nextbest.server.shadow.errors import ShadowGoneError
from nextbest.server.shadow.exchange import (
    Batch,
    Compared,
    Failure,
    NotStarted,
    Reads,
    Start,
    Started,
)
from nextbest.v1 import playbook_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

MODULE = "nextbest.server.shadow.worker"
START_MS_MAX, BATCH_MS_MAX = 60_000, 10_000
# Kinds of refusals, and playbooks, that are told apart.
REASONS_MAX, AGAINST_MAX = 20, 32
# How long a process that died is left alone: doubled each time, until one answers.
RETRY_S, RETRY_S_MAX = 1.0, 60.0

_log = logging.getLogger(__name__)


class Run:
    """Compares decisions that the engine records for it; from one loop.

    compiled: the draft's plan, for `read_plan`.
    """

    def __init__(
        self,
        engine: Engine,
        request: playbook_pb2.PublishPlaybookRequest,
        hash_bytes: bytes,
        compiled: bytes,
        budget: Budget,
        buffer_bytes: int,
    ) -> None:
        self._engine = engine
        self._buffer_bytes = buffer_bytes
        self._compiled = compiled
        self._helper = Helper(MODULE, "shadow")
        # Playbooks that its process knows.
        self._told: set[bytes] = set()
        self._taken_s = time.monotonic()
        self._began_s = time.monotonic()
        self._retry_s = RETRY_S
        self._retry_at_s = 0.0
        self._ended = False
        self._skipped_before = engine.shadow_counts().skipped
        self.request = request
        self.hash = hash_bytes
        self.budget = budget
        self.started_at_us = now_us()
        self.effect = Effect()
        self.against: dict[bytes, int] = {}
        self.decided = 0
        # Of decisions, and with all else.
        self.deciding_s = 0.0
        self.cpu_s = 0.0
        self.fault = ""
        self.restarts = 0
        # Recorded for it, and not decided.
        self.left_out = 0

    @property
    def process(self) -> int:
        """Its process's id; 0 while there is none."""
        return self._helper.process

    @property
    def skipped(self) -> int:
        """Decisions that it was asked for and has left out."""
        return self._engine.shadow_counts().skipped - self._skipped_before + self.left_out

    @property
    def age_s(self) -> float:
        """How long ago it began."""
        return time.monotonic() - self._began_s

    async def open(self) -> None:
        """Start its process, and have the engine record for it; whatever happens, close it then.

        Raises ShadowGoneError.
        """
        try:
            await self._helper.run(self._start)
        except (HelperGoneError, HelperLateError) as error:
            raise ShadowGoneError(f"shadow: {error or 'its process was late'}") from error
        self._engine.shadow(self.budget.asked, self._buffer_bytes)

    def ask(self, share: float) -> None:
        """Change the share that is asked for."""
        self.budget.asked = self.budget.share = share
        self._engine.shadow(share, self._buffer_bytes)

    def close(self) -> None:
        """End it, whatever it is at."""
        self._ended = True
        self._engine.end_shadow()
        self._helper.close()

    async def turn(self, plans: Mapping[bytes, Plan]) -> None:
        """Compare what has come since, as far as the budget reaches.

        plans: of the playbooks that may have decided it, by their hashes.
        """
        left_s = self.budget.left_s()
        if left_s <= 0 or time.monotonic() < self._retry_at_s:
            return
        # With the playbooks, before anything else can be published and decide.
        records, count = self._engine.take_shadow()
        within_s, self._taken_s = time.monotonic() - self._taken_s, time.monotonic()
        if count:
            new = {key: plan for key, plan in plans.items() if key not in self._told}
            decided = await self._compare(records, left_s, new)
            self.left_out += count - decided
        if not self._ended:
            self._engine.limit_shadow(self.budget.pace(count, within_s))

    async def _compare(self, records: bytes, cpu_s: float, new: Mapping[bytes, Plan]) -> int:
        """Have a batch decided; gives how many were."""
        began_s = time.monotonic()
        try:
            compared = await self._helper.run(lambda: self._ask(records, cpu_s, new))
        except (HelperGoneError, HelperLateError) as error:
            self._failed(str(error) or f"it took longer than {BATCH_MS_MAX} ms")
            # It may have worked all the while.
            self.budget.spend(time.monotonic() - began_s, 0)
            return 0
        except asyncio.CancelledError:
            # What had not begun is cancelled when it is closed: that is not the caller's end.
            if not self._ended or _cancelling():
                raise
            return 0
        self._retry_s, self.fault = RETRY_S, ""
        self._told |= new.keys()
        self._add(compared)
        return compared.decided

    def _ask(self, records: bytes, cpu_s: float, new: Mapping[bytes, Plan]) -> Compared:
        """In the helper's thread."""
        if not self._helper.process:
            self.budget.spend(self._start(), 0)
        reads = {
            key: Reads(plan.attributes, plan.counters, plan.budgets) for key, plan in new.items()
        }
        answer = self._helper.ask(Batch(records, cpu_s, reads), BATCH_MS_MAX)
        if isinstance(answer, Compared):
            return answer
        if isinstance(answer, NotStarted):
            self._helper.end()
            raise HelperGoneError("process died")
        raise self._own_fault(answer)

    def _start(self) -> float:
        """Start the process; gives the CPU that it took, which is nobody's decision."""
        answer = self._helper.ask(Start(self._compiled), START_MS_MAX)
        if not isinstance(answer, Started):
            raise self._own_fault(answer)
        self.cpu_s += answer.cpu_s
        return answer.cpu_s

    def _own_fault(self, answer: object) -> HelperGoneError:
        trace = answer.trace if isinstance(answer, Failure) else type(answer).__name__
        _log.error("the shadow failed on our own fault:\n%s", trace)
        self._helper.end()
        return HelperGoneError("it failed on our own fault; the trace is in the server's log")

    def _failed(self, why: str) -> None:
        """Leave the process alone for a while; another one knows no playbooks."""
        if self._ended:
            return
        if not self.fault:
            _log.warning("shadow: its process ended, and is started again: %s", why)
        self.fault = why
        self.restarts += 1
        self._told.clear()
        self._retry_at_s = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)

    def _add(self, compared: Compared) -> None:
        self.effect.merge(compared.effect, REASONS_MAX)
        for hash_bytes, count in compared.against.items():
            self.against[hash_bytes] = self.against.get(hash_bytes, 0) + count
        while len(self.against) > AGAINST_MAX:
            del self.against[next(iter(self.against))]
        self.cpu_s += compared.cpu_s
        self.deciding_s += compared.cpu_s
        self.decided += compared.decided
        self.budget.spend(compared.cpu_s, compared.decided)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
