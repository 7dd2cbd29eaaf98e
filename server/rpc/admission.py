"""Admission: how much grpc.aio's calls may ask of the loop, by how long calls wait to be begun.

The ladder is the fast lane's but for its first step: asyncio cannot leave a call with its client.
Calls wait within gRPC, which hands them to the loop one by one and does not say since when it has
them.  So the server asks itself for its health now and then, over gRPC as anybody would: what
that takes is what a call waits that comes now, on a connection without a queue of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextbest.core.errors import OverloadedError
from nextbest.core.lane.settings import OverloadBounds
from nextbest.server.overload import Load
from nextbest.server.rpc.not_begun import NOT_BEGUN, NotBegun

if TYPE_CHECKING:
    from nextbest.core.engine import Call

# A generated stub has no types.
_HEALTH: Any = health_pb2_grpc.HealthStub
WAIT_S_MAX = 1.0
# A call takes some ten times as long here as on the fast lane, and Python's collector and others
# who want the core make it late by themselves: its waits may be so many times as long.
SLOWER = 5
# For so many calm looks a level goes down by one.
CALM_LOOKS = 6
REFUSE = 3
# Why a call is refused.
QUEUE_DELAY = "queue_delay"


class Admission:
    """What calls leave out, and which are refused; for the loop's thread alone but `load`."""

    def __init__(self, bounds: OverloadBounds) -> None:
        self._enabled = bounds.enabled
        waits_ms = (bounds.no_scoring_ms, bounds.fallback_ms, bounds.refuse_ms)
        self._bounds_s = tuple(SLOWER * wait_ms / 1_000 for wait_ms in waits_ms)
        self._calm_s = SLOWER * bounds.target_ms / 2_000
        self._interval_s = bounds.interval_ms / 1_000
        self._retry_ms = bounds.retry_ms
        self._level = self._least = self._pressed = self._calm = 0
        # The share of calls to refuse, and of one what is left of it from those before.
        self._share = self._rest = 0.0
        self._called = False
        self._sheds: Counter[tuple[str, str]] = Counter()
        self.not_begun = NotBegun()

    def begin(self, method: str, call: Call) -> None:
        """Tell a call what it leaves out; raise OverloadedError when it is one too many."""
        self._called = True
        if not self._level and not self._least:
            return
        self._rest += self._share
        if self._rest >= 1:
            self._rest -= 1
            self._sheds[method, QUEUE_DELAY] += 1
            raise OverloadedError(self._retry_ms)
        call.leave = max(min(self._level, REFUSE - 1), self._least)

    def leave_at_least(self, level: int) -> None:
        """Leave out what that level does, 0 to 2, whether calls wait or not."""
        self._least = level

    def load(self) -> Load:
        """What is taken on and was refused; any thread may ask."""
        sheds = dict(self._sheds)
        if count := self.not_begun.count():
            sheds["", NOT_BEGUN] = count
        return Load(max(self._level, self._least), sheds)

    async def run(self, address: str) -> None:
        """Look while calls come, until cancelled; `address` is the server's own."""
        async with grpc.aio.insecure_channel(address) as channel:
            health = _HEALTH(channel).Check
            while self._enabled:
                await asyncio.sleep(self._interval_s)
                if self._called or self._level:
                    self._called = False
                    self.look(await _waited(health))

    def look(self, wait_s: float) -> None:
        """A call that came just now has waited so long."""
        wanted = sum(wait_s > bound_s for bound_s in self._bounds_s)
        # A queue that a burst made goes by itself.
        self._pressed = self._pressed + 1 if wanted else 0
        if self._pressed > 1:
            self._level = max(self._level, wanted)
        self._share = 1 - self._bounds_s[-1] / wait_s if self._level == wanted == REFUSE else 0.0
        self._calm = 0 if wanted else self._calm + (wait_s <= self._calm_s)
        if self._calm == CALM_LOOKS:
            self._calm = 0
            self._level = max(self._level - 1, 0)


async def _waited(health: Any) -> float:
    begin_s = time.monotonic()
    # Not reached: no call is in its way.  Not answered: it has waited for as long.
    with contextlib.suppress(grpc.aio.AioRpcError):
        await health(health_pb2.HealthCheckRequest(), timeout=WAIT_S_MAX)
    return time.monotonic() - begin_s
