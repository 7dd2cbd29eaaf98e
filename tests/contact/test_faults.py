"""What contact.yaml refuses, and with which words."""

from __future__ import annotations

from typing import Any

import pytest

from nextbest.server.playbook.compile import compile_playbook
from tests.contact.playbook import compiled, faults_of

CAP = {"count": "impression", "max": 2, "window": "7d"}
BAD_CAPS: list[tuple[dict[str, Any], str]] = [
    ({"max": 0}, "cap max, seen '0', allowed: a whole number from 1 to 1,024"),
    ({"max": -1}, "cap max, seen '-1', allowed: a whole number from 1 to 1,024"),
    ({"max": 1_025}, "a whole number from 1 to 1,024"),
    ({"window": "3651d"}, "allowed: day, week, month, or a whole number and s, m, h or d"),
    ({"window": "0d"}, "from 1s to 3650d, or all"),
    ({"window": "year"}, "cap window, seen 'year', allowed: day, week, month, or"),
    ({"count": "impresion"}, "count of cap one, seen 'impresion'"),
    ({"count": "impresion"}, "did you mean impression?"),
    ({"of": "channels"}, "allowed: action, group, placement, channel (did you mean channel?)"),
    ({"of": {"channel": "emial"}}, "channel of cap one, seen 'emial', allowed: email, push"),
    ({"of": {"group": "discounts"}}, "allowed: discount (did you mean discount?)"),
    ({"of": {"action": ["news", "nws"]}}, "did you mean news?"),
    ({"of": {"placement": "home"}}, "placement of cap one, seen 'home'"),
    ({"of": {"channel": []}}, "a list of 1 to"),
    ({"of": {"action": "news", "group": "discount"}}, "exactly one of action, group, placement"),
    ({"of": "group", "count": "click"}, "what a property of click names, of type string: action"),
    ({"of": "channel", "count": "visit"}, "of type string: it has none"),
    ({"from": "21:00"}, "key of a cap, seen 'from', allowed: count, of, max, window"),
]


@pytest.mark.parametrize(("change", "words"), BAD_CAPS, ids=range(len(BAD_CAPS)))
def test_bad_caps_are_refused(change: dict[str, Any], words: str) -> None:
    found = faults_of({"caps": {"one": CAP | change}})
    assert any(words in fault for fault in found), found
    assert all(fault.startswith("contact.yaml:") for fault in found)
    assert compiled({"caps": {"one": CAP | change}}).plan is None


@pytest.mark.parametrize("key", ["count", "max", "window"])
def test_a_cap_says_what_it_lacks(key: str) -> None:
    spec = {name: value for name, value in CAP.items() if name != key}
    assert any(f"seen no {key}" in fault for fault in faults_of({"caps": {"one": spec}}))


ZONE = "Europe/Warsaw"
TIRED = {"after": 3, "count": "dismissal", "of": "action", "within": "30d", "pause": "14d"}
NIGHTS = {"channels": "email", "from": "21:00", "to": "08:00"}
BAD_PARTS: list[tuple[dict[str, Any], str]] = [
    ({"caps": {"one": CAP | {"window": "day"}}}, "window of cap one, seen no time_zone"),
    ({"quiet_hours": {"nights": NIGHTS}}, "quiet_hours nights, seen no time_zone"),
    ({"time_zone": "Europe/Warsow"}, "time zone, seen 'Europe/Warsow', allowed: an offset such as"),
    ({"time_zone": "Europe/Warsow"}, "(did you mean Europe/Warsaw?)"),
    ({"time_zone": "+24:00"}, "time zone, seen '+24:00', allowed: an offset such as"),
    ({"time_zone": "local time"}, "a time zone such as Europe/Warsaw"),
    ({"time_zone": {"from": "profile.time_zone"}}, "seen no default"),
    ({"time_zone": {"from": "profile.zone", "default": ZONE}}, "seen 'profile.zone', allowed: "),
    ({"time_zone": {"from": "profile.age", "default": ZONE}}, "time zone from, seen 'profile.age'"),
    ({"time_zone": {"from": "stage", "default": ZONE}}, "profile.NAME or context.NAME"),
    ({"channels": ["email"]}, "channel, seen 'push', allowed: email"),
    ({"suppression": {"one": TIRED | {"after": 0}}}, "a whole number from 1 to 1,024"),
    ({"suppression": {"one": TIRED | {"pause": "0d"}}}, "suppression pause, seen '0d'"),
    ({"suppression": {"one": TIRED | {"pause": "9000d"}}}, "from 1s to 3650d"),
    (
        {"suppression": {"one": TIRED | {"pause": "3650d"}}},
        "pause of suppression one, seen '3650d', allowed: at most 3629d for within: 30d",
    ),
    (
        {"suppression": {"one": TIRED | {"within": "60s"}}},
        "pause of suppression one, seen '14d', allowed: at most 54m for within: 1m",
    ),
    ({"suppression": {"one": TIRED | {"within": "59s"}}}, "from 1m to 3650d"),
    ({"suppression": {"one": TIRED | {"of": "groups"}}}, "(did you mean group?)"),
    ({"suppression": {"one": TIRED | {"count": "dismissed"}}}, "(did you mean dismissal?)"),
    ({"quiet_hours": {"nights": NIGHTS | {"channels": "emial"}}}, "(did you mean email?)"),
    ({"quiet_hours": {"nights": NIGHTS | {"to": "21:00"}}}, "another time than from"),
    ({"quiet_hours": {"nights": NIGHTS | {"from": "24:30"}}}, "a time of day from 00:00 to 24:00"),
    ({"quiet_hours": {"nights": NIGHTS | {"from": "9pm"}}}, "quiet hours from, seen '9pm'"),
    (
        {"quiet_hours": {"nights": NIGHTS | {"days": "weekend"}}},
        "mon, tue, wed, thu, fri, sat, sun",
    ),
]


@pytest.mark.parametrize(("contact", "words"), BAD_PARTS, ids=range(len(BAD_PARTS)))
def test_the_rest_is_refused_as_well(contact: dict[str, Any], words: str) -> None:
    zone = {} if "no time_zone" in words else {"time_zone": ZONE}
    found = faults_of(zone | contact)
    assert any(words in fault for fault in found), found


def test_several_are_needed_within_a_time() -> None:
    spec = {name: value for name, value in TIRED.items() if name != "within"}
    found = faults_of({"suppression": {"one": spec}})
    assert any("seen no within, allowed: within: how long" in fault for fault in found), found


def test_treatments_have_declared_channels() -> None:
    actions = {"news": {"treatments": [{"name": "one", "channels": ["email", "sms"]}]}}
    found = faults_of({"channels": ["email", "push"]}, actions=actions)
    assert [fault.partition(": ")[2] for fault in found] == [
        "channel, seen 'sms', allowed: email, push"
    ]


def test_names_are_given_once() -> None:
    files = {"contact/a.yaml": b"caps: {one: {count: click, max: 1, window: 1d}}"}
    files["contact/b.yaml"] = files["contact/a.yaml"]
    files["schema.yaml"] = b"events: {click: {}}"
    found = [str(fault) for fault in compile_playbook(files).faults]
    assert any("duplicate name in caps" in fault for fault in found), found


def test_counters_have_a_bound() -> None:
    actions = {f"action_{number}": {"value": 1.0} for number in range(513)}
    found = faults_of({"caps": {"one": CAP | {"of": "action"}}}, actions=actions)
    assert any("at most 512 in all, those of caps included" in fault for fault in found), found
