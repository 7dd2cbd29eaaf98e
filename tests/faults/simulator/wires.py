"""Hosts and what joins them: delays, cuts, slow hosts and lost replies, all drawn from the seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tests.faults.simulator.loop import Loop, Process

# What a packet takes at least and at most on a quiet network, in seconds.
DELAY_MIN_S = 0.0001
DELAY_SPREAD_S = 0.0004
# What has waited for a cut to heal is sent again within this time: TCP backs off.
AGAIN_S = 0.4


Packet = tuple[Process, Callable[..., object], tuple[Any, ...]]


class Wires:
    """The network between hosts; faults are switched on and off by the scenario."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        # One way each; the value counts how many faults cut it.
        self.cuts: dict[tuple[str, str], int] = {}
        # Seconds added to each packet of a host.
        self.slow: dict[str, float] = {}
        # Hosts that are off: they neither send nor receive, nor refuse.
        self.dark: set[str] = set()
        # Chances, between 0 and 1.
        self.lost_reply = 0.0
        self.repeated = 0.0
        self.late = 0.0
        self.late_s = 0.0
        self._held: list[Wire] = []

    def delay(self, source: str, target: str) -> float:
        random = self.loop.random.random
        if source == target:
            return 0.00002 + random() * 0.00005
        delay = DELAY_MIN_S + random() * DELAY_SPREAD_S
        if self.slow:
            delay += self.slow.get(source, 0.0) + self.slow.get(target, 0.0)
        if self.late and random() < self.late:
            delay += random() * self.late_s
        return delay

    def open(self, source: str, target: str) -> bool:
        return (source, target) not in self.cuts

    def both_open(self, one: str, other: str) -> bool:
        return (one, other) not in self.cuts and (other, one) not in self.cuts

    def cut(self, source: str, target: str) -> None:
        self.cuts[source, target] = self.cuts.get((source, target), 0) + 1

    def heal(self, source: str, target: str) -> None:
        count = self.cuts[source, target] - 1
        if count:
            self.cuts[source, target] = count
            return
        del self.cuts[source, target]
        kept = []
        for wire in self._held:
            if (wire.source, wire.target) == (source, target):
                wire.release()
            else:
                kept.append(wire)
        self._held = kept

    def split(self, side: list[str], rest: list[str], *, one_way: bool = False) -> None:
        for one in side:
            for other in rest:
                self.cut(one, other)
                if not one_way:
                    self.cut(other, one)

    def join(self, side: list[str], rest: list[str], *, one_way: bool = False) -> None:
        for one in side:
            for other in rest:
                self.heal(one, other)
                if not one_way:
                    self.heal(other, one)

    def hold(self, wire: Wire) -> None:
        self._held.append(wire)


class Wire:
    """One direction of one connection: in order, never twice, and held while cut."""

    __slots__ = ("broken", "held", "last", "source", "target", "under_way", "wires")

    def __init__(self, wires: Wires, source: str, target: str) -> None:
        self.wires = wires
        self.source = source
        self.target = target
        self.last = 0.0
        self.held: list[Packet] = []
        # What was sent and has not arrived, oldest first.
        self.under_way: deque[Packet] = deque()
        self.broken = False

    def send(self, process: Process, callback: Callable[..., object], *args: Any) -> None:
        """Run `callback` as `process` on the other side when it gets there."""
        if self.broken:
            return
        wires, loop = self.wires, self.wires.loop
        if wires.cuts and (self.source, self.target) in wires.cuts:
            if not self.held:
                wires.hold(self)
            self.held.append((process, callback, args))
            return
        when = loop.now + wires.delay(self.source, self.target)
        if when > self.last:
            self.last = when
        self.under_way.append((process, callback, args))
        loop.call_for(process, self.last, self._arrive)

    def _arrive(self) -> None:
        """One more has arrived: the oldest, in whatever order the loop runs what is ready."""
        while self.under_way:
            process, callback, args = self.under_way.popleft()
            if process.alive:
                callback(*args)
                return

    def release(self) -> None:
        """The cut is healed: what was held is sent again, a while later."""
        loop = self.wires.loop
        held, self.held = self.held, []
        self.last = max(self.last, loop.now + loop.random.random() * AGAIN_S)
        for process, callback, args in held:
            self.send(process, callback, *args)

    def breaks(self) -> None:
        """Nothing more goes through; what was held is lost."""
        self.broken = True
        self.held.clear()
