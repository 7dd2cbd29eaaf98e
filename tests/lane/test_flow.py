"""Flow control in both directions, and readers that are slow (RFC 9113 section 5.2 and 6.9)."""

from __future__ import annotations

import struct
import time

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from nextbest.v1 import decision_pb2
from tests.lane.target import BATCH, DECIDE, Target, batch, decide
from tests.lane.wire import (
    CANCEL,
    FLOW_CONTROL_ERROR,
    INITIAL_WINDOW_SIZE,
    INVALID_ARGUMENT,
    MAX_FRAME_SIZE,
    OK,
    WINDOW_MAX,
    Answer,
    Peer,
    call,
    data_frames,
    message,
    request,
)

LARGE = batch(150, explain=True)
DEFAULT_WINDOW = 65_535


def asked(peer: Peer, body: bytes = LARGE, path: str = BATCH) -> int:
    """A stream on which a call was sent."""
    stream = peer.stream()
    peer.send(peer.headers(stream, request(path)), *data_frames(stream, message(body)))
    return stream


def seen(peer: Peer, stream: int) -> int:
    return len(peer.answers.get(stream, Answer()).data)


def opened(stream: int, octets: int) -> WindowUpdateFrame:
    return WindowUpdateFrame(stream, window_increment=octets)


def must_be_whole(answer: Answer, results: int = 150) -> None:
    assert answer.status == OK, str(answer)
    (found,) = answer.messages
    assert len(decision_pb2.DecideBatchResponse.FromString(found).results) == results


def test_nothing_is_sent_into_a_closed_window(target: Target) -> None:
    with target.peer(settings={INITIAL_WINDOW_SIZE: 0}) as peer:
        stream = asked(peer, decide("home"), DECIDE)
        assert peer.settle()
        peer.quiet()
        assert seen(peer, stream) == 0
        assert not peer.answers.get(stream, Answer()).ended
        peer.send(opened(stream, 100_000))
        assert peer.answer(stream).status == OK


def test_a_refusal_needs_no_window(target: Target) -> None:
    with target.peer(settings={INITIAL_WINDOW_SIZE: 0}) as peer:
        assert call(peer, DECIDE, decide("nowhere")).status == INVALID_ARGUMENT


def test_an_answer_comes_octet_by_octet(target: Target) -> None:
    with target.peer(settings={INITIAL_WINDOW_SIZE: 0}) as peer:
        stream = asked(peer, decide("home"), DECIDE)
        for count in range(1, 21):
            peer.send(opened(stream, 1))
            assert peer.until(lambda count=count: seen(peer, stream) == count)
        peer.send(opened(stream, 100_000))
        assert peer.answer(stream).status == OK


def test_a_stream_stops_at_its_window_and_goes_on(peer: Peer) -> None:
    peer.send(opened(0, 10_000_000))
    stream = asked(peer)
    assert peer.until(lambda: seen(peer, stream) >= DEFAULT_WINDOW)
    peer.quiet()
    assert seen(peer, stream) == DEFAULT_WINDOW
    peer.send(opened(stream, 1_000))
    assert peer.until(lambda: seen(peer, stream) >= DEFAULT_WINDOW + 1_000)
    peer.quiet(0.05)
    assert seen(peer, stream) == DEFAULT_WINDOW + 1_000
    peer.send(opened(stream, 10_000_000))
    must_be_whole(peer.answer(stream))


def test_the_connection_window_bounds_all_streams(target: Target) -> None:
    with target.peer(settings={INITIAL_WINDOW_SIZE: WINDOW_MAX}) as peer:
        streams = [asked(peer) for _ in range(4)]

        def total() -> int:
            return sum(seen(peer, stream) for stream in streams)

        assert peer.until(lambda: total() >= DEFAULT_WINDOW)
        peer.quiet()
        assert total() == DEFAULT_WINDOW
        # An answer without a body still comes.
        assert call(peer, DECIDE, decide("nowhere")).status == INVALID_ARGUMENT
        peer.send(opened(0, 100_000_000))
        for stream in streams:
            must_be_whole(peer.answer(stream))


def test_a_window_that_shrinks_below_zero_must_grow_back(peer: Peer) -> None:
    peer.send(opened(0, 10_000_000))
    stream = asked(peer)
    assert peer.until(lambda: seen(peer, stream) == DEFAULT_WINDOW)
    # The stream's window is now 0; this takes it to -65435.
    peer.send(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 100}))
    assert peer.until(lambda: peer.settings_acks >= 2)
    peer.send(opened(stream, DEFAULT_WINDOW - 100))
    peer.quiet()
    assert seen(peer, stream) == DEFAULT_WINDOW
    peer.send(opened(stream, 7))
    assert peer.until(lambda: seen(peer, stream) == DEFAULT_WINDOW + 7)
    peer.send(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 20_000_000}))
    must_be_whole(peer.answer(stream))


def test_a_window_set_to_nothing_and_back_holds_for_open_streams(peer: Peer) -> None:
    peer.send(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 0}))
    assert peer.until(lambda: peer.settings_acks >= 2)
    streams = [asked(peer, decide("home"), DECIDE) for _ in range(5)]
    assert peer.settle()
    assert not any(seen(peer, stream) for stream in streams)
    peer.send(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: DEFAULT_WINDOW}))
    for stream in streams:
        assert peer.answer(stream).status == OK


def test_a_window_that_overflows_by_a_setting_is_an_error(peer: Peer) -> None:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(DECIDE)), opened(stream, WINDOW_MAX - 65_535))
    peer.send(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 65_536}))
    answer = peer.answer(stream)
    codes = (answer.reset, answer.goaway)
    assert FLOW_CONTROL_ERROR in codes or answer.closed, str(answer)


@pytest.mark.parametrize("size", [16_384, 20_000, 1_000_000])
def test_frames_keep_to_the_client_frame_size(size: int, target: Target) -> None:
    with target.peer(settings={INITIAL_WINDOW_SIZE: WINDOW_MAX, MAX_FRAME_SIZE: size}) as peer:
        peer.send(opened(0, 10_000_000))
        stream = asked(peer)
        longest, take = 0, peer._take

        def watched(got: object) -> None:
            nonlocal longest
            longest = max(longest, getattr(got, "body_len", 0))
            take(got)  # type: ignore[arg-type]

        peer._take = watched  # type: ignore[method-assign, assignment]
        must_be_whole(peer.answer(stream))
        assert 1_000 < longest <= size


def test_a_reset_while_the_answer_flows_gives_room_to_others(peer: Peer) -> None:
    for _ in range(30):
        stream = asked(peer)
        assert peer.until(lambda stream=stream: seen(peer, stream) > 0)
        peer.send(RstStreamFrame(stream, error_code=CANCEL))
        peer.send(opened(0, 200_000))
    assert peer.settle()
    before = seen(peer, stream)
    peer.quiet(0.05)
    assert seen(peer, stream) == before, "DATA after the RST_STREAM was read"
    assert call(peer, DECIDE, decide("home")).status == OK


def upload(peer: Peer, stream: int, body: bytes) -> None:
    """Send a body and never more than the server's windows let."""
    spent, at = 0, 0
    initial = peer.their_settings.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
    while at < len(body):

        def room(spent: int = spent) -> int:
            own = initial + peer.windows.get(stream, 0)
            return min(own, DEFAULT_WINDOW + peer.windows.get(0, 0)) - spent

        assert peer.until(lambda: room() > 0), "the server gives no more window"
        part = body[at : at + min(room(), 16_384)]
        at += len(part)
        spent += len(part)
        peer.send(DataFrame(stream, part, flags=("END_STREAM",) if at == len(body) else ()))
        # The octets count on the connection for all streams that follow.
    peer.windows[0] = peer.windows.get(0, 0) - spent


def test_a_large_request_gets_the_window_it_needs(peer: Peer) -> None:
    body = message(batch(9_000))
    assert DEFAULT_WINDOW * 2 < len(body) < 262_144
    for _ in range(3):
        stream = peer.stream()
        peer.send(peer.headers(stream, request(BATCH)))
        upload(peer, stream, body)
        answer = peer.answer(stream)
        # More decisions than are allowed at once: read whole, then refused.
        assert answer.status in (OK, INVALID_ARGUMENT), str(answer)


def test_bodies_of_refused_calls_give_their_window_back(peer: Peer) -> None:
    for _ in range(12):
        stream = peer.stream()
        peer.send(peer.headers(stream, request("/no.Service/Method")))
        upload(peer, stream, bytes(16_000))
        assert peer.answer(stream).status is not None
    assert call(peer, DECIDE, decide("home")).status == OK


def test_bodies_of_reset_calls_give_their_window_back(peer: Peer) -> None:
    for _ in range(400):
        stream = peer.stream()
        peer.send(peer.headers(stream, request(DECIDE)))
        body = struct.pack(">BI", 0, 50_000) + bytes(16_000)
        peer.send(DataFrame(stream, body), RstStreamFrame(stream, error_code=CANCEL))
        peer.windows[0] = peer.windows.get(0, 0) - len(body)

        def room() -> bool:
            return peer.windows.get(0, 0) + DEFAULT_WINDOW > len(body)  # noqa: B023

        assert peer.until(room), "the window was not given back"
    assert call(peer, DECIDE, decide("home")).status == OK


def test_one_who_does_not_read_holds_nobody_up(target: Target) -> None:
    settings = {INITIAL_WINDOW_SIZE: WINDOW_MAX}
    with target.peer(settings=settings) as slow:
        slow.send(opened(0, WINDOW_MAX - DEFAULT_WINDOW))
        for _ in range(40):
            asked(slow)
        start = time.monotonic()
        for _ in range(20):
            target.must_serve()
        assert time.monotonic() - start < 3
        # And it gets its answers once it reads, unless it was given up for its slowness.
        answer = slow.answer(1)
        assert answer.status == OK or answer.closed or answer.goaway is not None, str(answer)
