"""An open-loop client: it makes so many calls a second, whatever becomes of them.

Calls go to the nodes in turn; one that failed without a clear refusal is made once more, with the
same id, to the next node.  Everything is recorded in a `History`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import grpc

from nextbest.client.ids import new_id
from nextbest.v1 import common_pb2, decision_pb2, event_pb2
from tests.faults.history import OK, REFUSED, UNKNOWN, History, Place, Write

APPLIED: Final = common_pb2.ACK_LEVEL_APPLIED
LOGGED: Final = common_pb2.ACK_LEVEL_LOGGED
REPLICATED: Final = common_pb2.ACK_LEVEL_REPLICATED

IN_FLIGHT_MAX: Final = 20_000
SETTLE_IN_FLIGHT: Final = 100
# A tick of a millisecond that takes so long is a stall.
STALL_S: Final = 0.02
SETTLE_PAUSE_S: Final = 0.1
_TICK_S: Final = 0.001
_DECIDE: Final = "/nextbest.v1.DecisionService/Decide"
_TRACK: Final = "/nextbest.v1.EventService/Track"
_CHANNEL: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
# Nothing was done, and trying again without a change would be refused again.
_CLEAR: Final = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
}


class Endpoint(NamedTuple):
    """Where a node is reached: its hot calls, and all the others."""

    name: str
    lane: str
    control: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to call, and how."""

    decides_per_s: int = 2_000
    writes_per_s: int = 200
    ack: common_pb2.AckLevel = LOGGED
    # Each of the two attempts has half of it.
    decide_timeout_s: float = 0.2
    write_timeout_s: float = 2.0
    people: int = 1_000
    # Two runs against the same servers need different names.
    prefix: str = "w"


class Failure(NamedTuple):
    """Why an attempt was not acknowledged."""

    outcome: int
    status: str


class Load:
    """Calls from the moment the block is entered until it is left; then nothing is in flight."""

    def __init__(self, nodes: Sequence[Endpoint], plan: Plan, history: History) -> None:
        self.plan = plan
        self.history = history
        self._nodes = list(nodes)
        # One turn for each kind of call: mixed, one kind could always meet the same node.
        self._decide_turn = itertools.cycle(range(len(self._nodes)))
        self._write_turn = itertools.cycle(range(len(self._nodes)))
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._number = itertools.count()

    async def __aenter__(self) -> Self:
        # The stubs ask for serialisers, which these calls do without: they send and get bytes.
        self._channels: list[Any] = [
            grpc.aio.insecure_channel(one.lane, _CHANNEL) for one in self._nodes
        ]
        self._decide = [channel.unary_unary(_DECIDE) for channel in self._channels]
        self._track = [channel.unary_unary(_TRACK) for channel in self._channels]
        self._requests = [_decision(f"p{n}") for n in range(self.plan.people)]
        self._pacer = asyncio.create_task(self._pace())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        for channel in self._channels:
            await channel.close()

    async def stop(self) -> None:
        """Make no more calls, and wait for those in flight."""
        self._stopped = True
        await self._pacer
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def settle(self, timeout_s: float, ack: common_pb2.AckLevel | None = None) -> int:
        """Repeat what is not acknowledged, with the same ids; returns how much still is not."""
        end = time.monotonic() + timeout_s
        await self.stop()
        while open_ := [one for one in self.history.writes if one.outcome != OK]:
            if time.monotonic() > end:
                return len(open_)
            for start in range(0, len(open_), SETTLE_IN_FLIGHT):
                part = open_[start : start + SETTLE_IN_FLIGHT]
                await asyncio.gather(*(self._repeat(one, ack) for one in part))
            await asyncio.sleep(SETTLE_PAUSE_S)
        return 0

    async def _pace(self) -> None:
        """Start what is due each millisecond; being late is recorded, never made up by skipping."""
        begun = time.monotonic()
        decides, writes = 0, 0
        now = begun
        while not self._stopped:
            last, now = now, time.monotonic()
            if now - last > STALL_S:
                self.history.stalls.append((now, now - last))
            due = int((now - begun) * self.plan.decides_per_s)
            for number in range(decides, due):
                self._start(now, begun + number / self.plan.decides_per_s, self._one_decide)
            decides = due
            due = int((now - begun) * self.plan.writes_per_s)
            for number in range(writes, due):
                self._start(now, begun + number / self.plan.writes_per_s, self._one_write)
            writes = due
            await asyncio.sleep(_TICK_S)

    def _start(self, now: float, due_s: float, call: Callable[[], Any]) -> None:
        self.history.late_s_max = max(self.history.late_s_max, now - due_s)
        if len(self._tasks) >= IN_FLIGHT_MAX:
            self.history.not_made += 1
            return
        task = asyncio.create_task(call())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one_decide(self) -> None:
        started = time.monotonic()
        request = self._requests[hash(started) % len(self._requests)]
        failure = Failure(UNKNOWN, "")
        for node in self._two(self._decide_turn):
            try:
                answer = await self._decide[node](request, timeout=self.plan.decide_timeout_s / 2)
            except grpc.aio.AioRpcError as error:
                failure = _failure(error)
                if failure.outcome == REFUSED:
                    break
                continue
            self._decided(answer)
            self.history.decides.add(started, time.monotonic(), OK)
            return
        self.history.decides.failed(failure.status)
        self.history.decides.add(started, time.monotonic(), failure.outcome)

    def _decided(self, answer: bytes) -> None:
        made = decision_pb2.DecideResponse.FromString(answer)
        decides = self.history.decides
        decides.degraded += bool(made.degraded)
        decides.staleness_ms_max = max(decides.staleness_ms_max, made.staleness_ms)

    async def _one_write(self) -> None:
        number = next(self._number)
        person = f"{self.plan.prefix}{number}"
        request = _event(person, self.plan.ack)
        write = Write(number, person, request, time.monotonic())
        self.history.writes.append(write)
        for node in self._two(self._write_turn):
            if await self._attempt(write, node, request) or write.outcome == REFUSED:
                return

    async def _repeat(self, write: Write, ack: common_pb2.AckLevel | None) -> None:
        request = write.request
        if ack is not None:
            message = event_pb2.TrackRequest.FromString(request)
            message.ack = ack
            request = message.SerializeToString()
        write.settled = await self._attempt(write, next(self._write_turn), request)

    async def _attempt(self, write: Write, node: int, request: bytes) -> bool:
        write.attempts += 1
        write.node = node
        try:
            answer = await self._track[node](request, timeout=self.plan.write_timeout_s / 2)
        except grpc.aio.AioRpcError as error:
            write.outcome, write.status = _failure(error)
            write.ended_s = time.monotonic()
            return False
        made = event_pb2.TrackResponse.FromString(answer).position
        write.place = Place(made.epoch, made.sequence, made.nonce)
        write.outcome, write.ended_s = OK, time.monotonic()
        return True

    def _two(self, turn: Iterator[int]) -> Iterator[int]:
        first = next(turn)
        yield first
        yield (first + 1) % len(self._nodes)


def _failure(error: grpc.aio.AioRpcError) -> Failure:
    code = error.code()
    text = f"{code.name}: {error.details()}"[:200]
    return Failure(REFUSED if code in _CLEAR else UNKNOWN, text)


def _decision(person: str) -> bytes:
    identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=person)
    made = decision_pb2.DecideRequest(identity=identity, placements=["sidebar"])
    return made.SerializeToString()


def _event(person: str, ack: common_pb2.AckLevel) -> bytes:
    identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=person)
    made = event_pb2.TrackRequest(event_id=new_id(), identity=identity, event="visit")
    made.properties["page"].string_value = "pricing"
    made.ack = ack
    return made.SerializeToString()
