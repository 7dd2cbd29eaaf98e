"""Ranges of buckets: they cover what the weights say, and changes move nobody who need not move."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from nextbest.core.playbook.plan import BucketHash, Range
from nextbest.server.playbook.limits import BUCKETS
from nextbest.server.playbook.ranges import equal_weights, ranges_of

NAMES = ("a", "b", "c", "d")


@st.composite
def weights(draw: st.DrawFn) -> dict[str, int]:
    """Weights of some of the variants that add up to 1."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
    cuts = draw(st.lists(st.integers(0, BUCKETS), min_size=len(names) - 1, max_size=len(names) - 1))
    edges = [0, *sorted(cuts), BUCKETS]
    return {name: edges[i + 1] - edges[i] for i, name in enumerate(names)}


def owners(ranges: Mapping[str, tuple[Range, ...]]) -> list[tuple[int, int, str]]:
    """Who has which buckets, in their order."""
    return sorted(
        (round(part.start * BUCKETS), round(part.end * BUCKETS), name)
        for name, parts in ranges.items()
        for part in parts
    )


def share(ranges: Mapping[str, tuple[Range, ...]], name: str) -> int:
    return sum(end - start for start, end, owner in owners(ranges) if owner == name)


def alike(before: Mapping[str, tuple[Range, ...]], after: Mapping[str, tuple[Range, ...]]) -> int:
    """How many buckets have the same variant in both."""
    return sum(
        max(0, min(end, other_end) - max(start, other_start))
        for start, end, name in owners(before)
        for other_start, other_end, other in owners(after)
        if name == other
    )


@given(st.lists(weights(), min_size=1, max_size=5))
def test_every_bucket_is_one_variants(phases: list[dict[str, int]]) -> None:
    ranges = ranges_of(phases, BUCKETS, False, BucketHash.XXH3)
    assert {name: share(ranges, name) for name in ranges} == phases[-1]
    at = 0
    for start, end, _ in owners(ranges):
        assert start == at
        at = end
    assert at == BUCKETS


@given(st.lists(weights(), min_size=1, max_size=4), weights())
def test_new_weights_move_nobody_who_need_not_move(
    phases: list[dict[str, int]], newest: dict[str, int]
) -> None:
    before = ranges_of(phases, BUCKETS, False, BucketHash.XXH3)
    after = ranges_of([*phases, newest], BUCKETS, False, BucketHash.XXH3)
    stay = sum(min(phases[-1].get(name, 0), newest.get(name, 0)) for name in NAMES)
    assert alike(before, after) == stay


@given(weights(), st.integers(0, BUCKETS), st.integers(0, BUCKETS), st.sampled_from(BucketHash))
def test_more_coverage_only_adds_people(
    one: dict[str, int], some: int, more: int, version: BucketHash
) -> None:
    some, more = sorted((some, more))
    before = ranges_of([one], some, False, version)
    after = ranges_of([one], more, False, version)
    assert alike(before, after) == sum(end - start for start, end, _ in owners(before))


def test_equal_weights_are_whole() -> None:
    assert equal_weights(["a", "b", "c"]) == {"a": 33_334, "b": 33_333, "c": 33_333}
