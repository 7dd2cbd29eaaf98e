"""Buckets: the upper bounds of the latency histograms."""

from __future__ import annotations

STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
LEAST_S, MOST_S = 0.000_005, 10.0


def bounds_s() -> tuple[float, ...]:
    """Ascending bounds in seconds, six for each decade."""
    all_of_them = (float(f"{step}e{decade}") for decade in range(-6, 2) for step in STEPS)
    return tuple(bound for bound in all_of_them if LEAST_S <= bound <= MOST_S)
