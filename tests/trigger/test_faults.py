"""What triggers.yaml refuses, and with which words."""

from __future__ import annotations

from typing import Any

import pytest

from nextbest.core.playbook.watch import watch
from nextbest.server.playbook import limits
from tests.trigger.people import FILES, compiled, counted, plan_of

BAD: list[tuple[dict[str, Any], str]] = [
    ({"segments": ["vipp"]}, "segments of triggers, seen 'vipp', allowed: "),
    ({"segments": ["vipp"]}, "(did you mean vip?)"),
    ({"segments": ["vip", "vip"]}, "segments of triggers, seen 'vip', allowed: each name once"),
    ({"segments": "VIP"}, "a name: a lower-case letter"),
    ({"grades": "leads"}, "grades of triggers, seen 'leads', allowed: lead (did you mean lead?)"),
    ({"stages": True}, "key of a trigger, seen 'stages', allowed: segments, grades, stage"),
    ({"stage": "yes"}, "true or false"),
]

# Without counters of crossings, whose events there are none of where triggers have a fault.
PLAIN = FILES["schema.yaml"] | {
    "counters": {name: FILES["schema.yaml"]["counters"][name] for name in ("spend", "visits")}
}
SEGMENTS = {"segments": {"vip": "profile.spend >= 100.0", "local": 'profile.country == "PL"'}}


def faults_of(**parts: Any) -> list[str]:
    return [str(fault) for fault in compiled(**parts).faults]


@pytest.mark.parametrize(("change", "words"), BAD, ids=range(len(BAD)))
def test_bad_triggers_are_refused(change: dict[str, Any], words: str) -> None:
    found = faults_of(triggers={"triggers": change}, schema=PLAIN, segments=SEGMENTS)
    assert any(fault.startswith("triggers.yaml:") and words in fault for fault in found), found


def test_the_stage_needs_stages() -> None:
    found = faults_of(triggers={"triggers": {"stage": True}}, scores=None)
    assert any(
        "stage of triggers, seen 'true', allowed: stages in scores.yaml" in one for one in found
    )


def test_a_trigger_reads_what_is_stored() -> None:
    segments = {"segments": {"inner": 'context.page == "home"', "outer": "segment.inner"}}
    found = faults_of(
        segments=segments,
        scores=None,
        triggers={"triggers": {"segments": "outer"}},
        schema=FILES["schema.yaml"] | {"counters": {}},
    )
    assert found == [
        "triggers.yaml:2:13: segment outer of triggers, seen one that reads context.page, allowed: "
        "only what is stored of a person: a write has no request to read it of"
    ]


def test_an_event_of_the_engines_own_is_not_declared() -> None:
    schema = {"events": {"segment_left": {}}, "attributes": {"age": "int"}}
    found = faults_of(
        schema=schema,
        scores=None,
        segments={"segments": {"vip": "profile.age > 1"}},
        triggers={"triggers": {"segments": "vip"}},
    )
    assert any(
        "name of an event, seen 'segment_left', allowed: another name" in one for one in found
    )


def test_without_triggers_there_are_no_such_events() -> None:
    found = faults_of(triggers=None)
    assert any(
        "event of count, seen 'segment_entered', allowed: purchase, visit, or segments in "
        "triggers.yaml, which have it told" in one
        for one in found
    )


@pytest.mark.parametrize("where", ['event.segment == "vipp"', 'event.segment in ["vip", "vipp"]'])
def test_a_filter_names_what_triggers_name(where: str) -> None:
    counters = {"spend": FILES["schema.yaml"]["counters"]["spend"], "visits": counted("visit")}
    counters["vip_in"] = counted("segment_entered", where)
    found = faults_of(schema=FILES["schema.yaml"] | {"counters": counters})
    assert len(found) == 1
    assert "where of vip_in: event.segment, seen 'vipp', allowed: " in found[0]
    assert "(did you mean vip?)" in found[0]


def test_conditions_without_a_boundary_are_bounded_and_counted() -> None:
    most = limits.TRIGGER_CONDITIONS_MAX
    for count in (most, most + 1):
        segments = {f"s{number}": f"profile.age % 9999 == {number}" for number in range(count)}
        parts = {
            "schema": {"attributes": {"age": "int"}},
            "segments": {"segments": segments},
            "scores": None,
            "triggers": {"triggers": {"segments": "*"}},
        }
        if count == most:
            found = watch(plan_of(**parts))
            assert found is not None
            assert found.plain() == most
        else:
            assert f"conditions of triggers, seen {count:,}, allowed: at most {most:,} that" in str(
                faults_of(**parts)
            )
