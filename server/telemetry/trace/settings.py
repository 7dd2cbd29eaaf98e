"""Settings of traces: the standard's OTEL_* variables, read before anything is begun.

What the exporters read themselves (endpoint, headers, timeout, TLS) is theirs alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nextbest.server.telemetry.trace.sampling import Sampling, sampling


class TraceSettings(NamedTuple):
    """What is traced, and where it goes."""

    sampling: Sampling


def read(environment: Mapping[str, str]) -> TraceSettings:
    """Raises ConfigError, which names the variable."""
    return TraceSettings(sampling(environment))
