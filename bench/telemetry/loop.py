"""A process that decides over and over as a build does, and says how long one takes.

Standard input has a line for each turn: `RATIO CALLS`, of how many calls of 1 are sampled;
standard output has nanoseconds of a call, and the answers' checksum.
"""

from __future__ import annotations

import gc
import sys
import time
import zlib

from bench.machine import pin
from bench.micro import encode, people, subject
from bench.micro.shop_100 import playbook
from nextbest.core import Engine
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.v1 import decision_pb2

# Less than a ring holds: what is kept is taken between two batches, and not timed.
BATCH = 500
OBJECTIVE_S = 0.005


def engine() -> Engine:
    """An engine with the playbook of shop-100 and one person."""
    made = Engine(profiles_max=1_000, dedupe_max=10_000)
    made.publish(subject.compiled(playbook()))
    crowd = [people.person(number) for number in range(100)]
    subject.load_columns(made, crowd)
    for request in subject.tracked(crowd):
        made.track(request, subject.NOW_US)
    return made


def request() -> bytes:
    """A DecideRequest for somebody who is there."""
    return encode.decide(next(one for one in people.requests() if 0 <= one.person < 100))


def turn(made: Engine, request: bytes, ratio: float, calls: int) -> tuple[float, int, int]:
    """Nanoseconds of a call, the answers' checksum, and how many calls were kept."""
    clock, begin, decide, now_us = (
        time.perf_counter_ns,
        made.begin_call,
        made.decide,
        subject.NOW_US,
    )
    telemetry = made.telemetry
    telemetry.configure(
        bounds_s(), {"Decide": OBJECTIVE_S}, keep=True, ratio=ratio, parent_based=False
    )
    taken, checksum, kept = 0, 0, 0
    for _ in range(0, calls, BATCH):
        start = clock()
        for _ in range(BATCH):
            call = begin("Decide")
            answer = decide(request, now_us, 0, call)
            call.end(0, answer)
        taken += clock() - start
        checksum = zlib.crc32(_told(answer), checksum)
        kept += len(telemetry.take())
    return taken / (-(-calls // BATCH) * BATCH), checksum, kept


def _told(answer: bytes) -> bytes:
    """An answer without what is drawn anew for each call, or each engine."""
    response = decision_pb2.DecideResponse.FromString(answer)
    for name in ("decision_id", "seed", "position"):
        response.ClearField(name)
    return response.SerializeToString(deterministic=True)


def main() -> None:
    """Take turns until standard input ends."""
    pin(0)
    made = engine()
    asked = request()
    gc.disable()
    for line in sys.stdin:
        ratio, calls = line.split()
        found = turn(made, asked, float(ratio), int(calls))
        sys.stdout.write(" ".join(map(str, found)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
