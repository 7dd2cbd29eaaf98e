"""The Open Bandit men: the figures beside a second implementation, written in plain numpy."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from nextbest.server.offpolicy import Columns, Observed, Settings, analyse, observe, read_choices
from nextbest.server.offpolicy.log_file import read_log
from nextbest.server.offpolicy.reward_model import predict

SAME = {"rel": 1e-9, "abs": 1e-12}
CLIP = 5.0
Z95 = 1.959963984540054
Table = dict[str, np.ndarray]


def read_table(path: Path) -> Table:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module", params=[("random", "bts"), ("bts", "random")], ids="->".join)
def pair(request: pytest.FixtureRequest, men: Callable[[str], Path]) -> tuple[Path, Path]:
    """The log, and the one whose policy is evaluated; the second has small propensities."""
    log, other = map(men, request.param)
    return log, other


@pytest.fixture(scope="module")
def log(pair: tuple[Path, Path]) -> Table:
    return read_table(pair[0])


@pytest.fixture(scope="module")
def other(pair: tuple[Path, Path]) -> Table:
    return read_table(pair[1])


@pytest.fixture(scope="module")
def observed(pair: tuple[Path, Path]) -> Observed:
    return observe(read_log(pair[0], Columns()), read_choices(pair[1], Columns()))


@pytest.fixture(scope="module")
def shares(other: Table) -> dict[tuple[str, str], float]:
    """The share of each item in each position."""
    chosen = Counter(zip(other["position"], other["item_id"], strict=True))
    filled = Counter(other["position"])
    return {pair: count / filled[pair[0]] for pair, count in chosen.items()}


@pytest.fixture(scope="module")
def weight(log: Table, shares: dict[tuple[str, str], float]) -> np.ndarray:
    pairs = zip(log["position"], log["item_id"], strict=True)
    taken = np.array([shares.get(pair, 0.0) for pair in pairs])
    return taken / log["propensity_score"].astype(float)


@pytest.fixture(scope="module")
def predicted() -> np.ndarray:
    """Any predictions: what is compared is what the estimators make of them."""
    return np.random.default_rng(3).uniform(0.0, 0.02, (10_000, 34))


@pytest.fixture(scope="module")
def expected(log: Table, shares: dict[tuple[str, str], float], predicted: np.ndarray) -> np.ndarray:
    return np.array(
        [
            sum(shares.get((slot, str(item)), 0.0) * row[item] for item in range(34))
            for slot, row in zip(log["position"], predicted, strict=True)
        ]
    )


def check(analysis, name: str, each: np.ndarray) -> None:
    """An estimate that is a plain mean, with its normal interval."""
    mean, error = each.mean(), each.std(ddof=1) / np.sqrt(len(each))
    found = analysis.estimates[name]
    assert found.mean == pytest.approx(mean, **SAME)
    assert found.standard_error == pytest.approx(error, **SAME)
    assert found.lower == pytest.approx(mean - Z95 * error, **SAME)
    assert found.upper == pytest.approx(mean + Z95 * error, **SAME)


def test_estimates_equal_a_plain_implementation(
    observed: Observed,
    log: Table,
    other: Table,
    weight: np.ndarray,
    predicted: np.ndarray,
    expected: np.ndarray,
) -> None:
    found = analyse(observed.feedback, Settings(CLIP), observed.on_policy, predicted)
    reward = log["click"].astype(float)
    clipped = np.minimum(weight, CLIP)
    chosen = predicted[np.arange(len(reward)), log["item_id"].astype(int)]
    check(found, "logged", reward)
    check(found, "on_policy", other["click"].astype(float))
    check(found, "ips", weight * reward)
    check(found, "clipped_ips", clipped * reward)
    check(found, "dm", expected)
    check(found, "dr", expected + clipped * (reward - chosen))
    check(found, "gain", expected + clipped * (reward - chosen) - reward)


def test_snips_equals_a_plain_implementation(
    observed: Observed, log: Table, weight: np.ndarray, predicted: np.ndarray
) -> None:
    reward, rows = log["click"].astype(float), len(weight)
    value = (weight @ reward) / weight.sum()
    error = np.sqrt(np.sum((weight * (reward - value)) ** 2) / weight.sum() ** 2)
    found = analyse(observed.feedback, predicted=predicted).estimates["snips"]
    assert found.mean == pytest.approx(value, **SAME)
    assert found.standard_error == pytest.approx(error * np.sqrt(rows / (rows - 1)), **SAME)


def test_weights_are_told_as_a_plain_implementation_has_them(
    observed: Observed, weight: np.ndarray, predicted: np.ndarray
) -> None:
    found = analyse(observed.feedback, Settings(CLIP), predicted=predicted).estimates
    clipped = np.minimum(weight, CLIP)
    for name, each in (("ips", weight), ("snips", weight), ("clipped_ips", clipped)):
        wanted = each.sum() ** 2 / (each @ each)
        assert found[name].effective_size == pytest.approx(wanted, **SAME)
        assert found[name].weight_max == each.max()
    assert found["dr"].clipped == np.mean(weight > CLIP)
    assert found["ips"].clipped == 0.0
    assert found["dm"].effective_size is None


def test_the_reward_model_equals_scikit_learns_by_hand(observed: Observed, log: Table) -> None:
    """Columns of 0 and 1 built here, the same folds, and the logistic regression of the library."""
    names = [f"user_feature_{one}" for one in range(4)]
    context = [np.unique(log[name], return_inverse=True)[1] for name in names]
    slot = np.eye(3)[log["position"].astype(int) - 1]
    spread = np.hstack([np.eye(column.max() + 1)[column] for column in context])
    item, click = log["item_id"].astype(int), log["click"].astype(int)
    found = predict(observed.feedback, "linear", 5, 11)
    for seen, unseen in KFold(5, shuffle=True, random_state=11).split(item):
        mean, spans = spread[seen].mean(axis=0), spread[seen].std(axis=0)
        there = (spread - mean) / np.where(spans > 0, spans, 1.0)
        model = LogisticRegression(solver="newton-cholesky")
        model.fit(np.hstack([np.eye(34)[item], slot, there])[seen], click[seen])
        for one in (0, 33):
            table = np.hstack([np.tile(np.eye(34)[one], (len(item), 1)), slot, there])
            wanted = model.predict_proba(table[unseen])[:, 1]
            np.testing.assert_allclose(found[unseen, one], wanted, rtol=1e-9)


def test_the_evaluated_policy_is_the_share_of_each_slot(
    observed: Observed, shares: dict[tuple[str, str], float]
) -> None:
    for (slot, item), wanted in shares.items():
        found = observed.feedback.evaluation[int(slot) - 1, int(item)]
        assert found == pytest.approx(wanted, **SAME)


def test_the_mean_of_a_choices_propensities_is_too_large(men: Callable[[str], Path]) -> None:
    """As `observe` says: the rows in which an item was chosen are those where that was likelier."""
    bts = read_table(men("bts"))
    sums = Counter()
    for slot, item in set(zip(bts["position"], bts["item_id"], strict=True)):
        chosen = (bts["position"] == slot) & (bts["item_id"] == item)
        sums[slot] += bts["propensity_score"][chosen].astype(float).mean()
    assert all(1.5 < total < 3 for total in sums.values())


def test_all_that_either_does_has_support_in_the_other(observed: Observed) -> None:
    found = analyse(observed.feedback, predicted=np.zeros((10_000, 34)))
    assert found.missing == ()
    assert found.cautions == ()
