"""The display while a run goes on; it must not take the generator's core from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .settings import Settings
from .summary import span, sparkline

if TYPE_CHECKING:
    from .generator import Generator

SLICES = 60
NICENESS = 10


@contextmanager
def live(settings: Settings, console: Console) -> Iterator[Callable[[Generator], None]]:
    """Gives what is to be called now and then; draws twice a second, with a low priority."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    # Of the calling thread alone: the generator's thread begins with what this one has.
    with Live(console=console, auto_refresh=False, transient=True) as display:
        lowered = False

        def watch(generator: Generator) -> None:
            nonlocal lowered
            if not lowered:
                os.setpriority(os.PRIO_PROCESS, 0, min(19, niceness + NICENESS))
                lowered = True
            display.update(picture(settings, generator), refresh=True)

        try:
            yield watch
        finally:
            restore(niceness)


def restore(niceness: int) -> None:
    """Back to the priority that it had, where the system lets it."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except PermissionError:
        return


def picture(settings: Settings, generator: Generator) -> Group:
    """A table of the last second, and the p99 of the slices before it."""
    told = generator.progress()
    slices = generator.intervals()
    width = generator.interval_ns
    recent = slices[-max(1, 1_000_000_000 // width) - 1 : -1] or slices[-1:]
    count = sum(one[1] for one in recent)
    table = Table(title=title(settings, told["phase"], told["elapsed_ns"]), title_justify="left")
    for name in ("answered", "calls/s", "p50", "p99", "max", "in flight", "late", "not OK"):
        table.add_column(name, justify="right", min_width=9)
    table.add_row(
        f"{told['finished']:,}",
        f"{count / (max(len(recent), 1) * width / 1e9):,.0f}",
        span(sorted(one[3] for one in recent)[len(recent) // 2] if recent else 0),
        span(max((one[5] for one in recent), default=0)),
        span(max((one[6] for one in recent), default=0)),
        f"{told['in_flight']:,}",
        f"{told['late']:,}",
        f"{told['failed']:,}",
    )
    values = [one[5] for one in slices[:-1]]
    line = f"p99 by {width / 1e9:g} s  {sparkline(values, SLICES)}  "
    return Group(table, Text(line + f"highest {span(max(values[-SLICES:], default=0))}"))


def title(settings: Settings, phase: str, elapsed_ns: int) -> str:
    """What the run is doing."""
    seconds = elapsed_ns / 1e9
    if phase == "connecting":
        return f"connecting to {', '.join(settings.to)}"
    if seconds < 0:
        return f"warming up, {-seconds:.0f} s left"
    if phase == "ending":
        return "waiting for the last answers"
    return f"{seconds:.0f} s" if settings.calls else f"{seconds:.0f} of {settings.duration:g} s"
