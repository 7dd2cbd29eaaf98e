"""The log's backends beside bare SQLite and bare Redis, in turns, with the same bytes.

Shows what an append of one batch costs, one after the other, as a node does it: on SQLite a
durable commit, on Redis the transaction that asks who took it, with and without waiting for a
replica.  The peers are `sqlite3` with the same settings, and `redis-benchmark` with one
connection.  It does not show a server: no calls are served and nothing is applied meanwhile.
Redis runs on the same machine, so its part is of shared cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.machine import percentiles
from nextbest.server.log.entry import frame, unframe
from nextbest.server.log.log import LOGGED_QUEUE, REPLICATED_QUEUE, Log
from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from nextbest.server.log.sqlite import SqliteLog

MUTATIONS = 1_000
MUTATION_BYTES = 200
SMALL_BYTES = 200
PRAGMAS = ("locking_mode=EXCLUSIVE", "page_size=16384", "journal_mode=WAL", "synchronous=FULL")
START_SECONDS_MAX = 10


async def appended(log: Log, body: bytes, count: int, replicas: int = 0) -> list[float]:
    """Seconds of each append to an empty log; checks that all of it can be read."""
    found = await log.connect()
    await log.open_epoch(1, frame(b""), None, create=True)
    queue = REPLICATED_QUEUE if replicas else LOGGED_QUEUE
    took = []
    for number in range(count):
        begin = time.perf_counter()
        sequence = await log.append(queue, 1, found.replication_id, frame(body), replicas)
        took.append(time.perf_counter() - begin)
        if sequence != number + 1:
            raise SystemExit(f"sequence {sequence}, not {number + 1}")
    await checked(log, body, count)
    await log.close()
    return took


async def checked(log: Log, body: bytes, count: int) -> None:
    """End the run when what was appended does not come back."""
    seen, after = 0, (1, 0)
    while found := await log.read(after, 0):
        for record in found:
            if unframe(record.data, record.epoch, record.sequence) != body:
                raise SystemExit(f"entry {record.sequence}: other bytes")
        seen, after = seen + len(found), found[-1][:2]
    if seen != count:
        raise SystemExit(f"{seen} entries, not {count}")


def sqlite_ours(folder: Path, body: bytes, count: int) -> list[float]:
    """Appends to the log in a file."""
    return asyncio.run(appended(SqliteLog(str(folder / "ours"), BackendSettings()), body, count))


def sqlite_bare(folder: Path, body: bytes, count: int) -> list[float]:
    """Rows of the same bytes, each with a commit, by the module of the standard library."""
    database = sqlite3.connect(folder / "bare", isolation_level=None)
    for pragma in PRAGMAS:
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, data BLOB)")
    took = []
    for number in range(count):
        begin = time.perf_counter()
        database.execute("BEGIN")
        database.execute("INSERT INTO entries VALUES (?, ?)", (number, body))
        database.execute("COMMIT")
        took.append(time.perf_counter() - begin)
    database.close()
    return took


def redis_ours(port: int, body: bytes, count: int, replicas: int) -> list[float]:
    """Appends to the log in Redis."""
    settings = BackendSettings()
    flush(port)
    log = RedisLog(network(parse(f"redis://127.0.0.1:{port}"), settings), settings)
    return asyncio.run(appended(log, body, count, replicas))


def redis_bare(port: int, body: bytes, count: int) -> float:
    """Entries a second by redis-benchmark, of the same bytes over one connection."""
    flush(port)
    command = ["redis-benchmark", "-p", str(port), "-c", "1", "-n", str(count), "--csv", "-x"]
    command += ["XADD", "bare", "*", "e"]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    newest = ["redis-cli", "-p", str(port), "XREVRANGE", "bare", "+", "-", "COUNT", "1"]
    if body not in subprocess.run(newest, capture_output=True, check=True).stdout:
        raise SystemExit("redis-benchmark appended other bytes")
    return float(done.stdout.decode().splitlines()[-1].split(",")[1].strip('"'))


def letters(size: int) -> bytes:
    """Random bytes that redis-benchmark takes whole: it ends at the first zero."""
    return os.urandom(size // 2).hex().encode()


def flush(port: int) -> None:
    """Empty a Redis."""
    subprocess.run(
        ["redis-cli", "-p", str(port), "FLUSHALL"], check=True, stdout=subprocess.DEVNULL
    )


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[int]:
    """A master with one replica; the master's port."""
    ports: list[int] = []
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name in ("master", "replica"):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                port = int(taken.getsockname()[1])
            where = folder / name
            where.mkdir()
            command = ["redis-server", "--port", str(port), "--dir", str(where), "--save", ""]
            command += ["--appendonly", "yes"]
            command += ["--replicaof", f"127.0.0.1 {ports[0]}"] if ports else []
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            ports.append(port)
            answers(port, "PING", "PONG")
        answers(ports[0], "INFO", "state=online", "replication")
        yield ports[0]
    finally:
        for process in running:
            process.kill()
            process.wait()


def answers(port: int, word: str, wanted: str, *more: str) -> None:
    """Wait until a command's answer has a text."""
    end = time.monotonic() + START_SECONDS_MAX
    command = ["redis-cli", "-p", str(port), word, *more]
    while wanted not in subprocess.run(command, capture_output=True, text=True).stdout:
        if time.monotonic() > end:
            raise SystemExit(f"redis-server on port {port} did not start")
        time.sleep(0.05)


def milliseconds(name: str, took: list[float]) -> dict[str, float]:
    """The percentiles under a name."""
    return {f"{name}_ms_{k}": v * 1e3 for k, v in percentiles(took).items() if k != "count"}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Both backends, one append after the other."""
    return {**measure_sqlite(options), **measure_redis(options)}


def measure_sqlite(options: argparse.Namespace) -> dict[str, float]:
    """Events a second that are durable, ours and bare."""
    body = letters(MUTATIONS * MUTATION_BYTES)
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    every: list[float] = []
    for number in range(options.rounds):
        for name in ("ours", "bare") if number % 2 else ("bare", "ours"):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                run = sqlite_ours if name == "ours" else sqlite_bare
                took = run(Path(folder), body, options.entries)
            rates[name].append(MUTATIONS * options.entries / sum(took))
            every += took if name == "ours" else []
    found = {
        f"log_backend_sqlite_{name}_events_per_s": median(seen) for name, seen in rates.items()
    }
    return {**found, **milliseconds("log_backend_sqlite_append", every)}


def measure_redis(options: argparse.Namespace) -> dict[str, float]:
    """Events a second that Redis accepted, ours and bare, and what a replica adds."""
    body, small = letters(MUTATIONS * MUTATION_BYTES), letters(SMALL_BYTES)
    ours, bare = [], []
    every: dict[str, list[float]] = {"logged": [], "replicated": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, servers(Path(folder)) as port:
        for _ in range(options.rounds):
            bare.append(MUTATIONS * redis_bare(port, body, options.entries))
            took = redis_ours(port, body, options.entries, 0)
            ours.append(MUTATIONS * options.entries / sum(took))
            every["logged"] += redis_ours(port, small, options.entries, 0)
            every["replicated"] += redis_ours(port, small, options.entries, 1)
    found = {"log_backend_redis_ours_events_per_s": median(ours)}
    found["log_backend_redis_bare_events_per_s"] = median(bare)
    found["log_backend_redis_ratio_median"] = median(a / b for a, b in zip(ours, bare, strict=True))
    for name, took in every.items():
        found |= milliseconds(f"log_backend_redis_{name}", took)
    return found
