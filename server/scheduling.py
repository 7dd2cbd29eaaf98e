"""How the kernel schedules the process's threads."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Iterator
from functools import partial

# A busy thread of niceness 10 gets a tenth of a core that one of 0 wants too.
BEHIND_NICE = 10
NICE_MAX = 19

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """Threads started within do not preempt the loop's when they wake (SCHED_BATCH).

    grpc.aio polls in a thread of its own.  On the loop's core each of its wake-ups would
    interrupt the call being served: some 14 context switches a call.  An idle core runs it at
    once all the same.  Where the system has no such policy, or forbids it, nothing changes.
    """
    try:
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError) as error:
        _log.info("gRPC's threads may preempt the loop: %s", error)
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


@contextlib.contextmanager
def behind(ahead: Collection[int], cpus: Collection[int]) -> Iterator[None]:
    """All threads of the process but `ahead` yield to those, and keep off their `cpus`.

    That is of the calling thread and of those that it starts within, and child processes too.
    Calls are served on the threads `ahead` (native ids); a busy thread of another kind would
    take half of their core.
    """
    if not ahead:
        yield
        return
    kept = os.sched_getaffinity(0)
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    policy = os.sched_getscheduler(0)
    others = kept - set(cpus)
    if not others:
        _log.warning("no cpu is left beside the fast lane's: all threads share them")
    for thread in _threads() - set(ahead):
        _place(thread, others or kept, os.SCHED_BATCH, min(nice + BEHIND_NICE, NICE_MAX))
    try:
        yield
    finally:
        for thread in _threads() - set(ahead):
            _place(thread, kept, policy, nice)


def pin(cpus: Collection[int]) -> None:
    """Keep the calling thread on these cpus; anywhere when there are none."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def _threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def _place(thread: int, cpus: Collection[int], policy: int, nice: int) -> None:
    """A thread may have ended meanwhile, and not every process may lower its niceness again."""
    for step in (
        partial(os.sched_setaffinity, thread, cpus),
        partial(os.sched_setscheduler, thread, policy, os.sched_param(0)),
        partial(os.setpriority, os.PRIO_PROCESS, thread, nice),
    ):
        try:
            step()
        except OSError as error:
            _log.debug("thread %d stays as it was: %s", thread, error)
