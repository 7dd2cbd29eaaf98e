"""Crossings beyond the node that found them: two processes on a real Redis."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from nextbest.client import Client
from nextbest.v1 import log_pb2
from tests.server.test_command_log import Server
from tests.trigger.people import FILES

PEOPLE = 40
BEGUN = datetime.now(UTC) - timedelta(minutes=1)
WITHIN_S = 10.0


def client_of(server: Server) -> Client:
    return Client(server.to[1], fast_lane=False)


def settled(servers: list[Server]) -> list[log_pb2.GetLogStatusResponse]:
    """Where all have applied all, and at the same position."""
    end = time.monotonic() + WITHIN_S
    while True:
        found = []
        for server in servers:
            with client_of(server) as client:
                found.append(client.log_status(digest=True))
        still = all(one.state == "following" and not one.ahead for one in found)
        if still and len({one.digest_rows for one in found}) == 1:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.05)


def at_generation(server: Server, generation: int) -> None:
    end = time.monotonic() + WITHIN_S
    with client_of(server) as client:
        while client.list_generations().generation != generation:
            assert time.monotonic() < end
            time.sleep(0.02)


def told(server: Server, who: str) -> tuple[int, int, list[str]]:
    """How often somebody has entered and left, and the causes of what they entered."""
    with client_of(server) as client:
        counters = client.get_profile(who).profile.counters
    causes = [one.string_value for one in counters["causes"].values]
    return counters["vip_in"].value.int_value, counters["vip_out"].value.int_value, causes


def test_two_nodes_that_take_the_same_writes_agree(
    start_redis: Callable[..., Any], tmp_path: Path
) -> None:
    """Each write is sent to both, as a caller does that had no answer from the first."""
    redis = start_redis("appendonly yes")
    started: list[Server] = []

    def node(name: str) -> Server:
        (tmp_path / name).mkdir(exist_ok=True)
        settings = ("--log", redis.url, "--set", f"log.member={name}")
        started.append(Server(tmp_path / name, *settings))
        return started[-1]

    try:
        a, b = node("a"), node("b")
        files = {name: yaml.safe_dump(part).encode() for name, part in FILES.items()}
        with client_of(a) as client:
            generation = client.publish_playbook(files).generation
        at_generation(b, generation)
        with client_of(a) as one, client_of(b) as other:
            for number, amount in enumerate((150.0, -100.0, 100.0)):
                for person in range(PEOPLE):
                    for client in (one, other) if person % 2 else (other, one):
                        client.track(
                            f"p{person}",
                            "purchase",
                            {"amount": amount},
                            event_id=f"e-{person}-{number}",
                            occurred_at=BEGUN + timedelta(seconds=number),
                        )
        first, second = settled([a, b])
        assert first.digest_events == second.digest_events
        expected = ["e-{}-2", "e-{}-0", "e-{}-0"]
        for person in range(PEOPLE):
            causes = [one.format(person) for one in expected]
            assert told(a, f"p{person}") == told(b, f"p{person}") == (2, 1, causes)
        b.end(signal.SIGKILL)
        started.remove(b)
        settled([a, node("b")])
    finally:
        for server in started:
            server.end(signal.SIGKILL)
