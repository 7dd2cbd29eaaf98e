"""Suppression: a pause after each event that is the last of so many within a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contact.playbook import (
    DAY,
    NOW_US,
    SECOND,
    engine_of,
    held,
    identity,
    link,
    proposed,
    track,
)

ALL = ["ten_off", "twenty_off", "news"]


def tired(after: int = 3, within: str | None = "30d", pause: str = "14d") -> dict[str, Any]:
    """A contact.yaml that pauses an action after dismissals of it."""
    spec: dict[str, Any] = {"after": after, "count": "dismissal", "of": "action", "pause": pause}
    return {"suppression": {"tired": spec | ({"within": within} if within else {})}}


def paused(agos_us: list[int], after: int, within_us: int, pause_us: int) -> bool:
    """Whether an event within the pause was the last of `after` within the window."""
    return any(
        ago < pause_us and sum(ago <= other < ago + within_us for other in agos_us) >= after
        for ago in agos_us
    )


@given(
    agos=st.lists(
        st.one_of(
            st.integers(0, 50 * 86_400).map(lambda seconds: seconds * SECOND),
            st.integers(0, 40).map(lambda days: days * DAY // 2),
        ),
        max_size=40,
    ),
    after=st.integers(1, 9),
    within_d=st.sampled_from([1, 3, 10]),
    pause_d=st.sampled_from([1, 14, 30]),
)
@settings(max_examples=200, deadline=None)
def test_pauses_are_exact_whatever_else_has_happened(
    agos: list[int], after: int, within_d: int, pause_d: int
) -> None:
    """Against the definition in Python: more events than a bucket keeps, over linked identities."""
    engine = engine_of(tired(after, f"{within_d}d", f"{pause_d}d"))
    for number, ago in enumerate(agos):
        who = ("ann", "ann_at_work")[number % 2]
        track(engine, who, "dismissal", NOW_US - ago, NOW_US, action="news")
    link(engine, identity("ann"), identity("ann_at_work"))
    expected = paused(agos, after, within_d * DAY, pause_d * DAY)
    for who in ("ann", "ann_at_work"):
        wanted = {"news": ("suppression tired", after, after)} if expected else {}
        assert held(engine, who, "page") == wanted


def test_a_pause_begins_with_the_last_and_ends_by_itself() -> None:
    engine = engine_of(tired())
    for day in (0, 10, 20):
        assert proposed(engine, "ann", "page", NOW_US + day * DAY) == ALL
        track(engine, "ann", "dismissal", NOW_US + day * DAY, action="news")
    assert proposed(engine, "ann", "page", NOW_US + 20 * DAY) == ALL[:2]
    assert proposed(engine, "ann", "page", NOW_US + 34 * DAY - 1) == ALL[:2]
    assert proposed(engine, "ann", "page", NOW_US + 34 * DAY) == ALL


def test_one_is_enough_where_one_is_asked_for() -> None:
    engine = engine_of(tired(1, None, "400d"))
    track(engine, "ann", "dismissal", NOW_US, action="news")
    assert proposed(engine, "ann", "page", NOW_US + 400 * DAY - 1) == ALL[:2]
    assert proposed(engine, "ann", "page", NOW_US + 400 * DAY) == ALL


@pytest.mark.parametrize("of", [{"group": "discount"}, {"channel": "push"}, {"placement": "phone"}])
def test_it_may_be_about_anything(of: dict[str, str]) -> None:
    spec = {"after": 1, "count": "dismissal", "of": of, "pause": "1d"}
    engine = engine_of({"suppression": {"one": spec}})
    track(engine, "ann", "dismissal", NOW_US, **of)
    shown = ["news"] if "group" in of else []
    assert proposed(engine, "ann", "phone") == shown
    assert proposed(engine, "ann", "page") == (shown or ALL)
