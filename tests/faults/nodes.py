"""Real nodes: `nextbest serve` as processes, and what a client and an operator see of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextbest.v1 import log_pb2, log_pb2_grpc, profile_pb2, profile_pb2_grpc
from tests.faults.checks import Standing
from tests.faults.history import Place
from tests.faults.load import Endpoint
from tests.faults.processes import FaultError, Processes, until

PLAYBOOK: Final = Path(__file__).resolve().parents[2] / "server" / "examples" / "first"
READY_S: Final = 30.0
CALL_S: Final = 2.0
LONG_S: Final = 120.0
PEOPLE_MAX: Final = 1_000_000
_COMMAND: Final = "from nextbest.server.command.main import run; run()"
# Small enough for three of them beside Redis on a small machine.
_SETTINGS: Final = {
    "engine.profiles_max": "1000000",
    "engine.dedupe_max": "2000000",
    "listen.drain_grace_ms": "2000",
}
_MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
# Generated stubs have no types.
_LOG_SERVICE: Any = log_pb2_grpc.LogServiceStub
_PROFILE_SERVICE: Any = profile_pb2_grpc.ProfileServiceStub


class Node:
    """One node; its folder, with sockets, snapshots and SQLite file, outlives a kill."""

    def __init__(
        self,
        processes: Processes,
        name: str,
        log: str,
        enter: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        data: Path | None = None,
        playbook: Path = PLAYBOOK,
    ) -> None:
        folder = processes.folder / name
        folder.mkdir()
        self.name = name
        self.data = data or folder / "data"
        self.endpoint = Endpoint(name, f"unix:{folder}/lane", f"unix:{folder}/control")
        arguments = ["serve", "--playbook", str(playbook), "--data", str(self.data)]
        arguments += ["--listen", self.endpoint.control, "--fast-lane", self.endpoint.lane]
        arguments += ["--log", log] if log else []
        for key, value in {**_SETTINGS, **(settings or {})}.items():
            arguments += ["--set", f"{key}={value}"]
        self.process = processes.add(name, [sys.executable, "-c", _COMMAND, *arguments], enter)
        self._channel: Any = None

    async def start(self) -> None:
        """Start it and wait until it says that it serves."""
        self.process.start()
        await self.ready()

    async def ready(self, timeout_s: float = READY_S) -> None:
        """Wait until it says that it serves; FaultError at once when it has ended."""

        async def serving() -> bool:
            if not self.process.alive:
                raise FaultError(f"{self.name} ended:\n{self.process.printed()}")
            return await self.serves()

        await until(serving, timeout_s, f"{self.name} is ready")

    async def serves(self) -> bool:
        """What its health check says."""
        check = health_pb2_grpc.HealthStub(self._connected()).Check
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=CALL_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def status(self) -> log_pb2.GetLogStatusResponse:
        """How its log is."""
        call = _LOG_SERVICE(self._connected()).GetLogStatus
        answer: log_pb2.GetLogStatusResponse = await call(
            log_pb2.GetLogStatusRequest(digest=True), timeout=CALL_S
        )
        return answer

    async def state(self) -> str:
        """What its log is at; empty when it does not answer."""
        try:
            return (await self.status()).state
        except grpc.aio.AioRpcError:
            return ""

    async def standing(self) -> Standing:
        """Its place in the log and its digest."""
        found = await self.status()
        at = found.position
        return Standing(
            self.name,
            Place(at.epoch, at.sequence, at.nonce),
            found.ahead,
            found.parked,
            (found.digest_events, found.digest_rows),
        )

    async def counts(self, prefix: str) -> dict[str, int]:
        """How many events it counts of each person whose name begins so."""
        request = profile_pb2.QueryProfilesRequest(
            condition="profile.visits_7d >= 1", limit=PEOPLE_MAX, profiles=True
        )
        query = _PROFILE_SERVICE(self._connected()).QueryProfiles
        found: dict[str, int] = {}
        async for part in query(request, timeout=LONG_S):
            for one in part.profiles:
                person = one.identities[0].id
                if person.startswith(prefix):
                    found[person] = one.counters["visits_7d"].value.int_value
        return found

    async def snapshot(self) -> log_pb2.TakeSnapshotResponse:
        """Have it write a snapshot."""
        call = _LOG_SERVICE(self._connected()).TakeSnapshot
        made: log_pb2.TakeSnapshotResponse = await call(
            log_pb2.TakeSnapshotRequest(), timeout=LONG_S
        )
        return made

    async def reseed(self, force: bool = False) -> log_pb2.ReseedLogResponse:
        """Start a wiped log anew from its memory."""
        call = _LOG_SERVICE(self._connected()).ReseedLog
        made: log_pb2.ReseedLogResponse = await call(
            log_pb2.ReseedLogRequest(force=force), timeout=LONG_S
        )
        return made

    async def close(self) -> None:
        """Close the connection to it."""
        if self._channel is not None:
            await self._channel.close()

    def _connected(self) -> Any:
        if self._channel is None:
            options = (
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
                ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            )
            self._channel = grpc.aio.insecure_channel(self.endpoint.control, options)
        return self._channel
