"""One run: the generator in a thread of its own, the cores watched around it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .compiled import compiled
from .errors import UnreachableError
from .machine import Gap, gap, gaps, now
from .plan import Plan, plan
from .settings import Settings
from .workload import Part

if TYPE_CHECKING:
    from .generator import Generator

LOOK_S = 0.5
STOP_S_MAX = 700
Watch = Callable[["Generator"], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run was told and what came of it."""

    settings: Settings
    plan: Plan
    generator: Generator
    gaps: list[Gap]
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
    interrupted = drive(generator, watch, look_s)
    if generator.progress()["phase"] == "unreached":
        raise UnreachableError(unreached(settings, generator))
    counts = generator.counts()
    seen = counts["observed_ns"], counts["gap_ns"], counts["gap_most_ns"], counts["gaps"]
    found.append(gap("during", settings.cpu, *seen))
    found += gaps(settings.probe, "after")
    return Outcome(settings, told, generator, found, date, interrupted)


def drive(generator: Generator, watch: Watch | None, look_s: float) -> bool:
    """Run the generator; True when it was interrupted, and has stopped early."""
    failures: list[BaseException] = []

    def target() -> None:
        try:
            generator.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target, name="generator", daemon=True)
    thread.start()
    interrupted = False
    while thread.is_alive():
        try:
            thread.join(look_s)
            if watch is not None and thread.is_alive():
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
