"""The node: one member's dealings with the log, from connecting to healing.

Decisions and writes never wait for it.  It runs on asyncio alone, and its clocks and chance are
given to it, so that a simulator can run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any, ClassVar

from nextbest.core.errors import PositionNotReachedError
from nextbest.core.errors import UnknownKindError as UnknownMutationError
from nextbest.server.log.ahead import Ahead
from nextbest.server.log.appender import Appender
from nextbest.server.log.backoff import Backoff
from nextbest.server.log.branch import BootstrapError, Branch, DivergedError
from nextbest.server.log.budgets import Budgets
from nextbest.server.log.contents import UnknownKindError
from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.cover import Cover, Schedule, Snapshots
from nextbest.server.log.entry import UnknownFormatError
from nextbest.server.log.epochs import Epochs
from nextbest.server.log.leases import Leases
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import (
    BEFORE,
    LOGGED_QUEUE,
    QUEUES,
    REPLICATED_QUEUE,
    Log,
    LogAwayError,
    LogError,
    LogFullError,
    LogGapError,
    LogInfo,
    LogInUseError,
    LogPlaceError,
    LogResetError,
    Position,
)
from nextbest.server.log.members import Members
from nextbest.server.log.notes import Notes
from nextbest.server.log.own import Own, Passed
from nextbest.server.log.progress import Progress
from nextbest.server.log.pulse import Pulse
from nextbest.server.log.purge import Purge
from nextbest.server.log.reader import Announced, Reader
from nextbest.server.log.reseed import ReseedRefusedError, reseed
from nextbest.server.log.retained import Retained
from nextbest.server.log.standing import Standing
from nextbest.server.log.status import ahead, fill_log, fill_members, fill_node
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

# What an error says of the node, by the first class that fits; "away" for any other.
_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (UnknownFormatError, "incompatible"),
    (UnknownKindError, "incompatible"),
    (UnknownMutationError, "incompatible"),
    (LogResetError, "reset"),
    (LogFullError, "full"),
    (BootstrapError, "lost"),
    (DivergedError, "diverged"),
    (LogGapError, "diverged"),
)
# What a connection that works takes back.
_OF_CONNECTION = ("connecting", "away", "diverged", "lost", "reset", "incompatible")

_log = logging.getLogger(__name__)


class Node:
    """Follows the log with an engine to which a log is attached.

    announced: called with each Publication and Activation read from the log, as a Mutation.
    passed: called with each own batch that the log is known to have; publications in it are not
    announced.
    snapshots: writes snapshots; None for a node that never does, and so never lets the log be
    trimmed while it is a member.  address: where other members can fetch them.  process: a random
    mark of this process, by which another of the same name is found out.  The parts are made by
    the classes named here, so that a test can put another one in.
    """

    appender_type: ClassVar[type[Appender]] = Appender
    branch_type: ClassVar[type[Branch]] = Branch
    budgets_type: ClassVar[type[Budgets]] = Budgets
    coordinator_type: ClassVar[type[Coordinator]] = Coordinator
    cover_type: ClassVar[type[Cover]] = Cover
    epochs_type: ClassVar[type[Epochs]] = Epochs
    leases_type: ClassVar[type[Leases]] = Leases
    own_type: ClassVar[type[Own]] = Own
    pulse_type: ClassVar[type[Pulse]] = Pulse
    reader_type: ClassVar[type[Reader]] = Reader

    def __init__(
        self,
        engine: Engine,
        log: Log,
        member: str,
        *,
        now_us: Callable[[], int],
        announced: Announced,
        passed: Passed = lambda _batch: None,
        limits: Limits | None = None,
        snapshots: Snapshots | None = None,
        address: str = "",
        process: int = 0,
        random: Random | None = None,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = limits or Limits()
        random = random or SystemRandom()
        # What was restored from a snapshot is committed, and stands before all that is kept.
        base = Position(*engine.position)
        self.context = context = Context(
            engine=engine,
            log=log,
            member=member,
            address=address,
            process=process,
            limits=limits,
            now_us=now_us,
            steady_s=steady_s,
            random=random,
            standing=Standing(engine, now_us),
            ahead=Ahead(limits.ahead_bytes_max, random),
            retained=Retained(base, limits.retain_ms, limits.retain_bytes_max),
            progress=Progress(base, limits.lost_ids_max),
        )
        self._told_passed = passed
        self._make_parts(announced, snapshots)
        self.purge = Purge(context)
        self._schedule = Schedule(context, snapshots) if snapshots else None
        self._backoff = Backoff(limits, random)
        self._connecting = asyncio.Lock()
        self._retry = asyncio.Event()
        # What was kept here is ahead of a log on which this node does not stand.
        self._left = False
        self._info = LogInfo("", 0, "the log was not reached yet", 0)
        self._tasks: list[asyncio.Task[None]] = []
        engine.replicated_refused(self._info.replicated_refused)
        if base == BEFORE:
            context.standing.set("blank", "the log was not read to its end yet")

    def _make_parts(self, announced: Announced, snapshots: Snapshots | None) -> None:
        """Tie the parts together, each to those that it needs."""
        context = self.context
        self.members = Members(context.limits.members_max, context.member, context.process)
        self.leases = self.leases_type(context, self.members)
        self.epochs = self.epochs_type(context)
        self.branch = self.branch_type(context, self.epochs)
        self.own = self.own_type(context, self._passed)
        self.appenders = [
            self.appender_type(queue, context, self.epochs, self.own) for queue in range(QUEUES)
        ]
        self.notes = Notes(self.appenders)
        self.coordinator = self.coordinator_type(context, self.members, self.branch, self.notes)
        self.budgets = self.budgets_type(context, self.members, self.coordinator, self.notes)
        self.reader = self.reader_type(
            context,
            self.epochs,
            self.branch,
            self.members,
            self.coordinator,
            self.budgets,
            announced,
            self.own,
            self.leases,
        )
        self.cover = self.cover_type(context)
        self.pulse = self.pulse_type(
            context,
            self.coordinator,
            self.notes,
            self.cover,
            snapshots,
            self.leases,
            self.budgets,
        )
        self.budgets.beats(self.pulse.soon)

    def _passed(self, batch: bytes) -> None:
        self.budgets.passed(batch)
        self._told_passed(batch)

    @property
    def state(self) -> str:
        """What the node is at: "following" when all is well, else as of GetLogStatusResponse."""
        return self.context.standing.state

    @property
    def leads(self) -> bool:
        """Whether this member coordinates: then, and only then, it lets identities expire."""
        return self.coordinator.leads and self.state == "following"

    @property
    def ahead(self) -> int:
        """Mutations applied here that were not read back from the log."""
        return ahead(self.context)

    @property
    def needs_snapshot(self) -> bool:
        """Whether nothing helps but to start again from another member's snapshot."""
        return any(map(self.context.standing.has, ("lost", "astray")))

    def expect_log(self) -> None:
        """An empty log was wiped, and must not be begun anew; before `start`."""
        self.epochs.meet()

    def restore(self, head: log_pb2.SnapshotHead) -> None:
        """Take over what a snapshot says of the other members and of budgets; before `start`."""
        for member in head.members:
            self.members.seen(member, member.name, 0.0)
        self.coordinator.leased(self.context.here, head.lease)
        self.coordinator.format = head.allowed
        self.budgets.restore(head.budgets)

    async def start(self) -> None:
        """Begin to follow the log, which need not be there.

        Raises LogInUseError and LogPlaceError: neither would go away by itself.
        """
        try:
            await self.context.log.connect()
        except (LogInUseError, LogPlaceError):
            raise
        except LogError as error:
            self._failed(error)
        # Snapshots are taken across short outages.
        parts = [self._run(), self._tick(), self.purge.run()]
        if self._schedule:
            parts.append(self._schedule.run())
        self._tasks = [asyncio.create_task(part) for part in parts]

    async def stop(self, grace_s: float) -> int:
        """Give the log what it does not have yet, and let go of it.

        The caller has seen to it that no write comes any more.  Gives how many mutations are
        still ahead after `grace_s`: those that asked for APPLIED alone are lost with this node.
        Where the log has replicas, it is waited for them too: who stops cannot bring back what
        a master loses; when they are not heard of in time, the newest entry is counted as one.
        So it is when the master may have been replaced, and the one in its place is not reached.
        """
        if self.state == "following":
            with contextlib.suppress(LogError, TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.budgets.give_back()
        kept = await self._kept(grace_s)
        left = self.ahead or int(not kept)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.context.standing.set("stopped", "this node stops")
        self._drain()
        await self.context.log.close()
        if left:
            _log.error("log: stopped with %d mutations that the log may not keep", left)
        return left

    async def _kept(self, grace_s: float) -> bool:
        """Wait until the log has all of this node, and stays; False when it is not known to."""
        try:
            async with asyncio.timeout(grace_s):
                while True:
                    await self.context.progress.until(lambda: self._brought, None)
                    # Not between a new connection and what it shows to be lost.
                    async with self._connecting:
                        stays = await self.context.log.stays()
                    if stays and self._brought:
                        return True
                    await asyncio.sleep(self.context.limits.tick_ms / 1_000)
        except TimeoutError:
            return False

    @property
    def _brought(self) -> bool:
        return not self.ahead and self._replicated

    @property
    def _replicated(self) -> bool:
        """Whether all that this node brought to the log is known to be on the replicas."""
        return self.context.progress.committed[:2] >= self.context.ahead.read_back[:2]

    async def reach(self, position: tuple[int, int, int], timeout_s: float) -> None:
        """Wait until the writes of a position are here.

        Raises PositionNotReachedError when they are not in time, and PositionLostError when the
        position is on a branch that was lost.
        """
        engine = self.context.engine
        if not await self.context.progress.until(lambda: engine.reached(position), timeout_s):
            epoch, sequence, _ = position
            raise PositionNotReachedError(
                f"min_position: epoch {epoch}, sequence {sequence}, not here in time"
            )

    async def catch_up(self, timeout_s: float) -> None:
        """Wait until all is here that the log holds by now.

        Raises LogAwayError, and PositionNotReachedError when it is not here in time.
        """
        context = self.context
        end = await context.log.last()
        if end is None or await context.progress.until(
            lambda: context.here[:2] >= (end.epoch, end.sequence), timeout_s
        ):
            return
        raise PositionNotReachedError(
            f"log: epoch {end.epoch}, sequence {end.sequence}, not here in time"
        )

    async def every_member(self, position: tuple[int, int, int], timeout_s: float | None) -> None:
        """Wait until no member decides by a consent without the writes of a position.

        None: for as long as that may take.  Raises MembersBehindError when it is not known in time.
        """
        await self.leases.passed(Position(*position), timeout_s)

    async def reseed(self, force: bool = False) -> Position:
        """Start a wiped log anew from this member; gives the first entry of the new epoch.

        Raises ReseedRefusedError when there is nothing to start anew, or, without `force`, when
        the log has an entry.
        """
        if not any(self.context.standing.has(fault) for fault in ("reset", "lost")):
            raise ReseedRefusedError(f"log: {self.state}, allowed: reset or diverged")
        async with self._connecting:
            opened = await reseed(self.context, self.epochs, self.branch, self.members, force)
        self._retry.set()
        if self._schedule:
            self._schedule.soon()
        return opened

    def status(self) -> log_pb2.GetLogStatusResponse:
        """How the log is, without what every answer says of the engine, and without digests.

        A digest reads every row: that is not for the loop.
        """
        status = log_pb2.GetLogStatusResponse()
        fill_log(
            status, self.context, self._info, max(self.context.progress.end, self.context.here)
        )
        fill_node(status, self.context, self.reader, self.pulse.snapshot)
        status.purged = self.purge.purged
        if (left_ms := self.leases.left_ms) is not None:
            status.lease_left_ms = left_ms
        fill_members(status, self.context, self.epochs, self.members, self.coordinator)
        return status

    async def _run(self) -> None:
        """Connect and follow, again and again."""
        while True:
            try:
                await self._follow()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._failed(error)
            self._retry.clear()
            try:
                async with asyncio.timeout(self._backoff.pause_s()):
                    await self._retry.wait()
            except TimeoutError:
                continue

    async def _tick(self) -> None:
        while True:
            self.context.standing.tick()
            self._look_for_a_twin()
            await asyncio.sleep(self.context.limits.tick_ms / 1_000)

    def _look_for_a_twin(self) -> None:
        """Another process of this name would hold the lease, and allow trimming, in its place."""
        standing, limits = self.context.standing, self.context.limits
        now_s = asyncio.get_running_loop().time()
        if self.members.has_twin(now_s - limits.lease_ms / 1_000):
            name = self.context.member
            standing.set("twin", f"log.member: {name}: another process has this name too")
        else:
            standing.clear("twin")

    async def _follow(self) -> None:
        """Find the way back to the log's history, and go on from there until something fails."""
        context = self.context
        async with self._connecting, asyncio.timeout(context.limits.connect_ms_max / 1_000):
            info = await context.log.connect()
            self.leases.connected()
            context.counts.connects += 1
            try:
                junction = await self.branch.junction()
            except BootstrapError as error:
                await self._hand_over(info, error.foreign)
                raise
            turned = self.branch.turn_back(junction)
            self.coordinator.turn_back(junction.common)
            self.budgets.turn_back(junction.common)
            try:
                context.progress.end = await self.epochs.ensure(info)
            except LogFullError:
                await self.coordinator.make_room()
                raise
        self._connected(info)
        context.ahead.expect()
        await first_failure(self.reader.run(junction.reseeded), self._work(turned > 0))

    async def _hand_over(self, info: LogInfo, foreign: bool) -> None:
        """Give the log what only this node may have: another's snapshot will take its place."""
        context = self.context
        if not self._left:
            self._left = True
            self.branch.leave(foreign)
        self._drain()
        if not context.ahead.mutations:
            return
        _log.warning("log: %d mutations are handed over", context.ahead.mutations)
        self._connected(info)
        await self.epochs.ensure(info)
        context.ahead.all_again(False)
        await self.appenders[LOGGED_QUEUE].hand_over()

    async def _check(self) -> None:
        """See again and again whether REPLICATED can be promised: hosts come, go and change."""
        limits = self.context.limits
        while True:
            refused = bool(self._info.replicated_refused)
            pause_ms = limits.check_refused_ms if refused else limits.check_ms
            await asyncio.sleep(pause_ms / 1_000)
            replicas, why = await self.context.log.self_check()
            if bool(replicas) != bool(self._info.replicas):
                raise LogAwayError(f"replicas: {replicas}, and {self._info.replicas} before")
            self._connected(replace(self._info, replicas=replicas, replicated_refused=why))

    async def _watch(self) -> None:
        """See again and again whether another master has taken this one's place.

        One that was cut off or frozen may take writes for a while yet, even with a replica.
        """
        limits = self.context.limits
        while True:
            if await self.leases.look() is False:
                raise LogAwayError("another master has taken the place of the one connected to")
            await asyncio.sleep(min(limits.watch_ms, limits.consent_lease_ms / 3) / 1_000)

    def _connected(self, info: LogInfo) -> None:
        self._info = info
        self.context.engine.replicated_refused(info.replicated_refused)
        for appender in self.appenders:
            appender.connected(info.replicas)
        self.notes.connected(info.replicas)

    async def _work(self, turned: bool) -> None:
        """Once the log was read to its end: append what it lacks, and then what comes."""
        context = self.context
        end = context.progress.end
        await context.progress.until(lambda: context.here[:2] >= end[:2], None)
        if turned:
            # Others lost the same entries: who waits longer finds them brought back.
            await asyncio.sleep(context.random.uniform(0, context.limits.heal_ms_max) / 1_000)
        await self.pulse.compare_clocks()
        # A master that was cut from its replicas can be read and takes nothing: what it has is
        # perhaps of a branch that the others have left, and not the log's end.
        await self.pulse.beat()
        self._drain()
        context.ahead.all_again(self._info.replicas > 0)
        if context.ahead.waits(LOGGED_QUEUE):
            context.standing.set("slow", f"{context.ahead.mutations} mutations go first")
        self._left = False
        context.standing.clear("blank", *_OF_CONNECTION)
        self._backoff.reset()
        # Without replicas REPLICATED is refused, and nothing goes that way.
        appenders = self.appenders if self._info.replicas else self.appenders[:REPLICATED_QUEUE]
        parts = [self.pulse.run(), self.pulse.answer(), self.pulse.settle()]
        parts += [self._check(), self._watch()]
        parts += self.budgets.parts()
        parts += (appender.run() for appender in appenders)
        await first_failure(*parts)

    def _failed(self, error: Exception) -> None:
        """Close the gate, and let nobody wait for a log that is away."""
        fault = next((fault for kind, fault in _FAULTS if isinstance(error, kind)), "away")
        if not isinstance(error, (LogError, TimeoutError, UnknownMutationError)):
            _log.exception("log: unexpected", exc_info=error)
        self.context.standing.set(fault, str(error) or type(error).__name__)
        # What the last try failed for is no more: an operator would act on it.
        self.context.standing.clear(*(one for one in _OF_CONNECTION if one != fault))
        self._drain()
        self.context.progress.moved()

    def _drain(self) -> None:
        for appender in self.appenders:
            appender.drain()


async def first_failure(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails; the others are cancelled and its error is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
