"""Nodes that die or freeze under load."""

from __future__ import annotations

import asyncio
import time

from tests.faults import checks
from tests.faults.load import APPLIED, Load
from tests.faults.stage import Options, Result, Stage, judge, stage

GAP_S = 0.25
FAILED_SHARE = 0.001
READY_S = 10.0
CATCH_UP_S = 5.0
PAUSE_S = 5.0
TIMER_S = 0.02


async def node_kill(options: Options) -> Result:
    """kill -9 of each node in turn, and its restart, under load at `logged`."""
    result = Result("node-kill")
    async with stage(options) as made, made.load(options, result.history) as load:
        await asyncio.sleep(options.before_s)
        for number in range(options.times):
            await _kill_one(made, number, options, result)
        figures = await judge(made, load, result)
    result.row(options.say, round="end", **figures)
    return result


async def _kill_one(made: Stage, number: int, options: Options, result: Result) -> None:
    node = made.nodes[number % len(made.nodes)]
    killed = result.history.mark(f"killed {node.name}")
    await node.process.killed()
    await asyncio.sleep(options.after_s)
    restarted = result.history.mark(f"started {node.name}")
    await node.start()
    ready_s = time.monotonic() - restarted
    result.history.mark(f"{node.name} is ready")
    await asyncio.sleep(1.0)
    back = checks.decide_figures(result.history.decides, restarted, time.monotonic())
    second = checks.decide_figures(result.history.decides, killed, killed + 1)
    write_gap_s = checks.write_gap(result.history.writes, killed - 0.1, killed + options.after_s)
    result.row(
        options.say,
        round=number + 1,
        killed=node.name,
        failed=second.failed,
        gap_ms=second.gap_s * 1e3,
        write_gap_ms=write_gap_s * 1e3,
        p99_ms=second.p99_s * 1e3,
        ready_s=ready_s,
        failed_then=back.failed,
        gap_then_ms=back.gap_s * 1e3,
        stall_ms=result.history.stall_s(killed, time.monotonic()) * 1e3,
    )
    result.within("error gap", second.gap_s, GAP_S)
    result.within("write gap", write_gap_s, GAP_S)
    result.decided(second.failed, second.calls * FAILED_SHARE)
    result.within("error gap while it starts", back.gap_s, GAP_S)
    result.decided(back.failed, back.calls * FAILED_SHARE)
    result.within("restart to ready", ready_s, READY_S)


async def node_restart(options: Options) -> Result:
    """SIGTERM of each node in turn, and its restart: nothing fails, also not what was APPLIED."""
    result = Result("node-restart")
    async with stage(options) as made, made.load(options, result.history, ack=APPLIED) as load:
        await asyncio.sleep(options.before_s)
        for number in range(options.times):
            node = made.nodes[number % len(made.nodes)]
            stopped = result.history.mark(f"stopped {node.name}")
            await asyncio.to_thread(node.process.stop)
            ended_s = result.history.mark(f"{node.name} has ended") - stopped
            await node.start()
            end = result.history.mark(f"{node.name} is ready")
            await asyncio.sleep(1.0)
            during = checks.decide_figures(result.history.decides, stopped, end)
            result.row(
                options.say,
                round=number + 1,
                stopped=node.name,
                failed=during.failed,
                gap_ms=during.gap_s * 1e3,
                ended_s=ended_s,
                exit=str(node.process.exit_code),
                stall_ms=result.history.stall_s(stopped, end) * 1e3,
            )
            result.decided(during.failed)
            result.must(node.process.exit_code == 0, f"exit code {node.process.exit_code}")
        figures = await judge(made, load, result)
    result.row(options.say, round="end", **figures)
    return result


async def node_pause(options: Options) -> Result:
    """SIGSTOP of a node for 5 seconds: calls end by their deadline, and it catches up."""
    result = Result("node-pause")
    async with stage(options) as made, made.load(options, result.history) as load:
        await asyncio.sleep(options.before_s)
        for number in range(options.times):
            await _pause_one(made, load, number, options, result)
        figures = await judge(made, load, result)
    result.row(options.say, round="end", **figures)
    return result


async def _pause_one(
    made: Stage, load: Load, number: int, options: Options, result: Result
) -> None:
    node = made.nodes[number % len(made.nodes)]
    paused = result.history.mark(f"paused {node.name}")
    node.process.pause()
    await asyncio.sleep(PAUSE_S)
    node.process.resume()
    resumed = result.history.mark(f"resumed {node.name}")
    end = (await made.nodes[number % len(made.nodes) - 1].standing()).place
    caught_up_s = await _reached(made, node.name, end[:2])
    await asyncio.sleep(options.after_s)
    during = checks.decide_figures(result.history.decides, paused, resumed)
    invoked, ended, _ = result.history.decides.columns()
    longest_s = float((ended - invoked)[(invoked >= paused) & (invoked < resumed)].max())
    result.row(
        options.say,
        round=number + 1,
        paused=node.name,
        failed=during.failed,
        gap_ms=during.gap_s * 1e3,
        longest_ms=longest_s * 1e3,
        caught_up_s=caught_up_s,
    )
    result.within("longest call", longest_s, load.plan.decide_timeout_s + TIMER_S)
    result.within("caught up", caught_up_s, CATCH_UP_S)


async def _reached(made: Stage, name: str, end: tuple[int, int]) -> float:
    """How long until the node stands at `end` or behind it."""
    started = time.monotonic()
    while time.monotonic() - started < 2 * CATCH_UP_S:
        if any(one.node == name and one.place[:2] >= end for one in await made.standings()):
            break
        await asyncio.sleep(0.05)
    return time.monotonic() - started
