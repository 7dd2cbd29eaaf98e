"""The simulated world: nodes with the real engine, node and log; Redis, Sentinels, the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from nextbest.core import Engine
from nextbest.core.engine import STRIPES
from nextbest.core.errors import LogFailedError, NextbestError
from nextbest.server.log.branch import lies_on
from nextbest.server.log.contents import Contents, position_from, unpack
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import BEFORE, LogError, Position, Record
from nextbest.server.log.node import Node
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from nextbest.v1 import log_pb2, mutation_pb2
from tests.faults.simulator.features import EVERYTHING, Features
from tests.faults.simulator.loop import Loop, Process
from tests.faults.simulator.network import SimNetwork
from tests.faults.simulator.redis import EPOCH_US, Server
from tests.faults.simulator.sentinel import Sentinel
from tests.faults.simulator.stream import Operation
from tests.faults.simulator.wires import Wires
from tests.faults.simulator.writes import (
    ACTIVATION,
    ANSWERS,
    HOLD_S,
    LOGGED,
    PUBLICATION,
    REPLICATED,
    Plan,
    Seen,
    Write,
    activation,
    look,
    playbooks,
    present,
    propose,
    publication,
    show,
)

HOSTS = ("h1", "h2", "h3")
PORT = 6379
STREAM = b"nextbest"
WRITES_MAX = 200
SNAPSHOTS_KEPT = 2
# How long a start waits for the log.
START_S = 1.0
PUBLISH_TRIES = 10
STOP_S = 1.0
CATCH_UP_S = 0.5
# How long every member is waited for, whoever still waits for the answer.
MEMBERS_S = 3.0
# How often it is looked who may decide by consents.
LEASES_S = 0.02
# How long a read waits for the position of a write.
REACH_S = 0.3
LIMITS = Limits(
    read_wait_ms=600,
    rest_mutations_min=1,
    tick_ms=500,
    pulse_ms=2_000,
    lease_ms=6_000,
    snapshot_ms=5_000,
    settle_ms_max=6_000,
    trim_ms=3_000,
    returns_ms=1_000,
    member_ms=600_000,
)
# Event ids are forgotten after 3 hours: the horizon moves again and again while writes, which are
# up to 6 hours old, go on.
FORGETTING = replace(
    LIMITS,
    horizon_ms=700,
    horizon_step_ms=1_800_000,
    dedupe_span_ms=3 * 3_600_000,
    pulse_ms=500,
)
AGES_S = 6 * 3_600
BACKEND = BackendSettings(trust_build=True, connect_ms=500, timeout_ms=600, wait_ms=300)

Reply = Callable[[str, Any], None]


def limits_of(features: Features) -> Limits:
    """The times of a world's nodes; what nobody needs there is seldom done."""
    limits = FORGETTING if features.ages else LIMITS
    return replace(
        limits,
        backoff_ms_max=int(limits.backoff_ms_max * features.tempo),
        consent_lease_ms=900 if features.consents else 6_000,
        budget_ms=limits.budget_ms if features.budget else 1_000,
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a node's disk holds of its state."""

    position: Position
    end: Position
    epochs: list[tuple[int, int, tuple[int, int, int]]]
    horizon_ms: int
    last_stamp: int
    columns: tuple[Any, Any]
    stripes: list[bytes]
    parked: list[bytes]
    # The hashes published, and the stamp and hash of the newest activation.
    playbooks: tuple[list[bytes], int, bytes]
    members: list[log_pb2.Member]
    lease: log_pb2.Lease
    budgets: list[log_pb2.BudgetLedger]
    allowed: int


class RecoveryError(Exception):
    """The log does not begin at its beginning, and no snapshot here counts."""


class Catalogue:
    """The playbooks a node knows, and which is active: the latest stamp wins."""

    def __init__(self, engine: Engine, plans: Sequence[Plan]) -> None:
        self.engine = engine
        self._plans = {one.hash: one for one in plans}
        first = plans[0]
        self.known: dict[bytes, int] = {first.hash: engine.publish(first)}
        self.stamp = 0
        self.active = first.hash

    def state(self) -> tuple[list[bytes], int, bytes]:
        return list(self.known), self.stamp, self.active

    def restore(self, hashes: list[bytes], stamp: int, active: bytes) -> None:
        for hash in hashes:
            self.publish(hash)
        self.activate(stamp, active)

    def publish(self, hash: bytes) -> None:
        if hash not in self.known:
            self.known[hash] = self.engine.publish(self._plans[hash], active=False)

    def activate(self, stamp: int, hash: bytes) -> None:
        if (stamp, hash) > (self.stamp, self.active):
            self.stamp, self.active = stamp, hash
            self._settle()

    def _settle(self) -> None:
        if self.active in self.known:
            self.engine.activate(self.known[self.active])

    def announced(self, data: bytes) -> None:
        mutation = mutation_pb2.Mutation.FromString(data)
        if mutation.WhichOneof("body") == "publication":
            self.publish(mutation.publication.hash)
            self._settle()
        else:
            self.activate(mutation.stamp, mutation.activation.hash)


class Disk:
    """Writes snapshots of a node and keeps the newest valid ones; what survives its death."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.kept: list[Snapshot] = []
        # Whether the node has ever followed the log.
        self.met = False

    @property
    def newest(self) -> Position:
        """From where on the log has to be kept: for the older one, if there are two."""
        return self.kept[0].position if len(self.kept) >= SNAPSHOTS_KEPT else BEFORE

    async def take(self) -> object:
        machine = self.machine
        node = machine.node
        mark = node.cover.mark()
        made = await self._copy(mark.position)
        end = await node.cover.settle(mark)
        await self._write(made, end)
        machine.loop.note("snapshot", mark.position, "to", end)
        return made

    async def _copy(self, position: Position) -> dict[str, Any]:
        machine, engine = self.machine, self.machine.engine
        copied: dict[str, Any] = {
            "position": position,
            "epochs": engine.epochs(),
            "horizon_ms": engine.store.horizon_ms,
            # Before the stripes: what leaves the parked ones meanwhile is in a stripe or behind.
            "parked": engine.parked_mutations(),
            "playbooks": machine.catalogue.state(),
            "members": machine.node.members.messages(),
            "lease": log_pb2.Lease(
                holder=machine.node.coordinator.holder, term=machine.node.coordinator.term
            ),
            "budgets": machine.node.budgets.messages(),
            "allowed": machine.node.coordinator.format,
        }
        stripes: list[bytes] = []
        stripe, first = engine.store.stripe, 0
        for pause in sorted({machine.loop.random.randrange(STRIPES) for _ in range(3)}):
            stripes += filter(None, map(stripe, range(first, pause + 1)))
            first = pause + 1
            await asyncio.sleep(machine.loop.random.random() * 0.05)
        stripes += filter(None, map(stripe, range(first, STRIPES)))
        copied["stripes"] = stripes
        # Rows refer to no column that comes later.
        copied["columns"] = engine.store.columns()
        copied["last_stamp"] = engine.last_stamp
        return copied

    async def _write(self, made: dict[str, Any], end: Position) -> None:
        """It is on the disk whole, or not at all, when the node dies meanwhile."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._keep, Snapshot(end=end, **made))

    def _keep(self, made: Snapshot) -> None:
        self.kept = [*self.kept[1 - SNAPSHOTS_KEPT :], made]


class Machine:
    """A host that runs one node; the node dies and is started again, the disk stays."""

    node_type: type[Node] = Node
    log_type: type[RedisLog] = RedisLog
    disk_type: type[Disk] = Disk

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.loop = world.loop
        self.name = name
        self.disk = self.disk_type(self)
        self.clock_offset_s = 0.0
        # What it holds of the budget, and until when: that is not known once its clock jumps.
        self.held: list[tuple[str, float]] = []
        self.jumped = False
        # How often it was started.
        self.life = 0
        self.process: Process
        self.network: SimNetwork
        self.engine: Engine
        self.node: Node
        self.catalogue: Catalogue
        self.log: RedisLog
        # Not ready to serve yet; and not able to without another node's snapshot.
        self.recovering = True
        self.lost = False
        self._waiting: dict[int, Reply] = {}
        # Publications of which nobody knows yet whether the log has them.
        self._unsure: set[bytes] = set()
        self._tokens = 0
        # What it shows of everyone at the end, once that was asked.
        self.seen: dict[str, Seen] | None = None

    def __repr__(self) -> str:
        return f"{self.name}.{self.life}"

    @property
    def alive(self) -> bool:
        return self.life > 0 and self.process.alive

    def away_from(self, master: Server | None) -> bool:
        """Whether it has yet to bring what only it has to the master that replaced its own."""
        if self.recovering or master is None:
            return False
        context = self.node.context
        return (
            any(not one.closed and one.server is not master for one in self.network.links)
            or not has(master, self.engine.position)
            or (context.progress.divergences > 0 and context.ahead.answered > 0)
        )

    def now_us(self) -> int:
        return EPOCH_US + int((self.loop.now + self.clock_offset_s) * 1_000_000)

    # Life and death.

    def boot(self) -> None:
        """Start the node; it recovers from its newest snapshot that counts, or from the log."""
        self.life += 1
        self.process = self.loop.process(repr(self))
        self.process.on_fuse = self._died
        self.network = self.world.network_type(
            self.world.wires, self.name, self.world.servers, self.world.sentinels
        )
        self._waiting = {}
        self._unsure = set()
        self.held, self.jumped = [], self.clock_offset_s != 0.0
        self.log = self.log_type(self.network, BACKEND)
        self.engine = Engine(
            profiles_max=200, dedupe_max=4_000, generations_max=4, decisions_max=64
        )
        self.engine.attach_log(WRITES_MAX, default_ack=LOGGED)
        self.recovering = True
        self.loop.note("boot", repr(self))
        self.loop.start(self.process, self._run())

    async def _run(self) -> None:
        try:
            snapshot, checked = await self._recover()
        except RecoveryError as error:
            self.loop.note("needs another node's snapshot:", error)
            self.world.strand(self, str(error))
            self.lost = True
            return
        except LogError as error:
            self.loop.note("does not start:", error)
            self.die()
            self.loop.call_for(self.loop.outside, self.loop.now + 0.2, self._again)
            return
        self.lost = False
        self.node = self.node_type(
            self.engine,
            self.log,
            self.name,
            now_us=self.now_us,
            steady_s=self.loop.time,
            announced=self.catalogue.announced,
            passed=self._passed,
            limits=self.world.limits,
            snapshots=self.disk,
            process=int.from_bytes(repr(self).encode(), "little") % 2**63,
            random=Random(self.loop.random.getrandbits(32)),
        )
        if snapshot is not None:
            self.node.restore(
                log_pb2.SnapshotHead(
                    members=snapshot.members,
                    lease=snapshot.lease,
                    budgets=snapshot.budgets,
                    allowed=snapshot.allowed,
                )
            )
        if self.disk.met:
            # As the data folder says: an empty log was wiped, and is not begun anew.
            self.node.expect_log()
        self.recovering = False
        self.loop.note("recovered at", self.engine.position)
        self.loop.add_reader(self.engine.completed_fd, self._completed)
        try:
            await self.node.start()
        except Exception as error:
            self.loop.call_exception_handler({"message": "start", "exception": error})
        if self.world.features.budget:
            self.loop.start(self.process, self._shop())
        if not checked:
            await self._check_later(snapshot)

    async def _shop(self) -> None:
        """Propose what a budget lets be proposed, now and then, and show two thirds of it."""
        world = self.world
        for number in range(100_000):
            await asyncio.sleep(0.01 + world.shopping.random() * 0.1)
            if self.recovering or not (id := propose(self.engine, self.now_us())):
                continue
            world.proposed += 1
            self.held.append((id, self.loop.now + HOLD_S))
            if world.shopping.random() < 0.67:
                try:
                    show(self.engine, f"shown-{self!r}-{number}", id, self.now_us())
                except NextbestError:
                    continue
                world.shown += 1
                del self.held[-1]
            world.look_at_budget(self)

    def show_orphan(self, id: str, until_s: float) -> None:
        """Track the impression of what a stopped process held; it counts if it is in time."""

        def done(outcome: str, _value: Any) -> None:
            if outcome == "ok" and self.loop.now <= until_s:
                self.world.shown += 1
                self.world.orphans_shown += 1
                self.world.look_at_budget(self)

        if self.alive and not self.recovering and self.node.state == "following":
            self._tokens += 1
            try:
                show(self.engine, f"orphan-{id}", id, self.now_us(), REPLICATED, self._tokens)
            except NextbestError:
                return
            self._waiting[self._tokens] = done

    async def _recover(self) -> tuple[Snapshot | None, bool]:
        """As the server starts: a snapshot must lie on the log's history, once that is there."""
        there = await self._connected()
        while self.disk.kept:
            snapshot = self.disk.kept[-1]
            if not there or await self._is_of(snapshot):
                self.restore(snapshot)
                return snapshot, there
            self.loop.note("set aside: snapshot at", snapshot.position, snapshot.end)
            self.disk.kept.pop()
        self.catalogue = Catalogue(self.engine, self.world.plans)
        if there:
            await self._require_whole()
        return None, True

    async def _connected(self) -> bool:
        try:
            async with asyncio.timeout(START_S):
                while True:
                    try:
                        await self.log.connect()
                        return True
                    except LogError:
                        await asyncio.sleep(0.1)
        except TimeoutError:
            return False

    async def _is_of(self, snapshot: Snapshot) -> bool:
        for position in (snapshot.position, snapshot.end):
            if position != BEFORE and not await lies_on(self.log, position):
                return False
        return True

    async def _require_whole(self) -> None:
        try:
            first = await self.log.first()
        except LogError:
            return
        if first is None:
            return
        found = unpack(first)
        if found.kind != "open" or position_from(found.body.previous) != BEFORE:
            raise RecoveryError(f"the log begins at {first.epoch}-{first.sequence}")

    async def _check_later(self, snapshot: Snapshot | None) -> None:
        """What could not be known while the log was away."""
        while snapshot is not None:
            await asyncio.sleep(0.1)
            if self.node.state != "following":
                continue
            try:
                if await self._is_of(snapshot):
                    return
            except LogError:
                continue
            self.loop.note("set aside: snapshot at", snapshot.position, snapshot.end)
            self.disk.kept.remove(snapshot)
            # The server ends with an error, and is started again.
            self.die()
            self.loop.call_for(self.loop.outside, self.loop.now + 0.2, self._again)

    def _again(self) -> None:
        if not self.alive:
            self.boot()

    def restore(self, snapshot: Snapshot) -> None:
        engine = self.engine
        engine.store.load_columns(*snapshot.columns)
        for data in snapshot.stripes:
            engine.store.load_stripe(data)
        engine.store.load_end()
        if snapshot.horizon_ms:
            engine.horizon(snapshot.horizon_ms)
        self.catalogue = Catalogue(engine, self.world.plans)
        self.catalogue.restore(*snapshot.playbooks)
        for mutation in snapshot.parked:
            engine.park(mutation)
        engine.observe(snapshot.last_stamp, self.now_us())
        for number, nonce, previous in snapshot.epochs:
            engine.epoch_opened(number, nonce, previous)
        engine.advance(snapshot.position, self.now_us())

    def die(self) -> None:
        """kill -9."""
        self.loop.kill(self.process)
        self._died()

    async def stop(self) -> None:
        """An orderly end: what the log does not have is given to it first."""
        self.recovering = True
        left = await self.node.stop(STOP_S)
        self.loop.note(self, "stopped with", left, "ahead")
        self.die()
        if not left:
            self.world.stops.append((self.loop.now, self.name))
            if not self.jumped:
                self.world.show_orphans(self.held)
        after_s = self.loop.random.random() * 2
        self.loop.call_for(self.loop.outside, self.loop.now + after_s, self._again)

    def _died(self) -> None:
        death = (self.loop.now, self.name)
        if self.away_from(self.world.master()):
            self.world.deaths_away[death] = 0.0
        elif self.away_from(self.world.successor()):
            self.world.deaths_away[death] = self.world.promoted_s
        self.network.drop()
        self.disk.met |= self.engine.position[0] > 0
        self.world.deaths.append((self.loop.now, self.name))
        self.loop.note(repr(self), "died at", self.engine.position)

    # Writes.

    def accept(self, write: Write, reply: Reply) -> None:
        """A write arrives; `reply` is called with its outcome and the answer or error."""
        if self.recovering:
            reply("refused", None)
        elif write.kind == "erase":
            self.loop.start(self.process, self._erase(write, reply))
        else:
            self._accept(write, reply)

    async def _erase(self, write: Write, reply: Reply) -> None:
        """As the server does: have all here that is in the log, and then erase."""
        try:
            await self.node.catch_up(CATCH_UP_S)
        except NextbestError as error:
            reply("refused", error)
        else:
            self._accept(write, reply)

    def _accept(self, write: Write, reply: Reply) -> None:
        self._tokens += 1
        calls = {
            "event": self.engine.track,
            "upsert": self.engine.upsert,
            "link": self.engine.link,
            "erase": self.engine.erase,
        }
        try:
            answer = calls[write.kind](write.request, self.now_us(), self._tokens)
        except NextbestError as error:
            reply("refused", error)
            return
        if answer is not None:
            reply("ok", answer)
        else:
            self._waiting[self._tokens] = partial(self._reply, write, reply)

    def _reply(self, write: Write, reply: Reply, outcome: str, value: Any) -> None:
        # An erasure is logged in other bytes than it came in.
        if outcome == "ok" and write.ack == REPLICATED and write.kind != "erase":
            self.world.check_replicated(write, self)
        if outcome == "ok" and write.revokes:
            self.loop.start(self.process, self.await_members(write, value, reply))
            return
        reply(outcome, value)

    def _completed(self) -> None:
        while (done := self.engine.completed(self.now_us())) is not None:
            token, answer = done
            reply = self._waiting.pop(token)
            if isinstance(answer, bytes):
                reply("ok", answer)
            else:
                reply("unknown" if isinstance(answer, LogFailedError) else "refused", answer)

    async def await_members(self, write: Write, answer: bytes, reply: Reply) -> None:
        """As the server does of a revocation: answer when nobody decides without it."""
        at = ANSWERS[write.kind].FromString(answer).position
        try:
            await self.node.every_member((at.epoch, at.sequence, at.nonce), MEMBERS_S)
        except NextbestError as error:
            reply("unknown", error)
            return
        self.world.revoked.append((self.loop.now, write, repr(self)))
        self.world.look_at_leases()
        reply("ok", answer)

    @property
    def decides(self) -> bool:
        """Whether decisions here may use consents at this very moment."""
        return (
            self.alive
            and not self.recovering
            and not self.process.paused
            and self.loop.now < self.node.leases.until_s
        )

    async def read_own(self, write: Write) -> None:
        """Once the position of an acknowledged write is reached, the write is there."""
        try:
            await self.node.reach(write.position, REACH_S)
        except NextbestError:
            return
        if not present(write, look(self.engine, write.identity, self.now_us())):
            self.world.unread.append((self.loop.now, repr(self), write))

    def publish(self, plan: Plan) -> None:
        """What the server's publisher does: nobody stamps with a playbook before it is logged."""
        if not self.recovering:
            self.loop.start(self.process, self._publish(plan))

    async def _publish(self, plan: Plan) -> None:
        body, data = ACTIVATION, activation(plan)
        if plan.hash not in self.catalogue.known:
            body, data = PUBLICATION, publication(plan)
        for _ in range(PUBLISH_TRIES):
            done = self.loop.create_future()
            self._tokens += 1
            self._waiting[self._tokens] = partial(set_outcome, done)
            try:
                mutation = self.engine.submit(body, data, self.now_us(), LOGGED, self._tokens)
            except NextbestError as error:
                self.loop.note("publish refused:", error)
                done.set_result("refused")
            outcome = await done
            if outcome == "ok":
                self.catalogue.announced(mutation)
                self.loop.note("published", plan.hash[0])
                return
            if outcome == "unknown":
                self._unsure.add(mutation)
            await asyncio.sleep(0.5)

    def _passed(self, batch: bytes) -> None:
        """An own entry was read back: it may hold what was not known to be in the log."""
        for mutation in [one for one in self._unsure if one in batch]:
            self._unsure.discard(mutation)
            self.catalogue.announced(mutation)


def set_outcome(done: asyncio.Future[str], outcome: str, _value: Any) -> None:
    done.set_result(outcome)


def has(server: Server, position: tuple[int, int, int]) -> bool:
    """Whether a server has this very entry."""
    stream = server.data.streams.get(STREAM)
    if stream is None or position[:2] not in stream.ids:
        return position == BEFORE
    data = stream.fields[stream.ids.index(position[:2])][1]
    return unpack(Record(*position[:2], data)).nonce == position[2]


class World:
    """All of it, made from a seed; nothing runs before `start`."""

    machine_type: type[Machine] = Machine
    network_type: type[SimNetwork] = SimNetwork
    server_type: type[Server] = Server
    # The faults that a scenario is about, by name; none for all.
    faults: tuple[str, ...] = ()
    # Features that it has whatever is drawn, by name.
    needs: Mapping[str, Any] = {}

    def __init__(self, seed: int, features: Features = EVERYTHING) -> None:
        self.seed = seed
        self.features = features = replace(features, **self.needs)
        self.plans = playbooks(features.budget)
        self.loop = Loop(f"world {seed}")
        self.random = Random(f"scenario {seed}")
        # How old events may be when they are sent.
        self.ages_s = AGES_S if features.ages else 0
        self.limits = limits_of(features)
        # The first draw is that of ages, see `whole`.
        self.random.random()
        self.loop.shuffled = self.random.random() < 0.8
        self.wires = Wires(self.loop)
        self.servers = {(host, PORT): self.server_type(self.wires, host) for host in HOSTS}
        servers = list(self.servers.values())
        for server in servers:
            server.servers = self.servers
            server.hasten(features.tempo)
            server.on_create = self._created
            server.on_loss = lambda _server: self.losses.append(self.loop.now)
            server.on_promote = self._promoted
            if server.host != "h1":
                server.master = ("h1", PORT)
        self.sentinels = [Sentinel(self.wires, host, servers, ("h1", PORT)) for host in HOSTS]
        for one in self.sentinels:
            one.others = [other for other in self.sentinels if other is not one]
            one.fix_after_s = 2.0
            one.hasten(features.tempo)
        self.machines = [
            self.machine_type(self, f"n{1 + number}") for number in range(features.nodes)
        ]
        self.writes: list[Write] = []
        # When which node died, and when Redis lost entries that it had taken.
        self.deaths: list[tuple[float, str]] = []
        # When which node stopped in order, having given the log all it had; deaths as well.
        self.stops: list[tuple[float, str]] = []
        # Deaths of nodes that were not back from a master that had been replaced; and when it was,
        # where most Sentinels had not heard of it, else 0.
        self.deaths_away: dict[tuple[float, str], float] = {}
        self.redis_faults: list[tuple[float, float, str]] = []
        self.losses: list[float] = []
        # Whether the network has sent requests twice.
        self.repeats = False
        # What was seen to be wrong while it ran.
        self.broken: list[str] = []
        self.unreplicated: list[str] = []
        # Writes that were not there though their position was reached: when, where, which.
        self.unread: list[tuple[float, str, Write]] = []
        # Revocations: when they were acknowledged, by whom; and where one was missing while
        # decisions might have used what it took back.
        self.revoked: list[tuple[float, Write, str]] = []
        self.unheeded: list[tuple[float, str, Write]] = []
        self._heeded: set[tuple[str, str]] = set()
        # Nodes that could not go on without another one's snapshot.
        self.stranded: list[str] = []
        # Those of them whose log was gone with a failover; whether it is still.
        self.excused: list[str] = []
        self.emptied = False
        # The server that was promoted last, and when.
        self.promoted: Server | None = None
        self.promoted_s = 0.0
        # Propositions under the budget, those of them that were shown, and when it was overspent.
        self.shopping = Random(f"shopping {seed}")
        self.proposed = self.shown = self.orphans_shown = 0
        self.overspent: list[str] = []
        # The nonce of the very first entry of the log.
        self.first_nonce = 0

    def start(self) -> None:
        for server in self.servers.values():
            server.launch()
        for sentinel in self.sentinels:
            sentinel.launch()
        if self.features.consents:
            self.watch_leases()

    def look_at_leases(self) -> None:
        """Note who may decide by a consent whose revocation was acknowledged."""
        for machine in self.machines:
            if not self.revoked or not machine.decides:
                continue
            for _, write, _ in self.revoked:
                key = repr(machine), write.id
                if key in self._heeded:
                    continue
                # What is there stays, and what was missing once is enough.
                self._heeded.add(key)
                if not present(write, look(machine.engine, write.identity, machine.now_us())):
                    self.unheeded.append((self.loop.now, repr(machine), write))
                    self.loop.note(repr(machine), "may decide without", write)

    def watch_leases(self) -> None:
        """Look again and again."""
        self.look_at_leases()
        self.loop.call_for(self.loop.outside, self.loop.now + LEASES_S, self.watch_leases)

    def _created(self, operation: Operation) -> None:
        """Only what opens an epoch may make the stream."""
        kind = unpack(Record(*operation[2], operation[3][1])).kind
        if kind != "open":
            self.broken.append(f"the stream was made anew by a {kind} at {operation[2]}")

    def _promoted(self, server: Server) -> None:
        """Note it, and when what is promoted has nothing of a log that others have."""
        self.promoted, self.promoted_s = server, self.loop.now
        if not server.data.streams and any(one.data.streams for one in self.servers.values()):
            self.emptied = True

    def strand(self, machine: Machine, why: str) -> None:
        """Note that a node needs help."""
        (self.excused if self.emptied else self.stranded).append(f"{machine}: {why}")

    def look_at_budget(self, machine: Machine) -> None:
        """What was shown, and what nodes hold for impressions to come, is within the budget."""
        alive = [one for one in self.machines if one.alive]
        # One that starts has no playbook yet, and holds nothing.
        held = sum(has.held for one in alive for has in one.engine.budgets(one.now_us()))
        if self.shown + held > self.features.budget:
            self.overspent.append(
                f"{machine} at {self.loop.now - 1000:.3f}: {self.shown} shown, {held} held, "
                f"allowed: {self.features.budget}"
            )

    def show_orphans(self, held: list[tuple[str, float]]) -> None:
        """Most of what a process held that has stopped is shown by way of others, in time."""
        for id, until_s in held:
            left_s = until_s - self.loop.now
            if left_s > 0 and self.shopping.random() < 0.67:
                machine = self.shopping.choice(self.machines)
                at_s = self.loop.now + left_s * self.shopping.random()
                self.loop.call_for(self.loop.outside, at_s, self._show_orphan, machine, id, until_s)

    def _show_orphan(self, machine: Machine, id: str, until_s: float) -> None:
        if machine.alive:
            now = self.loop.now
            self.loop.call_for(machine.process, now, machine.show_orphan, id, until_s)

    def check_replicated(self, write: Write, machine: Machine) -> None:
        """What is acknowledged at REPLICATED is on the master and as many replicas as it says."""
        holders = [one.host for one in self.servers.values() if one.holds(write.request)]
        if len(holders) < 2:
            self.unreplicated.append(f"{machine} acknowledged {write}, which only {holders} have")

    def server(self, host: str) -> Server:
        return self.servers[host, PORT]

    def sentinel(self, host: str) -> Sentinel:
        return next(one for one in self.sentinels if one.host == host)

    def master(self) -> Server | None:
        """The master that most Sentinels name, if it is one."""
        votes = [one.master for one in self.sentinels if one.process.alive]
        named = max(votes, key=votes.count) if votes else None
        server = self.servers[named] if named else None
        return server if server is not None and server.master is None else None

    def successor(self) -> Server | None:
        """The master that was promoted last, though most Sentinels may not have heard of it yet."""
        last = self.promoted
        return last if last and last.running and last.master is None else self.master()

    def first_entry(self) -> Contents:
        """The oldest entry that the log holds."""
        master = self.master()
        assert master is not None
        stream = master.data.streams[STREAM]
        return unpack(Record(*stream.ids[0], stream.fields[0][1]))

    def close(self) -> None:
        self.loop.close()
