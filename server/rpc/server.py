"""ServerService: what this server is and where it listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nextbest.server.rpc.message import parse, with_header
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.server.version import version
from nextbest.v1 import server_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine


class ServerService:
    """Answers with the addresses it was told; clients find the fast lane through it."""

    def __init__(self, engine: Engine, bytes_max: int) -> None:
        self._engine = engine
        self._bytes_max = bytes_max
        self.addresses: list[str] = []
        self.fast_lanes: list[str] = []

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {"/nextbest.v1.ServerService/GetServer": unary(self._get)}

    async def _get(self, request: bytes, context: Any) -> bytes:
        try:
            parse(server_pb2.GetServerRequest, request, self._bytes_max)
            response = server_pb2.GetServerResponse(
                version=version(), addresses=self.addresses, fast_lanes=self.fast_lanes
            )
            return with_header(response, self._engine).SerializeToString()
        except Exception as error:
            await refuse(context, error)
