"""The keeper: what makes the engine's memory safe, from recovery to the last entry.

Without a log (`memory:`) there is nothing to keep, and every method says so.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nextbest.server.backend import MEMORY, limits, make_log, place_of, snapshots_folder
from nextbest.server.budgets import budget_statuses
from nextbest.server.clock import now_us
from nextbest.server.config import Config
from nextbest.server.errors import ConfigError
from nextbest.server.folder import Folder
from nextbest.server.log.ledgers import LEDGERS_MAX
from nextbest.server.log.level import LEVELS, LOGGED
from nextbest.server.log.log import Log
from nextbest.server.log.node import Node
from nextbest.server.log.snapshot import Snapshots
from nextbest.server.log.taker import Taker
from nextbest.server.peers import Peers
from nextbest.server.publisher import Publisher
from nextbest.server.recovery import LOOK_S, STUCK, Recovery
from nextbest.v1 import decision_pb2, log_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.server.catalogue import Catalogue

# A digest is summed again when something was applied meanwhile.
DIGEST_TRIES = 10
# How long an erasure waits for what other nodes have written.
CATCH_UP_S = 1.0

_log = logging.getLogger(__name__)


class Keeper:
    """Owns the log's node and the snapshots, from the start to the stop."""

    def __init__(
        self, config: Config, engine: Engine, catalogue: Catalogue, publisher: Publisher
    ) -> None:
        self._config = config
        self._engine = engine
        self._catalogue = catalogue
        self._publisher = publisher
        self._place = place_of(config)
        self._folder: Folder | None = None
        self._log: Log | None = None
        self._recovery: Recovery | None = None
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
        settings = self._config.log
        if self._place.kind == "memory":
            if settings.ack not in ("", "applied"):
                seen = f"log.ack: {settings.ack}"
                raise ConfigError([f"{seen}, allowed: applied, without --data or --log"])
            self.recovered = True
            return
        data = self._config.data.folder
        self._folder = folder = Folder(Path(data) if data else None)
        ack = LEVELS[settings.ack] if settings.ack else LOGGED
        self._engine.attach_log(settings.waiting_max, default_ack=ack)
        self._log = log = make_log(self._place, self._config)
        member = settings.member or folder.member()
        snapshots = self._snapshots()
        peers = Peers(log, snapshots, member, settings.peers) if snapshots else None
        self._recovery = recovery = Recovery(
            self._engine, self._publisher, log, snapshots, peers, settings.start_ms
        )
        head = await recovery.restore()
        self.node = node = self._node(log, member)
        if head is not None:
            node.restore(head)
            self.recovered = True
        if folder.has_followed(self._place.text):
            node.expect_log()
        await node.start()
        self._tasks = [
            asyncio.create_task(self._publisher.run()),
            asyncio.create_task(self._check(node, recovery, failed)),
        ]
        await recovery.follow(node)
        if node.state == "following":
            self._followed()
        if not await self._publisher.settled(settings.start_ms / 1_000):
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
        if self._recovery is not None:
            self._recovery.close()
        if self._folder is not None:
            self._folder.close()

    async def _check(
        self, node: Node, recovery: Recovery, failed: Callable[[Exception], None]
    ) -> None:
        """What could not be known without the log: the first time it is there."""
        try:
            while node.state != "following":
                if node.needs_snapshot:
                    await recovery.check()
                await asyncio.sleep(LOOK_S)
            self._followed()
            await recovery.check()
        except Exception as error:
            failed(error)

    def _followed(self) -> None:
        """The log was followed to its end."""
        self.recovered = True
        if self._folder is not None:
            self._folder.follow(self._place.text)

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

    async def every_member(self, position: tuple[int, int, int], within_s: float | None) -> None:
        """Wait for every node's decisions; see Node.every_member."""
        if self.node is not None:
            await self.node.every_member(position, within_s)

    @property
    def refused_playbooks(self) -> int:
        """How many playbooks of the log this node cannot hold."""
        return len(self._publisher.refused())

    def leads(self) -> bool:
        """Whether this node does what one node does for all."""
        return self.node is not None and self.node.leads

    @property
    def waiting_max(self) -> int:
        """How many writes may wait for the log, of each queue."""
        return self._config.log.waiting_max

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
        budgets = self._engine.budgets(now_us())
        if self.node is None:
            status.budgets.extend(budget_statuses(budgets, None))
        else:
            ledgers = self.node.budgets.ledgers
            status.budgets.extend(budget_statuses(budgets, ledgers, self.node.budgets.state))
            status.budget_ledgers = len(ledgers.known)
            status.budget_ledgers_max = LEDGERS_MAX
        for one, why in self._publisher.refused():
            status.refused_playbooks.add(
                generation=one.number, playbook_hash=one.hash.hex(), why=why
            )
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

    def _node(self, log: Log, member: str) -> Node:
        node = Node(
            self._engine,
            log,
            member,
            now_us=now_us,
            announced=self._publisher.announced,
            passed=self._publisher.passed,
            limits=limits(self._config),
            snapshots=self.taker,
            address=self._config.log.advertise,
            process=secrets.randbits(63) + 1,
        )
        if self.taker is not None:
            self.taker.attach(node)
        self._publisher.ledgers = node.budgets.ledgers
        return node

    def _snapshots(self) -> Snapshots | None:
        folder = snapshots_folder(self._config)
        if folder is None:
            _log.warning("log: no data.folder, no snapshots: the log is never trimmed")
            return None
        snapshots = Snapshots(folder, self._config.log.aside_days)
        self.taker = Taker(snapshots, self._engine, self._catalogue.mutations)
        return snapshots
