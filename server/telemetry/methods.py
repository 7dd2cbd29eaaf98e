"""Methods and codes: the engine's short names and numbers, and what the standards call them."""

from __future__ import annotations

# gRPC's status codes by their numbers (grpc/doc/statuscodes.md).
CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# Why a call is kept for a trace (core/telemetry/meter.pyx).
REASONS = ("sampled", "slow", "degraded", "error")
# What OpenTelemetry's conventions for gRPC call an error of the server; the rest is the caller's.
SERVER_FAULTS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
# A server's own failures: those, and RESOURCE_EXHAUSTED, for a call that was shed is not served
# either.
FAILURES = frozenset(CODES.index(name) for name in (*SERVER_FAULTS, "RESOURCE_EXHAUSTED"))
# The semantic conventions' name for a method that is not known.
OTHER = "_OTHER"
METHODS = {
    "Decide": "nextbest.v1.DecisionService/Decide",
    "DecideBatch": "nextbest.v1.DecisionService/DecideBatch",
    "Track": "nextbest.v1.EventService/Track",
    "Check": "grpc.health.v1.Health/Check",
    "UpsertProfile": "nextbest.v1.ProfileService/UpsertProfile",
    "LinkIdentity": "nextbest.v1.ProfileService/LinkIdentity",
    "GetProfile": "nextbest.v1.ProfileService/GetProfile",
}


def short_name(method: str) -> str:
    """The last part of a full name, for people."""
    return method.rpartition("/")[2]


def full_name(method: str) -> str:
    """As `rpc.method` has it."""
    return METHODS.get(method, OTHER)
