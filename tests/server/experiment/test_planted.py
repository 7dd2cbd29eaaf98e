"""Experiments that are made up, so that what a report has to find is known."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nextbest.server.experiment.adjustment import uneven
from nextbest.server.experiment.contrast import contrast
from nextbest.server.experiment.design import Design
from nextbest.server.experiment.errors import ExperimentError
from nextbest.server.experiment.guardrail import State, parse_guardrail
from nextbest.server.experiment.report import Report, analyse
from nextbest.server.experiment.screen import screen
from nextbest.server.experiment.sequential import may_look, sequential
from nextbest.server.experiment.split import check_split
from nextbest.server.experiment.subjects import Covariate, Floats, Kind, Metric, Subjects

Make = Callable[..., Subjects]

TRIALS = 400
LOOKS = range(200, 4_001, 200)


def spend(random: np.random.Generator, size: int) -> Floats:
    """Mostly nothing, and sometimes a lot."""
    return np.asarray((random.random(size) < 0.3) * random.lognormal(3, 1, size))


def visits(random: np.random.Generator, size: int) -> Floats:
    return np.asarray((random.random(size) < 0.1).astype(float))


def false_alarms(kind: Kind, draw: Callable[..., Floats], seed: int) -> tuple[float, float, float]:
    """How often the last look, any fixed look and any sequential one of A/A tests is wrong."""
    random = np.random.default_rng(seed)
    last, any_fixed, any_sequential = 0, 0, 0
    for _ in range(TRIALS):
        arms = draw(random, LOOKS[-1]), draw(random, LOOKS[-1])
        fixed, looks = [], []
        for size in LOOKS:
            treated, control = arms[0][:size], arms[1][:size]
            found = contrast(kind, treated, control, 0.95)
            fixed.append(found.p is not None and found.p < 0.05)
            ready = may_look(kind, treated, control, found)
            looks.append(ready and sequential(found, 2 * size, 0.95, 5_000).p < 0.05)
        last, any_fixed, any_sequential = (
            last + fixed[-1],
            any_fixed + any(fixed),
            any_sequential + any(looks),
        )
    return last / TRIALS, any_fixed / TRIALS, any_sequential / TRIALS


@pytest.mark.parametrize(
    ("kind", "draw"), [(Kind.CONVERSION, visits), (Kind.VALUE, spend)], ids=["visits", "spend"]
)
def test_looking_twenty_times(kind: Kind, draw: Callable[..., Floats]) -> None:
    """One look keeps to 5 %, looking often at a fixed test does not, and the sequence does."""
    last, any_fixed, any_sequential = false_alarms(kind, draw, seed=5)
    # Three standard errors of 5 % over 400 trials.
    assert last == pytest.approx(0.05, abs=0.033)
    assert any_fixed > 0.15
    assert any_sequential < 0.05


def test_the_sequence_covers_a_true_difference_at_all_looks_together() -> None:
    random = np.random.default_rng(6)
    missed = 0
    for _ in range(TRIALS):
        arms = random.normal(1.5, 2, LOOKS[-1]), random.normal(1, 2, LOOKS[-1])
        for size in LOOKS:
            found = contrast(Kind.VALUE, arms[0][:size], arms[1][:size], 0.95)
            ends = sequential(found, 2 * size, 0.95, 5_000).interval
            if not ends.lower <= 0.5 <= ends.upper:
                missed += 1
                break
    assert missed / TRIALS < 0.05


@pytest.mark.parametrize(
    ("control", "treated", "ends", "p"),
    [
        ((100, 1_000), (145, 1_100), (-0.011555078911918669, 0.07519144254828228), 0.2798330),
        ((30, 400), (60, 400), (-0.0024110186208556594, 0.15241101862085565), 0.06161203862),
    ],
)
def test_the_sequence_is_growthbooks(
    control: tuple[int, int], treated: tuple[int, int], ends: tuple[float, float], p: float
) -> None:
    """gbstats 0.8.0, SequentialTwoSidedTTest of two ProportionStatistics, absolute differences."""
    arms = [np.r_[np.ones(k), np.zeros(n - k)] for k, n in (treated, control)]
    found = contrast(Kind.CONVERSION, *arms, 0.95)
    look = sequential(found, treated[1] + control[1], 0.95, 5_000)
    assert look.interval == pytest.approx(ends, rel=1e-9)
    assert look.p == pytest.approx(p, rel=1e-6)


def test_a_split_that_is_off_is_alarming_only_beside_its_plan(subjects: Make) -> None:
    made = subjects(np.arange(9_000) % 2, np.arange(1_000) % 2)
    assert analyse(made, Design()).split.alarm
    planned = analyse(made, Design(weights={"control": 9.0, "treated": 1.0}))
    assert planned.split.chi_square == pytest.approx(0.0)
    assert planned.sound


def test_splits_as_planned_raise_no_alarm_too_often() -> None:
    """At p < 0.01 about one in a hundred of 2,000 fair splits is doubtful or alarming."""
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(2_000):
        codes = random.integers(0, 3, 900, dtype=np.int32)
        found = check_split(Subjects(("a", "b", "c"), codes, ()), {}, 0.01)
        alarms += found.alarm
    assert 5 <= alarms <= 35


def test_cuped_takes_out_what_was_known_and_leaves_the_difference(subjects: Make) -> None:
    random = np.random.default_rng(8)
    before = random.normal(50, 10, 8_000)
    after = before + random.normal(0, 10, 8_000) + np.repeat([0.0, 1.0], 4_000)
    made = subjects(after[:4_000], after[4_000:], kind=Kind.VALUE, covariate=before)
    report = analyse(made, Design())
    assert report.adjusted is not None
    assert report.adjusted.reductions["metric"] == pytest.approx(0.5, abs=0.03)
    plain, adjusted = report.comparisons[0].contrast, report.adjusted.comparisons[0].contrast
    assert adjusted.variance == pytest.approx(plain.variance / 2, rel=0.06)
    assert adjusted.interval.lower < 1.0 < adjusted.interval.upper
    assert not report.adjusted.uneven


def test_a_covariate_that_the_variant_changed_is_told(subjects: Make) -> None:
    random = np.random.default_rng(9)
    after = random.normal(0, 1, 2_000) + np.repeat([0.0, 0.5], 1_000)
    made = subjects(
        after[:1_000],
        after[1_000:],
        kind=Kind.VALUE,
        covariate=after + 1e-2 * random.normal(size=2_000),
    )
    assert uneven(made, made.covariates[0])


def test_the_chance_of_a_fair_coin_is_a_half(subjects: Make) -> None:
    made = subjects(np.arange(2_000) % 2, np.arange(2_000) % 2)
    assert analyse(made, Design()).comparisons[0].chance == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        ("metric>=-0.30", State.KEPT),
        ("metric>=-0.1", State.NOT_SHOWN),
        ("metric>=0", State.BROKEN),
        ("metric<=0", State.KEPT),
        ("metric>=-50%", State.KEPT),
        ("metric >= -5 %", State.BROKEN),
    ],
)
def test_guardrails_read_the_whole_interval(subjects: Make, rule: str, state: State) -> None:
    """The difference is -10 points, between -16 and -4, from 50 %."""
    made = subjects(np.arange(600) % 2, np.arange(600) % 5 < 2)
    report = analyse(made, Design(guardrails=(parse_guardrail(rule, ["metric"]),)))
    assert [one.state for one in report.guardrails] == [state]
    assert report.sound == (state is State.KEPT)


def nothing_unknown(report: Report) -> bool:
    pair = report.comparisons[0]
    return None not in (pair.contrast.p, pair.p_holm, pair.chance)


@pytest.mark.parametrize("kind", Kind)
def test_what_never_varies_has_no_p_value(subjects: Make, kind: Kind) -> None:
    report = analyse(subjects(np.zeros(300), np.zeros(300), kind=kind), Design())
    pair = report.comparisons[0]
    assert (pair.contrast.difference, pair.contrast.p, pair.p_holm) == (0.0, None, None)
    assert (pair.sequential, pair.contrast.lift) == (None, None)


@pytest.mark.parametrize("kind", Kind)
def test_one_arm_that_never_varies_is_compared(subjects: Make, kind: Kind) -> None:
    made = subjects(np.zeros(300), np.arange(300) % 2, kind=kind)
    assert nothing_unknown(analyse(made, Design()))


def test_rare_conversions_are_too_few_to_look_at(subjects: Make) -> None:
    made = subjects(np.arange(3_000) % 400 == 0, np.arange(3_000) % 400 == 0)
    assert analyse(made, Design()).comparisons[0].sequential is None


@pytest.mark.parametrize(("few", "many"), [((0, 50), (0, 500_000)), ((25, 50), (250_000, 500_000))])
def test_the_chance_is_integrated_where_one_side_is_nearly_certain(
    subjects: Make, few: tuple[int, int], many: tuple[int, int]
) -> None:
    """P(few > many) is P(few > m) when `many` is m for certain: of Beta(1, 51) and Beta(26, 26)."""
    arms = [np.r_[np.ones(k), np.zeros(n - k)] for k, n in (many, few)]
    chance = analyse(subjects(*arms), Design()).comparisons[0].chance
    ours, theirs = stats.beta(1 + few[0], 1 + few[1] - few[0]), (1 + many[0]) / (2 + many[1])
    assert chance == pytest.approx(float(ours.sf(theirs)), abs=1e-6)


NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e12, -1e12, 1e-300, 5e-324]), st.floats(-1e12, 1e12)
)


@st.composite
def any_subjects(draw: st.DrawFn) -> tuple[Any, ...]:
    """What a source might hand over: few, equal, huge and tiny numbers, and empty variants."""
    variants = draw(st.integers(1, 3))
    rows = draw(st.lists(st.tuples(st.integers(0, variants - 1), NUMBERS, NUMBERS, st.booleans())))
    times = draw(st.sampled_from([1, 1, 40]))
    table = np.array(rows * times, float).reshape(-1, 4)
    metrics = (
        Metric("value", Kind.VALUE, table[:, 1]),
        Metric("conversion", Kind.CONVERSION, table[:, 3]),
    )
    covariates = (Covariate("before", table[:, 2]),)[: draw(st.integers(0, 1))]
    return tuple("abc"[:variants]), table[:, 0].astype(np.int32), metrics, covariates


@settings(max_examples=100, deadline=None, derandomize=True)
@given(any_subjects(), st.sampled_from([0.5, 0.95, 0.9999]))
def test_any_subjects_have_a_report_or_a_typed_error(made: tuple[Any, ...], level: float) -> None:
    """Without a warning, and without a number that JSON does not have."""
    try:
        report = analyse(Subjects(*made), Design(level=level))
    except ExperimentError:
        return
    assert json.dumps(report.as_dict(), allow_nan=False)
    assert list(screen(report))
