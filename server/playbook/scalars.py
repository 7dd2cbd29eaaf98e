"""Spans of time and moments as authors write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from nextbest.server.playbook import limits

_SPAN = re.compile(r"([0-9]{1,12})(s|m|h|d)")
_SPAN_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": limits.DAY_S}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?"
    r"(Z|z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

SHARE_TEXT: Final = "a share from 0 to 1 with at most 5 decimals, such as 0.25, or 25%"
SHARE_PATTERN: Final = r"^[0-9]{1,3}(\.[0-9]{1,5})?%?$"
SPAN_TEXT: Final = "a whole number and s, m, h or d, such as 7d"
MOMENT_TEXT: Final = "a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z"
SPAN_PATTERN: Final = r"^[0-9]{1,12}(s|m|h|d)$"
MOMENT_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|z|[+-][0-9]{2}:[0-9]{2}))?$"
)


def span_s(text: str) -> int | None:
    """A span in seconds; None when the text is none."""
    found = _SPAN.fullmatch(text)
    return int(found[1]) * _SPAN_UNITS[found[2]] if found else None


def span_text(seconds: int) -> str:
    """A span as an author would write it."""
    for unit in "dhm":
        if seconds and seconds % _SPAN_UNITS[unit] == 0:
            return f"{seconds // _SPAN_UNITS[unit]}{unit}"
    return f"{seconds}s"


def share(text: str) -> int | None:
    """A share in hundred-thousandths; None when the text is none."""
    if re.fullmatch(SHARE_PATTERN, text) is None:
        return None
    found = Decimal(text.removesuffix("%")) * (1_000 if text.endswith("%") else limits.BUCKETS)
    return int(found) if found == int(found) and found <= limits.BUCKETS else None


def moment_us(text: str) -> int | None:
    """A moment in microseconds since 1970, years 1 to 9999; None when the text is none."""
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            return (datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // _MICROSECOND
        found = _MOMENT.fullmatch(text)
        if found is None:
            return None
        zone = "+00:00" if found[4] in "Zz" else found[4]
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or ''}{zone}")
        return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None
