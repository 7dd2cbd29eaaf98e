"""Consents over real nodes and Redis: after the acknowledgement no node decides without it."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from nextbest.client import AsyncClient, Client, UnavailableError
from nextbest.v1 import (
    common_pb2,
    decision_pb2,
    decision_pb2_grpc,
    profile_pb2,
    profile_pb2_grpc,
)
from tests.faults import redis_cluster
from tests.faults.nodes import Node
from tests.faults.processes import Processes, until
from tests.faults.proxy import Proxy
from tests.faults.redis_cluster import RedisCluster, Settings

PLAYBOOK = Path(__file__).resolve().parents[2] / "server" / "examples" / "consent"
STALE = common_pb2.DEGRADATION_CONSENT_STALE
LEASE_S = 3.0
# What a busy machine adds.
SLACK_S = 2.0
WORKERS = 2
PEOPLE = [f"p{number}" for number in range(24)]
# Generated stubs have no types.
_DECISIONS: Any = decision_pb2_grpc.DecisionServiceStub
_PROFILES: Any = profile_pb2_grpc.ProfileServiceStub

pytestmark = pytest.mark.skipif(
    bool(redis_cluster.unavailable()), reason=redis_cluster.unavailable()
)


class Decided(NamedTuple):
    """A decision: when its call was sent and which moment it was made for, by the wall clock."""

    node: str
    person: str
    sent_s: float
    made_s: float
    gated: bool
    stale: bool


class Cluster:
    """Nodes, calls to them, and what their decisions were."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.decided: list[Decided] = []
        # When it was acknowledged that a person takes their consent back.
        self.revoked: dict[str, float] = {}
        self._channels = {
            address: grpc.aio.insecure_channel(
                address, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            for node in nodes
            for address in (node.endpoint.lane, node.endpoint.control)
        }
        self._lanes = {n.name: _DECISIONS(self._channels[n.endpoint.lane]) for n in nodes}
        self._controls = {n.name: _DECISIONS(self._channels[n.endpoint.control]) for n in nodes}
        self._profiles = {n.name: _PROFILES(self._channels[n.endpoint.control]) for n in nodes}

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def say(self, node: Node, person: str, status: str, within_s: float = 10.0) -> float:
        """Have a person say something of e-mails; how long the answer took, in seconds."""
        request = profile_pb2.SetConsentRequest(
            write_id=f"{person}-{status}-{time.time_ns()}",
            identity=common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=person),
            purpose="email_marketing",
            status=f"CONSENT_STATUS_{status.upper()}",
        )
        if status == "granted":
            request.lawful_basis = profile_pb2.LAWFUL_BASIS_CONSENT
        while True:
            begun_s = time.monotonic()
            try:
                await self._profiles[node.name].SetConsent(request, timeout=within_s)
                break
            except grpc.aio.AioRpcError as error:
                # On a busy machine the log may take longer than a write is waited for.
                if why(error) != "LOG_FAILED":
                    raise
        if status != "granted":
            self.revoked[person] = time.time()
        return time.monotonic() - begun_s

    async def erase(self, node: Node, person: str) -> None:
        """Have a person forgotten."""
        request = profile_pb2.EraseProfileRequest(
            write_id=f"{person}-erased",
            identity=common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=person),
        )
        await self._profiles[node.name].EraseProfile(request, timeout=10.0)
        self.revoked[person] = time.time()

    async def refused(self, node: Node, person: str, **more: Any) -> str:
        """The error of a denial."""
        request = profile_pb2.SetConsentRequest(
            write_id=f"{person}-{time.time_ns()}",
            identity=common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=person),
            purpose="email_marketing",
            status=profile_pb2.CONSENT_STATUS_DENIED,
            **more,
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self._profiles[node.name].SetConsent(request, timeout=10.0)
        return str(refused.value.details())

    async def decide(self, node: Node, person: str, lane: bool = True) -> Decided:
        request = decision_pb2.DecideRequest(
            identity=common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=person),
            placements=["home"],
        )
        stub = (self._lanes if lane else self._controls)[node.name]
        sent_s = time.time()
        answer = await stub.Decide(request, timeout=60.0)
        proposed = {one.action for one in answer.placements[0].propositions}
        assert "welcome" in proposed
        made_s = answer.now.seconds + answer.now.nanos / 1e9
        done = Decided(
            node.name,
            person,
            sent_s,
            made_s,
            "newsletter" in proposed,
            STALE in answer.degraded,
        )
        self.decided.append(done)
        return done

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Decisions of all people on all nodes, over both lanes, while the block runs."""

        async def work(node: Node, number: int) -> None:
            chance = random.Random(f"{node.name}{number}")
            while True:
                await self.decide(node, chance.choice(PEOPLE), lane=number % 4 != 3)

        tasks = [
            asyncio.create_task(work(node, number))
            for node in self.nodes
            for number in range(WORKERS)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            failed = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one for one in failed if not isinstance(one, asyncio.CancelledError)] == []

    async def live(self, *nodes: Node) -> None:
        """Wait until consents hold there."""
        for node in nodes:

            async def fresh(node: Node = node) -> bool:
                return not (await self.decide(node, "somebody")).stale

            await until(fresh, 30.0, f"consents hold on {node.name}")

    def check(self) -> None:
        """No decision after an acknowledgement uses what was taken back."""
        late = [
            one
            for one in self.decided
            if one.gated
            and one.person in self.revoked
            and max(one.sent_s, one.made_s) > self.revoked[one.person]
        ]
        assert late == []
        # What does not hold is dropped; what is dropped for the lease is said.
        assert not any(one.gated and one.stale for one in self.decided)
        before = [one for one in self.decided if one.gated]
        assert len(before) > 100
        assert {one.node for one in before} == {node.name for node in self.nodes}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as made:
        yield made


@asynccontextmanager
async def started(processes: Processes, urls: list[str]) -> AsyncIterator[Cluster]:
    """Nodes that follow logs, with people who have all granted, and leases of before run out."""
    nodes = [
        Node(processes, f"n{number}", url, playbook=PLAYBOOK) for number, url in enumerate(urls, 1)
    ]
    for node in nodes:
        await node.start()
    cluster = Cluster(nodes)
    try:
        for person in PEOPLE:
            await cluster.say(nodes[0], person, "granted")
        await cluster.live(*nodes)
        await asyncio.sleep(LEASE_S + 0.5)
        yield cluster
    finally:
        await cluster.close()
        for node in nodes:
            await node.close()


def why(error: grpc.aio.AioRpcError) -> str:
    """The reason in a typed error."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = status_pb2.Status.FromString(value).details
            info = error_details_pb2.ErrorInfo()
            if any(one.Unpack(info) for one in details):
                return info.reason
    return ""


@pytest.mark.timeout(240)
async def test_three_nodes_under_load_one_cut_off_and_one_frozen(processes: Processes) -> None:
    redis = RedisCluster(processes, Settings(hosts=1, sentinels=(), more=ALONE))
    await redis.start()
    host, port = redis.servers[0].address
    async with (
        Proxy(host, port) as proxy,
        started(processes, [redis.url, f"redis://{proxy.address}", redis.url]) as cluster,
    ):
        first, second, third = cluster.nodes
        people = iter(PEOPLE)
        async with cluster.load():
            # All are well.
            took = [await cluster.say(first, next(people), "revoked") for _ in range(8)]
            assert min(took) < 0.5
            # One is cut off: the answer comes once its lease is over.
            proxy.silent = True
            took_s = await cluster.say(first, next(people), "revoked")
            assert 0.5 < took_s < LEASE_S + SLACK_S
            stale = await cluster.decide(second, PEOPLE[-1])
            assert stale.stale
            assert not stale.gated
            assert min([await cluster.say(first, next(people), "revoked") for _ in range(3)]) < 0.5
            await cluster.erase(first, next(people))
            # Not in time: the error says so, and the write stands.
            proxy.silent = False
            proxy.cut()
            await cluster.live(second)
            proxy.silent = True
            person = next(people)
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await cluster.say(first, person, "revoked", within_s=0.7)
            assert why(late.value) == "MEMBERS_BEHIND", late.value
            await cluster.say(first, person, "revoked")
            proxy.silent = False
            proxy.cut()
            await cluster.live(first, second, third)
        async with cluster.load():
            # One is frozen whole: it wakes with its lease over, calls waiting at its door.
            third.process.pause()
            frozen = next(people)
            await cluster.say(first, frozen, "revoked")
            asked = [asyncio.create_task(cluster.decide(third, frozen)) for _ in range(10)]
            await asyncio.sleep(0.2)
            third.process.resume()
            assert not any(one.gated for one in await asyncio.gather(*asked))
            await cluster.live(first, second, third)
        cluster.check()


async def test_both_clients_are_told_who_is_behind_before_their_deadline(
    processes: Processes,
) -> None:
    redis = RedisCluster(processes, Settings(hosts=1, sentinels=(), more=ALONE))
    await redis.start()
    async with started(processes, [redis.url, redis.url]) as cluster:
        first, second = cluster.nodes
        address = first.endpoint.control
        second.process.pause()
        try:
            async with AsyncClient(address) as client:
                with Client(address) as waiting:
                    # At once: the lease of the frozen one is short.
                    told = await asyncio.gather(
                        client.set_consent("ann", "profiling", "revoked", timeout=1.0),
                        asyncio.to_thread(waiting.erase_profile, "bob", timeout=1.0),
                        return_exceptions=True,
                    )
        finally:
            second.process.resume()
        for error in told:
            assert isinstance(error, UnavailableError), error
            assert error.reason == "MEMBERS_BEHIND"
            # The member's name is its host's, with a number.
            assert re.search(r": \S+:\w+; the write stands", error.message)


@pytest.mark.timeout(240)
async def test_two_nodes_while_another_master_takes_over(processes: Processes) -> None:
    redis = RedisCluster(processes)
    await redis.start()
    async with started(processes, [redis.url, redis.url]) as cluster:
        first, second = cluster.nodes
        people = iter(PEOPLE)
        async with cluster.load():
            await cluster.say(first, next(people), "revoked")
            old = redis.master()
            assert old is not None
            old.process.pause()
            # As an application does: again until it is answered.
            for node in (first, second, first):
                person = next(people)
                while person not in cluster.revoked:
                    try:
                        await cluster.say(node, person, "revoked", within_s=6.0)
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.1)
            old.process.resume()
            await redis.whole()
            await cluster.live(first, second)
            for _ in range(3):
                await cluster.say(second, next(people), "revoked")
        cluster.check()
        assert any(one.stale for one in cluster.decided)


async def test_a_node_with_a_log_of_its_own_waits_for_nobody(processes: Processes) -> None:
    node = Node(processes, "n1", "", playbook=PLAYBOOK)
    await node.start()
    cluster = Cluster([node])
    try:
        await cluster.say(node, "ann", "granted")
        assert (await cluster.decide(node, "ann")).gated
        assert await cluster.say(node, "ann", "revoked") < LEASE_S
        found = await cluster.decide(node, "ann")
        assert not found.gated
        assert not found.stale
        assert not (await node.status()).HasField("lease_left_ms")
        applied = {"ack": common_pb2.ACK_LEVEL_APPLIED}
        every = {"await_members": common_pb2.AWAIT_MEMBERS_EVERY}
        assert "await_members: EVERY, with ack APPLIED" in await cluster.refused(
            node, "ann", **applied, **every
        )
        assert "await_members: 7" in await cluster.refused(node, "ann", await_members=7)
    finally:
        await cluster.close()
        await node.close()


# One Redis without replicas takes writes all the same.
ALONE = {"min-replicas-to-write": "0"}
