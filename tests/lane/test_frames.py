"""What RFC 9113 and RFC 7541 demand of a server, frame by frame.

The wrong ones are sent on a connection of their own, and another client must be served after.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.lane.target import DECIDE, HEALTH, Target, decide
from tests.lane.wire import (
    CANCEL,
    COMPRESSION_ERROR,
    ENABLE_PUSH,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    OK,
    PREFACE,
    PROTOCOL_ERROR,
    QUIET_S,
    REFUSED_STREAM,
    STREAM_CLOSED,
    UNIMPLEMENTED,
    Peer,
    call,
    data_frames,
    encoded,
    frame,
    message,
    request,
)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 4, 8, 32

BODY = message(decide("home"))
WELL = request(DECIDE)

Sent = Callable[[Peer], object]


def opened(peer: Peer, *flags: str) -> int:
    """A stream whose headers were sent."""
    stream = peer.stream()
    peer.send(peer.headers(stream, WELL, *flags))
    return stream


def finished(peer: Peer) -> int:
    """A stream that is closed from both sides."""
    stream = opened(peer)
    peer.send(*data_frames(stream, BODY))
    assert peer.answer(stream).status == OK
    return stream


def reset(peer: Peer) -> int:
    """A stream that the client has reset."""
    stream = opened(peer)
    peer.send(RstStreamFrame(stream, error_code=CANCEL))
    return stream


def browsed(peer: Peer) -> int:
    """A closed stream that was HTTP, and no gRPC."""
    stream = peer.stream()
    peer.send(peer.headers(stream, request("/", _method="GET"), "END_STREAM"))
    assert peer.answer(stream).http_status == 405
    return stream


def refused(peer: Peer) -> int:
    """A stream that the server has answered before its client has ended it."""
    stream = peer.stream()
    peer.send(peer.headers(stream, request("/nowhere/Call")))
    assert peer.answer(stream).status == UNIMPLEMENTED
    return stream


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HI", key, value)


def raw(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> Sent:
    return lambda peer: peer.send(frame(kind, flags, stream, payload))


def torn(peer: Peer, *after: bytes) -> int:
    """A header block that is not ended, then other frames."""
    stream = peer.stream()
    peer.send(HeadersFrame(stream, peer.block(WELL)), *after)
    return stream


def block(payload: bytes) -> Sent:
    """A header block of these octets."""
    return lambda peer: peer.send(frame(HEADERS, END_HEADERS | END_STREAM, peer.stream(), payload))


def on(stream_of: Callable[[Peer], int], kind: int, flags: int, payload: bytes) -> Sent:
    """A frame on a stream in some state."""
    return lambda peer: peer.send(frame(kind, flags, stream_of(peer), payload))


def half_closed(peer: Peer) -> int:
    """A stream that the client has ended and that is not answered yet, as far as can be."""
    stream = peer.stream()
    peer.send(peer.headers(stream, request(HEALTH)), *data_frames(stream, message(b"")))
    return stream


def same_write(kind: int, flags: int, payload: Callable[[Peer], bytes]) -> Sent:
    """A whole request and a frame after its end, in one write."""

    def send(peer: Peer) -> None:
        stream = peer.stream()
        head = peer.headers(stream, request(HEALTH))
        end = DataFrame(stream, message(b""), flags=("END_STREAM",))
        peer.send(head, end, frame(kind, flags, stream, payload(peer)))

    return send


def literal(name: bytes, value: bytes) -> bytes:
    """A literal header field, not indexed and not Huffman-coded; under 127 octets each."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


WELL_BLOCK = b"".join(literal(encoded(n), encoded(v)) for n, v in WELL)

# Name -> what to send, and the codes of the connection error that must follow.
BREAKS: dict[str, tuple[Sent, set[int]]] = {
    "DATA longer than the frame size": (
        on(opened, DATA, 0, bytes(16_385)),
        {FRAME_SIZE_ERROR},
    ),
    "HEADERS longer than the frame size": (
        raw(HEADERS, END_HEADERS, 1, bytes(16_385)),
        {FRAME_SIZE_ERROR},
    ),
    "SETTINGS longer than the frame size": (
        raw(SETTINGS, 0, 0, bytes(16_386)),
        {FRAME_SIZE_ERROR},
    ),
    "unknown frame longer than the frame size": (
        raw(0xEE, 0, 0, bytes(16_385)),
        {FRAME_SIZE_ERROR},
    ),
    "frame of the greatest length": (
        lambda p: p.send(b"\xff\xff\xff" + bytes([DATA, 0]) + b"\0\0\0\1"),
        {FRAME_SIZE_ERROR, PROTOCOL_ERROR},
    ),
    "PRIORITY within a header block": (
        lambda p: torn(p, frame(PRIORITY, 0, 1, bytes(4) + b"\x10")),
        {PROTOCOL_ERROR},
    ),
    "HEADERS of another stream within a header block": (
        lambda p: torn(p, frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x82")),
        {PROTOCOL_ERROR},
    ),
    "DATA within a header block": (
        lambda p: torn(p, frame(DATA, 0, 1, b"x")),
        {PROTOCOL_ERROR},
    ),
    "unknown frame within a header block": (
        lambda p: torn(p, frame(0x16, 0, 1, bytes(8))),
        {PROTOCOL_ERROR},
    ),
    "CONTINUATION of another stream": (
        lambda p: torn(p, frame(CONTINUATION, END_HEADERS, 3, b"")),
        {PROTOCOL_ERROR},
    ),
    "PING within a header block": (
        lambda p: torn(p, frame(PING, 0, 0, bytes(8))),
        {PROTOCOL_ERROR},
    ),
    "DATA on an idle stream": (raw(DATA, END_STREAM, 1, b"test"), {PROTOCOL_ERROR}),
    "RST_STREAM on an idle stream": (raw(RST_STREAM, 0, 1, bytes(4)), {PROTOCOL_ERROR}),
    "WINDOW_UPDATE on an idle stream": (
        raw(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100)),
        {PROTOCOL_ERROR},
    ),
    "CONTINUATION on an idle stream": (
        raw(CONTINUATION, END_HEADERS, 1, b"\x82"),
        {PROTOCOL_ERROR},
    ),
    "CONTINUATION after END_HEADERS": (
        on(opened, CONTINUATION, END_HEADERS, b"\x82"),
        {PROTOCOL_ERROR, STREAM_CLOSED},
    ),
    "HEADERS on a closed stream": (
        lambda p: p.send(p.headers(finished(p), WELL, "END_STREAM")),
        {STREAM_CLOSED, PROTOCOL_ERROR},
    ),
    "DATA on a closed stream": (on(finished, DATA, END_STREAM, b"x"), {STREAM_CLOSED}),
    "DATA on a stream that was reset": (on(reset, DATA, END_STREAM, b"x"), {STREAM_CLOSED}),
    "DATA in one write with a reset": (
        lambda p: p.send(
            p.headers(p.stream(), WELL),
            frame(RST_STREAM, 0, 1, struct.pack(">I", CANCEL)),
            frame(DATA, END_STREAM, 1, b"x"),
        ),
        {STREAM_CLOSED},
    ),
    "DATA on a stream that is no call, after its end": (
        on(browsed, DATA, END_STREAM, b"x"),
        {STREAM_CLOSED},
    ),
    "CONTINUATION on a closed stream": (
        on(finished, CONTINUATION, END_HEADERS, b"\x82"),
        {STREAM_CLOSED, PROTOCOL_ERROR},
    ),
    "stream of an even number": (
        lambda p: p.send(p.headers(2, WELL, "END_STREAM")),
        {PROTOCOL_ERROR},
    ),
    "stream number that decreases": (
        lambda p: (p.send(p.headers(5, WELL)), p.send(p.headers(3, WELL, "END_STREAM"))),
        {PROTOCOL_ERROR, STREAM_CLOSED},
    ),
    "DATA on the connection": (raw(DATA, 0, 0, b"x"), {PROTOCOL_ERROR}),
    "DATA with padding longer than it": (
        on(opened, DATA, PADDED | END_STREAM, b"\x06test"),
        {PROTOCOL_ERROR},
    ),
    "padded DATA without a pad length": (
        on(opened, DATA, PADDED, b""),
        {PROTOCOL_ERROR, FRAME_SIZE_ERROR},
    ),
    "HEADERS on the connection": (raw(HEADERS, END_HEADERS, 0, b"\x82"), {PROTOCOL_ERROR}),
    "HEADERS with padding longer than it": (
        lambda p: p.send(frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\x82")),
        {PROTOCOL_ERROR},
    ),
    "PRIORITY on the connection": (raw(PRIORITY, 0, 0, bytes(5)), {PROTOCOL_ERROR}),
    "RST_STREAM on the connection": (raw(RST_STREAM, 0, 0, bytes(4)), {PROTOCOL_ERROR}),
    "RST_STREAM of three octets": (on(opened, RST_STREAM, 0, bytes(3)), {FRAME_SIZE_ERROR}),
    "SETTINGS acknowledgement with a payload": (
        raw(SETTINGS, 1, 0, setting(ENABLE_PUSH, 0)),
        {FRAME_SIZE_ERROR},
    ),
    "SETTINGS on a stream": (
        raw(SETTINGS, 0, 1, setting(ENABLE_PUSH, 0)),
        {PROTOCOL_ERROR},
    ),
    "SETTINGS of seven octets": (raw(SETTINGS, 0, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "ENABLE_PUSH of 2": (raw(SETTINGS, 0, 0, setting(ENABLE_PUSH, 2)), {PROTOCOL_ERROR}),
    "INITIAL_WINDOW_SIZE over 2^31-1": (
        raw(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 2**31)),
        {FLOW_CONTROL_ERROR},
    ),
    "MAX_FRAME_SIZE under 16384": (
        raw(SETTINGS, 0, 0, setting(MAX_FRAME_SIZE, 16_383)),
        {PROTOCOL_ERROR},
    ),
    "MAX_FRAME_SIZE over 2^24-1": (
        raw(SETTINGS, 0, 0, setting(MAX_FRAME_SIZE, 2**24)),
        {PROTOCOL_ERROR},
    ),
    "PING on a stream": (raw(PING, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "PING of seven octets": (raw(PING, 0, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "GOAWAY on a stream": (raw(GOAWAY, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "GOAWAY of seven octets": (raw(GOAWAY, 0, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "WINDOW_UPDATE of 0 on the connection": (
        raw(WINDOW_UPDATE, 0, 0, bytes(4)),
        {PROTOCOL_ERROR},
    ),
    "WINDOW_UPDATE of three octets": (raw(WINDOW_UPDATE, 0, 0, bytes(3)), {FRAME_SIZE_ERROR}),
    "connection window over 2^31-1": (
        lambda p: p.send(*[frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")] * 2),
        {FLOW_CONTROL_ERROR},
    ),
    "PUSH_PROMISE from a client": (
        on(opened, PUSH_PROMISE, END_HEADERS, struct.pack(">I", 4) + b"\x82"),
        {PROTOCOL_ERROR},
    ),
    "index past the tables": (block(b"\xff\xff\x03"), {COMPRESSION_ERROR}),
    "index of 0": (block(b"\x80"), {COMPRESSION_ERROR}),
    "literal whose name has an index past the tables": (
        block(b"\x7f\xff\x03\x01x"),
        {COMPRESSION_ERROR},
    ),
    "integer without an end": (block(b"\xff" + b"\xff" * 12), {COMPRESSION_ERROR}),
    "literal shorter than its length": (block(b"\x00\x05ab"), {COMPRESSION_ERROR}),
    "table size after a field": (block(WELL_BLOCK + b"\x20"), {COMPRESSION_ERROR}),
    "table size over what was allowed": (
        block(b"\x3f\xe1\xff\x7f" + WELL_BLOCK),
        {COMPRESSION_ERROR},
    ),
    "Huffman padding of 11 bits": (block(b"\x00\x82\x1f\xff\x01x"), {COMPRESSION_ERROR}),
    "Huffman padding of zeros": (block(b"\x00\x81\x18\x01x"), {COMPRESSION_ERROR}),
    "Huffman with an end of string": (
        block(b"\x00\x84\xff\xff\xff\xff\x01x"),
        {COMPRESSION_ERROR},
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_connection_error_ends_the_connection(name: str, peer: Peer) -> None:
    send, codes = BREAKS[name]
    send(peer)
    peer.until(lambda: peer.closed)
    assert peer.closed, f"still open; GOAWAYs {peer.goaways}, answers {peer.answers}"
    seen = [code for _, code, _ in peer.goaways]
    assert not seen or seen[-1] in codes, f"GOAWAY {seen}, allowed {codes}"


def stream_reset(peer: Peer, codes: set[int], stream: int = 1) -> None:
    """The stream was reset, or, as RFC 9113 5.4.2 lets a server do, the connection given up."""
    answer = peer.answer(stream)
    if answer.reset is not None:
        assert answer.reset in codes, str(answer)
    else:
        assert answer.goaway in codes or (answer.closed and answer.goaway is None), str(answer)


def swapped(*pairs: tuple[str | bytes, str | bytes], **changed: str | None) -> Sent:
    """A request with other headers, and its body."""

    def send(peer: Peer) -> None:
        stream = peer.stream()
        peer.send(peer.headers(stream, request(DECIDE, pairs, **changed)))
        peer.send(*data_frames(stream, BODY))

    return send


def ordered(*headers: tuple[str, str]) -> Sent:
    def send(peer: Peer) -> None:
        stream = peer.stream()
        peer.send(peer.headers(stream, headers), *data_frames(stream, BODY))

    return send


def of_length(length: str) -> Sent:
    return swapped(("content-length", length))


def trailing(*headers: tuple[str, str], end: bool = True) -> Sent:
    """A request whose body is followed by another header block."""

    def send(peer: Peer) -> None:
        stream = opened(peer)
        flags = ("END_STREAM",) if end else ()
        peer.send(DataFrame(stream, BODY), peer.headers(stream, headers, *flags))

    return send


FIRST = [(str(n), str(v)) for n, v in WELL]

# Name -> what to send, and the codes of the stream error that must follow.
RESETS: dict[str, tuple[Sent, set[int]]] = {
    "no :method": (swapped(_method=None), {PROTOCOL_ERROR}),
    "no :scheme": (swapped(_scheme=None), {PROTOCOL_ERROR}),
    "no :path": (swapped(_path=None), {PROTOCOL_ERROR}),
    "empty :path": (swapped(_path=""), {PROTOCOL_ERROR}),
    "two :method": (ordered((":method", "POST"), *FIRST), {PROTOCOL_ERROR}),
    "two :scheme": (ordered((":scheme", "http"), *FIRST), {PROTOCOL_ERROR}),
    "two :path": (ordered((":path", DECIDE), *FIRST), {PROTOCOL_ERROR}),
    "two :authority": (ordered((":authority", "a"), *FIRST), {PROTOCOL_ERROR}),
    "unknown pseudo-header": (ordered((":odd", "x"), *FIRST), {PROTOCOL_ERROR}),
    "a response's pseudo-header": (ordered((":status", "200"), *FIRST), {PROTOCOL_ERROR}),
    "pseudo-header after another header": (
        ordered(("x-a", "b"), *FIRST),
        {PROTOCOL_ERROR},
    ),
    "name in upper case": (swapped(("X-Upper", "b")), {PROTOCOL_ERROR}),
    "connection": (swapped(("connection", "keep-alive")), {PROTOCOL_ERROR}),
    "keep-alive": (swapped(("keep-alive", "5")), {PROTOCOL_ERROR}),
    "proxy-connection": (swapped(("proxy-connection", "x")), {PROTOCOL_ERROR}),
    "transfer-encoding": (swapped(("transfer-encoding", "chunked")), {PROTOCOL_ERROR}),
    "upgrade": (swapped(("upgrade", "h2c")), {PROTOCOL_ERROR}),
    "te of gzip": (swapped(te="trailers, gzip"), {PROTOCOL_ERROR}),
    "name with a space": (swapped(("x y", "b")), {PROTOCOL_ERROR}),
    "empty name": (swapped(("", "b")), {PROTOCOL_ERROR}),
    "content-length over the body": (of_length(str(len(BODY) + 1)), {PROTOCOL_ERROR}),
    "content-length under the body": (of_length("1"), {PROTOCOL_ERROR}),
    "content-length of no number": (of_length("x"), {PROTOCOL_ERROR}),
    "trailers without END_STREAM": (trailing(("x-a", "b"), end=False), {PROTOCOL_ERROR}),
    "trailers with a pseudo-header": (trailing((":method", "POST")), {PROTOCOL_ERROR}),
    "WINDOW_UPDATE of 0 on a stream": (
        on(opened, WINDOW_UPDATE, 0, bytes(4)),
        {PROTOCOL_ERROR},
    ),
    "stream window over 2^31-1": (
        lambda p: p.send(*[frame(WINDOW_UPDATE, 0, opened(p), b"\x7f\xff\xff\xff")] * 2),
        {FLOW_CONTROL_ERROR},
    ),
    "DATA after END_STREAM": (
        same_write(DATA, END_STREAM, lambda _: b"x"),
        {STREAM_CLOSED, PROTOCOL_ERROR},
    ),
    "HEADERS after END_STREAM": (
        same_write(HEADERS, END_STREAM | END_HEADERS, lambda p: p.block([("x-a", "b")])),
        {STREAM_CLOSED, PROTOCOL_ERROR},
    ),
}
# nghttp2 keeps to RFC 9113 8.2.1, which lets a server take a value for a malformed one.
MAY_RESET: dict[str, Sent] = {
    "value with a line break": swapped(("x-a", "b\nc")),
    "value with a NUL": swapped(("x-a", b"b\0c")),
    "value with octets over 127": swapped(("x-a", b"\xc3\xbc\xff")),
    "empty value": swapped(("x-a", "")),
    "host that differs": swapped(("host", "other")),
    ":authority missing": swapped(_authority=None),
    ":authority empty": swapped(_authority=""),
    ":scheme of https": swapped(_scheme="https"),
    "no te": swapped(te=None),
    ":path of *": swapped(_path="*"),
    ":path without a slash": swapped(_path=DECIDE[1:]),
    "CONNECT": ordered((":method", "CONNECT"), (":authority", "a:1")),
    ":protocol": ordered((":protocol", "websocket"), *FIRST),
    "stream that depends on itself": lambda p: p.send(
        p.headers(p.stream(), WELL, "PRIORITY", depends_on=1, stream_weight=15),
        *data_frames(1, BODY),
    ),
}


@pytest.mark.parametrize("name", RESETS)
def test_a_stream_error_resets_the_stream(name: str, peer: Peer) -> None:
    send, codes = RESETS[name]
    send(peer)
    answer = peer.answer(1)
    if "after END_STREAM" in name and answer.ended:
        # Answered before the wrong frame was read: then nothing may follow, or an error does.
        peer.quiet()
        return
    stream_reset(peer, codes)


@pytest.mark.parametrize("name", MAY_RESET)
def test_what_the_rules_leave_open_is_answered_or_reset(name: str, peer: Peer) -> None:
    MAY_RESET[name](peer)
    answer = peer.answer(1)
    reset = answer.reset in (PROTOCOL_ERROR, INTERNAL_ERROR)
    assert answer.ended or reset or answer.goaway == PROTOCOL_ERROR or answer.closed, str(answer)


def closed_frames(stream: int) -> dict[str, bytes]:
    return {
        "DATA": frame(DATA, END_STREAM, stream, b"x"),
        "RST_STREAM": frame(RST_STREAM, 0, stream, bytes(4)),
        "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1)),
        "PRIORITY": frame(PRIORITY, 0, stream, bytes(4) + b"\x10"),
    }


@pytest.mark.parametrize("name", closed_frames(1))
@pytest.mark.parametrize("state", [finished, reset])
def test_a_late_frame_on_a_closed_stream_does_no_harm(
    name: str, state: Callable[[Peer], int], peer: Peer
) -> None:
    stream = state(peer)
    peer.send(closed_frames(stream)[name])
    # RFC 9113 5.1: DATA may be a STREAM_CLOSED error; the others must be ignored for a while.
    if name == "DATA":
        peer.settle(1)
        assert all(code in (STREAM_CLOSED, PROTOCOL_ERROR) for _, code, _ in peer.goaways)
        return
    assert peer.settle()
    assert call(peer, DECIDE, decide("home")).status == OK


def test_what_was_on_its_way_to_a_refused_call_is_ignored(peer: Peer) -> None:
    stream = refused(peer)
    peer.send(DataFrame(stream, BODY))
    peer.send(peer.headers(stream, [("x-trailer", "a")], "END_STREAM"))
    assert peer.settle()
    assert not peer.goaways
    assert call(peer, DECIDE, decide("home")).status == OK


# Name -> what is sent before a right call, which must then be served.
HARMLESS: dict[str, Sent] = {
    "unknown frame": raw(0xEE, 0xFF, 0, b"anything"),
    "unknown frame on an idle stream": raw(0xEE, 0, 7, b"anything"),
    "PRIORITY_UPDATE": raw(0x10, 0, 0, struct.pack(">I", 1) + b"u=1"),
    "ALTSVC and ORIGIN": lambda p: p.send(frame(0xA, 0, 0, bytes(2)), frame(0xC)),
    "unknown flags": raw(PING, 0x16, 0, bytes(8)),
    "reserved bit": lambda p: p.send(b"\0\0\x08\x06\0\x80\0\0\0" + bytes(8)),
    "unknown setting": raw(SETTINGS, 0, 0, setting(0xFF00, 7)),
    "empty SETTINGS": raw(SETTINGS),
    "one setting many times": raw(
        SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 9) * 5 + setting(INITIAL_WINDOW_SIZE, 65_535)
    ),
    "ENABLE_PUSH of 0 and 1": raw(SETTINGS, 0, 0, setting(2, 0) + setting(2, 1)),
    "greatest MAX_FRAME_SIZE": raw(SETTINGS, 0, 0, setting(MAX_FRAME_SIZE, 2**24 - 1)),
    "MAX_CONCURRENT_STREAMS of 0": raw(SETTINGS, 0, 0, setting(MAX_CONCURRENT_STREAMS, 0)),
    "PING acknowledgement nobody waits for": raw(PING, 1, 0, bytes(8)),
    "PRIORITY on an idle stream": raw(PRIORITY, 0, 9, bytes(4) + b"\x10"),
    "RST_STREAM of an unknown code": on(opened, RST_STREAM, 0, b"\xff" * 4),
    "WINDOW_UPDATE on the connection": raw(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
    "open stream without an end": opened,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_must_be_ignored_is_ignored(name: str, peer: Peer) -> None:
    HARMLESS[name](peer)
    peer.next_stream = max(peer.next_stream, 11)
    answer = call(peer, DECIDE, decide("home"))
    assert answer.status == OK, str(answer)


def test_a_ping_comes_back_with_its_payload(peer: Peer) -> None:
    peer.send(PingFrame(0, opaque_data=b"\0\xff12345a"))
    assert peer.until(lambda: peer.pings)
    assert peer.pings == [b"\0\xff12345a"]
    peer.send(PingFrame(0, opaque_data=bytes(8), flags=("ACK",)))
    peer.quiet()
    assert len(peer.pings) == 1


def test_every_settings_frame_is_acknowledged_once(peer: Peer) -> None:
    before = peer.settings_acks
    peer.send(*[SettingsFrame(0, settings={MAX_CONCURRENT_STREAMS: 10})] * 3)
    assert peer.until(lambda: peer.settings_acks == before + 3)
    peer.quiet()
    assert peer.settings_acks == before + 3


def test_the_server_says_settings_first_and_bounds_streams(target: Target) -> None:
    with target.peer() as peer:
        first = peer.sock.recv(9, 0x102)  # MSG_PEEK | MSG_WAITALL
        assert first[3] == SETTINGS
        assert not first[4] & 1
        assert peer.until(lambda: peer.settings_acks)
        assert 1 <= peer.their_settings[MAX_CONCURRENT_STREAMS] <= 100_000
        assert ENABLE_PUSH not in peer.their_settings or not peer.their_settings[ENABLE_PUSH]


def test_a_request_may_come_with_the_preface(target: Target) -> None:
    with target.peer(hello=False) as peer:
        head = peer.headers(1, WELL)
        peer.send(PREFACE, SettingsFrame(0), head, *data_frames(1, BODY))
        assert peer.answer(1).status == OK


PREFACES = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "h2c upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "HTTP/1.1 POST": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "TLS ClientHello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "garbage": b"INVALID CONNECTION PREFACE\r\n\r\n",
    "zeros": bytes(64),
    "almost the preface": PREFACE[:-2] + b"\n\r" + frame(SETTINGS),
    "no SETTINGS after it": PREFACE + frame(PING, 0, 0, bytes(8)),
    "SETTINGS acknowledgement first": PREFACE + frame(SETTINGS, 1),
}


@pytest.mark.parametrize("name", PREFACES)
def test_what_is_no_http2_is_closed(name: str, target: Target) -> None:
    with target.peer(hello=False) as peer:
        peer.sock.settimeout(5)
        peer.sock.sendall(PREFACES[name])
        seen = b""
        try:
            while data := peer.sock.recv(65_536):
                seen += data
                assert len(seen) < 10_000
        except ConnectionResetError:
            pass
        except TimeoutError:
            pytest.fail(f"still open after {seen!r}")
    target.must_serve()


def split(peer: Peer, stream: int, size: int) -> list[HeadersFrame | ContinuationFrame]:
    block = peer.block(request(DECIDE, [(f"x-{n}", "value" * 5) for n in range(10)]))
    parts = [block[at : at + size] for at in range(0, len(block), size)]
    made: list[HeadersFrame | ContinuationFrame] = [HeadersFrame(stream, parts[0])]
    made += [ContinuationFrame(stream, part) for part in parts[1:]]
    made[-1].flags.add("END_HEADERS")
    return made


def test_headers_may_be_split_over_continuations(peer: Peer) -> None:
    for size in (400, 200):
        stream = peer.stream()
        peer.send(*split(peer, stream, size), *data_frames(stream, BODY))
        assert peer.answer(stream).status == OK


def test_an_empty_continuation_is_allowed(peer: Peer) -> None:
    stream = peer.stream()
    head = HeadersFrame(stream, b"")
    rest = ContinuationFrame(stream, peer.block(WELL))
    end = ContinuationFrame(stream, b"", flags=("END_HEADERS",))
    peer.send(head, rest, end, *data_frames(stream, BODY))
    assert peer.answer(stream).status == OK


def test_padding_and_priority_are_taken_off(peer: Peer) -> None:
    for length in (0, 1, 255):
        stream = peer.stream()
        head = peer.headers(stream, WELL, "PADDED", "PRIORITY", pad_length=length)
        head.stream_weight = 200
        data = DataFrame(stream, BODY, pad_length=length, flags=("PADDED", "END_STREAM"))
        peer.send(head, data, PriorityFrame(stream, stream_weight=5))
        assert peer.answer(stream).status == OK


def test_padded_data_gives_its_window_back(peer: Peer) -> None:
    # Together more than the connection's window, nearly all of it padding.
    for _ in range(2_000):
        stream = peer.stream()
        data = [DataFrame(stream, b"", pad_length=255, flags=("PADDED",)) for _ in range(20)]
        if stream % 64 != 1:
            continue
        peer.send(peer.headers(stream, WELL), *data, *data_frames(stream, BODY))
        assert peer.answer(stream).status == OK


def test_an_answered_stream_is_closed(peer: Peer) -> None:
    stream = finished(peer)
    peer.quiet(0.05)
    assert peer.answers[stream].frames == ["HEADERS", "DATA", "HEADERS"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_frames_may_come_octet_by_octet(size: int, target: Target) -> None:
    with target.peer(hello=False) as peer:
        head = peer.headers(1, WELL)
        body = b"".join(f.serialize() for f in data_frames(1, BODY))
        whole = PREFACE + SettingsFrame(0).serialize() + head.serialize() + body
        for at in range(0, len(whole), size):
            peer.sock.sendall(whole[at : at + size])
        assert peer.answer(1).status == OK


def test_the_header_table_follows_the_client_settings(target: Target) -> None:
    with target.peer(settings={HEADER_TABLE_SIZE: 0}) as peer:
        peer.decoder.max_allowed_table_size = 0
        for _ in range(3):
            assert call(peer, DECIDE, decide("home")).status == OK
        assert len(peer.decoder.header_table.dynamic_entries) == 0
        peer.send(SettingsFrame(0, settings={HEADER_TABLE_SIZE: 65_536}))
        peer.decoder.max_allowed_table_size = 65_536
        for _ in range(3):
            assert call(peer, DECIDE, decide("nowhere")).status == 3
        peer.send(SettingsFrame(0, settings={HEADER_TABLE_SIZE: 100}))
        assert peer.until(lambda: peer.settings_acks >= 3)
        for _ in range(3):
            assert call(peer, DECIDE, decide("home")).status == OK
        assert peer.decoder.header_table.maxsize <= 100


def test_requests_may_use_the_dynamic_table_and_huffman(peer: Peer) -> None:
    for number in range(30):
        stream = peer.stream()
        headers = request(DECIDE, [("x-same", "a" * 50), ("x-other", f"{number % 3}" * 60)])
        packed = peer.encoder.encode([(encoded(n), encoded(v)) for n, v in headers], huffman=True)
        peer.send(HeadersFrame(stream, packed, flags=("END_HEADERS",)))
        peer.send(*data_frames(stream, BODY))
        assert peer.answer(stream).status == OK


def test_a_table_size_update_before_the_block_is_taken(peer: Peer) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, b"\x20\x3f\xe1\x1f" + WELL_BLOCK))
    peer.send(*data_frames(1, BODY))
    assert peer.answer(1).status == OK


def test_streams_over_the_bound_are_refused(target: Target) -> None:
    with target.peer() as peer:
        peer.until(lambda: peer.settings_acks)
        most = peer.their_settings[MAX_CONCURRENT_STREAMS]
        streams = [opened(peer) for _ in range(most + 3)]
        answer = peer.answer(streams[-1])
        given_up = answer.goaway in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR) or answer.closed
        assert answer.reset in (REFUSED_STREAM, PROTOCOL_ERROR) or given_up, str(answer)
        if not given_up:
            peer.send(*data_frames(streams[0], BODY))
            assert peer.answer(streams[0]).status == OK
    target.must_serve()


def test_goaway_from_a_client_lets_its_calls_end(peer: Peer) -> None:
    stream = opened(peer)
    peer.send(GoAwayFrame(0, last_stream_id=0, error_code=0xFF, additional_data=b"bye"))
    peer.send(*data_frames(stream, BODY))
    answer = peer.answer(stream)
    assert answer.status == OK or answer.closed, str(answer)


@pytest.mark.parametrize("code", [0, CANCEL, INTERNAL_ERROR, 0xFFFFFFFF])
@pytest.mark.parametrize("when", ["before the body", "within the body", "after the request"])
def test_a_client_may_reset_at_any_point(code: int, when: str, peer: Peer) -> None:
    stream = opened(peer)
    if when == "within the body":
        peer.send(DataFrame(stream, BODY[:3]))
    if when == "after the request":
        peer.send(*data_frames(stream, BODY))
    peer.send(RstStreamFrame(stream, error_code=code))
    assert peer.settle()
    assert call(peer, DECIDE, decide("home")).status == OK
    if when != "after the request":
        assert not peer.answers.get(stream) or not peer.answers[stream].frames


def test_a_client_that_closes_its_half_is_still_answered(target: Target) -> None:
    with target.peer() as peer:
        peer.until(lambda: peer.settings_acks)
        stream = opened(peer)
        peer.send(*data_frames(stream, BODY))
        peer.sock.shutdown(1)
        answer = peer.answer(stream)
        # TCP lets the server answer; many give the connection up, and none may hang.
        assert answer.status == OK or answer.closed, str(answer)
    target.must_serve()


def test_quiet_means_quiet(peer: Peer) -> None:
    peer.quiet(QUIET_S)
    assert not peer.closed
    assert not peer.goaways
    assert WindowUpdateFrame not in map(type, peer.answers)
