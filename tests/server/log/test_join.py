"""A node that joins a log whose beginning is gone: processes, and a real Redis."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.server.test_command_log import START_S_MAX, Server, age, born, nextbest


def test_a_third_node_joins_a_trimmed_log_by_itself(
    start_redis: Callable[..., Any], tmp_path: Path
) -> None:
    """Two nodes on one Redis, whose log is trimmed by them, and one that has nothing."""
    redis = start_redis("appendonly yes")
    started: list[Server] = []

    def node(name: str) -> Server:
        folder = tmp_path / name
        folder.mkdir()
        advertised = f"log.advertise=unix:{folder}/socket"
        settings = ("--set", f"log.member={name}", "--set", advertised)
        started.append(Server(folder, "--log", redis.url, *settings))
        return started[-1]

    try:
        a, b = node("a"), node("b")
        for person in range(100):
            born(a if person % 2 else b, f"p{person}", person)
        for _ in range(3):
            nextbest("log", "snapshot", *a.to)
            nextbest("log", "snapshot", *b.to)
        # The coordinator trims once a minute: it is not waited for.
        snapshots = (json.loads(nextbest("log", "status", *each.to, "--json")) for each in (a, b))
        oldest = min(int(each["snapshot"]["sequence"]) for each in snapshots)
        assert oldest > 50
        redis.call("XTRIM", "nextbest", "MINID", f"1-{oldest}")
        a.end(signal.SIGKILL)
        begun_s = time.monotonic()
        c = node("c")
        assert time.monotonic() - begun_s < START_S_MAX
        assert "fetched from unix:" in c.output.read_text()
        assert [age(c, f"p{person}") for person in range(100)] == list(range(100))
        assert sorted(c.data.glob("snapshots/*"))[0].stat().st_mode & 0o077 == 0
    finally:
        for server in started:
            server.end(signal.SIGKILL)
