"""A bare grpc.aio servicer on uvloop: any bytes in, the same fixed bytes out.

It is what every grpc.aio server pays before it does anything.

    python bench/overhead/echo.py ADDRESS RESPONSE_FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop

SERVICE = "nextbest.v1.DecisionService"


def handlers(response: bytes) -> grpc.GenericRpcHandler[Any, Any]:
    """Decide under the real name, so that the generator sends the same headers."""

    async def decide(_request: bytes, _context: Any) -> bytes:
        return response

    method = grpc.unary_unary_rpc_method_handler(decide)
    return grpc.method_handlers_generic_handler(SERVICE, {"Decide": method})


async def serve(address: str, response: bytes) -> None:
    """Serve until the process is told to end."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(response),))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2]).read_bytes()))
