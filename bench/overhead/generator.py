"""Drives one server with h2load and tells what it cost: requests/s, CPU a call, latency."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PATH = "/nextbest.v1.DecisionService/Decide"
FRAME_BYTES = 5
RUN_S_MAX = 120


class Run(NamedTuple):
    """One run: CPU is of all the server's threads, latency as the generator saw it."""

    requests: int
    rate: float
    cpu_us: float
    latencies_us: list[float]
    body_bytes: int


def require() -> str:
    """Where h2load is."""
    found = shutil.which("h2load")
    if found is None:
        raise SystemExit("h2load not found: install Debian's nghttp2-client")
    return found


def framed(message: bytes) -> bytes:
    """A message as gRPC frames it: not compressed, its length, itself."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, threads that have ended included.

    A process's CPU clock is numbered by the complement of its id (see clock_getcpuclockid).
    """
    return time.clock_gettime((~pid << 3) | 2)


def drive(
    port: int, pid: int, request: bytes, *, requests: int, clients: int, streams: int, core: int
) -> Run:
    """Send `requests` calls of the same bytes; every one must be answered."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(framed(request))
        command = [
            *("taskset", "-c", str(core), require()),
            *("-n", str(requests), "-c", str(clients), "-m", str(streams)),
            *("-d", str(body), "--log-file", str(log)),
            *("-H", "te: trailers", "-H", "content-type: application/grpc"),
            f"http://127.0.0.1:{port}{PATH}",
        ]
        before = cpu_s(pid)
        result = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=RUN_S_MAX
        )
        cpu = cpu_s(pid) - before
        latencies = [float(line.split("\t")[2]) for line in log.read_text().splitlines()]
    return read(result.stdout, requests, cpu, latencies)


def read(text: str, requests: int, cpu: float, latencies: list[float]) -> Run:
    """What h2load printed; a run in which a call failed is no run."""
    rate = re.search(r"([\d.]+) req/s", text)
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    data = re.search(r"\((\d+)\) data", text)
    if rate is None or done is None or data is None:
        raise SystemExit(f"h2load said something else:\n{text}")
    if done.groups() != (str(requests), "0", "0", "0"):
        raise SystemExit(f"h2load: not all of {requests} calls succeeded:\n{text}")
    return Run(requests, float(rate[1]), cpu / requests * 1e6, latencies, int(data[1]))
