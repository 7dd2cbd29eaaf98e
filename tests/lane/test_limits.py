"""The lane's bounds, each reached from outside, and the attacks in brief."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hyperframe.frame import DataFrame, PingFrame, WindowUpdateFrame

from tests.lane import attacks, races, soak
from tests.lane.target import BATCH, DECIDE, Target, batch, decide, running
from tests.lane.wire import (
    ENHANCE_YOUR_CALM,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    OK,
    PREFACE,
    RESOURCE_EXHAUSTED,
    WINDOW_MAX,
    Peer,
    call,
    data_frames,
    message,
    request,
)

SMALL = {
    "connections_max": 30,
    "peer_connections_max": 10,
    "streams_max": 8,
    "header_bytes_max": 8_192,
    "message_bytes_max": 65_536,
    "answer_buffer_max": 65_536,
    "idle_ms": 1_500,
    "handshake_ms": 300,
    "request_ms": 400,
    "stall_ms": 500,
}


@pytest.fixture(scope="module")
def small(_lane_is_built: None) -> Iterator[Target]:
    """A lane whose bounds are small."""
    with running("lane", SMALL) as target:
        yield target


def gone(peer: Peer, seconds: float = 3) -> bool:
    return peer.until(lambda: peer.closed, seconds)


def test_one_peer_has_so_many_connections(small: Target) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(small.peer(source="127.0.0.9")) for _ in range(14)]
        served = sum(peer.settle(1) for peer in peers)
        assert served == SMALL["peer_connections_max"]
        # Another address is another peer.
        with small.peer(source="127.0.0.10") as other:
            assert other.settle()


def test_there_are_so_many_connections_in_all(small: Target) -> None:
    time.sleep(0.1)
    with ExitStack() as stack:
        peers = [
            stack.enter_context(small.peer(source=f"127.0.2.{1 + number}"))
            for number in range(SMALL["connections_max"] + 10)
        ]
        served = sum(peer.settle(1) for peer in peers)
        assert SMALL["connections_max"] - 2 <= served <= SMALL["connections_max"]
    time.sleep(0.1)
    small.must_serve()


def test_who_says_nothing_is_closed_soon(small: Target) -> None:
    with small.peer(hello=False) as peer:
        start = time.monotonic()
        assert gone(peer)
        assert 0.2 < time.monotonic() - start < 1.5


def test_an_idle_connection_is_told_to_go(small: Target) -> None:
    with small.peer() as peer:
        assert call(peer, DECIDE, decide("home")).status == OK
        start = time.monotonic()
        assert gone(peer, 5)
        assert 1 < time.monotonic() - start < 4
        assert peer.goaways[0][1] == NO_ERROR


def dripped(peer: Peer, data: bytes, seconds: float) -> float:
    """Send octet by octet until the server has had enough; how long that took."""
    start = time.monotonic()
    for octet in data:
        if peer.closed or peer.goaways or any(a.ended for a in peer.answers.values()):
            break
        peer.send(bytes([octet]))
        peer.read(0.05)
        assert time.monotonic() - start < seconds, "still taken octet by octet"
    return time.monotonic() - start


def test_the_preface_must_not_drip_in(small: Target) -> None:
    with small.peer(hello=False) as peer:
        assert dripped(peer, PREFACE, 2) > 0.2
        assert gone(peer)


def test_a_frame_must_not_drip_in(small: Target) -> None:
    with small.peer() as peer:
        peer.until(lambda: peer.settings_acks)
        head = peer.headers(1, request(DECIDE)).serialize()
        assert dripped(peer, head, 2) > 0.2
        assert peer.goaways[-1][1] == ENHANCE_YOUR_CALM


def test_a_body_must_not_drip_in(small: Target) -> None:
    with small.peer() as peer:
        peer.until(lambda: peer.settings_acks)
        stream = peer.stream()
        peer.send(peer.headers(stream, request(DECIDE)))
        start = time.monotonic()
        while stream not in peer.answers and not peer.goaways and not peer.closed:
            peer.send(DataFrame(stream, b"\0"))
            peer.read(0.05)
            assert time.monotonic() - start < 2
    small.must_serve()


@pytest.mark.parametrize("window", [0, WINDOW_MAX])
def test_who_reads_nothing_is_cut_off(window: int, small: Target) -> None:
    with small.peer(settings={INITIAL_WINDOW_SIZE: window}) as peer:
        peer.until(lambda: peer.settings_acks)
        peer.send(WindowUpdateFrame(0, window_increment=WINDOW_MAX - 65_535))
        body = message(batch(150, explain=True))
        for _ in range(SMALL["streams_max"]):
            stream = peer.stream()
            head = peer.headers(stream, request(BATCH)).serialize()
            attacks.pushed(peer, head + data_frames(stream, body)[0].serialize())
        time.sleep(1.2)
        start = time.monotonic()
        assert gone(peer) or peer.answers[1].reset is not None
        assert time.monotonic() - start < 2
        if window == 0:
            assert not any(answer.data for answer in peer.answers.values())
    small.must_serve()


def test_the_bounds_are_said_in_settings(small: Target) -> None:
    with small.peer() as peer:
        assert peer.settle()
        assert peer.their_settings[MAX_CONCURRENT_STREAMS] == SMALL["streams_max"]
        assert peer.their_settings[MAX_HEADER_LIST_SIZE] == SMALL["header_bytes_max"]


def test_a_message_over_the_bound_is_exhausted(small: Target) -> None:
    with small.peer() as peer:
        stream = peer.stream()
        prefix = b"\0" + (SMALL["message_bytes_max"] + 1).to_bytes(4, "big")
        peer.send(peer.headers(stream, request(DECIDE)), DataFrame(stream, prefix))
        answer = peer.answer(stream)
        assert answer.status == RESOURCE_EXHAUSTED, str(answer)
        assert str(SMALL["message_bytes_max"]) in answer.text
        assert answer.details is not None


def test_a_header_list_over_the_bound_is_refused(small: Target) -> None:
    with small.peer() as peer:
        answer = call(peer, DECIDE, decide("home"), [("x-a", "v" * 9_000)])
        refused = answer.status == RESOURCE_EXHAUSTED or answer.http_status == 431
        assert refused or answer.reset is not None or answer.goaway is not None, str(answer)
        if not answer.closed and answer.goaway is None:
            assert call(peer, DECIDE, decide("home")).status == OK
    small.must_serve()


def test_an_hpack_bomb_costs_no_more_than_the_bound(small: Target) -> None:
    with small.peer() as peer:
        block = peer.block(request(DECIDE)) + b"\x40\x01x\x7f\xbd\x1d" + b"v" * 3_900
        block += b"\xbe" * 10_000
        head = peer.headers(1, ())
        head.data = block
        head.flags.add("END_STREAM")
        peer.send(head)
        answer = peer.answer(1)
        assert answer.status != OK, str(answer)
    small.must_serve()


def test_a_client_that_pings_too_often_is_sent_off(target: Target) -> None:
    with target.peer() as peer:
        for number in range(2_000):
            peer.send(PingFrame(0, opaque_data=number.to_bytes(8, "big")))
            peer.read(0.001)
            if peer.closed or peer.goaways:
                break
        assert gone(peer), "2,000 pings were answered"
        assert peer.goaways[-1][1] == ENHANCE_YOUR_CALM
        assert b"too_many_pings" in [text for _, _, text in peer.goaways]


def test_a_client_may_ping_while_it_calls(target: Target) -> None:
    with target.peer() as peer:
        for _ in range(50):
            assert peer.settle(), peer.goaways
            assert call(peer, DECIDE, decide("home")).status == OK


def test_the_lane_pings_who_is_silent_and_gives_up_the_dead() -> None:
    settings = {"keepalive_ms": 1_000, "keepalive_timeout_ms": 200}
    with running("lane", settings) as target, target.peer() as answering, target.peer() as dead:
        stream = dead.stream()
        dead.send(dead.headers(stream, request(DECIDE)))
        dead.answers_pings = False
        end = time.monotonic() + 2
        while time.monotonic() < end and not dead.closed:
            answering.read(0.02)
            dead.read(0.02)
        assert dead.closed
        assert not answering.closed
        assert answering.settle()


def test_a_connection_of_age_is_told_to_go_and_its_calls_end() -> None:
    with running("lane", {"connection_age_ms": 300}) as target, target.peer() as peer:
        stream = peer.stream()
        peer.send(peer.headers(stream, request(DECIDE)))
        assert peer.until(lambda: peer.goaways, 3)
        last, code, _ = peer.goaways[0]
        assert code == NO_ERROR
        assert last >= stream
        peer.send(*data_frames(stream, message(decide("home"))))
        assert peer.answer(stream).status == OK
        assert gone(peer)


def test_a_drain_answers_what_is_open_and_takes_no_more() -> None:
    with ExitStack() as stack, running("lane") as target:
        peer = stack.enter_context(target.peer())
        stream = peer.stream()
        peer.send(peer.headers(stream, request(DECIDE)))
        assert peer.settle()
        os.kill(target.pid, signal.SIGTERM)
        assert peer.until(lambda: peer.goaways, 3)
        assert all(code == NO_ERROR for _, code, _ in peer.goaways)
        peer.send(*data_frames(stream, message(decide("home"))))
        assert peer.answer(stream).status == OK
        assert gone(peer)


def test_a_connection_that_drains_is_held_to_its_bounds() -> None:
    with ExitStack() as stack, running("lane", {"control_frames_per_s": 50}) as target:
        peer = stack.enter_context(target.peer())
        stream = peer.stream()
        peer.send(peer.headers(stream, request(DECIDE)))
        assert peer.settle()
        os.kill(target.pid, signal.SIGTERM)
        assert peer.until(lambda: peer.goaways, 3)
        peer.send(*(WindowUpdateFrame(0, window_increment=1) for _ in range(200)))
        assert peer.until(lambda: peer.goaways[-1][1] == ENHANCE_YOUR_CALM, 1)
        assert gone(peer, 1)


def test_descriptors_that_run_out_stop_nobody_who_is_in() -> None:
    with running("lane", {"descriptors_max": 64}) as target, ExitStack() as stack:
        inside = stack.enter_context(target.peer())
        assert inside.settle()
        peers = []
        for number in range(100):
            peers.append(stack.enter_context(target.peer(source=f"127.0.3.{1 + number}")))
        for _ in range(20):
            assert call(inside, DECIDE, decide("home")).status == OK
        before = cpu_seconds(target)
        inside.quiet(0.5)
        assert cpu_seconds(target) - before < 0.25, "it spins while it has no descriptor"
        for peer in peers:
            peer.close()
        time.sleep(0.3)
        target.must_serve()


def cpu_seconds(target: Target) -> float:
    fields = Path(f"/proc/{target.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_answers_nobody_reads_are_bounded_in_memory(target: Target) -> None:
    before = target.resident_bytes()
    with ExitStack() as stack:
        body = message(batch(150, explain=True))
        for number in range(8):
            more: dict[str, Any] = {"settings": {INITIAL_WINDOW_SIZE: WINDOW_MAX * (number % 2)}}
            peer = stack.enter_context(target.peer(**more))
            peer.send(WindowUpdateFrame(0, window_increment=WINDOW_MAX - 65_535))
            for _ in range(90):
                stream = peer.stream()
                head = peer.headers(stream, request(BATCH)).serialize()
                if not attacks.pushed(peer, head + data_frames(stream, body)[0].serialize()):
                    break
        target.must_serve()
        grown = target.resident_bytes() - before
        assert grown < 200 * 2**20, f"{grown >> 20} MiB held"


# A busy machine may let few frames through in a moment.
FLOODS_MAX = 10
BRIEF = ["rapid reset", "CONTINUATION flood", "empty CONTINUATION flood", "SETTINGS flood",
         "PING flood", "empty DATA flood", "HPACK bomb", "resets the server must send",
         "unknown frame flood"]  # fmt: skip


@pytest.mark.parametrize("name", BRIEF)
def test_a_flood_is_ended_and_others_are_served(name: str, target: Target) -> None:
    for _ in range(FLOODS_MAX):
        seen = attacks.ATTACKS[name](target.address, 0.2)
        target.must_serve()
        if any(how.startswith(("GOAWAY", "closed")) for how in seen.endings):
            return
    pytest.fail(str(seen))


def test_connections_and_calls_leave_nothing_behind(target: Target) -> None:
    soak.connect(target, 200)
    soak.calls(target, 200)
    before = soak.usage(target)
    soak.connect(target, 500)
    soak.calls(target, 1_000)
    after = soak.usage(target, before.descriptors)
    assert after.descriptors <= before.descriptors
    if "NEXTBEST_LANE_PRELOAD" in os.environ:
        pytest.skip("a sanitizer keeps what was freed")
    assert after.resident_bytes < before.resident_bytes + 4 * 2**20, f"{before} to {after}"


def test_what_is_no_grpc_and_does_not_end_is_answered_all_the_same(small: Target) -> None:
    with small.peer() as peer:
        stream = peer.stream()
        peer.send(peer.headers(stream, request(DECIDE, content_type="text/html")))
        assert peer.answer(stream).http_status == 415


def test_two_lanes_serve_while_the_control_plane_never_rests() -> None:
    with running("lane", {"threads": races.THREADS, "busy": True}) as target:
        ended, failed = races.load(target, 1)
    assert ended.total() > 100
    assert not failed, str(failed[0])
