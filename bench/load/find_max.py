"""The highest rate at which p99 stays under a limit, by halving."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .errors import OptionError, option_fault
from .result import Result, percentile, result
from .run import run
from .settings import Settings
from .summary import failure, span
from .workload import Part, workload

# What the closed loop that comes first reaches is about the servers' most; an open loop may hold
# a little more.
HEADROOM = 1.1
CLOSED_S = 1.0
STEPS_MAX = 30
# Where no rate holds the lower end stays at 0, and the rates end here: no run takes less.
RATE_MIN = 0.01
SHORTFALL_MAX = 0.01
LOST_SHARE_MAX = 0.001
P99_MS_MAX = 60_000


@dataclass(frozen=True, slots=True)
class Search:
    """How to search; `rate_most` 0: what a closed loop reaches, and a tenth."""

    p99_ms: float
    step_s: float = 3.0
    precision: float = 0.02
    rate_least: float = 0.0
    rate_most: float = 0.0
    failed_share_max: float = 0.0

    def validate(self) -> None:
        """Raise OptionError with all faults."""
        faults = []
        for name, value, least, most in (
            ("--p99-ms", self.p99_ms, 0.001, P99_MS_MAX),
            ("--step", self.step_s, 0.1, 3_600),
            ("--precision", self.precision, 0.001, 0.5),
            ("--from", self.rate_least, 0, 10_000_000),
            ("--upto", self.rate_most, 0, 10_000_000),
            ("--failed-share", self.failed_share_max, 0, 1),
        ):
            if not least <= value <= most:
                faults.append(option_fault(name, value, f"{least:g} to {most:,}"))
        if self.rate_most and self.rate_most <= self.rate_least:
            faults.append(option_fault("--upto", self.rate_most, "more than --from"))
        if faults:
            raise OptionError(faults)


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was tried; `why` it does not hold, empty when it does."""

    rate: float
    found: Result
    why: str

    @property
    def text(self) -> str:
        """The step in a line."""
        p99 = span(percentile(self.found, 99))
        lost = max((gap["lost"] for gap in self.found["gaps"]), default=0.0)
        told = f"{self.rate:>10,.0f}/s  p99 {p99:>8}  lost by the machine {lost:.2%}"
        return f"{told}  {'no: ' + self.why if self.why else 'holds'}"

    def plain(self) -> dict[str, Any]:
        """The step for JSON."""
        return {
            "rate": self.rate,
            "rps": self.found["rps"],
            "p99": percentile(self.found, 99),
            "holds": not self.why,
            "why": self.why,
            "late": self.found["late"],
            "gaps": self.found["gaps"],
        }


def find_max(
    settings: Settings, search: Search, tell: Callable[[str], None]
) -> tuple[float, list[Step]]:
    """The highest rate that held, 0 when none did, and every step; `tell` gets a line of each."""
    search.validate()
    settings.validate()
    parts = workload(settings)
    low, high = search.rate_least, search.rate_most or ceiling(settings, parts, tell)
    best = 0.0
    steps: list[Step] = []
    while len(steps) < STEPS_MAX and high - low > search.precision * high:
        rate = (low + high) / 2
        if rate < RATE_MIN:
            break
        step = tried(settings, search, rate, parts)
        steps.append(step)
        tell(step.text)
        if step.why:
            high = rate
        else:
            low = best = rate
    return best, steps


def plan_text(settings: Settings, search: Search) -> str:
    """How long a search takes, in a line."""
    step_s = search.step_s + warmup_s(settings, search)
    # From a lower end that holds each step halves what is left.
    about = min(max(math.ceil(math.log2(1 / search.precision)), 1) + 1, STEPS_MAX)
    most_s = STEPS_MAX * 2 * (step_s + settings.drain)
    return (
        f"rates of {step_s:g} s each: about {about}, at most {STEPS_MAX}, and again where the "
        f"machine was disturbed; {most_s / 60:.0f} min at most"
    )


def warmup_s(settings: Settings, search: Search) -> float:
    """The part of a step that is not measured."""
    return min(settings.warmup, search.step_s / 3)


def ceiling(settings: Settings, parts: list[Part], tell: Callable[[str], None]) -> float:
    """A rate that the servers do not reach."""
    streams = min(settings.streams_each, 32)
    closed = replace(
        settings, closed=True, duration=CLOSED_S, warmup=0.3, probe=0, calls=0, streams=streams
    )
    rate = float(result(run(closed, parts=parts))["rps"])
    tell(f"{rate:>10,.0f}/s  in a closed loop of {settings.connections} x {streams}")
    return max(rate * HEADROOM, 1.0)


def tried(settings: Settings, search: Search, rate: float, parts: list[Part]) -> Step:
    """Measure one rate; when it does not hold and the machine was disturbed, once more."""
    step = replace(
        settings,
        closed=False,
        rate=rate,
        duration=search.step_s,
        warmup=warmup_s(settings, search),
        calls=0,
        probe=0,
    )
    found = result(run(step, parts=parts))
    why = fault(found, search, rate)
    if why and disturbed(found):
        found = result(run(step, parts=parts))
        why = fault(found, search, rate)
    return Step(rate, found, why)


def disturbed(found: Result) -> bool:
    """The machine, not the servers, may be to blame: worth a second measurement."""
    late = found["late"]
    own = not found["valid"] and 2 * late["noStream"] <= late["count"]
    return own or any(gap["lost"] > LOST_SHARE_MAX for gap in found["gaps"])


def fault(found: Result, search: Search, rate: float) -> str:
    """Why a rate does not hold; empty when it does."""
    good = found["statusCodeDistribution"].get("OK", 0)
    failed = found["count"] - good
    p99 = percentile(found, 99)
    if found["count"] and failed > search.failed_share_max * found["count"]:
        return f"{failed:,} calls were not OK, most of them {failure(found)}"
    if p99 > search.p99_ms * 1e6:
        return f"p99 is over {search.p99_ms:g} ms"
    if not found["valid"]:
        return "; ".join(found["advice"]) + " (invalid)"
    if good < (1 - SHORTFALL_MAX) * rate * search.step_s - 1:
        return f"only {found['rps']:,.0f}/s were answered"
    return ""
