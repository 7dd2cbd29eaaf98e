"""Settings of traces: the standard's OTEL_* variables, read before anything is begun.

What the exporters read themselves (headers, TLS, compression) is looked at by them.
"""

from __future__ import annotations

from typing import NamedTuple

from nextbest.server.telemetry.environment import GRPC, Environment, count, exporter, protocol
from nextbest.server.telemetry.trace.sampling import Sampling, sampling

SIGNAL = "TRACES"
# Why spans are lost.
LOSSES = ("queue_full", "export_failed", "rejected", "stopped")


class TraceSettings(NamedTuple):
    """What is traced, and where it goes.

    exporter: otlp, console, or none: nothing is exported then.
    queue_max: calls and spans that may wait.  batch_max: spans of one export.
    delay_s: how long they wait for more.
    """

    sampling: Sampling = Sampling(1.0, True)
    exporter: str = "none"
    protocol: str = GRPC
    queue_max: int = 2_048
    batch_max: int = 512
    delay_s: float = 5.0

    @property
    def exports(self) -> bool:
        """Whether spans go anywhere."""
        return self.exporter != "none"


def read(environment: Environment) -> TraceSettings:
    """What the variables say; raises ConfigError, which names the variable."""
    return TraceSettings(
        sampling(environment),
        exporter(environment, SIGNAL),
        protocol(environment, SIGNAL),
        count(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 2_048),
        count(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
        count(environment, "OTEL_BSP_SCHEDULE_DELAY", 5_000) / 1_000,
    )
