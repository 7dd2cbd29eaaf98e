"""Spans of the server's own work, as a receiver of OTLP gets them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from nextbest.client import Client
from nextbest.core import LANE_MISSING, lane_available
from nextbest.server.playbook.folder import read_folder
from nextbest.v1 import playbook_pb2, profile_pb2
from tests.lane.target import PLAYBOOK, TRACK, track
from tests.server.log.conftest import Process as Redis
from tests.server.telemetry.otlp import Received, Receiver
from tests.server.telemetry.process import Server

SERVER, CLIENT, STATUS_ERROR = 2, 3, 2
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "a=b"))
LISTED = "/nextbest.v1.PlaybookService/ListGenerations"

pytestmark = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


def exporting(receiver: Receiver) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver.address}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }


def named(receiver: Receiver, name: str) -> list[Received]:
    return [one for one in receiver.spans if one.item.name == name]


def test_a_call_of_the_control_plane_and_what_it_does(tmp_path: Path) -> None:
    with (
        Receiver() as receiver,
        Server(
            tmp_path, "--data", str(tmp_path / "data"), environment=exporting(receiver)
        ) as server,
    ):
        with grpc.insecure_channel(server.address) as channel:
            files = [
                playbook_pb2.PlaybookFile(path=path, content=content)
                for path, content in read_folder(PLAYBOOK).items()
            ]
            request = playbook_pb2.PublishPlaybookRequest(write_id="w", files=files)
            publish = channel.unary_unary("/nextbest.v1.PlaybookService/PublishPlaybook")
            publish(request.SerializeToString(), timeout=60, metadata=HEADERS)
            channel.unary_unary(TRACK)(track("e", ack=2), timeout=20)
        with Client(server.address) as client:
            client.take_snapshot()
    mine = [one for one in receiver.spans if one.item.trace_id.hex() == TRACE]
    [call] = [one for one in mine if one.item.kind == SERVER]
    assert call.item.name == "nextbest.v1.PlaybookService/PublishPlaybook"
    assert call.item.parent_span_id.hex() == PARENT
    assert call.item.trace_state == "a=b"
    assert call.attributes["rpc.response.status_code"] == "OK"
    [publish_span] = [one for one in mine if one.item.name == "playbook.publish"]
    assert publish_span.item.parent_span_id == call.item.span_id
    [compiled] = [one for one in mine if one.item.name == "playbook.compile"]
    assert compiled.item.parent_span_id == publish_span.item.span_id
    assert call.item.start_time_unix_nano <= compiled.item.start_time_unix_nano
    assert compiled.item.end_time_unix_nano <= call.item.end_time_unix_nano
    assert len(named(receiver, "recovery.restore")) == 1
    assert named(receiver, "log.append")[0].attributes["nextbest.log.bytes"] > 0
    [taken] = named(receiver, "snapshot.take")
    assert taken.attributes["nextbest.snapshot.bytes"] > 0


def test_an_error_is_told_by_its_code_alone(tmp_path: Path) -> None:
    name = "nextbest.v1.ProfileService/EraseProfile"
    with (
        Receiver() as receiver,
        Server(tmp_path, environment=exporting(receiver)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        request = profile_pb2.EraseProfileRequest(write_id="jane@example.com")
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(f"/{name}")(request.SerializeToString(), timeout=20)
        receiver.wait(lambda got: named(got, name))
    [call] = named(receiver, name)
    code = failed.value.code().name  # type: ignore[attr-defined]
    assert call.attributes["error.type"] == call.attributes["rpc.response.status_code"] == code
    assert "jane" not in str(receiver.requests)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server")
    made = Redis(tmp_path, 'save ""')
    made.start()
    yield made
    made.kill()


def test_calls_to_redis_are_clients_spans(tmp_path: Path, redis: Redis) -> None:
    with (
        Receiver() as receiver,
        Server(tmp_path, "--log", redis.url, environment=exporting(receiver)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        channel.unary_unary(TRACK)(track("e", ack=2), timeout=20)
    appends = {one.item.span_id for one in named(receiver, "log.append")}
    sent = [one for one in receiver.spans if one.item.parent_span_id in appends]
    assert sent
    for one in sent:
        assert one.item.kind == CLIENT
        assert one.attributes["db.system.name"] == "redis"
        assert "XADD" in one.attributes["db.operation.name"]
        assert (one.attributes["server.address"], one.attributes["server.port"]) == (
            "127.0.0.1",
            redis.port,
        )
    assert not any("XREAD" in one.item.name for one in receiver.spans)


def test_what_is_not_sampled_is_not_exported(tmp_path: Path) -> None:
    with Receiver() as receiver:
        never = exporting(receiver) | {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}
        with Server(tmp_path, "--data", str(tmp_path / "data"), environment=never) as server:
            with Client(server.address) as client:
                client.traces()
            with grpc.insecure_channel(server.address) as channel:
                channel.unary_unary(LISTED)(b"", timeout=20, metadata=HEADERS)
    assert {one.item.name for one in receiver.spans} == {LISTED[1:]}
