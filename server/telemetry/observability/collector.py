"""An OpenTelemetry Collector and a Prometheus beside it: their configurations."""

from __future__ import annotations

from typing import Any

# Where a server's pages are: telemetry.address.
TARGET = "127.0.0.1:9600"
SCRAPE = "5s"


def collector() -> dict[str, Any]:
    """Takes spans, metrics and logs over OTLP, and hands them to what OTLP_ENDPOINT names."""
    pipeline = {
        "receivers": ["otlp"],
        "processors": ["memory_limiter", "batch"],
        "exporters": ["otlp", "debug"],
    }
    return {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": "${env:OTLP_GRPC:-127.0.0.1:4317}"},
                    "http": {"endpoint": "${env:OTLP_HTTP:-127.0.0.1:4318}"},
                }
            }
        },
        "processors": {
            "memory_limiter": {
                "check_interval": "1s",
                "limit_mib": 256,
                "spike_limit_mib": 64,
            },
            "batch": {"timeout": "1s", "send_batch_size": 512, "send_batch_max_size": 2_048},
        },
        "exporters": {
            "otlp": {
                "endpoint": "${env:OTLP_ENDPOINT:-127.0.0.1:14317}",
                "tls": {"insecure": "${env:OTLP_INSECURE:-true}"},
            },
            "debug": {"verbosity": "basic"},
        },
        "service": {
            "pipelines": {signal: dict(pipeline) for signal in ("traces", "metrics", "logs")}
        },
    }


def prometheus() -> dict[str, Any]:
    """Scrapes a server on this machine, and keeps exemplars with `exemplar-storage`."""
    return {
        "global": {"scrape_interval": SCRAPE, "evaluation_interval": "15s"},
        "rule_files": ["rules.yml"],
        "storage": {"exemplars": {"max_exemplars": 100_000}},
        "scrape_configs": [{"job_name": "nextbest", "static_configs": [{"targets": [TARGET]}]}],
    }
