"""What the simulator stands on: its loop, its network and its Sentinels."""

from __future__ import annotations

import asyncio

import pytest

from nextbest.server.log.link import Address, LinkError
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from tests.faults.simulator.loop import DeadlockError, Loop
from tests.faults.simulator.network import SimNetwork
from tests.faults.simulator.redis import Server
from tests.faults.simulator.scenario import begin
from tests.faults.simulator.sentinel import Sentinel
from tests.faults.simulator.wires import Wires
from tests.faults.simulator.world import World

HOSTS = ("h1", "h2", "h3")


async def racing(loop: Loop) -> list[int]:
    """Tasks whose order is the seed's: locks, timeouts, sets of tasks, cancelled ones."""
    order: list[int] = []
    lock = asyncio.Lock()

    async def work(number: int) -> int:
        await asyncio.sleep(loop.random.random() / 100)
        async with lock:
            await asyncio.sleep(0)
            order.append(number)
        async with asyncio.timeout(0.002):
            await asyncio.sleep(number / 1000)
        return number

    tasks = {asyncio.create_task(work(number)) for number in range(20)}
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    order += [task.get_loop().steps for task in done]
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return order + [hash(str(type(result))[:0]) for result in results]


def run(seed: int) -> tuple[list[int], int, int]:
    loop = Loop(seed)
    try:
        return loop.run_until_complete(racing(loop)), loop.digest, loop.steps
    finally:
        loop.close()


def test_a_seed_decides_the_order_of_everything() -> None:
    assert run(1) == run(1)
    assert run(1)[1] != run(2)[1]


def test_a_killed_process_is_never_heard_of_again() -> None:
    loop = Loop(1)
    seen: list[str] = []

    async def work() -> None:
        try:
            for number in range(10):
                seen.append(str(number))
                await asyncio.sleep(1)
        finally:
            seen.append("finally")

    process = loop.process("node")
    process.fuse = 4
    loop.start(process, work())
    loop.run_until_complete(asyncio.sleep(20))
    # Creating the task and three timers, each of which wakes it by another callback.
    assert seen == ["0", "1"]
    assert not process.alive


def test_a_paused_process_goes_on_where_it_was() -> None:
    loop = Loop(1)
    seen: list[float] = []

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            seen.append(loop.time())

    process = loop.process("node")
    loop.start(process, work())
    loop.call_later(1.5, loop.pause, process)
    loop.call_later(5.5, loop.resume, process)
    loop.run_until_complete(asyncio.sleep(20))
    assert seen == [1001.0, 1005.5, 1006.5]
    loop.close()


def test_waiting_for_what_never_comes_is_found() -> None:
    loop = Loop(1)
    with pytest.raises(DeadlockError):
        loop.run_until_complete(loop.create_future())
    loop.close()


class Small:
    """Three Redis and three Sentinels, and a client elsewhere."""

    def __init__(self, seed: int) -> None:
        self.loop = Loop(seed)
        self.wires = Wires(self.loop)
        self.servers = {(host, 6379): Server(self.wires, host) for host in HOSTS}
        servers = list(self.servers.values())
        for server in servers:
            server.servers = self.servers
            if server.host != "h1":
                server.follow(("h1", 6379))
            server.launch()
        self.sentinels = [Sentinel(self.wires, host, servers, ("h1", 6379)) for host in HOSTS]
        for one in self.sentinels:
            one.others = [other for other in self.sentinels if other is not one]
            one.launch()
        self.network = SimNetwork(self.wires, "n1", self.servers, self.sentinels)

    def server(self, host: str) -> Server:
        return self.servers[host, 6379]

    async def append(self, value: str) -> object:
        link = await self.network.link(await self.network.master(), "logged")
        add = ("XADD", "log", "*", "e", value)
        replies = await link.run([("MULTI",), add, ("EXEC",), ("WAIT", 2, 100)], 1000)
        await link.close()
        return replies[3]


async def failing_over(world: Small) -> None:
    await asyncio.sleep(5)
    assert await world.append("a") == 2
    world.loop.pause(world.server("h2").process)
    assert await world.append("b") == 1
    world.loop.resume(world.server("h2").process)
    world.server("h1").crash(power=True)
    with pytest.raises(LinkError):
        await world.network.link(Address("h1", 6379), "logged")
    await asyncio.sleep(5)
    assert (await world.network.master()).host in ("h2", "h3")
    assert await world.append("c") == 1
    world.server("h1").restart()
    await asyncio.sleep(20)
    held = [len(one.data.streams[b"log"].ids) for one in world.servers.values()]
    assert held == [3, 3, 3]
    assert world.server("h1").master is not None


@pytest.mark.parametrize("seed", range(10))
def test_a_majority_of_sentinels_replaces_a_dead_master(seed: int) -> None:
    world = Small(seed)
    world.loop.run_until_complete(failing_over(world))
    world.loop.close()


async def splitting(world: Small) -> None:
    await asyncio.sleep(5)
    world.wires.split(["h1", "n1"], ["h2", "h3"])
    link = await world.network.link(Address("h1", 6379), "logged")
    add = ("XADD", "log", "*", "e", "lost")
    replies = await link.run([add, ("WAIT", 1, 100)], 1000)
    assert replies[1] == 0
    await asyncio.sleep(5)
    masters = [host for host in HOSTS if world.server(host).master is None]
    assert len(masters) == 2
    world.wires.join(["h1", "n1"], ["h2", "h3"])
    await asyncio.sleep(20)
    masters = [host for host in HOSTS if world.server(host).master is None]
    assert len(masters) == 1
    assert masters != ["h1"]
    assert b"log" not in world.server("h1").data.streams


@pytest.mark.parametrize("seed", range(10))
def test_a_split_makes_two_masters_until_it_heals(seed: int) -> None:
    world = Small(seed)
    world.loop.run_until_complete(splitting(world))
    world.loop.close()


async def naming(world: Small) -> list[bool | None]:
    """What a log finds of its master as the Sentinels hear of another, one by one."""
    await asyncio.sleep(2)
    log = RedisLog(world.network, BackendSettings())
    await log.connect()
    found = [await log.stays()]
    first, second, third = world.sentinels
    # It has replaced the master, and nobody has heard of it yet.
    third.config_epoch, third.master = 1, ("h2", 6379)
    found.append(await log.stays())
    # It was cut off since, and the first one is the master again.
    first.config_epoch = second.config_epoch = 2
    found.append(await log.stays())
    first.config_epoch, first.master = 3, ("h2", 6379)
    third.config_epoch = 3
    found.append(await log.stays())
    await log.close()
    return found


def test_a_sentinel_that_names_a_newer_master_is_believed_before_the_others_know() -> None:
    world = Small(1)
    try:
        assert world.loop.run_until_complete(naming(world)) == [True, None, True, False]
    finally:
        world.loop.close()


async def publishing(world: World) -> list[bool]:
    """Which nodes know a playbook, whose publisher gave up before it learnt that it is logged."""
    await begin(world)
    await asyncio.sleep(1)
    publisher, plan = world.machines[0], world.plans[1]
    world.wires.lost_reply = 1.0
    world.loop.call_for(publisher.process, world.loop.now, publisher.publish, plan)
    await asyncio.sleep(1)
    world.wires.lost_reply = 0.0
    await asyncio.sleep(5)
    return [plan.hash in one.catalogue.known for one in world.machines]


def test_a_node_learns_of_its_own_publication_from_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.simulator.world.PUBLISH_TRIES", 1)
    world = World(1)
    try:
        world.start()
        for machine in world.machines:
            machine.boot()
        assert world.loop.run_until_complete(publishing(world)) == [True, True, True]
    finally:
        world.close()
