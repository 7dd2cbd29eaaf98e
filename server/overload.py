"""Overload: how much a lane takes on; what its admission tells and metrics show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Load(NamedTuple):
    """How much a lane takes on.

    level: 0 whole answers, 1 without scoring, 2 fallbacks alone, 3 some calls are refused.
    sheds: how many calls it has refused, by method and reason.
    """

    level: int
    sheds: Mapping[tuple[str, str], int]
