"""The benchmark of telemetry's cost: its figures, and that its two builds are told apart."""

from __future__ import annotations

import json

from bench.limits import LIMITS, faults
from bench.telemetry import cost, loop, rate
from bench.telemetry.rate import Driven, Found


def test_the_rate_that_is_lost_is_of_pairs() -> None:
    ours = [Driven(97.0, 8.2), Driven(190.0, 8.4), Driven(99.0, 8.1)]
    bare = [Driven(100.0, 8.0), Driven(200.0, 8.0), Driven(100.0, 8.0)]
    figures = rate.figures(Found(ours, bare, 2, 10, {"telemetry_spans_dropped": 0.0}))
    assert round(figures["telemetry_rate_lost_percent_median"], 6) == 3.0
    assert round(figures["telemetry_lane_us_more"], 6) == 0.2


def test_a_limit_that_is_not_kept_is_named() -> None:
    limits = json.loads(LIMITS.read_text(encoding="utf-8"))
    figures = cost.figures({"unsampled": [310.0], "sampled": [900.0], "decide": [5_000.0]})
    ours = {name: limit for name, limit in limits.items() if "sampled" in name}
    assert len(ours) == 2
    assert faults(figures, ours) == ["telemetry_unsampled_us_median: 0.31, at most 0.3"]


def test_the_loop_keeps_what_is_sampled() -> None:
    made = loop.engine()
    request = loop.request()
    _, unsampled, few = loop.turn(made, request, 0.0, 1_000)
    _, sampled, all_of_them = loop.turn(made, request, 1.0, 1_000)
    # A busy machine may make some slower than their objective, which are kept too.
    assert few < 100
    assert all_of_them == 1_000
    assert unsampled == sampled
