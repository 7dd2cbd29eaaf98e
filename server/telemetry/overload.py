"""Overload: what each lane takes on and refuses, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nextbest.server.overload import Load
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.methods import full_name
from nextbest.server.telemetry.readings import Readings


class Overload:
    """Reads the lanes, by their names as in other metrics; any thread may ask."""

    def __init__(self, lanes: Mapping[str, Callable[[], Load]]) -> None:
        self._lanes = lanes

    def readings(self) -> Readings:
        """Levels and refusals."""
        loads = {lane: load() for lane, load in self._lanes.items()}
        return {
            catalogue.OVERLOAD_LEVEL: {(lane,): load.level for lane, load in loads.items()},
            catalogue.SHED_CALLS: {
                (full_name(method), lane, reason): count
                for lane, load in loads.items()
                for (method, reason), count in load.sheds.items()
            },
        }
