"""Settings of the push: the standard's OTEL_* variables.

What the exporters read themselves (headers, TLS, compression) is looked at by them.
"""

from __future__ import annotations

from typing import NamedTuple

from nextbest.server.telemetry.environment import (
    GRPC,
    Environment,
    count,
    exporter,
    protocol,
    variables,
    word,
)

SIGNAL = "METRICS"
INTERVAL_MS = 60_000


class PushSettings(NamedTuple):
    """Where metrics go, and how often.

    exporter: otlp, console, or none: nothing is pushed then.
    """

    exporter: str = "none"
    protocol: str = GRPC
    interval_s: float = INTERVAL_MS / 1_000

    @property
    def pushes(self) -> bool:
        """Whether metrics go anywhere."""
        return self.exporter != "none"


def read(environment: Environment) -> PushSettings:
    """What the variables say; raises ConfigError, which names the variable."""
    # What is counted cannot be told as differences: a scrape and a push would share them.
    preference = variables(SIGNAL, "TEMPORALITY_PREFERENCE")[0]
    word(environment, (preference,), "cumulative", ("cumulative",))
    aggregation = variables(SIGNAL, "DEFAULT_HISTOGRAM_AGGREGATION")[0]
    buckets = "explicit_bucket_histogram"
    word(environment, (aggregation,), buckets, (buckets,))
    return PushSettings(
        exporter(environment, SIGNAL),
        protocol(environment, SIGNAL),
        count(environment, "OTEL_METRIC_EXPORT_INTERVAL", INTERVAL_MS) / 1_000,
    )
