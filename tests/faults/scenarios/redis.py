"""Redis that dies, is wiped, full, slow or out of reach."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from tests.faults import checks
from tests.faults.history import OK
from tests.faults.load import REPLICATED
from tests.faults.processes import FaultError, Processes, until
from tests.faults.proxy import ProxyProcess
from tests.faults.redis_cluster import RedisCluster, Settings
from tests.faults.stage import (
    LASTING_RATIO,
    SUDDEN_RATIO,
    Options,
    Result,
    Stage,
    judge,
    stage,
)

RESUME_S = 5.0
REFUSED_S = 0.1
DETECT_S = 1.0
FULL_BYTES = 1_000_000
DELAYS_S = (0.05, 0.5)
ALONE = Settings(hosts=1, sentinels=(), more={"min-replicas-to-write": "0"})


async def master_kill(options: Options) -> Result:
    """kill -9 of the Redis master under load at `replicated`; it comes back as a replica."""
    result = Result("master-kill")
    async with stage(options) as made, made.load(options, result.history, ack=REPLICATED) as load:
        await asyncio.sleep(options.before_s)
        for number in range(options.times):
            await _kill_master(made, number, options, result)
        figures = await judge(made, load, result)
    result.row(options.say, round="end", **figures)
    return result


async def _kill_master(made: Stage, number: int, options: Options, result: Result) -> None:
    history, cluster = result.history, made.redis
    old = cluster.master()
    assert old is not None
    killed = history.mark(f"killed {old.name}, the master")
    await old.process.killed()
    new = await cluster.failed_over(old)
    promoted_s = history.mark(f"{new.name} is the master") - killed
    await _acknowledged_again(result, killed)
    await asyncio.sleep(options.after_s)
    end = time.monotonic()
    percentiles = result.percentiles(killed - options.before_s, killed, end, SUDDEN_RATIO)
    during = checks.decide_figures(history.decides, killed, end)
    resumed_s = checks.write_gap(history.writes, killed - 0.1, end)
    result.row(
        options.say,
        round=number + 1,
        promoted_s=promoted_s,
        resumed_s=resumed_s,
        failed=during.failed,
        **percentiles,
        stall_ms=history.stall_s(killed, end) * 1e3,
    )
    result.decided(during.failed)
    result.within("writes resume", resumed_s, RESUME_S)
    if number + 1 < options.times:
        old.process.start()
        await cluster.whole()
        await asyncio.sleep(options.before_s)


async def master_pause(options: Options) -> Result:
    """SIGSTOP of the Redis master until another leads; then it goes on, and is no master."""
    result = Result("master-pause")
    history = result.history
    async with stage(options) as made, made.load(options, history, ack=REPLICATED) as load:
        await asyncio.sleep(options.before_s)
        old = made.redis.master()
        assert old is not None
        paused = history.mark(f"paused {old.name}, the master")
        old.process.pause()
        new = await made.redis.failed_over(old)
        history.mark(f"{new.name} is the master")
        await _acknowledged_again(result, paused)
        old.process.resume()
        resumed = history.mark(f"{old.name} goes on")
        # It believes to be the master until a Sentinel tells it otherwise.
        await asyncio.sleep(options.after_s)
        await made.redis.whole()
        end = time.monotonic()
        percentiles = result.percentiles(paused - options.before_s, paused, end, SUDDEN_RATIO)
        during = checks.decide_figures(history.decides, paused, end)
        write_gap_s = checks.write_gap(history.writes, paused - 0.1, resumed)
        late_gap_s = checks.write_gap(history.writes, resumed, end)
        figures = await judge(made, load, result)
    result.row(
        options.say,
        failed=during.failed,
        **percentiles,
        resumed_s=write_gap_s,
        late_gap_s=late_gap_s,
        **figures,
    )
    result.decided(during.failed)
    result.within("writes resume", write_gap_s, RESUME_S)
    result.within("writes stop when the old master goes on", late_gap_s, 1.0)
    return result


async def _acknowledged_again(result: Result, since_s: float) -> None:
    """Wait until a write that was made after `since_s` is acknowledged."""

    async def found() -> bool:
        recent = result.history.writes[-1_000:]
        return any(one.invoked_s > since_s + 1 and one.outcome == OK for one in recent)

    try:
        await until(found, 4 * RESUME_S, "writes resume")
    except FaultError as error:
        result.faults.append(str(error))


async def redis_away(options: Options) -> Result:
    """All of Redis dead for a while: decisions go on, writes fail fast, nothing is lost."""
    result = Result("redis-away")
    history = result.history
    async with stage(options) as made, made.load(options, history) as load:
        await asyncio.sleep(options.before_s)
        killed = history.mark("killed all of Redis")
        for server in made.redis.servers:
            await server.process.killed()
        await asyncio.sleep(1.0)
        settled = time.monotonic()
        await asyncio.sleep(options.after_s)
        back = history.mark("started all of Redis")
        await made.redis.start()
        await _acknowledged_again(result, back)
        resumed = history.mark("writes are acknowledged again")
        await asyncio.sleep(options.after_s)
        percentiles = result.percentiles(killed - options.before_s, killed, back, SUDDEN_RATIO)
        during = checks.decide_figures(history.decides, killed, back)
        refused = [one for one in history.writes if settled < one.invoked_s < back - 0.5]
        longest_s = max((one.ended_s - one.invoked_s for one in refused), default=0.0)
        figures = await judge(made, load, result)
    result.row(
        options.say,
        failed=during.failed,
        **percentiles,
        refused=len(refused),
        refused_in_ms=longest_s * 1e3,
        staleness_ms=history.decides.staleness_ms_max,
        degraded=history.decides.degraded,
        resumed_s=resumed - back,
        **figures,
    )
    result.decided(during.failed)
    # Both attempts, each of which is to fail within the bound.
    result.within("writes fail", longest_s, 2 * REFUSED_S)
    result.must(history.decides.degraded > 0, "no answer said that the log was away")
    result.must(
        history.decides.staleness_ms_max >= 1_000 * options.after_s, "staleness stood still"
    )
    return result


async def redis_wiped(options: Options) -> Result:
    """All of Redis killed and restarted empty: noticed, refused, and re-seeded by one command."""
    result = Result("redis-wiped")
    history = result.history
    async with stage(options) as made, made.load(options, history) as load:
        await asyncio.sleep(options.before_s)
        history.mark("wiped and restarted Redis")
        for server in made.redis.servers:
            await server.process.killed()
            server.wipe_disk()
        await made.redis.start()
        back = history.mark("Redis answers")
        noticed_s = await _all_say(made, "reset", result)
        history.mark("all nodes say so")
        await asyncio.sleep(options.after_s)
        silent = [one for one in history.writes if back < one.invoked_s and one.outcome == OK]
        await made.nodes[0].reseed()
        history.mark("re-seeded")
        await _acknowledged_again(result, time.monotonic() - 1)
        resumed_s = history.mark("writes are acknowledged again") - back
        await asyncio.sleep(options.after_s)
        during = checks.decide_figures(history.decides, back, time.monotonic())
        figures = await judge(made, load, result)
    result.row(
        options.say, noticed_s=noticed_s, resumed_s=resumed_s, failed=during.failed, **figures
    )
    result.within("noticed", noticed_s, DETECT_S)
    result.must(not silent, f"{len(silent)} writes were acknowledged by an empty log")
    result.decided(during.failed)
    return result


async def redis_flushed(options: Options) -> Result:
    """FLUSHALL on the master, which keeps its branch: noticed, refused, and re-seeded."""
    result = Result("redis-flushed")
    history = result.history
    async with stage(options) as made, made.load(options, history, ack=REPLICATED) as load:
        await asyncio.sleep(options.before_s)
        master = made.redis.master()
        assert master is not None
        flushed = history.mark("FLUSHALL")
        await asyncio.to_thread(master.run, "FLUSHALL")
        noticed_s = await _all_say(made, "reset", result)
        noticed = history.mark("all nodes say so")
        await asyncio.sleep(options.after_s)
        silent = [one for one in history.writes if noticed < one.invoked_s and one.outcome == OK]
        await made.nodes[-1].reseed()
        await _acknowledged_again(result, time.monotonic() - 1)
        resumed_s = history.mark("writes are acknowledged again") - flushed
        during = checks.decide_figures(history.decides, flushed, time.monotonic())
        figures = await judge(made, load, result)
    result.row(
        options.say, noticed_s=noticed_s, resumed_s=resumed_s, failed=during.failed, **figures
    )
    result.within("noticed", noticed_s, DETECT_S)
    result.must(not silent, f"{len(silent)} writes were acknowledged by an empty log")
    result.decided(during.failed)
    return result


async def _all_say(made: Stage, state: str, result: Result) -> float:
    """How long until every node's log is at that state."""
    started = time.monotonic()

    async def said() -> bool:
        states = await asyncio.gather(*(node.state() for node in made.nodes))
        return set(states) == {state}

    try:
        await until(said, 15.0, f"every node says {state}")
    except FaultError as error:
        result.faults.append(str(error))
    return time.monotonic() - started


async def redis_full(options: Options) -> Result:
    """Redis at `maxmemory`: writes are refused, decisions go on, and writing resumes by itself."""
    result = Result("redis-full")
    history = result.history
    async with stage(options) as made, made.load(options, history) as load:
        await asyncio.sleep(options.before_s)
        full = history.mark("maxmemory reached")
        for server in made.redis.servers:
            server.set("maxmemory", FULL_BYTES)
        await asyncio.sleep(options.after_s)
        states = [await node.state() for node in made.nodes]
        free = history.mark("maxmemory raised")
        refused = [one for one in history.writes if full + 1 < one.invoked_s and one.outcome != OK]
        for server in made.redis.servers:
            server.set("maxmemory", 0)
        await _acknowledged_again(result, free - 1)
        resumed_s = history.mark("writes are acknowledged again") - free
        await asyncio.sleep(options.after_s)
        percentiles = result.percentiles(full - options.before_s, full, free, LASTING_RATIO)
        during = checks.decide_figures(history.decides, full, free)
        statuses = sorted({one.status.split(",")[0][:70] for one in refused})
        figures = await judge(made, load, result)
    result.row(
        options.say,
        states="/".join(states),
        refused=len(refused),
        status=" | ".join(statuses[:3]),
        failed=during.failed,
        **percentiles,
        resumed_s=resumed_s,
        **figures,
    )
    result.must(bool(refused), "no write was refused")
    result.must(set(states) == {"full"}, f"states: {states}, wanted: full")
    result.decided(during.failed)
    result.within("writes resume", resumed_s, RESUME_S)
    return result


async def redis_slow(options: Options) -> Result:
    """Redis answers 50 and 500 ms late: decisions do not notice, writes wait, memory is bounded."""
    result = Result("redis-slow")
    history = result.history
    folder = options.folder / "redis"
    folder.mkdir()
    with Processes(folder) as processes:
        cluster = RedisCluster(processes, ALONE)
        await cluster.start()
        async with (
            ProxyProcess(processes, *cluster.servers[0].address) as proxy,
            stage(options, log=f"redis://{proxy.address}") as made,
            made.load(options, history, write_timeout_s=10.0) as load,
        ):
            await asyncio.sleep(options.before_s)
            for delay_s in DELAYS_S:
                await _slow(proxy, made, delay_s, options, result)
            figures = await judge(made, load, result)
    result.row(options.say, delay_ms="end", **figures)
    return result


async def redis_deaf(options: Options) -> Result:
    """Redis hears and its replies are lost: outcomes are unknown, and nothing counts twice."""
    result = Result("redis-deaf")
    history = result.history
    folder = options.folder / "redis"
    folder.mkdir()
    with Processes(folder) as processes:
        cluster = RedisCluster(processes, ALONE)
        await cluster.start()
        async with (
            ProxyProcess(processes, *cluster.servers[0].address) as proxy,
            stage(options, log=f"redis://{proxy.address}") as made,
            made.load(options, history) as load,
        ):
            await asyncio.sleep(options.before_s)
            deaf = history.mark("replies are lost")
            proxy.set(drop_replies=True)
            await asyncio.sleep(options.after_s)
            heard = history.mark("replies arrive")
            proxy.set(drop_replies=False)
            await _acknowledged_again(result, heard - 1)
            resumed_s = history.mark("writes are acknowledged again") - heard
            await asyncio.sleep(options.after_s)
            during = checks.decide_figures(history.decides, deaf, heard)
            took = [w.ended_s - w.invoked_s for w in history.writes if deaf < w.invoked_s < heard]
            figures = await judge(made, load, result)
    result.row(
        options.say,
        failed=during.failed,
        longest_write_ms=max(took) * 1e3,
        resumed_s=resumed_s,
        **figures,
    )
    result.decided(during.failed)
    result.within("writes end", max(took), 2 * REFUSED_S)
    result.within("writes resume", resumed_s, RESUME_S)
    return result


async def _slow(
    proxy: ProxyProcess, made: Stage, delay_s: float, options: Options, result: Result
) -> None:
    history = result.history
    resident = sum(node.process.resident_bytes() for node in made.nodes)
    at = history.mark(f"Redis answers {delay_s * 1e3:.0f} ms late")
    proxy.set(delay_s=delay_s)
    await asyncio.sleep(options.after_s + 4 * delay_s)
    end = history.mark("Redis is prompt again")
    proxy.set(delay_s=0.0)
    percentiles = result.percentiles(at - options.before_s, at, end, LASTING_RATIO)
    during = checks.decide_figures(history.decides, at, end)
    took = [one.ended_s - one.invoked_s for one in history.writes if at < one.invoked_s < end - 2]
    grown = sum(node.process.resident_bytes() for node in made.nodes) / resident - 1
    await asyncio.sleep(options.before_s)
    result.row(
        options.say,
        delay_ms=delay_s * 1e3,
        failed=during.failed,
        **percentiles,
        write_p50_ms=float(np.median(took)) * 1e3 if took else float("nan"),
        memory_growth=grown,
    )
    result.decided(during.failed)
    result.at_most("memory growth", grown, 0.1)
