"""A member for tests: a real engine and node on a log that several members share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

from nextbest.core import Engine
from nextbest.core.errors import LogAwayError, LogFailedError, NextbestError
from nextbest.core.playbook.plan import (
    Aggregate,
    Attribute,
    Counter,
    Event,
    Field,
    Plan,
    ValueType,
)
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import Log, Position
from nextbest.server.log.node import Node
from nextbest.v1 import event_pb2, profile_pb2

PLAN = Plan(
    hash=bytes(16),
    attributes=(Attribute("name", ValueType.STRING),),
    events=(Event("view", (Field("time", ValueType.TIMESTAMP),)),),
    counters=(Counter("views", bytes(16), event=0, aggregate=Aggregate.COUNT),),
)
APPLIED, LOGGED, REPLICATED = 1, 2, 3
WITHIN_S = 5.0
# Short enough that a test ends soon.
LIMITS = Limits(pulse_ms=50, read_wait_ms=20, heal_ms_max=50, lease_ms=300)


def now_us() -> int:
    return time.time_ns() // 1_000


# When events happened, unless a test says otherwise.
AT_US = now_us() - 3_600_000_000


class Member:
    """An engine, its node, and callers whose writes wait for the log."""

    def __init__(
        self,
        log: Log,
        name: str = "a",
        *,
        writes_max: int = 10_000,
        seed: int = 1,
        clock: Callable[[], int] = now_us,
        node_type: type[Node] = Node,
        snapshots: Any = None,
        process: int = 0,
        plan: Plan = PLAN,
        **limits: int,
    ) -> None:
        self.engine = Engine(profiles_max=10_000)
        self.engine.publish(plan)
        self.engine.attach_log(writes_max)
        self.clock = clock
        self.announced: list[bytes] = []
        self.node = node_type(
            self.engine,
            log,
            name,
            now_us=clock,
            announced=self.announced.append,
            limits=replace(LIMITS, **limits),
            snapshots=snapshots,
            process=process,
            random=Random(f"{name}{seed}"),
        )
        self._tokens = count(1)
        self._calls: dict[int, asyncio.Future[bytes]] = {}

    async def start(self) -> None:
        asyncio.get_running_loop().add_reader(self.engine.completed_fd, self._answer)
        await self.node.start()

    async def stop(self, grace_s: float = 0.5) -> int:
        left = await self.node.stop(grace_s)
        asyncio.get_running_loop().remove_reader(self.engine.completed_fd)
        return left

    async def track(
        self, event_id: str, person: str = "ann", ack: int = LOGGED, at_us: int = AT_US
    ) -> event_pb2.TrackResponse:
        request = event_pb2.TrackRequest(event_id=event_id, event="view")
        request.ack = ack  # type: ignore[assignment]
        request.identity.id = person
        request.occurred_at.FromMicroseconds(at_us)
        token = next(self._tokens)
        answer = self.engine.track(request.SerializeToString(), self.clock(), token)
        if answer is None:
            answer = await self._waits(token)
        return event_pb2.TrackResponse.FromString(answer)

    async def write(self, event_id: str, ack: int = LOGGED) -> event_pb2.TrackResponse:
        """Track it until the log has it, as a client does: a busy machine is slow."""
        while True:
            try:
                return await self.track(event_id, ack=ack)
            except (LogFailedError, LogAwayError):
                await asyncio.sleep(0.01)

    async def erase(self, person: str) -> None:
        request = profile_pb2.EraseProfileRequest(write_id=f"erase-{person}")
        request.identity.id = person
        token = next(self._tokens)
        if self.engine.erase(request.SerializeToString(), self.clock(), token) is None:
            await self._waits(token)

    async def _waits(self, token: int) -> bytes:
        self._calls[token] = asyncio.get_running_loop().create_future()
        try:
            return await self._calls[token]
        finally:
            del self._calls[token]

    def views(self, person: str = "ann") -> int:
        request = profile_pb2.GetProfileRequest()
        request.identity.id = person
        answer = profile_pb2.GetProfileResponse.FromString(
            self.engine.profile(request.SerializeToString(), self.clock())
        )
        return int(answer.profile.counters["views"].value.int_value)

    @property
    def position(self) -> Position:
        return self.node.context.here

    async def until(self, state: str, within_s: float = WITHIN_S) -> None:
        await eventually(lambda: self.node.state == state, within_s)

    def _answer(self) -> None:
        while (done := self.engine.completed(self.clock())) is not None:
            token, answer = done
            call = self._calls[token]
            if isinstance(answer, NextbestError):
                call.set_exception(answer)
            else:
                call.set_result(answer)


async def eventually(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Wait until something holds; fails when it does not in time."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, "not in time"
        await asyncio.sleep(0.005)


async def equal(*members: Member) -> None:
    """Wait until members stand at one position with nothing ahead, and compare their digests."""
    await eventually(
        lambda: (
            all(member.node.ahead == 0 for member in members)
            and len({member.position for member in members}) == 1
        )
    )
    await eventually(lambda: len({member.engine.digest() for member in members}) == 1)


@asynccontextmanager
async def following(*members: Member) -> AsyncIterator[None]:
    """The members, once they follow the log, until the block ends."""
    for member in members:
        await member.start()
    try:
        for member in members:
            await member.until("following")
        yield
    finally:
        for member in members:
            await member.stop(0)
