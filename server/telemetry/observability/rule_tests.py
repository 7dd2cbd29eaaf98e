"""Tests of the rules, for promtool: that each alert fires, and that none does in quiet times."""

from __future__ import annotations

from typing import Any

from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.catalogue import Metric
from nextbest.server.telemetry.observability.alerts import Alert, alerts
from nextbest.server.telemetry.observability.query import TARGETS, UP, select
from nextbest.server.telemetry.slo.burn import ALERTS

NODE = "n1:9600"
METHOD = "nextbest.v1.DecisionService/Decide"
OBJECTIVE = 0.999
# A minute's calls.
CALLS = 60_000
# When all is looked at: a rate over three days is of what there is of them.
AT_MIN = 7 * 60
EVERY_MIN = 1

# What promtool takes as the values of a series.
Series = dict[Metric, dict[str, str]]


def rule_tests() -> dict[str, Any]:
    """One quiet time, and one in which each alert fires."""
    return {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{EVERY_MIN}m",
        "tests": [_quiet(), *(_fires(one) for one in alerts())],
    }


def _quiet() -> dict[str, Any]:
    return {
        "interval": f"{EVERY_MIN}m",
        "name": "quiet",
        "input_series": _input(_usual()),
        "alert_rule_test": [
            {"eval_time": f"{AT_MIN}m", "alertname": one.name, "exp_alerts": []} for one in alerts()
        ],
    }


def _fires(alert: Alert) -> dict[str, Any]:
    # promtool compares labels and annotations alike, and the latter have values in them: that the
    # alert fires is asked of its own series.
    return {
        "interval": f"{EVERY_MIN}m",
        "name": alert.name,
        "input_series": _input({**_usual(), **_unusual()[alert.name]}),
        "promql_expr_test": [
            {
                "expr": "count by (alertname, alertstate, severity) "
                f'(ALERTS{{alertname="{alert.name}"}})',
                "eval_time": f"{AT_MIN}m",
                "exp_samples": [
                    {
                        "labels": f'{{alertname="{alert.name}", alertstate="firing", '
                        f'severity="{alert.severity}"}}',
                        "value": 1,
                    }
                ],
            }
        ],
    }


def _input(given: Series) -> list[dict[str, str]]:
    found = []
    for metric, samples in given.items():
        for labels, values in samples.items():
            more = f", {labels}" if labels else ""
            where = f'job="{TARGETS}", instance="{NODE}"{more}'
            end = "_count" if metric.kind == "histogram" else ""
            found.append({"series": select(metric, where, end), "values": values})
    return found


def _steady(value: float) -> str:
    return f"{value:g}x{AT_MIN // EVERY_MIN}"


def _rising(a_minute: float) -> str:
    return f"0+{a_minute * EVERY_MIN:g}x{AT_MIN // EVERY_MIN}"


def _usual() -> Series:
    method = f'rpc_method="{METHOD}"'
    return {
        catalogue.SLO_OBJECTIVE: {method: _steady(OBJECTIVE)},
        catalogue.SLO_CALLS: {method: _rising(CALLS)},
        catalogue.SLO_GOOD_CALLS: {method: _rising(CALLS * (1 - (1 - OBJECTIVE) / 2))},
        catalogue.CALL_DURATION: {method: _rising(CALLS)},
        catalogue.SHED_CALLS: {f'{method}, lane="fast", reason="queue_delay"': _steady(3)},
        catalogue.LOG_STATE: {'state="following"': _steady(1), 'state="away"': _steady(0)},
        catalogue.LOG_STALENESS: {"": _steady(0.01)},
        catalogue.LOG_DIVERGENCES: {"": _steady(2)},
        catalogue.LOG_DEAD_LETTERS: {"": _steady(0)},
        catalogue.SNAPSHOT_AGE: {"": _steady(120)},
        catalogue.PROCESS_START: {"": _steady(0)},
        UP: {"": _steady(1)},
        catalogue.READY: {"": _steady(1)},
        catalogue.CROSSINGS_LOST: {"": _steady(5)},
        catalogue.PLAYBOOKS_REFUSED: {"": _steady(0)},
        catalogue.BUDGETS_REFUSED: {"": _steady(0)},
        catalogue.KEPT_DROPPED: {"": _steady(7)},
        catalogue.SPANS_DROPPED: {'reason="queue_full"': _steady(9)},
        catalogue.DECISION_EVENTS_DROPPED: {'reason="queue_full"': _steady(4)},
        catalogue.PUSHES: {'outcome="sent"': _rising(4), 'outcome="failed"': _steady(1)},
        catalogue.SINK_FAILURES: {'sink="captured"': _steady(1)},
    }


def _unusual() -> dict[str, Series]:
    """By alert, what makes it fire."""
    method = f'rpc_method="{METHOD}"'
    # Just over the rate, for ever.
    burns: dict[str, Series] = {
        f"NextbestBudgetBurn{one.long}": {
            catalogue.SLO_GOOD_CALLS: {
                method: _rising(CALLS * (1 - one.rate * 1.05 * (1 - OBJECTIVE)))
            }
        }
        for one in ALERTS
    }
    return {
        **burns,
        "NextbestLogNotFollowed": {
            catalogue.LOG_STATE: {'state="following"': _steady(0), 'state="away"': _steady(1)}
        },
        "NextbestLogBehind": {catalogue.LOG_STALENESS: {"": _steady(11)}},
        "NextbestLogDiverged": {catalogue.LOG_DIVERGENCES: {"": _rising(1)}},
        "NextbestDeadLetters": {catalogue.LOG_DEAD_LETTERS: {"": _rising(1)}},
        "NextbestSnapshotOld": {catalogue.SNAPSHOT_AGE: {"": _steady(3_601)}},
        "NextbestSnapshotNever": {catalogue.SNAPSHOT_AGE: {}},
        # Nothing else is there of a node that is down.
        "NextbestDown": {UP: {"": _steady(0)}, catalogue.READY: {}},
        "NextbestNotReady": {catalogue.READY: {"": _steady(0)}},
        "NextbestSheds": {
            catalogue.SHED_CALLS: {
                f'{method}, lane="fast", reason="queue_delay"': _rising(CALLS / 50)
            }
        },
        "NextbestPlaybookRefused": {catalogue.PLAYBOOKS_REFUSED: {"": _steady(1)}},
        "NextbestBudgetRefused": {catalogue.BUDGETS_REFUSED: {"": _steady(1)}},
        "NextbestCrossingsLost": {catalogue.CROSSINGS_LOST: {"": _rising(1)}},
        "NextbestTracesDropped": {catalogue.KEPT_DROPPED: {"": _rising(60)}},
        "NextbestEventsDropped": {
            catalogue.DECISION_EVENTS_DROPPED: {'reason="export_failed"': _rising(60)}
        },
        "NextbestPushFails": {catalogue.PUSHES: {'outcome="failed"': _rising(4)}},
        "NextbestTracesFail": {catalogue.SINK_FAILURES: {'sink="captured"': _rising(1)}},
    }
