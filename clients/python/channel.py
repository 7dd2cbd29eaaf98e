"""The channel's options: round robin, retries, keepalive."""

from __future__ import annotations

import json
from typing import Any

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
ATTEMPTS_MAX = 3
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
