"""What gRPC over HTTP/2 demands of a server: PROTOCOL-HTTP2.md, statuscodes.md, compression.md."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Callable

import pytest
from grpc_health.v1 import health_pb2
from hyperframe.frame import DataFrame, Frame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from nextbest.v1 import decision_pb2, event_pb2
from tests.lane.target import BATCH, DECIDE, HEALTH, TRACK, Target, batch, decide, track
from tests.lane.wire import (
    CANCEL,
    CANCELLED,
    DEADLINE_EXCEEDED,
    INITIAL_WINDOW_SIZE,
    INTERNAL,
    INVALID_ARGUMENT,
    NO_ERROR,
    NOT_FOUND,
    OK,
    PERCENT_ENCODED,
    PROTOCOL_ERROR,
    RESOURCE_EXHAUSTED,
    UNIMPLEMENTED,
    UNKNOWN,
    Answer,
    Header,
    Peer,
    call,
    data_frames,
    frame,
    message,
    request,
)

BODY = decide("home")
# What a server may say of a message that is cut off: the documents leave it open.
CUT_OFF = {INTERNAL, INVALID_ARGUMENT}


def names(block: list[Header]) -> list[bytes]:
    return [name for name, _ in block]


def must_be_well_formed(answer: Answer) -> None:
    """Hold an answer of any outcome against the protocol's grammar."""
    assert answer.ended, str(answer)
    assert answer.http_status == 200
    assert (answer.first("content-type") or b"").startswith(b"application/grpc")
    for block in answer.headers:
        assert all(name == name.lower() for name in names(block))
        pseudo = [name.startswith(b":") for name in names(block)]
        assert pseudo == sorted(pseudo, reverse=True), "a pseudo-header after another"
    assert answer.headers[0][0][0] == b":status"
    status = answer.last("grpc-status")
    assert status is not None
    assert status == str(int(status)).encode(), "leading zeros"
    assert names(answer.headers[-1]).count(b"grpc-status") == 1
    text = answer.last("grpc-message")
    assert text is None or PERCENT_ENCODED.fullmatch(text), text
    assert answer.frames[-1 if answer.reset is None else -2] == "HEADERS"
    if len(answer.headers) == 2:
        assert b"grpc-status" not in names(answer.headers[0]), "a status in the first headers"
        assert b":status" not in names(answer.headers[1])


def must_refuse(answer: Answer, *codes: int) -> None:
    """Assert a trailers-only answer: one HEADERS frame, which ends the stream."""
    must_be_well_formed(answer)
    assert answer.status in codes, str(answer)
    assert answer.data == b""
    assert answer.frames in (["HEADERS"], ["HEADERS", "RST_STREAM"]), answer.frames
    assert answer.reset in (None, NO_ERROR)
    if answer.details is not None:
        assert answer.details.code == answer.status
        assert answer.details.message == answer.text
        value = answer.last("grpc-status-details-bin")
        assert value is not None
        assert not value.endswith(b"="), "padded, which the document advises against"


def must_answer(answer: Answer) -> bytes:
    """Assert an answer of one message and return it."""
    must_be_well_formed(answer)
    assert answer.status == OK, str(answer)
    assert answer.frames[0] == "HEADERS"
    assert answer.frames[-1] == "HEADERS"
    assert set(answer.frames[1:-1]) <= {"DATA"}
    assert answer.reset is None
    (found,) = answer.messages
    return found


def test_decide_is_answered(peer: Peer) -> None:
    found = decision_pb2.DecideResponse.FromString(must_answer(call(peer, DECIDE, BODY)))
    assert found.placements[0].placement == "home"


def test_decide_batch_is_answered(peer: Peer) -> None:
    found = must_answer(call(peer, BATCH, batch(20, explain=True)))
    assert len(decision_pb2.DecideBatchResponse.FromString(found).results) == 20


def test_track_is_answered_and_a_repeat_is_known(peer: Peer) -> None:
    event = track("grpc-1")
    first = event_pb2.TrackResponse.FromString(must_answer(call(peer, TRACK, event)))
    again = event_pb2.TrackResponse.FromString(must_answer(call(peer, TRACK, event)))
    assert again.duplicate
    assert again.position.sequence >= first.position.sequence


@pytest.mark.parametrize("service", ["", "nextbest.v1.DecisionService"])
def test_health_says_serving(service: str, peer: Peer) -> None:
    body = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    found = must_answer(call(peer, HEALTH, body))
    assert health_pb2.HealthCheckResponse.FromString(found).status == 1


def test_health_does_not_know_another_service(peer: Peer) -> None:
    body = health_pb2.HealthCheckRequest(service="nobody").SerializeToString()
    must_refuse(call(peer, HEALTH, body), NOT_FOUND)


TEXTS = ["100%", "%41", "%", "ünïcode ☃ 🎯", "line\nbreak\r\n\ttab", "\0\x01\x7f", "a b~", "%zz %%"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_message_is_percent_encoded(text: str, peer: Peer) -> None:
    answer = call(peer, DECIDE, decide(text))
    must_refuse(answer, INVALID_ARGUMENT)
    assert answer.details is not None
    assert answer.details.message == answer.text
    assert "placements" in answer.text


def test_an_error_carries_its_details(peer: Peer) -> None:
    answer = call(peer, DECIDE, decide("nowhere"))
    must_refuse(answer, INVALID_ARGUMENT)
    assert answer.details is not None
    kinds = [any_.type_url.rpartition(".")[2] for any_ in answer.details.details]
    assert kinds == ["ErrorInfo", "BadRequest"]


@pytest.mark.parametrize("body", [b"\xff", b"\x12\xff\xff\xff\xff\x0f", b"\x0a\x02\xff"])
@pytest.mark.parametrize("path", [DECIDE, BATCH, TRACK, HEALTH])
def test_a_message_that_does_not_parse_is_refused(path: str, body: bytes, peer: Peer) -> None:
    allowed = (INVALID_ARGUMENT, INTERNAL) if path == HEALTH else (INVALID_ARGUMENT,)
    must_refuse(call(peer, path, body), *allowed)


METADATA: dict[str, list[tuple[str | bytes, str | bytes]]] = {
    "ASCII": [("x-a", "b c~"), ("x_1.2-3", "v")],
    "duplicates": [("x-a", "1"), ("x-a", "2"), ("x-a", "1")],
    "padded binary": [("x-bin", base64.b64encode(b"\0\xff1"))],
    "unpadded binary": [("x-bin", base64.b64encode(b"\0").rstrip(b"="))],
    "joined binary": [("x-bin", b"AA==,AQ,"), ("x-bin", b"AAEC")],
    "empty binary": [("x-bin", "")],
    "octets over 127": [("x-a", b"caf\xc3\xa9 \xff")],
    "spaces around": [("x-a", " b "), ("x-b", "\tc")],
    "a reserved name": [("grpc-future", "x"), ("grpc-previous-rpc-attempts", "1")],
    "what stock clients send": [
        ("user-agent", "grpc-c/53.0"),
        ("grpc-accept-encoding", "identity, deflate, gzip"),
        ("accept-encoding", "identity"),
        ("grpc-encoding", "identity"),
        ("grpc-message-type", "nextbest.v1.DecideRequest"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("grpc-trace-bin", b"AAA="),
        ("grpc-tags-bin", b"AA"),
        ("lb-token", "x"),
        ("authorization", "Bearer a.b.c"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
    ],
    "50 of them": [(f"x-{n}", "v" * 40) for n in range(50)],
    "4 KiB in one": [("x-a", "v" * 4_096)],
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_is_accepted(name: str, peer: Peer) -> None:
    must_answer(call(peer, DECIDE, BODY, METADATA[name]))


@pytest.mark.parametrize("value", [b"not base64!", b"A", b"====", b"AA=A"])
def test_broken_binary_metadata_does_no_harm(value: bytes, peer: Peer) -> None:
    answer = call(peer, DECIDE, BODY, [("x-bin", value)])
    assert answer.ended or answer.reset is not None, str(answer)
    must_answer(call(peer, DECIDE, BODY))


TIMEOUTS = ["1H", "99999999H", "5M", "99999999M", "7S", "99999999S", "5000m", "2000000u",
            "99999999u", "1S", "00000005S"]  # fmt: skip


@pytest.mark.parametrize("value", TIMEOUTS)
def test_a_timeout_in_every_unit_leaves_time(value: str, peer: Peer) -> None:
    must_answer(call(peer, DECIDE, BODY, grpc_timeout=value))


@pytest.mark.parametrize("path", [DECIDE, BATCH])
@pytest.mark.parametrize("value", ["1n", "1u"])
def test_a_timeout_that_is_over_is_said(value: str, path: str, peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(path, grpc_timeout=value)))
    time.sleep(0.005)
    peer.send(*data_frames(stream, message(batch(1) if path == BATCH else BODY)))
    must_be_past_the_deadline(peer.answer(stream))


@pytest.mark.parametrize("path", [DECIDE, BATCH, HEALTH])
def test_a_timeout_over_within_one_write_is_said(path: str, peer: Peer) -> None:
    body = {DECIDE: BODY, BATCH: batch(1), HEALTH: b""}[path]
    must_be_past_the_deadline(call(peer, path, body, grpc_timeout="1n"))


def must_be_past_the_deadline(answer: Answer) -> None:
    """The status, or the RST_STREAM with CANCEL that the document names."""
    if answer.ended:
        must_refuse(answer, DEADLINE_EXCEEDED, CANCELLED)
    else:
        assert answer.reset == CANCEL, str(answer)


@pytest.mark.parametrize("value", ["30m", "30000u", "30000000n"])
def test_a_deadline_passes_while_the_request_is_not_whole(value: str, peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(DECIDE, grpc_timeout=value)))
    peer.send(DataFrame(stream, message(BODY)[:7]))
    start = time.monotonic()
    answer = peer.answer(stream, 2)
    must_be_past_the_deadline(answer)
    assert time.monotonic() - start < 1


MALFORMED = ["", "1", "S", "1x", "1s", "-1S", "+1S", "1.5S", "0x1S", "123456789S", "1SS", "abc",
             "9999999999999999999999H", "1 S"]  # fmt: skip


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_timeout_is_refused_or_ignored(value: str, peer: Peer) -> None:
    answer = call(peer, DECIDE, BODY, grpc_timeout=value)
    if answer.status == OK:
        must_answer(answer)
    elif answer.reset is None:
        must_refuse(answer, INVALID_ARGUMENT, INTERNAL, UNKNOWN)


def test_a_timeout_of_nothing_is_over_at_once(peer: Peer) -> None:
    answer = call(peer, DECIDE, BODY, grpc_timeout="0S")
    must_refuse(answer, DEADLINE_EXCEEDED, INVALID_ARGUMENT, INTERNAL)


PATHS = [
    "/nextbest.v1.DecisionService/Nope",
    "/nextbest.v1.DecisionService/decide",
    "/nextbest.v1.DecisionService/Decide/",
    "/nextbest.v1.DecisionService/Decide?x=1",
    "/nextbest.v1.DecisionService//Decide",
    "/nextbest.v1.DecisionService/",
    "/nextbest.v1.DecisionService",
    "/Nope/Decide",
    "/nextbest.v1.decisionservice/Decide",
    "//Decide",
    "/",
    "/Decide",
    "/nextbest.v1.DecisionService/Decid",
    "/nextbest.v1.DecisionService/DecideX",
    "/" + "x" * 2_000 + "/y",
    "/%6Eextbest.v1.DecisionService/Decide",
]


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_method_is_unimplemented(path: str, peer: Peer) -> None:
    must_refuse(call(peer, path, BODY), UNIMPLEMENTED)


def test_the_lane_says_who_serves_another_method(peer: Peer, target: Target) -> None:
    if not target.is_lane:
        pytest.skip("only the lane has another server beside it")
    answer = call(peer, "/nextbest.v1.ProfileService/GetProfile", b"")
    must_refuse(answer, UNIMPLEMENTED)
    assert "the other server" in answer.text


def test_an_unknown_method_is_refused_before_its_body_comes(peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request("/no.Service/Method")))
    must_refuse(peer.answer(stream), UNIMPLEMENTED)
    # A client that did not hear of it yet goes on sending.
    peer.send(*data_frames(stream, message(BODY)))
    must_answer(call(peer, DECIDE, BODY))


RIGHT_TYPES = ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
WRONG_TYPES = ["", "text/html", "application/json", "application/grp", "xapplication/grpc", None]
OPEN_TYPES = ["application/grpc-web", "application/grpc-web+proto", "application/grpc+json",
              "application/grpcx", "application/GRPC"]  # fmt: skip


@pytest.mark.parametrize("value", RIGHT_TYPES)
def test_every_spelling_of_the_content_type_is_served(value: str, peer: Peer) -> None:
    must_answer(call(peer, DECIDE, BODY, content_type=value))


@pytest.mark.parametrize("value", WRONG_TYPES)
def test_another_content_type_is_http_415(value: str | None, peer: Peer) -> None:
    answer = call(peer, DECIDE, BODY, content_type=value)
    assert answer.http_status == 415, str(answer)
    assert answer.ended
    must_answer(call(peer, DECIDE, BODY))


def test_another_method_is_http_405_that_names_the_right_one(peer: Peer) -> None:
    answer = call(peer, DECIDE, BODY, _method="GET")
    assert answer.http_status == 405, str(answer)
    assert (b"allow", b"POST") in answer.headers[0], str(answer)


def test_what_is_no_grpc_is_told_what_is_once_it_has_ended(peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(DECIDE, content_type="text/html", content_length="9")))
    peer.quiet()
    peer.send(*data_frames(stream, b"<p>a</p>\n"))
    answer = peer.answer(stream)
    assert answer.http_status == 415, str(answer)
    assert b"content-type: application/grpc" in answer.data


def test_a_content_length_is_held_to_where_it_is_no_grpc_either(peer: Peer) -> None:
    stream = peer.stream()
    peer.send(
        peer.headers(stream, request(DECIDE, content_type="text/html", content_length="1")),
        *data_frames(stream, b"<p>a</p>\n"),
    )
    assert peer.answer(stream).reset == PROTOCOL_ERROR


def test_head_has_no_body(peer: Peer) -> None:
    answer = call(peer, DECIDE, b"", _method="HEAD")
    assert (answer.http_status, answer.data) == (405, b"")
    assert answer.ended


@pytest.mark.parametrize("value", OPEN_TYPES)
def test_a_content_type_nearly_right_is_answered_somehow(value: str, peer: Peer) -> None:
    answer = call(peer, DECIDE, BODY, content_type=value)
    assert answer.ended or answer.reset is not None
    assert answer.http_status in (200, 415, None), str(answer)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "post", "DELETE"])
def test_another_method_than_post_is_refused(method: str, peer: Peer) -> None:
    answer = call(peer, DECIDE, BODY, _method=method)
    assert answer.status != OK, str(answer)
    assert answer.ended or answer.reset is not None or answer.goaway == PROTOCOL_ERROR
    must_answer(call(peer, DECIDE, BODY)) if not answer.closed else None


def sent(peer: Peer, *frames: Callable[[int], bytes], path: str = DECIDE) -> Answer:
    """A request whose body is any frames."""
    stream = peer.stream()
    peer.send(peer.headers(stream, request(path)), *(made(stream) for made in frames))
    return peer.answer(stream)


def data(payload: bytes, end: bool = False) -> Callable[[int], bytes]:
    return lambda stream: frame(0, int(end), stream, payload)


def test_no_body_at_all_is_not_one_message(peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(DECIDE), "END_STREAM"))
    must_refuse(peer.answer(stream), UNIMPLEMENTED)


COUNTS = {
    "no message": b"",
    "two messages": message(BODY) * 2,
    "a message and a torn one": message(BODY) + message(BODY)[:-1],
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_unary_call_has_one_message(name: str, peer: Peer) -> None:
    """Request cardinality violation: UNIMPLEMENTED (statuscodes.md)."""
    must_refuse(sent(peer, data(COUNTS[name], end=True)), UNIMPLEMENTED)
    must_answer(call(peer, DECIDE, BODY))


TORN = {
    "a torn prefix": b"\0\0\0",
    "a prefix alone": b"\0\0\0\0\x05",
    "a torn message": message(BODY)[:-1],
    "an octet too many": message(BODY) + b"\0",
}


@pytest.mark.parametrize("name", TORN)
def test_a_message_that_is_cut_off_is_refused(name: str, peer: Peer) -> None:
    must_refuse(sent(peer, data(TORN[name], end=True)), *CUT_OFF, UNIMPLEMENTED)
    must_answer(call(peer, DECIDE, BODY))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 11])
def test_a_message_may_come_in_many_frames(size: int, peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(DECIDE)))
    peer.send(*data_frames(stream, message(BODY), size))
    must_answer(peer.answer(stream))


def test_frames_of_no_octets_are_allowed(peer: Peer) -> None:
    whole = message(BODY)
    answer = sent(peer, data(b""), data(whole[:2]), data(b""), data(b""), data(whole[2:]),
                  data(b"", end=True))  # fmt: skip
    must_answer(answer)


def test_trailers_may_end_a_request(peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(DECIDE)), DataFrame(stream, message(BODY)))
    peer.send(peer.headers(stream, [("x-checksum", "1")], "END_STREAM"))
    must_answer(peer.answer(stream))


def test_an_empty_message_is_a_message(peer: Peer) -> None:
    must_answer(call(peer, HEALTH, b""))
    must_refuse(call(peer, DECIDE, b""), INVALID_ARGUMENT)


def test_a_message_of_many_frames_and_kilobytes_is_read(peer: Peer) -> None:
    body = batch(1_000)
    assert len(body) >= 20_000
    peer.send(WindowUpdateFrame(0, window_increment=2**24))
    peer.send(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 2**24}))
    found = must_answer(call(peer, BATCH, body))
    assert len(decision_pb2.DecideBatchResponse.FromString(found).results) == 1_000


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 64 * 2**20])
def test_an_oversize_message_is_refused_by_its_prefix(length: int, peer: Peer) -> None:
    prefix = b"\0" + length.to_bytes(4, "big")
    must_refuse(sent(peer, data(prefix)), RESOURCE_EXHAUSTED)
    must_answer(call(peer, DECIDE, BODY))


def test_a_client_is_told_to_stop_when_it_is_refused_early(peer: Peer) -> None:
    answer = sent(peer, data(b"\0\xff\xff\xff\xff"))
    must_refuse(answer, RESOURCE_EXHAUSTED)
    peer.until(lambda: answer.reset is not None, 1)
    assert answer.reset == NO_ERROR, "no RST_STREAM with NO_ERROR after the trailers"


def compressed(peer: Peer, body: bytes, flag: int, encoding: str | None) -> Answer:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(DECIDE, grpc_encoding=encoding)))
    peer.send(*data_frames(stream, message(body, flag)))
    return peer.answer(stream)


def test_gzip_is_read_or_refused_with_what_is_accepted(peer: Peer) -> None:
    answer = compressed(peer, gzip.compress(BODY), 1, "gzip")
    if answer.status == OK:
        must_answer(answer)
        return
    must_refuse(answer, UNIMPLEMENTED)
    accepted = answer.first("grpc-accept-encoding")
    assert accepted is not None, "no grpc-accept-encoding"
    assert b"gzip" not in accepted
    assert b"identity" in accepted


def test_an_unknown_encoding_is_unimplemented(peer: Peer) -> None:
    answer = compressed(peer, b"xyz", 1, "snowball")
    must_refuse(answer, UNIMPLEMENTED)
    assert b"snowball" not in (answer.first("grpc-accept-encoding") or b"")
    assert answer.first("grpc-accept-encoding"), "no grpc-accept-encoding"


@pytest.mark.parametrize("encoding", [None, "identity"])
def test_the_compressed_flag_without_an_encoding_is_internal(
    encoding: str | None, peer: Peer
) -> None:
    must_refuse(compressed(peer, BODY, 1, encoding), INTERNAL)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "snowball", "identity"])
def test_an_encoding_may_go_unused(encoding: str, peer: Peer) -> None:
    answer = compressed(peer, BODY, 0, encoding)
    if encoding != "identity" and answer.status == UNIMPLEMENTED:
        must_refuse(answer, UNIMPLEMENTED)
    else:
        must_answer(answer)


@pytest.mark.parametrize("flag", [2, 0x80, 0xFF])
def test_any_other_flag_is_refused(flag: int, peer: Peer) -> None:
    must_refuse(compressed(peer, BODY, flag, None), *CUT_OFF)


def test_a_cancelled_call_is_not_answered(peer: Peer) -> None:
    stream = peer.stream()
    cancel = RstStreamFrame(stream, error_code=CANCEL)
    head = peer.headers(stream, request(DECIDE))
    peer.send(head, DataFrame(stream, message(BODY)), cancel)
    assert peer.settle()
    assert stream not in peer.answers or not peer.answers[stream].frames
    must_answer(call(peer, DECIDE, BODY))


def test_calls_at_once_are_all_answered(peer: Peer) -> None:
    streams = [peer.stream() for _ in range(90)]
    for stream in streams:
        peer.send(peer.headers(stream, request(DECIDE)))
    for stream in reversed(streams):
        peer.send(*data_frames(stream, message(BODY)))
    for stream in streams:
        must_answer(peer.answer(stream))


def test_many_whole_calls_in_one_write_are_served_in_their_order(peer: Peer) -> None:
    streams = [peer.stream() for _ in range(90)]
    body, cancelled = track("in one write"), streams[5::30]
    parts: list[Frame] = []
    for stream in streams:
        parts += [peer.headers(stream, request(TRACK)), *data_frames(stream, message(body))]
        if stream in cancelled:
            parts.append(RstStreamFrame(stream, error_code=CANCEL))
    peer.send(*parts)
    served = [stream for stream in streams if stream not in cancelled]
    answers = [must_answer(peer.answer(stream)) for stream in served]
    repeats = [event_pb2.TrackResponse.FromString(one).duplicate for one in answers]
    assert repeats == [False] + [True] * (len(served) - 1)
    assert peer.settle()
    assert not any(peer.answers[stream].frames for stream in cancelled if stream in peer.answers)


def test_one_call_that_fails_leaves_the_others(peer: Peer) -> None:
    good, bad = peer.stream(), peer.stream()
    peer.send(peer.headers(good, request(DECIDE)), peer.headers(bad, request("/no/no")))
    peer.send(*data_frames(bad, b"\xff" * 10), *data_frames(good, message(BODY)))
    must_answer(peer.answer(good))
    assert peer.answer(bad).status == UNIMPLEMENTED
