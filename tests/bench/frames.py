"""An HTTP/2 server of a few lines that answers gRPC calls, and misbehaves as it is told.

It does not read headers: every request is answered alike.  Frames are those of RFC 9113.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
REFUSED_STREAM = 7
MAX_CONCURRENT_STREAMS = 3
MESSAGE = b"\0\0\0\0\x04abcd"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    return (
        struct.pack("!I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack("!I", stream)
        + payload
    )


def field(name: bytes, value: bytes) -> bytes:
    """A header that is not indexed (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def answer(stream: int, status: bytes = b"0", message: bytes = b"", body: bytes = MESSAGE) -> bytes:
    """A whole answer: headers, one message, trailers."""
    first = b"\x88" + field(b"content-type", b"application/grpc")
    last = field(b"grpc-status", status)
    if message:
        last += field(b"grpc-message", message)
    return (
        frame(HEADERS, END_HEADERS, stream, first)
        + (frame(DATA, 0, stream, body) if body else b"")
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, last)
    )


Reply = Callable[["Peer", int], bytes]


class Peer:
    """One connection of a client."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.server = server
        self.connection = connection
        self.calls = 0
        self.closing = False

    def serve(self) -> None:
        with suppress(OSError), self.connection:
            data = b""
            settings = struct.pack("!HI", MAX_CONCURRENT_STREAMS, self.server.streams)
            self.connection.sendall(frame(SETTINGS, 0, 0, settings))
            while not self.closing:
                received = self.connection.recv(65_536)
                if not received:
                    return
                data += received
                data = data.removeprefix(PREFACE)
                out, data = self.frames(data)
                self.connection.sendall(out)

    def frames(self, data: bytes) -> tuple[bytes, bytes]:
        """Answer the frames in `data`; what is left of it."""
        out = b""
        while len(data) >= 9 and not self.closing:
            length = int.from_bytes(data[:3], "big")
            if len(data) < 9 + length:
                break
            kind, flags, stream = data[3], data[4], int.from_bytes(data[5:9], "big")
            payload, data = data[9 : 9 + length], data[9 + length :]
            if kind == SETTINGS and not flags & ACK:
                out += frame(SETTINGS, ACK, 0)
            elif kind == PING and not flags & ACK:
                out += frame(PING, ACK, 0, payload)
            elif kind == DATA and length:
                out += frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", length))
            elif kind == RST_STREAM:
                self.server.resets += 1
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.calls += 1
                self.server.calls += 1
                out += self.server.reply(self, stream)
        return out, data


class Server:
    """Serves until the block ends; `reply` gives the bytes for each request."""

    def __init__(self, reply: Reply | None = None, streams: int = 1_000, port: int = 0) -> None:
        self.reply = reply or (lambda _peer, stream: answer(stream))
        self.streams = streams
        self.calls = self.resets = self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        self._thread.join(5)

    def stop(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=Peer(self, connection).serve, daemon=True).start()


def stalling(after: int, seconds: float) -> Reply:
    """Answers at once, but for one pause."""
    stalled = threading.Event()

    def reply(peer: Peer, stream: int) -> bytes:
        if peer.server.calls >= after and not stalled.is_set():
            stalled.set()
            time.sleep(seconds)
        return answer(stream)

    return reply


def leaving(after: int, seen: int) -> Reply:
    """After so many calls of a connection: GOAWAY; only the `seen` calls before it were looked at.

    Later calls on the connection get no answer, as RFC 9113 has it.
    """

    def reply(peer: Peer, stream: int) -> bytes:
        if peer.calls < after:
            return answer(stream)
        if peer.calls == after:
            last = stream - 2 * (1 - seen)
            known = answer(stream) if seen else b""
            return known + frame(GOAWAY, 0, 0, struct.pack("!II", last, 0))
        return b""

    return reply
