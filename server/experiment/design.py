"""What is decided before an experiment starts, and must not depend on what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from nextbest.server.experiment.errors import OptionError
from nextbest.server.experiment.guardrail import Guardrail
from nextbest.server.experiment.split import ALARM

LEVELS: Final = (0.5, 0.9999)
TUNED_FOR: Final = 5_000
TUNED_FOR_RANGE: Final = (100, 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Design:
    """How an experiment is read; OptionError when it cannot be read so.

    level: of all intervals.  weights: by variant, equal when empty.  alarm_below: the p-value of
    the split that is too small to go on.  tuned_for: the subjects, of a variant and the control
    together, at which the sequential interval is narrowest.
    """

    level: float = 0.95
    weights: Mapping[str, float] = field(default_factory=dict)
    alarm_below: float = ALARM
    guardrails: tuple[Guardrail, ...] = ()
    tuned_for: int = TUNED_FOR

    def __post_init__(self) -> None:
        _check("--level", self.level, LEVELS)
        _check("--alarm-below", self.alarm_below, (0.0, 0.5))
        _check("--tuned-for", self.tuned_for, TUNED_FOR_RANGE)


def _check(option: str, seen: float, allowed: tuple[float, float]) -> None:
    if not allowed[0] <= seen <= allowed[1]:
        raise OptionError(option, f"{seen:g}", f"{allowed[0]:g} to {allowed[1]:g}")
