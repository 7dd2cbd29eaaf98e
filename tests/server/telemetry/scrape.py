"""A server's metrics as a scraper gets them."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

from prometheus_client.parser import text_string_to_metric_families

WITHIN_S = 20.0
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def page(url: str, headers: dict[str, str] | None = None) -> tuple[int, str, str]:
    """A page's status, content type and text."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {})) as got:
            return got.status, got.headers["Content-Type"], got.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


class Scrape:
    """One reading of /metrics."""

    def __init__(self, http: str) -> None:
        self.text = page(f"{http}/metrics")[2]
        self.families = {one.name: one for one in text_string_to_metric_families(self.text)}

    def value(self, sample: str, **labels: str) -> float:
        """The sum of what has that name and at least those labels; 0 for none."""
        return sum(
            one.value
            for family in self.families.values()
            for one in family.samples
            if one.name == sample and labels.items() <= one.labels.items()
        )

    def labels(self, sample: str) -> list[Mapping[str, str]]:
        """The labels of each of that name."""
        return [
            one.labels
            for family in self.families.values()
            for one in family.samples
            if one.name == sample
        ]


def scraped(http: str, holds: Callable[[Scrape], object]) -> Scrape:
    """The first reading of which something holds."""
    end_s = time.monotonic() + WITHIN_S
    while not holds(found := Scrape(http)):
        assert time.monotonic() < end_s, found.text
        time.sleep(0.1)
    return found
