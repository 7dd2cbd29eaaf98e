"""The lane's bounds.  Plain Python, so that the configuration reads it without libnghttp2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def number(default: int, least: int, most: int, doc: str) -> Any:
    """A field that is a whole number, with its bounds and its meaning for the configuration."""
    return field(default=default, metadata={"doc": doc, "least": least, "most": most})


def choice(default: bool, doc: str) -> Any:
    """A field that is true or false."""
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, slots=True)
class OverloadBounds:
    """When calls are too many, and what is done then: backpressure, cheaper answers, refusals."""

    enabled: bool = choice(True, "read less at once, leave steps out and refuse when overloaded")
    target_ms: int = number(
        4, 1, 10_000, "a wait for its turn that lasts; beyond, less is read of each connection"
    )
    no_scoring_ms: int = number(
        6, 1, 10_000, "a wait that lasts; beyond, no scoring where a placement's degrade_to lets it"
    )
    fallback_ms: int = number(
        10, 1, 10_000, "a wait that lasts; beyond, fallbacks alone where degrade_to lets it"
    )
    refuse_ms: int = number(
        16, 1, 10_000, "a wait that lasts; beyond, calls that have waited for so long are refused"
    )
    interval_ms: int = number(50, 5, 10_000, "a wait lasts when the shortest within this is long")
    read_bytes_least: int = number(
        1_024, 256, 262_144, "what is read of a connection in its turn at least, in bytes"
    )
    retry_ms: int = number(200, 1, 600_000, "when a refused caller may come again")
    test_call_us: int = number(
        0, 0, 100_000, "for tests only: work so much longer on each call of the fast lane"
    )


@dataclass(frozen=True, slots=True)
class LaneBounds:
    """What one serving thread of the lane takes before it refuses, cuts off or waits."""

    connections_max: int = number(4_096, 1, 1_000_000, "connections at once, of each thread")
    peer_connections_max: int = number(
        1_024, 1, 1_000_000, "connections of one address, or on a unix socket of one user"
    )
    streams_max: int = number(256, 1, 100_000, "calls at once on one connection")
    header_bytes_max: int = number(16_384, 1_024, 1_048_576, "the headers of one call")
    request_buffer_max: int = number(
        8_388_608, 65_536, 1_073_741_824, "requests being received on one connection, in bytes"
    )
    answer_buffer_max: int = number(
        16_777_216, 65_536, 1_073_741_824, "answers that one connection has not read, in bytes"
    )
    idle_ms: int = number(
        1_800_000, 0, 86_400_000, "how long a connection may have no call; 0: any"
    )
    handshake_ms: int = number(10_000, 100, 600_000, "how long a new connection may take")
    request_ms: int = number(
        30_000, 100, 600_000, "how long one request, or one frame of it, may take to arrive"
    )
    stall_ms: int = number(30_000, 100, 600_000, "how long a peer may read nothing of its answers")
    keepalive_ms: int = number(60_000, 1_000, 7_200_000, "silence before a ping to the client")
    keepalive_timeout_ms: int = number(20_000, 100, 600_000, "how long a ping may go unanswered")
    ping_interval_ms: int = number(
        10_000, 0, 600_000, "clients that ping an idle connection more often are cut off"
    )
    control_frames_per_s: int = number(
        2_000, 10, 1_000_000, "frames of one connection that carry no call, besides 8 for each call"
    )
    resets_burst: int = number(1_000, 1, 1_000_000, "calls that a client may cancel at once")
    resets_per_s: int = number(200, 1, 1_000_000, "calls that a client may cancel each second")
    connection_age_ms: int = number(0, 0, 86_400_000, "when a connection is drained; 0: never")
    peer_uids: tuple[int, ...] = ()
    """The users that may connect over a unix socket; empty for all."""


@dataclass(frozen=True, slots=True)
class LaneSettings(LaneBounds):
    """The bounds, with the one that the other lane shares."""

    message_bytes_max: int = number(262_144, 1_024, 4_194_304, "one request")
    overload: OverloadBounds = OverloadBounds()
