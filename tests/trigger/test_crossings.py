"""Segments, grades and the stage that a write moves a person across become events."""

from __future__ import annotations

import itertools

import pytest

from nextbest.core.errors import InvalidRequestError
from nextbest.server.playbook.grants import upsert_of
from nextbest.v1 import event_pb2, mutation_pb2, profile_pb2
from tests.trigger.people import (
    DAY,
    FILES,
    NOW_US,
    SECOND,
    buy,
    counted,
    counts,
    crossings,
    decide,
    engine_of,
    event,
    identity,
    link,
    moment,
    move,
    plan_of,
)

SPEND = {
    "events": {"purchase": {"amount": "double"}},
    "counters": {
        "spend": {"sum": "purchase.amount", "window": "all"},
        "entered": counted("segment_entered"),
    },
}
VIP = {"segments": {"vip": "profile.spend >= 100.0"}}
VIP_TOLD = {"triggers": {"segments": "vip"}}


def test_entering_and_leaving_are_counted_once_each() -> None:
    engine = engine_of()
    buy(engine, "one", 60.0)
    assert "vip_in" not in counts(engine)
    buy(engine, "two", 60.0)
    assert counts(engine)["vip_in"] == 1
    buy(engine, "three", 60.0)
    assert counts(engine)["vip_in"] == 1
    buy(engine, "four", -100.0)
    assert (counts(engine)["vip_in"], counts(engine)["vip_out"]) == (1, 1)
    buy(engine, "five", 100.0)
    assert (counts(engine)["vip_in"], counts(engine)["vip_out"]) == (2, 1)


def test_a_crossing_may_be_the_cause_of_another() -> None:
    engine = engine_of()
    buy(engine, "one", 200.0)
    found = counts(engine)
    assert (found["vip_in"], found["welcomed_in"]) == (1, 1)
    # The cause of both is what somebody did.
    assert found["causes"] == ["one", "one"]


def test_a_grade_and_the_stage_tell_from_where_to_where() -> None:
    engine = engine_of()
    buy(engine, "one", 60.0)
    assert (counts(engine)["graded_from"], counts(engine)["graded"]) == ("B2", "B1")
    assert counts(engine)["won"] == 1
    # A score that reads a segment, and a grade that reads the score.
    move(engine, "PL", at_us=NOW_US + SECOND)
    assert (counts(engine)["graded_from"], counts(engine)["graded"]) == ("B1", "A1")
    move(engine, "DE", at_us=NOW_US + 2 * SECOND)
    assert (counts(engine)["graded_from"], counts(engine)["graded"]) == ("A1", "B1")
    assert counts(engine)["won"] == 1


def test_what_time_has_changed_is_found_at_the_next_write() -> None:
    engine = engine_of()
    for number in range(3):
        engine.track(event(f"visit-{number}", name="visit"), NOW_US)
    assert counts(engine)["active_in"] == 1
    later = NOW_US + 30 * DAY
    assert "active_out" not in counts(engine, now_us=later)
    buy(engine, "later", 1.0, at_us=later)
    assert counts(engine, now_us=later)["active_out"] == 1
    # And not again.
    buy(engine, "later still", 1.0, at_us=later + DAY)
    move(engine, "PL", at_us=later + 2 * DAY)
    assert counts(engine, now_us=later + DAY)["active_out"] == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_late_events_cross_as_those_in_time(order: tuple[int, ...]) -> None:
    """Whatever comes last finds it, and in the end there is one crossing more in than out."""
    engine = engine_of()
    for number in order:
        at_us = NOW_US - number * 3_600 * SECOND
        engine.track(event(f"visit-{number}", name="visit", at_us=at_us), NOW_US)
    found = counts(engine)
    assert found["active_in"] - found.get("active_out", 0) == 1


def test_a_repeat_tells_nothing_again() -> None:
    engine = engine_of()
    for _ in range(3):
        buy(engine, "one", 200.0)
    assert counts(engine)["vip_in"] == 1
    assert crossings(engine)[0] == 4  # vip, welcomed, the grade, the stage


def test_the_same_cause_gives_the_same_events_on_every_node() -> None:
    """Two nodes that have not heard of each other take the same event; then they have all."""
    one, two = engine_of(), engine_of()
    for engine in (one, two):
        engine.attach_log(1_024, default_ack=1)
    for engine in (one, two):
        buy(engine, "same", 200.0)
        move(engine, "PL", write_id="018bcfe5-6800-7000-8000-000000000001", at_us=NOW_US + SECOND)
    batches = [engine.log_take(0, 1_000, 1 << 20).data for engine in (one, two)]
    one.apply_batch(batches[1], NOW_US)
    two.apply_batch(batches[0], NOW_US)
    for engine in (one, two):
        found = counts(engine)
        assert (found["vip_in"], found["welcomed_in"], found["won"]) == (1, 1, 1)
        assert len(found["causes"]) == 3
    assert one.digest() == two.digest()


def test_applying_tells_nothing() -> None:
    one, two = engine_of(), engine_of()
    one.attach_log(1_024, default_ack=1)
    buy(one, "one", 200.0)
    batch = one.log_take(0, 1_000, 1 << 20)
    assert batch.mutations == 6  # the event, the stage's attribute, and four crossings
    two.apply_batch(batch.data, NOW_US)
    assert crossings(two) == (0, 0, 0)
    assert one.digest() == two.digest()
    assert counts(one) == counts(two)


def test_linking_moves_both_persons() -> None:
    engine = engine_of()
    buy(engine, "one", 60.0, "ann")
    buy(engine, "two", 60.0, "anna")
    link(engine, "ann", "anna", at_us=NOW_US + SECOND)
    # Each of the two has come into it, and they are one now.
    assert counts(engine)["vip_in"] == 2
    link(engine, "ann", "anna", unlink=True, at_us=NOW_US + 2 * SECOND)
    assert counts(engine, "ann")["vip_out"] == 1
    assert counts(engine, "anna")["vip_out"] == 1


def test_who_was_in_before_a_link_does_not_enter_again() -> None:
    engine = engine_of()
    buy(engine, "one", 200.0, "ann")
    buy(engine, "two", 1.0, "anna")
    link(engine, "anna", "ann", at_us=NOW_US + SECOND)
    assert counts(engine)["vip_in"] == 2
    buy(engine, "three", 1.0, "anna", at_us=NOW_US + 2 * SECOND)
    assert counts(engine)["vip_in"] == 2


def test_nobody_may_send_the_engines_own_events() -> None:
    engine = engine_of()
    with pytest.raises(InvalidRequestError, match=r"segment_entered.*the engine alone tells of"):
        engine.track(event("mine", name="segment_entered", segment="vip"), NOW_US)
    assert counts(engine) == {}


def test_a_playbook_without_triggers_tells_nothing() -> None:
    schema = FILES["schema.yaml"] | {
        "counters": {"spend": {"sum": "purchase.amount", "window": "all"}}
    }
    engine = engine_of(
        plan_of(
            schema=schema,
            segments={"segments": {"vip": "profile.spend >= 100.0"}},
            scores=None,
            triggers=None,
        )
    )
    buy(engine, "one", 200.0)
    assert counts(engine) == {"spend": 200.0}
    assert crossings(engine) == (0, 0, 0)


def test_each_of_many_segments_tells_of_itself() -> None:
    counters = {
        "visits": counted("visit"),
        "entered": counted("segment_entered"),
        "names": {"distinct": "segment_entered.segment", "window": "all"},
    }
    segments = {f"s{number}": f"profile.visits >= {1 + number % 10}" for number in range(200)}
    engine = engine_of(
        plan_of(
            schema={"events": {"visit": {}}, "counters": counters},
            segments={"segments": segments},
            scores=None,
            triggers={"triggers": {"segments": "*"}},
        )
    )
    for number in range(10):
        engine.track(event(f"visit-{number}", name="visit"), NOW_US)
        found = counts(engine)
        assert found["entered"] == found["names"] == 20 * (number + 1)


def test_an_exposure_may_be_the_cause() -> None:
    """A decision that exposes somebody writes, and what that moves is told, too."""
    schema = {
        "events": {"visit": {}},
        "counters": {
            "exposed": counted("exposure"),
            "met": counted("segment_entered", 'event.segment == "met"'),
            "causes": {"last": "segment_entered.cause", "window": "all"},
        },
    }
    plan = plan_of(
        schema=schema,
        segments={"segments": {"met": "profile.exposed >= 1"}},
        scores=None,
        experiments={"experiments": {"one": {"variants": ["a", "b"]}}},
        actions={"actions": {"one": {"eligibility": 'experiment.one != ""'}}},
        placements={"placements": {"page": {}}},
        triggers={"triggers": {"segments": "met"}},
    )
    engine = engine_of(plan)
    for _ in range(2):
        answer = decide(engine, decision_id=("d" * 36, "")[_])
        assert answer.placements[0].propositions[0].action == "one"
        found = counts(engine)
        assert (found["exposed"], found["met"], found["causes"]) == (1, 1, "d" * 36)


def test_explanations_say_how_somebody_stands_to_triggers() -> None:
    engine = engine_of()
    buy(engine, "one", 120.0)
    assert decide(engine).triggers == []
    found = [
        (one.trigger, one.value, one.condition, one.missing)
        for one in decide(engine, explain=True).triggers
    ]
    assert found == [
        ("segment active", "out", "profile.visits >= 3", ""),
        ("segment local", "out", 'profile.country == "PL"', ""),
        ("segment vip", "in", "", ""),
        ("segment welcomed", "in", "", ""),
        ("grade lead", "B1", "", ""),
        ("stage", "customer", "", ""),
    ]


def test_score_rules_and_the_contact_policy_use_crossings() -> None:
    """Points for entering, which decay; and a pause after somebody has left."""
    schema = {
        "events": {"purchase": {"amount": "double"}},
        "counters": {
            "spend": {"sum": "purchase.amount", "window": "7d"},
            "hot_in": counted("segment_entered", 'event.segment == "hot"'),
            "hot_out": counted("segment_left", 'event.segment == "hot"'),
        },
    }
    rule = {"reason": "vip", "points": 10, "on": "segment_entered", "half_life": "7d"}
    plan = plan_of(
        schema=schema,
        segments={"segments": {"vip": "profile.spend >= 100.0", "hot": "score.heat > 6"}},
        scores={"scores": {"heat": {"rules": [rule | {"when": 'event.segment == "vip"'}]}}},
        contact={
            "suppression": {
                "rest": {"after": 1, "count": "segment_left", "within": "1d", "pause": "2d"}
            }
        },
        actions={"actions": {"news": {}}},
        placements={"placements": {"page": {}}},
        triggers={"triggers": {"segments": "*"}},
    )
    engine = engine_of(plan)
    buy(engine, "one", 100.0)
    assert counts(engine) == {"spend": 100.0, "hot_in": 1}
    assert len(decide(engine).placements[0].propositions) == 1
    # Ten points have become five, and the spend has run out.
    later = NOW_US + 8 * DAY
    buy(engine, "two", 1.0, at_us=later)
    assert counts(engine, now_us=later) == {"spend": 1.0, "hot_in": 1, "hot_out": 1}
    assert len(decide(engine, now_us=later).placements[0].propositions) == 0
    after = later + 3 * DAY
    assert len(decide(engine, now_us=after).placements[0].propositions) == 1


@pytest.mark.parametrize(("ack", "queue"), [(1, 0), (2, 0), (3, 1)])
def test_what_a_write_causes_is_as_safe_as_the_write(ack: int, queue: int) -> None:
    engine = engine_of(plan_of(schema=SPEND, scores=None, segments=VIP, triggers=VIP_TOLD))
    engine.attach_log(1_024)
    request = event_pb2.TrackRequest.FromString(event("one", amount=200.0))
    request.ack = ack  # type: ignore[assignment]
    engine.track(request.SerializeToString(), NOW_US, 7)
    assert [engine.log_waiting(0), engine.log_waiting(1)] == [2 - 2 * queue, 2 * queue]
    batch = engine.log_take(queue, 100, 1 << 20)
    mutations = mutation_pb2.MutationBatch.FromString(batch.data).mutations
    # One after the other: whoever has the second has the first.
    assert [one.event.event for one in mutations] == ["purchase", "segment_entered"]
    engine.log_done(queue, 2, (1, 1, 1), ack)
    # Nobody waits for what a write causes.
    told = iter(lambda: engine.completed(NOW_US), None)
    assert [one[0] for one in told] == [7] * (ack > 1)


def test_consent_and_its_end_are_crossings() -> None:
    schema = {
        "events": {"visit": {}},
        "counters": {
            "got": counted("segment_entered", 'event.segment == "reachable"'),
            "gone": counted("segment_left", 'event.segment == "reachable"'),
        },
    }
    plan = plan_of(
        schema=schema,
        segments={"segments": {"reachable": "consent.news"}},
        scores=None,
        contact={"purposes": {"news": {}}},
        triggers={"triggers": {"segments": "reachable"}},
    )
    engine = engine_of(plan)

    def say(status: str, at_us: int, until_us: int = 0) -> None:
        request = profile_pb2.SetConsentRequest(
            write_id=f"{status}-{at_us}",
            identity=identity("ann"),
            purpose="news",
            status=f"CONSENT_STATUS_{status}",
            occurred_at=moment(at_us),
        )
        if status == "GRANTED":
            request.lawful_basis = profile_pb2.LAWFUL_BASIS_CONSENT
            request.expires_at.FromMicroseconds(until_us)
        engine.set_consent(upsert_of(request, plan, at_us).SerializeToString(), at_us)

    say("GRANTED", NOW_US, NOW_US + DAY)
    assert counts(engine) == {"got": 1}
    say("REVOKED", NOW_US + SECOND)
    assert counts(engine) == {"got": 1, "gone": 1}
    say("GRANTED", NOW_US + 2 * SECOND, NOW_US + DAY)
    engine.track(event("visit", name="visit", at_us=NOW_US + 2 * DAY), NOW_US + 2 * DAY)
    assert counts(engine) == {"got": 2, "gone": 2}


def test_another_playbook_tells_nothing_by_itself() -> None:
    """Who is in a new segment already has not crossed it; memory of the old one is not kept."""
    engine = engine_of(plan_of(schema=SPEND, scores=None, segments=VIP, triggers=VIP_TOLD))
    buy(engine, "one", 200.0)
    assert counts(engine)["entered"] == 1
    wider = {"segments": {f"s{number}": f"profile.spend > {number}.0" for number in range(300)}}
    schema = SPEND | {"attributes": {"age": "int"}}
    triggers = {"triggers": {"segments": "*"}}
    engine.publish(plan_of(schema=schema, scores=None, segments=wider, triggers=triggers))
    buy(engine, "two", 10.0)
    assert counts(engine)["entered"] == 1 + 10
    engine.publish(plan_of(schema=SPEND, scores=None, segments=VIP, triggers=VIP_TOLD))
    buy(engine, "three", 1.0)
    assert counts(engine)["entered"] == 1 + 10
    assert crossings(engine) == (11, 0, 0)


def test_rounds_and_crossings_of_one_write_are_bounded() -> None:
    """Each segment's event moves the person into the next one: a chain of ten is cut."""
    counters = {"visits": {"count": "visit", "window": "all"}}
    segments = {"s0": "profile.visits >= 1"}
    for number in range(1, 10):
        where = f'event.segment == "s{number - 1}"'
        counters[f"in{number}"] = {"count": "segment_entered", "window": "all", "where": where}
        segments[f"s{number}"] = f"profile.in{number} >= 1"
    schema = {"events": {"visit": {}}, "counters": counters}
    parts = {"scores": None, "triggers": {"triggers": {"segments": "*"}}}
    engine = engine_of(plan_of(schema=schema, segments={"segments": segments}, **parts))
    engine.track(event("one", name="visit"), NOW_US)
    assert crossings(engine) == (4, 0, 1)
    wide = {f"m{number}": "profile.visits >= 1" for number in range(400)}

    schema = {"events": {"visit": {}}, "counters": {"visits": counters["visits"]}}
    engine = engine_of(plan_of(schema=schema, segments={"segments": wide}, **parts))
    engine.track(event("one", name="visit"), NOW_US)
    told, lost, cut = crossings(engine)
    assert (told, lost, told + cut) == (256, 0, 400)
