"""The services that gRPC's own packages bring: health and reflection, as handlers by method.

Registered at the server itself they would be found before the router, which is to see every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import _async as aio
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from nextbest.server.rpc.router import Handlers


def handlers(health: HealthServicer, reflected: Sequence[str]) -> Handlers:
    """Of health, and of reflection where services are named for it."""
    found = _Handlers()
    add_HealthServicer_to_server(health, found)
    if reflected:
        add_ServerReflectionServicer_to_server(aio.ReflectionServicer(reflected), found)
    return found.by_method


class _Handlers:
    """Takes what is registered at a server."""

    def __init__(self) -> None:
        self.by_method: dict[str, Any] = {}

    def add_registered_method_handlers(self, service: str, methods: dict[str, Any]) -> None:
        self.by_method |= {f"/{service}/{name}": one for name, one in methods.items()}

    def add_generic_rpc_handlers(self, _handlers: object) -> None:
        """The same once more."""
