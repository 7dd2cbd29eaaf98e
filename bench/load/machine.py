"""The machine, as far as it changes what is measured."""

from __future__ import annotations

import os
import platform
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .compiled import compiled

JOIN_S_MAX = 120
Gap = dict[str, Any]


def machine() -> dict[str, str]:
    """Processor, system and versions."""
    cores = len(os.sched_getaffinity(0))
    return {
        "cpu": f"{cpu_model()}, {cores} of {os.cpu_count()} cores",
        "load": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "nghttp2": compiled().NGHTTP2_VERSION,
    }


def cpu_model() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def now() -> str:
    """The moment, as RFC 3339 writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def gaps(seconds: float, when: str) -> list[Gap]:
    """Watch all cores at once: the share of time that each lost to something else."""
    found: dict[int, Gap] = {}

    def watch(cpu: int) -> None:
        found[cpu] = gap(when, cpu, *compiled().probe(cpu, int(seconds * 1e9)))

    cpus = sorted(os.sched_getaffinity(0)) if seconds > 0 else []
    threads = [threading.Thread(target=watch, args=(cpu,), daemon=True) for cpu in cpus]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_S_MAX)
    return [found[cpu] for cpu in cpus if cpu in found]


def stolen() -> dict[int, float]:
    """Seconds since the start of the system in which the hypervisor ran something else, by core."""
    lines = Path("/proc/stat").read_text(encoding="utf-8").splitlines()
    fields = (line.split() for line in lines if line.startswith("cpu") and line[3].isdigit())
    tick = os.sysconf("SC_CLK_TCK")
    return {int(one[0][3:]): int(one[8]) / tick for one in fields if len(one) > 8}


def gap(when: str, cpu: int, watched: int, lost: int, longest: int, number: int) -> Gap:
    """What a watch of a core saw; times in nanoseconds, a gap is over 20 us."""
    return {
        "when": when,
        "cpu": cpu,
        "watched": watched,
        "lost": lost / watched if watched else 0.0,
        "longest": longest,
        "gaps": number,
    }
