"""Objectives: what share of a method's calls is to be answered how fast, over how long."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nextbest.server.telemetry.buckets import LEAST_S, MOST_S
from nextbest.server.telemetry.methods import METHODS

FORM = 'such as "Decide 99.9% < 5ms over 30d"'
DAYS_MAX = 90
# 99.9999 %: below, a year's errors are fewer than a histogram of one server can tell.
PERCENT_LEAST, PERCENT_MOST = 50.0, 99.9999
DAY_S = 86_400.0

_TEXT = re.compile(
    r"(?P<method>\w+)\s+(?P<percent>\d{1,3}(\.\d{1,4})?)\s*%\s*<\s*"
    r"(?P<time>\d{1,6}(\.\d{1,3})?)\s*(?P<unit>us|ms|s)\s+over\s+(?P<days>\d{1,3})\s*d",
    re.ASCII,
)
_UNITS = {"us": 6, "ms": 3, "s": 0}


@dataclass(frozen=True, slots=True)
class Objective:
    """`ratio` of a method's calls is to be good over the last `window_s` seconds.

    A call is good when it ends within `threshold_s` and not in a failure of the server's own
    (`methods.FAILURES`): what a caller did wrong is judged by its time alone.
    """

    method: str
    ratio: float
    threshold_s: float
    window_s: float

    @property
    def budget(self) -> float:
        """The share of calls that may be bad."""
        return 1.0 - self.ratio


def parse(text: str) -> Objective:
    """Read an objective; raise ValueError that says what is allowed."""
    found = _TEXT.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r}, allowed: METHOD PERCENT% < TIME over DAYSd, {FORM}")
    if found["method"] not in METHODS:
        raise ValueError(f"{found['method']!r}, allowed methods: {', '.join(METHODS)}")
    percent, days = float(found["percent"]), int(found["days"])
    # Read as one number, so that 5ms and 0.005s are the same bound of a histogram.
    threshold_s = float(f"{found['time']}e-{_UNITS[found['unit']]}")
    if not PERCENT_LEAST <= percent <= PERCENT_MOST:
        raise ValueError(f"{percent:g}%, allowed: {PERCENT_LEAST:g}% to {PERCENT_MOST:g}%")
    if float(f"{threshold_s:g}") != threshold_s:
        raise ValueError(f"{found['time']}{found['unit']}, allowed: at most six digits")
    if not LEAST_S <= threshold_s <= MOST_S:
        allowed = f"{LEAST_S * 1e6:g}us to {MOST_S:g}s"
        raise ValueError(f"{found['time']}{found['unit']}, allowed: {allowed}")
    if not 1 <= days <= DAYS_MAX:
        raise ValueError(f"{days}d, allowed: 1d to {DAYS_MAX}d")
    # Of the digits as they stand: 99.9 / 100 is 0.9990000000000001.
    return Objective(found["method"], round(percent / 100, 8), threshold_s, days * DAY_S)


def parse_all(texts: Sequence[str]) -> tuple[Objective, ...]:
    """Read all objectives, at most one for a method; raise ValueError."""
    objectives = tuple(parse(text) for text in texts)
    methods = [one.method for one in objectives]
    for method in methods:
        if methods.count(method) > 1:
            raise ValueError(f"{method} twice, allowed: one objective for a method")
    return objectives
