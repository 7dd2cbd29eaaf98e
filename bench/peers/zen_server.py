"""zen-engine behind grpc.aio on uvloop: JSON in, one compiled decision table, JSON out.

python bench/peers/zen_server.py ADDRESS TABLE_FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop
import zen


def handlers(table: object) -> grpc.GenericRpcHandler[Any, Any]:
    """The table, compiled once and read by its name."""
    engine = zen.ZenEngine({"loader": {"type": "static", "content": {"offer": table}}})

    async def evaluate(request: bytes, _context: Any) -> bytes:
        return json.dumps(engine.evaluate("offer", json.loads(request))).encode()

    method = grpc.unary_unary_rpc_method_handler(evaluate)
    return grpc.method_handlers_generic_handler("peers.Zen", {"Evaluate": method})


async def serve(address: str, table: object) -> None:
    """Serve until the process is told to end."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(table),))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))
