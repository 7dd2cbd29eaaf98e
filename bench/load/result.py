"""A run's figures, in ghz's field names, and our additions; everything else reads these."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from .errors import ResultError
from .machine import machine
from .run import Outcome
from .settings import Settings

Result = dict[str, Any]
Bucket = Sequence[int]  # start, width, count

# As Go writes gRPC's codes, which is what ghz's readers know.
STATUSES = (
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound"),
    *("AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted"),
    *("OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"),
)
PERCENTAGES = (10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100)
HISTOGRAM_MARKS = 11
LATE_SHARE_MAX = 0.01
SCHEMA = 1


def result(outcome: Outcome) -> Result:
    """The result of a run, as `--json` writes it; times in nanoseconds unless named otherwise."""
    generator, counts = outcome.generator, outcome.generator.counts()
    parts = generator.parts()
    buckets = merged([part["buckets"] for part in parts])
    calls = sum(part["calls"] for part in parts)
    span = max(counts["span_ns"], 1)
    rest, advice = validity(outcome.settings, counts, calls)
    return {
        "date": outcome.date,
        "endReason": "canceled" if outcome.interrupted else "normal",
        "options": options(outcome.settings),
        "count": calls,
        "total": span,
        **latencies(parts, buckets),
        "rps": calls / (span / 1e9),
        "statusCodeDistribution": {
            name: count for name, count in zip(STATUSES, generator.statuses(), strict=True) if count
        },
        "errorDistribution": errors(outcome),
        "latencyDistribution": distribution(buckets, PERCENTAGES),
        "histogram": histogram(buckets),
        "details": details(outcome),
        "schema": SCHEMA,
        "valid": not advice,
        "advice": advice,
        "late": rest,
        "gaps": outcome.gaps,
        "stolen": [{"cpu": cpu, "share": share} for cpu, share in outcome.stolen.items()],
        "connections": connections(outcome, counts),
        "parts": [part_of(*one) for one in zip(outcome.plan.names, parts, strict=True)],
        "intervals": intervals(outcome),
        "buckets": [list(bucket) for bucket in buckets],
        "machine": machine(),
    }


def validity(
    settings: Settings, counts: dict[str, int], calls: int
) -> tuple[dict[str, Any], list[str]]:
    """How late calls were sent, and what to do about it; no advice: the run is valid."""
    late, blocked = counts["late"], counts["late_blocked"]
    share = late / calls if calls else 0.0
    rest = {"count": late, "share": share, "noStream": blocked, "longest": counts["late_most_ns"]}
    advice = []
    if not calls:
        advice.append("no call was measured: raise --duration or lower --warmup")
    if share > LATE_SHARE_MAX and 2 * blocked > late:
        advice.append(
            "calls waited for a free stream: the servers were behind; lower --rate, or raise "
            "--connections or --streams if they can take more at once"
        )
    elif share > LATE_SHARE_MAX:
        lost = counts["gap_ns"] / max(counts["observed_ns"], 1)
        advice.append(
            f"the generator was behind, and its core lost {lost:.1%} of the time to something "
            "else: give it a core of its own with --cpu, stop what else runs, or lower --rate"
        )
    busy = 1 - counts["observed_ns"] / max(settings_span(settings, counts), 1)
    rest["busy"] = min(max(busy, 0.0), 1.0)
    return rest, advice


def settings_span(settings: Settings, counts: dict[str, int]) -> int:
    """How long the generator looped, in nanoseconds."""
    return int(counts["planned_ns"] + settings.warmup * 1e9)


def options(settings: Settings) -> dict[str, Any]:
    """The options, with ghz's names where ghz has them."""
    plain = asdict(settings)
    plain["requests"] = None if settings.requests is None else str(settings.requests)
    plain["to"] = list(settings.to)
    return {
        "call": plain["mix"] or "decide",
        "host": ",".join(settings.to),
        "insecure": True,
        "total": settings.calls,
        "concurrency": settings.connections * settings.streams_each,
        "connections": settings.connections,
        "rps": 0 if settings.closed else settings.rate,
        "load-schedule": "closed" if settings.closed else settings.schedule,
        "timeout": settings.deadline_ms * 1_000_000,
        "nextbest": plain,
    }


def merged(parts: Sequence[Sequence[Bucket]]) -> list[tuple[int, int, int]]:
    """The buckets of all parts, added up."""
    counts: dict[tuple[int, int], int] = {}
    for buckets in parts:
        for start, width, count in buckets:
            counts[start, width] = counts.get((start, width), 0) + count
    return [(start, width, counts[start, width]) for start, width in sorted(counts)]


def latencies(parts: Sequence[dict[str, Any]], buckets: Sequence[Bucket]) -> dict[str, int]:
    """The mean, the least and the most."""
    counted = [part for part in parts if part["latency_count"]]
    number = sum(bucket[2] for bucket in buckets)
    total = sum(part["latency_sum"] for part in counted)
    return {
        "average": round(total / number) if number else 0,
        "fastest": min((part["latency_least"] for part in counted), default=0),
        "slowest": max((part["latency_most"] for part in counted), default=0),
    }


def at(buckets: Sequence[Bucket], percentage: float) -> int:
    """The latency that this share of the calls did not exceed: the end of its bucket; 0 of none."""
    number = sum(bucket[2] for bucket in buckets)
    # The least rank that reaches the percentage; rounding must not carry it over the next.
    wanted = max(1, math.ceil(round(percentage * number / 100, 6)))
    seen = 0
    for start, width, count in buckets:
        seen += count
        if seen >= wanted:
            return start + width - 1
    return 0


def distribution(
    buckets: Sequence[Bucket], percentages: Sequence[float]
) -> list[dict[str, float | int]]:
    """ghz's latencyDistribution, further out."""
    return [{"percentage": one, "latency": at(buckets, one)} for one in percentages]


def histogram(buckets: Sequence[Bucket]) -> list[dict[str, float | int]]:
    """ghz's histogram: marks in seconds, evenly from the fastest to the slowest."""
    if not buckets:
        return []
    number = sum(bucket[2] for bucket in buckets)
    least, most = buckets[0][0], buckets[-1][0] + buckets[-1][1] - 1
    step = (most - least) / (HISTOGRAM_MARKS - 1)
    marks = [least + step * i for i in range(HISTOGRAM_MARKS)]
    counts = [0] * HISTOGRAM_MARKS
    place = 0
    for start, _width, count in buckets:
        while place < HISTOGRAM_MARKS - 1 and start > marks[place]:
            place += 1
        counts[place] += count
    return [
        {"mark": mark / 1e9, "count": count, "frequency": count / number}
        for mark, count in zip(marks, counts, strict=True)
    ]


def errors(outcome: Outcome) -> dict[str, int]:
    """ghz's errorDistribution: what was not OK, as Go's gRPC says it."""
    found: dict[str, int] = {}
    for status, raw, count in outcome.generator.errors():
        text = unquote_to_bytes(raw).decode(errors="replace")
        name = f"rpc error: code = {STATUSES[status]} desc = {text}"
        found[name] = found.get(name, 0) + count
    other = outcome.generator.counts()["errors_other"]
    return {**found, "other errors": other} if other else found


def details(outcome: Outcome) -> list[dict[str, Any]]:
    """ghz's details, of as many calls as `--details` says; `due` is since the start."""
    return [
        {"due": due, "latency": latency, "error": "" if status == 0 else STATUSES[status]}
        | {"status": STATUSES[status]}
        for due, latency, status in outcome.generator.details()
    ]


def connections(outcome: Outcome, counts: dict[str, int]) -> dict[str, int]:
    """What became of connections, and of calls because of them."""
    return {
        "wanted": outcome.settings.connections,
        "opened": counts["connects"],
        "goaway": counts["goaways"],
        "lost": counts["lost"],
        "retriedCalls": counts["retried"],
        "unsentCalls": counts["unsent"],
        "malformedAnswers": counts["malformed"],
    }


def part_of(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """One part of the mix."""
    good = part["calls"] - part["failed"]
    return {
        "name": name,
        "count": part["calls"],
        "failed": part["failed"],
        "average": round(part["latency_sum"] / part["latency_count"])
        if part["latency_count"]
        else 0,
        "latencyDistribution": distribution(part["buckets"], PERCENTAGES),
        "answerBytes": {
            "least": part["answer_least"],
            "average": round(part["answer_bytes"] / good) if good else 0,
            "most": part["answer_most"],
        },
    }


def intervals(outcome: Outcome) -> list[dict[str, int]]:
    """The run in slices, by when calls were due."""
    names = ("start", "count", "failed", "p50", "p90", "p99", "slowest")
    width = outcome.generator.interval_ns
    return [
        {**dict(zip(names, one, strict=True)), "width": width}
        for one in outcome.generator.intervals()
    ]


def percentile(found: Result, percentage: float) -> int:
    """A percentile of a result, in nanoseconds."""
    return at(found["buckets"], percentage)


def read(file: Path) -> Result:
    """A result that `--json` has written; raise ResultError."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(f"{file}: {error}") from None
    wanted = {"count", "total", "rps", "latencyDistribution", "statusCodeDistribution", "buckets"}
    if not isinstance(found, dict) or not wanted <= found.keys():
        raise ResultError(f"{file}: no result of `nextbest bench --json`")
    if found.get("schema") != SCHEMA:
        raise ResultError(f"{file}: schema: {found.get('schema')}, allowed: {SCHEMA}")
    return found
