"""How the kernel schedules the process's threads."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """Threads started within do not preempt the loop's when they wake (SCHED_BATCH).

    grpc.aio polls in a thread of its own.  On the loop's core each of its wake-ups would
    interrupt the call being served: some 14 context switches a call.  An idle core runs it at
    once all the same.  Where the system has no such policy, or forbids it, nothing changes.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError) as error:
        _log.info("gRPC's threads may preempt the loop: %s", error)
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
