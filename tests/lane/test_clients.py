"""Stock gRPC clients of three kinds against the server, all asked the same.

tests/clients has those of generated stubs in C++ and Go.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from nextbest.v1 import decision_pb2
from tests.lane.target import BATCH, DECIDE, HEALTH, ROOT, TRACK, Target, batch, decide, track
from tests.lane.wire import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    INVALID_ARGUMENT,
    NOT_FOUND,
    OK,
    UNIMPLEMENTED,
)

BUILT = ROOT / "build" / "clients"
SOURCES = Path(__file__).parent / "clients"


def asked(path: str, request: bytes, **more: Any) -> dict[str, Any]:
    made = {"path": path, "request": request.hex(), "deadline_ms": 5_000, "cancel": False}
    return {**made, "metadata": [], **more}


METADATA = [["x-a", "1"], ["x-a", "2"], ["x-b-bin", "00ff"], ["x-b-bin", ""], ["x-c", "a b%"]]
# Name -> the call and the status it must get.
CALLS: dict[str, tuple[dict[str, Any], int]] = {
    "decide": (asked(DECIDE, decide("home")), OK),
    "batch of a megabyte": (asked(BATCH, batch(500, explain=True)), OK),
    "track": (asked(TRACK, track("clients-1")), OK),
    "health": (asked(HEALTH, b""), OK),
    "metadata": (asked(DECIDE, decide("home"), metadata=METADATA), OK),
    "an error": (asked(DECIDE, decide("100% ü\n")), INVALID_ARGUMENT),
    "not found": (asked(HEALTH, b"\x0a\x06nobody"), NOT_FOUND),
    "unknown": (asked("/no.Service/Method", b""), UNIMPLEMENTED),
    "cancelled": (asked(DECIDE, decide("home"), cancel=True), CANCELLED),
    "too late": (asked(BATCH, batch(900, explain=True), deadline_ms=-1), DEADLINE_EXCEEDED),
    "after all that": (asked(DECIDE, decide("home")), OK),
}


def command(kind: str) -> tuple[list[str], dict[str, str]]:
    """How to run a client; skips when it is not there."""
    if kind.startswith("grpcio"):
        return [sys.executable, str(SOURCES / "call.py"), kind.split()[1]], {}
    module = BUILT / "node_modules" / "@grpc" / "grpc-js"
    if not module.exists() or not shutil.which("node"):
        pytest.skip("not installed: make lane-clients, which needs node and npm")
    return ["node", str(SOURCES / "call.js")], {"GRPC_JS": str(module)}


@pytest.mark.parametrize("kind", ["grpcio sync", "grpcio aio", "grpc-js"])
def test_a_stock_client_is_served(kind: str, target: Target, tmp_path: Path) -> None:
    program, environment = command(kind)
    file = tmp_path / "calls.json"
    file.write_text(json.dumps([call for call, _ in CALLS.values()]))
    done = subprocess.run(
        [*program, target.address, str(file)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = dict(zip(CALLS, json.loads(done.stdout), strict=True))
    codes = {name: result["code"] for name, result in results.items()}
    assert codes == {name: code for name, (_, code) in CALLS.items()}, results
    decided = bytes.fromhex(results["decide"]["response"])
    assert decision_pb2.DecideResponse.FromString(decided).placements[0].placement == "home"
    error = results["an error"]
    assert error["message"].startswith("placements: 8 bytes that are no name")
    details = status_pb2.Status.FromString(bytes.fromhex(error["details"]))
    assert (details.code, details.message) == (INVALID_ARGUMENT, error["message"])
    assert len(results["batch of a megabyte"]["response"]) > 200_000


def test_grpcio_compresses_and_is_answered_by_the_rules(target: Target) -> None:
    with grpc.insecure_channel(target.address, compression=grpc.Compression.Gzip) as channel:
        call = channel.unary_unary(BATCH)
        body = batch(50)
        assert len(gzip.compress(body)) < len(body)
        answer = call.future(body, timeout=5)
        if answer.exception() is not None:
            assert answer.code() is grpc.StatusCode.UNIMPLEMENTED, answer.details()


def test_grpcio_shares_a_connection_among_many_calls(target: Target) -> None:
    with grpc.insecure_channel(target.address) as channel:
        call = channel.unary_unary(DECIDE)
        futures = [call.future(decide("home"), timeout=10) for _ in range(500)]
        assert all(future.result() for future in futures)
