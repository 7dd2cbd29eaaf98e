"""Requirements: comparisons of an analysis' figures, such as `dr.lower > logged.mean`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from nextbest.server.offpolicy.errors import RequirementError
from nextbest.server.offpolicy.estimate import FIELDS
from nextbest.server.offpolicy.estimators import ESTIMATORS
from nextbest.server.playbook.faults import one_of, shown

TEXT_MAX: Final = 200
_COMPARES: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM: Final = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=|>|<)\s*([^\s<>=]+)\s*")
_NAMES: Final = {**dict.fromkeys(ESTIMATORS, FIELDS), "support": ("missing",)}


@dataclass(frozen=True, slots=True)
class Requirement:
    """A comparison of two terms, each `estimator.field` or a number."""

    text: str
    left: str | float
    compare: str
    right: str | float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A requirement, what its terms were, and whether it holds."""

    text: str
    holds: bool
    left: float
    right: float

    def __str__(self) -> str:
        holds = "holds" if self.holds else "does not hold"
        return f"{self.text}: {holds}, {self.left:.6g} against {self.right:.6g}"


def parse(text: str) -> Requirement:
    """Read a requirement; RequirementError says what is wrong, with the nearest name."""
    match = _FORM.fullmatch(text) if len(text) <= TEXT_MAX else None
    if match is None:
        allowed = "one comparison such as dr.lower > logged.mean, by >, >=, < or <="
        raise RequirementError(f"{shown(text)}, allowed: {allowed}")
    left, compare, right = match.groups()
    return Requirement(text.strip(), _term(left), compare, _term(right))


def judge(requirement: Requirement, values: Mapping[str, float | None]) -> Verdict:
    """Whether a requirement holds of `Analysis.values()`; what is no number never holds."""
    left, right = _value(requirement.left, values), _value(requirement.right, values)
    holds = _COMPARES[requirement.compare](left, right)
    return Verdict(requirement.text, holds, left, right)


def doubt(requirement: Requirement) -> str:
    """Why a requirement says less than it seems to, or an empty string."""
    spread = {f"dm.{field}" for field in ("standard_error", "lower", "upper")}
    named = sorted(spread & {str(requirement.left), str(requirement.right)})
    return f"{named[0]} does not know the reward model's own error: dr has it" if named else ""


def _term(text: str) -> str | float:
    try:
        number = float(text)
    except ValueError:
        return _name(text)
    if not math.isfinite(number):
        raise RequirementError(f"{text}, allowed: a finite number")
    return number


def _name(text: str) -> str:
    estimator, _, field = text.partition(".")
    if estimator not in _NAMES:
        raise RequirementError(
            f"{shown(text)}: allowed: {one_of(estimator, _NAMES)}, a dot, a field"
        )
    if field not in _NAMES[estimator]:
        raise RequirementError(f"{shown(text)}: allowed: {one_of(field, _NAMES[estimator])}")
    return text


def _value(term: str | float, values: Mapping[str, float | None]) -> float:
    if not isinstance(term, str):
        return term
    value = values.get(term)
    if value is None:
        raise RequirementError(f"{term}: this analysis has no such figure")
    return value
