"""Screens: a summary as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nextbest.server.command.console import table
from nextbest.server.command.units import STALENESS_MAX_MS, budget, percent, seconds
from nextbest.server.top.summary import CallRow, CountRow, NodeRow, SloRow, StepRow, Summary

NODES = ("node", "is", "gen#", "position#", "lag#", "stale#", "calls/s#", "failed/s#")
CALLS = ("method", "lane", "calls/s#", "failed/s#", "p50#", "p99#", "p99.9#")
SLOS = ("method", "objective#", "budget left#", "burn 5m#", "burn 1h#", "due")
# What overload's levels mean.
LEVELS = ("whole", "no scoring", "fallback", "refusing")


def screen(summary: Summary) -> Group:
    """All tables that have rows, under each other."""
    return Group(*_tables(summary))


def _tables(summary: Summary) -> Iterator[RenderableType]:
    yield table("nodes", NODES, map(_node, summary.nodes))
    if summary.calls:
        yield table("calls", CALLS, map(_call, summary.calls))
    elif any(not node.error for node in summary.nodes):
        yield Text("no calls in this interval")
    if summary.steps:
        yield _steps(summary.steps)
    if summary.slos:
        # One node's name would be the same in every row.
        of_many = len({row.address for row in summary.slos}) > 1
        columns = ("node", *SLOS) if of_many else SLOS
        cells = ((row.address, *_slo(row)) if of_many else _slo(row) for row in summary.slos)
        yield table("objectives", columns, cells)
    yield from _counts(summary, "actions", "proposed", ("placement", "action"))
    yield from _counts(summary, "drops", "not proposed", ("placement", "why"))
    yield from _counts(summary, "degraded", "degraded", ("kind",))
    yield from _counts(summary, "shed", "shed", ("method", "lane", "why"))


def _counts(
    summary: Summary, kind: str, title: str, columns: Sequence[str]
) -> Iterator[RenderableType]:
    rows: Sequence[CountRow] = getattr(summary, kind)
    if not rows:
        return
    more = f" (the first {len(rows)} of {summary.cut[kind]})" if kind in summary.cut else ""
    cells = ((*row.names, f"{row.rate:,.1f}") for row in rows)
    yield table(title + more, (*columns, "a second#"), cells)


def _node(row: NodeRow) -> tuple[str, ...]:
    if row.error:
        return (row.address, f"away: {row.error}", *("-" for _ in NODES[2:]))
    is_at = "ready" if row.ready else "not ready"
    if row.level:
        is_at += f", overload: {LEVELS[min(int(row.level), len(LEVELS) - 1)]}"
    return (
        row.address,
        is_at,
        str(row.generation),
        row.position,
        "-" if row.lag_entries is None else f"{row.lag_entries:,.0f}",
        "unknown" if row.staleness_s >= STALENESS_MAX_MS / 1_000 else seconds(row.staleness_s),
        f"{row.calls:,.0f}",
        f"{row.failed:,.1f}",
    )


def _call(row: CallRow) -> tuple[str, ...]:
    times = (row.p50_s, row.p99_s, row.p999_s)
    return (
        row.method,
        row.lane,
        f"{row.rate:,.1f}",
        f"{row.failed:,.1f}",
        *("-" if time is None else seconds(time) for time in times),
    )


def _steps(rows: Sequence[StepRow]) -> Table:
    methods = sorted({method for row in rows for method in row.mean_s})
    whole = {m: sum(row.mean_s.get(m, 0.0) for row in rows) for m in methods}
    cells = ((row.step, *(_share(row.mean_s.get(m), whole[m]) for m in methods)) for row in rows)
    return table("time in a call, by step", ("step", *(f"{m}#" for m in methods)), cells)


def _share(mean_s: float | None, whole_s: float) -> str:
    return "" if mean_s is None else f"{seconds(mean_s)} {mean_s / whole_s:4.0%}"


def _slo(row: SloRow) -> tuple[str, ...]:
    return (
        row.method,
        f"{percent(row.objective)} < {seconds(row.threshold_s)}",
        budget(row.budget_remaining),
        f"{row.burn_rates.get('5m', 0.0):.2f}",
        f"{row.burn_rates.get('1h', 0.0):.2f}",
        ", ".join(row.due) or "-",
    )
