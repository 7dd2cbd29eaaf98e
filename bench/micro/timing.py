"""Timing of calls of a few microseconds."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import TypeVar

Item = TypeVar("Item")
BATCH = 64


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out of a measurement."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timer_ns() -> float:
    """What two readings of the clock and a call of nothing cost."""
    return median(each(int, [0] * 20_001, 0.0))


def each(call: Callable[[Item], object], items: Sequence[Item], timer: float) -> list[float]:
    """Nanoseconds of each call, without the timer's own cost."""
    clock = time.perf_counter_ns
    taken = []
    for item in items:
        start = clock()
        call(item)
        taken.append(clock() - start - timer)
    return taken


def batches(call: Callable[[Item], object], items: Sequence[Item]) -> list[float]:
    """Nanoseconds a call over batches: the timer weighs nothing, outliers are spread."""
    clock = time.perf_counter_ns
    taken = []
    for first in range(0, len(items) - BATCH + 1, BATCH):
        batch = items[first : first + BATCH]
        start = clock()
        for item in batch:
            call(item)
        taken.append((clock() - start) / BATCH)
    return taken
