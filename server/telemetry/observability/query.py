"""Queries: PromQL made of the catalogue's metrics, so that none can name what is not served."""

from __future__ import annotations

from nextbest.server.telemetry.catalogue import Metric

# Prometheus' own, of each target that it scrapes.
UP = Metric("up", "gauge", "Whether the last scrape has succeeded.")
# What deploy/observability/prometheus.yml calls them.
TARGETS = "nextbest"
# Alerts and rules tell instances of one job apart by this; a scrape sets both.
JOB = "job"
INSTANCE = "instance"


def series(metric: Metric) -> str:
    """A counter's or a gauge's name in the exposition."""
    return metric.name + ("_total" if metric.kind == "counter" else "")


def select(metric: Metric, where: str = "", end: str = "") -> str:
    """Its series, by a selector without braces; `end` is a histogram's _bucket, _sum or _count."""
    return f"{metric.name}{end}{{{where}}}" if end else f"{series(metric)}{{{where}}}"


def rate(metric: Metric, window: str, where: str = "", end: str = "") -> str:
    """How fast a counter rises in a second."""
    return f"rate({select(metric, where, end)}[{window}])"


def by(labels: tuple[str, ...], query: str) -> str:
    """A sum that keeps those labels."""
    return f"sum by ({', '.join(labels)}) ({query})"
