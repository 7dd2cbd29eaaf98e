"""The log in SQLite: durable events a second in group commit, ours and bare."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from statistics import median

from . import bare, engines, pipeline, reading, serving
from .cores import scratch
from .streams import Figures, settings

SMALL_COMMIT = 50
# About what a commit of a thousand events writes.
SYNC_BYTES, SYNCS = 163_840, 200


def measure(options: argparse.Namespace) -> Figures:
    """In process, through the server, and the same rows by the standard library's module."""
    requests = engines.events(options.events)
    queue = engines.queued(requests)
    # What a batch is when each of its mutations has a row of its own.
    single = [body for batch in engines.queued(requests, 1).batches for body in (batch,)]
    rates: dict[str, list[float]] = {"engine": [], "entries": [], "rows": [], "small": []}
    steps: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with scratch(options) as folder:
            took = _in_process(folder, requests)
            rates["engine"].append(len(requests) / sum(took.values()))
            for step, seconds in took.items():
                steps.setdefault(step, []).append(seconds / len(requests) * 1e6)
            commits = {
                "entries": [[batch] for batch in queue.batches],
                "rows": _groups(single, engines.BATCH_MUTATIONS),
                "small": _groups(single[: len(single) // 10], SMALL_COMMIT),
            }
            synced = bare.syncs(folder / "synced", SYNC_BYTES, SYNCS)
            steps.setdefault("bare_sync_ms", []).append(median(synced) * 1e3)
            steps.setdefault("bare_sync_ms_p99", []).append(sorted(synced)[-2] * 1e3)
            for name, rows in commits.items():
                seconds_each = bare.sqlite_commits(folder / name, rows)
                count = sum(map(len, rows)) if name != "entries" else len(requests)
                rates[name].append(count / sum(seconds_each))
                steps.setdefault(f"bare_{name}_commit_ms", []).append(median(seconds_each) * 1e3)
    runs = _served(options)
    return {
        "log_sqlite_events_per_s": median(run.rate for run in runs),
        "log_sqlite_us_p50": median(run.us(50) for run in runs),
        "log_sqlite_us_p99": median(run.us(99) for run in runs),
        "log_sqlite_lane_cpu_us": median(run.lane_us for run in runs),
        "log_sqlite_server_cpu_us": median(run.server_us for run in runs),
        **{f"log_sqlite_{name}_per_s": median(found) for name, found in rates.items()},
        **{
            f"log_sqlite_{name}" if name.startswith("bare") else f"log_sqlite_engine_{name}_us": (
                median(found)
            )
            for name, found in steps.items()
        },
    }


def _groups(rows: list[bytes], size: int) -> list[list[bytes]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _in_process(folder: Path, requests: list[bytes]) -> dict[str, float]:
    place = f"sqlite:{folder}/engine.db"

    async def run() -> dict[str, float]:
        log = reading.client(place)
        try:
            return (await pipeline.logged(log, requests))[1]
        finally:
            await log.close()

    took = asyncio.run(run())
    seen = asyncio.run(reading.held(reading.client(place)))
    reading.require_events(seen.events, len(requests), "SQLite, in process")
    return took


def _served(options: argparse.Namespace) -> list[serving.Run]:
    """Track at LOGGED over the fast lane, many calls at once, so that commits hold many."""
    with scratch(options) as folder:
        data = ("--data", str(folder / "data"))
        with serving.serving(folder, *data, *settings(), *options.more) as server:
            runs = [
                serving.generate(
                    server,
                    [serving.track("logged")],
                    closed=True,
                    duration=options.seconds,
                    connections=options.connections,
                    streams=options.streams * 4,
                )
                for _ in range(options.rounds)
            ]
            server.settled()
        seen = asyncio.run(reading.held(reading.client(f"sqlite:{folder}/data/log.db")))
        reading.require_events(seen.events, sum(run.calls for run in runs), "SQLite")
    return runs
