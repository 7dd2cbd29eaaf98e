"""Recovery: a node with an empty engine reads a log to its end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from bench.machine import pin
from nextbest.server.clock import now_us
from nextbest.server.log.contents import pack_batch
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import LOGGED_QUEUE
from nextbest.server.log.node import Node
from nextbest.server.log.settings import BackendSettings

from . import bare, engines, hosts, pipeline, reading
from .cores import CORE_GENERATOR, scratch
from .streams import Figures

if TYPE_CHECKING:
    from nextbest.core import Engine

AT_ONCE = 500
LOOK_S = 0.002
RECOVERY_S_MAX = 300.0


def measure(options: argparse.Namespace) -> Figures:
    """Entries and mutations a second, of one mutation an entry and of a thousand.

    `ratio` is to redis-py, which only reads the same stream, in turns.
    """
    # Redis has the servers' core.
    pin(CORE_GENERATOR)
    requests = engines.events(options.events * 4)
    found: Figures = {}
    for size, name in ((1, "single"), (engines.BATCH_MUTATIONS, "batch")):
        queue = engines.queued(requests, size)
        for kind in ("redis", "sqlite"):
            prefix, entries = f"log_recovery_{kind}_{name}", len(queue.batches)
            # What is held here to compare with is no part of a node: its collector passes over it.
            gc.freeze()
            runs, read = [], []
            with _place(kind, options, queue.batches) as place:
                for number in range(options.rounds):
                    if kind == "redis":
                        read.append(bare.redis_py_reads(place, BackendSettings().stream, entries))
                    runs.append(asyncio.run(recovered(place, queue, f"r{number}")))
            if read:
                pairs = zip(read, runs, strict=True)
                found[f"{prefix}_ratio"] = median(took / wall for took, (wall, _) in pairs)
            found[f"{prefix}_entries_per_s"] = median(entries / wall for wall, _ in runs)
            found[f"{prefix}_mutations_per_s"] = median(queue.mutations / wall for wall, _ in runs)
            found[f"{prefix}_cpu_us"] = median(cpu for _, cpu in runs) / queue.mutations * 1e6
    return found


@contextlib.contextmanager
def _place(kind: str, options: argparse.Namespace, batches: list[bytes]) -> Iterator[str]:
    """A log of one epoch, with a batch in each entry."""
    entries = [pack_batch(nonce, data) for nonce, data in enumerate(batches, 2)]
    with scratch(options) as folder:
        if kind == "sqlite":
            place = f"sqlite:{folder}/log.db"
            asyncio.run(_write(place, entries))
            yield place
            return
        with hosts.redis(folder) as redis:
            asyncio.run(_write(redis.url, []))
            for first in range(0, len(entries), AT_ONCE):
                bare.sent(redis, BackendSettings().stream, entries[first : first + AT_ONCE])
            yield redis.url


async def _write(place: str, entries: list[bytes]) -> None:
    """Open the first epoch, and append so many at once that they are committed together."""
    log = reading.client(place)
    branch = await pipeline.opened(log)
    for first in range(0, len(entries), AT_ONCE):
        some = entries[first : first + AT_ONCE]
        appends = (log.append(LOGGED_QUEUE, pipeline.EPOCH, branch, one, 0) for one in some)
        await asyncio.gather(*appends)
    await log.close()


async def recovered(place: str, queue: engines.Queued, member: str) -> tuple[float, float]:
    """Seconds that an empty engine needs to be where the log's writer was: wall, and CPU here."""
    engine: Engine = engines.engine()
    log = reading.client(place)
    node = Node(
        engine, log, member, now_us=now_us, announced=lambda _mutation: None, limits=Limits()
    )
    end = (pipeline.EPOCH, len(queue.batches))
    begin, cpu = time.perf_counter(), time.process_time()
    await node.start()
    while engine.position[:2] < end:
        if time.perf_counter() - begin > RECOVERY_S_MAX:
            raise SystemExit(f"{place}: {engine.position} after {RECOVERY_S_MAX:g} s")
        await asyncio.sleep(LOOK_S)
    took = time.perf_counter() - begin, time.process_time() - cpu
    if engine.digest() != queue.digest:
        raise SystemExit(f"{place}: the digest differs from its writer's after recovery")
    await node.stop(0)
    return took
