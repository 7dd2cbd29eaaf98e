"""What a monitoring system is configured with: it is current, valid, and finds what it asks for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from nextbest.client import Client
from nextbest.core import LANE_MISSING, lane_available
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.observability.alerts import alerts
from nextbest.server.telemetry.observability.dashboard import WINDOW, Target, rows
from nextbest.server.telemetry.observability.files import files
from nextbest.server.telemetry.observability.query import series
from nextbest.server.telemetry.observability.rules import recording_rules
from tests.lane.target import DECIDE, decide
from tests.server.telemetry.process import COMMAND, Server
from tests.server.telemetry.prometheus import Prometheus, needs_prometheus

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "observability"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool (Debian: prometheus)"
)
needs_lane = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


def test_the_files_are_current(tmp_path: Path) -> None:
    command = [*COMMAND, "schema", "--observability", str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [Path(line).name for line in shown.splitlines()] == list(files())
    for name in files():
        assert (tmp_path / name).read_text("utf-8") == (FOLDER / name).read_text("utf-8"), name


def queries() -> list[str]:
    """Every expression of the rules and the dashboard."""
    found = [rule["expr"] for rule in recording_rules()]
    found += [alert.query for alert in alerts()]
    return found + [target.query for _, target in targets()]


def targets() -> list[tuple[str, Target]]:
    return [(panel.title, one) for row in rows().values() for panel in row for one in panel.targets]


def test_no_query_names_a_metric_that_is_not_served() -> None:
    served = {
        series(metric) + end
        for metric in catalogue.METRICS
        for end in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
    }
    named = {name for query in queries() for name in re.findall(METRIC, query)}
    assert len(named) > 30
    assert named <= served


# A name that a label's value or a recording rule's name does not have.
METRIC = re.compile(r"(?<![\w:\"])(?:nextbest|rpc_server|process)_\w+(?=[{\[ )]|$)(?!:)")


def test_the_names_of_metrics_are_found_in_queries() -> None:
    query = 'sum by (rpc_method) (rate(nextbest_a_total{job="x"}[5m])) / nextbest_b > 0'
    assert set(METRIC.findall(query)) >= {"nextbest_a_total", "nextbest_b"}


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    tested = files()["rules_test.yml"]
    for alert in alerts():
        assert f"name: {alert.name}\n" in tested


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server that has met what the dashboard shows, and a Prometheus that has scraped it."""
    folder = tmp_path_factory.mktemp("watched")
    with Server(folder, "--data", str(folder / "data")) as server:
        target = server.http.removeprefix("http://")
        with Prometheus(folder, target, FOLDER / "rules.yml") as prometheus:
            prometheus.until("up == 1")
            for _ in range(3):
                meet(server)
                time.sleep(1.5)
            yield prometheus


def meet(server: Server) -> None:
    """Calls of both lanes, good and bad."""
    with Client(server.address) as client, grpc.insecure_channel(server.address) as channel:
        for number in range(20):
            client.decide(f"p{number}", ["home"])
            client.track(f"p{number}", "login")
            channel.unary_unary(DECIDE)(decide("home"), timeout=5)
        with suppress(grpc.RpcError):
            channel.unary_unary(DECIDE)(decide("nowhere"), timeout=5)
        client.take_snapshot()


@needs_lane
@needs_prometheus
def test_every_query_of_the_dashboard_has_data(watched: Prometheus) -> None:
    variables = {"$job": ".+", "$instance": ".+", "$method": ".+", WINDOW: "1m"}
    empty = []
    for title, target in targets():
        query = target.query
        for name, value in variables.items():
            query = query.replace(name, value)
        if not watched.query(query):
            empty.append((title, query))
    assert not empty


@needs_lane
@needs_prometheus
def test_the_rules_are_evaluated_and_nothing_alerts(watched: Prometheus) -> None:
    method = 'rpc_method="nextbest.v1.DecisionService/Decide"'
    watched.until(f"job_rpc_method:nextbest_slo_bad_calls:ratio_rate5m{{{method}}} >= 0")
    groups = watched.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(recording_rules()) + len(alerts())
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    # A loaded machine may miss an objective; nothing else is wrong here.
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert {name for name in firing if not name.startswith("NextbestBudgetBurn")} == set()


def test_the_dashboard_is_json_with_a_panel_for_each_query() -> None:
    found = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    asked = [one["expr"] for panel in found["panels"] for one in panel.get("targets", [])]
    assert asked == [target.query for _, target in targets()]
    numbers = [panel["id"] for panel in found["panels"]]
    assert len(set(numbers)) == len(numbers)
