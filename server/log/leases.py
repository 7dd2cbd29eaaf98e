"""Leases: until when this member may decide by consents, and whom a revocation waits for.

README.md, "Consents", says why that is enough.  All times are of one steady clock, in seconds.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import NamedTuple

from nextbest.core.errors import UNAVAILABLE, PositionLostError
from nextbest.server.log.contents import position_from
from nextbest.server.log.context import Context
from nextbest.server.log.entry import LEASES_FORMAT
from nextbest.server.log.log import LogError, Position
from nextbest.server.log.members import Members
from nextbest.v1 import log_pb2

_NAMES_MAX = 8
# Steady clocks run at rates a little apart: of a lease, what it may last longer on another one.
_RATE = 1 / 30
# How long a wait may take beyond a lease: another master, and who brings back what the last one
# has lost.
_BEYOND_S = 30.0


class MembersBehindError(LogError):
    """Members that may decide without a write have not passed it in time; the write stands."""

    status_code = UNAVAILABLE
    status_reason = "MEMBERS_BEHIND"
    retry_ms = 1_000


class _Other(NamedTuple):
    """Another member's newest heartbeat, and until when the lease may last that it began."""

    position: Position
    until_s: float


class Leases:
    """Renews the own lease, and waits for those of the others."""

    def __init__(self, context: Context, members: Members) -> None:
        self._context = context
        self._members = members
        self._lease_s = context.limits.consent_lease_ms / 1_000
        # A log in a file of one process has one member.
        self._shared = context.log.kind != "sqlite"
        self.until_s = 0.0
        # When the newest heartbeat of ours was sent that was read back on this connection, and when
        # those were asked who then named the master connected to.
        self._came_s = self._stays_s = -inf
        # When they first had named it; and until when a new epoch's tail may be brought back.
        self._settled_s = inf
        self._held_until_s = -inf
        self._others: dict[tuple[str, int], _Other] = {}
        # Set when a heartbeat is due at once; and whether it asks the others for theirs.
        self.due = asyncio.Event()
        self.asks = False
        self._looking = asyncio.Lock()
        # How many waits came to their end, and how many to their deadline.
        self.passed_waits = self.behind_waits = 0
        if self._shared:
            context.engine.consents_until(0)

    @property
    def left_ms(self) -> int | None:
        """How long consents may hold here yet; None where that has no end."""
        if not self._shared:
            return None
        return max(int((self.until_s - self._context.steady_s()) * 1_000), 0)

    @property
    def longest_s(self) -> float:
        """How long anybody's lease may last from when it began."""
        # Members may be configured differently.  The newest heartbeat of one may be in a tail that
        # was lost, or was not read here yet: it counts as long as its silence may be that.
        known_s = self._members.longest_lease_ms(self._since_ms) / 1_000
        return self._stretched_s(max(self._lease_s, known_s))

    @property
    def wait_s_max(self) -> float:
        """How long a write waits for every member at most."""
        return self.longest_s + _BEYOND_S

    def connected(self) -> None:
        """A new connection: what was seen on the one before proves nothing here."""
        self._came_s = self._stays_s = -inf
        self._settled_s = inf

    def entered(self) -> None:
        """The reader passed to another epoch: who lost a tail has yet to bring it back."""
        self._held_until_s = self._context.steady_s() + self.longest_s

    def came(self, sent_s: float) -> None:
        """A heartbeat of ours was read back: all that the log holds before it is applied."""
        if sent_s >= self._held_until_s:
            self._came_s = max(self._came_s, sent_s)
            self._renew()

    def heard(self, heartbeat: log_pb2.Heartbeat) -> None:
        """A heartbeat was read."""
        context = self._context
        if (heartbeat.member, heartbeat.process) == (context.member, context.process):
            return
        now_s = context.steady_s()
        self._others[heartbeat.member, heartbeat.process] = _Other(
            position_from(heartbeat.position),
            now_s + self._stretched_s(heartbeat.lease_ms / 1_000),
        )
        if len(self._others) > context.limits.members_max:
            self._forget(now_s)
        if heartbeat.asks:
            self.due.set()

    async def look(self) -> bool | None:
        """Ask whether the master connected to stays; see Log.stays."""
        asked_s = self._context.steady_s()
        stays = await self._context.log.stays()
        if stays:
            self._stays_s = max(self._stays_s, asked_s)
            self._settled_s = min(self._settled_s, self._context.steady_s())
            self._renew()
        return stays

    async def passed(self, position: Position, within_s: float | None) -> None:
        """Wait until nobody decides without what lies at a position, which was just accepted.

        At most `wait_s_max`, which None stands for.  Raises MembersBehindError when it is not known
        in time.
        """
        if not self._shared:
            return
        if within_s is None or within_s > self.wait_s_max:
            within_s = self.wait_s_max
        wait = _Wait(position, self._context.steady_s())
        try:
            async with asyncio.timeout(within_s):
                while not await self._is_over(wait):
                    await self._context.progress.until(lambda: False, self._pause_s())
        except TimeoutError:
            self.behind_waits += 1
            raise MembersBehindError(self._why(wait)) from None
        self.passed_waits += 1

    async def _is_over(self, wait: _Wait) -> bool:
        """Whether the wait is over; asks for what is missing."""
        try:
            here = self._context.engine.reached(wait.position)
        except PositionLostError:
            await self._brought_back()
            wait.position, wait.since_s = self._context.here, self._context.steady_s()
            wait.asked = False
            return False
        if not here:
            return False
        if not wait.asked and self._behind(wait.position):
            wait.asked = self.asks = True
            self.due.set()
        if self._stays_s < wait.since_s:
            await self._look_since(wait.since_s)
        return self._stays_s >= wait.since_s and self._out(wait)

    def _out(self, wait: _Wait) -> bool:
        """Whether no lease of anybody is left who has not passed it."""
        now_s = self._context.steady_s()
        # Before, somebody nobody here has heard of may have a lease of an earlier master.
        if now_s < self._settled_s + self.longest_s or self._unleased(wait.position):
            return False
        return now_s >= wait.since_s + self.longest_s or not self._behind(wait.position)

    def _behind(self, position: Position) -> list[str]:
        """Who may have a lease and is not known to have passed a position."""
        now_s = self._context.steady_s()
        return sorted(
            name
            for (name, _), other in self._others.items()
            if other.position[:2] < position[:2] and other.until_s > now_s
        )

    def _unleased(self, position: Position) -> list[str]:
        """Who is of a version before leases, decides as long as it runs and has not passed it."""
        return self._members.behind(position, LEASES_FORMAT, self._since_ms)

    @property
    def _since_ms(self) -> int:
        """Who was not seen since then is gone."""
        return self._context.now_us() // 1_000 - self._context.limits.member_ms

    def _stretched_s(self, lease_s: float) -> float:
        """How long a lease may last on this clock."""
        return lease_s + max(self._context.limits.consent_margin_ms / 1_000, lease_s * _RATE)

    async def _brought_back(self) -> None:
        """The log lost it: wait until all that is kept here is in it again."""
        ahead = self._context.ahead
        newest = ahead.newest
        await self._context.progress.until(lambda: ahead.oldest > newest, None)

    async def _look_since(self, since_s: float) -> None:
        async with self._looking:
            if self._stays_s < since_s:
                try:
                    await self.look()
                except LogError:
                    # The node finds out by itself, and connects again.
                    return

    def _pause_s(self) -> float:
        """Between looks, where nothing is read meanwhile."""
        return self._context.limits.consent_look_ms / 1_000

    def _why(self, wait: _Wait) -> str:
        older = [f"{name} (of a version without leases)" for name in self._unleased(wait.position)]
        names = older + self._behind(wait.position)
        who = ", ".join(names[:_NAMES_MAX]) or "no member by name"
        more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
        epoch, sequence, _ = wait.position
        return (
            f"await_members: not known to be past epoch {epoch}, sequence {sequence}: {who}{more}; "
            "the write stands: repeat it with the same id"
        )

    def _forget(self, now_s: float) -> None:
        """Let go of leases that are over; one too many is waited out, by whoever waits."""
        oldest = min(self._others, key=lambda one: self._others[one].until_s)
        if self._others.pop(oldest).until_s > now_s:
            self._settled_s = max(self._settled_s, now_s)

    def _renew(self) -> None:
        until_s = min(self._came_s, self._stays_s) + self._lease_s
        if until_s > self.until_s and self._shared:
            self.until_s = until_s
            self._context.engine.consents_until(int(until_s * 1_000_000))


class _Wait:
    """A wait for an entry, accepted before `since_s`; `asked`: for everybody's heartbeat."""

    __slots__ = ("asked", "position", "since_s")

    def __init__(self, position: Position, since_s: float) -> None:
        self.position = position
        self.since_s = since_s
        self.asked = False
