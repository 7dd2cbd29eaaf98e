"""Burn rates: how many times faster than allowed an objective's budget is used up.

Alerts need two windows each: the long one says that it matters, the short one that it goes on
(Google, "The Site Reliability Workbook", chapter 5, multiwindow multi-burn-rate alerts).
"""

from __future__ import annotations

from typing import NamedTuple

HOUR_S = 3_600.0


class Alert(NamedTuple):
    """Burns where both windows' rates are over `rate`."""

    severity: str
    rate: float
    long: str
    short: str


# By the name that metrics have for them; seconds.
WINDOWS = {
    "5m": HOUR_S / 12,
    "30m": HOUR_S / 2,
    "1h": HOUR_S,
    "6h": 6 * HOUR_S,
    "3d": 72 * HOUR_S,
}
SEVERITIES = ("page", "ticket")
# With fewer bad calls in the short window nobody is woken: one slow call in a quiet night is over
# any rate.
BAD_LEAST = 10
ALERTS = (
    Alert("page", 14.4, "1h", "5m"),
    Alert("page", 6.0, "6h", "30m"),
    Alert("ticket", 1.0, "3d", "6h"),
)
