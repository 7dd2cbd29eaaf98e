"""The subjects of an experiment as arrays: what every source gives and the analysis takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextbest.server.experiment.errors import SubjectsError, TooFewError

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int32]

VARIANTS_MAX: Final = 100
# A variance needs two.
SUBJECTS_MIN: Final = 2
# Squares of larger numbers, summed, lose the digits that differences are in.
NUMBER_MAX: Final = 1e12


class Kind(StrEnum):
    """What a metric counts: whether something happened, or how much."""

    CONVERSION = "conversion"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number per subject; 0 or 1 for a conversion."""

    name: str
    kind: Kind
    values: Floats


@dataclass(frozen=True, slots=True)
class Covariate:
    """One number per subject from before the experiment, which no variant can have changed."""

    name: str
    values: Floats


@dataclass(frozen=True, slots=True)
class Subjects:
    """Who was in an experiment; SubjectsError or TooFewError when it cannot be analysed.

    variants: names, the control first.  codes: each subject's variant, an index of these.
    """

    variants: tuple[str, ...]
    codes: Codes
    metrics: tuple[Metric, ...]
    covariates: tuple[Covariate, ...] = ()

    def __post_init__(self) -> None:
        self._check_variants()
        numbers: tuple[Metric | Covariate, ...] = (*self.metrics, *self.covariates)
        for one in numbers:
            _check_numbers(one.name, one.values, len(self.codes))
        for metric in self.metrics:
            if metric.kind is Kind.CONVERSION and np.any(
                (metric.values != 0) & (metric.values != 1)
            ):
                raise SubjectsError(metric.name, "another number", "0 and 1")

    def _check_variants(self) -> None:
        if not len(self.codes):
            raise TooFewError("subjects: none, allowed: 2 or more of each variant")
        if len(self.variants) < 2:
            seen = f"only {self.variants[0]!r}" if self.variants else "none"
            raise TooFewError(f"variants: {seen}, allowed: 2 to {VARIANTS_MAX}")
        if len(self.variants) > VARIANTS_MAX:
            raise TooFewError(f"variants: {len(self.variants)}, allowed: 2 to {VARIANTS_MAX}")
        if self.codes.min() < 0 or self.codes.max() >= len(self.variants):
            raise SubjectsError(
                "codes", "a code without a variant", f"0 to {len(self.variants) - 1}"
            )
        for name, count in zip(self.variants, self.counts(), strict=True):
            if count < SUBJECTS_MIN:
                allowed = f"{SUBJECTS_MIN} or more"
                raise TooFewError(f"variant {name!r}: {count} subjects, allowed: {allowed}")

    @property
    def control(self) -> str:
        """The variant that the others are compared with."""
        return self.variants[0]

    def counts(self) -> list[int]:
        """Each variant's number of subjects."""
        return [int(one) for one in np.bincount(self.codes, minlength=len(self.variants))]

    def split(self, values: Floats) -> list[Floats]:
        """Each variant's part of the values."""
        return [values[self.codes == code] for code in range(len(self.variants))]

    def treated(self, values: Floats) -> Iterator[tuple[str, Floats]]:
        """The name and part of the values of every variant but the control."""
        return zip(self.variants[1:], self.split(values)[1:], strict=True)


def _check_numbers(name: str, values: Floats, count: int) -> None:
    if values.shape != (count,):
        raise SubjectsError(name, f"{values.size} numbers", f"one for each of {count} subjects")
    if not np.all(np.abs(values) <= NUMBER_MAX):  # which NaN is not, either
        raise SubjectsError(name, "another number", f"finite ones up to {NUMBER_MAX:g}")
