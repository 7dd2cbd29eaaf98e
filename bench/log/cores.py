"""What a run takes of the machine: its cores, what threads have used of them, a folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# The generator spins on its core; whatever serves shares the other one.
CORE_SERVERS, CORE_GENERATOR = 0, 1


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, threads that have ended included.

    A process's CPU clock is numbered by the complement of its id (see clock_getcpuclockid).
    """
    return time.clock_gettime((~pid << 3) | 2)


def threads_s(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process that runs."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue
    return found


def require_two() -> None:
    """End the run where there is one core alone."""
    if len(os.sched_getaffinity(0)) <= CORE_GENERATOR:
        raise SystemExit("two cores are needed: one for the servers, one for the generator")


@contextlib.contextmanager
def scratch(options: argparse.Namespace) -> Iterator[Path]:
    """A folder for a run's files, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        yield Path(folder)


@contextlib.contextmanager
def real_time() -> Iterator[None]:
    """This thread, and what it starts, come before all that is not of that kind (SCHED_RR)."""
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        # Not allowed: then a busy machine shows in what its core lost.
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, parameters)
