"""Decisions as `feature_flag.evaluation` events, as an OTLP receiver gets them."""

from __future__ import annotations

import socket
import urllib.request
from hashlib import blake2b
from pathlib import Path

import grpc
import pytest
from opentelemetry._logs import LogRecord

from nextbest.core import lane_available
from nextbest.core.engine import KeptCall
from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.events.evaluation import EvaluationMaker
from nextbest.server.telemetry.events.events import Events
from nextbest.server.telemetry.events.pseudonym import pseudonyms
from nextbest.server.telemetry.events.settings import EventSettings
from nextbest.v1 import decision_pb2
from tests.lane.target import BATCH, DECIDE, TRACK, batch, decide, track
from tests.server.telemetry.otlp import Receiver
from tests.server.telemetry.process import Server

KEY = b"0123456789abcdef"
ID = "order of jane@example.com"
TRACE = "ab" * 16
SAMPLED = (("traceparent", f"00-{TRACE}-{'cd' * 8}-01"),)
EXPORTED = "nextbest_decision_events_exported_total"


def environment(receiver: Receiver, protocol: str = "grpc") -> dict[str, str]:
    http = protocol == "http/protobuf"
    return {
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{receiver.http}/v1/logs"
        if http
        else f"http://{receiver.address}",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": protocol,
        "OTEL_BLRP_SCHEDULE_DELAY": "50",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }


def kept(answer: bytes, method: str = "Decide", cut: bool = False, code: int = 0) -> KeptCall:
    return KeptCall(
        method=method,
        code=code,
        reasons=("sampled",),
        began_ns=1_000,
        steps_ns=(0,) * 10,
        traceparent=b"",
        tracestate=b"",
        baggage=b"",
        random=bytes(range(16)),
        reason="",
        answer=answer,
        answer_cut=cut,
        lane="grpc",
        waited_first=False,
    )


def made(response: decision_pb2.DecideResponse, cut: bool = False) -> list[LogRecord]:
    return EvaluationMaker(pseudonyms(""))(kept(response.SerializeToString(), cut=cut))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_sampled_decision_is_an_event_of_its_trace(tmp_path: Path, protocol: str) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    setting = f"telemetry.pseudonym_key_file={key}"
    with Receiver() as receiver:
        told = environment(receiver, protocol)
        with Server(tmp_path, "--set", setting, environment=told) as server:
            addresses = [server.address, *([server.lane] if lane_available else [])]
            for address in addresses:
                with grpc.insecure_channel(address) as channel:
                    request = decide("home", decision_id=ID)
                    channel.unary_unary(DECIDE)(request, timeout=5, metadata=SAMPLED)
                    channel.unary_unary(DECIDE)(decide("home"), timeout=5)
                    channel.unary_unary(TRACK)(track("e", ack=1), timeout=5, metadata=SAMPLED)
            receiver.wait(lambda it: len(it.logs) >= len(addresses))
            with urllib.request.urlopen(f"{server.http}/metrics") as page:
                assert f"{EXPORTED} {float(len(addresses))}" in page.read().decode()
    events = receiver.logs
    assert len(events) == len(addresses)
    assert {one.attributes["nextbest.lane"] for one in events} == (
        {"grpc", "fast"} if lane_available else {"grpc"}
    )
    for one in events:
        assert one.item.event_name == "feature_flag.evaluation"
        assert one.item.trace_id.hex() == TRACE
        assert one.item.span_id
        assert one.attributes["feature_flag.key"] == "home"
        assert one.attributes["feature_flag.result.variant"] in one.attributes["nextbest.actions"]
        assert one.attributes["feature_flag.provider.name"] == "nextbest"
        assert len(one.attributes["feature_flag.version"]) == 32
        hashed = blake2b(ID.encode(), key=KEY, digest_size=16).hexdigest()
        assert one.attributes["feature_flag.context.id"] == hashed
        assert one.resource["service.name"] == "nextbest"
        assert ID not in str(one)


def test_a_batch_is_an_event_for_each_placement(tmp_path: Path) -> None:
    with (
        Receiver() as receiver,
        Server(tmp_path, environment=environment(receiver)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        channel.unary_unary(BATCH)(batch(3), timeout=5, metadata=SAMPLED)
        receiver.wait(lambda it: len(it.logs) >= 3)
    ids = {one.attributes["feature_flag.context.id"] for one in receiver.logs}
    assert len(receiver.logs) == len(ids) == 3


@pytest.mark.parametrize(
    ("proposition", "reason"),
    [
        ({"action": "a", "fallback": True, "propensity_logging": 1}, "default"),
        ({"action": "a", "propensity_logging": 1}, "targeting_match"),
        ({"action": "a", "propensity_logging": 0.5}, "split"),
        (None, "default"),
    ],
)
def test_the_reason_is_the_conventions(proposition: dict[str, object], reason: str) -> None:
    response = decision_pb2.DecideResponse()
    placement = response.placements.add(placement="home")
    if proposition:
        placement.propositions.add(**proposition)
    [record] = made(response)
    assert record.attributes is not None
    assert record.attributes["feature_flag.result.reason"] == reason
    assert ("feature_flag.result.variant" in record.attributes) == bool(proposition)


def test_what_is_left_out_is_said() -> None:
    response = decision_pb2.DecideResponse(decision_id="d")
    for number in range(3):
        response.placements.add(placement=f"p{number}").propositions.add(action="a" * 20)
    whole = response.SerializeToString()
    maker = EvaluationMaker(pseudonyms(""))
    records = maker(kept(whole[:-1], cut=True))
    keys = [(one.attributes or {})["feature_flag.key"] for one in records]
    assert keys == ["p0", "p1"]
    assert [(one.attributes or {}).get("nextbest.answer_cut") for one in records] == [None, True]
    response.placements.extend([response.placements[0]] * 40)
    many = made(response)
    assert len(many) == 32
    assert (many[-1].attributes or {})["nextbest.answer_cut"]


def test_other_calls_and_errors_have_no_events() -> None:
    maker = EvaluationMaker(pseudonyms(""))
    assert not maker(kept(b"", "Track"))
    assert not maker(kept(b"\x08\x03", code=3))


def test_what_has_no_room_or_no_receiver_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        events = Events(EventSettings("otlp", queue_max=5, delay_s=60), pseudonyms(""))
        response = decision_pb2.DecideResponse()
        response.placements.add(placement="home")
        call = kept(response.SerializeToString())
        events.tell([call] * 8)
        assert events.lost()["queue_full"] == 3
        events.start()
        events.stop()
        events.tell([call])
    lost = events.lost()
    assert lost["stopped"] >= 1
    assert sum(lost.values()) == 9
    assert events.exported == 0


def test_a_pseudonym_is_the_key_s(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY)
    assert pseudonyms(str(file))("a") == pseudonyms(str(file))("a") != pseudonyms("")("a")
    file.write_bytes(b"short")
    with pytest.raises(ConfigError, match="a key of 5 bytes, allowed: 16 to 64 bytes"):
        pseudonyms(str(file))
    with pytest.raises(ConfigError, match="No such file"):
        pseudonyms(str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["none", ""])
def test_nothing_is_exported_without_an_endpoint(tmp_path: Path, name: str) -> None:
    with Server(tmp_path, environment={"OTEL_LOGS_EXPORTER": name}) as server:
        assert server.http
