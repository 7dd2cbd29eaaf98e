"""What the native generator is told, made of the settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import OptionError, option_fault
from .settings import SCHEDULES, Settings
from .target import Target, target
from .workload import PATHS, Body, Part, workload

SECOND_NS = 1_000_000_000
HEADER_BYTES_MAX = 8_192
METADATA_MAX = 32
NAME = re.compile(r"[0-9a-z_.-]+")
FOREVER_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """One run; times in nanoseconds."""

    targets: list[Target]
    paths: tuple[bytes, ...]
    headers: list[tuple[bytes, bytes]]
    bodies: list[Body]
    parts: list[tuple[int, int, int]]
    names: tuple[str, ...]
    closed: bool
    wait_for_ready: bool
    schedule: int
    rate: float
    rate_from: float
    calls: int
    warmup_ns: int
    duration_ns: int
    deadline_ns: int
    drain_ns: int
    connect_ns: int
    connections: int
    streams: int
    spread: int
    profiles: int
    zipf: float
    seed: int
    cpu: int
    details: int


def plan(settings: Settings, parts: list[Part] | None = None) -> Plan:
    """The plan of a run; raise OptionError or RequestsError.  `parts`: encoded before."""
    settings.validate()
    parts = workload(settings) if parts is None else parts
    zipf = settings.zipf() or 0.0
    # With --calls the number ends the run, not the time.
    duration = FOREVER_S if settings.calls else settings.duration
    return Plan(
        targets=[target(text) for text in settings.to],
        paths=PATHS,
        headers=headers(settings),
        bodies=[body for part in parts for body in part.bodies],
        parts=list(placed(parts)),
        names=tuple(part.name for part in parts),
        closed=settings.closed,
        wait_for_ready=settings.wait_for_ready,
        schedule=SCHEDULES.index(settings.schedule),
        rate=settings.rate,
        rate_from=settings.rate_from,
        calls=settings.calls,
        warmup_ns=nanoseconds(settings.warmup),
        duration_ns=nanoseconds(duration),
        deadline_ns=settings.deadline_ms * 1_000_000,
        drain_ns=nanoseconds(settings.drain),
        connect_ns=nanoseconds(settings.connect),
        connections=settings.connections,
        streams=settings.streams_each,
        spread=1 if zipf else 0,
        profiles=settings.profiles,
        zipf=zipf or 1.0,
        seed=settings.seed,
        cpu=settings.cpu,
        details=settings.details,
    )


def nanoseconds(seconds: float) -> int:
    """Seconds in nanoseconds."""
    return int(seconds * SECOND_NS)


def placed(parts: list[Part]) -> list[tuple[int, int, int]]:
    """(weight, first body, bodies) of each part."""
    found, first = [], 0
    for part in parts:
        found.append((part.weight, first, len(part.bodies)))
        first += len(part.bodies)
    return found


def headers(settings: Settings) -> list[tuple[bytes, bytes]]:
    """The headers after the pseudo-headers, as gRPC over HTTP/2 orders them."""
    found = [(b"te", b"trailers")]
    if settings.deadline_ms:
        found.append((b"grpc-timeout", b"%dm" % settings.deadline_ms))
    found += [(b"content-type", b"application/grpc"), (b"user-agent", b"nextbest-bench")]
    if len(settings.metadata) > METADATA_MAX:
        fault = option_fault("--metadata", len(settings.metadata), f"at most {METADATA_MAX}")
        raise OptionError([fault])
    for text in settings.metadata:
        name, equals, value = text.partition("=")
        if not equals or not NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise OptionError([option_fault("--metadata", text, "name=value, in lower case ASCII")])
        found.append((name.encode(), value.encode()))
    if sum(len(name) + len(value) for name, value in found) > HEADER_BYTES_MAX:
        fault = option_fault("--metadata", "too long", f"{HEADER_BYTES_MAX:,} bytes in all")
        raise OptionError([fault])
    return found
