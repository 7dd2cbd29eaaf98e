"""The benchmark of overload: its figures, what it reads of a server, and what is said when off."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.limits import LIMITS, faults
from bench.log.cores import CORE_GENERATOR
from bench.log.serving import serving
from bench.overload.__main__ import shown
from bench.overload.measure import FAST, Found, Run, Target, figures, looked_at
from bench.overload.pages import answered, level
from bench.telemetry.agreement import pages_of
from nextbest.core import LANE_MISSING, lane_available

KEPT = Run(30_000.0, 18_000.0, 12, 15.0, 1.5, 0.8)


def off(found: Found) -> list[str]:
    limits = json.loads(LIMITS.read_text(encoding="utf-8"))
    ours = {name: limit for name, limit in limits.items() if name.startswith("overload_")}
    assert len(ours) == 8
    return faults(figures(found), ours)


def found(**changed: float) -> Found:
    queue = KEPT._replace(asked=0.0, refused=0)
    three = KEPT._replace(**changed)  # type: ignore[arg-type]
    many = {"1.5x_many": KEPT, "3x_many": KEPT}
    return Found(20_000.0, {"256 calls": queue, "1.5x": KEPT, "3x": three, **many})


def test_a_limit_that_is_missed_is_named() -> None:
    assert off(found()) == []
    assert off(found(rate=13_000.0)) == ["overload_goodput_3x: 0.65, at least 0.7"]
    assert off(found(p99_ms=30.0)) == ["overload_p99_ms: 30, at most 25"]
    assert off(found(recovery_s=2.5)) == ["overload_recovery_s: 2.5, at most 2"]


def test_the_table_has_a_line_of_each_load() -> None:
    lines = shown({"cpu": "any"}, found()).splitlines()
    [line] = [one for one in lines if one.startswith("3x ")]
    assert line.split()[1:5] == ["30,000", "18,000", "90.0%", "12"]


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) <= CORE_GENERATOR, reason="two cores are needed")
def test_a_run_agrees_with_what_the_server_counts(tmp_path: Path) -> None:
    # Off: on a busy machine too, every call is served.
    arguments = ("--set", "overload.enabled=false", "--set", "telemetry.address=127.0.0.1:0")
    with serving(tmp_path, *arguments) as server:
        pages = pages_of(tmp_path)
        target = Target(FAST, server.lane, pages, server.pid)
        assert looked_at(target, 0.3, closed=True, streams=1, connections=1).refused == 0
        before = sum(answered(pages, FAST).calls)
        one = looked_at(target, 0.3, closed=True, streams=1, connections=1)
        assert level(pages, FAST) == 0
        counted = sum(answered(pages, FAST).calls) - before
    # More: the call that the end cut off, and those that looked whether it is whole again.
    assert round(one.rate * 0.3) <= counted <= round(one.rate * 0.3) + 100
    assert one.p99_ms > 0
