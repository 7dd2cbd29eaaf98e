"""What Redis and SQLite do by themselves with the same bytes."""

from __future__ import annotations

import csv
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import redis

from .cores import CORE_GENERATOR, cpu_s
from .hosts import Redis

KEY = "bare"
# As server/log/sqlite.py sets them.
PRAGMAS = ("locking_mode=EXCLUSIVE", "page_size=16384", "journal_mode=WAL", "synchronous=FULL")
REPLY_BYTES_MAX = 1 << 16
BENCHMARK_S_MAX = 120
READ_AT_ONCE = 1_000


class Bare(NamedTuple):
    """What redis-benchmark found, and microseconds of Redis's CPU for each call."""

    rate: float
    cpu_us: float


def redis_benchmark(redis: Redis, body: bytes, connections: int, depth: int, calls: int) -> Bare:
    """XADD a second, by redis-benchmark: `depth` at once on each connection."""
    redis.ask("FLUSHALL")
    command = [
        *("taskset", "-c", str(CORE_GENERATOR), "redis-benchmark", "-p", str(redis.port)),
        *("-c", str(connections), "-P", str(depth), "-n", str(calls), "--csv", "-x"),
        *("XADD", KEY, "1-*", "e"),
    ]
    before = cpu_s(redis.pid)
    done = subprocess.run(
        command, input=body, capture_output=True, check=True, timeout=BENCHMARK_S_MAX
    )
    cpu_us = (cpu_s(redis.pid) - before) / calls * 1e6
    # It may send a few more than it was asked for.
    if (seen := int(redis.ask("XLEN", KEY))) < calls or not _holds(redis, body):
        raise SystemExit(f"redis-benchmark: {seen} entries of {calls}, or other bytes")
    return Bare(float(list(csv.reader(done.stdout.decode().splitlines()))[-1][1]), cpu_us)


def pipelined(redis: Redis, body: bytes, depth: int, calls: int) -> float:
    """XADD a second over one connection, `depth` sent at once, the next while they are done."""
    redis.ask("FLUSHALL")
    rounds = calls // depth
    took = sent(redis, KEY, [body] * depth, rounds)
    if int(redis.ask("XLEN", KEY)) != rounds * depth:
        raise SystemExit("pipelined XADD: not all entries are there")
    return rounds * depth / took


def sent(redis: Redis, key: str, bodies: Sequence[bytes], rounds: int = 1) -> float:
    """Append bodies in one pipeline, so many times over; the seconds it took."""
    block = b"".join(
        b"*5\r\n" + b"".join(_bulk(word) for word in (b"XADD", key.encode(), b"1-*", b"e", body))
        for body in bodies
    )
    depth = len(bodies)
    with socket.create_connection(("127.0.0.1", redis.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        connection.sendall(block)
        ahead = 0
        for number in range(rounds):
            if number + 1 < rounds:
                connection.sendall(block)
            ahead = _replies(connection, depth, ahead)
        return time.perf_counter() - begin


def redis_py_reads(url: str, key: str, entries: int) -> float:
    """Seconds that redis-py needs to read a stream of an entry more, and to let go of it."""
    with redis.Redis.from_url(url) as client:
        begin, seen, start = time.perf_counter(), 0, "-"
        while found := client.xrange(key, start, count=READ_AT_ONCE):
            seen, start = seen + len(found), f"({found[-1][0].decode()}"
        took = time.perf_counter() - begin
    if seen < entries:
        raise SystemExit(f"redis-py: {seen} entries of {entries}")
    return took


def sqlite_commits(path: Path, commits: Sequence[Sequence[bytes]]) -> list[float]:
    """Seconds of each commit of some rows, by the module of the standard library."""
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, data BLOB)")
    took, key = [], 0
    for rows in commits:
        keyed = list(enumerate(rows, key))
        begin = time.perf_counter()
        database.execute("BEGIN")
        database.executemany("INSERT INTO entries VALUES (?, ?)", keyed)
        database.execute("COMMIT")
        took.append(time.perf_counter() - begin)
        key += len(rows)
    (seen,) = database.execute("SELECT count(*) FROM entries").fetchone()
    database.close()
    if seen != key:
        raise SystemExit(f"bare SQLite: {seen} rows of {key}")
    return took


def syncs(path: Path, size: int, count: int) -> list[float]:
    """Seconds of each fdatasync behind so many bytes, as a commit of SQLite's WAL has one."""
    took, body = [], bytes(size)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for number in range(count):
            os.pwrite(descriptor, body, number * size)
            begin = time.perf_counter()
            os.fdatasync(descriptor)
            took.append(time.perf_counter() - begin)
    finally:
        os.close(descriptor)
    return took


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(word), word)


def _replies(connection: socket.socket, count: int, ahead: int) -> int:
    """Read so many ids, two lines each, of which `ahead` lines came before; gives those over."""
    lines = ahead
    while lines < 2 * count:
        data = connection.recv(REPLY_BYTES_MAX)
        if not data or b"-ERR" in data:
            raise SystemExit(f"pipelined XADD: {data[:100]!r}")
        lines += data.count(b"\n")
    return lines - 2 * count


def _holds(redis: Redis, body: bytes) -> bool:
    newest = ["redis-cli", "-p", str(redis.port), "XREVRANGE", KEY, "+", "-", "COUNT", "1"]
    return body in subprocess.run(newest, capture_output=True, check=True).stdout
