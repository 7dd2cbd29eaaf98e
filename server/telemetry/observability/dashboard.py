"""The dashboard: rate, errors and duration, where the time goes, objectives, the log, decisions.

Grafana's JSON model (schema version 39, which Grafana 10.4 and later read).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.observability.query import by, rate, select

WIDTH, HEIGHT = 24, 8
WINDOW = "$__rate_interval"
HERE = 'job=~"$job", instance=~"$instance"'
CALLS = f'{HERE}, rpc_method=~"$method"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Target(NamedTuple):
    """A query and what its series are called."""

    query: str
    legend: str


class Panel(NamedTuple):
    """A panel; `unit` is one of Grafana's, `kind` a visualisation of it."""

    title: str
    targets: Sequence[Target]
    unit: str = "short"
    kind: str = "timeseries"
    help: str = ""


def rows() -> dict[str, list[Panel]]:
    """The panels, by the row that they stand in."""
    return {
        "Calls": [_rate(), _errors(), _duration(), _quantiles(), _steps(), _connections()],
        "Objectives": [_budget(), _burn(), _overload(), _shed()],
        "Decisions": [_actions(), _fates(), _degraded(), _fallbacks()],
        "The log": [_staleness(), _lag(), _appends(), _refused(), _snapshots(), _epochs()],
        "The process": [_memory(), _store(), _loop(), _traces()],
    }


def dashboard() -> dict[str, Any]:
    """Grafana's model of it."""
    return {
        "title": "nextbest",
        "uid": "nextbest",
        "schemaVersion": 39,
        "tags": ["nextbest"],
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "templating": {"list": list(_variables())},
        "panels": list(_placed()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "type": "datasource", "query": "prometheus"}
    build = select(catalogue.BUILD)
    yield _variable("job", f"label_values({build}, job)")
    yield _variable("instance", f"label_values({select(catalogue.BUILD, HERE[:13])}, instance)")
    calls = select(catalogue.CALL_DURATION, HERE, "_count")
    yield _variable("method", f"label_values({calls}, rpc_method)")


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Rows under each other, two panels side by side."""
    top = number = 0
    for title, panels in rows().items():
        number += 1
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}
        top += 1
        for at, panel in enumerate(panels):
            number += 1
            place = {"x": at % 2 * WIDTH // 2, "y": top + at // 2 * HEIGHT, "w": 12, "h": HEIGHT}
            yield {"id": number, "gridPos": place, **_panel(panel)}
        top += (len(panels) + 1) // 2 * HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    heatmap = panel.kind == "heatmap"
    return {
        "title": panel.title,
        "description": panel.help,
        "type": panel.kind,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"calculate": False, "exemplars": {"color": "orange"}} if heatmap else {},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "expr": one.query,
                "legendFormat": one.legend,
                "exemplar": heatmap,
                "format": "heatmap" if heatmap else "time_series",
            }
            for number, one in enumerate(panel.targets)
        ],
    }


def _rate() -> Panel:
    query = by(("rpc_method", "lane"), rate(catalogue.CALL_DURATION, WINDOW, CALLS, "_count"))
    return Panel("Calls", [Target(query, "{{rpc_method}} {{lane}}")], "reqps")


def _errors() -> Panel:
    where = f'{CALLS}, rpc_response_status_code!="OK"'
    labels = ("rpc_method", "rpc_response_status_code")
    query = by(labels, rate(catalogue.CALL_DURATION, WINDOW, where, "_count"))
    # Zero where nothing has failed yet.
    none = f"{by(('rpc_method',), rate(catalogue.CALL_DURATION, WINDOW, CALLS, '_count'))} * 0"
    legend = "{{rpc_method}} {{rpc_response_status_code}}"
    return Panel("Errors", [Target(f"{query} or {none}", legend)], "reqps")


def _duration() -> Panel:
    query = by(("le",), rate(catalogue.CALL_DURATION, WINDOW, CALLS, "_bucket"))
    told = "From the read that brought a call's headers until its answer was given to the socket."
    return Panel("Duration", [Target(query, "{{le}}")], "s", "heatmap", told)


def _quantiles() -> Panel:
    buckets = by(("le", "rpc_method"), rate(catalogue.CALL_DURATION, WINDOW, CALLS, "_bucket"))
    return Panel(
        "Latency",
        [
            Target(f"histogram_quantile({share}, {buckets})", f"{{{{rpc_method}}}} {name}")
            for share, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
        ],
        "s",
    )


def _steps() -> Panel:
    spent = by(("step",), rate(catalogue.STEP_DURATION, WINDOW, CALLS))
    calls = f"sum ({rate(catalogue.CALL_DURATION, WINDOW, CALLS, '_count')})"
    return Panel("Time in a call, by step", [Target(f"{spent} / scalar({calls})", "{{step}}")], "s")


def _connections() -> Panel:
    return Panel(
        "Connections of the fast lane",
        [Target(select(catalogue.LANE_CONNECTIONS, HERE), "{{instance}}")],
    )


def _budget() -> Panel:
    query = select(catalogue.SLO_BUDGET_REMAINING, CALLS)
    return Panel(
        "Budget left",
        [Target(query, "{{instance}} {{rpc_method}}")],
        "percentunit",
        help="Over the objective's time, as far as the process has run; below 0 it is overspent.",
    )


def _burn() -> Panel:
    query = f"max by (rpc_method, window) ({select(catalogue.SLO_BURN_RATE, CALLS)})"
    return Panel("Burn rate", [Target(query, "{{rpc_method}} {{window}}")])


def _overload() -> Panel:
    return Panel(
        "Overload",
        [Target(select(catalogue.OVERLOAD_LEVEL, HERE), "{{instance}} {{lane}}")],
        help="0 whole answers, 1 without scoring, 2 fallbacks, 3 calls are refused.",
    )


def _shed() -> Panel:
    query = by(("lane", "reason"), rate(catalogue.SHED_CALLS, WINDOW, CALLS))
    return Panel("Calls refused for overload", [Target(query, "{{lane}} {{reason}}")], "reqps")


def _actions() -> Panel:
    query = f"topk(10, {by(('placement', 'action'), rate(catalogue.PROPOSITIONS, WINDOW, HERE))})"
    return Panel("Decisions by action", [Target(query, "{{placement}} {{action}}")], "cps")


def _fates() -> Panel:
    query = by(("fate",), rate(catalogue.CANDIDATES, WINDOW, f'{HERE}, fate!="proposed"'))
    return Panel("Why candidates were not proposed", [Target(query, "{{fate}}")], "cps")


def _degraded() -> Panel:
    query = by(("kind",), rate(catalogue.DEGRADED, WINDOW, HERE))
    return Panel("Degraded decisions", [Target(query, "{{kind}}")], "cps")


def _fallbacks() -> Panel:
    query = by(("placement",), rate(catalogue.FALLBACKS, WINDOW, HERE))
    return Panel("Fallbacks", [Target(query, "{{placement}}")], "cps")


def _staleness() -> Panel:
    query = select(catalogue.LOG_STALENESS, HERE)
    return Panel("Since the log's end was seen", [Target(query, "{{instance}}")], "s")


def _lag() -> Panel:
    return Panel(
        "Entries behind, and mutations ahead",
        [
            Target(select(catalogue.LOG_LAG, HERE), "{{instance}} behind"),
            Target(select(catalogue.LOG_AHEAD, HERE), "{{instance}} ahead"),
        ],
    )


def _appends() -> Panel:
    query = by(("queue", "outcome"), rate(catalogue.LOG_APPENDS, WINDOW, HERE))
    return Panel("Appends", [Target(query, "{{queue}} {{outcome}}")], "cps")


def _refused() -> Panel:
    query = by(("reason",), rate(catalogue.LOG_WRITES_REFUSED, WINDOW, HERE))
    return Panel("Writes refused", [Target(query, "{{reason}}")], "cps")


def _snapshots() -> Panel:
    query = select(catalogue.SNAPSHOT_AGE, HERE)
    return Panel("Age of the newest snapshot", [Target(query, "{{instance}}")], "s")


def _epochs() -> Panel:
    return Panel(
        "Epochs and divergences",
        [
            Target(f"increase({select(catalogue.LOG_EPOCH_CHANGES, HERE)}[5m])", "epochs"),
            Target(f"increase({select(catalogue.LOG_DIVERGENCES, HERE)}[5m])", "divergences"),
        ],
    )


def _memory() -> Panel:
    query = select(catalogue.PROCESS_RESIDENT, HERE)
    return Panel("Memory", [Target(query, "{{instance}}")], "bytes")


def _store() -> Panel:
    return Panel(
        "Identities and events remembered",
        [
            Target(select(catalogue.PROFILES, HERE), "{{instance}} identities"),
            Target(select(catalogue.EVENTS_REMEMBERED, HERE), "{{instance}} events"),
        ],
    )


def _loop() -> Panel:
    lag = by(("le",), rate(catalogue.LOOP_LAG, WINDOW, HERE, "_bucket"))
    pause = by(("le",), rate(catalogue.GC_PAUSE, WINDOW, HERE, "_bucket"))
    return Panel(
        "Event loop and collector, p99",
        [
            Target(f"histogram_quantile(0.99, {lag})", "loop lag"),
            Target(f"histogram_quantile(0.99, {pause})", "collector"),
        ],
        "s",
    )


def _traces() -> Panel:
    return Panel(
        "Traces waiting and lost",
        [
            Target(select(catalogue.KEPT_WAITING, HERE), "{{instance}} waiting"),
            Target(rate(catalogue.KEPT_DROPPED, WINDOW, HERE), "{{instance}} ring full"),
            Target(rate(catalogue.KEPT_SKIPPED, WINDOW, HERE), "{{instance}} shed, skipped"),
            Target(by(("reason",), rate(catalogue.SPANS_DROPPED, WINDOW, HERE)), "{{reason}}"),
        ],
    )
