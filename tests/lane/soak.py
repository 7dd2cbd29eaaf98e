"""Memory and descriptors of a server after many connections and calls.

`python -m tests.lane.soak --connections 100000 --calls 10000000` prints both before and after.
Connections come from many loopback addresses, since one address has too few ports; calls go
through h2load where it is installed, as no Python client makes millions of them in minutes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lane.target import DECIDE, Target, decide, running
from tests.lane.wire import OK, PREFACE, Peer, call, data_frames, message, request

SETTLE_S = 10
PORTS_OF_ONE_ADDRESS = 5_000


@dataclass
class Usage:
    """What a server holds."""

    resident_bytes: int
    descriptors: int

    def __str__(self) -> str:
        return f"{self.resident_bytes / 2**20:.1f} MiB resident, {self.descriptors} descriptors"


def usage(target: Target, descriptors: int = 0) -> Usage:
    """What it holds once its connections are closed; waits for at most `descriptors` for 10 s."""
    time.sleep(0.3)
    for _ in range(SETTLE_S * 20 if descriptors else 0):
        if target.descriptors() <= descriptors:
            break
        time.sleep(0.05)
    return Usage(target.resident_bytes(), target.descriptors())


def address_of(number: int) -> str:
    """A loopback address for a connection of that number."""
    part = number // PORTS_OF_ONE_ADDRESS
    return f"127.0.{10 + part // 200}.{1 + part % 200}"


def connect(target: Target, count: int) -> None:
    """Open and close so many connections, each in one of five ways, with and without a call."""
    unix = target.address.startswith("unix:")
    body = data_frames(1, message(decide("home")))
    for number in range(count):
        source = None if unix else address_of(number)
        peer = Peer(target.address, hello=number % 5 != 0, source=source)
        if number % 5 == 1:
            peer.send(peer.headers(1, request(DECIDE)), *body)
            assert peer.answer(1).status == OK
        elif number % 5 == 2:
            peer.send(peer.headers(1, request(DECIDE)), body[0].serialize()[:-4])
        elif number % 5 == 3:
            peer.send(b"\xff" * 50)
            assert peer.until(lambda peer=peer: peer.closed)
        elif number % 5 == 0:
            peer.send(PREFACE[:10])
        peer.close()


def calls(target: Target, count: int) -> None:
    """Make so many calls."""
    if shutil.which("h2load") and count > 10_000:
        by_h2load(target.address, count)
        return
    for _ in range(0, count, 100):
        with target.peer() as peer:
            for _ in range(100):
                assert call(peer, DECIDE, decide("home")).status == OK


def by_h2load(address: str, count: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(message(decide("home")))
        command = ["h2load", "-n", str(count), "-c", "8", "-m", "16", "-d", file.name]
        command += ["-H", "te: trailers", "-H", "content-type: application/grpc"]
        base = f"http://{address}" if not address.startswith("unix:") else "http://localhost"
        if base.endswith("localhost"):
            command.append(f"--base-uri={address}")
        done = subprocess.run([*command, base + DECIDE], capture_output=True, text=True, check=True)
    assert f"{count} succeeded" in done.stdout, done.stdout


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="lane")
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=4)
    wanted = parser.parse_args()
    with running(wanted.kind) as target:
        connect(target, 500)
        calls(target, 20_000)
        first = usage(target)
        say(f"before: {first}")
        for number in range(wanted.rounds):
            connect(target, wanted.connections // wanted.rounds)
            calls(target, wanted.calls // wanted.rounds)
            say(f"{number + 1}/{wanted.rounds}: {usage(target, first.descriptors)}")


if __name__ == "__main__":
    main()
