"""Ranges of buckets: which of them each variant gets, in hundred-thousandths.

Weights that change move nobody who need not move: a variant keeps what it had as far as its new
weight allows, and what others give up goes to those that grow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nextbest.core.playbook.plan import BucketHash, Range
from nextbest.server.playbook.limits import BUCKETS

Weights = Mapping[str, int]


class Piece(NamedTuple):
    """Buckets in a row that one variant has."""

    start: int
    end: int
    variant: str


def equal_weights(names: Sequence[str]) -> dict[str, int]:
    """Weights as equal as hundred-thousandths can be; the first ones get what is left over."""
    each, rest = divmod(BUCKETS, len(names))
    return {name: each + (number < rest) for number, name in enumerate(names)}


def ranges_of(
    phases: Sequence[Weights], coverage: int, equal: bool, version: BucketHash
) -> dict[str, tuple[Range, ...]]:
    """The ranges of each variant of the newest of its phases, oldest first.

    More coverage only adds people.  Under GrowthBook's hashes one phase gives GrowthBook's own
    ranges, to the last bit (`getBucketRange` of its SDKs).
    """
    if len(phases) == 1 and version is not BucketHash.XXH3:
        return _growthbook(phases[0], coverage, equal)
    pieces = _first(phases[0])
    for weights in phases[1:]:
        pieces = _moved(pieces, weights)
    found: dict[str, list[Range]] = {name: [] for name in phases[-1]}
    for piece in pieces:
        end = piece.start + (piece.end - piece.start) * coverage // BUCKETS
        if end > piece.start:
            found[piece.variant].append(Range(piece.start / BUCKETS, end / BUCKETS))
    return {name: tuple(ranges) for name, ranges in found.items()}


def _growthbook(weights: Weights, coverage: int, equal: bool) -> dict[str, tuple[Range, ...]]:
    found: dict[str, tuple[Range, ...]] = {}
    start = 0.0
    for name, share in weights.items():
        weight = 1 / len(weights) if equal else share / BUCKETS
        found[name] = (Range(start, start + coverage / BUCKETS * weight),)
        start += weight
    return found


def _first(weights: Weights) -> list[Piece]:
    pieces = []
    start = 0
    for name, share in weights.items():
        pieces.append(Piece(start, start + share, name))
        start += share
    return pieces


def _moved(pieces: Sequence[Piece], weights: Weights) -> list[Piece]:
    """The pieces under new weights: each keeps its first buckets, and gives up its last."""
    left = dict(weights)
    kept: list[Piece] = []
    free: list[tuple[int, int]] = []
    for start, end, name in pieces:
        middle = min(end, start + left.get(name, 0))
        if middle > start:
            kept.append(Piece(start, middle, name))
            left[name] -= middle - start
        if end > middle:
            free.append((middle, end))
    return _joined(sorted([*kept, *_given(free, left)]))


def _given(free: Sequence[tuple[int, int]], wanted: Mapping[str, int]) -> Iterator[Piece]:
    """Free buckets in their order to those who want some, in theirs."""
    left = dict(wanted)
    for start, end in free:
        at = start
        for name in left:
            more = min(left[name], end - at)
            if more:
                yield Piece(at, at + more, name)
                left[name] -= more
                at += more


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours of one variant as one piece."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if last and last.variant == piece.variant and last.end == piece.start:
            found[-1] = Piece(last.start, piece.end, piece.variant)
        else:
            found.append(piece)
    return found
