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
