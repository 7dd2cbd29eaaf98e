"""Settings of traces: the standard's OTEL_* variables, read before anything is begun.

What the exporters read themselves (headers, TLS, compression) is looked at by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.trace.sampling import Sampling, sampling

GRPC, HTTP = "grpc", "http/protobuf"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
EXPORTERS = ("otlp", "console", "none")
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


def read(environment: Mapping[str, str]) -> TraceSettings:
    """What the variables say; raises ConfigError, which names the variable."""
    found = TraceSettings(
        sampling(environment),
        _exporter(environment),
        _word(environment, PROTOCOLS, GRPC, (GRPC, HTTP)),
        _count(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 2_048),
        _count(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
        _count(environment, "OTEL_BSP_SCHEDULE_DELAY", 5_000) / 1_000,
    )
    for name in TIMEOUTS:
        _seconds(environment, name)
    for name in ENDPOINTS:
        _endpoint(environment, name, found.protocol)
    return found


def _exporter(environment: Mapping[str, str]) -> str:
    """None without an endpoint: a server without a collector has nobody to complain of."""
    disabled = _word(environment, ("OTEL_SDK_DISABLED",), "false", ("true", "false"))
    name = _word(environment, ("OTEL_TRACES_EXPORTER",), "otlp", EXPORTERS)
    if disabled == "true" or (name == "otlp" and not any(map(environment.get, ENDPOINTS))):
        return "none"
    return name


def _word(
    environment: Mapping[str, str], names: tuple[str, ...], default: str, allowed: tuple[str, ...]
) -> str:
    """The first variable that is set, as an empty one is not."""
    for name in names:
        if text := environment.get(name, "").strip().lower():
            if text not in allowed:
                raise ConfigError([f"{name}: {text!r}, allowed: {', '.join(allowed)}"])
            return text
    return default


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip() or str(default)
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:10]) <= 1_000_000:
        raise ConfigError([f"{name}: {text!r}, allowed: 1 to 1000000"])
    return int(text)


def _seconds(environment: Mapping[str, str], name: str) -> None:
    text = environment.get(name, "").strip()
    try:
        if text and not 0 < float(text) <= 3_600:
            raise ValueError
    except ValueError:
        raise ConfigError([f"{name}: {text!r}, allowed: up to 3600 seconds"]) from None


def _endpoint(environment: Mapping[str, str], name: str, protocol: str) -> None:
    text = environment.get(name, "").strip()
    wrong = f"{name}: {text!r}, allowed: http://host:port or https://host:port"
    try:
        parts = urlsplit(text)
        # gRPC takes an address without a scheme.
        if text and parts.port != 0 and (parts.scheme in {"http", "https"} or protocol == GRPC):
            return
    except ValueError:
        raise ConfigError([wrong]) from None
    if text:
        raise ConfigError([wrong])
