"""Two public tests, read by the command and computed once more by SciPy and by formulas."""

import csv
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import Result

Find = Callable[[str], Path]
Invoke = Callable[..., Result]

CONTROL = "No E-Mail"
ARMS = ("Mens E-Mail", "Womens E-Mail")


def columns(file: Path) -> dict[str, list[str]]:
    with gzip.open(file, "rt", newline="") as text:
        header, *rows = list(csv.reader(text))
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


@pytest.fixture(scope="module")
def hillstrom(data_file: Find) -> Path:
    return data_file("hillstrom/hillstrom_share_odd_rows.csv.gz")


@pytest.fixture(scope="module")
def cookie_cats(data_file: Find) -> Path:
    return data_file("ab_test/cookie_cats.csv.gz")


@pytest.fixture(scope="module")
def report(hillstrom: Path, invoke: Invoke) -> dict[str, Any]:
    options = [
        "--conversion",
        "visit",
        "--conversion",
        "conversion",
        "--value",
        "spend",
        "--covariate",
        "history",
    ]
    made = invoke(hillstrom, "--variant", "segment", "--control", CONTROL, *options, "--json")
    assert made.exit_code == 0, made.output
    found: dict[str, Any] = json.loads(made.output)
    return found


@pytest.fixture(scope="module")
def arms(hillstrom: Path) -> dict[str, dict[str, np.ndarray]]:
    data = columns(hillstrom)
    segment = np.array(data["segment"])
    names = ("visit", "conversion", "spend", "history")
    return {
        arm: {n: np.array(data[n], float)[segment == arm] for n in names} for arm in set(segment)
    }


def pair(report: dict[str, Any], metric: str, arm: str) -> dict[str, Any]:
    found = report["comparisons"]
    return next(one for one in found if (one["metric"], one["variant"]) == (metric, arm))


def mean_of(report: dict[str, Any], metric: str, arm: str) -> dict[str, Any]:
    found = report["arms"]
    return next(one for one in found if (one["metric"], one["variant"]) == (metric, arm))


def wilson(values: np.ndarray) -> tuple[float, float]:
    test = stats.binomtest(int(values.sum()), len(values))
    ends = test.proportion_ci(method="wilson")
    return ends.low, ends.high


@pytest.mark.parametrize("metric", ["visit", "conversion"])
@pytest.mark.parametrize("arm", [CONTROL, *ARMS])
def test_hillstrom_rates(report: Any, arms: Any, metric: str, arm: str) -> None:
    found, values = mean_of(report, metric, arm), arms[arm][metric]
    assert (found["subjects"], found["total"]) == (len(values), values.sum())
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert found["interval"] == pytest.approx(wilson(values), rel=1e-9)


@pytest.mark.parametrize("arm", [CONTROL, *ARMS])
def test_hillstrom_spend(report: Any, arms: Any, arm: str) -> None:
    found, values = mean_of(report, "spend", arm), arms[arm]["spend"]
    ends = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert found["interval"] == pytest.approx(ends, rel=1e-9)


@pytest.mark.parametrize("metric", ["visit", "conversion"])
@pytest.mark.parametrize("arm", ARMS)
def test_hillstrom_differences_of_rates(report: Any, arms: Any, metric: str, arm: str) -> None:
    """Newcombe's interval by its formula; the z test is the chi-square of the 2 x 2 table."""
    found = pair(report, metric, arm)["contrast"]
    ours, control = arms[arm][metric], arms[CONTROL][metric]
    table = [[one.sum(), len(one) - one.sum()] for one in (ours, control)]
    assert found["p"] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    (low, high), (low_c, high_c) = wilson(ours), wilson(control)
    rate, rate_c = ours.mean(), control.mean()
    lower = rate - rate_c - math.hypot(rate - low, high_c - rate_c)
    upper = rate - rate_c + math.hypot(high - rate, rate_c - low_c)
    assert found["interval"] == pytest.approx((lower, upper), rel=1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_hillstrom_difference_of_spend(report: Any, arms: Any, arm: str) -> None:
    found = pair(report, "spend", arm)["contrast"]
    test = stats.ttest_ind(arms[arm]["spend"], arms[CONTROL]["spend"], equal_var=False)
    assert found["p"] == pytest.approx(test.pvalue, rel=1e-9)
    assert found["interval"] == pytest.approx(tuple(test.confidence_interval()), rel=1e-9)


@pytest.mark.parametrize("metric", ["visit", "conversion", "spend"])
@pytest.mark.parametrize("arm", ARMS)
def test_hillstrom_lifts(report: Any, arms: Any, metric: str, arm: str) -> None:
    """The delta method beside the normal quantiles of 200,000 drawn ratios of means."""
    found = pair(report, metric, arm)["contrast"]
    random = np.random.default_rng(1)
    drawn = [
        random.normal(one.mean(), one.std() / math.sqrt(len(one)), 200_000)
        for one in (arms[arm][metric], arms[CONTROL][metric])
    ]
    spread = np.quantile(drawn[0] / drawn[1] - 1, [0.16, 0.84])
    half = (found["lift_interval"][1] - found["lift_interval"][0]) / 2 / 1.96
    assert found["lift"] == pytest.approx(found["difference"] / arms[CONTROL][metric].mean())
    assert half == pytest.approx((spread[1] - spread[0]) / 2, rel=0.06)


def test_hillstrom_holm(report: Any) -> None:
    """The smallest of six counts six times, the next five times, none less than the one before."""
    pairs = sorted(report["comparisons"], key=lambda one: one["contrast"]["p"])
    largest = 0.0
    for place, one in enumerate(pairs):
        largest = max(largest, min(1.0, one["contrast"]["p"] * (len(pairs) - place)))
        assert one["p_holm"] == pytest.approx(largest)


@pytest.mark.parametrize("metric", ["visit", "conversion"])
@pytest.mark.parametrize("arm", ARMS)
def test_hillstrom_chances(report: Any, arms: Any, metric: str, arm: str) -> None:
    """The integral beside a million draws of both posteriors."""
    random = np.random.default_rng(2)
    draws = [
        random.beta(1 + one.sum(), 1 + len(one) - one.sum(), 1_000_000)
        for one in (arms[arm][metric], arms[CONTROL][metric])
    ]
    drawn = float(np.mean(draws[0] > draws[1]))
    assert pair(report, metric, arm)["chance"] == pytest.approx(drawn, abs=0.001)


@pytest.mark.parametrize("metric", ["visit", "conversion", "spend"])
@pytest.mark.parametrize("arm", ARMS)
def test_hillstrom_cuped(report: Any, arms: Any, metric: str, arm: str) -> None:
    """One covariate: the slope is a covariance by a variance, both within arms."""
    every = [CONTROL, *ARMS]
    known = np.concatenate([arms[one]["history"] - arms[one]["history"].mean() for one in every])
    told = np.concatenate([arms[one][metric] - arms[one][metric].mean() for one in every])
    slope = float(known @ told / (known @ known))
    adjusted = {one: arms[one][metric] - slope * arms[one]["history"] for one in every}
    test = stats.ttest_ind(adjusted[arm], adjusted[CONTROL], equal_var=False)
    found = pair(report["adjusted"], metric, arm)["contrast"]
    assert found["difference"] == pytest.approx(adjusted[arm].mean() - adjusted[CONTROL].mean())
    assert found["interval"] == pytest.approx(tuple(test.confidence_interval()), rel=1e-9)
    correlation = float(np.corrcoef(known, told)[0, 1])
    assert report["adjusted"]["reductions"][metric] == pytest.approx(correlation**2, rel=1e-6)


def test_hillstrom_sequential_is_growthbooks(report: Any) -> None:
    """gbstats 0.8.0 with its default tuning parameter gives these for the same counts."""
    found = pair(report, "visit", "Mens E-Mail")["sequential"]
    assert found["interval"] == pytest.approx((0.0599584249599689, 0.0900198547168097), rel=1e-9)
    assert found["p"] == pytest.approx(1.5324740690798948e-51, rel=1e-9)


def test_hillstrom_split(report: Any) -> None:
    assert report["split"]["p"] == pytest.approx(stats.chisquare([10_586, 10_778, 10_636]).pvalue)
    assert not report["split"]["alarm"]
    assert not report["split"]["doubt"]


def test_cookie_cats(cookie_cats: Path, invoke: Invoke) -> None:
    """Day-7 retention fell by 0.82 points; the split is doubtful, and no alarm below 0.001."""
    options = ("--variant", "version", "--control", "gate_30", "--conversion", "retention_7")
    made = invoke(cookie_cats, *options, "--subject", "userid", "--json")
    report = json.loads(made.output)
    assert [one["subjects"] for one in report["split"]["shares"]] == [44_700, 45_489]
    assert report["split"]["p"] == pytest.approx(stats.chisquare([44_700, 45_489]).pvalue)
    assert report["split"]["doubt"]
    assert made.exit_code == 0
    data = columns(cookie_cats)
    kept = np.array(data["retention_7"]) == "TRUE"
    gate = np.array(data["version"])
    table = [[kept[gate == g].sum(), (~kept)[gate == g].sum()] for g in ("gate_40", "gate_30")]
    found = pair(report, "retention_7", "gate_40")["contrast"]
    assert found["difference"] == pytest.approx(
        kept[gate == "gate_40"].mean() - kept[gate == "gate_30"].mean()
    )
    assert found["difference"] == pytest.approx(-0.0082, abs=5e-5)
    assert found["p"] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)


def test_cookie_cats_with_an_alarm_at_one_in_a_hundred(cookie_cats: Path, invoke: Invoke) -> None:
    options = ("--variant", "version", "--control", "gate_30", "--conversion", "retention_7")
    made = invoke(cookie_cats, *options, "--alarm-below", "0.01")
    assert made.exit_code == 1
    assert made.output.startswith("SAMPLE-RATIO MISMATCH: chi-square 6.90, p = 0.0086, below 0.01")
