"""Overload: how much a lane takes on; what its admission tells, and metrics and the log show."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

LOOK_S: Final = 1.0
# What each level does.
LEVELS: Final = (
    "answers are whole",
    "answers leave out scoring where their placements let them",
    "answers are fallbacks where their placements let them",
    "calls that waited too long are refused",
)

_log = logging.getLogger(__name__)


class Load(NamedTuple):
    """How much a lane takes on.

    level: 0 whole answers, 1 without scoring, 2 fallbacks alone, 3 some calls are refused.
    sheds: how many calls it has refused, by method and reason.
    """

    level: int
    sheds: Mapping[tuple[str, str], int]


class OverloadLog:
    """Tells the log of overload: as it begins, as it gets worse, and what it cost at its end."""

    def __init__(self, loads: Mapping[str, Callable[[], Load]]) -> None:
        self._loads = loads
        self._worst = dict.fromkeys(loads, 0)
        self._refused = {lane: _refused(load()) for lane, load in loads.items()}

    async def run(self) -> None:
        """Look each second until cancelled; what is over in between is told if it refused."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Tell what has changed."""
        for lane, load in self._loads.items():
            self._look(lane, load())

    def _look(self, lane: str, load: Load) -> None:
        refused = _refused(load) - self._refused[lane]
        if load.level > self._worst[lane]:
            self._worst[lane] = load.level
            _log.warning("overload of the %s lane: %s", lane, LEVELS[load.level])
        elif load.level == 0 and (self._worst[lane] or refused):
            self._worst[lane] = 0
            self._refused[lane] += refused
            _log.warning("overload of the %s lane is over, calls refused: %d", lane, refused)


def _refused(load: Load) -> int:
    return sum(load.sheds.values())
