"""A scenario: what clients write and what goes wrong, all drawn from the seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from nextbest.core.errors import NextbestError, TooLateError
from tests.faults.simulator.redis import EPOCH_US, Server
from tests.faults.simulator.world import HOSTS, Machine, World
from tests.faults.simulator.writes import (
    ANSWERS,
    APPLIED,
    EVENTS_MAX,
    LOGGED,
    REPLICATED,
    UPSERTS_MAX,
    Attempt,
    Write,
    erase,
    event,
    link,
    upsert,
)

CALL_S = 0.6
SETTLE_S = 60.0
# How long a log stays wiped before the operator starts it anew.
OPERATOR_S = 1.5
PEOPLE = ("ann", "bob", "cid", "dan")
ERASED = ("eve", "fay")
LINKED = ("l0", "l1", "l2", "l3", "l4", "l5")


class NotSettledError(AssertionError):
    """The faults are healed, and still the nodes did not come to rest."""


class Clients:
    """Clients, each a process of its own: they send until a write is acknowledged."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self._numbers: dict[tuple[str, str], int] = {}
        self._pairs = [(a, b) for a in LINKED for b in LINKED if a < b]
        self.random.shuffle(self._pairs)
        self._erasures = list(ERASED)
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self) -> None:
        loop = self.world.loop
        for number in range(self.world.features.clients):
            process = loop.process(f"c{number}")
            self.tasks.append(loop.start(process, self._work(number)))

    async def _work(self, client: int) -> None:
        random, features = self.random, self.world.features
        for number in range(features.writes):
            await asyncio.sleep(random.random() * 2 * features.chaos_s / features.writes)
            write = self._next(f"{client}-{number}")
            if write is not None:
                self.world.writes.append(write)
                await self._send_until_done(write)

    def _next(self, id: str) -> Write | None:
        random = self.random
        ack = random.choice((APPLIED, LOGGED, LOGGED, REPLICATED, REPLICATED))
        kind = random.random()
        if kind < 0.05 and self._erasures:
            return erase(f"x-{id}", self._erasures.pop(), max(ack, LOGGED))
        if kind < 0.15 and self._pairs:
            return link(f"l-{id}", *self._pairs.pop(), ack)
        identity = random.choice((*PEOPLE, *ERASED))
        if kind < 0.35:
            number = self._number("upsert", identity)
            return self._upsert(id, identity, number, ack) if number < UPSERTS_MAX else None
        number = self._number("event", identity)
        at_us = EPOCH_US + int(self.world.loop.now * 1_000_000) - 1_000_000
        at_us -= int(random.random() * self.world.ages_s * 1_000_000)
        return event(f"e-{id}", identity, number, ack, at_us) if number < EVENTS_MAX else None

    def _upsert(self, id: str, identity: str, number: int, ack: int) -> Write:
        """Of people who are not erased each but those at APPLIED stands for a revocation."""
        write = upsert(f"u-{id}", identity, number, ack)
        write.revokes = self.world.features.consents and ack != APPLIED and identity not in ERASED
        return write

    def _number(self, kind: str, identity: str) -> int:
        number = self._numbers.get((kind, identity), 0)
        self._numbers[kind, identity] = number + 1
        return number

    async def _send_until_done(self, write: Write) -> None:
        random, machines = self.random, self.world.machines
        machine = random.choice(machines)
        while True:
            outcome, answer = await self._send(write, machine)
            if outcome == "ok":
                position = ANSWERS[write.kind].FromString(answer).position
                write.acknowledged = write.attempts[-1]
                write.position = (position.epoch, position.sequence, position.nonce)
                self._read_back(write)
                return
            if isinstance(answer, TooLateError):
                return
            await asyncio.sleep(0.05 + random.random() * 0.4 * self.world.features.tempo)
            # Often through another node, as round robin does.
            machine = random.choice(machines)

    def _read_back(self, write: Write) -> None:
        """Read it on any node, as soon as that has got so far."""
        machine = self.random.choice(self.world.machines)
        if write.ack != APPLIED and write.kind != "erase" and machine in serving(self.world):
            loop = self.world.loop
            loop.call_for(machine.process, loop.now, read_own, machine, write)

    async def _send(self, write: Write, machine: Machine) -> tuple[str, Any]:
        """One call: its outcome is known, refused, or unknown when nothing came in time."""
        loop, wires = self.world.loop, self.world.wires
        attempt = Attempt(machine.name, machine.life, loop.now)
        write.attempts.append(attempt)
        answer: asyncio.Future[tuple[str, Any]] = loop.create_future()
        mine = loop.current

        def arrive(outcome: str, value: Any) -> None:
            if not answer.done():
                answer.set_result((outcome, value))

        def reply(outcome: str, value: Any) -> None:
            delay = wires.delay("client", machine.name)
            loop.call_for(mine, loop.now + delay, arrive, outcome, value)

        if machine.alive:
            when = loop.now + wires.delay("client", machine.name)
            loop.call_for(machine.process, when, machine.accept, write, reply)
        else:
            loop.call_for(mine, loop.now + 0.001, arrive, "refused", None)
        timer = loop.call_later(CALL_S, arrive, "unknown", None)
        outcome, value = await answer
        timer.cancel()
        attempt.outcome, attempt.ended = outcome, loop.now
        if loop.trace is not None:
            loop.note(write, "through", f"{machine.name}.{attempt.life}:", outcome, said(value))
        return outcome, value


def said(value: Any) -> str:
    return str(value) if isinstance(value, NextbestError) else ""


class Faults:
    """What goes wrong; each fault heals itself after a while, and `heal` heals what is left."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.loop = world.loop
        # Faults that the scenario is about, by name; none for all.
        self.only = world.faults
        self._healing: list[Callable[[], None]] = []
        self.safe: list[Callable[[], None]] = [
            self.kill_node,
            self.kill_node_inside,
            self.kill_node_inside,
            self.stop_node,
            self.pause_node,
            self.jump_clock,
            self.kill_redis,
            self.kill_redis,
            self.freeze_redis,
            self.split_redis,
            self.split_redis,
            self.cut_node,
            self.slow_host,
            self.lose_replies,
            self.late_packets,
            self.repeat_requests,
            self.interleave,
            self.fill_redis,
            self.take_snapshot,
            self.publish,
        ]
        self.unsafe: list[Callable[[], None]] = [
            self.wipe_master,
            self.flush_master,
            self.lose_tail,
            self.force_failover,
            self.force_failover,
        ]

    async def run(self, mode: str) -> None:
        """One after the other in "single", all at once in "many", any in "unsafe"."""
        end = self.loop.now + self.world.features.chaos_s
        kinds = self.safe
        if mode == "unsafe":
            kinds = [*self.safe, *self.unsafe, *self.unsafe]
        if self.only:
            kinds = [getattr(self, name) for name in self.only]
        await asyncio.sleep(self.random.random() * self.world.features.tempo)
        while self.loop.now < end:
            self.random.choice(kinds)()
            if mode == "single":
                await asyncio.sleep((1.0 + self.random.random()) * self.world.features.tempo)
                self.heal()
                await self._quiet()
            else:
                await asyncio.sleep(self.random.random() * self.world.features.apart_s)

    async def _quiet(self) -> None:
        """Until the next fault cannot meet what is left of the last one."""
        for _ in range(200):
            await asyncio.sleep(0.1)
            if redis_is_sound(self.world) and all(
                one.node.state == "following" and not one.node.ahead
                for one in self.world.machines
                if one.alive and not one.recovering
            ):
                return

    def _until(self, seconds: float, heal: Callable[[], None]) -> None:
        """Heal it after a while, or when all is healed."""

        def once() -> None:
            if heal in self._healing:
                self._healing.remove(heal)
                heal()

        self._healing.append(heal)
        self.loop.call_for(self.loop.outside, self.loop.now + seconds, once)

    def heal(self) -> None:
        self.loop.current = self.loop.outside
        while self._healing:
            self._healing.pop()()

    def _note_redis(self, what: str, seconds: float) -> None:
        self.loop.note("fault:", what, f"for {seconds:.2f} s")
        self.world.redis_faults.append((self.loop.now, self.loop.now + seconds, what))

    def _span(self, most: float) -> float:
        return 0.05 + most * self.world.features.tempo * self.random.random() ** 2

    # Nodes.

    def _node(self) -> Machine | None:
        alive = [one for one in self.world.machines if one.alive]
        return self.random.choice(alive) if alive else None

    def kill_node(self) -> None:
        if (machine := self._node()) is not None:
            machine.die()
            self._until(self._span(3), partial(boot, machine))

    def stop_node(self) -> None:
        if (machine := self._node()) is not None and not machine.recovering:
            self.loop.start(machine.process, machine.stop())

    def kill_node_inside(self) -> None:
        """At any callback, and so at any await."""
        if (machine := self._node()) is None:
            return
        process = machine.process
        process.fuse = process.steps + 1 + self.random.randrange(60)
        self._until(0.1 + self._span(3), partial(boot, machine))

    def pause_node(self) -> None:
        if (machine := self._node()) is None:
            return
        process = machine.process
        self.loop.pause(process)
        self._until(self._span(4), lambda: self.loop.resume(process))

    def jump_clock(self) -> None:
        if (machine := self._node()) is None:
            return
        jump = self.random.choice((0.4, -0.4, 2.0, -2.0, 3600.0, -3600.0))
        self.loop.note("fault: clock of", machine.name, jump)
        machine.clock_offset_s += jump
        machine.jumped = True

        def back() -> None:
            machine.clock_offset_s -= jump

        self._until(self._span(3), back)

    def take_snapshot(self) -> None:
        if (machine := self._node()) is not None and not machine.recovering:
            self.loop.start(machine.process, snapshot_of(machine))

    def publish(self) -> None:
        """A playbook is published or rolled back to."""
        if (machine := self._node()) is not None:
            plan = self.random.choice(self.world.plans)
            self.loop.note("publish", plan.hash[0], "on", machine)
            self.loop.call_for(machine.process, self.loop.now, machine.publish, plan)

    # Redis and its hosts.

    def _redis(self) -> Server | None:
        running = [one for one in self.world.servers.values() if one.running]
        master = self.world.master()
        if master is not None and master.running and self.random.random() < 0.6:
            return master
        return self.random.choice(running) if running else None

    def _restart_later(self, server: Server, seconds: float) -> None:
        sentinel = self.world.sentinel(server.host)

        def back() -> None:
            if not server.running:
                server.restart()
            if not sentinel.process.alive:
                sentinel.restart()

        self._until(seconds, back)

    def kill_redis(self) -> None:
        """The process, or the whole host with its Sentinel; its disk keeps what it had."""
        server = self._redis()
        if server is None:
            return
        seconds = self._span(6)
        power = self.random.random() < 0.4
        self._note_redis(f"kill {server.host}", seconds)
        server.crash(power=power)
        if power:
            self.world.sentinel(server.host).crash()
        self._restart_later(server, seconds)

    def freeze_redis(self) -> None:
        server = self._redis()
        if server is None or server.process.paused:
            return
        seconds = self._span(4)
        process = server.process
        self._note_redis(f"freeze {server.host}", seconds)
        self.loop.pause(process)
        self._until(seconds, lambda: self.loop.resume(process))

    def split_redis(self) -> None:
        """Some Redis hosts, and some nodes with them, from the others."""
        random = self.random
        hosts = list(HOSTS)
        random.shuffle(hosts)
        names = [one.name for one in self.world.machines]
        side = hosts[: random.choice((1, 1, 2))] + [n for n in names if random.random() < 0.4]
        rest = [one for one in (*HOSTS, *names) if one not in side]
        one_way = random.random() < 0.3
        if random.random() < 0.5:
            side, rest = rest, side
        seconds = self._span(6)
        self._note_redis(f"split {side} {'->' if one_way else '|'} {rest}", seconds)
        self.world.wires.split(side, rest, one_way=one_way)
        self._until(seconds, lambda: self.world.wires.join(side, rest, one_way=one_way))

    def cut_node(self) -> None:
        if (machine := self._node()) is None:
            return
        hosts = self.random.sample(HOSTS, self.random.choice((1, 3)))
        one_way = self.random.random() < 0.5
        ends = ([machine.name], hosts) if self.random.random() < 0.5 else (hosts, [machine.name])
        self.loop.note("fault: cut", ends[0], "->" if one_way else "|", ends[1])
        self.world.wires.split(*ends, one_way=one_way)
        self._until(self._span(4), lambda: self.world.wires.join(*ends, one_way=one_way))

    def slow_host(self) -> None:
        host = self.random.choice((*HOSTS, *(one.name for one in self.world.machines)))
        self.loop.note("fault: slow", host)
        self.world.wires.slow[host] = self.random.choice((0.005, 0.05, 0.2))
        self._until(self._span(4), lambda: self.world.wires.slow.pop(host, None) and None)

    def _chance(self, name: str, chance: float) -> None:
        wires = self.world.wires
        self.loop.note("fault:", name, chance)
        setattr(wires, name, chance)
        self._until(self._span(4), lambda: setattr(wires, name, 0.0))

    def lose_replies(self) -> None:
        self._chance("lost_reply", self.random.choice((0.02, 0.2)))

    def late_packets(self) -> None:
        self.world.wires.late_s = self.random.choice((0.05, 0.5, 1.5))
        self._chance("late", self.random.choice((0.05, 0.3)))

    def repeat_requests(self) -> None:
        self.world.repeats = True
        self._chance("repeated", self.random.choice((0.05, 0.3)))

    def interleave(self) -> None:
        """Others come between the commands of a pipeline."""
        for server in self.world.servers.values():
            server.interleaved = 0.3

        def back() -> None:
            for server in self.world.servers.values():
                server.interleaved = 0.0

        self._until(self._span(5), back)

    def fill_redis(self) -> None:
        server = self.world.master()
        if server is None:
            return
        self.loop.note("fault: full", server.host)
        name, value = self.random.choice((("maxmemory", 1), ("disk_fails", True)))
        setattr(server, name, value)
        self._until(self._span(3), lambda: setattr(server, name, type(value)(0)))

    # What nothing is promised for.

    def wipe_master(self) -> None:
        """It comes back with an empty disk before a Sentinel misses it."""
        server = self.world.master()
        if server is None or not server.running:
            return
        self._note_redis(f"wipe {server.host}", 0.1)
        server.crash(keep="none")
        self._restart_later(server, 0.05 + 0.3 * self.random.random())

    def flush_master(self) -> None:
        server = self.world.master()
        if server is not None and server.running:
            self._note_redis(f"flush {server.host}", 0.1)
            self.world.losses.append(self.loop.now)
            server.accept(lambda _replies: None, lambda: None).receive([("FLUSHALL",)])

    def lose_tail(self) -> None:
        """A power cut takes the last second, and the host is back before it is missed."""
        server = self.world.master()
        if server is None or not server.running:
            return
        self._note_redis(f"cut the power of {server.host}", 0.5)
        server.crash(keep="tail", power=True)
        self._restart_later(server, 0.1 + 0.5 * self.random.random())

    def force_failover(self) -> None:
        """An operator demotes the master, and perhaps promotes it again: clients stay connected."""
        world = self.world
        master = world.master()
        others = [one for one in world.servers.values() if one.master is not None and one.running]
        if master is None or not others or not master.running:
            return
        chosen = self.random.choice(others)
        self._note_redis(f"fail over by hand from {master.host} to {chosen.host}", 0.5)
        switch(world, chosen)
        if self.random.random() < 0.6:
            self._until(self._span(1.5), lambda: switch(world, master))


def read_own(machine: Machine, write: Write) -> None:
    machine.loop.start(machine.process, machine.read_own(write))


def boot(machine: Machine) -> None:
    if not machine.alive:
        machine.boot()


async def snapshot_of(machine: Machine) -> None:
    try:
        await machine.disk.take()
    except Exception as error:
        machine.loop.note("no snapshot:", error)


def switch(world: World, chosen: Server) -> None:
    """Make a server the master by hand, and tell everybody who can be told."""
    if not chosen.running:
        return
    world.loop.current = chosen.process
    chosen.promote()
    epoch = 1 + max(one.config_epoch for one in world.sentinels)
    for sentinel in world.sentinels:
        sentinel._adopt(epoch, chosen.address)
    for server in world.servers.values():
        if server is not chosen and server.running and world.random.random() < 0.8:
            world.loop.current = server.process
            server.follow(chosen.address)
    world.loop.current = world.loop.outside


def redis_is_sound(world: World) -> bool:
    """One master that all follow and all Sentinels name, and both replicas have all it has."""
    master = world.master()
    if master is None or not master.running:
        return False
    return all(one.master == master.address for one in world.sentinels) and all(
        one is master
        or (
            one.master == master.address
            and one.feed is not None
            and one.feed.live
            and one.offset == master.offset
        )
        for one in world.servers.values()
    )


class Operator:
    """Heals what only a person heals: starts a wiped log anew."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._since = 0.0

    async def look(self) -> None:
        """Called again and again while the world settles."""
        world = self.world
        here = serving(world)
        if here == world.machines and all(one.node.state == "following" for one in here):
            # All have a log again, and what comes now is none of its doing.
            world.emptied = False
        self._bring_snapshots()
        reset = self._to_reseed()
        if not reset or not redis_is_sound(world):
            self._since = world.loop.now
            return
        if world.loop.now - self._since < OPERATOR_S * world.features.tempo:
            return
        self._since = world.loop.now
        for one in reset:
            world.strand(one, one.node.context.standing.reason)
        furthest = max(reset, key=lambda one: one.engine.position)
        task = world.loop.start(furthest.process, reseed(furthest))
        # Not awaited: what another process ends would go on as that process, and die with it.
        for _ in range(50):
            if not task.done():
                await asyncio.sleep(0.1)

    def _to_reseed(self) -> list[Machine]:
        """Who may start the log anew: nobody follows it, and what it holds helps nobody."""
        here = serving(self.world)
        if any(one.node.state == "following" for one in here):
            return []
        reset = [one for one in here if one.node.state == "reset"]
        return reset or [one for one in here if one.node.context.standing.has("lost")]

    def _bring_snapshots(self) -> None:
        """Start again from another node's snapshot what cannot find its way alone."""
        following = [one for one in serving(self.world) if one.node.state == "following"]
        for machine in self.world.machines:
            astray = machine.lost or (
                not machine.recovering
                and (machine.node.needs_snapshot or machine.node.state == "reset")
            )
            if not machine.alive or not astray or not following:
                continue
            source = next((one for one in following if one.disk.kept), None)
            if source is None:
                self.world.loop.start(following[0].process, snapshot_of(following[0]))
                continue
            machine.loop.note("operator: brings", source, "'s snapshot to", machine)
            self._note(machine)
            machine.die()
            machine.disk.kept = [source.disk.kept[-1]]
            machine.boot()

    def _note(self, machine: Machine) -> None:
        """Say that a node needed help.

        When two hosts fail within one take-over, even what k replicas had can be lost, and then
        a snapshot of it stands outside the log; what was acknowledged is checked all the same.
        """
        lost = "" if machine.lost else machine.node.context.standing.reason
        if "lost a part of what this node's snapshot holds" in lost:
            machine.loop.note(machine, "outlived what its log has")
        else:
            self.world.strand(machine, str(machine.engine.position))


def serving(world: World) -> list[Machine]:
    return [one for one in world.machines if one.alive and not one.recovering]


async def reseed(machine: Machine) -> None:
    try:
        position = await machine.node.reseed(force=True)
        machine.loop.note("reseeded at", position)
    except Exception as error:
        machine.loop.note("not reseeded:", error)


def settled(world: World) -> str:
    """Why the world is not at rest; empty when it is."""
    if not redis_is_sound(world):
        hosts = [f"{one}: {one.describe()} at {one.offset}" for one in world.servers.values()]
        named = [f"{one.process}: {one.master[0]}" for one in world.sentinels]
        return "Redis: " + "; ".join([*hosts, *named])
    master = world.master()
    assert master is not None
    stream = master.data.streams.get(b"nextbest")
    if stream is None or not stream.ids:
        return "the log is empty"
    for machine in world.machines:
        if machine.recovering:
            return f"{machine}: recovers"
        node = machine.node
        if node.state != "following":
            return f"{machine}: {node.state}: {node.context.standing.reason}"
        if node.ahead:
            return f"{machine}: {node.ahead} ahead"
        if machine.engine.position[:2] != stream.last:
            return f"{machine}: at {machine.engine.position}, the log ends at {stream.last}"
    return ""


def unreturned(world: World) -> str:
    """What a stopped process held that is neither used nor to be had again; empty for nothing."""
    for machine in world.machines:
        for ledger in machine.node.budgets.ledgers.known.values() if machine.node.leads else ():
            for process, has in ledger.holders.items():
                # A claim that was lost on its way stays claimed, and is nothing that was held.
                if has.stopped and (has.held or has.claimed < has.returned + has.used):
                    return f"{machine}: {process}: {has}"
    return ""


def all_astray(world: World) -> bool:
    """Whether each node has what it cannot bring to the others: nobody is left to begin with."""
    return all(
        not one.recovering and one.node.context.standing.has("astray") for one in world.machines
    )


async def begin(world: World) -> None:
    """Until all nodes follow the log: one that never has cannot know that it was wiped."""
    for _ in range(200):
        await asyncio.sleep(0.05)
        if all(not one.recovering and one.engine.position[0] for one in world.machines):
            world.first_nonce = world.first_entry().nonce
            break
    else:
        raise NotSettledError("the nodes do not begin to follow the log")
    if world.ages_s:
        await anchor(world)


async def anchor(world: World) -> None:
    """An event older than any to come: the first horizon begins there, and drops nothing."""
    at_us = EPOCH_US + int((world.loop.now - world.ages_s - 600) * 1_000_000)
    write = event("anchor", "anchor", 0, APPLIED, at_us)
    machine = world.machines[0]
    sent = False
    for _ in range(100):
        await asyncio.sleep(0.05)
        if not sent and machine.node.state == "following":
            sent = True
            world.loop.call_for(machine.process, world.loop.now, machine.accept, write, ignore)
        if all(one.engine.store.remembered for one in world.machines):
            return
    raise NotSettledError("the nodes do not begin to write")


def ignore(_outcome: str, _value: Any) -> None:
    """Nobody waits for this write."""


async def play(world: World, mode: str) -> None:
    """The whole story: chaos, healing, and rest."""
    world.start()
    for machine in world.machines:
        machine.boot()
    clients, faults, operator = Clients(world), Faults(world), Operator(world)
    await begin(world)
    clients.start()
    await faults.run(mode)
    faults.heal()
    world.loop.note("healed")
    for machine in world.machines:
        machine.process.fuse = 0
        boot(machine)
    until = world.loop.now + SETTLE_S
    while True:
        await asyncio.sleep(0.25 * world.features.tempo)
        why = "clients wait" if not all(one.done() for one in clients.tasks) else settled(world)
        # What a wiped log has lost of it is claimed for good.
        if not why and mode != "unsafe":
            why = unreturned(world)
        if not why:
            break
        if mode == "unsafe" and all_astray(world):
            return
        if world.loop.now > until:
            raise NotSettledError(f"not at rest after {SETTLE_S} s: {why or settled(world)}")
        await operator.look()
    for task in clients.tasks:
        task.result()


EVERYONE = (*PEOPLE, *ERASED, *LINKED)
