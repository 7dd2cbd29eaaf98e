"""Methods: the full names of the calls that the core counts, and of the codes they end with."""

from __future__ import annotations

import grpc

CODES = {code.value[0]: code.name for code in grpc.StatusCode}

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


def full_name(method: str) -> str:
    """As `rpc.method` has it."""
    return METHODS.get(method, OTHER)
