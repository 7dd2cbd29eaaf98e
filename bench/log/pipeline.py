"""Engine, log and answers in this process: what the writes cost without a network lane."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.micro import subject
from nextbest.core import Engine
from nextbest.server.log.contents import pack, pack_batch
from nextbest.server.log.log import LOGGED_QUEUE, Log

from .engines import BATCH_BYTES, BATCH_MUTATIONS, engine

LOGGED = 2
EPOCH = 1
OPEN_NONCE = 1
STEPS = ("track", "take", "frame", "append", "done", "completed")


async def opened(log: Log) -> str:
    """Connect to an empty log and open its first epoch; gives the branch's name."""
    info = await log.connect()
    entry = pack(OPEN_NONCE, open={"replication_id": info.replication_id, "member": "bench"})
    await log.open_epoch(EPOCH, entry, None, create=True)
    return info.replication_id


async def logged(log: Log, requests: Sequence[bytes]) -> tuple[Engine, dict[str, float]]:
    """Track at LOGGED, a thousand at a time, each answered; seconds of each step."""
    made, branch = engine(LOGGED), await opened(log)
    took = dict.fromkeys(STEPS, 0.0)
    clock = time.perf_counter
    answered = 0
    for first in range(0, len(requests), BATCH_MUTATIONS):
        marks = [clock()]
        for token, request in enumerate(requests[first : first + BATCH_MUTATIONS], first + 1):
            made.track(request, subject.NOW_US, token)
        marks.append(clock())
        data, count = made.log_take(LOGGED_QUEUE, BATCH_MUTATIONS, BATCH_BYTES)
        marks.append(clock())
        nonce = OPEN_NONCE + 1 + first
        entry = pack_batch(nonce, data)
        marks.append(clock())
        sequence = await log.append(LOGGED_QUEUE, EPOCH, branch, entry, 0)
        marks.append(clock())
        made.log_done(LOGGED_QUEUE, count, (EPOCH, sequence, nonce), LOGGED)
        marks.append(clock())
        while (done := made.completed(subject.NOW_US)) is not None:
            answered += isinstance(done[1], bytes)
        marks.append(clock())
        for step, begin, end in zip(STEPS, marks, marks[1:], strict=False):
            took[step] += end - begin
    if answered != len(requests):
        raise SystemExit(f"{answered} writes answered of {len(requests)}")
    return made, took
