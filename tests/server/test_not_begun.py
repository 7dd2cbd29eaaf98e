"""Calls of which gRPC keeps no more: ended at once, and counted all the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import grpc

from nextbest.server.rpc.not_begun import NOT_BEGUN
from nextbest.v1 import common_pb2, decision_pb2
from tests.lane.target import DECIDE, HEALTH
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import Scrape, scraped

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# ServerReflectionRequest: list_services.
LIST = b"\x3a\x00"
SHED = "nextbest_shed_calls_total"
CONNECTIONS, CALLS = 20, 50
# From twice as many on, all are ended.
PENDING_MAX = 4
BURSTS = 3
# Of which fewer wait than are kept without a question.
FEW = 5
SOMEONE = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id="ann")
REQUEST = decision_pb2.DecideRequest(identity=SOMEONE, placements=["home"]).SerializeToString()


async def burst(address: str, connections: int) -> Counter[str]:
    """How many calls at once end, each of which would wait for long."""

    async def end(channel: grpc.aio.Channel) -> str:
        try:
            await channel.unary_unary(DECIDE)(REQUEST, timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    # Else all would share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options) for _ in range(connections)]
    try:
        return Counter(await asyncio.gather(*(end(one) for one in channels for _ in range(CALLS))))
    finally:
        await asyncio.gather(*(one.close() for one in channels))


def shed(now: Scrape) -> float:
    """What the server has counted."""
    return now.value(SHED, lane="grpc", reason=NOT_BEGUN, rpc_method="_OTHER")


def test_calls_that_grpc_ends_are_counted_exactly_once_it_is_still(tmp_path: Path) -> None:
    told = ("--set", f"rpc.pending_max={PENDING_MAX}", "--set", "overload.enabled=false")
    with Server(tmp_path, *told) as server:
        bursts = [asyncio.run(burst(server.address, CONNECTIONS)) for _ in range(BURSTS)]
        cancelled = sum(ended["CANCELLED"] for ended in bursts)
        counted = shed(scraped(server.http, lambda now: shed(now) >= cancelled))
    assert all(ended.keys() == {"OK", "CANCELLED"} for ended in bursts)
    assert counted == cancelled


def test_calls_that_only_wait_are_not_counted(tmp_path: Path) -> None:
    with Server(tmp_path, "--set", "overload.enabled=false") as server:
        assert asyncio.run(burst(server.address, FEW)).keys() == {"OK"}
        assert shed(Scrape(server.http)) == 0


def test_health_reflection_and_unknown_methods_are_begun_too(tmp_path: Path) -> None:
    told = ("--set", f"rpc.pending_max={PENDING_MAX}", "--set", "listen.reflection=true")
    with Server(tmp_path, *told) as server:
        with grpc.insecure_channel(server.address) as channel:
            for method in (HEALTH, "/no.such/Method"):
                for _ in range(CALLS):
                    called(channel.unary_unary(method))
            for _ in range(CALLS):
                assert list(channel.stream_stream(REFLECTION)(iter([LIST]), timeout=20))
        assert shed(Scrape(server.http)) == 0


def called(method: grpc.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
    """One call, whatever its answer."""
    with contextlib.suppress(grpc.RpcError):
        method(b"", timeout=20)
