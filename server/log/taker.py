"""The taker: writes a node's state to a snapshot, and brings a snapshot's state back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nextbest.server.log.contents import position_from, position_message
from nextbest.server.log.log import BEFORE, Position
from nextbest.server.log.snapshot import KEPT, Snapshot, Snapshots
from nextbest.server.log.snapshot_file import SnapshotError, SnapshotReader
from nextbest.server.span import span
from nextbest.v1 import log_pb2, mutation_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.server.log.node import Node

# How often a long load says how far it is.
TELL_S = 2.0

_log = logging.getLogger(__name__)


class Taken(NamedTuple):
    """A snapshot taken: its file, where replay begins, its size, and how long it took."""

    path: Path
    position: Position
    bytes: int
    took_ms: int


class Kept(NamedTuple):
    """What is known of a snapshot that is kept."""

    path: Path
    position: Position
    taken_at_us: int
    bytes: int


class Taker:
    """Takes snapshots of an engine and its catalogue; `attach` tells it the node.

    playbooks: the catalogue's mutations.
    """

    def __init__(
        self, snapshots: Snapshots, engine: Engine, playbooks: Callable[[], Iterable[bytes]]
    ) -> None:
        self.snapshots = snapshots
        self._engine = engine
        self._playbooks = playbooks
        self._node: Node | None = None
        # The last one that this process took.
        self.taken: Taken | None = None
        self._kept = [one for path in snapshots.paths() if (one := _kept(path))]

    def attach(self, node: Node) -> None:
        """The node whose state it is."""
        self._node = node

    @property
    def newest(self) -> Position:
        """From where on the log has to be kept.

        That is where the oldest snapshot kept begins, so that it can be used when the newest
        turns out to be damaged; BEFORE while there is only one.
        """
        return self._kept[-1].position if len(self._kept) >= KEPT else BEFORE

    @property
    def last(self) -> Kept | None:
        """The newest snapshot."""
        return self._kept[0] if self._kept else None

    async def take(self) -> Taken:
        """Write one.  It becomes valid when the log is known to hold all that is in it.

        Raises SnapshotError, or SnapshotVoidError when the log lost something meanwhile.
        """
        node = self._node
        if node is None:
            raise SnapshotError("snapshot: this server keeps no log")
        try:
            with span("snapshot.take") as made:
                taken = await self._take(node)
                made.set_attribute("nextbest.snapshot.bytes", taken.bytes)
        except Exception:
            node.context.counts.snapshots_failed += 1
            raise
        node.context.counts.snapshots += 1
        return taken

    async def _take(self, node: Node) -> Taken:
        begun_s = time.monotonic()
        mark = node.cover.mark()
        head = self._head(node)
        head.position.CopyFrom(position_message(mark.position))

        async def covered() -> log_pb2.SnapshotHead:
            # The columns first: rows refer to none that comes later.
            self._columns(head)
            head.end.CopyFrom(position_message(await node.cover.settle(mark)))
            return head

        pending = await self.snapshots.write(self._engine.store.stripe, covered)
        path = await pending.commit()
        taken = Taken(path, mark.position, pending.bytes, int((time.monotonic() - begun_s) * 1_000))
        self.taken = taken
        kept = Kept(path, mark.position, head.taken_at_us, pending.bytes)
        self._kept = [kept, *self._kept][:KEPT]
        _log.info("snapshot: %s, %.1f MB in %d ms", path.name, pending.bytes / 1e6, taken.took_ms)
        return taken

    def _head(self, node: Node) -> log_pb2.SnapshotHead:
        """What holds before the first row is copied; later changes are in the log behind it."""
        status = node.status()
        return log_pb2.SnapshotHead(
            epochs=status.epochs,
            horizon_ms=self._engine.store.horizon_ms,
            members=status.members,
            lease=status.lease,
            playbooks=_mutations(self._playbooks()),
            parked=_mutations(self._engine.parked_mutations()),
            erasures=self._engine.erasure_hashes(),
            taken_at_us=node.context.now_us(),
            member=status.member,
            budgets=node.budgets.messages(),
            allowed=node.coordinator.format,
        )

    def _columns(self, head: log_pb2.SnapshotHead) -> None:
        attributes, counters = self._engine.store.columns()
        for attribute in attributes:
            head.attributes.add(name=attribute.name, type=attribute.type, pii=attribute.pii)
        for counter in counters:
            head.counters.add(
                key=counter.key,
                aggregate=counter.aggregate,
                type=counter.type,
                limit=counter.limit,
                window_s=counter.window_s,
                resolution_s=counter.resolution_s,
            )
        head.last_stamp = self._engine.last_stamp


def load_rows(engine: Engine, snapshot: Snapshot) -> None:
    """Bring back what the stripes hold, into an engine without a playbook yet.

    Takes as long as it takes: call it in a thread.  Raises DamagedSnapshotError when the file
    changed since it was verified, and then the engine is of no use.
    """
    store, head = engine.store, snapshot.head
    store.load_columns(head.attributes, head.counters)
    told_s, read = time.monotonic(), 0
    for stripe in snapshot.stripes():
        store.load_stripe(stripe)
        read += len(stripe)
        if time.monotonic() - told_s >= TELL_S:
            told_s = time.monotonic()
            _log.info("snapshot: %d%% loaded", 100 * read // max(snapshot.bytes, 1))
    if lacking := store.load_end():
        _log.info("snapshot: %d links of identities erased while it was taken", lacking)


def load_rest(engine: Engine, snapshot: Snapshot, now_us: int) -> None:
    """Bring back the rest, once the playbooks are: the node stands where the snapshot begins."""
    head = snapshot.head
    for mutation in head.parked:
        engine.park(mutation.SerializeToString())
    if head.horizon_ms:
        # Behind what is parked: it forgets what nothing that waits could count again.
        engine.horizon(head.horizon_ms)
    engine.observe(head.last_stamp, now_us)
    engine.settle_erasures(head.erasures)
    for epoch in head.epochs:
        engine.epoch_opened(epoch.number, epoch.nonce, position_from(epoch.previous))
    engine.advance(snapshot.position, now_us)


async def restore_rows(engine: Engine, snapshot: Snapshot) -> None:
    """As `load_rows`, beside the loop."""
    await asyncio.to_thread(load_rows, engine, snapshot)


def _mutations(data: Iterable[bytes]) -> list[mutation_pb2.Mutation]:
    return [mutation_pb2.Mutation.FromString(one) for one in data]


def _kept(path: Path) -> Kept | None:
    """What a file's head says; None for one that cannot be read."""
    try:
        reader = SnapshotReader(path)
        try:
            head = reader.head()
        finally:
            reader.close()
        size = path.stat().st_size
    except (SnapshotError, OSError):
        return None
    return Kept(path, position_from(head.position), head.taken_at_us, size)
