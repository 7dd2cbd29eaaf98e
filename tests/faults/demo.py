"""`make demo-cluster`: the Redis master dies, then a node, and nothing is lost; watch it happen.

Two nodes, three Redis servers, three Sentinels, and a client that decides and writes all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.faults import checks
from tests.faults.history import OK, UNKNOWN, History
from tests.faults.load import REPLICATED
from tests.faults.processes import FaultError, until
from tests.faults.stage import Options, Result, Stage, UnavailableError, judge, stage

CALM_S: Final = 3.0
DECIDES_PER_S: Final = 1_000
WRITES_PER_S: Final = 100
DECIDE_TIMEOUT_S: Final = 1.0
PATIENCE_S: Final = 30.0
EXIT_LOST, EXIT_UNAVAILABLE = 1, 3
_BARS: Final = " ▁▂▃▄▅▆▇█"
_BAR_S: Final = 0.25


class Timeline:
    """Lines with the time that has passed since the client began."""

    def __init__(self, console: Console, history: History) -> None:
        self._console = console
        self._history = history
        self.began_s = time.monotonic()

    def say(self, sign: str, style: str, text: str) -> float:
        """Add a line; returns the moment."""
        at = self._history.mark(text)
        line = Text(f"{at - self.began_s:7.2f} s  ")
        line.append(f"{sign} {text}", style=style)
        self._console.print(line, soft_wrap=True)
        return at

    def bad(self, text: str) -> float:
        """Something is broken on purpose."""
        return self.say("✗", "bold red", text)

    def good(self, text: str) -> float:
        """Something works again."""
        return self.say("✓", "green", text)

    def note(self, text: str) -> float:
        """Something else happened."""
        return self.say("·", "", text)


async def demonstrate(console: Console, folder: Path) -> bool:
    """Show it; whether nothing was lost."""
    options = Options(
        folder,
        decides_per_s=DECIDES_PER_S,
        writes_per_s=WRITES_PER_S,
        decide_timeout_s=DECIDE_TIMEOUT_S,
    )
    result = Result("demo-cluster")
    console.print("Starting three Redis servers, three Sentinels and two nodes ...")
    started = time.monotonic()
    async with stage(options, nodes=2) as made:
        console.print(
            f"They are up after {time.monotonic() - started:.1f} s.  A client decides "
            f"{DECIDES_PER_S:,} times and writes {WRITES_PER_S} times a second; a write counts as "
            "acknowledged once the master, a replica and the node hold it.\n",
            soft_wrap=not console.is_terminal,
        )
        async with made.load(options, result.history, ack=REPLICATED) as load:
            timeline = Timeline(console, result.history)
            timeline.note("the client begins")
            await asyncio.sleep(CALM_S)
            promoted_s = await _kill_master(made, timeline, result)
            await asyncio.sleep(CALM_S)
            await _kill_node(made, timeline, result)
            await asyncio.sleep(CALM_S)
            stopped = timeline.note("the client stops; what is unknown is sent again, same ids")
            figures = await judge(made, load, result)
            timeline.good(
                f"both nodes hold the same: digest {await _digest(made)}"
                if not result.faults
                else "the nodes have been counted"
            )
    _charts(console, result.history, timeline.began_s, stopped)
    console.print(_summary(result, figures, promoted_s, timeline.began_s, stopped))
    for fault in result.faults:
        console.print(f"broken: {fault}", style="bold red")
    return not result.faults


async def _kill_master(made: Stage, timeline: Timeline, result: Result) -> float:
    """Kill the Redis master, and watch a replica take over."""
    old = made.redis.master()
    assert old is not None
    killed = timeline.bad(f"kill -9 of {old.name}, the Redis master")
    await old.process.killed()
    await _mention_wait(timeline, result.history, killed)
    new = await made.redis.failed_over(old, PATIENCE_S)
    promoted_s = time.monotonic() - killed
    timeline.note(f"the Sentinels promote {new.name}, {promoted_s:.1f} s after the kill")
    await _writes_again(result.history, killed)
    gap_s = checks.write_gap(result.history.writes, killed - 0.5, time.monotonic())
    failed = checks.decide_figures(result.history.decides, killed, time.monotonic()).failed
    timeline.good(f"writes are acknowledged again, after {gap_s:.1f} s without one")
    timeline.good(f"decisions went on from memory: {failed} failed")
    return promoted_s


async def _mention_wait(timeline: Timeline, history: History, killed: float) -> None:
    await asyncio.sleep(0.5)
    waiting = sum(one.invoked_s > killed and one.outcome != OK for one in history.writes)
    timeline.note(f"{waiting} writes wait or are told to try again; decisions go on")


async def _writes_again(history: History, since_s: float) -> None:
    async def found() -> bool:
        return any(w.invoked_s > since_s + 0.5 and w.outcome == OK for w in history.writes)

    await until(found, PATIENCE_S, "writes are acknowledged again")


async def _kill_node(made: Stage, timeline: Timeline, result: Result) -> None:
    """Kill a node, watch the client go to the other one, and bring it back."""
    node = made.nodes[0]
    killed = timeline.bad(f"kill -9 of {node.name}, a node, with all it had in memory")
    await node.process.killed()
    await asyncio.sleep(1.0)
    figures = checks.decide_figures(result.history.decides, killed, killed + 1)
    timeline.good(
        f"the client goes to {made.nodes[1].name}: {figures.failed} decisions failed, "
        f"{figures.gap_s * 1e3:.0f} ms at most without one"
    )
    await asyncio.sleep(CALM_S - 1)
    restarted = timeline.note(f"{node.name} starts again")
    await node.start()
    took_s = time.monotonic() - restarted
    timeline.good(f"{node.name} is ready after {took_s:.1f} s, rebuilt from snapshot and log")


async def _digest(made: Stage) -> str:
    standing = await made.nodes[0].standing()
    return f"{standing.digest[0] ^ standing.digest[1]:016x}"


def _charts(console: Console, history: History, began_s: float, ended_s: float) -> None:
    """Decisions and acknowledged writes over time, a bar for each quarter of a second."""
    _, ended, outcome = history.decides.columns()
    decided = ended[outcome == OK]
    acknowledged = [one.ended_s for one in history.writes if one.outcome == OK and not one.settled]
    console.print()
    for name, moments, rate in (
        ("decisions", decided, DECIDES_PER_S),
        ("writes", np.array(acknowledged), WRITES_PER_S),
    ):
        console.print(f"{name:>10}  {_bars(moments.tolist(), began_s, ended_s, rate)}")
    marks = _marks(history, began_s, ended_s)
    console.print(f"{'':>10}  {marks}", style="bold red")


def _bars(moments: Sequence[float], began_s: float, ended_s: float, rate: int) -> str:
    edges = np.arange(began_s, ended_s, _BAR_S)
    counts, _ = np.histogram(moments, bins=edges)
    levels = np.clip(np.ceil(counts / (rate * _BAR_S) * (len(_BARS) - 1)), 0, len(_BARS) - 1)
    return "".join(_BARS[int(level)] for level in levels)


def _marks(history: History, began_s: float, ended_s: float) -> str:
    """Where something was killed, below the bars."""
    line = [" "] * int((ended_s - began_s) / _BAR_S)
    for mark in history.marks:
        at = int((mark.at_s - began_s) / _BAR_S)
        if mark.text.startswith("kill") and 0 <= at < len(line):
            line[at] = "✗"
    return "".join(line)


def _summary(
    result: Result,
    figures: dict[str, float | int],
    promoted_s: float,
    began_s: float,
    ended_s: float,
) -> Table:
    history = result.history
    decided = checks.decide_figures(history.decides, began_s, ended_s)
    table = Table(show_header=False, title="What the client saw", title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("decisions made", f"{decided.calls:,}")
    table.add_row("decisions failed", f"{decided.failed:,}")
    table.add_row("longest time without a decision", f"{decided.gap_s * 1e3:.0f} ms")
    table.add_row("median and 99th percentile", _milliseconds(decided.p50_s, decided.p99_s))
    table.add_row("writes made", f"{figures['writes']:,}")
    table.add_row("acknowledged at once", f"{figures['writes'] - _late(history):,}")
    table.add_row("acknowledged when sent again", f"{_late(history):,}")
    table.add_row("acknowledged and lost", f"{figures['lost']:,}")
    gap_s = checks.write_gap(history.writes, began_s, ended_s)
    table.add_row("longest time without a write", f"{gap_s:.1f} s")
    table.add_row("promotion of a replica", f"{promoted_s:.1f} s")
    if stall_s := history.stall_s(began_s, ended_s):
        table.add_row("this machine stood still for", f"{stall_s * 1e3:.0f} ms")
    return table


def _late(history: History) -> int:
    return sum(one.settled or one.outcome == UNKNOWN for one in history.writes)


def _milliseconds(*seconds: float) -> str:
    return ", ".join(f"{one * 1e3:.1f} ms" for one in seconds)


def main() -> int:
    """Run the demonstration; 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.demo", description=__doc__)
    parser.add_argument("--keep", type=Path, help="a folder for the logs of all processes")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="nextbest-", ignore_cleanup_errors=True) as temporary:
        folder = wanted.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return 0 if asyncio.run(demonstrate(console, folder)) else EXIT_LOST
        except UnavailableError as error:
            console.print(f"cannot show it here: {error}")
            return EXIT_UNAVAILABLE
        except FaultError as error:
            console.print(f"broken: {error}", style="bold red")
            return EXIT_LOST


if __name__ == "__main__":
    sys.exit(main())
