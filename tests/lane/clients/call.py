"""grpcio's two clients, with messages as bytes: `call.py sync|aio TARGET CALLS.json`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc


def metadata_of(asked: dict[str, Any]) -> list[tuple[str, str | bytes]]:
    return [
        (name, bytes.fromhex(value) if name.endswith("-bin") else value)
        for name, value in asked["metadata"]
    ]


def refused(code: grpc.StatusCode, message: str | None, trailers: Any) -> dict[str, Any]:
    details = dict(trailers or ()).get("grpc-status-details-bin", b"")
    return {
        "code": code.value[0],
        "message": message or "",
        "details": details.hex(),
        "response": "",
    }


def answered(response: bytes) -> dict[str, Any]:
    return {"code": 0, "message": "", "details": "", "response": response.hex()}


def call_sync(channel: grpc.Channel, asked: dict[str, Any]) -> dict[str, Any]:
    future = channel.unary_unary(asked["path"]).future(
        bytes.fromhex(asked["request"]),
        timeout=asked["deadline_ms"] / 1_000,
        metadata=metadata_of(asked),
    )
    if asked["cancel"]:
        future.cancel()
        return refused(grpc.StatusCode.CANCELLED, "", ())
    try:
        return answered(future.result())
    except grpc.RpcError as error:
        return refused(error.code(), error.details(), error.trailing_metadata())


async def call_aio(channel: grpc.aio.Channel, asked: dict[str, Any]) -> dict[str, Any]:
    made = channel.unary_unary(asked["path"])(
        bytes.fromhex(asked["request"]),
        timeout=asked["deadline_ms"] / 1_000,
        metadata=metadata_of(asked),
    )
    if asked["cancel"]:
        made.cancel()
    try:
        return answered(await made)
    except grpc.aio.AioRpcError as error:
        return refused(error.code(), error.details(), error.trailing_metadata())
    except asyncio.CancelledError:
        return refused(grpc.StatusCode.CANCELLED, "", ())


async def all_aio(target: str, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    async with grpc.aio.insecure_channel(target) as channel:
        return [await call_aio(channel, asked) for asked in calls]


def main() -> None:
    kind, target = sys.argv[1:3]
    calls = json.loads(Path(sys.argv[3]).read_text())
    if kind == "aio":
        results = asyncio.run(all_aio(target, calls))
    else:
        with grpc.insecure_channel(target) as channel:
            results = [call_sync(channel, asked) for asked in calls]
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
