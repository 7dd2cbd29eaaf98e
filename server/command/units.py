"""Units: numbers as people read them."""

from __future__ import annotations

import math

# What a node says of its staleness that has never seen the log's end; no more is ever said.
STALENESS_MAX_MS = 2**32 - 1
_STEPS = ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7_200.0, 1 / 60, "min"))


def seconds(value: float) -> str:
    """A duration with three digits at most: "850 us", "12.5 ms", "3 h"."""
    for below, factor, unit in _STEPS:
        if value < below:
            return f"{value * factor:.3g} {unit}"
    hours = value / 3_600
    return f"{hours:.3g} h" if hours < 48 else f"{hours / 24:.3g} d"


def percent(ratio: float) -> str:
    """A share in percent, never rounded up to the whole: "99.95 %", "100 %"."""
    if ratio == 1.0:
        return "100 %"
    # Rounded first: 0.999 * 1e6 is a little less than 999,000.
    cut = math.floor(round(ratio * 1e6, 3)) / 1e4
    return f"{cut:.4f}".rstrip("0").rstrip(".") + " %"


def budget(remaining: float) -> str:
    """What is left of an error budget: "99.95 %"; below none, how often it was spent."""
    spent = 1 - remaining
    if spent <= 1:
        return percent(remaining)
    return f"spent {spent:,.0f} times" if spent >= 100 else f"spent {spent:.3g} times"
