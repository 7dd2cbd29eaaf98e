"""Buckets: the upper bounds of the latency histograms."""

from __future__ import annotations

from collections.abc import Iterable

STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
LEAST_S, MOST_S = 0.000_005, 10.0


def bounds_s(thresholds_s: Iterable[float] = ()) -> tuple[float, ...]:
    """Ascending bounds in seconds: six for each decade, and exactly those thresholds."""
    all_of_them = {float(f"{step}e{decade}") for decade in range(-6, 2) for step in STEPS}
    return tuple(sorted(b for b in all_of_them | set(thresholds_s) if LEAST_S <= b <= MOST_S))
