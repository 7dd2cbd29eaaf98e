"""Settings of events: the standard's OTEL_* variables for logs.

What the exporters read themselves (headers, TLS, compression) is looked at by them.
"""

from __future__ import annotations

from typing import NamedTuple

from nextbest.server.telemetry.environment import GRPC, Environment, count, exporter, protocol

SIGNAL = "LOGS"
# Why events are lost.
LOSSES = ("queue_full", "export_failed", "stopped")


class EventSettings(NamedTuple):
    """Where events go.

    exporter: otlp, console, or none: there are no events then.
    queue_max: calls that may wait.  batch_max: calls of one export.
    delay_s: how long they wait for more.
    """

    exporter: str = "none"
    protocol: str = GRPC
    queue_max: int = 2_048
    batch_max: int = 512
    delay_s: float = 1.0

    @property
    def exports(self) -> bool:
        """Whether events go anywhere."""
        return self.exporter != "none"


def read(environment: Environment) -> EventSettings:
    """What the variables say; raises ConfigError, which names the variable."""
    return EventSettings(
        exporter(environment, SIGNAL),
        protocol(environment, SIGNAL),
        count(environment, "OTEL_BLRP_MAX_QUEUE_SIZE", 2_048),
        count(environment, "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 512),
        count(environment, "OTEL_BLRP_SCHEDULE_DELAY", 1_000) / 1_000,
    )
