"""Load on several lanes while the control plane never rests: what a race detector should watch.

`python -m tests.lane.races --seconds 20`, with the server in a checkout built with
`-fsanitize=thread` (NEXTBEST_LANE_CHECKOUT, NEXTBEST_LANE_PRELOAD; see README.md).
"""

from __future__ import annotations

import argparse
import sys
import time

from hyperframe.frame import RstStreamFrame, WindowUpdateFrame

from tests.lane.target import BATCH, DECIDE, HEALTH, TRACK, Target, batch, decide, running, track
from tests.lane.wire import CANCEL, OK, WINDOW_MAX, Answer, Peer, data_frames, message, request

THREADS = 2
CONNECTIONS = 6
CALLS_AT_ONCE = 20
PEOPLE = 300


def send_calls(peer: Peer, number: int) -> list[int]:
    """Calls of each method, sent at once."""
    streams = []
    for at in range(CALLS_AT_ONCE):
        who, product = f"person {number * 7 % PEOPLE}", f"product {number % 997} " * (at % 3)
        bodies = [
            (DECIDE, decide("home", who=who, scores=["*"], explain=at % 5 == 0)),
            (TRACK, track(f"race-{number}-{at}", who, product, logged=at % 8 == 1)),
            (BATCH, batch(5)),
            (HEALTH, b""),
        ]
        path, body = bodies[at % 4]
        streams.append(peer.stream())
        peer.send(peer.headers(streams[-1], request(path)))
        peer.send(*data_frames(streams[-1], message(body)))
    # One that may wait for the log is given up.
    given_up = peer.stream()
    peer.send(peer.headers(given_up, request(TRACK)))
    peer.send(*data_frames(given_up, message(track(f"gone-{number}", logged=True))))
    peer.send(RstStreamFrame(given_up, error_code=CANCEL))
    return streams


def load(target: Target, seconds: float) -> tuple[int, list[Answer]]:
    """How many calls were made, and those that failed."""
    peers = [target.peer() for _ in range(CONNECTIONS)]
    for peer in peers:
        peer.send(WindowUpdateFrame(0, window_increment=WINDOW_MAX - 65_535))
    made, failed = 0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sent = [(peer, send_calls(peer, made + at)) for at, peer in enumerate(peers)]
        for peer, streams in sent:
            answers = [peer.answer(stream) for stream in streams]
            made += len(answers)
            failed += [answer for answer in answers if answer.status != OK]
            peer.answers.clear()
    for peer in peers:
        peer.close()
    return made, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    wanted = parser.parse_args()
    with running("lane", {"threads": THREADS, "busy": True}) as target:
        made, failed = load(target, wanted.seconds)
    sys.stdout.write(f"{made} calls, {len(failed)} failed {[str(one) for one in failed[:5]]}\n")


if __name__ == "__main__":
    main()
