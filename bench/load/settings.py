"""The options of a run: defaults, bounds, and what each means."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from .errors import OptionError, option_fault

ADDRESS = "127.0.0.1:7600"
SCHEDULES = ("constant", "poisson", "ramp")
SPREADS = ("uniform", "zipf")
IN_FLIGHT_MAX = 1_000_000
PATTERN = re.compile(r"[^{}]*\{(?::0?(?P<width>\d{1,2})d)?\}[^{}]*")
TARGETS_MAX = 64


def bounded(default: float, least: float, most: float) -> float:
    """A number with bounds."""
    found: float = field(default=default, metadata={"bounds": (least, most)})
    return found


def counted(default: int, least: int, most: int) -> int:
    """A whole number with bounds."""
    found: int = field(default=default, metadata={"bounds": (least, most)})
    return found


@dataclass(frozen=True, slots=True)
class Settings:
    """One run; a field is the option of the same name."""

    # host:port, [address]:port or unix:/path; connections are spread over them in turn.
    to: tuple[str, ...] = (ADDRESS,)
    # A new call for each answer, instead of calls by the clock.
    closed: bool = False
    # When the calls of an open loop are due.
    schedule: str = "constant"
    # Calls a second; of a ramp the last one.
    rate: float = bounded(1_000, 0.01, 10_000_000)
    # Of a ramp: the first one.
    rate_from: float = bounded(0, 0, 10_000_000)
    # Seconds that are measured.
    duration: float = bounded(10, 0.05, 86_400)
    # Calls that are measured, at most; 0: as many as the time allows.
    calls: int = counted(0, 0, 10_000_000_000)
    # Seconds before, which are not measured.
    warmup: float = bounded(1, 0, 3_600)
    connections: int = counted(8, 1, 1_024)
    # Calls at once on a connection, at most; 0: 100 in an open loop, 8 in a closed one.
    streams: int = counted(0, 0, 10_000)
    # Milliseconds that a call may take, from when it was due; 0: any.
    deadline_ms: int = counted(0, 0, 3_600_000)
    # Seconds after the end in which answers still count.
    drain: float = bounded(2, 0, 600)
    # Seconds to open a connection.
    connect: float = bounded(5, 0.01, 600)
    # Calls wait for a connection instead of failing when there is none.
    wait_for_ready: bool = False
    # The CPU of the generator; -1: any.
    cpu: int = counted(-1, -1, 4_095)
    # Of everything that is drawn but event ids.
    seed: int = counted(1, 0, 2**63 - 1)
    # Kinds of calls and their weights: decide=8,track=1,batch:100=1.
    mix: str = ""
    # A file of requests, as JSON lines, instead of made ones.
    requests: Path | None = None
    profiles: int = counted(100_000, 1, 1_000_000_000)
    # uniform, zipf or zipf:EXPONENT.
    spread: str = "uniform"
    # A profile's id of its number.
    profile_id: str = "customer-{:06d}"
    placements: tuple[str, ...] = ("home",)
    scores: tuple[str, ...] = ("intent",)
    context: tuple[str, ...] = ("page=home", "hour=12", "campaign=summer")
    event: str = "page_view"
    properties: tuple[str, ...] = ("path=/shoes", "category=shoes", "seconds=1.5")
    # NAME=VALUE of the calls' metadata.
    metadata: tuple[str, ...] = ()
    # Calls of which the result holds due time, latency and status each.
    details: int = counted(0, 0, 10_000_000)
    # Seconds that each core is watched for gaps, before the run and after it; 0: not.
    probe: float = bounded(0.2, 0, 60)

    def validate(self) -> None:
        """Raise OptionError with all faults."""
        faults = [*self._bounds(), *self._choices(), *self._sums()]
        if faults:
            raise OptionError(faults)

    def _bounds(self) -> Iterator[str]:
        for one in fields(self):
            bounds = one.metadata.get("bounds")
            value = getattr(self, one.name)
            if bounds and not (math.isfinite(value) and bounds[0] <= value <= bounds[1]):
                allowed = f"{bounds[0]:,} to {bounds[1]:,}"
                yield option_fault(option_of(one.name), value, allowed)

    def _choices(self) -> Iterator[str]:
        if self.schedule not in SCHEDULES:
            yield option_fault("--schedule", self.schedule, ", ".join(SCHEDULES))
        if self.schedule == "ramp" and self.calls:
            yield option_fault("--calls", self.calls, "0 for a ramp, which ends with its time")
        if self.zipf() is None:
            yield option_fault("--spread", self.spread, "uniform, zipf, or zipf:0.01 to zipf:10")
        if not 1 <= len(self.to) <= TARGETS_MAX:
            yield option_fault("--to", len(self.to), f"1 to {TARGETS_MAX} addresses")
        match = PATTERN.fullmatch(self.profile_id)
        if match is None:
            allowed = "a text with one {} or {:06d}"
            yield option_fault("--profile-id", self.profile_id, allowed)
        elif match["width"] and self.profiles > 10 ** int(match["width"]):
            allowed = f"as many digits as {self.profiles - 1} has"
            yield option_fault("--profile-id", self.profile_id, allowed)
        cpus = sorted(os.sched_getaffinity(0))
        if self.cpu >= 0 and self.cpu not in cpus:
            yield option_fault("--cpu", self.cpu, f"one of {cpus}")

    def _sums(self) -> Iterator[str]:
        if self.connections < len(self.to):
            allowed = f"at least {len(self.to)}, the number of targets"
            yield option_fault("--connections", self.connections, allowed)
        at_once = self.connections * self.streams_each
        if at_once > IN_FLIGHT_MAX:
            yield option_fault(
                "--connections times --streams", at_once, f"at most {IN_FLIGHT_MAX:,}"
            )

    @property
    def streams_each(self) -> int:
        """Calls at once on a connection."""
        return self.streams or (8 if self.closed else 100)

    def zipf(self) -> float | None:
        """Zipf's exponent, 0 for uniform; None: a fault."""
        name, colon, text = self.spread.partition(":")
        if name == "uniform" and not colon:
            return 0
        try:
            exponent = float(text) if colon else 1.0
        except ValueError:
            return None
        return exponent if name == "zipf" and 0.01 <= exponent <= 10 else None


def option_of(name: str) -> str:
    """The option of a field."""
    return "--" + name.replace("_", "-")
