"""Exploration: what is drawn, with what probability, and that the answer tells it exactly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from scipy import stats

from nextbest.core.playbook.plan import Exploration, ExplorationKind, Placement
from nextbest.v1 import decision_pb2
from tests.core.exploration_model import (
    EPSILON,
    NOW_US,
    OFFERS,
    SOFTMAX,
    Offer,
    Policy,
    best,
    chances,
    decide,
    engine_of,
    plan_of,
    request,
    shown,
)

# A chi-square of draws that are as they should be is beyond this once in a million runs; the draws
# are the same in every run.
P_LEAST = 1e-6
EXACT = 1e-12
KINDS = pytest.mark.parametrize("exploration", [EPSILON, SOFTMAX], ids=["epsilon", "softmax"])
POLICIES = [
    Policy(exploration, slots, alike_max)
    for exploration in (EPSILON, SOFTMAX)
    for slots, alike_max in ((1, 0), (3, 0), (3, 1), (6, 2))
]
SHAPES = pytest.mark.parametrize("policy", POLICIES, ids=lambda one: f"{one.slots}-{one.alike_max}")


def p_value(counts: Mapping[Any, int], expected: Mapping[Any, float]) -> float:
    """Of a chi-square test; what is expected fewer than 5 times is put together."""
    total = sum(counts.values())
    assert set(counts) <= {key for key, share in expected.items() if share > 0}
    rare = [key for key, share in expected.items() if share * total < 5]
    common = [key for key in expected if key not in rare]
    seen = [counts.get(key, 0) for key in common]
    wanted = [expected[key] * total for key in common]
    if rare and sum(expected[key] for key in rare) * total >= 5:
        seen.append(sum(counts.get(key, 0) for key in rare))
        wanted.append(sum(expected[key] for key in rare) * total)
    scale = sum(seen) / sum(wanted)
    return float(stats.chisquare(seen, [one * scale for one in wanted]).pvalue)


def check_told(
    policy: Policy, placement: decision_pb2.PlacementDecision, taken: Sequence[str] = ()
) -> None:
    """Compare every slot's probability with the model's, given the slots before."""
    names = shown(placement)
    for slot, one in enumerate(placement.propositions):
        left = policy.left(names[:slot], taken)
        wanted = chances(policy.exploration, left)[one.action]
        assert one.propensity_logging == pytest.approx(wanted, rel=EXACT, abs=0)
        assert one.explored == (one.action != best(left))
    assert len(names) == policy.slots or not policy.left(names, taken)


@SHAPES
def test_every_slot_tells_its_exact_probability_and_draws_follow_it(policy: Policy) -> None:
    engine = engine_of(plan_of(page=policy.placement()))
    counts: Counter[tuple[str, ...]] = Counter()
    for number in range(20_000):
        placement = decide(engine, number, "page").placements[0]
        counts[shown(placement)] += 1
        if number < 2_000:
            check_told(policy, placement)
    expected = dict(policy.sequences())
    assert math.fsum(expected.values()) == pytest.approx(1, abs=EXACT)
    assert p_value(counts, expected) > P_LEAST


@KINDS
def test_what_an_earlier_placement_shows_has_no_chance_in_a_later_one(
    exploration: dict[str, Any],
) -> None:
    first, second = Policy(exploration, 2), Policy(EPSILON, 3, 1)
    engine = engine_of(plan_of(top=first.placement(), page=second.placement()))
    counts: Counter[tuple[tuple[str, ...], ...]] = Counter()
    for number in range(10_000):
        top, page = decide(engine, number, "top", "page").placements
        check_told(first, top)
        check_told(second, page, taken=shown(top))
        counts[shown(top), shown(page)] += 1
    expected = {
        (above, below): chance * rest
        for above, chance in first.sequences()
        for below, rest in second.sequences(taken=above)
    }
    assert p_value(counts, expected) > P_LEAST


@KINDS
def test_what_caps_leave_no_more_of_has_no_chance(exploration: dict[str, Any]) -> None:
    caps = (("x", 1), ("y", 1))
    first, second = Policy(EPSILON, 1, caps=caps), Policy(exploration, 3, caps=caps)
    engine = engine_of(plan_of(caps=dict(caps), top=first.placement(), page=second.placement()))
    counts: Counter[tuple[tuple[str, ...], ...]] = Counter()
    for number in range(5_000):
        answer = decide(engine, number, "top", "page", explain=number % 10 == 0)
        top, page = answer.placements
        check_told(first, top)
        check_told(second, page, taken=shown(top))
        counts[shown(top), shown(page)] += 1
        for explanation in answer.explanations[1:]:
            fates = Counter(one.fate for one in explanation.candidates)
            assert fates[decision_pb2.FATE_CONTACT_POLICY] > 0
    expected = {
        (above, below): chance * rest
        for above, chance in first.sequences()
        for below, rest in second.sequences(taken=above)
    }
    assert p_value(counts, expected) > P_LEAST


@KINDS
def test_explanations_tell_each_chance_of_the_first_slot(exploration: dict[str, Any]) -> None:
    policy = Policy(exploration, 2, 1)
    engine = engine_of(plan_of(page=policy.placement()))
    wanted = chances(exploration, policy.left(()))
    for number in range(50):
        plain = decide(engine, number, "page")
        explained = decide(
            engine_of(plan_of(page=policy.placement())), number, "page", explain=True
        )
        assert plain.placements == explained.placements
        told = {one.action: one.propensity_logging for one in explained.explanations[0].candidates}
        assert math.fsum(told.values()) == pytest.approx(1, abs=EXACT)
        for offer in OFFERS:
            assert told[offer.name] == pytest.approx(wanted.get(offer.name, 0), rel=EXACT, abs=0)
        first = explained.placements[0].propositions[0]
        assert first.propensity_logging == told[first.action]


@KINDS
@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_chances_add_up_to_one(exploration: dict[str, Any], count: int) -> None:
    offers = [Offer(f"a{n}", math.sin(n) * 20) for n in range(count)]
    engine = engine_of(plan_of(offers, page={"exploration": exploration}))
    told = decide(engine, 0, "page", explain=True).explanations[0].candidates
    assert math.fsum(one.propensity_logging for one in told) == pytest.approx(1, abs=EXACT)


def test_candidates_are_explained_in_rank_order_with_their_fates() -> None:
    engine = engine_of(plan_of(page=Policy(SOFTMAX, 2, 1).placement()))
    for number in range(30):
        answer = decide(engine, number, "page", explain=True)
        candidates = answer.explanations[0].candidates
        assert [one.action for one in candidates] == ["c", "b", "d", "f", "a", "e"]
        fates = {one.action: one.fate for one in candidates}
        assert fates["c"] == decision_pb2.FATE_NO_TREATMENT
        names = shown(answer.placements[0])
        proposed = {name for name, fate in fates.items() if fate == decision_pb2.FATE_PROPOSED}
        assert proposed == set(names)
        # The diversity rule is met on the way from the first slot to the second.
        group = next(one.group for one in OFFERS if one.name == names[0])
        alike = {one.name for one in OFFERS if one.group == group and one.treated} - {names[0]}
        kept_out = {name for name, fate in fates.items() if fate == decision_pb2.FATE_DIVERSITY}
        assert kept_out == alike


@KINDS
def test_a_decision_is_the_same_bytes_again_and_another_id_or_seed_is_drawn_anew(
    exploration: dict[str, Any],
) -> None:
    plan = plan_of(page={"slots": 3, "exploration": exploration})
    engine = engine_of(plan)
    moment = Timestamp(seconds=NOW_US // 1_000_000)

    def answers(seed: int, later_us: int = 0) -> list[bytes]:
        asked = [request(n, "page", seed=seed, now=moment) for n in range(200)]
        return [engine.decide(one, NOW_US + later_us) for one in asked]

    def drawn(found: list[bytes]) -> list[decision_pb2.PlacementDecision]:
        return [decision_pb2.DecideResponse.FromString(one).placements[0] for one in found]

    once = answers(1)
    # So much later that no answer is remembered, and by another engine.
    assert answers(1, 600_000_000) == once
    assert engine.telemetry.decisions().repeated == 0
    other = engine_of(plan)
    found = [decide(other, n, "page", seed=1).placements[0] for n in range(200)]
    assert found == drawn(once)
    assert len({shown(one) for one in drawn(once)}) > 10
    assert drawn(answers(2, 1_200_000_000)) != drawn(once)


def test_draws_of_placements_and_slots_do_not_hang_together() -> None:
    """Two placements of equal chances, for each pair of draws."""
    offers = [Offer(f"a{n}", 1.0) for n in range(8)]
    half = {"candidates": {"actions": ["a0", "a1", "a2", "a3"]}, "exploration": EPSILON}
    other = {"candidates": {"actions": ["a4", "a5", "a6", "a7"]}, "exploration": EPSILON}
    engine = engine_of(plan_of(offers, one=half | {"slots": 2}, two=other | {"slots": 2}))
    counts: Counter[tuple[int, ...]] = Counter()
    for number in range(20_000):
        one, two = decide(engine, number, "one", "two").placements
        counts[tuple(each.explored for each in (*one.propositions, *two.propositions))] += 1
    first, second = EPSILON["epsilon_greedy"] * 3 / 4, EPSILON["epsilon_greedy"] * 2 / 3
    expected = {
        key: math.prod(p if hit else 1 - p for hit, p in zip(key, (first, second) * 2, strict=True))
        for key in [tuple(n >> bit & 1 for bit in range(4)) for n in range(16)]
    }
    assert p_value(counts, expected) > P_LEAST


@KINDS
def test_inverse_propensities_estimate_another_policy_without_bias(
    exploration: dict[str, Any],
) -> None:
    """The mean reward of the uniform policy, from decisions that were not drawn uniformly."""
    policy = Policy(exploration, 1)
    engine = engine_of(plan_of(page=policy.placement()))
    rewards = {one.name: number + 0.5 for number, one in enumerate(policy.left(()))}
    share = 1 / len(rewards)
    terms = []
    for number in range(20_000):
        one = decide(engine, number, "page").placements[0].propositions[0]
        terms.append(rewards[one.action] * share / one.propensity_logging)
    error = np.std(terms) / math.sqrt(len(terms))
    assert abs(np.mean(terms) - np.mean(list(rewards.values()))) < 4 * error


@pytest.mark.parametrize(
    ("priorities", "wanted"),
    [
        ([1.7e308, 1.7e308], [0.5, 0.5]),
        ([1.7e308, -1.7e308], [1, 0]),
        ([-1.7e308, -1.7e308, -1.7e308], [1 / 3] * 3),
        ([-1000, -1001], [1 / (1 + math.exp(-1)), math.exp(-1) / (1 + math.exp(-1))]),
        ([0.0, 0.0, 0.0, 0.0], [0.25] * 4),
        ([5e-324, 0.0], [0.5, 0.5]),
        ([0.0, -745.5], [1, 0]),
    ],
)
@pytest.mark.parametrize("slots", [1, 3])
def test_no_priority_is_too_large_for_softmax(
    priorities: list[float], wanted: list[float], slots: int
) -> None:
    offers = [Offer(f"a{n}", priority) for n, priority in enumerate(priorities)]
    softmax = {"softmax": {"temperature": 1}}
    engine = engine_of(plan_of(offers, page={"slots": slots, "exploration": softmax}))
    answer = decide(engine, 1, "page", explain=True)
    told = {one.action: one.propensity_logging for one in answer.explanations[0].candidates}
    assert [told[one.name] for one in offers] == pytest.approx(wanted, rel=EXACT, abs=0)
    propositions = answer.placements[0].propositions
    assert len(propositions) == min(slots, len(offers))
    assert all(0 < one.propensity_logging <= 1 for one in propositions)


@pytest.mark.parametrize("temperature", [1e-6, 0.01, 1, 1e6])
def test_softmax_is_exact_from_coldest_to_warmest(temperature: float) -> None:
    offers = [Offer(f"a{n}", n / 7) for n in range(12)]
    exploration = {"softmax": {"temperature": temperature}}
    engine = engine_of(plan_of(offers, page={"exploration": exploration}))
    told = decide(engine, 0, "page", explain=True).explanations[0].candidates
    wanted = chances(exploration, offers)
    for one in told:
        assert one.propensity_logging == pytest.approx(wanted[one.action], rel=1e-11, abs=1e-300)


@pytest.mark.parametrize(("epsilon", "explored"), [(0, 0), (1, 3 / 4)])
def test_epsilon_of_zero_and_of_one(epsilon: float, explored: float) -> None:
    offers = [Offer(f"a{n}", float(n)) for n in range(4)]
    engine = engine_of(plan_of(offers, page={"exploration": {"epsilon_greedy": epsilon}}))
    answers = [decide(engine, n, "page").placements[0].propositions[0] for n in range(4_000)]
    found = sum(one.explored for one in answers) / len(answers)
    assert found == pytest.approx(explored, abs=0.03)
    assert {one.propensity_logging for one in answers} == ({0.25} if epsilon else {1.0})


def test_what_does_not_explore_is_certain() -> None:
    plan = plan_of(page={"slots": 2}, empty={"fallback": "a", "candidates": {"actions": ["c"]}})
    answer = decide(engine_of(plan), 1, "empty", "page", explain=True)
    for placement in answer.placements:
        assert all(one.propensity_logging == 1 for one in placement.propositions)
        assert not any(one.explored for one in placement.propositions)
    empty, page = (
        {one.action: one.propensity_logging for one in each.candidates}
        for each in answer.explanations
    )
    assert empty == {"c": 0}
    assert page == {"a": 0, "b": 1, "c": 0, "d": 0, "e": 0, "f": 0}


def test_a_fallback_is_certain_where_the_rest_was_drawn() -> None:
    plan = plan_of(page={"slots": 6, "fallback": "c", "exploration": EPSILON})
    plan = replace(plan, actions=tuple(replace(one, treatments=()) for one in plan.actions))
    limited = replace(plan.placements[0], candidates=(0, 1))
    answer = decide(engine_of(replace(plan, placements=(limited,))), 3, "page")
    drawn, forced, fallback = answer.placements[0].propositions
    assert drawn.propensity_logging == pytest.approx(0.15 if drawn.explored else 0.85)
    assert (forced.propensity_logging, forced.explored) == (1, False)
    assert (fallback.action, fallback.fallback) == ("c", True)
    assert (fallback.propensity_logging, fallback.explored) == (1, False)


@pytest.mark.parametrize(
    ("leave", "shown_first", "propensity"), [(1, "a", 1.0), (2, "e", 1.0)], ids=["scores", "all"]
)
def test_without_scores_nothing_is_drawn(leave: int, shown_first: str, propensity: float) -> None:
    page = {**Policy(SOFTMAX, 1).placement(), "degrade_to": "fallback", "fallback": "e"}
    engine = engine_of(plan_of(page=page))
    for number in range(20):
        call = engine.begin_call("Decide", b"", b"")
        call.leave = leave
        answer = decision_pb2.DecideResponse.FromString(
            engine.decide(request(number, "page", explain=True), NOW_US, 0, call)
        )
        one = answer.placements[0].propositions[0]
        assert (one.action, one.propensity_logging) == (shown_first, propensity)
        assert not one.explored
        told = [each.propensity_logging for each in answer.explanations[0].candidates]
        assert sorted(told) == ([0, 0, 0, 0, 0, 1] if leave == 1 else [])


def test_explored_slots_are_counted() -> None:
    policy = Policy(SOFTMAX, 3)
    engine = engine_of(plan_of(page=policy.placement(), other={"slots": 2}))
    explored = 0
    for number in range(300):
        answer = decide(engine, number, "page", "other")
        explored += sum(one.explored for p in answer.placements for one in p.propositions)
    assert explored > 100
    assert engine.telemetry.decisions().explored == {"page": explored}


def test_the_playbook_says_how_to_explore_and_its_hash_stands_without() -> None:
    plan = plan_of(one={"exploration": EPSILON}, three={}, two={"exploration": SOFTMAX})
    assert [one.exploration for one in plan.placements] == [
        Exploration(ExplorationKind.EPSILON_GREEDY, 0.3),
        None,
        Exploration(ExplorationKind.SOFTMAX, 1.5),
    ]
    assert Placement("p", 1, "", ()).exploration is None
    hashes = {plan_of(page=page).hash for page in ({}, {"exploration": EPSILON})}
    assert len(hashes) == 2
