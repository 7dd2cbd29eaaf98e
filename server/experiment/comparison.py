"""A variant beside the control in one metric: all that is said of the pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from statsmodels.stats.multitest import multipletests

from nextbest.server.experiment.chance import chance_of_more
from nextbest.server.experiment.contrast import Contrast, contrast
from nextbest.server.experiment.sequential import Sequential, may_look, sequential
from nextbest.server.experiment.subjects import Metric, Subjects


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference, once as a test that is read at its end, once as one that runs.

    p_holm: `contrast.p` corrected for all comparisons of the report; sequential_p_holm: the same of
    `sequential.p`.  chance: that the variant's mean is higher.  None: there is too little to tell.
    """

    metric: str
    variant: str
    contrast: Contrast
    p_holm: float | None
    chance: float | None
    sequential: Sequential | None
    sequential_p_holm: float | None


def compare(subjects: Subjects, metric: Metric, level: float, tuned_for: int) -> list[Comparison]:
    """Every variant with the control in one metric, not yet corrected."""
    control = subjects.split(metric.values)[0]
    made = []
    for variant, treated in subjects.treated(metric.values):
        found = contrast(metric.kind, treated, control, level)
        look = None
        if may_look(metric.kind, treated, control, found):
            look = sequential(found, len(treated) + len(control), level, tuned_for)
        chance = chance_of_more(metric.kind, treated, control, found)
        made.append(Comparison(metric.name, variant, found, None, chance, look, None))
    return made


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's correction over all of them."""
    fixed = _holm([one.contrast.p for one in comparisons])
    looks = _holm([one.sequential.p if one.sequential else None for one in comparisons])
    triples = zip(comparisons, fixed, looks, strict=True)
    return [replace(one, p_holm=p, sequential_p_holm=look) for one, p, look in triples]


def _holm(values: Sequence[float | None]) -> list[float | None]:
    """What is unknown is no test and is not counted."""
    known = [one for one in values if one is not None]
    if not known:
        return list(values)
    changed = iter(multipletests(known, method="holm")[1])
    return [None if one is None else float(next(changed)) for one in values]
