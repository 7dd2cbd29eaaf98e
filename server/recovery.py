"""Recovery: what a start begins with, from the newest snapshot to the log's end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from nextbest.server.clock import now_us
from nextbest.server.errors import RecoveryError
from nextbest.server.log.branch import FETCH, lies_on
from nextbest.server.log.contents import position_from, unpack
from nextbest.server.log.entry import DamagedEntryError
from nextbest.server.log.log import (
    BEFORE,
    Log,
    LogAwayError,
    LogError,
    LogInUseError,
    LogPlaceError,
    Record,
)
from nextbest.server.log.repeats import Repeats
from nextbest.server.log.snapshot import Snapshot, Snapshots
from nextbest.server.log.taker import load_rest, restore_rows
from nextbest.server.peers import NoPeerError, Peers
from nextbest.server.span import span

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.server.log.node import Node
    from nextbest.server.publisher import Publisher
    from nextbest.v1 import log_pb2

# What waiting for the log does not help.
STUCK = {"reset", "incompatible"}
# How often the start says how far it is, and the node is looked at.
TELL_S = 2.0
LOOK_S = 0.1
CONNECT_S = 0.5
# Members have said by then where they are: a log may be trimmed to its last entry.
HEARD_S = 3.0

_log = logging.getLogger(__name__)


class Recovery:
    """Brings an engine back from the snapshots and the log; `start_ms` is how long it waits for it.

    snapshots: None for a node that keeps none, and so needs the log from its first entry.  peers:
    whom to ask for a snapshot when what is here is not enough; None for nobody.
    """

    def __init__(
        self,
        engine: Engine,
        publisher: Publisher,
        log: Log,
        snapshots: Snapshots | None,
        peers: Peers | None,
        start_ms: int,
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._log = log
        self._snapshots = snapshots
        self._peers = peers
        self._start_s = start_ms / 1_000
        self._repeats = Repeats()
        # Loaded while the log was away: whether it is of the log's history is not known.
        self._unchecked: Snapshot | None = None

    def close(self) -> None:
        """Let go of the snapshot that was not checked."""
        if self._unchecked is not None:
            self._unchecked.close()
            self._unchecked = None

    async def restore(self) -> log_pb2.SnapshotHead | None:
        """Load the newest snapshot that is whole and of the surviving history; gives its head.

        None without one: then the log has to be there from its first entry.  Where it is not, a
        peer's snapshot is fetched.  Raises RecoveryError when none gives one in time,
        LogInUseError, LogPlaceError and SnapshotFormatError.
        """
        with span("recovery.restore"):
            return await self._restored()

    async def _restored(self) -> log_pb2.SnapshotHead | None:
        there = await self._connected()
        try:
            return await self._restore(there)
        except RecoveryError as error:
            if self._peers is None:
                raise
            _log.warning("recovery: %s; the peers are asked", error)
            await self._fetch(self._peers, error)
        return await self._restore(there)

    async def _fetch(self, peers: Peers, lacking: RecoveryError) -> None:
        """Ask the peers again and again while a start has time: they may be starting too."""

        async def fits(head: log_pb2.SnapshotHead, name: str) -> bool:
            return await _is_of(self._log, head, name)

        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        while True:
            try:
                await peers.fetch(fits)
                return
            except (RecoveryError, LogError) as error:
                patience_s = HEARD_S if isinstance(error, NoPeerError) else self._start_s
                if loop.time() >= begun_s + min(patience_s, self._start_s):
                    raise RecoveryError(f"{lacking}; {error}") from error
                self._warn(f"recovery: {error}")
            await asyncio.sleep(CONNECT_S)

    async def _restore(self, there: bool) -> log_pb2.SnapshotHead | None:
        while self._snapshots is not None:
            snapshot = await asyncio.to_thread(self._snapshots.newest_valid)
            if snapshot is None:
                break
            try:
                if not there or await _is_of(self._log, snapshot.head, snapshot.path.name):
                    await self._load(snapshot)
                    return self._loaded(snapshot, there)
            except LogAwayError:
                # It went away in between: the snapshot is loaded, and checked later.
                snapshot.close()
                there = False
                continue
            except BaseException:
                snapshot.close()
                raise
            await asyncio.to_thread(self._snapshots.set_aside, snapshot, "lost")
        if there:
            await self._require_whole()
        return None

    def _loaded(self, snapshot: Snapshot, checked: bool) -> log_pb2.SnapshotHead:
        if checked:
            snapshot.close()
        else:
            self._unchecked = snapshot
        return snapshot.head

    async def follow(self, node: Node) -> None:
        """Wait until the log's end is here, or the time for it is over."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._start_s
        told_s = loop.time()
        while node.state != "following":
            if loop.time() - told_s >= TELL_S:
                told_s = loop.time()
                status = node.status()
                at, end = status.position, status.end
                _log.info(
                    "recovery: %s, at %d-%d of %d-%d",
                    node.state,
                    at.epoch,
                    at.sequence,
                    end.epoch,
                    end.sequence,
                )
                # What moves on is let finish, however long the log is.
                if position_from(at)[:2] < position_from(end)[:2]:
                    deadline_s = loop.time() + self._start_s
            if node.state in STUCK:
                _log.error("recovery: %s: %s", node.state, node.status().reason)
                return
            if loop.time() > deadline_s:
                _log.warning("recovery: the log is not followed yet; going on without")
                return
            await asyncio.sleep(LOOK_S)

    async def check(self) -> None:
        """Once the log is there, see whether what was loaded without it is of its history.

        Raises RecoveryError when it is not, or when the log no longer has what comes behind it:
        then this process has to start again.
        """
        while (snapshot := self._unchecked) is not None:
            try:
                if not await _is_of(self._log, snapshot.head, snapshot.path.name):
                    await self._refuse(snapshot)
            except LogError:
                await asyncio.sleep(CONNECT_S)
            else:
                self.close()

    async def _refuse(self, snapshot: Snapshot) -> None:
        assert self._snapshots is not None
        self._unchecked = None
        await asyncio.to_thread(self._snapshots.set_aside, snapshot, "lost")
        raise RecoveryError(f"{snapshot.path}: of a branch that the log has lost")

    async def _load(self, snapshot: Snapshot) -> None:
        begun_us = now_us()
        await restore_rows(self._engine, snapshot)
        await self._publisher.restore(one.SerializeToString() for one in snapshot.head.playbooks)
        load_rest(self._engine, snapshot, now_us())
        _log.info(
            "recovery: %d people of %s in %.1f s, %.0f MB",
            self._engine.store.profiles,
            snapshot.path.name,
            (now_us() - begun_us) / 1e6,
            snapshot.bytes / 1e6,
        )

    async def _connected(self) -> bool:
        """Whether the log is there within the time that a start has for it."""
        try:
            async with asyncio.timeout(self._start_s):
                while True:
                    try:
                        await self._log.connect()
                        return True
                    except (LogInUseError, LogPlaceError):
                        raise
                    except LogError as error:
                        self._warn(f"recovery: waiting for the log: {error}")
                        await asyncio.sleep(CONNECT_S)
        except TimeoutError:
            return False

    def _warn(self, message: str) -> None:
        if said := self._repeats.say(message, time.monotonic()):
            _log.warning("%s", said)

    async def _require_whole(self) -> None:
        """Without a snapshot the log must be there from its first entry."""
        try:
            first = await self._log.first()
        except LogAwayError:
            return
        if first is not None and not _is_the_first(first):
            raise RecoveryError(
                f"log: begins at {first.epoch}-{first.sequence}, what came before was trimmed, and "
                f"there is no valid snapshot: {FETCH}"
            )


def _is_the_first(record: Record) -> bool:
    """Whether nothing ever came before an entry."""
    with contextlib.suppress(DamagedEntryError):
        contents = unpack(record)
        return contents.kind == "open" and position_from(contents.body.previous) == BEFORE
    return False


async def _is_of(log: Log, head: log_pb2.SnapshotHead, name: str) -> bool:
    """Whether all that a snapshot holds is in the log's history.

    An empty log tells nothing: the node will find it reset.  Raises RecoveryError when the log
    has trimmed what would have to be replayed.
    """
    first = await log.first()
    if first is None:
        return True
    start, end = position_from(head.position), position_from(head.end)
    if start != BEFORE and (first.epoch, first.sequence) > start[:2]:
        contents = unpack(first)
        if contents.kind == "open" and contents.body.reseeded:
            return True
        raise RecoveryError(
            f"log: begins at {first.epoch}-{first.sequence}, behind where {name} "
            f"ends, {start.epoch}-{start.sequence}: {FETCH}"
        )
    for position in (start, end):
        if position != BEFORE and not await lies_on(log, position):
            return False
    return True
