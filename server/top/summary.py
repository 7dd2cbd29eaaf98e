"""Summaries: what is shown of an interval of all nodes, as plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nextbest.server.telemetry.methods import short_name
from nextbest.server.top.interval import Interval, quantile, summed
from nextbest.server.top.look import Labels

CALLS = "rpc_server_call_duration_seconds"
STEPS = "nextbest_step_duration_seconds"
PROPOSITIONS = "nextbest_propositions"
CANDIDATES = "nextbest_candidates"
DEGRADED = "nextbest_decisions_degraded"
SHED = "nextbest_shed_calls"
LEVEL = "nextbest_overload_level"
# What becomes of a candidate that qualified: no reason to drop it.
KEPT_FATES = ("proposed",)
ROWS = 8
# Of the methods' latencies.
SHARES = {"p50_s": 0.5, "p99_s": 0.99, "p999_s": 0.999}


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node; nothing but `error` where it did not answer.  Rates are of a second."""

    address: str
    error: str = ""
    ready: bool = False
    generation: int = 0
    position: str = ""
    lag_entries: float | None = None
    staleness_s: float = 0.0
    calls: float = 0.0
    failed: float = 0.0
    level: float | None = None


@dataclass(frozen=True, slots=True)
class CallRow:
    """Calls of a method and a lane, of all nodes."""

    method: str
    lane: str
    rate: float
    failed: float
    p50_s: float | None
    p99_s: float | None
    p999_s: float | None


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step: by method, its mean time in a call, in seconds."""

    step: str
    mean_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SloRow:
    """How an objective stands on a node."""

    address: str
    method: str
    objective: float
    threshold_s: float
    budget_remaining: float
    burn_rates: Mapping[str, float]
    due: Sequence[str]


@dataclass(frozen=True, slots=True)
class CountRow:
    """How often something happened in a second, of all nodes; `names` say what."""

    names: Labels
    rate: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One interval of all nodes."""

    nodes: Sequence[NodeRow]
    calls: Sequence[CallRow] = ()
    steps: Sequence[StepRow] = ()
    slos: Sequence[SloRow] = ()
    actions: Sequence[CountRow] = ()
    drops: Sequence[CountRow] = ()
    degraded: Sequence[CountRow] = ()
    shed: Sequence[CountRow] = ()
    # Kinds of rows that were cut to their first ones, and how many there are.
    cut: Mapping[str, int] = field(default_factory=dict)


def summary_of(intervals: Mapping[str, Interval], errors: Mapping[str, str]) -> Summary:
    """What nodes did, by their addresses; `errors` are of those that did not answer."""
    nodes = [_node(*one) for one in intervals.items()]
    nodes += [NodeRow(address, error) for address, error in errors.items()]
    both = list(intervals.values())
    counts = {
        "actions": _counts(both, PROPOSITIONS),
        "drops": [r for r in _counts(both, CANDIDATES) if r.names[-1] not in KEPT_FATES],
        "degraded": _counts(both, DEGRADED),
        "shed": _counts(both, SHED),
    }
    return Summary(
        nodes,
        _calls(both),
        _steps(both),
        [row for address, one in intervals.items() for row in _slos(address, one)],
        **{name: rows[:ROWS] for name, rows in counts.items()},
        cut={name: len(rows) for name, rows in counts.items() if len(rows) > ROWS},
    )


def _node(address: str, one: Interval) -> NodeRow:
    calls = one.counted(CALLS)
    epoch, sequence = (
        one.gauge(f"nextbest_log_position_{part}") or 0 for part in ("epoch", "sequence")
    )
    levels = one.after.numbers.get(LEVEL, {})
    return NodeRow(
        address,
        ready=bool(one.gauge("nextbest_ready")),
        generation=int(one.gauge("nextbest_generation") or 0),
        position=f"{epoch:.0f}-{sequence:.0f}",
        lag_entries=one.gauge("nextbest_log_lag_entries"),
        staleness_s=one.gauge("nextbest_log_staleness_seconds") or 0.0,
        calls=sum(sum(c.buckets) for c in calls.values()) / one.seconds,
        failed=sum(sum(c.buckets) for k, c in calls.items() if k[2] != "OK") / one.seconds,
        level=max(levels.values()) if levels else None,
    )


def _calls(intervals: Sequence[Interval]) -> list[CallRow]:
    by_method = defaultdict(list)
    for one in intervals:
        for (_, method, code, lane), counted in one.counted(CALLS).items():
            by_method[method, lane].append((one, code, counted))
    return [
        CallRow(
            short_name(method),
            lane,
            sum(sum(c.buckets) / one.seconds for one, _, c in found),
            sum(sum(c.buckets) / one.seconds for one, code, c in found if code != "OK"),
            **_quantiles(*summed((one.after.bounds[CALLS], c.buckets) for one, _, c in found)),
        )
        for (method, lane), found in sorted(by_method.items())
    ]


def _quantiles(bounds: Sequence[float], buckets: Sequence[int]) -> dict[str, float | None]:
    return {name: quantile(bounds, buckets, share) for name, share in SHARES.items()}


def _steps(intervals: Sequence[Interval]) -> list[StepRow]:
    """In the order of the core's; a mean is of the calls that ended in the interval."""
    spent: dict[str, dict[str, float]] = {}
    calls: dict[str, float] = defaultdict(float)
    for one in intervals:
        for (_, method, _, _), counted in one.counted(CALLS).items():
            calls[short_name(method)] += sum(counted.buckets) / one.seconds
        for (method, step), rate in one.rates(STEPS).items():
            of = spent.setdefault(step, {})
            of[short_name(method)] = of.get(short_name(method), 0.0) + rate
    return [
        StepRow(step, {m: rate / calls[m] for m, rate in methods.items() if calls[m]})
        for step, methods in spent.items()
    ]


def _slos(address: str, one: Interval) -> list[SloRow]:
    numbers = one.after.numbers
    burning = numbers.get("nextbest_slo_burning", {})
    rates = numbers.get("nextbest_slo_burn_rate", {})
    return [
        SloRow(
            address,
            short_name(method),
            objective,
            one.gauge("nextbest_slo_threshold_seconds", (method,)) or 0.0,
            one.gauge("nextbest_slo_budget_remaining_ratio", (method,)) or 0.0,
            {window: rate for (of, window), rate in rates.items() if of == method},
            [severity for (of, severity), on in burning.items() if of == method and on],
        )
        for (method,), objective in numbers.get("nextbest_slo_objective_ratio", {}).items()
    ]


def _counts(intervals: Iterable[Interval], name: str) -> list[CountRow]:
    """The most frequent first."""
    rates: dict[Labels, float] = defaultdict(float)
    for one in intervals:
        for labels, rate in one.rates(name).items():
            rates[labels] += rate
    rows = [CountRow(labels, rate) for labels, rate in rates.items()]
    return sorted(rows, key=lambda row: (-row.rate, row.names))
