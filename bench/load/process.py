"""What a run cost a server on this machine: CPU, memory, file descriptors."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from .errors import OptionError, option_fault


class Usage(NamedTuple):
    """A process at a moment."""

    cpu_s: float
    rss: int
    fds: int


def usage(pid: int) -> Usage:
    """CPU seconds of all its threads; resident bytes; open descriptors."""
    try:
        cpu = time.clock_gettime((~pid << 3) | 2)
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return Usage(cpu, pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd")))
    except OSError as error:
        allowed = f"a running process of ours ({error.strerror})"
        raise OptionError([option_fault("--server-pid", pid, allowed)]) from None


def cpu_s(pid: int) -> float | None:
    """CPU seconds of all threads of a process, ended ones too; None: it has ended.

    A process's CPU clock is numbered by the complement of its id (clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def cost(pid: int, before: Usage, end_cpu_s: float | None, calls: int) -> dict[str, Any]:
    """What a run cost; a process that has ended has no figures but its id.

    `end_cpu_s` is of the run's end; memory and descriptors are those of now, when the server has
    seen that the connections are closed.
    """
    try:
        after = usage(pid)
    except OptionError:
        return {"pid": pid, "ended": True}
    cpu = (after.cpu_s if end_cpu_s is None else end_cpu_s) - before.cpu_s
    return {
        "pid": pid,
        "ended": False,
        "cpu": round(cpu * 1e9),
        "cpuPerCall": round(cpu * 1e9 / calls) if calls else 0,
        "rssBefore": before.rss,
        "rssAfter": after.rss,
        "fdsBefore": before.fds,
        "fdsAfter": after.fds,
    }
