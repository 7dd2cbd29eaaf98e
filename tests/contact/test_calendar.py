"""Calendar windows: the person's own days, weeks and months, over every change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nextbest.v1 import decision_pb2
from tests.contact.playbook import SECOND, answer, engine_of, held, proposed, track

FIXED = timezone(timedelta(hours=5, minutes=30))
ZONES: dict[str, tzinfo] = {
    name: ZoneInfo(name)
    for name in (
        "Europe/Warsaw",
        "America/New_York",
        "Australia/Lord_Howe",  # half an hour of daylight saving
        "Asia/Kathmandu",  # UTC+05:45
        "America/Havana",  # midnight comes twice
        "Africa/Cairo",  # and here it is left out
        "Pacific/Apia",
    )
} | {"+05:30": FIXED}
# Moments around which the clocks change, somewhere: in 2027, the last of them far ahead.
CHANGES = [
    "2027-03-14T07:00",
    "2027-03-28T01:00",
    "2027-04-03T15:00",
    "2027-10-02T15:30",
    "2027-10-31T01:00",
    "2027-11-07T05:00",
    "2027-11-07T06:00",
    "2027-04-29T22:00",
    "2027-10-28T21:00",
    "2060-10-31T01:00",
]
MOMENTS = [int(datetime.fromisoformat(text + "Z").timestamp()) for text in CHANGES]
CONTACT = {
    "time_zone": {"from": ["context.time_zone", "profile.time_zone"], "default": "Europe/Warsaw"},
    "caps": {
        period: {"count": "impression", "of": {"channel": channel}, "max": 3, "window": period}
        for period, channel in (("day", "email"), ("week", "push"), ("month", "web"))
    },
}
PARTS: dict[str, Any] = {
    "placements": {
        "day": {"channel": "email"},
        "week": {"channel": "push"},
        "month": {"channel": "web"},
    }
}


def period_of(moment_s: int, zone: tzinfo, period: str) -> object:
    """The local day, ISO week or month of a moment."""
    local = datetime.fromtimestamp(moment_s, zone)
    if period == "week":
        return local.isocalendar()[:2]
    return (local.year, local.month) if period == "month" else local.date()


@given(
    now_s=st.builds(
        lambda change, after: change + after,
        st.sampled_from(MOMENTS),
        st.integers(-2 * 86_400, 2 * 86_400),
    ),
    agos=st.lists(
        st.one_of(st.integers(0, 26 * 3_600), st.integers(0, 33 * 86_400)), min_size=3, max_size=9
    ),
    zone=st.sampled_from(sorted(ZONES)),
)
@example(now_s=MOMENTS[4] + 22 * 3_600, agos=[89_999, 89_000, 0], zone="Europe/Warsaw")
@settings(max_examples=150, deadline=None)
def test_periods_are_the_persons_own(now_s: int, agos: list[int], zone: str) -> None:
    """Against Python's calendar and time zones."""
    engine = engine_of(CONTACT, **PARTS)
    for ago in agos:
        for channel in ("email", "push", "web"):
            at_us = (now_s - ago) * SECOND
            track(engine, "ann", "impression", at_us, now_s * SECOND, channel=channel)
    for period in ("day", "week", "month"):
        now = period_of(now_s, ZONES[zone], period)
        count = sum(period_of(now_s - ago, ZONES[zone], period) == now for ago in agos)
        found = held(engine, "ann", period, now_s * SECOND, zone=zone)
        assert bool(found) == (count >= 3)
        for rule, counted, limit in found.values():
            assert (rule, limit) == (f"cap {period}", 3)
            # No more are kept than a cap needs.
            assert 3 <= counted <= count


def test_a_day_of_25_hours_is_one_day() -> None:
    """In Warsaw on 2027-10-31 a first hour and the last are 24 hours and a half apart."""
    engine = engine_of(CONTACT, **PARTS)
    midnight = int(datetime(2027, 10, 31, tzinfo=ZoneInfo("Europe/Warsaw")).timestamp()) * SECOND
    for _ in range(3):
        track(engine, "ann", "impression", midnight, channel="email")
    assert proposed(engine, "ann", "day", midnight + 25 * 3_600 * SECOND - 1) == []
    assert proposed(engine, "ann", "day", midnight + 25 * 3_600 * SECOND) == ["ten_off"]


def test_the_first_zone_that_is_set_counts() -> None:
    """Where the phone is, else where the person lives, else the playbook's."""
    engine = engine_of(CONTACT, **PARTS)
    now = int(datetime(2027, 6, 15, 23, 30, tzinfo=UTC).timestamp()) * SECOND
    for _ in range(3):
        track(engine, "ann", "impression", now - 7_200 * SECOND, now, channel="email")
    # In Warsaw a new day has begun, in London not.
    assert proposed(engine, "ann", "day", now) == ["ten_off"]
    assert proposed(engine, "ann", "day", now, zone="") == ["ten_off"]
    assert proposed(engine, "ann", "day", now, zone="Etc/UTC") == []
    assert proposed(engine, "ann", "day", now, zone="Etc/UTC", here="Europe/Warsaw") == ["ten_off"]


@pytest.mark.parametrize(
    "zone", ["Europe/Warsow", "europe/warsaw", "+2", "+99:00", "CEST", "../x", "x" * 900]
)
def test_who_has_no_zone_that_there_is_is_left_alone(zone: str) -> None:
    engine = engine_of(CONTACT, **PARTS)
    response = answer(engine, "ann", "day", zone=zone, explain=True)
    assert not response.placements[0].propositions
    for one in response.explanations[0].candidates:
        assert one.fate == decision_pb2.FATE_CONTACT_POLICY
        assert (one.condition, one.missing) == ("cap day", "profile.time_zone")
        assert (one.error, one.limit) == ("invalid time zone", 0)
