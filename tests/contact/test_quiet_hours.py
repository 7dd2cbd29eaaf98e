"""Quiet hours: by the clock on the person's wall."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contact.playbook import PLACEMENTS, SECOND, answer, engine_of, held, proposed
from tests.contact.test_calendar import MOMENTS, ZONES

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ALL = ["ten_off", "twenty_off", "news"]


def quiet(start: str = "21:00", end: str = "08:00", **more: Any) -> dict[str, Any]:
    """A contact.yaml with one stretch of quiet hours, for e-mail."""
    spec = {"channels": "email", "from": start, "to": end}
    zone = {"from": "profile.time_zone", "default": "Europe/Warsaw"}
    return {"time_zone": zone, "quiet_hours": {"nights": spec | more}}


def clock(minutes: int) -> str:
    """A time of day."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


@given(
    start=st.integers(0, 1_439),
    end=st.integers(0, 1_440),
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
    zone=st.sampled_from(sorted(ZONES)),
    nows=st.lists(
        st.builds(
            lambda change, after: change + after,
            st.sampled_from(MOMENTS),
            st.integers(-3 * 86_400, 3 * 86_400),
        ),
        min_size=1,
        max_size=12,
    ),
)
@settings(max_examples=150, deadline=None)
def test_they_are_by_the_clock_on_the_wall(
    start: int, end: int, days: list[str], zone: str, nows: list[int]
) -> None:
    """Against Python's local time, whatever the clocks do."""
    if start == end:
        end += 1
    engine = engine_of(quiet(clock(start), clock(end), days=days))
    for now_s in nows:
        local = datetime.fromtimestamp(now_s, ZONES[zone])
        minute = local.hour * 60 + local.minute
        began = local.date()
        if start < end:
            inside = start <= minute < end
        else:
            inside = minute >= start or minute < end
            if minute < end:
                began -= timedelta(days=1)
        expected = inside and DAYS[began.weekday()] in days
        assert (proposed(engine, "ann", "inbox", now_s * SECOND, zone=zone) == []) == expected


def at(text: str, zone: str = "Europe/Warsaw", fold: int = 0) -> int:
    """A local time in microseconds since 1970."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(local.timestamp()) * SECOND


def test_nights_and_the_channels_they_are_for() -> None:
    engine = engine_of(quiet())
    for text, shown in (
        ("2027-06-01T20:59:59", ALL),
        ("2027-06-01T21:00:00", []),
        ("2027-06-02T00:00:00", []),
        ("2027-06-02T07:59:59", []),
        ("2027-06-02T08:00:00", ALL),
    ):
        assert proposed(engine, "ann", "inbox", at(text)) == shown
        assert proposed(engine, "ann", "phone", at(text)) == ALL
        assert proposed(engine, "ann", "page", at(text)) == ALL


def test_an_hour_that_comes_twice_is_quiet_twice_and_a_left_out_one_never() -> None:
    engine = engine_of(quiet("02:00", "03:00"))
    # 2027-10-31 02:00 to 03:00 comes twice in Warsaw, 2027-03-28 02:00 to 03:00 not at all.
    for fold in (0, 1):
        assert proposed(engine, "ann", "inbox", at("2027-10-31T02:30", fold=fold)) == []
    for seconds in range(0, 86_400, 600):
        moment = at("2027-03-28T00:00") + seconds * SECOND
        assert proposed(engine, "ann", "inbox", moment) == ALL
    engine = engine_of(quiet("02:00", "02:15"))
    half = "Australia/Lord_Howe"  # 01:30 to 02:00 comes twice on 2027-04-04
    assert proposed(engine, "ann", "inbox", at("2027-04-04T02:10", half), zone=half) == []
    assert proposed(engine, "ann", "inbox", at("2027-04-04T01:50", half, 1), zone=half) == ALL


def test_whole_days() -> None:
    engine = engine_of(quiet("00:00", "24:00", days=["sat", "sun"]))
    assert proposed(engine, "ann", "inbox", at("2027-06-04T23:59")) == ALL
    assert proposed(engine, "ann", "inbox", at("2027-06-05T00:00")) == []
    assert proposed(engine, "ann", "inbox", at("2027-06-06T23:59")) == []
    assert proposed(engine, "ann", "inbox", at("2027-06-07T00:00")) == ALL


def test_not_even_the_fallback_is_sent() -> None:
    placements = {"inbox": PLACEMENTS["inbox"] | {"fallback": "news"}}
    engine = engine_of(quiet(), placements=placements)
    assert held(engine, "ann", "inbox", at("2027-06-01T22:00")) == dict.fromkeys(
        ALL, ("quiet_hours nights", 0, 0)
    )
    assert proposed(engine, "ann", "inbox", at("2027-06-01T22:00")) == []


@pytest.mark.parametrize("zone", ["Warsaw", "+2:00"])
def test_who_has_no_zone_that_there_is_sleeps(zone: str) -> None:
    engine = engine_of(quiet())
    response = answer(engine, "ann", "inbox", at("2027-06-01T12:00"), zone=zone, explain=True)
    found = response.explanations[0].candidates
    assert {(one.condition, one.missing, one.error) for one in found} == {
        ("quiet_hours nights", "profile.time_zone", "invalid time zone")
    }
    assert not response.placements[0].propositions
