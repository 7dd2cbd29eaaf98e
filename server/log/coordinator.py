"""The coordinator: the one member that appends what needs order.

The lease is a function of the log alone: the lowest entry of the highest term.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from nextbest.server.log.branch import Branch
from nextbest.server.log.contents import position_from, position_message
from nextbest.server.log.context import Context
from nextbest.server.log.log import BEFORE, QUEUES, Position
from nextbest.server.log.members import Members
from nextbest.server.log.notes import Notes
from nextbest.v1 import log_pb2

_DEDUPE_HIGH = 0.9
# Leases and horizons remembered, in case the log loses the newest.
_LEASES_MAX = _HORIZONS_MAX = 64

_log = logging.getLogger(__name__)


class _Leased(NamedTuple):
    position: Position
    holder: str
    term: int


class _Moved(NamedTuple):
    position: Position
    before_ms: int


class Coordinator:
    """Follows the lease, takes it over, and does the duties of who holds it."""

    def __init__(self, context: Context, members: Members, branch: Branch, notes: Notes) -> None:
        self._context = context
        self._members = members
        self._branch = branch
        self._notes = notes
        self._leases: list[_Leased] = []
        self._asked_term = 0
        self._following_s = 0.0
        self._looked_s = 0.0
        # The horizons of the log, which may have lost one that holds here; never empty.
        self._horizons = [_Moved(context.here, context.engine.store.horizon_ms)]
        # The first one ever, should the log lose it.
        self._first_ms = 0
        self._opened = BEFORE
        self._trim_to = BEFORE
        self._trim_asked = BEFORE
        self._trimmed = BEFORE
        self.format = 0

    @property
    def holder(self) -> str:
        """The member that coordinates; empty when none does yet."""
        return self._leases[-1].holder if self._leases else ""

    @property
    def term(self) -> int:
        """One more for each change of the holder."""
        return self._leases[-1].term if self._leases else 0

    @property
    def leads(self) -> bool:
        """Whether this member coordinates."""
        return self.holder == self._context.member

    def follow(self, now_s: float) -> None:
        """The log is followed from now on: silence counts from here."""
        self._following_s = now_s
        self._asked_term = 0

    def leased(self, position: Position, lease: log_pb2.Lease) -> None:
        """The reader passed a lease."""
        if lease.term <= self.term:
            return
        self._leases.append(_Leased(position, lease.holder, lease.term))
        del self._leases[:-_LEASES_MAX]
        _log.info("log: %s coordinates, term %d", lease.holder, lease.term)

    def horizon(self, position: Position, horizon: log_pb2.Horizon) -> None:
        """The reader passed a horizon: the one entry whose order counts."""
        if horizon.term != self.term:
            return
        self._first_ms = self._first_ms or horizon.before_ms
        self._horizons.append(_Moved(position, horizon.before_ms))
        del self._horizons[:-_HORIZONS_MAX]
        engine = self._context.engine
        engine.horizon(horizon.before_ms)
        self._context.ahead.suspect_all([engine.log_waiting(queue) for queue in range(QUEUES)])

    def opened(self, position: Position) -> None:
        """The reader passed the first entry of an epoch: what was safe in the last may be lost."""
        self._opened = position

    def trim(self, trim: log_pb2.Trim) -> None:
        """The reader passed a permission to trim."""
        if trim.term == self.term:
            self._trim_to = max(self._trim_to, position_from(trim.position))

    def allow(self, allowed: log_pb2.Format) -> None:
        """The reader passed a format that may be written from now on."""
        if allowed.term == self.term:
            self.format = max(self.format, allowed.format)

    def turn_back(self, common: Position) -> None:
        """Forget what lies on the branch that was lost."""
        self._leases = [one for one in self._leases if one.position[:2] <= common[:2]]
        kept = [one for one in self._horizons if one.position[:2] <= common[:2]]
        self._horizons = kept or self._horizons[:1]
        self._trim_to = self._trim_asked = self._trimmed

    async def work(self, now_s: float) -> None:
        """Do what is due, once a second or so."""
        if self._context.standing.has("full"):
            await self.make_room()
        elif not self.leads:
            await self._take_over(now_s)
        elif self._context.standing.state == "following":
            await self._allow_format()
            await self._move_horizon(now_s)
            await self._move_start()

    async def _take_over(self, now_s: float) -> None:
        silent_s = now_s - max(self._members.seen_s(self.holder), self._following_s)
        if self.holder and silent_s < self._context.limits.lease_ms / 1_000:
            return
        if self._asked_term > self.term:
            return
        asked_term = self.term + 1
        lease = log_pb2.Lease(holder=self._context.member, term=asked_term)
        await self._notes.append(lease=lease)
        self._asked_term = asked_term

    async def _move_horizon(self, now_s: float) -> None:
        limits = self._context.limits
        if self._looked_s and now_s - self._looked_s < limits.horizon_ms / 1_000:
            return
        self._looked_s = now_s
        before_ms = self._horizon_due()
        if not before_ms or not await self._all_safe():
            return
        horizon = log_pb2.Horizon(before_ms=before_ms, term=self.term)
        await self._notes.append(horizon=horizon)

    def _horizon_due(self) -> int:
        """Where the horizon should move; 0 when it should not."""
        limits, store = self._context.limits, self._context.engine.store
        now_ms = self._context.now_us() // 1_000
        span_ms = limits.dedupe_span_ms
        if store.remembered >= limits.dedupe_max * _DEDUPE_HIGH:
            span_ms = limits.dedupe_span_ms_min
        target_ms = now_ms - span_ms
        last_ms = self._horizons[-1].before_ms
        # One that the log has lost and that holds here holds for all again, and soon.
        lost = store.horizon_ms > last_ms
        if not lost and (not store.remembered or target_ms <= store.oldest_ms):
            return 0
        if not last_ms:
            # Edges refuse ids up to a step behind it; none may be under way when one is dropped.
            return self._first_ms or int(store.oldest_ms)
        # From the last one, not from the oldest event here: another member may just have accepted
        # one between the two, which its edge lets through up to an hour behind the last one.
        before_ms = min(target_ms, last_ms + limits.horizon_step_ms)
        return before_ms if before_ms > last_ms else 0

    async def _all_safe(self) -> bool:
        """Whether the log keeps the last horizon and all that edges let through before it.

        What it loses behind the next one, too old by then, nobody could bring back.
        """
        since = max(self._horizons[-1].position, self._opened)
        if self._members.smallest_settled(self._since_ms())[:2] < since[:2]:
            return False
        # A master that was replaced may have had a replica still.
        return await self._context.log.stays() is True

    async def _move_start(self) -> None:
        """Append how far to trim; once that was read back, trim."""
        start = self.trim_target()
        if start[:2] > self._trim_asked[:2] and await self._branch.holds(start):
            self._trim_asked = start
            trim = log_pb2.Trim(position=position_message(start), term=self.term)
            await self._notes.append(trim=trim)
        if self._trim_to[:2] > self._trimmed[:2]:
            await self._trim(self._trim_to)

    async def make_room(self) -> None:
        """Trim a full log as far as is safe: it takes no permission, whoever asks."""
        if self._context.standing.has("skewed"):
            # Who was seen within the hour is not known by a wrong clock.
            return
        start = self.trim_target()
        if start[:2] > self._trimmed[:2] and await self._branch.holds(start):
            await self._trim(start)

    async def _trim(self, start: Position) -> None:
        # What was read may be of another branch than the one that is trimmed now.
        if await self._branch.holds(self._context.here):
            await self._context.log.trim(start[:2])
            self._trimmed = start

    def trim_target(self) -> Position:
        """The oldest entry that has to stay."""
        smallest = self._members.smallest_snapshot(self._since_ms())
        return min(smallest, self._context.progress.committed)

    async def _allow_format(self) -> None:
        newest = self._members.smallest_format(self._since_ms())
        if newest > self.format:
            await self._notes.append(format=log_pb2.Format(format=newest, term=self.term))

    def _since_ms(self) -> int:
        return self._context.now_us() // 1_000 - self._context.limits.member_ms
