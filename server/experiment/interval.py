"""An interval, and the margins of what was measured."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """From `lower` to `upper`, both included."""

    lower: float
    upper: float

    @classmethod
    def around(cls, middle: float, half: float) -> Interval:
        """The interval that reaches `half` to either side."""
        return cls(middle - half, middle + half)


def interval(ends: tuple[float, float]) -> Interval:
    """An interval of what a library gives, as plain floats."""
    return Interval(float(ends[0]), float(ends[1]))
