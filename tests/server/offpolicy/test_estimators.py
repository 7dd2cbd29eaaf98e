"""Estimators on a small world whose truth is known: who is right when what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nextbest.server.offpolicy import Feedback, Settings, Trust, analyse
from nextbest.server.offpolicy.reward_model import predict

ROWS = 400
SEEDS = range(300)
UNCLIPPED = Settings(clip=1e9)


def bias(found: list[float], truth: float) -> float:
    """How many standard errors the mean of many estimates is off."""
    return abs(np.mean(found) - truth) / (np.std(found, ddof=1) / np.sqrt(len(found)))


@pytest.fixture(scope="module")
def samples(world) -> list[Feedback]:
    return [world.sample(ROWS, seed) for seed in SEEDS]


def estimates(samples, predicted, names=("ips", "snips", "dm", "dr"), settings=UNCLIPPED):
    found = [analyse(one, settings, predicted=predicted(one)).estimates for one in samples]
    return {name: [each[name] for each in found] for name in names}


def test_intervals_cover_the_truth_at_about_their_level(world, samples) -> None:
    """285 of 300 are expected to; 270 or 297 would be 4 deviations away."""
    found = estimates(samples, lambda one: np.full((one.rows, 4), 0.3))
    for name in ("ips", "snips", "dr"):
        covered = sum(one.lower <= world.truth <= one.upper for one in found[name])
        assert 270 <= covered <= 297, name


def test_intervals_of_the_cross_fitted_estimate_cover_the_truth(world) -> None:
    found = [analyse(world.sample(ROWS, seed)).estimates["dr"] for seed in range(60)]
    covered = sum(one.lower <= world.truth <= one.upper for one in found)
    assert 51 <= covered <= 60
    assert bias([one.mean for one in found], world.truth) < 4


def test_bootstrap_intervals_cover_the_truth(world, samples) -> None:
    settings = replace(UNCLIPPED, trust=Trust(resamples=200, seed=1))
    found = estimates(samples[:80], lambda one: np.full((one.rows, 4), 0.3), settings=settings)
    for name in ("ips", "snips", "dr"):
        covered = sum(one.lower <= world.truth <= one.upper for one in found[name])
        assert 68 <= covered <= 80, name


def test_a_higher_level_is_a_wider_interval(world, samples) -> None:
    wide = estimates(samples[:1], world.predictions, settings=Settings(trust=Trust(0.99)))["dr"][0]
    narrow = estimates(samples[:1], world.predictions, settings=Settings())["dr"][0]
    assert wide.lower < narrow.lower < narrow.upper < wide.upper


def test_dr_is_right_with_a_wrong_model(world, samples) -> None:
    found = estimates(samples, lambda one: np.full((one.rows, 4), 0.9))
    assert bias([one.mean for one in found["dr"]], world.truth) < 4
    assert bias([one.mean for one in found["ips"]], world.truth) < 4
    assert found["dm"][0].mean == pytest.approx(0.9)


def test_dr_is_right_with_wrong_propensities(world, samples) -> None:
    wrong = [replace(one, propensity_logging=np.full(one.rows, 0.25)) for one in samples]
    found = estimates(wrong, world.predictions)
    assert bias([one.mean for one in found["dr"]], world.truth) < 4
    assert bias([one.mean for one in found["ips"]], world.truth) > 8


def test_a_good_model_makes_the_interval_narrower(world, samples) -> None:
    found = estimates(samples[:50], world.predictions)
    errors = {name: np.mean([one.standard_error for one in each]) for name, each in found.items()}
    assert errors["dr"] < 0.9 * errors["ips"]


def test_clipping_is_biased_towards_0_and_varies_less(world, samples) -> None:
    whole = estimates(samples, world.predictions, ("clipped_ips",))["clipped_ips"]
    cut = estimates(samples, world.predictions, ("clipped_ips",), Settings(clip=2.0))["clipped_ips"]
    assert np.mean([one.mean for one in cut]) < 0.9 * world.truth
    assert np.std([one.mean for one in cut]) < np.std([one.mean for one in whole])
    assert cut[0].weight_max == 2.0
    assert cut[0].clipped > 0.05


def test_the_boosted_model_learns_who_likes_what(world) -> None:
    feedback = world.sample(6_000, 1)
    truth = world.predictions(feedback)
    off = {m: np.abs(predict(feedback, m, 5, 0) - truth).mean() for m in ("linear", "boosting")}
    assert off["boosting"] < 0.5 * off["linear"]


def test_rewards_that_are_no_chance_have_a_model_too(world) -> None:
    feedback = world.sample(3_000, 2)
    doubled = replace(feedback, reward=10.0 * feedback.reward)
    for model in ("linear", "boosting"):
        found = analyse(doubled, Settings(model=model)).estimates["dr"]
        assert found.lower < 10 * world.truth < found.upper


def test_rewards_that_are_all_equal_are_predicted_as_such(world) -> None:
    feedback = replace(world.sample(200, 3), reward=np.zeros(200))
    for trust in (Trust(), Trust(resamples=50)):
        found = analyse(feedback, Settings(trust=trust)).estimates["dr"]
        assert (found.mean, found.lower, found.upper) == (0.0, 0.0, 0.0)


def test_rows_of_a_cluster_count_once(world) -> None:
    """Each row four times over says no more than once, if it is known that they are the same."""
    feedback = world.sample(500, 4)
    repeated = {
        name: np.repeat(getattr(feedback, name), 4, axis=0)
        for name in ("action", "slot", "reward", "propensity_logging", "context", "evaluation_row")
    }
    many = replace(feedback, **repeated, cluster=np.repeat(np.arange(500), 4))
    model = np.full((500, 4), 0.3)
    for trust in (Trust(), Trust(resamples=300)):
        settings = Settings(trust=trust)
        once = analyse(feedback, settings, predicted=model).estimates
        found = analyse(many, settings, predicted=np.repeat(model, 4, axis=0)).estimates
        for name in ("ips", "snips", "dr"):
            assert found[name].mean == pytest.approx(once[name].mean)
            assert found[name].standard_error == pytest.approx(once[name].standard_error)
    assert analyse(many).estimates["dr"].mean == pytest.approx(world.truth, abs=0.15)


def test_one_seed_has_one_result(world) -> None:
    feedback = world.sample(200, 5)
    one, same, other = (
        analyse(feedback, Settings(seed=seed, trust=Trust(resamples=99, seed=seed))).estimates["dr"]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_the_gains_interval_is_that_of_the_difference(world, samples) -> None:
    """Its truth is that of the policy less that of the logging policy, from the same rows."""
    logged = np.einsum("k,ka,ksa->", world.kinds, world.logging, world.chance) / 2
    found = estimates(samples, world.predictions, ("gain", "dr", "logged"))
    gain = found["gain"]
    covered = sum(one.lower <= world.truth - logged <= one.upper for one in gain)
    assert 270 <= covered <= 297
    assert gain[0].mean == pytest.approx(found["dr"][0].mean - found["logged"][0].mean)
    apart = np.hypot(found["dr"][0].standard_error, found["logged"][0].standard_error)
    assert gain[0].standard_error < 0.9 * apart
