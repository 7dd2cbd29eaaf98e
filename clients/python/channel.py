"""The channel's target and options: round robin, retries, keepalive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
ATTEMPTS_MAX = 3
ADDRESSES_MAX = 64
_CONNECTION = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that restarts is back in less than gRPC's second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

# Every unary call is idempotent: it reads, or carries an id that the server recognises.
_SERVICES = (
    "nextbest.v1.DecisionService",
    "nextbest.v1.EventService",
    "nextbest.v1.ProfileService",
    "nextbest.v1.PlaybookService",
)


def target(addresses: str | Sequence[str]) -> str:
    """One gRPC target for an address or several: "host:port", "unix:/path", "dns:///name:port".

    Several addresses must be numeric, all IPv4 or all IPv6, or all unix sockets.
    """
    given = [addresses] if isinstance(addresses, str) else list(addresses)
    if not 1 <= len(given) <= ADDRESSES_MAX or not all(given):
        raise ValueError(f"addresses: {len(given)}, allowed: 1 to {ADDRESSES_MAX}")
    for address in given:
        # Without a port gRPC takes that of HTTPS.
        if ":" not in address:
            raise ValueError(f"addresses: {address!r}, allowed: host:port or unix:/path")
    if len(given) == 1:
        return given[0]
    for scheme in ("unix:", "ipv4:", "ipv6:"):
        if all(address.startswith(scheme) for address in given):
            return scheme + ",".join(address.removeprefix(scheme) for address in given)
    scheme = "ipv6:" if all(address.startswith("[") for address in given) else "ipv4:"
    if any(address.startswith(("unix:", "dns:")) for address in given):
        raise ValueError("addresses: of several kinds, allowed: all of one")
    return scheme + ",".join(given)


def service_config() -> str:
    """The service config: round robin, and up to three attempts while a server is away."""
    retry = {
        "maxAttempts": ATTEMPTS_MAX,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        # A server that stops ends so what has reached it and was not begun.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{"service": name} for name in _SERVICES], "retryPolicy": retry}],
        # A server in trouble is not helped by retries: they stop when most calls fail.
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
    return json.dumps(config)


def options() -> list[tuple[str, Any]]:
    """The channel's options."""
    return [
        ("grpc.service_config", service_config()),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        *_CONNECTION,
    ]


def lane_options() -> list[tuple[str, Any]]:
    """The options of a fast lane's channel: a call that fails there goes on to the target."""
    return [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), *_CONNECTION]
