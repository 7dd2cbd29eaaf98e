"""What every benchmark prints and uses: the machine, the versions, percentiles."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

PACKAGES = ("cel-expr-python", "zen-engine", "grpcio", "protobuf", "uvloop", "Cython")


def machine() -> dict[str, str]:
    """The machine, as far as it changes what is measured."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return {
        "cpu": f"{cpu_model()}, {cores} of {os.cpu_count()} cores, load {load:.2f} at the start",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "revision": revision(),
        **versions(),
    }


def cpu_model() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def versions() -> dict[str, str]:
    """The versions of the packages that are measured, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def revision() -> str:
    """The commit of the working tree, with a plus when it was changed since."""
    try:
        command = ["git", "describe", "--always", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """p50, p99, p999 and the number of values."""
    ordered = sorted(values)
    return {
        "p50": at(ordered, 0.50),
        "p99": at(ordered, 0.99),
        "p999": at(ordered, 0.999),
        "count": float(len(ordered)),
    }


def at(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def pin(core: int) -> bool:
    """Keep this process on one core, when it may choose; tells whether it does."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[core % len(allowed)]})
    return len(allowed) > 1
