"""Spans of calls, as a receiver of OTLP gets them, through both lanes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import grpc
import pytest

from nextbest.core import LANE_MISSING, lane_available
from nextbest.core.engine import STEP_NAMES
from nextbest.v1 import decision_pb2
from tests.lane.target import BATCH, DECIDE, TRACK, batch, decide, track
from tests.server.telemetry.otlp import Received, Receiver
from tests.server.telemetry.playbook import HEAVY, heavy, with_heavy
from tests.server.telemetry.process import Server

SERVER, INTERNAL = 2, 1
STATUS_ERROR = 2
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = (f"00-{TRACE}-{PARENT}-{flags}" for flags in ("01", "00"))
STATE = "one=1,other=a:b"

pytestmark = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


@pytest.fixture(scope="module", params=["grpc", "http/protobuf"])
def receiving(request: Any) -> Iterator[tuple[Receiver, dict[str, str]]]:
    """A receiver, and the variables that have a server export to it."""
    with Receiver() as receiver:
        over_grpc = request.param == "grpc"
        yield (
            receiver,
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": (
                    f"http://{receiver.address}" if over_grpc else receiver.http
                ),
                "OTEL_EXPORTER_OTLP_PROTOCOL": request.param,
                "OTEL_TRACES_SAMPLER": "parentbased_always_off",
                "OTEL_BSP_SCHEDULE_DELAY": "100",
                "OTEL_SERVICE_NAME": "shop",
                "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            },
        )


@pytest.fixture(scope="module")
def server(
    receiving: tuple[Receiver, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with Server(
        folder,
        "--set",
        "telemetry.baggage=tenant",
        playbook=with_heavy(folder),
        environment=receiving[1],
    ) as made:
        yield made


@pytest.fixture
def receiver(receiving: tuple[Receiver, dict[str, str]]) -> Receiver:
    receiving[0].requests.clear()
    return receiving[0]


@pytest.fixture(params=["fast", "grpc"])
def lane(request: Any) -> str:
    name: str = request.param
    return name


def made(server: Server, lane: str, method: str, request: bytes, **headers: str) -> bytes:
    """The answer of one call with those headers."""
    return called(server, lane, method, request, list(headers.items()))


def called(
    server: Server, lane: str, method: str, request: bytes, metadata: list[tuple[str, str]]
) -> bytes:
    """The answer of one call."""
    address = server.lane if lane == "fast" else server.address
    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(method)(request, timeout=20, metadata=tuple(metadata))
        return answer


def call_and_steps(receiver: Receiver) -> tuple[Received, list[Received]]:
    """The one call's span that comes, and its steps', checked to be a tree in order."""
    receiver.wait(lambda got: any(one.item.kind == SERVER for one in got.spans))
    spans = receiver.spans
    [call] = [one for one in spans if one.item.kind == SERVER]
    steps = [one for one in spans if one.item.kind == INTERNAL]
    assert {one.item.parent_span_id for one in steps} == {call.item.span_id}
    assert {one.item.trace_id for one in steps} == {call.item.trace_id}
    assert len({one.item.span_id for one in spans}) == len(spans)
    assert steps[0].item.start_time_unix_nano == call.item.start_time_unix_nano
    assert steps[-1].item.end_time_unix_nano == call.item.end_time_unix_nano
    for one, following in pairwise(steps):
        assert one.item.start_time_unix_nano < one.item.end_time_unix_nano
        assert one.item.end_time_unix_nano == following.item.start_time_unix_nano
    names = [one.item.name for one in steps]
    assert names == [name for name in STEP_NAMES if name in names]
    return call, steps


def test_a_sampled_call_is_its_callers_child(server: Server, receiver: Receiver, lane: str) -> None:
    got = made(server, lane, DECIDE, decide("home"), traceparent=SAMPLED, tracestate=STATE)
    answer = decision_pb2.DecideResponse.FromString(got)
    call, steps = call_and_steps(receiver)
    assert call.item.name == "nextbest.v1.DecisionService/Decide"
    assert (call.item.trace_id.hex(), call.item.parent_span_id.hex()) == (TRACE, PARENT)
    assert call.item.trace_state == STATE
    assert not call.item.links
    assert call.item.status.code == 0
    assert call.attributes.pop("nextbest.staleness_ms") >= 0
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "nextbest.v1.DecisionService/Decide",
        "rpc.response.status_code": "OK",
        "nextbest.lane": lane,
        "nextbest.kept_for": ["sampled"],
        "nextbest.generation": 1,
        "nextbest.position": f"{answer.position.epoch}-{answer.position.sequence}",
        "nextbest.placements": ["home"],
        "nextbest.actions": [one.action for one in answer.placements[0].propositions],
    }
    assert call.scope == "nextbest"
    assert call.resource["service.name"] == "shop"
    assert call.resource["deployment.environment.name"] == "test"
    assert {"service.version", "service.instance.id"} <= set(call.resource)
    wanted = {"parse", "eligibility", "score", "arbitrate", "encode", "send"}
    assert wanted <= {one.item.name for one in steps}


def test_an_error_is_kept_whoever_sampled_and_links_to_its_caller(
    server: Server, receiver: Receiver, lane: str
) -> None:
    with pytest.raises(grpc.RpcError):
        made(server, lane, DECIDE, decide("nowhere"), traceparent=UNSAMPLED)
    call, _steps = call_and_steps(receiver)
    assert (call.item.trace_id.hex(), call.item.parent_span_id.hex()) == (TRACE, PARENT)
    [link] = call.item.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (TRACE, PARENT)
    assert call.attributes["nextbest.kept_for"] == ["error"]
    assert call.attributes["error.type"] == "INVALID_ARGUMENT"
    assert call.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert call.attributes["nextbest.error.reason"] == "UNKNOWN_NAME"
    # It is the caller's fault.
    assert call.item.status.code == 0
    assert "nowhere" not in str(receiver.requests)


def test_a_fault_of_the_server_has_its_status(
    server: Server, receiver: Receiver, lane: str
) -> None:
    position = {"epoch": 99, "sequence": 1, "nonce": 1}
    with pytest.raises(grpc.RpcError) as failed:
        made(server, lane, DECIDE, decide("home", min_position=position))
    call, _steps = call_and_steps(receiver)
    code = failed.value.code().name  # type: ignore[attr-defined]
    assert call.attributes["rpc.response.status_code"] == code
    assert call.item.status.code == (STATUS_ERROR if code == "UNAVAILABLE" else 0)


def test_a_degraded_call_is_kept_whoever_sampled(
    server: Server, receiver: Receiver, lane: str
) -> None:
    made(server, lane, DECIDE, heavy())
    call, _steps = call_and_steps(receiver)
    assert call.item.parent_span_id == b""
    assert not call.item.links
    assert call.attributes["nextbest.kept_for"] == ["degraded"]
    assert call.attributes["nextbest.degraded"] == ["BOUND_REACHED"]
    assert call.attributes["nextbest.placements"] == [HEAVY]
    assert call.item.status.code == 0


def test_a_batch_tells_of_its_first_entries(server: Server, receiver: Receiver, lane: str) -> None:
    made(server, lane, BATCH, batch(40), traceparent=SAMPLED)
    call, steps = call_and_steps(receiver)
    assert call.item.name == "nextbest.v1.DecisionService/DecideBatch"
    events = call.item.events
    assert 0 < len(events) <= 32
    assert {event.name for event in events} == {"decision"}
    assert call.item.start_time_unix_nano < events[0].time_unix_nano
    assert events[-1].time_unix_nano <= call.item.end_time_unix_nano
    summed = {one.item.name for one in steps if one.attributes.get("nextbest.step.summed")}
    assert {"eligibility", "score"} <= summed


def test_an_entry_that_fails_says_so(server: Server, receiver: Receiver, lane: str) -> None:
    requests = [decision_pb2.DecideRequest.FromString(decide(one)) for one in ("home", "nowhere")]
    message = decision_pb2.DecideBatchRequest(requests=requests).SerializeToString()
    made(server, lane, BATCH, message, traceparent=SAMPLED)
    call, _steps = call_and_steps(receiver)
    good, bad = ({a.key: a.value for a in event.attributes} for event in call.item.events)
    assert good["nextbest.batch.index"].int_value == 0
    assert good["nextbest.placements"].array_value.values[0].string_value == "home"
    assert bad["error.type"].string_value == "INVALID_ARGUMENT"
    assert "nowhere" not in str(receiver.requests)


def test_a_write_says_what_was_reached(server: Server, receiver: Receiver, lane: str) -> None:
    made(server, lane, TRACK, track(f"event of {lane}", ack=1), traceparent=SAMPLED)
    call, steps = call_and_steps(receiver)
    assert call.item.name == "nextbest.v1.EventService/Track"
    assert call.attributes["nextbest.ack"] == "APPLIED"
    assert "apply" in {one.item.name for one in steps}


def test_only_named_baggage_is_on_spans(server: Server, receiver: Receiver, lane: str) -> None:
    baggage = "who=jane%40example.com,tenant=a%20b;ttl=1"
    made(server, lane, DECIDE, decide("home"), traceparent=SAMPLED, baggage=baggage)
    call, _steps = call_and_steps(receiver)
    assert call.attributes["baggage.tenant"] == "a b"
    assert "jane" not in str(receiver.requests)


FIRST = "tenant=abc"
BAGGAGE_MAX = 1_024
# By what is sent: whether it is kept.
BAGGAGES = (
    ((FIRST + ",x=" + "a" * (BAGGAGE_MAX - len(FIRST) - 3),), True),
    ((FIRST + ",x=" + "a" * (BAGGAGE_MAX - len(FIRST) - 2),), False),
    ((FIRST, "x=" + "a" * (BAGGAGE_MAX - len(FIRST) - 3)), True),
    (("x=" + "a" * (BAGGAGE_MAX - len(FIRST) - 2), FIRST), False),
    # What comes behind one that was too much is not kept alone.
    (("x=" + "a" * 600, "y=" + "a" * 600, FIRST), False),
)


@pytest.mark.parametrize(("values", "kept"), BAGGAGES)
def test_baggage_is_whole_or_none(
    server: Server, receiver: Receiver, lane: str, values: tuple[str, ...], kept: bool
) -> None:
    metadata = [("baggage", value) for value in values]
    called(server, lane, DECIDE, decide("home"), [("traceparent", SAMPLED), *metadata])
    call, _steps = call_and_steps(receiver)
    assert call.attributes.get("baggage.tenant") == ("abc" if kept else None)


@pytest.fixture(scope="module")
def slow_server(
    receiving: tuple[Receiver, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Its log is a file, and no call that waits for that meets its objective."""
    folder = tmp_path_factory.mktemp("slow")
    with Server(
        folder,
        "--data",
        f"{folder}/data",
        "--set",
        "slo.objectives=Track 99% < 10us over 30d",
        environment=receiving[1],
    ) as made:
        yield made


def test_a_slow_call_is_kept_though_its_caller_did_not_sample(
    slow_server: Server, receiver: Receiver, lane: str
) -> None:
    event = track(f"slow event of {lane}", ack=2)
    made(slow_server, lane, TRACK, event, traceparent=UNSAMPLED)
    call, steps = call_and_steps(receiver)
    assert call.attributes["nextbest.kept_for"] == ["slow"]
    assert call.attributes["nextbest.ack"] == "LOGGED"
    assert (call.item.trace_id.hex(), call.item.parent_span_id.hex()) == (TRACE, PARENT)
    [link] = call.item.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (TRACE, PARENT)
    assert call.item.status.code == 0
    [waited] = [one for one in steps if one.item.name == "wait_for_log"]
    assert waited.item.end_time_unix_nano - waited.item.start_time_unix_nano > 10_000


@pytest.mark.parametrize(
    "parent",
    [f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE.upper()}-{PARENT}-01"],
    ids=["zeros", "version", "capitals"],
)
def test_a_malformed_parent_is_none(
    server: Server, receiver: Receiver, lane: str, parent: str
) -> None:
    with pytest.raises(grpc.RpcError):
        made(server, lane, DECIDE, decide("nowhere"), traceparent=parent)
    call, _steps = call_and_steps(receiver)
    assert call.item.parent_span_id == b""
    assert call.item.trace_id.hex() not in {TRACE, "0" * 32}
