"""Consents beyond the node that took them: the same state in any order, and replayed records."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from nextbest.core import Engine
from nextbest.server.playbook.grants import upsert_of
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.v1 import mutation_pb2
from tests.consent.people import (
    NOW_US,
    SECOND,
    answer,
    engine_of,
    plan_of,
    proposed,
    request,
    say,
    why,
)
from tests.record.people import BUFFER_BYTES, taken

STAMP = NOW_US // 1_000 << 16


def mutation(status: str, stamp: int, **more: int) -> bytes:
    """What a node appends of a consent."""
    plan = plan_of()
    said = request("ann", status, purpose="email_marketing", basis="consent", **more)
    return mutation_pb2.Mutation(
        stamp=stamp, playbook=plan.hash, attributes=upsert_of(said, plan, NOW_US)
    ).SerializeToString()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([("granted", 0), ("revoked", 0)], "revoked"),
        ([("granted", 0), ("denied", 0)], "denied"),
        ([("granted", 1), ("revoked", 0), ("denied", 0)], ""),
        ([("granted", 0), ("revoked", 1), ("granted", 1)], "revoked"),
    ],
    ids=range(4),
)
def test_nodes_end_alike_whatever_comes_first(said: list[tuple[str, int]], expected: str) -> None:
    mutations = [mutation(status, STAMP + later) for status, later in said]
    digests = set()
    for order in itertools.permutations(mutations):
        engine = engine_of()
        # Twice: a log may give an entry again.
        for entry in (*order, *order):
            engine.apply(entry)
        digests.add(engine.digest()[1])
        found = why(engine, now_us=NOW_US + SECOND).get("news", "")
        assert found == (f"consent email_marketing: {expected}" if expected else "")
    assert len(digests) == 1


def recording() -> Engine:
    """An engine that keeps records."""
    engine = engine_of()
    engine.record(1.0, BUFFER_BYTES)
    return engine


def test_a_decision_is_replayed_by_the_consents_that_it_read(tmp_path: Path) -> None:
    engine = recording()
    for number in range(60):
        who, now_us = f"u{number % 7}", NOW_US + number * SECOND
        status = ("granted", "revoked", "denied", "granted")[number % 4]
        purpose = ("email_marketing", "profiling")[number % 2]
        say(engine, who, status, now_us, purpose=purpose)
        if number % 5 == 0:
            closed = ("denied", "granted")[number % 2]
            say(engine, who, closed, now_us, channel="email", reason="bounced")
        for placement in ("page", "inbox"):
            answer(engine, who, placement, now_us, explain=number % 3 == 0)
    _, found = taken(engine)
    assert len(found) == 120
    plan = plan_of()
    done = list(replay(found, Playbooks(tmp_path, {plan.hash: plan})))
    assert [one for one in done if one.difference] == []
    assert len(done) == 120
    assert proposed(engine, "u0", now_us=NOW_US + 60 * SECOND)
