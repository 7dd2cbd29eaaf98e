"""The core's time zones against those of Python."""

from __future__ import annotations

import bisect
import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from nextbest.core.expression.zone import offset_at
from nextbest.core.expression.zones import LISTED_TO, all_zones


def test_every_zone_is_as_python_has_it() -> None:
    """At random moments, and on both sides of every change that there is from 1970 on."""
    draw = random.Random(1)
    for name, changes in all_zones().items():
        starts, offsets = list(changes[2::2]), changes[1::2]
        assert starts == sorted(starts), name
        zone = ZoneInfo(name)
        moments = [draw.randrange(LISTED_TO) for _ in range(20)]
        moments += [start + side for start in starts if start > 0 for side in (-1, 0)]
        for moment in moments:
            offset = offsets[bisect.bisect_right(starts, moment)]
            assert offset == offset_at(zone, moment), (name, moment)


def test_rules_go_on_to_the_end() -> None:
    last = datetime.fromtimestamp(all_zones()["Europe/Warsaw"][-2], UTC)
    assert (last.year, last.month) == (2106, 10)
