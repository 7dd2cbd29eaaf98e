"""Time zones as constants: what the VM needs to turn a moment into local time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

# Transitions are listed up to 2500; the VM moves later moments back by 400 years, after which
# calendar and rules repeat.
LISTED_FROM = int(datetime(1840, 1, 1, tzinfo=UTC).timestamp())
RULES_FROM = int(datetime(2040, 1, 1, tzinfo=UTC).timestamp())
LISTED_TO = int(datetime(2500, 1, 1, tzinfo=UTC).timestamp())
HISTORY_STEP = 43_200  # no zone has two transitions within half a day
RULES_STEP = 7 * 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIXED = re.compile(r"([+-]?)(\d{1,2}):(\d{2})")

Zone = int | tuple[int, ...]


def offset_at(zone: ZoneInfo, seconds: int) -> int:
    """Seconds east of UTC at a moment."""
    offset = (EPOCH + timedelta(seconds=seconds)).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def first_change(zone: ZoneInfo, low: int, high: int) -> int:
    """The moment in (low, high] from which the offset at `high` holds."""
    wanted = offset_at(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == wanted:
            high = middle
        else:
            low = middle
    return high


@lru_cache(maxsize=256)
def transitions(name: str) -> Zone:
    """(from, offset, from, offset ...) in order; the first holds for all time before."""
    zone = ZoneInfo(name)
    moments = [
        *range(LISTED_FROM, RULES_FROM, HISTORY_STEP),
        *range(RULES_FROM, LISTED_TO + RULES_STEP, RULES_STEP),
    ]
    offset = offset_at(zone, moments[0])
    found = [moments[0], offset]
    for before, moment in pairwise(moments):
        seen = offset_at(zone, moment)
        if seen != offset:
            found += [first_change(zone, before, moment), seen]
            offset = seen
    return tuple(found) if len(found) > 2 else offset


def read_zone(name: str) -> Zone:
    """A fixed offset ("+02:00", "-08:30") in seconds, or an IANA zone's transitions.

    Raises ValueError when there is no such zone.
    """
    if name in ("", "UTC"):
        return 0
    fixed = FIXED.fullmatch(name)
    if fixed:
        seconds = int(fixed[2]) * 3600 + int(fixed[3]) * 60
        return -seconds if fixed[1] == "-" else seconds
    try:
        return transitions(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"no such time zone: {name}") from error
