"""What feedback may hold, and what is said of what it lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nextbest.server.offpolicy import FeedbackError, NoOverlapError, Settings, Trust, analyse

WRONG = {
    "propensity_logging[2]: 0.0": {"propensity_logging": np.array([0.5, 0.5, 0.0, 0.5])},
    "propensity_logging[1]: 1.5": {"propensity_logging": np.array([0.5, 1.5, 0.5, 0.5])},
    "propensity_logging[0]: nan": {"propensity_logging": np.array([np.nan, 0.5, 0.5, 0.5])},
    "reward[3]: inf": {"reward": np.array([0.0, 0.0, 0.0, np.inf])},
    "action[1]: 2, allowed: 0 to 1": {"action": np.array([0, 2, 0, 1])},
    "action: float64": {"action": np.zeros(4)},
    "slot[0]: -1": {"slot": np.array([-1, 0, 0, 0])},
    "evaluation_row[3]: 1": {"evaluation_row": np.array([0, 0, 0, 1])},
    "evaluation[0]: 0.9": {"evaluation": np.array([[0.25, 0.65]])},
    "evaluation[0]: -0.5": {"evaluation": np.array([[-0.5, 1.5]])},
    "evaluation: shape (1, 3)": {"evaluation": np.ones((1, 3)) / 3},
    "reward: shape (3,)": {"reward": np.zeros(3)},
    "context: shape (3, 1)": {"context": np.zeros((3, 1))},
    "context[2]: nan": {"context": np.array([[0.0], [0.0], [np.nan], [0.0]])},
    "cluster: shape (1,)": {"cluster": np.zeros(1, dtype=np.int64)},
    "rows x actions: 80,000,000": {"actions": tuple(map(str, range(20_000_000)))},
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_fields_are_named(small, text: str) -> None:
    with pytest.raises(FeedbackError) as caught:
        small(**WRONG[text])
    assert str(caught.value).startswith(text)
    assert ", allowed: " in str(caught.value)


def test_one_row_or_cluster_is_too_little(small) -> None:
    with pytest.raises(FeedbackError, match="clusters: 1, allowed: at least 2"):
        analyse(small(cluster=np.zeros(4, dtype=np.int64)), predicted=np.zeros((4, 2)))
    with pytest.raises(FeedbackError, match="folds: 9, allowed: 2 to 4"):
        analyse(small(), Settings(folds=9))


def test_settings_are_checked(small) -> None:
    with pytest.raises(FeedbackError, match="clip: 0"):
        analyse(small(), Settings(clip=0))
    with pytest.raises(FeedbackError, match="'forest', allowed: linear, boosting"):
        analyse(small(), Settings(model="forest"))
    with pytest.raises(FeedbackError, match=r"predicted: shape \(4, 1\), allowed: \(4, 2\)"):
        analyse(small(), predicted=np.zeros((4, 1)))


def test_a_policy_that_takes_nothing_logged_cannot_be_evaluated(small) -> None:
    never = {"action": np.zeros(4, dtype=np.int64), "evaluation": np.array([[0.0, 1.0]])}
    with pytest.raises(NoOverlapError):
        analyse(small(**never), predicted=np.zeros((4, 2)))


def test_a_bootstrap_without_overlap_is_no_figure(small) -> None:
    rare = {"action": np.array([0, 0, 0, 1]), "evaluation": np.array([[0.0, 1.0]])}
    settings = Settings(trust=Trust(resamples=50))
    with pytest.raises(FeedbackError, match="resamples without overlap"):
        analyse(small(**rare), settings, predicted=np.zeros((4, 2)))


def test_missing_support_is_named_with_its_mass(small) -> None:
    fields = {
        "slot": np.array([0, 0, 1, 1]),
        "slots": ("hero", "foot"),
        "evaluation": np.array([[0.25, 0.75], [1.0, 0.0]]),
        "evaluation_row": np.array([0, 0, 0, 1]),
        "action": np.array([0, 0, 0, 0]),
    }
    found = analyse(small(**fields), predicted=np.zeros((4, 2)))
    lacking = [(one.slot, one.action, one.mass) for one in found.missing]
    assert lacking == [("hero", "b", 0.375), ("foot", "b", 0.1875)]
    assert found.missing_mass == 0.5625
    assert found.values()["support.missing"] == 0.5625
    assert "56.25%" in found.cautions[0]
    assert "b in slot hero (37.50%), b in slot foot (18.75%)" in found.cautions[0]


def test_few_effective_rows_are_warned_of(world) -> None:
    assert any("effective sample size" in one for one in analyse(world.sample(80, 1)).cautions)
    assert analyse(world.sample(800, 1)).cautions == ()


def test_propensities_that_cannot_be_are_warned_of(world) -> None:
    feedback = world.sample(2_000, 1)
    found = analyse(replace(feedback, propensity_logging=feedback.propensity_logging / 2))
    assert any("the mean weight is" in one and "1 is expected" in one for one in found.cautions)
