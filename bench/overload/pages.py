"""What a server tells of a lane on /metrics."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bench.telemetry.agreement import DURATION, Counted

LEVEL = "nextbest_overload_level"
SHED = "nextbest_shed_calls_total"


class Answered(Counted):
    """The calls that were answered OK, by how long they took from when they were read."""

    def less(self, before: Counted) -> Answered:
        """What was counted since."""
        return Answered(*super().less(before))

    def at(self, percentage: float) -> float:
        """The percentile in seconds, as its bucket's upper bound."""
        return self.bounds_s[self.bucket(percentage)]


def answered(pages: str, lane: str) -> Answered:
    """Decisions of a lane so far."""
    wanted = {"rpc_response_status_code": "OK", "lane": lane}
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


def level(pages: str, lane: str) -> int:
    """What a lane leaves out: 0 for nothing."""
    [found] = [s for s in samples(pages) if s.name == LEVEL and s.labels["lane"] == lane]
    return int(found.value)


def samples(pages: str) -> Iterator[Sample]:
    """All that the page shows."""
    with urllib.request.urlopen(f"{pages}/metrics") as page:
        text = page.read().decode()
    for family in text_string_to_metric_families(text):
        yield from family.samples


def shed(pages: str, lane: str) -> int:
    """Calls that a lane has refused, or gRPC for it."""
    return sum(int(s.value) for s in samples(pages) if s.name == SHED and s.labels["lane"] == lane)
