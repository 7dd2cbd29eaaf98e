"""What must hold of a history: nothing lost, nothing twice, nodes alike, gaps short.

Each check returns its findings as text, or a figure; `test_checks.py` plants what each must find.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tests.faults.history import OK, Decides, Place, Write

FINDINGS_MAX = 20
SLICE_S = 0.5


class Standing(NamedTuple):
    """A node's place in the log and what its state comes to."""

    node: str
    place: Place
    ahead: int
    parked: int
    digest: tuple[int, int]


class Figures(NamedTuple):
    """How decisions went in a span of time."""

    calls: int
    failed: int
    p50_s: float
    p99_s: float
    gap_s: float


def lost(writes: Iterable[Write], present: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Writes that were acknowledged and are missing on a node; `present` counts by node, person."""
    wanted = [one for one in writes if one.outcome == OK]
    return _cut(
        f"{node}: {one.person} is missing (acknowledged at {one.place} by node {one.node})"
        for node, counts in present.items()
        for one in wanted
        if counts.get(one.person, 0) < 1
    )


def doubled(present: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Writes that a node counts more than once: each person has had one event."""
    return _cut(
        f"{node}: {person} counts {count} times"
        for node, counts in present.items()
        for person, count in counts.items()
        if count > 1
    )


def invented(writes: Iterable[Write], present: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What a node holds although nobody wrote it."""
    known = {one.person for one in writes}
    return _cut(
        f"{node}: {person} was never written"
        for node, counts in present.items()
        for person in counts
        if person not in known
    )


def apart(standings: Sequence[Standing]) -> list[str]:
    """How nodes differ after quiet: place, what the log lacks of theirs, and digest."""
    found = [f"{one.node}: {one.ahead} ahead of the log" for one in standings if one.ahead]
    found += [f"{one.node}: {one.parked} parked" for one in standings if one.parked]
    if len({one.place for one in standings}) > 1:
        return _cut(found + [f"{one.node}: stands at {one.place}" for one in standings])
    if len({one.digest for one in standings}) > 1:
        found += [f"{one.node}: digest {_hex(one.digest)} at {one.place}" for one in standings]
    return _cut(found)


def unequal(standings: Sequence[Standing]) -> list[str]:
    """Digests that differ at one place with nothing ahead: divergence, whenever it is seen."""
    found: dict[Place, Standing] = {}
    faults = []
    for one in standings:
        # No digest: writes came whenever it was summed.
        if one.ahead or one.parked or one.digest == (0, 0):
            continue
        other = found.setdefault(one.place, one)
        if other.digest != one.digest:
            faults.append(
                f"{other.node} has {_hex(other.digest)}, {one.node} {_hex(one.digest)}"
                f" at {one.place}"
            )
    return _cut(faults)


def decide_figures(decides: Decides, since_s: float, until_s: float) -> Figures:
    """Decisions made within the span; the gap is the longest time in it without a success."""
    invoked, ended, outcome = decides.columns()
    within = (invoked >= since_s) & (invoked < until_s)
    good = within & (outcome == OK)
    took = np.sort((ended - invoked)[good])
    failed = int(np.count_nonzero(within & (outcome != OK)))
    ends = np.sort(ended[good])
    return Figures(
        int(np.count_nonzero(within)),
        failed,
        float(took[len(took) // 2]) if len(took) else float("nan"),
        float(took[min(len(took) - 1, int(len(took) * 0.99))]) if len(took) else float("nan"),
        longest_gap(ends.tolist(), since_s, until_s),
    )


def whole_p99(decides: Decides, since_s: float, until_s: float) -> float:
    """The p99 of all decisions made within the span."""
    return decide_figures(decides, since_s, until_s).p99_s


def steady_p99(decides: Decides, since_s: float, until_s: float) -> float:
    """The median of the p99s of half seconds: one hiccup of the machine does not decide it."""
    invoked, ended, outcome = decides.columns()
    edges = np.arange(since_s, until_s, SLICE_S)
    took = [
        (ended - invoked)[(invoked >= edge) & (invoked < edge + SLICE_S) & (outcome == OK)]
        for edge in edges
    ]
    return float(np.median([np.quantile(one, 0.99) for one in took if len(one)] or [np.nan]))


def write_gap(writes: Iterable[Write], since_s: float, until_s: float) -> float:
    """The longest time within the span in which no write was acknowledged."""
    ends = sorted(one.ended_s for one in writes if one.outcome == OK and not one.settled)
    return longest_gap(ends, since_s, until_s)


def longest_gap(moments: Sequence[float], since_s: float, until_s: float) -> float:
    """The longest time without any of the moments, which are in order; the span's ends count."""
    inside = [since_s, *(one for one in moments if since_s <= one <= until_s), until_s]
    return max(later - earlier for earlier, later in itertools.pairwise(inside))


def _hex(digest: tuple[int, int]) -> str:
    return "/".join(f"{part:016x}" for part in digest)


def _cut(findings: Iterable[str]) -> list[str]:
    """The first findings, and how many more there are."""
    every = list(findings)
    more = len(every) - FINDINGS_MAX
    return every if more <= 0 else [*every[:FINDINGS_MAX], f"and {more} more"]
