"""The keeper: what makes the engine's memory safe, from recovery to the last entry.

Without a log (`memory:`) there is nothing to keep, and every method says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nextbest.server.config import Config
from nextbest.server.errors import ConfigError, DataError, RecoveryError
from nextbest.server.log.branch import FETCH, lies_on
from nextbest.server.log.contents import position_from, unpack
from nextbest.server.log.entry import DamagedEntryError
from nextbest.server.log.level import LEVELS, LOGGED
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import (
    BEFORE,
    Log,
    LogAwayError,
    LogError,
    LogInUseError,
    LogPlaceError,
    Record,
)
from nextbest.server.log.network import network
from nextbest.server.log.node import Node
from nextbest.server.log.place import DATABASE, SNAPSHOTS, Place, parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.snapshot import Snapshot, Snapshots
from nextbest.server.log.sqlite import SqliteLog
from nextbest.server.log.taker import Taker, load_rest, restore_rows
from nextbest.server.publisher import Publisher
from nextbest.server.rpc.clock import now_us
from nextbest.v1 import decision_pb2, log_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.server.catalogue import Catalogue

MEMORY = "memory:"
# What waiting for the log does not help.
STUCK = {"reset", "incompatible"}
# Names, in the data folder, the log that was followed from there.
FOLLOWED = "followed"
# A digest is summed again when something was applied meanwhile.
DIGEST_TRIES = 10
# How often the start says how far it is, and health is looked at.
TELL_S = 2.0
LOOK_S = 0.1
CONNECT_S = 0.5
# How long an erasure waits for what other nodes have written.
CATCH_UP_S = 1.0
# A disk may pause longer than a network, and nobody else has the log.
SQLITE_ANSWER_MS = 1_000

_log = logging.getLogger(__name__)


class Keeper:
    """Owns the log's node, the snapshots, and the data folder's lock."""

    def __init__(
        self, config: Config, engine: Engine, catalogue: Catalogue, publisher: Publisher
    ) -> None:
        self._config = config
        self._engine = engine
        self._catalogue = catalogue
        self._publisher = publisher
        self._place = place_of(config)
        self._lock = -1
        self._log: Log | None = None
        self._unchecked: Snapshot | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.node: Node | None = None
        self.taker: Taker | None = None
        # Whether a snapshot, or the log to its end, was applied.
        self.recovered = False

    async def start(self, failed: Callable[[Exception], None]) -> None:
        """Bring back what was kept, and follow the log; returns when its end is reached.

        A log that stays away is waited for `log.start_ms`; then what the snapshot holds has to
        do.  `failed` is called when the server must not go on.  Raises LogInUseError,
        LogPlaceError, DataError, ConfigError, SnapshotFormatError and RecoveryError.
        """
        if self._place.kind == "memory":
            if self._config.log.ack not in ("", "applied"):
                seen = f"log.ack: {self._config.log.ack}"
                raise ConfigError([f"{seen}, allowed: applied, without --data or --log"])
            self.recovered = True
            return
        settings = self._config.log
        if self._config.data.folder:
            self._lock = lock_folder(Path(self._config.data.folder))
        ack = LEVELS[settings.ack] if settings.ack else LOGGED
        self._engine.attach_log(settings.waiting_max, default_ack=ack)
        self._log = log = make_log(self._place, self._config)
        snapshots = self._snapshots()
        snapshot = await self._restore(log, snapshots) if snapshots else None
        if snapshots is None:
            _log.warning("log: no data.folder, no snapshots: the log is never trimmed")
            if await self._connected(log):
                await self._require_whole(log)
        self.node = node = self._node(log)
        if snapshot is not None:
            node.restore(snapshot.head.members, snapshot.head.lease)
            self.recovered = True
            if self._unchecked is None:
                snapshot.close()
        if self._followed:
            node.expect_log()
        await node.start()
        self._tasks = [
            asyncio.create_task(self._publisher.run()),
            asyncio.create_task(self._check_later(failed)),
        ]
        await self._follow(node)
        if not await self._publisher.settled(self._config.log.start_ms / 1_000):
            _log.warning("recovery: a playbook of the log is still being compiled")

    async def stop(self, grace_s: float) -> None:
        """Give the log what it lacks, and let go of everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.node is not None:
            await self.node.stop(grace_s)
        elif self._log is not None:
            await self._log.close()
        if self.taker is not None:
            self.taker.snapshots.close()
        if self._unchecked is not None:
            self._unchecked.close()
        if self._lock >= 0:
            os.close(self._lock)

    @property
    def serving(self) -> bool:
        """Whether decisions here are as fresh as `log.stale_ms_max` asks for."""
        if not self.recovered:
            return False
        most = self._config.log.stale_ms_max
        return not most or self.staleness_ms <= most

    @property
    def writable(self) -> bool:
        """Whether writes can be expected to reach the log."""
        return self.node is None or self.node.state == "following"

    @property
    def away(self) -> bool:
        """Whether waiting for the log is of no use, or was of none."""
        return not self.recovered or (self.node is not None and self.node.state in STUCK)

    async def catch_up(self) -> None:
        """Have all here that any node has acknowledged by now; raises what `Node.catch_up` does."""
        if self.node is not None:
            await self.node.catch_up(CATCH_UP_S)

    def leads(self) -> bool:
        """Whether this node does what one node does for all."""
        return self.node is not None and self.node.leads

    @property
    def staleness_ms(self) -> int:
        """How long ago the log's end was known to be here."""
        header = decision_pb2.DecideResponse.FromString(self._engine.header(now_us()))
        return header.staleness_ms

    async def status(self, digest: bool) -> log_pb2.GetLogStatusResponse:
        """How log, node and snapshots are; without what every answer says."""
        digests = await self._digests() if digest else (0, 0)
        status = self._status()
        status.digest_events, status.digest_rows = digests
        status.parked = len(self._engine.parked_mutations())
        return status

    async def _digests(self) -> tuple[int, int]:
        """The digests of one position; 0 where writes came whenever they were summed."""
        for _ in range(DIGEST_TRIES):
            before = self._moment()
            # It reads every row, and lets go of the interpreter meanwhile.
            digests = await asyncio.to_thread(self._engine.digest)
            if self._moment() == before:
                return digests
        return 0, 0

    def _moment(self) -> tuple[tuple[int, int, int], int]:
        """What changes with whatever is applied."""
        return self._engine.position, self.node.ahead if self.node is not None else 0

    def _status(self) -> log_pb2.GetLogStatusResponse:
        if self.node is None:
            return log_pb2.GetLogStatusResponse(
                kind="memory",
                place=MEMORY,
                state="following",
                replicated_refused="this server keeps no log",
            )
        status = self.node.status()
        if self.taker is not None and (last := self.taker.last):
            epoch, sequence, nonce = last.position
            status.snapshot.epoch, status.snapshot.sequence = epoch, sequence
            status.snapshot.nonce = nonce
            status.snapshot_at_us = last.taken_at_us
        return status

    def _node(self, log: Log) -> Node:
        member = self._config.log.member or self._member()
        node = Node(
            self._engine,
            log,
            member,
            now_us=now_us,
            announced=self._publisher.announced,
            passed=self._publisher.passed,
            limits=limits(self._config),
            snapshots=self.taker,
        )
        if self.taker is not None:
            self.taker.attach(node)
        return node

    def _snapshots(self) -> Snapshots | None:
        folder = snapshots_folder(self._config)
        if folder is None:
            return None
        snapshots = Snapshots(folder)
        self.taker = Taker(snapshots, self._engine, self._catalogue.mutations)
        return snapshots

    async def _restore(self, log: Log, snapshots: Snapshots) -> Snapshot | None:
        """The newest snapshot that is whole and of the surviving history, loaded."""
        there = await self._connected(log)
        while True:
            snapshot = await asyncio.to_thread(snapshots.newest_valid)
            if snapshot is None:
                break
            try:
                if not there or await _is_of(log, snapshot):
                    await self._load(snapshot)
                    self._unchecked = None if there else snapshot
                    return snapshot
            except LogAwayError:
                # It went away in between: the snapshot is loaded, and checked later.
                snapshot.close()
                there = False
                continue
            except BaseException:
                snapshot.close()
                raise
            await asyncio.to_thread(snapshots.set_aside, snapshot, "lost")
        if there:
            await self._require_whole(log)
        return None

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

    async def _connected(self, log: Log) -> bool:
        """Whether the log is there within the time that a start has for it."""
        try:
            async with asyncio.timeout(self._config.log.start_ms / 1_000):
                while True:
                    try:
                        await log.connect()
                        return True
                    except (LogInUseError, LogPlaceError):
                        raise
                    except LogError as error:
                        _log.warning("recovery: waiting for the log: %s", error)
                        await asyncio.sleep(CONNECT_S)
        except TimeoutError:
            return False

    async def _require_whole(self, log: Log) -> None:
        """Without a snapshot the log must be there from its first entry."""
        try:
            first = await log.first()
        except LogAwayError:
            return
        if first is not None and not _is_the_first(first):
            raise RecoveryError(
                f"log: begins at {first.epoch}-{first.sequence}, what came before was trimmed, and "
                f"there is no valid snapshot: {FETCH}"
            )

    async def _follow(self, node: Node) -> None:
        """Until the log's end is here, or the time for it is over."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._config.log.start_ms / 1_000
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
                    deadline_s = loop.time() + self._config.log.start_ms / 1_000
            if node.state in STUCK:
                _log.error("recovery: %s: %s", node.state, node.status().reason)
                return
            if loop.time() > deadline_s:
                _log.warning("recovery: the log is not followed yet; going on without")
                return
            await asyncio.sleep(LOOK_S)
        self._recover()

    def _recover(self) -> None:
        """The log was followed to its end: when it is empty the next time, it was wiped."""
        self.recovered = True
        if self._followed or not self._config.data.folder:
            return
        try:
            (Path(self._config.data.folder) / FOLLOWED).write_text(self._place.text, "utf-8")
        except OSError as error:
            _log.warning("log: that it was followed is not kept: %s", error)

    @property
    def _followed(self) -> bool:
        """Whether a start before this one has followed this log."""
        path = Path(self._config.data.folder or ".") / FOLLOWED
        try:
            return bool(self._config.data.folder) and path.read_text("utf-8") == self._place.text
        except (OSError, ValueError):
            return False

    async def _check_later(self, failed: Callable[[Exception], None]) -> None:
        """What could not be known without the log: the first time it is there, and so on."""
        node = self.node
        assert node is not None
        while node.state != "following":
            await asyncio.sleep(LOOK_S)
        self._recover()
        snapshot, log = self._unchecked, self._log
        if snapshot is None or log is None:
            return
        while True:
            try:
                if await _is_of(log, snapshot):
                    break
                assert self.taker is not None
                self.taker.snapshots.set_aside(snapshot, "lost")
                failed(RecoveryError(f"{snapshot.path}: of a branch that the log has lost"))
                return
            except LogError:
                await asyncio.sleep(CONNECT_S)
        snapshot.close()
        self._unchecked = None

    def _member(self) -> str:
        """The host's name and a chance part, which stays the same with a data folder."""
        made = f"{socket.gethostname()[:80]}:{secrets.token_hex(4)}"
        if not self._config.data.folder:
            return made
        path = Path(self._config.data.folder) / "member"
        try:
            if path.exists():
                return path.read_text("utf-8").strip() or made
            path.write_text(made + "\n", "utf-8")
        except (OSError, ValueError) as error:
            _log.warning("log: this node's name is not kept: %s", error)
        return made


def lock_folder(folder: Path) -> int:
    """A descriptor that keeps other processes out of a data folder, which is made if need be.

    The log's file has a lock of its own besides.  Raises DataError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataError(f"data.folder: {folder}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        why = "in use by another process" if error.errno == errno.EWOULDBLOCK else error.strerror
        raise DataError(f"data.folder: {folder}: {why}") from error
    return lock


def place_of(config: Config) -> Place:
    """Where the log is."""
    folder = config.data.folder
    default = f"sqlite:{Path(folder) / DATABASE}" if folder else MEMORY
    return parse(config.log.place or default)


def snapshots_folder(config: Config) -> Path | None:
    """Where snapshots are; None where none are taken."""
    if config.data.folder:
        return Path(config.data.folder) / SNAPSHOTS
    place = place_of(config)
    return Path(place.path).with_name(SNAPSHOTS) if place.kind == "sqlite" else None


def make_log(place: Place, config: Config) -> Log:
    """The log at a place that has one.  Raises LogPlaceError."""
    if place.kind == "sqlite":
        return SqliteLog(place.path, config.log)
    return RedisLog(network(place, config.log), config.log)


def limits(config: Config) -> Limits:
    """What a node may take, as it is configured."""
    log = config.log
    usual_ms = SQLITE_ANSWER_MS if place_of(config).kind == "sqlite" else Limits().answer_ms
    return Limits(
        answer_ms=log.answer_ms or usual_ms,
        retain_ms=log.retained_ms,
        retain_bytes_max=log.retained_bytes_max,
        skew_ms_max=log.skew_ms_max,
        member_ms=log.member_ms,
        snapshot_ms=log.snapshot_ms,
        dedupe_span_ms=log.dedupe_span_ms,
        dedupe_max=config.engine.dedupe_max,
    )


def _is_the_first(record: Record) -> bool:
    """Whether nothing ever came before an entry."""
    with contextlib.suppress(DamagedEntryError):
        contents = unpack(record)
        return contents.kind == "open" and position_from(contents.body.previous) == BEFORE
    return False


async def _is_of(log: Log, snapshot: Snapshot) -> bool:
    """Whether all that a snapshot holds is in the log's history.

    An empty log tells nothing: the node will find it reset.  Raises RecoveryError when the log
    has trimmed what would have to be replayed.
    """
    first = await log.first()
    if first is None:
        return True
    start = snapshot.position
    if start != BEFORE and (first.epoch, first.sequence) > start[:2]:
        contents = unpack(first)
        if contents.kind == "open" and contents.body.reseeded:
            return True
        raise RecoveryError(
            f"log: begins at {first.epoch}-{first.sequence}, behind where {snapshot.path.name} "
            f"ends, {start.epoch}-{start.sequence}: {FETCH}"
        )
    for position in (start, snapshot.end):
        if position != BEFORE and not await lies_on(log, position):
            return False
    return True
