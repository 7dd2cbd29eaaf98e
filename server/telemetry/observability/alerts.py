"""Alerts: what somebody has to look at, and what to do then."""

from __future__ import annotations

from typing import Any, NamedTuple

from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.observability.query import (
    JOB,
    TARGETS,
    UP,
    by,
    rate,
    select,
    series,
)
from nextbest.server.telemetry.observability.rules import BURN_RATE, LEVEL
from nextbest.server.telemetry.slo.burn import ALERTS, BAD_LEAST
from nextbest.server.telemetry.slo.burn import Alert as Burn


class Alert(NamedTuple):
    """One alert; `held` is how long it has to hold before it fires."""

    name: str
    severity: str
    query: str
    held: str
    summary: str
    advice: str

    def rule(self) -> dict[str, Any]:
        """As Prometheus' rules have it."""
        return {
            "alert": self.name,
            "expr": self.query,
            "for": self.held,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.advice},
        }


def alerts() -> list[Alert]:
    """All of them, those about objectives first."""
    return [*(_burns(one) for one in ALERTS), *_log(), *_snapshots(), *_serving(), *_telemetry()]


def _burns(burn: Burn) -> Alert:
    calls, good = (
        by(LEVEL, f"increase({select(metric)}[{burn.short}])")
        for metric in (catalogue.SLO_CALLS, catalogue.SLO_GOOD_CALLS)
    )
    bad = f"({calls} - {good})"
    long, short = f"{BURN_RATE}{burn.long}", f"{BURN_RATE}{burn.short}"
    return Alert(
        f"NextbestBudgetBurn{burn.long}",
        burn.severity,
        f"{long} > {burn.rate:g} and {short} > {burn.rate:g} and {bad} >= {BAD_LEAST}",
        "0s",
        "{{ $labels.rpc_method }} uses its error budget up {{ $value | humanize }} times too fast.",
        f"Over {burn.long} and still over {burn.short}. `nextbest top` says which step is slow and "
        "what fails; `nextbest trace` shows single slow calls.",
    )


def _log() -> list[Alert]:
    following = select(catalogue.LOG_STATE, 'state="following"')
    return [
        Alert(
            "NextbestLogNotFollowed",
            "page",
            f"{following} == 0",
            "1m",
            "{{ $labels.instance }} does not follow its log.",
            "Decisions go on and grow stale, writes are refused. `nextbest log status` says why.",
        ),
        Alert(
            "NextbestLogBehind",
            "ticket",
            f"{series(catalogue.LOG_STALENESS)} > 10",
            "2m",
            "{{ $labels.instance }} saw the log's end {{ $value | humanizeDuration }} ago.",
            "It applies more slowly than others append, or Redis answers slowly.",
        ),
        Alert(
            "NextbestLogDiverged",
            "ticket",
            f"increase({series(catalogue.LOG_DIVERGENCES)}[10m]) > 0",
            "0s",
            "{{ $labels.instance }} had applied a tail of the log that a failover lost.",
            "It brings its own mutations back by itself; `nextbest log status` lists what could "
            "not be brought back. Writes at REPLICATED are never among them.",
        ),
        Alert(
            "NextbestDeadLetters",
            "ticket",
            f"increase({series(catalogue.LOG_DEAD_LETTERS)}[10m]) > 0",
            "0s",
            "{{ $labels.instance }} met entries of the log that it cannot read.",
            "A newer version writes what this one cannot read, or an entry is damaged: "
            "`nextbest log verify`.",
        ),
    ]


def _snapshots() -> list[Alert]:
    age, began = series(catalogue.SNAPSHOT_AGE), series(catalogue.PROCESS_START)
    never = f"time() - {began} > 3600 unless on (job, instance) {age}"
    return [
        Alert(
            "NextbestSnapshotOld",
            "ticket",
            f"{age} > 3600",
            "5m",
            "{{ $labels.instance }} took its last snapshot {{ $value | humanizeDuration }} ago.",
            "A restart reads all of the log since; look for `snapshot` in the server's log.",
        ),
        Alert(
            "NextbestSnapshotNever",
            "ticket",
            f"({never}) and on (job, instance) {series(catalogue.LOG_STATE)}",
            "5m",
            "{{ $labels.instance }} has run for an hour with a log and without a snapshot.",
            "Its folder may be full or read-only; look for `snapshot` in the server's log.",
        ),
    ]


def _serving() -> list[Alert]:
    shed = by(("job", "instance"), rate(catalogue.SHED_CALLS, "5m"))
    calls = by(("job", "instance"), rate(catalogue.CALL_DURATION, "5m", end="_count"))
    return [
        Alert(
            "NextbestDown",
            "page",
            f'{UP.name}{{{JOB}="{TARGETS}"}} == 0',
            "1m",
            "{{ $labels.instance }} cannot be scraped.",
            "It does not run, hangs, or is out of reach: no other alert knows of it. Look at its "
            "process and its log; GET /livez.",
        ),
        Alert(
            "NextbestNotReady",
            "page",
            f"{series(catalogue.READY)} == 0",
            "2m",
            "{{ $labels.instance }} is not ready.",
            "It starts, stops, or the log is too stale: GET /readyz?verbose.",
        ),
        Alert(
            "NextbestSheds",
            "page",
            f"{shed} / {calls} > 0.01",
            "2m",
            "{{ $labels.instance }} refuses {{ $value | humanizePercentage }} of its calls.",
            "More calls come than it can serve: add nodes, or let placements degrade first "
            "(`degrade_to`).",
        ),
        Alert(
            "NextbestCrossingsLost",
            "ticket",
            f"increase({series(catalogue.CROSSINGS_LOST)}[10m]) > 0",
            "0s",
            "{{ $labels.instance }} did not tell that people crossed what triggers name.",
            "The log refuses writes (`nextbest log status`), the store is full or memory is used "
            "up: what counts these events is wrong for the people of those writes.",
        ),
        Alert(
            "NextbestPlaybookRefused",
            "ticket",
            f"{series(catalogue.PLAYBOOKS_REFUSED)} > 0",
            "5m",
            "{{ $labels.instance }} cannot hold a playbook that was published.",
            "It decides by the last one that it can: `nextbest generations` says why.",
        ),
        Alert(
            "NextbestBudgetRefused",
            "ticket",
            f"{series(catalogue.BUDGETS_REFUSED)} > 0",
            "5m",
            "{{ $labels.instance }} has {{ $value }} budgets of which nothing can be given.",
            "What they bound is not proposed: `nextbest budget` says why.",
        ),
    ]


def _telemetry() -> list[Alert]:
    where = ("job", "instance")
    spans = by(
        where,
        f"{rate(catalogue.KEPT_DROPPED, '10m')} + on (job, instance) group_left () "
        f"{by(where, rate(catalogue.SPANS_DROPPED, '10m'))}",
    )
    events = by(where, rate(catalogue.DECISION_EVENTS_DROPPED, "10m"))
    failed = select(catalogue.PUSHES, 'outcome="failed"')
    return [
        Alert(
            "NextbestTracesDropped",
            "ticket",
            f"{spans} > 0",
            "10m",
            "{{ $labels.instance }} loses {{ $value | humanize }} spans or calls a second.",
            "The receiver of traces is away or slow, or more is sampled than can be told.",
        ),
        Alert(
            "NextbestEventsDropped",
            "ticket",
            f"{events} > 0",
            "10m",
            "{{ $labels.instance }} loses {{ $value | humanize }} events of decisions a second.",
            "The receiver of events is away or slow, or more is sampled than can be told.",
        ),
        Alert(
            "NextbestPushFails",
            "ticket",
            f"increase({failed}[10m]) > 0",
            "10m",
            "{{ $labels.instance }} cannot send its metrics.",
            "The receiver of metrics is away or slow; /metrics has them still.",
        ),
        Alert(
            "NextbestTracesFail",
            "ticket",
            f"{by(where, f'increase({series(catalogue.SINK_FAILURES)}[10m])')} > 0",
            "0s",
            "{{ $labels.instance }} fails to tell of calls that are worth a trace.",
            "A fault of the server: look for `kept calls` in its log, and report it.",
        ),
    ]
