"""A client that speaks HTTP/2 frame by frame, right or wrong as a test wants it.

It never corrects what it is told to send, and it records what it gets in the order of arrival.
"""

from __future__ import annotations

import base64
import re
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from google.rpc import status_pb2
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT_S = 5.0
# Long enough for an answer that should not come, on a busy machine.
QUIET_S = 0.1
WINDOW_MAX = 2**31 - 1
PERCENT_ENCODED = re.compile(rb"(?:[\x20-\x24\x26-\x7e]|%[0-9A-F]{2})*")

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
CONNECT_ERROR, ENHANCE_YOUR_CALM = 10, 11

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = range(1, 5)
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = range(6)
RESOURCE_EXHAUSTED, ABORTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 8, 10, 12, 13, 14

Header = tuple[bytes, bytes]


def message(data: bytes, flag: int = 0) -> bytes:
    """A length-prefixed message."""
    return struct.pack(">BI", flag, len(data)) + data


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Any frame at all, its length taken from the payload."""
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


def encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


@dataclass
class Answer:
    """What came of one stream."""

    headers: list[list[Header]] = field(default_factory=list)
    data: bytes = b""
    frames: list[str] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    goaway: int | None = None
    closed: bool = False

    def _get(self, block: int, name: str) -> bytes | None:
        if not self.headers:
            return None
        return dict(self.headers[block]).get(name.encode())

    @property
    def http_status(self) -> int | None:
        value = self._get(0, ":status")
        return None if value is None else int(value)

    @property
    def status(self) -> int | None:
        """The gRPC status; None when the stream had none."""
        value = self._get(-1, "grpc-status") if self.ended else None
        return None if value is None else int(value)

    def first(self, name: str) -> bytes | None:
        """A header of the first block."""
        return self._get(0, name)

    def last(self, name: str) -> bytes | None:
        """A header of the last block."""
        return self._get(-1, name)

    @property
    def text(self) -> str:
        """The status's message, decoded."""
        return unquote_to_bytes(self.last("grpc-message") or b"").decode()

    @property
    def details(self) -> status_pb2.Status | None:
        value = self.last("grpc-status-details-bin")
        if value is None:
            return None
        padded = value + b"=" * (-len(value) % 4)
        return status_pb2.Status.FromString(base64.b64decode(padded, validate=True))

    @property
    def messages(self) -> list[bytes]:
        found, rest = [], self.data
        while rest:
            assert len(rest) >= 5, f"a torn prefix: {rest!r}"
            flag, length = struct.unpack(">BI", rest[:5])
            assert flag == 0, f"compressed, which nobody asked for: {flag}"
            assert len(rest) >= 5 + length, "a torn message"
            found.append(rest[5 : 5 + length])
            rest = rest[5 + length :]
        return found

    @property
    def trailers_only(self) -> bool:
        return self.ended and len(self.headers) == 1 and self.frames == ["HEADERS"]

    def __str__(self) -> str:
        said = f"status {self.status} {self.text!r}" if self.status is not None else "no status"
        http = f"http {self.http_status}, " if self.http_status not in (None, 200) else ""
        broken = f"reset {self.reset}, " if self.reset is not None else ""
        left = f"goaway {self.goaway}, " if self.goaway is not None else ""
        return f"{http}{broken}{left}{said}, frames {self.frames}, closed {self.closed}"


def connected(address: str, source: str | None = None) -> socket.socket:
    """A blocking socket to `unix:/path` or `host:port`, if wanted from a loopback address."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT_S)
        sock.connect(address.removeprefix("unix:"))
        return sock
    host, _, port = address.rpartition(":")
    sock = socket.socket(socket.AF_INET)
    sock.settimeout(WAIT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source:
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((source, 0))
    sock.connect((host, int(port)))
    return sock


class Peer:
    """One connection."""

    def __init__(
        self,
        address: str,
        settings: dict[int, int] | None = None,
        hello: bool = True,
        source: str | None = None,
    ) -> None:
        self.sock = connected(address, source)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_allowed_table_size = 65_536
        self.answers: dict[int, Answer] = {}
        self.pings: list[bytes] = []
        self.windows: dict[int, int] = {}
        self.their_settings: dict[int, int] = {}
        self.settings_acks = 0
        self.goaways: list[tuple[int, int, bytes]] = []
        self.closed = False
        self.next_stream = 1
        # An acknowledgement in place of the preface would be wrong.
        self.acks_settings = hello
        self.answers_pings = True
        self._buffer = bytearray()
        self._block: tuple[int, bytearray, bool] | None = None
        if hello:
            self.send(PREFACE, SettingsFrame(0, settings=settings or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, *parts: Frame | bytes) -> None:
        """Send in one write; a server that has closed is found out when reading."""
        data = b"".join(p if isinstance(p, bytes) else p.serialize() for p in parts)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except TimeoutError as error:
            raise AssertionError("the server stopped reading") from error

    def stream(self) -> int:
        """The next stream's id."""
        self.next_stream += 2
        return self.next_stream - 2

    def block(self, headers: Iterable[tuple[str | bytes, str | bytes]]) -> bytes:
        return self.encoder.encode([(encoded(n), encoded(v)) for n, v in headers], huffman=False)

    def headers(
        self,
        stream: int,
        headers: Iterable[tuple[str | bytes, str | bytes]],
        *flags: str,
        **more: Any,
    ) -> HeadersFrame:
        made = HeadersFrame(stream, self.block(headers), flags=("END_HEADERS", *flags), **more)
        return made

    # What comes.

    def read(self, timeout: float = WAIT_S) -> bool:
        """Take in what the socket has; False after a wait without a byte or at its end."""
        self.sock.settimeout(max(timeout, 0.001))
        try:
            data = self.sock.recv(262_144)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            for answer in self.answers.values():
                answer.closed = True
            return False
        self._buffer += data
        self._take_frames()
        return True

    def until(self, done: Any, timeout: float = WAIT_S) -> bool:
        """Read until `done()`, the end of the connection or the timeout; what `done()` says."""
        end = time.monotonic() + timeout
        while not done() and not self.closed:
            left = end - time.monotonic()
            if left <= 0:
                break
            self.read(left)
        return bool(done())

    def answer(self, stream: int, timeout: float = WAIT_S) -> Answer:
        """The stream's answer once it ended, was reset, or the connection was given up."""
        found = self.answers.setdefault(stream, Answer())

        def over() -> bool:
            gone = any(last < stream or code for last, code, _ in self.goaways)
            return found.ended or found.reset is not None or gone

        self.until(over, timeout)
        if self.goaways:
            found.goaway = self.goaways[-1][1]
        found.closed = self.closed
        return found

    def settle(self, timeout: float = WAIT_S) -> bool:
        """Whether the server still answers a PING, and so has taken all that was sent."""
        token = struct.pack(">Q", time.monotonic_ns())
        self.send(PingFrame(0, opaque_data=token))
        return self.until(lambda: token in self.pings, timeout)

    def quiet(self, timeout: float = QUIET_S) -> None:
        """Read for a while."""
        self.until(lambda: False, timeout)

    def _take_frames(self) -> None:
        while len(self._buffer) >= 9:
            head, length = Frame.parse_frame_header(memoryview(bytes(self._buffer[:9])))
            if len(self._buffer) < 9 + length:
                return
            body = bytes(self._buffer[9 : 9 + length])
            del self._buffer[: 9 + length]
            head.parse_body(memoryview(body))
            self._take(head)

    def _take(self, got: Frame) -> None:
        if self._block is not None:
            assert isinstance(got, ContinuationFrame), f"{got} within a header block"
        if isinstance(got, HeadersFrame | ContinuationFrame):
            self._take_headers(got)
        elif isinstance(got, DataFrame):
            answer = self.answers.setdefault(got.stream_id, Answer())
            answer.frames.append("DATA")
            answer.data += got.data
            answer.ended = answer.ended or "END_STREAM" in got.flags
        elif isinstance(got, RstStreamFrame):
            answer = self.answers.setdefault(got.stream_id, Answer())
            answer.frames.append("RST_STREAM")
            answer.reset = got.error_code
        else:
            self._take_control(got)

    def _take_control(self, got: Frame) -> None:
        if isinstance(got, SettingsFrame):
            if "ACK" in got.flags:
                self.settings_acks += 1
            else:
                self.their_settings.update(got.settings)
                if self.acks_settings:
                    self.send(SettingsFrame(0, flags=("ACK",)))
        elif isinstance(got, PingFrame):
            if "ACK" in got.flags:
                self.pings.append(got.opaque_data)
            elif self.answers_pings:
                self.send(PingFrame(0, opaque_data=got.opaque_data, flags=("ACK",)))
        elif isinstance(got, WindowUpdateFrame):
            self.windows[got.stream_id] = self.windows.get(got.stream_id, 0) + got.window_increment
        elif isinstance(got, GoAwayFrame):
            self.goaways.append((got.last_stream_id, got.error_code, got.additional_data))

    def _take_headers(self, got: HeadersFrame | ContinuationFrame) -> None:
        if isinstance(got, HeadersFrame):
            self._block = (got.stream_id, bytearray(), "END_STREAM" in got.flags)
        assert self._block is not None, "a CONTINUATION without its HEADERS"
        stream, block, ends = self._block
        assert stream == got.stream_id
        block += got.data
        if "END_HEADERS" in got.flags:
            self._block = None
            answer = self.answers.setdefault(stream, Answer())
            answer.frames.append("HEADERS")
            answer.headers.append(list(self.decoder.decode(bytes(block), raw=True)))
            answer.ended = answer.ended or ends


def request(
    path: str,
    extra: Sequence[tuple[str | bytes, str | bytes]] = (),
    **changed: str | None,
) -> list[tuple[str | bytes, str | bytes]]:
    """The headers of a right call; `changed` replaces or, with None, leaves out; `_` is `-`.

    `_method` and its like stand for the pseudo-headers.
    """
    headers: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "nextbest",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    for name, value in changed.items():
        spelled = ":" + name[1:] if name.startswith("_") else name.replace("_", "-")
        headers[spelled] = value
    return [(name, value) for name, value in headers.items() if value is not None] + list(extra)


def call(
    peer: Peer,
    path: str,
    body: bytes,
    extra: Sequence[tuple[str | bytes, str | bytes]] = (),
    timeout: float = WAIT_S,
    **changed: str | None,
) -> Answer:
    """One call and its answer."""
    stream = peer.stream()
    head = peer.headers(stream, request(path, extra, **changed))
    peer.send(head, *data_frames(stream, message(body)))
    return peer.answer(stream, timeout)


def data_frames(stream: int, data: bytes, size: int = 16_384) -> list[DataFrame]:
    """DATA frames of at most `size` bytes, the last with END_STREAM."""
    parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    made = [DataFrame(stream, part) for part in parts]
    made[-1].flags.add("END_STREAM")
    return made
