"""Caps: what counts, for whom, and that no window ever holds more than it may."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.core import Engine
from nextbest.core.engine import STRIPES
from nextbest.core.playbook.plan import Aggregate
from nextbest.v1 import common_pb2, decision_pb2
from tests.contact.playbook import (
    ACTIONS,
    DAY,
    NOW_US,
    PLACEMENTS,
    SECOND,
    answer,
    engine_of,
    event,
    held,
    identity,
    link,
    plan_of,
    proposed,
    track,
)

ALL = ["ten_off", "twenty_off", "news"]


def cap(
    of: object = None, most: int = 2, window: str = "7d", count: str = "impression"
) -> dict[str, Any]:
    """A contact.yaml of one cap."""
    spec: dict[str, Any] = {"count": count, "max": most, "window": window}
    return {"caps": {"one": spec if of is None else spec | {"of": of}}}


@dataclass(frozen=True)
class Happened:
    """An impression of a history, and whose identity it is of."""

    ago_us: int
    action: str
    channel: str
    who: str


MOMENTS = st.one_of(
    st.integers(0, 9 * 86_400).map(lambda seconds: seconds * SECOND),
    st.sampled_from([0, 1, DAY, DAY - 1, DAY + 1, 7 * DAY, 7 * DAY - 1, 7 * DAY + 1]),
)
HISTORY = st.lists(
    st.builds(
        Happened,
        ago_us=MOMENTS,
        action=st.sampled_from(ALL),
        channel=st.sampled_from(["email", "push"]),
        who=st.sampled_from(["ann", "ann_at_work"]),
    ),
    max_size=12,
)
GROUPS = {"ten_off": ["discount"], "twenty_off": ["discount"]}


@given(history=HISTORY, most=st.integers(1, 4), window_s=st.sampled_from([3_600, 86_400, 604_800]))
@settings(max_examples=60, deadline=None)
def test_a_rolling_window_is_exact_for_everybody_and_every_subject(
    history: list[Happened], most: int, window_s: int
) -> None:
    """Against a count in Python, to the microsecond, in any order, over linked identities."""
    subjects = {"action": "action", "group": {"group": "discount"}, "mail": {"channel": "email"}}
    spec = {"count": "impression", "max": most, "window": f"{window_s}s"}
    engine = engine_of({"caps": {name: spec | {"of": of} for name, of in subjects.items()}})
    for one in history:
        about = {"action": one.action, "channel": one.channel}
        if one.action in GROUPS:
            about["group"] = GROUPS[one.action][0]
        track(engine, one.who, "impression", NOW_US - one.ago_us, NOW_US, **about)
    link(engine, identity("ann"), identity("ann_at_work"))
    inside = [one for one in history if one.ago_us < window_s * SECOND]
    for who in ("ann", "ann_at_work"):
        for placement in ("page", "inbox"):
            assert proposed(engine, who, placement) == expected(inside, most, placement)


def expected(inside: list[Happened], most: int, placement: str) -> list[str]:
    """What a placement shows: each proposition counts for those after it."""
    counts = Counter(one.action for one in inside)
    counts["discount"] = counts["ten_off"] + counts["twenty_off"]
    counts["email"] = sum(one.channel == "email" for one in inside)
    shown = []
    for action in ALL:
        under = [action, *GROUPS.get(action, []), *(["email"] if placement == "inbox" else [])]
        if all(counts[one] < most for one in under):
            shown.append(action)
            counts.update(under)
    return shown


def test_each_action_by_itself_or_some_together() -> None:
    for of, kept in (("action", {"news"}), ({"action": ["news", "ten_off"]}, {"news", "ten_off"})):
        engine = engine_of(cap(of))
        track(engine, "ann", "impression", NOW_US - 5, action="news")
        track(engine, "ann", "impression", NOW_US - 4, action="news")
        assert held(engine, "ann", "page") == dict.fromkeys(kept, ("cap one", 2, 2))
        assert proposed(engine, "bob", "page") == ALL


def test_channels_and_placements_close_as_a_whole() -> None:
    engine = engine_of(cap({"channel": "email"}))
    for _ in range(2):
        track(engine, "ann", "impression", NOW_US - 5, channel="email")
    assert proposed(engine, "ann", "inbox") == []
    assert proposed(engine, "ann", "phone") == ALL
    engine = engine_of(cap("placement"))
    for _ in range(2):
        track(engine, "ann", "impression", NOW_US - 5, placement="page")
    assert proposed(engine, "ann", "page") == []
    assert proposed(engine, "ann", "phone") == ALL[:2]


def test_without_a_subject_everything_counts_together() -> None:
    engine = engine_of(cap(most=4))
    for number in range(3):
        track(engine, "ann", "impression", NOW_US - number)
    assert proposed(engine, "ann", "phone") == ALL[:1]
    found = answer(engine, "ann", ["phone", "page"]).placements
    assert [[one.action for one in each.propositions] for each in found] == [ALL[:1], []]


def test_one_decision_does_not_pass_a_cap_on_impressions() -> None:
    """Its own propositions count, over slots and placements; those of a cap on clicks do not."""
    engine = engine_of(cap({"group": "discount"}, most=1))
    assert proposed(engine, "ann", "page") == ["ten_off", "news"]
    assert held(engine, "ann", "page") == {"twenty_off": ("cap one", 1, 1)}
    engine = engine_of(cap("action", most=1, count="click"))
    assert proposed(engine, "ann", "page") == ALL


def test_an_event_that_does_not_name_the_subject_counts_for_none() -> None:
    engine = engine_of(cap({"channel": "email"}, most=1))
    track(engine, "ann", "impression", NOW_US - 5, action="news")
    assert proposed(engine, "ann", "inbox") == ALL[:1]


def test_all_time_and_every_limit() -> None:
    engine = engine_of(cap("action", most=1_024, window="all"))
    for number in range(1_023):
        track(engine, "ann", "impression", NOW_US - number * DAY, NOW_US, action="news")
    assert held(engine, "ann", "page") == {}
    track(engine, "ann", "impression", NOW_US - 3_000 * DAY, NOW_US, action="news")
    assert held(engine, "ann", "page") == {"news": ("cap one", 1_024, 1_024)}


def test_a_fallback_keeps_to_the_contact_policy() -> None:
    """It may be shown whatever its gates say, but not to somebody who is to be left alone."""
    own = {"fallback": "plain", "candidates": {"actions": ["ten_off"]}}
    placements = {"inbox": PLACEMENTS["inbox"] | own}
    parts = {"actions": ACTIONS | {"plain": {"eligibility": "false"}}, "placements": placements}
    engine = engine_of(cap({"channel": "email"}), **parts)
    assert proposed(engine, "ann", "inbox") == ["ten_off", "plain"]
    track(engine, "ann", "impression", NOW_US - 5, channel="email")
    assert proposed(engine, "ann", "inbox") == ["ten_off"]
    track(engine, "ann", "impression", NOW_US - 5, channel="email")
    assert proposed(engine, "ann", "inbox") == []
    engine = engine_of(cap({"action": "plain"}, most=1), **parts)
    track(engine, "ann", "impression", NOW_US - 5, action="plain")
    assert proposed(engine, "ann", "inbox") == ["ten_off"]


def test_gates_come_before_the_contact_policy() -> None:
    """What a person may not have was not held back by a cap."""
    actions = {"adults": {"eligibility": "profile.age >= 18"}, **ACTIONS}
    engine = engine_of(cap(most=1), actions=actions)
    track(engine, "ann", "impression", NOW_US - 5)
    fates = {
        one.action: one.fate
        for one in answer(engine, "ann", "page", explain=True).explanations[0].candidates
    }
    assert fates.pop("adults") == decision_pb2.FATE_NOT_ELIGIBLE
    assert set(fates.values()) == {decision_pb2.FATE_CONTACT_POLICY}
    counts = engine.telemetry.decisions().candidates
    assert counts["page", "contact_policy"] == 3


def test_explained_or_not_the_same_is_proposed() -> None:
    engine = engine_of({"caps": {**cap("action")["caps"], "two": cap("channel")["caps"]["one"]}})
    for number in range(30):
        who = f"person-{number % 5}"
        action = ALL[number % 3]
        track(engine, who, "impression", NOW_US - 30 + number, action=action, channel="email")
        for placement in PLACEMENTS:
            plain = answer(engine, who, placement).placements
            assert plain == answer(engine, who, placement, explain=True).placements


def test_a_changed_cap_keeps_what_it_has_counted() -> None:
    """Other numbers within one horizon read the same counter."""
    engine = engine_of(cap("action", most=5, window="3d"))
    for _ in range(3):
        track(engine, "ann", "impression", NOW_US - DAY, action="news")
    engine.publish(plan_of(cap("action", most=3, window="7d")))
    assert held(engine, "ann", "page") == {"news": ("cap one", 3, 3)}


def test_caps_of_the_same_share_a_counter() -> None:
    spec = {"count": "impression", "of": {"channel": "email"}}
    caps = {"day": spec | {"max": 1, "window": "5d"}, "week": spec | {"max": 8, "window": "7d"}}
    hidden = [one for one in plan_of({"caps": caps}).counters if one.name.startswith("@")]
    assert [(one.aggregate, one.limit) for one in hidden] == [(Aggregate.LAST_N, 8)]


def test_without_a_policy_plans_are_as_they_were() -> None:
    plan = plan_of({})
    assert plan.contact == ()
    assert {one.contact for one in (*plan.actions, *plan.placements)} == {()}


def test_an_anonymous_identity_brings_what_it_has_seen() -> None:
    engine = engine_of(cap({"channel": "email"}, most=1))
    laptop = identity("laptop", common_pb2.IDENTITY_KIND_ANONYMOUS)
    track(engine, laptop, "impression", NOW_US - 5, channel="email")
    assert proposed(engine, "ann", "inbox") == ALL[:1]
    link(engine, identity("ann"), laptop)
    assert proposed(engine, "ann", "inbox") == []


@pytest.mark.parametrize("ahead_s", [0, 60, 299])
def test_an_event_of_a_clock_ahead_counts(ahead_s: int) -> None:
    engine = engine_of(cap({"channel": "email"}, most=1))
    track(engine, "ann", "impression", NOW_US + ahead_s * SECOND, NOW_US, channel="email")
    assert proposed(engine, "ann", "inbox") == []


def test_what_was_counted_is_part_of_a_snapshot_and_of_the_digest() -> None:
    engine = engine_of(cap("action"))
    for number in range(40):
        track(engine, f"person-{number % 9}", "impression", NOW_US - number * DAY // 9, NOW_US)
        track(engine, "ann", "impression", NOW_US - number * DAY, NOW_US, action="news")
    copy = Engine(profiles_max=1_024, dedupe_max=65_536)
    copy.store.load_columns(*engine.store.columns())
    for stripe in range(STRIPES):
        copy.store.load_stripe(engine.store.stripe(stripe))
    copy.store.load_end()
    assert copy.digest() == engine.digest()
    copy.publish(plan_of(cap("action")))
    assert held(copy, "ann", "page") == held(engine, "ann", "page") != {}
    track(engine, "ann", "impression", NOW_US, action="ten_off")
    assert copy.digest() != engine.digest()


@given(history=HISTORY, seed=st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_nodes_that_hear_in_another_order_agree(history: list[Happened], seed: Random) -> None:
    """What one tracks and the other applies; repeats count once."""
    first, second = engine_of(cap("action")), engine_of(cap("action"))
    requests = [
        event(one.who, "impression", NOW_US - one.ago_us, action=one.action) for one in history
    ]
    for engine in (first, second):
        seed.shuffle(requests)
        for request in (*requests, *requests[:3]):
            engine.track(request, NOW_US)
    assert first.digest() == second.digest()
    assert held(first, "ann", "page") == held(second, "ann", "page")


@pytest.mark.parametrize("window_d", [1, 2, 8, 32, 400])
def test_an_event_ahead_does_not_push_out_the_oldest(window_d: int) -> None:
    """Counters forget whole buckets: one that begins ahead of the decision must not cost any."""
    engine = engine_of(cap({"channel": "email"}, window=f"{window_d}d"))
    begin = (NOW_US // (window_d * DAY) + 1) * window_d * DAY
    now = begin - 60 * SECOND
    track(engine, "ann", "impression", now - window_d * DAY + SECOND, now, channel="email")
    track(engine, "ann", "impression", begin + 10 * SECOND, now, channel="email")
    assert proposed(engine, "ann", "inbox", now) == []
