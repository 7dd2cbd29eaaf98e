"""Members: who follows the log, as their heartbeats in it show."""

from __future__ import annotations

from typing import NamedTuple

from nextbest.server.log.contents import position_from, position_message
from nextbest.server.log.log import BEFORE, Position
from nextbest.v1 import log_pb2

# One could have been under way when its process died.
TWINS_MIN = 2


class Member(NamedTuple):
    """A member's newest heartbeat, and when it was read, on the loop's clock."""

    position: Position
    snapshot: Position
    format: int
    now_ms: int
    seen_s: float
    address: str = ""
    settled: Position = BEFORE
    lease_ms: int = 0
    # Of its process; 0 where that is not known.
    process: int = 0


class Members:
    """The members by name; at most `members_max`, those longest silent go first.

    own: this member's name; process: the mark of its process, or 0.
    """

    def __init__(self, members_max: int, own: str = "", process: int = 0) -> None:
        self._own = own
        self._process = process
        # Heartbeats of another process of our name, in the log behind our first one: the process
        # before this one is dead, and its heartbeats lie before.
        self._twins = 0
        self._twin_s = 0.0
        self._heard_own = False
        self._members_max = members_max
        self._members: dict[str, Member] = {}
        # By how long leases are: when a member's clock last told of one, under whatever name.
        self._leases: dict[int, int] = {}

    def seen(self, heartbeat: log_pb2.Heartbeat | log_pb2.Member, name: str, now_s: float) -> None:
        """Note a heartbeat, or a member out of a snapshot."""
        if name == self._own and self._process and isinstance(heartbeat, log_pb2.Heartbeat):
            self._hear(heartbeat.process, now_s)
        self._members[name] = Member(
            position_from(heartbeat.position),
            position_from(heartbeat.snapshot),
            heartbeat.format,
            heartbeat.now_ms,
            now_s,
            heartbeat.address,
            position_from(heartbeat.settled),
            heartbeat.lease_ms,
            heartbeat.process if isinstance(heartbeat, log_pb2.Heartbeat) else 0,
        )
        self._lease(heartbeat.lease_ms, heartbeat.now_ms)
        if len(self._members) > self._members_max:
            del self._members[min(self._members, key=lambda one: self._members[one].now_ms)]

    def _lease(self, lease_ms: int, now_ms: int) -> None:
        leases = self._leases
        leases[lease_ms] = max(leases.get(lease_ms, 0), now_ms)
        if len(leases) > self._members_max:
            del leases[min(leases, key=lambda one: one + leases[one])]

    def has_twin(self, since_s: float) -> bool:
        """Whether another process of this member's name was heard, more than once, since then."""
        return self._twins >= TWINS_MIN and self._twin_s >= since_s

    def _hear(self, process: int, now_s: float) -> None:
        if process == self._process:
            self._heard_own = True
        elif process and self._heard_own:
            self._twins += 1
            self._twin_s = now_s

    def seen_s(self, name: str) -> float:
        """When a member's newest heartbeat was read; 0 for one never seen."""
        member = self._members.get(name)
        return member.seen_s if member else 0.0

    def runs(self, name: str, process: int, since_s: float) -> bool:
        """Whether a member's newest heartbeat is of that process, and was read since then."""
        member = self._members.get(name)
        return member is not None and member.process == process and member.seen_s >= since_s

    def alive(self, since_s: float) -> int:
        """How many members were heard since then."""
        return sum(member.seen_s >= since_s for member in self._members.values())

    def since(self, now_ms: int) -> list[Member]:
        """The members whose clock was past a moment at their newest heartbeat."""
        return [member for member in self._members.values() if member.now_ms >= now_ms]

    def smallest_snapshot(self, since_ms: int) -> Position:
        """What every member seen since then can recover from; BEFORE when one has nothing."""
        snapshots = [member.snapshot for member in self.since(since_ms)]
        return min(snapshots, default=BEFORE)

    def smallest_settled(self, since_ms: int) -> Position:
        """Before which entry no member seen since then accepted what the log may lack or lose."""
        return min((member.settled for member in self.since(since_ms)), default=BEFORE)

    def smallest_format(self, since_ms: int) -> int:
        """The newest format that every member seen since then reads."""
        return min((member.format for member in self.since(since_ms)), default=0)

    def longest_lease_ms(self, since_ms: int) -> int:
        """The longest lease that had not ended by then, on the clock of who told of it."""
        lasting = (one for one, now_ms in self._leases.items() if now_ms + one >= since_ms)
        return max(lasting, default=0)

    def behind(self, position: Position, format: int, since_ms: int) -> list[str]:
        """Who of those seen since then reads none so new, and had not applied a position."""
        return sorted(
            name
            for name, member in self._members.items()
            if member.now_ms >= since_ms
            and member.format < format
            and member.position[:2] < position[:2]
        )

    def messages(self) -> list[log_pb2.Member]:
        """The members as the contract has them, by name."""
        return [
            log_pb2.Member(
                name=name,
                position=position_message(member.position),
                snapshot=position_message(member.snapshot),
                format=member.format,
                now_ms=member.now_ms,
                address=member.address,
                settled=position_message(member.settled),
                lease_ms=member.lease_ms,
            )
            for name, member in sorted(self._members.items())
        ]
