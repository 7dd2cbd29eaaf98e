"""Calls over grpc.aio are counted and kept as those of the fast lane are."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from nextbest.core import Engine
from nextbest.v1 import decision_pb2
from tests.lane.target import DECIDE, TRACK, decide, track

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_calls_of_grpc_aio_are_counted_and_kept(run_server: Any) -> None:
    engines: list[Engine] = []

    def announced(engine: Engine) -> None:
        engine.telemetry.configure((0.001, 1.0), {}, ratio=0.0)
        engines.append(engine)

    async with (
        run_server(announced=announced, telemetry__captured=0) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        call, write = channel.unary_unary(DECIDE), channel.unary_unary(TRACK)
        answer = await call(decide("home"), metadata=(("traceparent", PARENT),))
        await write(track("e1", ack=1))
        with pytest.raises(grpc.aio.AioRpcError, match="nowhere"):
            await call(decide("nowhere"))
    telemetry = engines[0].telemetry
    counted = {(c.lane, c.method, c.code): sum(c.buckets) for c in telemetry.calls()}
    assert counted == {
        ("grpc", "Decide", 0): 1,
        ("grpc", "Decide", 3): 1,
        ("grpc", "Track", 0): 1,
    }
    sampled, wrong = telemetry.take()
    assert (sampled.reasons, sampled.lane, sampled.answer) == (("sampled",), "grpc", answer)
    assert sampled.traceparent == PARENT.encode()
    assert decision_pb2.DecideResponse.FromString(sampled.answer).decision_id
    assert (wrong.reasons, wrong.reason) == (("error",), "UNKNOWN_NAME")
    assert telemetry.steps()["Track"]["apply"] > 0
