"""One run: the generator in a thread of its own, the cores watched around it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .compiled import compiled
from .errors import UnreachableError
from .machine import Gap, gap, gaps, now, stolen
from .plan import Plan, plan
from .settings import Settings
from .workload import Part

if TYPE_CHECKING:
    from .generator import Generator

LOOK_S = 0.5
Watch = Callable[["Generator"], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run was told and what came of it."""

    settings: Settings
    plan: Plan
    generator: Generator
    gaps: list[Gap]
    # Core -> the share of the run that the hypervisor took from it, in steps of 10 ms.
    stolen: dict[int, float]
    date: str
    interrupted: bool


def run(
    settings: Settings,
    watch: Watch | None = None,
    parts: list[Part] | None = None,
    look_s: float = LOOK_S,
) -> Outcome:
    """Run; `watch` is called every `look_s` seconds.  Raise UnreachableError, OptionError."""
    module = compiled()
    told = plan(settings, parts)
    generator: Generator = module.Generator(told)
    date = now()
    found = gaps(settings.probe, "before")
    before, begun = stolen(), time.monotonic()
    interrupted = drive(generator, watch, look_s)
    span, after = time.monotonic() - begun, stolen()
    if generator.progress()["phase"] == "unreached":
        raise UnreachableError(unreached(settings, generator))
    counts = generator.counts()
    seen = counts["observed_ns"], counts["gap_ns"], counts["gap_most_ns"], counts["gaps"]
    found.append(gap("during", settings.cpu, *seen))
    found += gaps(settings.probe, "after")
    taken = {cpu: (after[cpu] - before.get(cpu, 0.0)) / span for cpu in after}
    return Outcome(settings, told, generator, found, taken, date, interrupted)


def drive(generator: Generator, watch: Watch | None, look_s: float) -> bool:
    """Run the generator; True when it was interrupted, and has stopped early."""
    failures: list[BaseException] = []
    # Not `Thread.join`: interrupted, it may call a running thread stopped (Python 3.11).
    done = threading.Event()

    def target() -> None:
        try:
            generator.run()
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=target, name="generator", daemon=True)
    interrupted = started = False
    while not done.is_set():
        try:
            if not started:
                # Starting waits for the thread, and may be interrupted too.
                started = True
                thread.start()
            done.wait(look_s)
            if watch is not None and not done.is_set():
                watch(generator)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            generator.stop()
    if failures:
        raise failures[0]
    return interrupted


def unreached(settings: Settings, generator: Generator) -> str:
    """Which targets could not be reached, and why."""
    why = {settings.to[target]: os.strerror(error) for target, error in generator.failures()}
    if not why:
        return f"no HTTP/2 connection within {settings.connect:g} s to {', '.join(settings.to)}"
    return "; ".join(f"no connection to {target}: {text}" for target, text in why.items())
