"""The fast lane from a client's side: whether a server has one, and whether it is within reach.

The rules are here, the calls that they need are made by the two routes: a look is a generator
that yields a method with its message, and is sent the answer, or the error.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextbest.v1 import (
    decision_pb2,
    decision_pb2_grpc,
    event_pb2_grpc,
    log_pb2_grpc,
    playbook_pb2_grpc,
    profile_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    telemetry_pb2_grpc,
    trace_pb2_grpc,
)

# What a look may take in all; the call that waits for it has a deadline of its own.
LOOK_S = 0.25
# The pause before the next look; it doubles while no lane is found.
PAUSE_S = 1.0
PAUSE_S_MAX = 300.0
# Lanes that were used, whose calls may still run.
LANES_MAX = 16

_STUBS: tuple[Callable[[Any], Any], ...] = (
    decision_pb2_grpc.DecisionServiceStub,
    event_pb2_grpc.EventServiceStub,
    profile_pb2_grpc.ProfileServiceStub,
    playbook_pb2_grpc.PlaybookServiceStub,
    log_pb2_grpc.LogServiceStub,
    trace_pb2_grpc.TraceServiceStub,
    server_pb2_grpc.ServerServiceStub,
    telemetry_pb2_grpc.TelemetryServiceStub,
    health_pb2_grpc.HealthStub,
)
_SERVED_BY = re.compile(r"\bserved by (\S+?)[.,;]?(?:\s|$)")
_LOOPBACK = "127.0.0.1"

Answer: TypeAlias = Any
# A method, its message, and whether to wait for a connection.
Step: TypeAlias = tuple[Callable[..., Any], object, bool]


class Calls:
    """The methods of one channel, by their names."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        for stub in _STUBS:
            vars(self).update(vars(stub(channel)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no method {name}")


@dataclass(slots=True)
class Found:
    """What a look found: the lane, or, of a target that is one, where other calls go."""

    lane: Calls | None = None
    address: str = ""
    elsewhere: str = ""
    refused: list[Calls] = field(default_factory=list)


class Pace:
    """When to look: at the first call, and after ever longer pauses while there is no lane."""

    def __init__(self, wanted: bool) -> None:
        self._pause_s = PAUSE_S
        self._next = 0.0 if wanted else float("inf")

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._next

    def found(self) -> None:
        """A lane is in use: when it is lost, the next look is soon."""
        self._pause_s = PAUSE_S

    def missed(self) -> None:
        """There is none now."""
        self._next = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, PAUSE_S_MAX)

    def never(self) -> None:
        """None is needed."""
        self._next = float("inf")


def look(
    target: str, main: Calls, open_lane: Callable[[str], Calls]
) -> Generator[Step, Answer, Found]:
    """Ask the server at `target` for its lane, and try the one within reach."""
    found = Found()
    # A server that restarts is asked when it is back.
    about = yield main.GetServer, server_pb2.GetServerRequest(), True
    if isinstance(about, grpc.RpcError):
        found.elsewhere = elsewhere(target, about)
        return found
    for address in within_reach(target, about.fast_lanes):
        calls = open_lane(address)
        if (yield from _serves(calls, about if is_here(target) else None)):
            found.lane, found.address = calls, address
            break
        found.refused.append(calls)
    return found


def _serves(
    calls: Calls, about: server_pb2.GetServerResponse | None
) -> Generator[Step, Answer, bool]:
    """Whether a lane is served, and by the server that named it.

    What is a loopback address here may be another machine's behind a forwarded port, or in a
    container: the nonce of an empty batch's position tells.
    """
    health = yield calls.Check, health_pb2.HealthCheckRequest(), False
    if isinstance(health, grpc.RpcError) or health.status != health_pb2.HealthCheckResponse.SERVING:
        return False
    if about is None:
        return True
    empty = yield calls.DecideBatch, decision_pb2.DecideBatchRequest(), False
    if isinstance(empty, grpc.RpcError):
        return False
    return empty.position.nonce == about.position.nonce


def within_reach(target: str, lanes: Sequence[str]) -> list[str]:
    """The lanes that may be tried from here, the best first."""
    found = [address for lane in lanes if (address := reach(target, lane))]
    return sorted(found[:LANES_MAX], key=lambda address: not address.startswith("unix:"))


def reach(target: str, address: str) -> str:
    """The address at which a server reached at `target` is reached too, or "".

    A unix socket or a loopback address is of the server's own host; any other has the
    target's host, since a server may know itself under a name of its own.
    """
    host = _host(target)
    if host is None:
        return ""
    if address.startswith("unix:") or _is_loopback(_host(address) or ""):
        return address if is_here(target) else ""
    port = address.rpartition(":")[2]
    before = target.rpartition(":")[0] if host else _LOOPBACK
    return f"{before}:{port}" if port.isdecimal() else ""


def is_here(target: str) -> bool:
    """Whether a target is on this host: a unix socket or a loopback address."""
    host = _host(target)
    return host is not None and (not host or _is_loopback(host))


def elsewhere(target: str, error: Any) -> str:
    """Where a lane says that the other calls are served, when that is within reach, or ""."""
    if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
        return ""
    named = _SERVED_BY.search(error.details() or "")
    return reach(target, named[1]) if named else ""


def _host(target: str) -> str | None:
    """The host of a target: "" for a unix socket, None for several or an unknown scheme."""
    if "," in target:
        return None
    if target.startswith("unix:"):
        return ""
    name = re.sub(r"^(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)", "", target)
    host, colon, port = name.rpartition(":")
    plain = host.removeprefix("[").removesuffix("]")
    known = colon and port.isdecimal() and (":" not in host or host.startswith("["))
    return plain if known and plain else None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
