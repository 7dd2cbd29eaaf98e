"""Clients of generated stubs in C++ and Go against `nextbest serve`, on both of its lanes.

They are built when their toolchain is here, once, under build/; see tests/clients/README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from nextbest.core import LANE_MISSING, lane_available
from nextbest.v1 import common_pb2, decision_pb2

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILT = ROOT / "build" / "clients"
GO_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/go/bin"))
BUILD_S_MAX = 280
START_S_MAX = 30
RUN_S_MAX = 120
SERVE = "from nextbest.server.command.main import run; run()"
DECIDE = "/nextbest.v1.DecisionService/Decide"
OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED = 0, 1, 3, 4, 5, 12
SERVING = 1


class Server(NamedTuple):
    """The addresses of one server: the fast lane's is empty where it was not built."""

    aio: str
    lane: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    aio = f"127.0.0.1:{free_port()}"
    lane = f"127.0.0.1:{free_port()}" if lane_available else ""
    arguments = ["serve", "--playbook", str(ROOT / "tests" / "cases" / "small"), "--listen", aio]
    arguments += ["--fast-lane", lane] if lane else []
    # A thousand calls at once last long enough for some to be refused; that has tests of its own.
    arguments += ["--set", "overload.enabled=false"]
    path = f"{ROOT / 'build/tree'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )
    try:
        for address in filter(None, (aio, lane)):
            with grpc.insecure_channel(address) as channel:
                grpc.channel_ready_future(channel).result(timeout=START_S_MAX)
        yield Server(aio, lane)
    finally:
        process.terminate()
        process.wait(timeout=START_S_MAX)


@cache
def built(kind: str) -> tuple[str, str]:
    """The client's program and why there is none."""
    out = BUILT / kind
    if kind == "cpp":
        needs = "g++, libgrpc++-dev, libprotobuf-dev and protobuf-compiler-grpc"
        found = shutil.which("g++") and shutil.which("grpc_cpp_plugin")
        command = ["make", "-s", "-C", str(HERE / kind), f"OUT={out}", f"PYTHON={sys.executable}"]
    else:
        needs = "Go 1.26 or newer, and its module proxy the first time"
        found = shutil.which("go", path=GO_PATH)
        command = [str(HERE / kind / "build"), str(out), sys.executable]
    if not found:
        return "", f"needs {needs}"
    out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PATH": GO_PATH}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=BUILD_S_MAX, check=False
    )
    if done.returncode:
        return "", f"needs {needs}: {done.stderr.strip()[-200:]}"
    return str(out / "client"), ""


@pytest.fixture(scope="module", params=["cpp", "go"])
def program(request: Any) -> str:
    found, missing = built(request.param)
    if missing:
        pytest.skip(missing)
    return found


@pytest.fixture(scope="module", params=["aio", "lane"])
def lane(request: Any, server: Server) -> str:
    if request.param == "lane" and not server.lane:
        pytest.skip(LANE_MISSING)
    return str(request.param)


@pytest.fixture(scope="module")
def seen(program: str, lane: str, server: Server) -> dict[str, Any]:
    """What a client saw on a lane."""
    name = f"{Path(program).parent.name}-{lane}"
    done = subprocess.run(
        [program, getattr(server, lane), name],
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {"name": name, **json.loads(done.stdout)}


def question(id: str) -> decision_pb2.DecideRequest:
    """The request that every client makes."""
    request = decision_pb2.DecideRequest(
        decision_id=id,
        identity=common_pb2.Identity(id="ann"),
        placements=["home"],
        context={
            "page": common_pb2.Value(string_value="home"),
            "hour": common_pb2.Value(int_value=9),
        },
        seed=7,
    )
    request.now.FromSeconds(1780315200)
    return request


def test_a_decision_is_the_one_that_grpc_aio_gives(seen: dict[str, Any], server: Server) -> None:
    with grpc.insecure_channel(server.aio) as channel:
        call = channel.unary_unary(
            DECIDE,
            decision_pb2.DecideRequest.SerializeToString,
            decision_pb2.DecideResponse.FromString,
        )
        # Another id: the same would be answered from memory, not decided again.
        wanted = call(question(f"{seen['name']}-again"), timeout=5)
    found = decision_pb2.DecideResponse.FromString(bytes.fromhex(seen["decide"]))
    assert found.decision_id == f"{seen['name']}-decide"
    for response in (found, wanted):
        response.decision_id = ""
        response.staleness_ms = 0
        response.ClearField("position")
    assert found == wanted
    assert found.placements[0].placement == "home"


def test_an_event_counts_once(seen: dict[str, Any]) -> None:
    assert seen["track"] == [False, True]


def test_a_batch_is_decided_whole(seen: dict[str, Any]) -> None:
    assert seen["batch"] == 100


def test_metadata_of_both_kinds_is_taken(seen: dict[str, Any]) -> None:
    assert seen["metadata"]["code"] == OK


def test_a_call_ends_at_its_deadline(seen: dict[str, Any]) -> None:
    assert seen["deadline"]["code"] == DEADLINE_EXCEEDED


def test_a_cancelled_call_harms_no_other(seen: dict[str, Any]) -> None:
    assert seen["cancelled"]["code"] == CANCELLED
    assert set(seen["cancelled_in_flight"]) <= {str(OK), str(CANCELLED)}
    assert sum(seen["cancelled_in_flight"].values()) == 200


def test_an_error_says_the_field(seen: dict[str, Any]) -> None:
    refused = seen["refused"]
    assert refused["code"] == refused["details_code"] == INVALID_ARGUMENT
    assert refused["reason"] == "UNKNOWN_NAME"
    assert refused["field"].startswith("placements")
    assert "nowhere" in refused["message"]


def test_control_calls_are_sent_elsewhere(seen: dict[str, Any], lane: str, server: Server) -> None:
    if lane == "aio":
        assert seen["control"]["code"] == OK
    else:
        assert seen["control"]["code"] == UNIMPLEMENTED
        assert server.aio in seen["control"]["message"]


def test_health_is_answered(seen: dict[str, Any]) -> None:
    assert seen["health"] == SERVING
    assert seen["health_unknown"]["code"] == NOT_FOUND


def test_a_thousand_calls_at_once_get_their_own_answers(seen: dict[str, Any]) -> None:
    assert seen["concurrent"] == 1000
