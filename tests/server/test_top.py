"""`nextbest top`: what nodes did between two looks."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from bisect import bisect_left
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from nextbest.client import Client
from nextbest.server.command.units import STALENESS_MAX_MS
from nextbest.server.command.waiting import WAIT_VARIABLE
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.top import summary
from nextbest.server.top.interval import Interval, quantile
from nextbest.server.top.look import NOTHING, Counted, Look, look_of
from nextbest.server.top.screen import screen
from nextbest.server.top.summary import CALLS, NodeRow, Summary, summary_of
from tests.server.telemetry.process import COMMAND, Server

BOUNDS = bounds_s()
OK = ("grpc", "nextbest.v1.DecisionService/Decide", "OK", "fast")
FAILED = (*OK[:2], "UNAVAILABLE", "fast")


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 9.9), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_a_quantile_is_in_its_values_bucket(values: list[float], share: float) -> None:
    buckets = [0] * (len(BOUNDS) + 1)
    for value in values:
        buckets[bisect_left(BOUNDS, value)] += 1
    found = quantile(BOUNDS, buckets, share)
    assert found is not None
    # The smallest value that so many are within.
    exact = sorted(values)[max(-int(-share * len(values) // 1) - 1, 0)]
    assert bisect_left(BOUNDS, found) == bisect_left(BOUNDS, exact)


def test_quantiles_at_the_ends() -> None:
    assert quantile(BOUNDS, [0] * (len(BOUNDS) + 1), 0.5) is None
    assert quantile(BOUNDS, [0] * len(BOUNDS) + [7], 0.5) == BOUNDS[-1]


def look(clock_s: float, ok: int, failed: int = 0) -> Look:
    """So many calls so far, 10 us each."""
    at = bisect_left(BOUNDS, 1e-5)
    calls = {
        labels: Counted(tuple(n if i == at else 0 for i in range(len(BOUNDS) + 1)), n * 1e-5)
        for labels, n in ((OK, ok), (FAILED, failed))
    }
    return Look(clock_s, {}, {CALLS: calls}, {CALLS: BOUNDS})


def test_rates_are_of_the_interval() -> None:
    (node,) = summary_of({"a": Interval(look(10, 100, 5), look(12, 300, 15))}, {}).nodes
    assert (node.calls, node.failed) == (105, 5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Another process, whose counters are below and above the old one's; a clock that fell.
        (look(10, 1_000), look(12, 240)._replace(began=7.0)),
        (look(10, 100), look(12, 240)._replace(began=7.0)),
        (look(90_000, 100), look(12, 240)),
    ],
)
def test_a_restart_counts_from_its_start(before: Look, after: Look) -> None:
    (node,) = summary_of({"a": Interval(before, after)}, {}).nodes
    assert node.calls == 20


def test_a_node_that_has_not_seen_the_logs_end_and_refuses_says_so() -> None:
    staleness_s = STALENESS_MAX_MS / 1_000
    node = NodeRow("a", ready=True, staleness_s=staleness_s, level=3.0)
    console = Console(width=120, file=io.StringIO())
    console.print(screen(Summary(nodes=(node,))))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "ready, overload: refusing" in shown
    assert "unknown" in shown


def test_calls_of_several_nodes_are_added_up() -> None:
    both = {"a": Interval(look(0, 0), look(2, 20)), "b": Interval(look(5, 0), look(6, 30))}
    found = summary_of(both, {"c": "Unavailable"})
    (row,) = found.calls
    assert (row.method, row.lane, row.rate) == ("Decide", "fast", 40)
    assert row.p50_s is not None
    assert row.p50_s <= 1e-5
    assert [node.error for node in found.nodes] == ["", "", "Unavailable"]


def test_nodes_of_other_objectives_are_added_up_over_the_bounds_they_share() -> None:
    other = bounds_s([0.000_012])
    at = bisect_left(other, 1.1e-5)
    calls = {OK: Counted(tuple(40 if i == at else 0 for i in range(len(other) + 1)), 4.4e-4)}
    theirs = Look(6, {}, {CALLS: calls}, {CALLS: other})
    both = {"a": Interval(look(0, 0), look(2, 20)), "b": Interval(NOTHING, theirs)}
    (row,) = summary_of(both, {}).calls
    assert row.rate == pytest.approx(10 + 40 / 6)
    assert row.p99_s is not None
    assert 1e-5 < row.p99_s <= 1.5e-5


def test_every_name_is_a_metric_of_the_catalogue() -> None:
    names = {metric.name for metric in catalogue.METRICS}
    used = {
        value
        for value in vars(summary).values()
        if isinstance(value, str) and value.startswith(("nextbest_", "rpc_"))
    }
    assert len(used) > 4
    assert used <= names


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "top", "--once", "--interval", "0.5", *arguments]
    wide = {**os.environ, "COLUMNS": "140"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=wide)


def test_a_look_has_what_the_metrics_page_has(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Client(server.address) as client:
        client.decide("ann", ["home"])
        found = look_of(client.telemetry())
    told = {**found.numbers, **found.distributions}
    assert set(told) == {metric.name for metric in catalogue.METRICS}
    calls = found.distributions[CALLS]
    assert sum(sum(c.buckets) for labels, c in calls.items() if labels[1].endswith("/Decide")) == 1
    assert found.bounds[CALLS] == BOUNDS


@pytest.mark.parametrize("as_json", [True, False])
def test_nodes_are_watched_and_one_that_is_away_is_told(tmp_path: Path, as_json: bool) -> None:
    away = f"unix:{tmp_path}/nobody"
    with Server(tmp_path) as server, subprocess.Popen(_calling(server.address)) as calling:
        try:
            shown = top("--to", f"{server.address},{away}", *(["--json"] if as_json else []))
        finally:
            calling.terminate()
    assert shown.returncode == 0, shown.stderr
    if not as_json:
        for told in ("ready", "away: Unavailable", "Decide", "eligibility", "objectives", "p99.9"):
            assert told in shown.stdout
        return
    found = json.loads(shown.stdout)
    here, gone = found["nodes"]
    assert (here["ready"], here["error"], gone["error"]) == (True, "", "Unavailable")
    decide = next(row for row in found["calls"] if row["method"] == "Decide")
    assert decide["rate"] > 0
    assert 0 < decide["p50_s"] <= decide["p99_s"] <= decide["p999_s"]
    assert found["actions"][0]["names"][0] == "home"
    assert {row["method"] for row in found["slos"]} == {"Decide", "DecideBatch", "Track"}


def _calling(address: str) -> list[str]:
    """A process that asks for decisions until it is ended."""
    program = (
        "import sys, itertools\n"
        "from nextbest.client import Client\n"
        "with Client(sys.argv[1]) as client:\n"
        "    for number in itertools.count():\n"
        "        client.decide(f'p{number}', ['home'])\n"
    )
    return [sys.executable, "-c", program, address]


def test_nobody_there_is_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "0")
    shown = top("--to", f"unix:{tmp_path}/nobody")
    assert shown.returncode == 3
    assert "away: Unavailable" in shown.stdout
