"""A real OpenTelemetry Collector, with the configuration that operators are given."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Self

import grpc
import pytest

from tests.faults.processes import free_port

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "build" / "otelcol" / "otelcol"
CONFIG = ROOT / "deploy" / "observability" / "collector.yaml"
START_S = 30
STOP_S = 20

needs_collector = pytest.mark.skipif(
    not PROGRAM.exists(), reason="no OpenTelemetry Collector: `make otelcol` builds it"
)


class Collector:
    """Runs while the `with` block does, and hands what it takes to `receiver`, a host:port.

    `grpc` and `http` are where it takes OTLP.
    """

    def __init__(self, folder: Path, receiver: str) -> None:
        takes_grpc, takes_http = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.grpc, self.http = f"http://{takes_grpc}", f"http://{takes_http}"
        addresses = {"OTLP_GRPC": takes_grpc, "OTLP_HTTP": takes_http, "OTLP_ENDPOINT": receiver}
        # Its own metrics have a fixed port by default, which another run may hold.
        quiet = folder / "quiet.yaml"
        quiet.write_text("service: {telemetry: {metrics: {level: none}}}", "utf-8")
        self._told = folder / "collector.log"
        with self._told.open("wb") as file:
            self._process = subprocess.Popen(
                [PROGRAM, "--config", CONFIG, "--config", quiet],
                stdout=file,
                stderr=file,
                env={**os.environ, **addresses},
            )
        try:
            self._await(takes_grpc)
        except BaseException:
            self._process.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(STOP_S)

    def _await(self, address: str) -> None:
        end_s = time.monotonic() + START_S
        with grpc.insecure_channel(address) as channel:
            ready = grpc.channel_ready_future(channel)
            while not ready.done():
                told = self._told.read_text("utf-8", "replace")
                assert self._process.poll() is None, told
                assert time.monotonic() < end_s, told
                time.sleep(0.05)
