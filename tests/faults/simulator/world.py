"""The simulated world: nodes with the real engine, node and log; Redis, Sentinels, the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from nextbest.core import Engine
from nextbest.core.errors import LogFailedError, NextbestError

try:
    from nextbest.core.engine import STRIPES
except ImportError:
    STRIPES = 0
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import BEFORE, Position
from nextbest.server.log.node import Node
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from nextbest.v1 import log_pb2, mutation_pb2
from tests.faults.simulator.loop import Loop, Process
from tests.faults.simulator.network import SimNetwork
from tests.faults.simulator.redis import EPOCH_US, Server
from tests.faults.simulator.sentinel import Sentinel
from tests.faults.simulator.wires import Wires
from tests.faults.simulator.writes import (
    ACTIVATION,
    FIRST,
    LOGGED,
    PLANS,
    PUBLICATION,
    Plan,
    Write,
    activation,
    publication,
)

HOSTS = ("h1", "h2", "h3")
PORT = 6379
WRITES_MAX = 200
SNAPSHOTS_KEPT = 2
LIMITS = Limits(
    read_wait_ms=600,
    pulse_ms=2_000,
    lease_ms=6_000,
    snapshot_ms=5_000,
    settle_ms_max=6_000,
    trim_ms=3_000,
    member_ms=600_000,
)
BACKEND = BackendSettings(trust_build=True, connect_ms=500, timeout_ms=600, wait_ms=300)

Reply = Callable[[str, Any], None]


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


class Catalogue:
    """The playbooks a node knows, and which is active: the latest stamp wins."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.known: dict[bytes, int] = {FIRST.hash: engine.publish(FIRST)}
        self.stamp = 0
        self.active = FIRST.hash

    def state(self) -> tuple[list[bytes], int, bytes]:
        return list(self.known), self.stamp, self.active

    def restore(self, hashes: list[bytes], stamp: int, active: bytes) -> None:
        for hash in hashes:
            self.publish(hash)
        self.activate(stamp, active)

    def publish(self, hash: bytes) -> None:
        if hash not in self.known:
            self.known[hash] = self.engine.publish(PLANS[hash], active=False)

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
        self.void = 0

    @property
    def newest(self) -> Position:
        return self.kept[-1].position if self.kept else BEFORE

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
            "last_stamp": engine.last_stamp,
            "columns": engine.columns(),
            # Before the stripes: what leaves the parked ones meanwhile is in a stripe or behind.
            "parked": engine.parked_mutations(),
            "playbooks": machine.catalogue.state(),
            "members": machine.node.members.messages(),
            "lease": log_pb2.Lease(
                holder=machine.node.coordinator.holder, term=machine.node.coordinator.term
            ),
        }
        stripes = []
        pauses = {machine.loop.random.randrange(STRIPES) for _ in range(3)}
        for number in range(STRIPES):
            data = engine.stripe(number)
            if data:
                stripes.append(data)
            if number in pauses:
                await asyncio.sleep(machine.loop.random.random() * 0.05)
        copied["stripes"] = stripes
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
        # How often it was started.
        self.life = 0
        self.process: Process
        self.network: SimNetwork
        self.engine: Engine
        self.node: Node
        self.catalogue: Catalogue
        self._waiting: dict[int, tuple[Write, Reply]] = {}
        self._tokens = 0

    def __repr__(self) -> str:
        return f"{self.name}.{self.life}"

    @property
    def alive(self) -> bool:
        return self.life > 0 and self.process.alive

    def now_us(self) -> int:
        return EPOCH_US + int((self.loop.now + self.clock_offset_s) * 1_000_000)

    # Life and death.

    def boot(self) -> None:
        """Start the node from its newest snapshot that is valid, or from nothing."""
        self.life += 1
        self.process = self.loop.process(repr(self))
        self.process.on_fuse = self._died
        self.network = self.world.network_type(
            self.world.wires, self.name, self.world.servers, self.world.sentinels
        )
        self._waiting = {}
        self.engine = Engine(
            profiles_max=200, dedupe_max=4_000, generations_max=4, decisions_max=64
        )
        self.catalogue = Catalogue(self.engine)
        snapshot = self.disk.kept[-1] if self.disk.kept else None
        if snapshot is not None:
            self._restore(snapshot)
        self.engine.attach_log(WRITES_MAX, default_ack=LOGGED)
        self.node = self.node_type(
            self.engine,
            self.log_type(self.network, BACKEND),
            self.name,
            now_us=self.now_us,
            announced=self.catalogue.announced,
            limits=self.world.limits,
            snapshots=self.disk,
            random=Random(self.loop.random.getrandbits(32)),
        )
        if snapshot is not None:
            self.node.restore(snapshot.members, snapshot.lease)
        self.loop.note("boot", repr(self), "at", self.engine.position)
        self.loop.start(self.process, self._run())

    def _restore(self, snapshot: Snapshot) -> None:
        engine = self.engine
        self.catalogue.restore(*snapshot.playbooks)
        engine.load_columns(*snapshot.columns)
        for data in snapshot.stripes:
            engine.load_stripe(data)
        for number, nonce, previous in snapshot.epochs:
            engine.epoch_opened(number, nonce, previous)
        if snapshot.horizon_ms:
            engine.horizon(snapshot.horizon_ms)
        engine.observe(snapshot.last_stamp, self.now_us())
        for mutation in snapshot.parked:
            engine.park(mutation)
        engine.advance(snapshot.position, self.now_us())

    async def _run(self) -> None:
        self.loop.add_reader(self.engine.completed_fd, self._completed)
        try:
            await self.node.start()
        except Exception as error:
            self.loop.call_exception_handler({"message": "start", "exception": error})

    def die(self) -> None:
        """kill -9."""
        self.loop.kill(self.process)
        self._died()

    def _died(self) -> None:
        self.network.drop()
        self.world.deaths.append((self.loop.now, self.name))
        self.loop.note(repr(self), "died at", self.engine.position)

    # Writes.

    def accept(self, write: Write, reply: Reply) -> None:
        """A write arrives; `reply` is called with its outcome and the answer or error."""
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
            self._waiting[self._tokens] = (write, reply)

    def _completed(self) -> None:
        while (done := self.engine.completed(self.now_us())) is not None:
            token, answer = done
            _write, reply = self._waiting.pop(token)
            if isinstance(answer, bytes):
                reply("ok", answer)
            else:
                reply("unknown" if isinstance(answer, LogFailedError) else "refused", answer)

    def publish(self, plan: Plan) -> None:
        """What the server's publisher does: submit, and apply here at once."""
        try:
            if plan.hash not in self.catalogue.known:
                data = self.engine.submit(PUBLICATION, publication(plan), self.now_us(), 1)
                self.catalogue.announced(data)
            data = self.engine.submit(ACTIVATION, activation(plan), self.now_us(), 1)
            self.catalogue.announced(data)
        except NextbestError as error:
            self.loop.note("publish refused", error)


class World:
    """All of it, made from a seed; nothing runs before `start`."""

    machine_type: type[Machine] = Machine
    network_type: type[SimNetwork] = SimNetwork
    server_type: type[Server] = Server
    limits = LIMITS

    def __init__(self, seed: int, nodes: int = 3) -> None:
        self.seed = seed
        self.loop = Loop(f"world {seed}")
        self.random = Random(f"scenario {seed}")
        self.loop.shuffled = self.random.random() < 0.8
        self.wires = Wires(self.loop)
        self.servers = {(host, PORT): self.server_type(self.wires, host) for host in HOSTS}
        servers = list(self.servers.values())
        for server in servers:
            server.servers = self.servers
            server.on_loss = lambda _server: self.losses.append(self.loop.now)
            if server.host != "h1":
                server.master = ("h1", PORT)
        self.sentinels = [Sentinel(self.wires, host, servers, ("h1", PORT)) for host in HOSTS]
        for one in self.sentinels:
            one.others = [other for other in self.sentinels if other is not one]
            one.fix_after_s = 2.0
        self.machines = [self.machine_type(self, f"n{1 + number}") for number in range(nodes)]
        self.writes: list[Write] = []
        # When which node died, and when Redis lost entries that it had taken.
        self.deaths: list[tuple[float, str]] = []
        self.redis_faults: list[tuple[float, float, str]] = []
        self.losses: list[float] = []

    def start(self) -> None:
        for server in self.servers.values():
            server.launch()
        for sentinel in self.sentinels:
            sentinel.launch()

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

    def close(self) -> None:
        self.loop.close()
