"""The publisher before a log that the test plays: nothing is stamped with what is not logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from nextbest.core import Engine
from nextbest.core.errors import InvalidRequestError, LogAwayError, LogFailedError
from nextbest.core.playbook.plan import Budget, Period, Plan
from nextbest.server.catalogue import Catalogue
from nextbest.server.compiler import Compiler
from nextbest.server.config import Rpc
from nextbest.server.publisher import Publisher
from nextbest.server.rpc.waiting import Waiting
from nextbest.v1 import mutation_pb2, playbook_pb2

AT = (3, 7, 99)
LOGGED = 2
# Of the engine.
BUDGETS_MAX = 4_096


def request(name: str) -> playbook_pb2.PublishPlaybookRequest:
    files = [
        playbook_pb2.PlaybookFile(
            path="schema.yaml", content=f"attributes: {{{name}: int}}\n".encode()
        )
    ]
    return playbook_pb2.PublishPlaybookRequest(write_id=f"w-{name}", files=files)


class Site:
    """One node's engine and publisher; its log is the test."""

    def __init__(self, compiler: Compiler, generations_max: int = 8) -> None:
        self.engine = Engine(profiles_max=100, generations_max=generations_max)
        self.engine.attach_log(8)
        self.engine.replicated_refused("one host")
        self.waiting = Waiting(self.engine)
        self.catalogue = Catalogue(generations_max)
        self.publisher = Publisher(self.engine, self.catalogue, compiler, self.waiting, Rpc())
        self.following = asyncio.create_task(self.publisher.run())

    async def submitted(self) -> bytes:
        """The batch that a publish has queued."""
        await until(lambda: self.engine.log_waiting(0) > 0)
        return self.engine.log_take(0).data

    async def publish(self, name: str) -> bytes:
        """Publish to the end; gives the batch that the log then has."""
        task = asyncio.create_task(self.publisher.publish(request(name)))
        batch = await self.submitted()
        self.engine.log_done(0, 1, AT, LOGGED)
        await task
        return batch

    def close(self) -> None:
        self.following.cancel()
        self.waiting.close()


async def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)


@pytest.fixture
async def sites() -> AsyncIterator[Callable[..., Site]]:
    compiler = Compiler(60_000)
    made: list[Site] = []

    def make(**bounds: int) -> Site:
        made.append(Site(compiler, **bounds))
        return made[-1]

    yield make
    for site in made:
        site.close()
    compiler.close()


def mutations(batch: bytes) -> list[bytes]:
    parsed = mutation_pb2.MutationBatch.FromString(batch)
    return [one.SerializeToString() for one in parsed.mutations]


async def test_a_playbook_is_active_only_when_the_log_has_it(sites: Callable[..., Site]) -> None:
    site = sites()
    task = asyncio.create_task(site.publisher.publish(request("a")))
    await site.submitted()
    assert site.engine.generation == 0
    site.engine.log_done(0, 1, AT, LOGGED)
    published = await task
    assert (published.generation, site.engine.generation) == (1, 1)
    assert published.position is not None
    assert published.position.sequence == AT[1]


async def test_an_unknown_outcome_is_said_and_settled_when_the_entry_is_read_back(
    sites: Callable[..., Site],
) -> None:
    site = sites()
    task = asyncio.create_task(site.publisher.publish(request("a")))
    batch = await site.submitted()
    site.engine.log_failed(0, 1)
    with pytest.raises(LogFailedError):
        await task
    assert site.engine.generation == 0
    site.publisher.passed(batch)
    await until(lambda: site.engine.generation == 1)
    # The same write again is the same generation.
    again = await site.publisher.publish(request("a"))
    assert again.generation == 1
    assert site.engine.log_waiting(0) == 0


async def test_a_caller_that_gives_up_does_not_undo_it(sites: Callable[..., Site]) -> None:
    site = sites()
    task = asyncio.create_task(site.publisher.publish(request("a")))
    await site.submitted()
    task.cancel()
    site.engine.log_done(0, 1, AT, LOGGED)
    await until(lambda: site.engine.generation == 1)


async def test_with_the_log_away_nothing_is_published(sites: Callable[..., Site]) -> None:
    site = sites()
    site.engine.log_gate(1, "away")
    with pytest.raises(LogAwayError):
        await site.publisher.publish(request("a"))
    site.engine.log_gate(0, "")
    assert site.catalogue.generations() == []


def many_budgets(count: int) -> Plan:
    """Of another playbook, which an engine keeps."""
    budgets = (
        Budget(str(i), b"%16d" % i, 1, (1,), Period.ROLLING, False, False, 1, 60)
        for i in range(count)
    )
    return Plan(hash=b"m" * 16, budgets=tuple(budgets))


def with_budget(name: str) -> playbook_pb2.PublishPlaybookRequest:
    files = {
        "schema.yaml": "events: {impression: {}}\n",
        "placements.yaml": "placements: {page: {}}\n",
        "actions.yaml": "actions: {one: {value: 1}}\n",
        "contact.yaml": f"budgets: {{{name}: {{max: 5, per: all}}}}\n",
    }
    made = playbook_pb2.PublishPlaybookRequest(write_id=f"w-{name}")
    for path, text in files.items():
        made.files.add(path=path, content=text.encode())
    return made


async def test_budgets_without_room_are_refused_before_the_log_has_them(
    sites: Callable[..., Site],
) -> None:
    site = sites()
    site.engine.publish(many_budgets(BUDGETS_MAX))
    with pytest.raises(InvalidRequestError, match=r"budgets: 4,097 .*, allowed: 4,096"):
        async with asyncio.timeout(10):
            await site.publisher.publish(with_budget("one_more"))
    assert site.engine.log_waiting(0) == 0


async def test_a_playbook_without_room_is_left_alone_when_others_publish_it(
    sites: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    there, here = sites(), sites()
    task = asyncio.create_task(there.publisher.publish(with_budget("one_more")))
    batch = await there.submitted()
    there.engine.log_done(0, 1, AT, LOGGED)
    await task
    here.engine.publish(many_budgets(BUDGETS_MAX))
    before = here.engine.playbook_hash
    for mutation in mutations(batch):
        here.publisher.announced(mutation)
    assert await here.publisher.settled(10), "it is not tried for ever"
    assert here.engine.playbook_hash == before
    ((refused, why),) = here.publisher.refused()
    assert (refused.number, "allowed: 4,096" in why) == (1, True)
    assert there.publisher.refused() == []
    # It keeps neither later ones of others back, nor those that are published here.
    batch = await there.publish("plain")
    for mutation in mutations(batch):
        here.publisher.announced(mutation)
    assert await here.publisher.settled(10)
    assert here.engine.playbook_hash == there.engine.playbook_hash
    await here.publish("mine")
    assert here.engine.playbook_hash == here.catalogue.active
    told = [line for line in caplog.messages if "allowed: 4,096" in line]
    assert len(told) == 1


async def test_going_back_to_a_playbook_without_room_is_refused_before_the_log_has_it(
    sites: Callable[..., Site],
) -> None:
    site = sites()
    site.engine.publish(many_budgets(BUDGETS_MAX))
    message = mutation_pb2.Mutation(stamp=1)
    there = sites()
    task = asyncio.create_task(there.publisher.publish(with_budget("one_more")))
    (mutation,) = mutations(await there.submitted())
    there.engine.log_done(0, 1, AT, LOGGED)
    await task
    message.ParseFromString(mutation)
    site.publisher.announced(mutation)
    assert await site.publisher.settled(10)
    with pytest.raises(InvalidRequestError, match=r"allowed: 4,096"):
        async with asyncio.timeout(10):
            await site.publisher.activate("back", message.publication.number)
    assert site.engine.log_waiting(0) == 0


async def test_nodes_that_publish_at_once_agree_on_numbers(sites: Callable[..., Site]) -> None:
    one, two = sites(), sites()
    first, second = await one.publish("a"), await two.publish("b")
    assert one.engine.generation == two.engine.generation == 1
    for site, batch in ((one, second), (two, first)):
        for mutation in mutations(batch):
            site.publisher.announced(mutation)
    await until(lambda: len(one.engine.generations()) == len(two.engine.generations()) == 2)
    await until(lambda: one.engine.playbook_hash == two.engine.playbook_hash)
    numbers = [[(g.number, g.hash) for g in site.engine.generations()] for site in (one, two)]
    assert numbers[0] == numbers[1]
    assert [number for number, _ in numbers[0]] == [1, 2]
    assert one.catalogue.digest() == two.catalogue.digest()


async def test_what_a_snapshot_brings_back_is_compiled_and_active(
    sites: Callable[..., Site],
) -> None:
    one = sites(generations_max=2)
    for name in ("a", "b", "c"):
        await one.publish(name)
    task = asyncio.create_task(one.publisher.activate("x", 2))
    await one.submitted()
    one.engine.log_done(0, 1, AT, LOGGED)
    assert (await task).previous == 3
    two = sites(generations_max=2)
    await two.publisher.restore(one.catalogue.mutations())
    assert two.engine.generation == 2
    assert [each.number for each in two.publisher.generations()] == [2, 3]
    # Stamps go on above those of the snapshot.
    assert two.engine.last_stamp >= one.catalogue.last_stamp
