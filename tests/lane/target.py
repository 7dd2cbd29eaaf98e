"""The server under test: ours, or any gRPC server that a tester names.

`NEXTBEST_LANE_TARGET=host:port` judges a server that runs already (it must answer
`/nextbest.v1.DecisionService/Decide` and `/grpc.health.v1.Health/Check`);
`NEXTBEST_LANE_TARGET=aio` judges the grpc.aio server; without it the lane is judged.
`NEXTBEST_LANE_CHECKOUT=FOLDER` serves from another checkout, built with a sanitizer, and
`NEXTBEST_LANE_PRELOAD=libasan.so` loads its library into the server's process first.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextbest.v1 import common_pb2, decision_pb2, event_pb2
from tests.lane.wire import OK, Answer, Peer, call

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "tests" / "cases" / "small"
# Where the server's process finds its code.
CHECKOUT = Path(os.environ.get("NEXTBEST_LANE_CHECKOUT", ROOT))
START_S = 30

DECIDE = "/nextbest.v1.DecisionService/Decide"
BATCH = "/nextbest.v1.DecisionService/DecideBatch"
TRACK = "/nextbest.v1.EventService/Track"
HEALTH = "/grpc.health.v1.Health/Check"

ANN = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id="ann")


def decide(*placements: str, who: str = "ann", **more: Any) -> bytes:
    """A DecideRequest, for the person every test decides for unless another is named."""
    identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=who)
    made = decision_pb2.DecideRequest(identity=identity, placements=placements, **more)
    return made.SerializeToString()


def batch(count: int, **more: Any) -> bytes:
    """A DecideBatchRequest of `count` decisions."""
    one = decision_pb2.DecideRequest(identity=ANN, placements=["home"], scores=["*"], **more)
    return decision_pb2.DecideBatchRequest(requests=[one] * count).SerializeToString()


def track(event_id: str, who: str = "ann", product: str = "", ack: int = 0) -> bytes:
    """A TrackRequest of a login that happens now, or of a purchase."""
    identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=who)
    made = event_pb2.TrackRequest(event_id=event_id, identity=identity, event="login")
    made.occurred_at.GetCurrentTime()
    made.ack = ack  # type: ignore[assignment]
    if product:
        made.event = "purchase"
        made.properties["product"].string_value = product
        made.properties["amount"].double_value = 9.5
    return made.SerializeToString()


@dataclass
class Target:
    """A running server."""

    kind: str
    address: str
    pid: int

    @property
    def is_lane(self) -> bool:
        return self.kind == "lane"

    def peer(self, **more: Any) -> Peer:
        return Peer(self.address, **more)

    def decided(self, timeout: float = 5.0) -> Answer:
        """A right call on a new connection: what another client sees."""
        with self.peer() as peer:
            return call(peer, DECIDE, decide("home"), timeout=timeout)

    def must_serve(self) -> None:
        """Assert that another client is served."""
        answer = self.decided()
        assert answer.status == OK, f"another client saw: {answer}"

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(kind: str = "", settings: dict[str, Any] | None = None) -> Iterator[Target]:
    """A server in a process of its own while the block runs."""
    kind = kind or os.environ.get("NEXTBEST_LANE_TARGET", "lane")
    if ":" in kind:
        yield Target("other", kind, 0)
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lane.subject", kind, json.dumps(settings or {})],
        cwd=CHECKOUT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Target(kind, _announced(process), process.pid)
    finally:
        _ended(process)


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT / "build" / "tree"), str(CHECKOUT)])
    made = {**os.environ, "PYTHONPATH": path, "GRPC_VERBOSITY": "NONE"}
    if preload := os.environ.get("NEXTBEST_LANE_PRELOAD"):
        made |= {"LD_PRELOAD": preload, "PYTHONMALLOC": "malloc"}
    return made


def _announced(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline().strip() if ready else ""
    assert line, "the server did not start"
    return line


def _ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(START_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
