"""Guardrails: metrics that a variant must be shown not to harm."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nextbest.server.experiment.comparison import Comparison
from nextbest.server.experiment.errors import OptionError
from nextbest.server.experiment.interval import Interval
from nextbest.server.playbook.faults import one_of

RULE: Final = re.compile(
    r"(?P<metric>.+?)\s*(?P<side>>=|<=)\s*(?P<bound>[^<>=%]+?)(?P<relative>%?)"
)
RULE_TEXT: Final = "METRIC>=BOUND or METRIC<=BOUND, such as visit>=-0.01 or visit>=-5%"


class State(StrEnum):
    """What the interval shows of a guardrail."""

    KEPT = "kept"
    NOT_SHOWN = "not shown"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """The least difference to the control that is allowed, or the largest.

    bound: in the metric's unit; with `relative` a share of the control's mean.
    """

    metric: str
    at_least: bool
    bound: float
    relative: bool
    text: str


@dataclass(frozen=True, slots=True)
class Watch:
    """A guardrail over one variant.

    interval: of the difference, or of the lift when the bound is relative; None when unknown.
    state: kept when all of it is on the allowed side, broken when none is, else not shown.
    """

    rule: str
    metric: str
    variant: str
    interval: Interval | None
    state: State


def parse_guardrail(text: str, metrics: Iterable[str]) -> Guardrail:
    """The guardrail of visit>=-0.01; OptionError names what is wrong."""
    found = RULE.fullmatch(text.strip())
    try:
        bound = float(found["bound"]) if found else math.nan
    except ValueError:
        bound = math.nan
    if not found or not math.isfinite(bound):
        raise OptionError("--guardrail", repr(text), RULE_TEXT)
    names = list(metrics)
    if found["metric"] not in names:
        raise OptionError("--guardrail", repr(found["metric"]), one_of(found["metric"], names))
    relative = bool(found["relative"])
    bound = bound / 100 if relative else bound
    return Guardrail(found["metric"], found["side"] == ">=", bound, relative, text.strip())


def watch(guardrail: Guardrail, comparisons: Iterable[Comparison]) -> list[Watch]:
    """The guardrail over every variant."""
    return [_watch(guardrail, one) for one in comparisons if one.metric == guardrail.metric]


def _watch(guardrail: Guardrail, one: Comparison) -> Watch:
    found = one.contrast
    interval = found.lift_interval if guardrail.relative else found.interval
    state = State.NOT_SHOWN if interval is None else _state(guardrail, interval)
    return Watch(guardrail.text, one.metric, one.variant, interval, state)


def _state(guardrail: Guardrail, interval: Interval) -> State:
    sign = 1 if guardrail.at_least else -1
    allowed = [sign * end >= sign * guardrail.bound for end in interval]
    if all(allowed):
        return State.KEPT
    return State.NOT_SHOWN if any(allowed) else State.BROKEN
