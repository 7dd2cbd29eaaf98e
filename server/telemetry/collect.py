"""Collecting: what the engine's serving threads and the lane have counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from nextbest.core.engine import DEGRADATION_NAMES
from nextbest.server.histogram import Distribution, Exemplar
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.methods import CODES, full_name
from nextbest.server.telemetry.readings import Readings, Values, by_name

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.core.engine import CallCount, DecisionCounts

OPEN = "connections.open"


class Collected:
    """Reads an engine's counters and its lane's, from any thread.

    bounds_s: of the calls' histogram.  exemplars: gives those of one by its labels.
    """

    def __init__(
        self,
        engine: Engine,
        lane: Callable[[], Mapping[str, int]],
        bounds_s: Sequence[float],
        exemplars: Callable[[tuple[str, ...]], Mapping[int, Exemplar]],
    ) -> None:
        self._telemetry = engine.telemetry
        self._lane = lane
        self._bounds_s = tuple(bounds_s)
        self._exemplars = exemplars

    def readings(self) -> Readings:
        """Calls, their steps, decisions, kept calls and the lane."""
        waiting, room = self._telemetry.waiting()
        return {
            catalogue.CALL_DURATION: dict(map(self._call, self._telemetry.calls())),
            catalogue.STEP_DURATION: _steps(self._telemetry.steps()),
            **_decisions(self._telemetry.decisions()),
            catalogue.KEPT_DROPPED: {(): self._telemetry.dropped},
            catalogue.KEPT_SKIPPED: {(): self._telemetry.skipped},
            catalogue.KEPT_WAITING: {(): waiting},
            catalogue.KEPT_WAITING_MAX: {(): room},
            **_lanes(dict(self._lane())),
        }

    def _call(self, one: CallCount) -> tuple[tuple[str, ...], Distribution]:
        labels = ("grpc", full_name(one.method), CODES[one.code], one.lane)
        exemplars = self._exemplars(labels)
        return labels, Distribution(self._bounds_s, one.buckets, one.seconds, exemplars)


def _lanes(counted: dict[str, int]) -> Readings:
    connections = counted.pop(OPEN, 0)
    # Calls are told by their histogram.
    events = {name: n for name, n in counted.items() if not _is_served_call(name)}
    return {
        catalogue.LANE_CONNECTIONS: {(): connections},
        catalogue.LANE_EVENTS: by_name(events),
    }


def _is_served_call(name: str) -> bool:
    return name.startswith("calls.") and name.count(".") == 2


def _steps(spent: Mapping[str, Mapping[str, float]]) -> Values:
    return {
        (full_name(method), step): seconds
        for method, steps in spent.items()
        for step, seconds in steps.items()
        if seconds
    }


def _decisions(counts: DecisionCounts) -> Readings:
    failed = {CODES[code]: count for code, count in counts.failed.items()}
    return {
        catalogue.DECISIONS: by_name(counts.decisions),
        catalogue.FALLBACKS: by_name(counts.fallbacks),
        catalogue.EXPLORED: by_name(counts.explored),
        catalogue.CANDIDATES: counts.candidates,
        catalogue.PROPOSITIONS: counts.propositions,
        # Zero before the first one, so that a rate sees it.
        catalogue.DEGRADED: {(n,): counts.degraded.get(n, 0) for n in DEGRADATION_NAMES if n},
        catalogue.REPEATED: {(): counts.repeated},
        catalogue.BATCH_FAILED: by_name(failed),
        catalogue.EXPOSURES: {(): counts.exposures},
        catalogue.EXPOSURES_LOST: {(): counts.exposures_lost},
        catalogue.OUTCOMES: by_name(counts.outcomes),
        catalogue.OUTCOMES_REPEATED: {(): counts.outcomes_repeated},
        catalogue.CROSSINGS: {(): counts.crossings},
        catalogue.CROSSINGS_LOST: {(): counts.crossings_lost},
        catalogue.CROSSINGS_CUT: {(): counts.crossings_cut},
        catalogue.RESERVATIONS: {(): counts.reservations},
        catalogue.RESERVATIONS_LOST: {(): counts.reservations_lost},
        catalogue.RESERVATIONS_CONFIRMED: {(): counts.reservations_confirmed},
        catalogue.RESERVATIONS_WAITED: {(): counts.reservations_waited},
    }
