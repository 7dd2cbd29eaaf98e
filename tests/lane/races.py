"""Load on several lanes while the control plane never rests: what a race detector should watch.

`python -m tests.lane.races --seconds 20`, with the server in a checkout built with
`-fsanitize=thread` (NEXTBEST_LANE_CHECKOUT, NEXTBEST_LANE_PRELOAD; see README.md).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from hyperframe.frame import RstStreamFrame, WindowUpdateFrame

from nextbest.v1 import common_pb2, decision_pb2
from tests.lane.target import BATCH, DECIDE, HEALTH, TRACK, Target, batch, decide, running, track
from tests.lane.wire import (
    ABORTED,
    CANCEL,
    DEADLINE_EXCEEDED,
    OK,
    UNAVAILABLE,
    WINDOW_MAX,
    Answer,
    Peer,
    data_frames,
    message,
    request,
)

THREADS = 2
CONNECTIONS = 6
CALLS_AT_ONCE = 20
PEOPLE = 300


# What a call may end with that waits for a position or for the log: one is lost, the other's
# outcome unknown now and then.
EXPECTED = (OK, ABORTED, UNAVAILABLE, DEADLINE_EXCEEDED)


def ahead(now: common_pb2.Position, by: int) -> common_pb2.Position:
    """The position that the log reaches some entries later, if its epoch lasts."""
    epoch, sequence = max(now.epoch, 1), now.sequence + by
    return common_pb2.Position(epoch=epoch, sequence=sequence, nonce=epoch << 32 | sequence)


def send_call(peer: Peer, path: str, body: bytes, **headers: str) -> int:
    stream = peer.stream()
    peer.send(peer.headers(stream, request(path, **headers)))
    peer.send(*data_frames(stream, message(body)))
    return stream


def send_calls(peer: Peer, number: int, now: common_pb2.Position) -> list[int]:
    """Calls of each method, sent at once; the log is at `now` or has gone on."""
    streams = []
    for at in range(CALLS_AT_ONCE):
        who, product = f"person {number * 7 % PEOPLE}", f"product {number % 997} " * (at % 3)
        ack = (0, 2, 3)[at % 3] if at % 8 == 1 else 0
        wanted = {"min_position": ahead(now, at)} if at % 2 else {}
        bodies = [
            (DECIDE, decide("home", who=who, scores=["*"], explain=at % 5 == 0)),
            (TRACK, track(f"race-{number}-{at}", who, product, ack)),
            (BATCH, batch(5, **wanted)),
            (HEALTH, b""),
            (DECIDE, decide("home", who=who, min_position=ahead(now, at))),
        ]
        streams.append(send_call(peer, *bodies[at % 5]))
    # Two that wait are given up, one has little time, and one is to come too late.
    for path, body in (
        (TRACK, track(f"gone-{number}", ack=2)),
        (DECIDE, decide("home", min_position=ahead(now, 3))),
    ):
        peer.send(RstStreamFrame(send_call(peer, path, body), error_code=CANCEL))
    far = decide("home", min_position=ahead(now, 1_000_000))
    streams.append(send_call(peer, DECIDE, far, grpc_timeout="5m"))
    streams.append(send_call(peer, DECIDE, decide("home", min_position=ahead(now, 50))))
    return streams


def load(target: Target, seconds: float) -> tuple[Counter[int | None], list[Answer]]:
    """How many calls ended with each status, and those that should not have."""
    peers = [target.peer() for _ in range(CONNECTIONS)]
    for peer in peers:
        peer.send(WindowUpdateFrame(0, window_increment=WINDOW_MAX - 65_535))
    ended: Counter[int | None] = Counter()
    failed = []
    now = common_pb2.Position()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sent = [(peer, send_calls(peer, ended.total() + at, now)) for at, peer in enumerate(peers)]
        for peer, streams in sent:
            answers = [peer.answer(stream) for stream in streams]
            ended.update(answer.status for answer in answers)
            failed += [answer for answer in answers if answer.status not in EXPECTED]
            now = position(answers[0]) or now
            peer.answers.clear()
    for peer in peers:
        peer.close()
    return ended, failed


def position(answer: Answer) -> common_pb2.Position | None:
    """Where the log was when a decision was made."""
    if answer.status != OK:
        return None
    return decision_pb2.DecideResponse.FromString(answer.messages[0]).position


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    wanted = parser.parse_args()
    with running("lane", {"threads": THREADS, "busy": True}) as target:
        ended, failed = load(target, wanted.seconds)
    sys.stdout.write(f"{ended.total()} calls, by status {dict(ended)}\n")
    sys.stdout.write(f"{len(failed)} failed {[str(one) for one in failed[:5]]}\n")


if __name__ == "__main__":
    main()
