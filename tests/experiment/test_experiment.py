"""Experiments in decisions: who gets which variant, who is exposed, and what is kept."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from nextbest.core import Engine
from nextbest.core.errors import UnknownNameError
from nextbest.v1 import common_pb2, decision_pb2, profile_pb2
from tests.experiment.playbook import (
    NOW_US,
    compiled,
    decide,
    engine_of,
    expose,
    identity,
    plan_of,
)

BUCKETED = decision_pb2.ASSIGNMENT_REASON_BUCKETED
STICKY = decision_pb2.ASSIGNMENT_REASON_STICKY
HALVES = {"variants": {"a": 0.5, "b": 0.5}}


def variants(engine: Engine, people: int, experiment: str = "one", **more: Any) -> list[str]:
    """Each person's variant; empty for none."""
    found = []
    for number in range(people):
        told = decide(engine, f"person-{number}", preview=True, explain=True, **more)
        found.append(told[experiment].variant)
    return found


def test_shares_follow_the_weights() -> None:
    engine = engine_of(plan_of({"one": {"variants": {"a": 0.2, "b": "30%", "c": 0.5}}}))
    counts = Counter(variants(engine, 5_000))
    assert abs(counts["a"] - 1_000) < 150
    assert abs(counts["b"] - 1_500) < 170
    assert abs(counts["c"] - 2_500) < 180


def test_who_was_exposed_keeps_the_variant_whatever_the_weights() -> None:
    engine = engine_of(plan_of({"one": HALVES}))
    before = {name: decide(engine, name)["one"].variant for name in map(str, range(200))}
    engine.publish(plan_of({"one": {"variants": {"a": 0, "b": 1}, "salt": "other"}}))
    for name, variant in before.items():
        found = decide(engine, name)["one"]
        assert (found.variant, found.reason) == (variant, STICKY)
    fresh = decide(engine, "somebody new")["one"]
    assert (fresh.variant, fresh.reason) == ("b", BUCKETED)


def test_a_new_version_and_what_is_not_sticky_assign_anew() -> None:
    engine = engine_of(plan_of({"one": HALVES}))
    people = [name for name in map(str, range(50)) if decide(engine, name)["one"].variant == "a"]
    everybody_b = {"variants": {"a": 0, "b": 1}}
    engine.publish(plan_of({"one": everybody_b | {"version": 2}}))
    assert {decide(engine, name)["one"].variant for name in people} == {"b"}
    engine.publish(plan_of({"one": HALVES}))
    assert {decide(engine, name)["one"].variant for name in people} == {"a"}
    engine.publish(plan_of({"one": everybody_b | {"sticky": False}}))
    assert {decide(engine, name)["one"].variant for name in people} == {"b"}


def test_a_variant_that_is_gone_is_not_exposed_again_and_again() -> None:
    """The first exposure counts and cannot change: another one would only fill the log."""
    engine = engine_of(plan_of({"one": HALVES}))
    people = [str(number) for number in range(20)]
    for name in people:
        decide(engine, name)
    engine.publish(plan_of({"one": {"variants": {"c": 0.5, "d": 0.5}}}))
    for name in 3 * people:
        assert decide(engine, name)["one"].reason == BUCKETED
    assert engine.telemetry.decisions().exposures == len(people)


def test_the_variant_survives_a_link_of_identities() -> None:
    """The first exposure counts, over both identities and whichever is asked by."""
    engine = engine_of(plan_of({"one": HALVES}))
    for number in range(40):
        known = identity(f"known-{number}")
        anonymous = identity(f"visitor-{number}", common_pb2.IDENTITY_KIND_ANONYMOUS)
        first = decide(engine, anonymous)["one"].variant
        decide(engine, known, now_us=NOW_US + 60_000_000)
        link = profile_pb2.LinkIdentityRequest(
            write_id=f"link-{number}", first=anonymous, second=known
        )
        engine.link(link.SerializeToString(), NOW_US + 120_000_000)
        for who in (known, anonymous):
            found = decide(engine, who, now_us=NOW_US + 180_000_000)["one"]
            assert (found.variant, found.reason) == (first, STICKY)


def stored(engine: Engine, who: str) -> bool:
    """Whether anything was stored of somebody."""
    request = decision_pb2.DecideRequest(identity=identity(who), placements=["page"], preview=True)
    answer = engine.decide(request.SerializeToString(), NOW_US)
    return decision_pb2.DecideResponse.FromString(answer).profile_known


@pytest.mark.parametrize(
    ("experiment", "variant", "told"),
    [
        ("oen", "a", "properties.experiment: 'oen'.*nearest is 'one'"),
        ("shipping", "a", "properties.experiment: 'shipping'.*experiment of the playbook: one"),
        ("one.2", "third", "properties.variant: 'third'.*playbook: a, b"),
    ],
)
def test_an_exposure_to_what_is_not_there_is_refused(
    experiment: str, variant: str, told: str
) -> None:
    """Nobody would keep a variant by it, and whoever takes assignments over would not know."""
    engine = engine_of(plan_of({"one": HALVES | {"version": 2}}))
    with pytest.raises(UnknownNameError, match=told):
        expose(engine, "ann", experiment, variant)
    assert not stored(engine, "ann")
    # What another system kept has earlier versions, too.
    expose(engine, "ann", "one", "gone")
    expose(engine, "ann", "one.2", "b", 1)
    assert decide(engine, "ann")["one"].reason == STICKY


def test_only_who_read_the_variant_is_exposed() -> None:
    """Not who is outside of the audience, nor whom an earlier condition has held back."""
    audience = {"audience": "profile.age >= 18"} | HALVES
    engine = engine_of(plan_of({"one": audience}))
    assert decide(engine, "young") == {}
    assert decide(engine, "young", explain=True)["one"].reason == (
        decision_pb2.ASSIGNMENT_REASON_NOT_IN_AUDIENCE
    )
    assert not stored(engine, "young")


def test_a_preview_and_a_moment_ahead_expose_nobody() -> None:
    engine = engine_of(plan_of({"one": HALVES}))
    assert decide(engine, "preview", preview=True)["one"].exposed
    request = decision_pb2.DecideRequest(identity=identity("ahead"), placements=["page"])
    request.now.seconds = NOW_US // 1_000_000 + 3_600
    engine.decide(request.SerializeToString(), NOW_US)
    assert not stored(engine, "preview")
    assert not stored(engine, "ahead")
    decide(engine, "now")
    assert stored(engine, "now")


def test_explaining_changes_no_exposure() -> None:
    """Explaining looks at every factor and experiment; who only looks is not exposed."""
    files = {"one": HALVES, "two": HALVES}
    engine = engine_of(plan_of(files))
    for number in range(20):
        plain = decide(engine, f"person-{number}", preview=True)
        explained = decide(engine, f"person-{number}", preview=True, explain=True)
        assert plain == {name: one for name, one in explained.items() if one.exposed}


@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize(
    "valid", [{"until": "2020-01-01T00:00:00Z"}, {"from": "2100-01-01T00:00:00Z"}]
)
def test_an_action_outside_its_validity_exposes_nobody(
    valid: dict[str, str], explain: bool
) -> None:
    """Its conditions are not asked, whether or not anybody asks why.

    Another candidate of the placement has no validity.
    """
    engine = engine_of(plan_of({"one": HALVES}, action={"valid": valid}))
    told = decide(engine, "ann", explain=explain)
    assert not any(one.exposed for one in told.values())
    fates = engine.telemetry.decisions().candidates
    assert fates == {("page", "outside_validity"): 1, ("page", "proposed"): 1}
    assert engine.telemetry.decisions().exposures == 0


def test_experiments_of_a_layer_exclude_one_another() -> None:
    def part(start: float, end: float) -> dict[str, Any]:
        return HALVES | {"layer": {"name": "cart", "range": [start, end]}}

    engine = engine_of(plan_of({"one": part(0, 0.4), "two": part(0.4, 1)}, layers={"cart": {}}))
    pairs = zip(variants(engine, 2_000, "one"), variants(engine, 2_000, "two"), strict=True)
    sides = Counter((bool(one), bool(two)) for one, two in pairs)
    assert set(sides) == {(True, False), (False, True)}
    assert abs(sides[True, False] - 800) < 130


def test_a_holdout_is_in_no_experiment() -> None:
    more: dict[str, Any] = {"holdouts": {"global": 0.1, "small": {"share": "1%", "salt": "x"}}}
    spec = {"one": HALVES, "two": HALVES | {"holdouts": []}}
    engine = engine_of(plan_of(spec, **more))
    none = [name == "" for name in variants(engine, 2_000, "one")]
    assert abs(sum(none) - 218) < 70
    assert "" not in variants(engine, 2_000, "two")


def test_a_holdout_of_actions_gets_fallbacks_alone() -> None:
    more = {"holdouts": {"control_group": {"share": 0.5, "of": "actions"}}}
    plan = plan_of({"one": HALVES}, **more)
    engine = engine_of(plan)
    held = 0
    for number in range(200):
        request = decision_pb2.DecideRequest(
            identity=identity(f"person-{number}"), placements=["page"], explain=True
        )
        answer = decision_pb2.DecideResponse.FromString(
            engine.decide(request.SerializeToString(), NOW_US)
        )
        fates = {one.condition for one in answer.explanations[0].candidates}
        outside = not answer.placements[0].propositions
        assert outside == (fates == {"!holdout.control_group"})
        held += outside
    assert abs(held - 100) < 40


def test_factors_are_independent() -> None:
    spec = {"factors": {"button": ["red", "green"], "text": {"short": 0.3, "long": 0.7}}}
    plan = plan_of({"one": spec})
    counts = Counter(variants(engine_of(plan), 4_000))
    for name, expected in (("red_short", 600), ("red_long", 1_400), ("green_short", 600)):
        assert abs(counts[name] - expected) < 120
    texts = {one.name: one.texts for one in plan.readings}
    assert texts["one_button"] == ("red", "red", "green", "green")
    assert texts["one_text"] == ("short", "long", "short", "long")


BAD = [
    ({"one": {"variants": {"a": 0.5, "b": 0.4}}}, {}, "weights of one, seen a sum of 0.9"),
    ({"one": {"variants": ["a"]}}, {}, "a list of 2 to 64"),
    ({"one": {"variants": {"a": 1}}}, {}, "variants of one, seen 1, allowed: 2 to 64"),
    ({"one": {"variants": {"a": 0.5, "b": 0.123456}}}, {}, "a share from 0 to 1 with at most 5"),
    ({"one": {"variants": {"a": -0.5, "b": 1.5}}}, {}, "a share from 0 to 1"),
    ({"one": {"variants": {"a": [[0, 0.6]], "b": [[0.5, 1]]}}}, {}, "do not overlap"),
    ({"one": {"variants": {"a": [[0, 0.6]], "b": 0.4}}}, {}, "a weight for every variant"),
    ({"one": HALVES | {"bucket_by": "profile.idd"}}, {}, "profile.id"),
    ({"one": HALVES | {"bucket_by": ["identity", "profile.id"]}}, {}, "identity alone"),
    ({"one": HALVES | {"audience": "profile.agee > 1"}}, {}, "profile.age"),
    ({"one": HALVES | {"audience": 'experiment.one == "a"'}}, {}, "cycle"),
    ({"one": HALVES | {"layer": {"name": "cart", "range": [0, 1]}}}, {}, "layer of one"),
    ({"one": HALVES | {"holdouts": ["globl"]}}, {"holdouts": {"global": 0.1}}, "global"),
    ({"one": HALVES | {"hash": "md5"}}, {}, "growthbook_1"),
    ({"one": {"factors": {"f": ["a", "b"]}} | HALVES}, {}, "exactly one of variants, factors"),
    ({"one_f": HALVES, "one": {"factors": {"f": ["a", "b"]}}}, {}, "name of an experiment"),
    ({"one": HALVES | {"earlier": [{"a": 0.9}]}}, {}, "a sum of 0.9"),
]


@pytest.mark.parametrize(("experiments", "more", "words"), BAD, ids=range(len(BAD)))
def test_bad_experiments_are_refused(
    experiments: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    found = compiled(experiments, **more)
    assert found.plan is None
    assert any(words in str(fault) for fault in found.faults), [str(one) for one in found.faults]


def test_parts_of_a_layer_must_not_overlap() -> None:
    spec = HALVES | {"layer": {"name": "cart", "range": [0, 0.6]}}
    found = compiled({"one": spec, "two": spec}, layers={"cart": {}})
    assert any("parts of layer cart" in str(fault) for fault in found.faults)


def test_the_schema_may_declare_exposures_but_no_others() -> None:
    own = {"exposure": {"experiment": "string", "variant": "string"}}
    assert compiled({"one": HALVES}, schema={"events": own}).plan is not None
    found = compiled({"one": HALVES}, schema={"events": {"exposure": {"variant": "int"}}})
    assert any("properties of exposure" in str(fault) for fault in found.faults)
