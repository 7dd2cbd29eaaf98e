"""Networks that part: between Redis hosts, Sentinels and nodes, each in a namespace of its own."""

from __future__ import annotations

import asyncio
import time

import grpc

from tests.faults import checks
from tests.faults.history import OK
from tests.faults.load import LOGGED, REPLICATED
from tests.faults.redis_cluster import Settings
from tests.faults.stage import CONVERGE_S, Options, Result, Stage, judge, stage

SPLIT_S = 10.0
_MASTER = ("master", "n1")


async def split_master(options: Options) -> Result:
    """{master, one node} | {replicas, other nodes}: a replica is promoted; a tail is lost."""
    return await _split("split-master", _MASTER, ["n1"], options, promotes=True)


async def split_replica(options: Options) -> Result:
    """{master, a replica, one node} | {the other replica, other nodes}: nobody is promoted."""
    return await _split("split-replica", (*_MASTER, "replica"), ["n2", "n3"], options)


async def split_node(options: Options) -> Result:
    """{one node} | {all the others}: it decides on, says how stale it is, and catches up."""
    return await _split("split-node", ("n1",), ["n1"], options)


async def _split(
    name: str, side: tuple[str, ...], away: list[str], options: Options, *, promotes: bool = False
) -> Result:
    """Cut `side` from all others; the nodes `away` are then without the log.

    "master" and "replica" stand for the hosts that are so at the time.
    """
    result = Result(name)
    async with (
        stage(options, in_namespaces=True) as made,
        made.load(options, result.history, ack=REPLICATED) as load,
    ):
        assert made.network is not None
        for number in range(options.times):
            await asyncio.sleep(options.before_s)
            await _split_once(made, side, away, number, options, result, promotes)
            if number + 1 < options.times:
                # A master that was replaced follows the new one only after some ten seconds.
                await made.redis.whole()
        healed = result.history.marks[-1].at_s
        took_s = time.monotonic() - healed
        figures = await judge(made, load, result)
    result.row(options.say, round="end", after_s=took_s, **figures)
    return result


async def _split_once(
    made: Stage,
    side: tuple[str, ...],
    away: list[str],
    number: int,
    options: Options,
    result: Result,
    promotes: bool,
) -> None:
    assert made.network is not None
    history, old = result.history, made.redis.master()
    assert old is not None
    diverged = [(await node.status()).divergences for node in made.nodes]
    hosts = _hosts(made, side)
    cut = history.mark(f"cut {', '.join(hosts)} from the rest")
    made.network.split(hosts)
    await asyncio.sleep(SPLIT_S)
    promoted = made.redis.master() is not old
    degraded = [list((await node.status()).degraded) for node in made.nodes]
    healed = history.mark("healed")
    made.network.heal()
    # Under load no two nodes stand at one place for long: what counts is that the log goes on.
    await _all_follow(made, healed)
    followed_s = history.mark("all nodes follow the log") - healed
    after = [(await node.status()).divergences for node in made.nodes]
    during = checks.decide_figures(history.decides, cut, healed)
    acknowledged = sum(cut < one.invoked_s < healed and one.outcome == OK for one in history.writes)
    result.row(
        options.say,
        round=number + 1,
        promoted=str(promoted),
        failed=during.failed,
        acknowledged=acknowledged,
        degraded="/".join(str(len(one)) for one in degraded),
        diverged="/".join(str(b - a) for a, b in zip(diverged, after, strict=True)),
        followed_s=followed_s,
    )
    result.must(promoted == promotes, f"promoted: {promoted}, wanted: {promotes}")
    result.decided(during.failed)
    result.within("all follow after healing", followed_s, CONVERGE_S)
    for node, said in zip(made.nodes, degraded, strict=True):
        wanted = node.name in away
        result.must(bool(said) == wanted, f"{node.name} degraded: {bool(said)}, wanted: {wanted}")
    if promotes:
        result.must(after[0] > diverged[0], "n1 did not report that its branch was lost")


async def _all_follow(made: Stage, since_s: float) -> None:
    while time.monotonic() - since_s < 3 * CONVERGE_S:
        states = await asyncio.gather(*(node.state() for node in made.nodes))
        standings = await made.standings()
        if set(states) == {"following"} and len({one.place.epoch for one in standings}) == 1:
            return
        await asyncio.sleep(0.05)


def _hosts(made: Stage, side: tuple[str, ...]) -> list[str]:
    cluster, master = made.redis, made.redis.master()
    assert master is not None
    names = {"master": master, "replica": cluster.replicas()[0]}
    return [
        cluster.hosts[cluster.servers.index(names[one])] if one in names else one for one in side
    ]


async def split_sentinels(options: Options) -> Result:
    """All Sentinels on one host: `replicated` is refused with the reason, `logged` is not."""
    result = Result("split-sentinels")
    settings = Settings(sentinels=(2, 2, 2))
    async with (
        stage(options, settings=settings, in_namespaces=True) as made,
        made.load(options, result.history, ack=REPLICATED) as load,
    ):
        await asyncio.sleep(options.before_s)
        await load.stop()
        writes = result.history.writes
        codes = {one.status.partition(":")[0] for one in writes}
        acknowledged = sum(one.outcome == OK for one in writes)
        reasons = {(await node.status()).replicated_refused for node in made.nodes}
        left = await load.settle(5.0, LOGGED)
    result.row(options.say, writes=len(writes), codes="/".join(codes), reason="/".join(reasons))
    result.must(not acknowledged, f"{acknowledged} writes were acknowledged at replicated")
    result.must(codes == {grpc.StatusCode.FAILED_PRECONDITION.name}, f"codes: {codes}")
    result.must(all(reasons), "a node does not say why")
    result.must(not left, f"{left} writes were refused at logged too")
    return result
