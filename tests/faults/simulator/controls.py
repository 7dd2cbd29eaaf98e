"""Positive controls: known mistakes, switched on one at a time, that the simulator must find.

Each is a small override of the real class; none is a branch in what ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from nextbest.server.log.branch import Branch
from nextbest.server.log.budgets import Budgets
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.cover import Cover, Mark
from nextbest.server.log.leases import Leases
from nextbest.server.log.ledgers import Period, Process
from nextbest.server.log.link import Address, Command, LinkError
from nextbest.server.log.log import Position
from nextbest.server.log.node import Node
from nextbest.server.log.orphans import Left, Orphans
from nextbest.server.log.own import Own
from nextbest.server.log.reader import Reader
from nextbest.server.log.redis import FIELD, RedisLog
from nextbest.v1 import log_pb2
from tests.faults.simulator.features import LONG, SMALL
from tests.faults.simulator.network import SimLink, SimNetwork
from tests.faults.simulator.run import Outcome, run
from tests.faults.simulator.world import Machine, Reply, Snapshot, World
from tests.faults.simulator.writes import ANSWERS, Write


def made(*kinds: str, needs: Mapping[str, Any] | None = None, **parts: type) -> type[World]:
    """A world with these kinds of faults, whose nodes are made of other parts."""
    node = type("MadeNode", (Node,), parts)
    machine = type("MadeMachine", (Machine,), {"node_type": node})
    given = {"machine_type": machine, "faults": kinds, "needs": needs or World.needs}
    return type("MadeWorld", (World,), given)


def leaving(orphans: type[Orphans]) -> type[World]:
    """One of a small budget, whose nodes stop, and look so after what stopped ones held."""
    budgets = type("MadeBudgets", (Budgets,), {"orphans_type": orphans})
    return made("stop_node", needs={"budget": SMALL}, budgets_type=budgets)


# Resuming without the nonce: a node trusts that what follows its last entry's id follows it.


class TrustingBranch(Branch):
    async def holds(self, _position: Position) -> bool:
        return True


class TrustingReader(Reader):
    def follows(self, _previous: Position | None, _here: Position) -> bool:
        return True


# No NOMKSTREAM: an append makes a wiped stream anew.


class CreatingLog(RedisLog):
    async def _transaction(self, index: int, add: Command, replicas: int) -> list[Any]:
        add = tuple(word for word in add if word != "NOMKSTREAM")
        return await super()._transaction(index, add, replicas)


class CreatingMachine(Machine):
    log_type = CreatingLog


class Creating(World):
    machine_type = CreatingMachine
    faults = ("flush_master", "wipe_master")


# The default of redis-py: what failed is sent again on a new connection, without a word.


class RetryingLink:
    def __init__(
        self, network: RetryingNetwork, address: Address, name: str, link: SimLink
    ) -> None:
        self._network = network
        self._to = (address, name)
        self._link = link

    async def run(self, commands: Sequence[Command], timeout_ms: int) -> list[Any]:
        try:
            return await self._link.run(commands, timeout_ms)
        except LinkError:
            self._link = await self._network.plain(*self._to)
            return await self._link.run(commands, timeout_ms)

    async def close(self) -> None:
        await self._link.close()


class RetryingNetwork(SimNetwork):
    async def plain(self, address: Address, name: str) -> SimLink:
        return await super().link(address, name)

    async def link(self, address: Address, name: str) -> Any:
        return RetryingLink(self, address, name, await self.plain(address, name))


class Retrying(World):
    network_type = RetryingNetwork
    faults = ("lose_replies", "late_packets", "freeze_redis")


# WAIT on another connection than the one that wrote, as a pool would have it.


class PooledLog(RedisLog):
    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        add = ("XADD", self._key, "NOMKSTREAM", f"{epoch}-*", FIELD, data)
        replies = await self._transaction(queue, add, 0)
        sequence = self._appended(replies, epoch, replication_id, opening=False)
        if replicas:
            await self._ask(("WAIT", replicas, self._settings.wait_ms))
        return sequence


class PooledMachine(Machine):
    log_type = PooledLog


class Pooled(World):
    machine_type = PooledMachine
    faults = ("split_redis", "freeze_redis", "slow_host", "kill_redis")


# A snapshot that does not wait until what it holds cannot be lost.


class HastyCover(Cover):
    async def settle(self, _mark: Mark) -> Position:
        return self._context.here


class HastyNode(Node):
    cover_type = HastyCover


class HastyMachine(Machine):
    node_type = HastyNode

    async def _is_of(self, _snapshot: Snapshot) -> bool:
        return True


class Hasty(World):
    machine_type = HastyMachine
    # A split, a snapshot and a death, one after the other, and many entries.
    needs: ClassVar = LONG | {"budget": 60, "consents": True}
    faults = ("split_redis", "take_snapshot", "take_snapshot", "take_snapshot", "kill_node")


# A repeat is answered because the node remembers the first.


class RememberingMachine(Machine):
    def boot(self) -> None:
        self._seen: set[str] = set()
        super().boot()

    def accept(self, write: Write, reply: Reply) -> None:
        if write.id in self._seen and not self.recovering:
            answer = ANSWERS[write.kind](ack=write.ack)
            answer.position.epoch, answer.position.sequence, _ = self.engine.position
            self._reply(write, reply, "ok", answer.SerializeToString())
            return
        waiting = len(self._waiting)
        super().accept(write, reply)
        if len(self._waiting) > waiting:
            self._seen.add(write.id)


class Remembering(World):
    machine_type = RememberingMachine
    faults = ("split_redis", "freeze_redis", "slow_host", "kill_redis")


# Trimming up to what is replicated, whatever the members' snapshots hold.


class EagerCoordinator(Coordinator):
    def trim_target(self) -> Position:
        return self._context.progress.committed


# An answer that leaps: an own entry passes though others' lie between it and what is applied here.


class LeapingOwn(Own):
    def follows(self, position: Position, here: Position) -> bool:
        return position[0] == here.epoch and position[1] > here.sequence


# An acknowledgement that waits for nobody's lease.


class ImpatientLeases(Leases):
    async def passed(self, _position: Position, _within_s: float) -> None:
        """Once the log has it, it is answered."""


# A lease that whoever calls itself the master renews, whatever the Sentinels say.


class LoyalLeases(Leases):
    async def look(self) -> bool | None:
        stays = await super().look()
        if stays is None:
            self._stays_s = self._context.steady_s()
            self._settled_s = min(self._settled_s, self._stays_s)
            self._renew()
        return stays

    def entered(self) -> None:
        """Nobody brings anything back."""


# What a process had of a budget is anybody's once it has started anew, whatever it has shown.


class ForgetfulBudgets(Budgets):
    def heard(self, heartbeat: log_pb2.Heartbeat) -> None:
        super().heard(heartbeat)
        for ledger in self.ledgers.known.values():
            for process, holder in ledger.holders.items():
                if process.member == heartbeat.member and process.mark != heartbeat.process:
                    holder.returned = holder.claimed


# What a process held that has stopped comes back, though impressions have used it.


class BlindOrphans(Orphans):
    def waiting(self, _period: Period, left: Left) -> bytes:
        return left.holds


# More comes back than was held.


class EveryoneOrphans(Orphans):
    def waiting(self, period: Period, left: Left) -> bytes:
        return super().waiting(period, left) * len(self._members.messages())


# It never comes back.


class DeafOrphans(Orphans):
    def heard(
        self, _process: Process, _reports: Iterable[log_pb2.BudgetReport], _applied: Position
    ) -> None:
        """What was held stays claimed."""


class Control(NamedTuple):
    """A mistake, and the kind of scenario that shows it."""

    world: type[World]
    mode: str


CONTROLS = {
    "resume without the nonce": Control(
        made(
            *("split_redis", "split_redis", "kill_redis", "freeze_redis"),
            branch_type=TrustingBranch,
            reader_type=TrustingReader,
        ),
        "many",
    ),
    "no NOMKSTREAM": Control(Creating, "unsafe"),
    "retries of redis-py": Control(Retrying, "many"),
    "ack on a pooled WAIT": Control(Pooled, "many"),
    "a snapshot of a lost tail": Control(Hasty, "many"),
    "a repeat answered from memory": Control(Remembering, "many"),
    "trim early": Control(
        made("kill_node", "kill_node_inside", coordinator_type=EagerCoordinator), "many"
    ),
    "an answer that leaps": Control(
        made("slow_host", "late_packets", "cut_node", own_type=LeapingOwn), "many"
    ),
    "a revocation that waits for nobody": Control(
        made(
            *("cut_node", "slow_host", "pause_node"),
            needs={"consents": True},
            leases_type=ImpatientLeases,
        ),
        "many",
    ),
    "a lease of a replaced master": Control(
        # A split that is long enough, and a revocation meanwhile.
        made("split_redis", needs=LONG, leases_type=LoyalLeases),
        "many",
    ),
    "a dead process's share claimed again": Control(
        made(
            *("kill_node", "kill_node_inside"),
            needs={"budget": SMALL},
            budgets_type=ForgetfulBudgets,
        ),
        "many",
    ),
    "what was shown after a stop returned": Control(leaving(BlindOrphans), "many"),
    "what was held at a stop returned twice": Control(leaving(EveryoneOrphans), "many"),
    "what was held at a stop never returned": Control(leaving(DeafOrphans), "many"),
}


def find(control: Control, seeds_max: int) -> Outcome | None:
    """The first seed that shows the mistake."""
    for seed in range(seeds_max):
        outcome = run(seed, world_type=control.world, mode=control.mode)
        if outcome.fault:
            return outcome
    return None
