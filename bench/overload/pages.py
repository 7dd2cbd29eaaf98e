"""What a server tells of its fast lane on /metrics."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bench.telemetry.agreement import DURATION, Counted

LANE = "fast"
LEVEL = "nextbest_overload_level"


class Answered(Counted):
    """The calls that were answered OK, by how long they took from when they were read."""

    def less(self, before: Counted) -> Answered:
        """What was counted since."""
        return Answered(*super().less(before))

    def at(self, percentage: float) -> float:
        """The percentile in seconds, as its bucket's upper bound."""
        return self.bounds_s[self.bucket(percentage)]


def answered(pages: str) -> Answered:
    """Decisions so far."""
    wanted = {"rpc_response_status_code": "OK", "lane": LANE}
    within = {
        float(one.labels["le"]): int(one.value)
        for one in samples(pages)
        if one.name == f"{DURATION}_bucket"
        and one.labels["rpc_method"].endswith("/Decide")
        and wanted.items() <= one.labels.items()
    }
    bounds = tuple(sorted(within))
    sums = [0, *(within[bound] for bound in bounds)]
    return Answered(bounds, tuple(b - a for a, b in pairwise(sums)))


def level(pages: str) -> int:
    """What the lane leaves out: 0 for nothing."""
    [found] = [s for s in samples(pages) if s.name == LEVEL and s.labels["lane"] == LANE]
    return int(found.value)


def samples(pages: str) -> Iterator[Sample]:
    """All that the page shows."""
    with urllib.request.urlopen(f"{pages}/metrics") as page:
        text = page.read().decode()
    for family in text_string_to_metric_families(text):
        yield from family.samples
