"""Snapshots of many people: their speed, what decisions notice of them, and a restart."""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from pathlib import Path
from statistics import median

from bench.micro import encode, people
from nextbest.bench.workload import DECIDE, PATHS, Body, Part, framed
from nextbest.core import Engine
from nextbest.server.log.snapshot import Snapshots
from nextbest.server.log.snapshot_file import SnapshotWriter
from nextbest.server.log.taker import load_rows
from nextbest.v1 import log_pb2

from . import engines, serving
from .cores import scratch
from .filled import FILLED
from .streams import Figures, settings

FILL_S_MAX = 900.0
STRIPES = 4_096
MEGA = 1e6
# People and their events are of the past of the run.
KEPT = (
    "retention.anonymous_days=0",
    "log.ack=applied",
    "log.snapshot_ms=86400000",
    "log.dedupe_span_ms=315360000000",
)


def measure(options: argparse.Namespace) -> Figures:
    """A server is filled, asked while it takes snapshots, and started again."""
    with scratch(options) as folder:
        data = folder / "data"
        found, digest = _filled(options, folder, data)
        found["log_restart_s"] = _restarted(folder, data, digest)
        found.update(_files(options, folder, data / "snapshots", digest))
    return found


def _arguments(data: Path) -> list[str]:
    return ["--data", str(data), *settings(*KEPT, "engine.profiles_max=2000000")]


def _filled(
    options: argparse.Namespace, folder: Path, data: Path
) -> tuple[Figures, tuple[int, int]]:
    program = ("-m", "bench.log.filled", str(options.profiles))
    program += ("--text-bytes", str(options.text_bytes))
    with serving.serving(folder, *_arguments(data), program=program) as server:
        deadline_s = time.monotonic() + FILL_S_MAX
        while not (data / FILLED).exists():
            if time.monotonic() > deadline_s:
                raise SystemExit(f"not filled within {FILL_S_MAX:g} s")
            time.sleep(0.1)
        server.settled()
        taken = [server.snapshot()]
        runs: dict[str, list[serving.Run]] = {"quiet": [], "during": []}
        part = _decisions(options.profiles)
        for number in range(options.rounds):
            for name in list(runs)[:: 1 if number % 2 else -1]:
                seconds = max(taken[0].took_ms / 1_000, 1.0)
                runs[name].append(_asked(server, part, options, seconds, name, taken))
        digest = server.digest()
    figures = {
        "log_snapshot_profiles": float(options.profiles),
        "log_snapshot_mb": taken[0].bytes / MEGA,
        "log_snapshot_served_s": median(one.took_ms for one in taken) / 1e3,
        "log_snapshot_served_mb_per_s": median(
            one.bytes / MEGA / (one.took_ms / 1e3) for one in taken
        ),
        "log_snapshot_decide_rate": options.rate,
    }
    for name, found in runs.items():
        for at in (50, 99, 99.9):
            key = f"log_snapshot_decide_{name}_us_p{at:g}".replace(".", "")
            figures[key] = median(run.us(at) for run in found)
    return figures, digest


def _decisions(profiles: int) -> Part:
    """Decisions about known people."""
    made = people.requests(profiles=profiles)
    bodies = [Body(PATHS.index(DECIDE), framed(encode.decide(one)), ()) for one in made]
    return Part("decide", 1, bodies)


def _asked(
    server: serving.Server,
    part: Part,
    options: argparse.Namespace,
    seconds: float,
    name: str,
    taken: list[log_pb2.TakeSnapshotResponse],
) -> serving.Run:
    """Decisions at a rate, with a snapshot meanwhile or without."""

    def take() -> None:
        time.sleep(serving.WARMUP_S)
        taken.append(server.snapshot())

    beside = threading.Thread(target=take) if name == "during" else None
    if beside is not None:
        beside.start()
    run = serving.generate(server, [part], rate=options.rate, duration=seconds, connections=8)
    if beside is not None:
        beside.join()
    return run


def _restarted(folder: Path, data: Path, digest: tuple[int, int]) -> float:
    """Seconds from the start of the process until it says that it serves."""
    with serving.serving(folder, *_arguments(data)) as server:
        if (seen := server.digest()) != digest:
            raise SystemExit(f"the digest after the restart differs: {seen}, not {digest}")
        return server.ready_s


def _files(
    options: argparse.Namespace, folder: Path, kept: Path, digest: tuple[int, int]
) -> Figures:
    """Reading and writing without a server beside."""
    figures: dict[str, list[float]] = {}

    def note(name: str, size: int, begin: float) -> None:
        rate = size / MEGA / (time.perf_counter() - begin)
        figures.setdefault(f"log_snapshot_{name}_mb_per_s", []).append(rate)

    for number in range(options.rounds):
        begin = whole = time.perf_counter()
        snapshot = Snapshots(kept).newest_valid()
        if snapshot is None:
            raise SystemExit("there is no valid snapshot")
        note("verify", snapshot.bytes, begin)
        made = engines.empty()
        begin = time.perf_counter()
        load_rows(made, snapshot)
        note("load", snapshot.bytes, begin)
        note("verify_and_load", snapshot.bytes, whole)
        if made.store.profiles != options.profiles:
            raise SystemExit(f"{made.store.profiles} people in the snapshot")
        if number == 0 and made.digest() != digest:
            raise SystemExit(f"the loaded digest differs: {made.digest()}, not {digest}")
        begin = time.perf_counter()
        size = asyncio.run(_written(folder / f"again-{number}", made, snapshot.head))
        note("write_resting", size, begin)
        begin = time.perf_counter()
        writer = SnapshotWriter(folder / f"bare-{number}")
        for stripe in range(STRIPES):
            if rows := made.store.stripe(stripe):
                writer.stripe(stripe, rows)
        writer.finish(snapshot.head)
        note("write", size, begin)
        snapshot.close()
    return {name: median(found) for name, found in figures.items()}


async def _written(folder: Path, made: Engine, head: log_pb2.SnapshotHead) -> int:
    """Write as a server does, with rests, and read back; gives the file's bytes."""

    async def covered() -> log_pb2.SnapshotHead:
        return head

    snapshots = Snapshots(folder)
    pending = await snapshots.write(made.store.stripe, covered)
    await pending.commit()
    snapshots.close()
    return pending.bytes
