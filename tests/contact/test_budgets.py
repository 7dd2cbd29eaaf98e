"""Budgets over all people on one engine: held by decisions, used by impressions, given back."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nextbest.core import Engine
from nextbest.server.budgets import budget_statuses
from nextbest.server.playbook.run import run_cases
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.v1 import common_pb2, decision_pb2, event_pb2
from tests.contact.playbook import (
    DAY,
    NOW_US,
    SECOND,
    answer,
    compiled,
    engine_of,
    faults_of,
    identity,
    plan_of,
    proposed,
)
from tests.record.people import taken

WAITS = common_pb2.DEGRADATION_BUDGET_WAIT
VOLUME = {"of": {"group": "discount"}, "max": 5, "per": "all", "hold": "10m"}
_numbers = itertools.count()


def with_budgets(**budgets: dict[str, Any]) -> dict[str, Any]:
    return {"time_zone": "Europe/Warsaw", "budgets": budgets}


def impression(
    engine: Engine,
    decision: decision_pb2.DecideResponse,
    slot: int,
    at_us: int,
    who: str = "ann",
    **about: str,
) -> None:
    """One more impression of a slot, on an engine."""
    request = event_pb2.TrackRequest(
        event_id=f"shown-{next(_numbers)}",
        identity=identity(who),
        event="impression",
        decision_id=decision.decision_id,
        slot=slot,
    )
    request.occurred_at.seconds = at_us // SECOND
    for key, text in about.items():
        request.properties[key].string_value = text
    engine.track(request.SerializeToString(), at_us)


def amounts(engine: Engine, now_us: int = NOW_US) -> tuple[int, int, int]:
    """Used, held and left of the only budget."""
    (one,) = engine.budgets(now_us)
    return one.used, one.held, one.left


def test_no_more_is_proposed_than_the_budget_has() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    shown = [proposed(engine, f"person-{i}", "inbox") for i in range(4)]
    assert shown[0] == shown[1] == ["ten_off", "twenty_off", "news"]
    assert shown[2] == ["ten_off", "news"], "one is left, and the better one has it"
    assert shown[3] == ["news"]
    assert amounts(engine) == (0, 5, 0)


def test_why_nothing_is_left_is_explained() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    for i in range(3):
        last = answer(engine, f"person-{i}", "inbox")
    impression(engine, last, 0, NOW_US)
    told = answer(engine, "bob", "inbox", explain=True)
    assert list(told.degraded) == [], "it is used up: nothing is to be waited for"
    by_name = {one.action: one for one in told.explanations[0].candidates}
    assert by_name["ten_off"].fate == decision_pb2.FATE_CONTACT_POLICY
    assert by_name["ten_off"].condition == "budget summer"
    wanted = decision_pb2.BudgetExplanation(used=1, held=4, left=0, max=5)
    assert by_name["ten_off"].budget == wanted
    assert not by_name["news"].HasField("budget")


def test_a_repeated_decision_holds_once() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    for second in (0, 1, 120, 599):
        answer(engine, "ann", "inbox", NOW_US + second * SECOND, decision_id="same")
    assert amounts(engine) == (0, 2, 3)


def test_a_preview_holds_nothing_and_sees_what_is_left() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 1}))
    assert proposed(engine, "ann", "inbox", preview=True) == ["ten_off", "news"]
    assert amounts(engine) == (0, 0, 1)
    answer(engine, "ann", "inbox")
    assert proposed(engine, "bob", "inbox", preview=True) == ["news"]


def test_one_id_for_many_people_holds_for_each() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 4}))
    people = [f"person-{i}" for i in range(6)]
    # So far apart that the answer to the one before is no longer kept.
    moments = [NOW_US + i * 61 * SECOND for i in range(6)]
    shown = [
        proposed(engine, who, "inbox", at_us, decision_id="same")
        for who, at_us in zip(people, moments, strict=True)
    ]
    assert shown == [["ten_off", "twenty_off", "news"]] * 2 + [["news"]] * 4
    one = decision_pb2.DecideResponse(decision_id="same")
    for _ in range(2):
        impression(engine, one, 0, moments[-1], who=people[0])
    assert amounts(engine) == (1, 3, 0), "the same person's again is a repeat"
    impression(engine, one, 0, moments[-1], who=people[1])
    assert amounts(engine) == (2, 2, 0)


def test_an_impression_of_another_identity_confirms() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    one = answer(engine, "cookie", "inbox")
    impression(engine, one, 0, NOW_US, who="ann")
    assert amounts(engine) == (1, 1, 3)


def test_what_costs_nothing_holds_nothing() -> None:
    actions = {"ten_off": {"attributes": {"price": 0.0}}}
    free = {"of": {"action": "ten_off"}, "spend": {"max": 3, "cost": "price"}, "per": "all"}
    engine = engine_of(with_budgets(money=free), actions=actions)
    engine.budgets_managed()
    assert [proposed(engine, "ann", "inbox") for _ in range(3)] == [["ten_off"]] * 3
    assert amounts(engine) == (0, 0, 0)


def test_one_that_nobody_has_seen_keeps_none_behind_it() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 10_000}), holds_max=8)
    answer(engine, "never", "inbox")
    for i in range(500):
        one = answer(engine, "ann", "inbox", NOW_US + i)
        impression(engine, one, 0, NOW_US + i)
        impression(engine, one, 1, NOW_US + i)
    assert amounts(engine) == (1_000, 2, 8_998)


def test_a_budget_with_all_its_holds_proposes_nothing_and_says_so() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 100}), holds_max=4)
    shown = [answer(engine, f"person-{i}", "inbox") for i in range(3)]
    assert list(shown[1].degraded) == []
    assert list(shown[2].degraded) == [WAITS]
    assert [one.action for one in shown[2].placements[0].propositions] == ["news"]
    (one,) = engine.budgets(NOW_US)
    assert (one.held, one.left, one.full) == (4, 96, 1)
    later = NOW_US + 601 * SECOND
    assert proposed(engine, "bob", "inbox", later) == ["ten_off", "twenty_off", "news"]


def test_what_is_told_is_of_now_however_many_have_ended_at_once() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 400}))
    for i in range(200):
        answer(engine, f"person-{i}", "inbox")
    assert amounts(engine) == (0, 400, 0)
    later = NOW_US + 600 * SECOND
    # Decisions give back a few at a time, so that none waits for all.
    assert proposed(engine, "bob", "inbox", later) == ["ten_off", "twenty_off", "news"]
    assert amounts(engine, later) == (0, 2, 398)


def test_a_changed_hold_is_that_of_all_that_wait() -> None:
    day = with_budgets(summer=VOLUME | {"hold": "1d"})
    engine = engine_of(day)
    answer(engine, "ann", "inbox")
    engine.publish(plan_of(with_budgets(summer=VOLUME | {"hold": "1m"})))
    answer(engine, "bob", "inbox", NOW_US + 30 * SECOND)
    assert amounts(engine, NOW_US + 61 * SECOND) == (0, 2, 3)
    engine.publish(plan_of(day))
    assert amounts(engine, NOW_US + 3_600 * SECOND) == (0, 2, 3)


def test_a_longer_hold_is_that_of_all_that_wait_at_once() -> None:
    """Also for who asks about the budget before the first decision under the new playbook."""
    engine = engine_of(with_budgets(summer=VOLUME | {"hold": "1m"}))
    answer(engine, "ann", "inbox")
    engine.publish(plan_of(with_budgets(summer=VOLUME | {"hold": "1d"})))
    (budget,) = engine.budgets(NOW_US)
    _, ends_us = engine.budget_holds(budget.key, budget.period, NOW_US, 10)
    assert ends_us == 86_400 * SECOND
    later = NOW_US + 61 * SECOND
    assert engine.budget_has(budget.key, budget.period, later).held == budget.held > 0


def test_no_hold_is_named_where_none_may_be() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    answer(engine, "ann", "inbox")
    (budget,) = engine.budgets(NOW_US)
    assert engine.budget_holds(budget.key, budget.period, NOW_US, 0) == (b"", 0)


def twice_in_a_slot(**budgets: dict[str, Any]) -> tuple[Engine, decision_pb2.DecideResponse]:
    """One action in the same slot of two placements."""
    engine = engine_of(
        with_budgets(**budgets),
        actions={"ten_off": {"group": "discount"}},
        placements={
            name: {"slots": 1, "candidates": {"actions": ["ten_off"]}, "fallback": "ten_off"}
            for name in ("inbox", "phone")
        },
    )
    one = answer(engine, "ann", ["inbox", "phone"])
    assert [len(part.propositions) for part in one.placements] == [1, 1]
    return engine, one


def test_late_impressions_of_one_slot_in_two_placements_are_both_paid() -> None:
    engine, one = twice_in_a_slot(summer=VOLUME)
    late = NOW_US + 700 * SECOND
    assert amounts(engine, late) == (0, 0, 5)
    for _ in range(2):
        impression(engine, one, 0, late)
    (told,) = engine.budgets(late)
    assert (told.used, told.held, told.late, told.unpaid) == (2, 0, 2, 0)


def test_an_impression_that_was_missed_is_unpaid_though_its_twin_was_seen() -> None:
    engine, one = twice_in_a_slot(summer=VOLUME | {"max": 2})
    impression(engine, one, 0, NOW_US, placement="phone")
    late = NOW_US + 700 * SECOND
    answer(engine, "bob", "inbox", late)
    impression(engine, one, 0, late, placement="inbox")
    (told,) = engine.budgets(late)
    assert (told.used, told.held, told.late, told.unpaid) == (1, 1, 0, 1)


def test_the_same_event_again_confirms_no_other_placement() -> None:
    engine, one = twice_in_a_slot(summer=VOLUME)
    request = event_pb2.TrackRequest(
        event_id="once", identity=identity("ann"), event="impression",
        decision_id=one.decision_id, slot=0,
    )  # fmt: skip
    request.occurred_at.seconds = NOW_US // SECOND
    for _ in range(2):
        engine.track(request.SerializeToString(), NOW_US)
    assert amounts(engine) == (1, 1, 3)


def test_an_impression_pays_in_the_placement_that_it_names() -> None:
    engine = engine_of(
        with_budgets(money={"spend": {"max": 20, "cost": "price"}, "per": "all"}),
        actions={
            "ten_off": {"attributes": {"price": 10.0}},
            "twenty_off": {"attributes": {"price": 1.0}},
        },
        placements={
            "inbox": {"slots": 1, "candidates": {"actions": ["ten_off"]}},
            "phone": {"slots": 1, "candidates": {"actions": ["twenty_off"]}},
        },
    )
    one = answer(engine, "ann", ["inbox", "phone"])
    impression(engine, one, 0, NOW_US, placement="inbox")
    assert amounts(engine) == (10_000_000, 1_000_000, 9_000_000)


def test_a_decision_asked_for_again_has_what_it_holds() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 1}))
    for second in (0, 61, 122):
        at_us = NOW_US + second * SECOND
        again = proposed(engine, "ann", "inbox", at_us, decision_id="same")
        assert again == ["ten_off", "news"]
        assert proposed(engine, "bob", "inbox", at_us) == ["news"]
    impression(engine, decision_pb2.DecideResponse(decision_id="same"), 0, NOW_US)
    later = NOW_US + 183 * SECOND
    assert proposed(engine, "ann", "inbox", later, decision_id="same") == ["ten_off", "news"]
    assert amounts(engine, later) == (1, 0, 0)


def test_full_holds_ask_for_no_more_of_the_budget() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 100}), holds_max=4)
    engine.budgets_managed()
    (one,) = engine.budgets(NOW_US)
    assert engine.grant_budget(one.key, one.period, 50, True)
    for i in range(4):
        answer(engine, f"person-{i}", "inbox")
    (one,) = engine.budgets(NOW_US)
    assert (one.used, one.held, one.left) == (0, 4, 46)


def test_budgets_of_playbooks_that_are_gone_make_room() -> None:
    engine = Engine(generations_max=2)
    parts = {"actions": {"ten_off": {}}, "placements": {"inbox": {"slots": 1}}}
    for i in range(66):
        many = {f"of_{i}_{j}": {"max": 1, "per": "all"} for j in range(64)}
        engine.publish(plan_of(with_budgets(**many), **parts))
        assert proposed(engine, f"ann_{i}", "inbox") == ["ten_off"]
        assert proposed(engine, f"bob-{i}", "inbox") == []


def test_an_impression_confirms_and_repeats_do_not_count() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    one = answer(engine, "ann", "inbox")
    for _ in range(3):
        impression(engine, one, 0, NOW_US, action="ten_off")
    assert amounts(engine) == (1, 1, 3)
    impression(engine, one, 1, NOW_US, action="news")
    impression(engine, one, 7, NOW_US)
    assert amounts(engine) == (1, 1, 3), "of another action, or of a slot that was not proposed"
    impression(engine, one, 1, NOW_US)
    assert amounts(engine) == (2, 0, 3)
    later = NOW_US + 601 * SECOND
    assert amounts(engine, later) == (2, 0, 3), "what is used does not come back"


def test_what_no_impression_confirms_comes_back() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    answer(engine, "ann", "inbox")
    answer(engine, "bob", "inbox", NOW_US + 300 * SECOND)
    assert amounts(engine, NOW_US + 599 * SECOND) == (0, 4, 1)
    assert amounts(engine, NOW_US + 600 * SECOND) == (0, 2, 3)
    assert amounts(engine, NOW_US + 900 * SECOND) == (0, 0, 5)


def test_a_late_impression_is_paid_of_what_is_left_or_told() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 2}))
    first = answer(engine, "ann", "inbox")
    late = NOW_US + 700 * SECOND
    amounts(engine, late)
    impression(engine, first, 0, late)
    assert amounts(engine, late) == (1, 0, 1)
    assert proposed(engine, "bob", "inbox", late) == ["ten_off", "news"]
    impression(engine, first, 1, late)
    (one,) = engine.budgets(late)
    assert (one.used, one.held, one.left) == (1, 1, 0), "never more than there is"
    assert (one.late, one.unpaid) == (1, 1)


def test_the_same_slot_of_several_placements_is_held_for_each() -> None:
    parts = {
        "actions": {"ten_off": {"group": "discount"}, "news": {}},
        "placements": {
            "first": {"candidates": {"actions": ["news"]}, "slots": 2, "fallback": "ten_off"},
            "second": {"candidates": {"actions": ["news"]}, "slots": 2, "fallback": "ten_off"},
        },
    }
    engine = engine_of(with_budgets(summer=VOLUME), **parts)
    one = answer(engine, "ann", ["first", "second"])
    shown = [[two.action for two in each.propositions] for each in one.placements]
    held = sum(names.count("ten_off") for names in shown)
    assert amounts(engine) == (0, held, 5 - held)
    assert held == 2


def test_money_is_spent_by_what_each_action_costs() -> None:
    actions = {
        "ten_off": {"group": "discount", "value": 3.0, "attributes": {"price": 0.3}},
        "news": {"value": 1.0, "attributes": {"price": 0.1}},
    }
    spend = {"spend": {"max": 1, "cost": "price"}, "per": "day"}
    engine = engine_of(with_budgets(money=spend), actions=actions)
    shown = [proposed(engine, f"person-{i}", "page") for i in range(4)]
    assert shown == [["ten_off", "news"], ["ten_off", "news"], ["news"], ["news"]]
    assert amounts(engine) == (0, 1_000_000, 0)
    told = answer(engine, "bob", "page", explain=True).explanations[0].candidates[0]
    assert told.budget == decision_pb2.BudgetExplanation(held=1.0, max=1.0)


def test_each_by_itself() -> None:
    engine = engine_of(with_budgets(each=VOLUME | {"of": "action", "max": 1}))
    assert proposed(engine, "ann", "inbox") == ["ten_off", "twenty_off", "news"]
    assert proposed(engine, "bob", "inbox") == []
    assert [one.name for one in engine.budgets(NOW_US)] == [
        "each.news",
        "each.ten_off",
        "each.twenty_off",
    ]


def test_a_new_day_has_a_new_budget() -> None:
    engine = engine_of(with_budgets(daily=VOLUME | {"per": "day", "max": 1}))
    # 08:00 in Warsaw.
    assert proposed(engine, "ann", "inbox") == ["ten_off", "news"]
    evening = NOW_US + 14 * 3_600 * SECOND
    impression(engine, answer(engine, "eve", "inbox", evening), 0, evening)
    assert proposed(engine, "bob", "inbox", evening) == ["news"]
    assert proposed(engine, "bob", "inbox", NOW_US + DAY) == ["ten_off", "news"]


def test_even_pacing_releases_shares_as_the_day_goes_on() -> None:
    budget = {"max": 24, "per": "day", "pacing": "even", "shares": 24}
    engine = engine_of(with_budgets(daily=budget))
    midnight = NOW_US - 9 * 3_600 * SECOND
    shown = 0
    for hour in range(24):
        for minute in (0, 59):
            at_us = midnight + (hour * 60 + minute) * 60 * SECOND
            found = answer(engine, f"person-{hour}-{minute}", "inbox", at_us)
            for slot in range(len(found.placements[0].propositions)):
                impression(engine, found, slot, at_us)
                shown += 1
            assert shown == hour + 1
            assert WAITS not in found.degraded, "elsewhere it would end alike"


def test_why_the_pace_keeps_something_back_is_explained() -> None:
    engine = engine_of(with_budgets(daily={"max": 24, "per": "day", "pacing": "even"}))
    midnight = NOW_US - 9 * 3_600 * SECOND
    assert proposed(engine, "ann", "inbox", midnight) == ["ten_off"]
    told = answer(engine, "bob", "inbox", midnight, explain=True)
    wanted = decision_pb2.BudgetExplanation(held=1, max=24, paced=True)
    assert told.explanations[0].candidates[0].budget == wanted
    last = answer(engine, "bob", "inbox", midnight + DAY - SECOND, explain=True)
    assert {one.budget.paced for one in last.explanations[0].candidates} == {False}


def test_a_changed_playbook_goes_on_with_what_is_used() -> None:
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 2}))
    one = answer(engine, "ann", "inbox")
    impression(engine, one, 0, NOW_US)
    engine.publish(plan_of(with_budgets(summer=VOLUME | {"max": 4})))
    assert amounts(engine) == (1, 1, 2)
    engine.publish(plan_of(with_budgets(summer=VOLUME | {"max": 1})))
    assert amounts(engine) == (1, 1, 0)
    assert proposed(engine, "bob", "inbox") == ["news"]


def test_a_managed_budget_is_what_was_granted() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    engine.budgets_managed()
    (one,) = engine.budgets(NOW_US)
    waiting = answer(engine, "ann", "inbox", explain=True)
    assert list(waiting.degraded) == [WAITS]
    assert waiting.explanations[0].candidates[-1].budget.waits
    assert engine.grant_budget(one.key, one.period, 2, True)
    assert proposed(engine, "bob", "inbox") == ["ten_off", "twenty_off", "news"]
    assert list(answer(engine, "eve", "inbox").degraded) == [WAITS]
    assert engine.grant_budget(one.key, one.period, 0, False)
    assert list(answer(engine, "eve", "inbox").degraded) == []
    assert not engine.grant_budget(bytes(16), one.period, 2, True)


@pytest.mark.parametrize("per", ["day", "week", "month"])
def test_the_first_day_of_a_period(per: str) -> None:
    engine = engine_of(with_budgets(daily=VOLUME | {"per": per}))
    (status,) = budget_statuses(engine.budgets(NOW_US), None)
    today = datetime.fromtimestamp(NOW_US // SECOND, ZoneInfo("Europe/Warsaw")).date()
    monday = today - timedelta(days=today.weekday())
    days = {"day": today, "week": monday, "month": today.replace(day=1)}
    assert status.since == str(days[per])
    assert (status.max, status.claimed, status.used) == (5.0, 5.0, 0.0)


def test_to_look_ahead_changes_nothing() -> None:
    engine = engine_of(with_budgets(daily=VOLUME | {"per": "day", "hold": "1s"}))
    answer(engine, "ann", "inbox")
    (ahead,) = engine.budgets(NOW_US, DAY)
    (here,) = engine.budgets(NOW_US)
    assert (ahead.period, ahead.held, ahead.left) == (here.period + 1, 0, 5)
    assert (here.held, here.left) == (2, 3)


def test_what_was_seen_before_it_was_managed_is_not_granted() -> None:
    engine = engine_of(with_budgets(summer=VOLUME))
    assert amounts(engine) == (0, 0, 5)
    engine.budgets_managed()
    assert amounts(engine) == (0, 0, 0)


def test_decisions_under_budgets_replay_to_the_byte(tmp_path: Path) -> None:
    plan = plan_of(with_budgets(summer=VOLUME | {"max": 40, "hold": "5s"}))
    engine = engine_of(with_budgets(summer=VOLUME | {"max": 40, "hold": "5s"}))
    engine.record(1.0, 1 << 22)
    for i in range(100):
        at_us = NOW_US + i * SECOND // 4
        one = answer(engine, f"person-{i}", "inbox", at_us, explain=i % 2 == 0)
        if i % 3 == 0:
            impression(engine, one, 0, at_us)
    _, found = taken(engine)
    decided = [one for one in found if not one.record.HasField("outcome")]
    shown = {len(one.record.response.placements[0].propositions) for one in decided}
    assert shown == {1, 2, 3}
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    results = list(replay(decided, playbooks))
    assert [one for one in results if not one.equal] == []
    assert len(results) == 100


def test_what_the_pace_keeps_back_is_recorded_behind_all_that_older_versions_read() -> None:
    """They read whether there may be more as 0 or 1, and nothing behind it."""
    budgets = with_budgets(daily={"max": 24, "per": "day", "pacing": "even"})
    engine, replaying = engine_of(budgets), engine_of(budgets)
    engine.record(1.0, 1 << 22)
    told = answer(engine, "ann", "inbox", NOW_US - 9 * 3_600 * SECOND, explain=True)
    _, (found,) = taken(engine)
    (read,) = (one for one in found.record.inputs if one.budget)
    assert read.left[3:] == [0, 1]
    assert found.record.response == told
    for left in (read.left[:], read.left[:4]):
        read.left[:] = left
        content, missing = replaying.replay(found.record.SerializeToString())
        assert missing == ()
        explained = decision_pb2.DecideResponse.FromString(content).explanations[0]
        paced = {one.budget.paced for one in explained.candidates if one.HasField("budget")}
        assert paced == {len(left) == 5}


@pytest.mark.parametrize("place", [0, 1, 2], ids=["used", "held", "left"])
@pytest.mark.parametrize("amount", [-1, 2**61, 2**63 - 1])
def test_an_amount_that_no_budget_has_was_not_read(place: int, amount: int) -> None:
    """A file of records may be anybody's."""
    budgets = with_budgets(summer=VOLUME)
    engine, again = engine_of(budgets), engine_of(budgets)
    engine.record(1.0, 1 << 22)
    answer(engine, "ann", "inbox", NOW_US, explain=True)
    _, (found,) = taken(engine)
    record = found.record
    (read,) = (one for one in record.inputs if one.budget)
    read.left[place] = amount
    content, missing = again.replay(record.SerializeToString(), explain=True)
    assert missing == (("budget", 0),)
    explained = decision_pb2.DecideResponse.FromString(content).explanations[0]
    held = {one.budget.held for one in explained.candidates if one.HasField("budget")}
    assert held <= {0.0, 1.0, 2.0, 3.0}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max": 0}, "budget max, seen '0', allowed: a whole number from 1 to"),
    ({"per": "year"}, "budget per, seen 'year', allowed: day, week, month, all"),
    ({"spend": {"max": 3, "cost": 1}}, "exactly one of max, spend"),
    ({"pacing": "even"}, "pacing of summer, seen 'even', allowed: none, or a budget per day"),
    ({"pacing": "fast"}, "allowed: none, even"),
    ({"hold": "2d"}, "budget hold, seen '2d'"),
    ({"shares": 0}, "budget shares, seen '0'"),
    ({"of": {"group": "discounts"}}, "group of budget summer, seen 'discounts', allowed: discount"),
    ({"max": None, "spend": {"max": 3, "cost": "price"}}, "cost of budget summer, seen 'price'"),
    ({"max": None, "spend": {"max": 3, "cost": 0}}, "allowed: a number over 0"),
    ({"max": None, "spend": {"max": -1, "cost": 1}}, "spend max, seen '-1'"),
    ({"max": None, "spend": {"max": 3, "cost": 1e-7}}, "seen '0.0000001', allowed: at most six"),
    (
        {"max": None, "spend": {"max": 1.2345678, "cost": 1}},
        "of budget summer, seen '1.2345678'",
    ),
    ({"max": None, "spend": {"cost": 1}}, "seen no max"),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=range(len(BAD)))
def test_bad_budgets_are_refused(change: dict[str, Any], words: str) -> None:
    spec = {key: value for key, value in (VOLUME | change).items() if value is not None}
    found = faults_of({"budgets": {"summer": spec}})
    assert any(words in fault for fault in found), found
    assert all(fault.startswith("contact.yaml:") for fault in found)


def test_an_action_without_its_cost_is_named() -> None:
    actions = {
        "ten_off": {"group": "discount", "attributes": {"price": 0.3}},
        "twenty_off": {"group": "discount"},
    }
    spec = {"of": {"group": "discount"}, "spend": {"max": 1, "cost": "price"}, "per": "all"}
    found = faults_of({"budgets": {"money": spec}}, actions=actions)
    assert any("cost of budget money: action twenty_off, seen none" in one for one in found), found


def test_a_budget_needs_the_event_that_uses_it() -> None:
    found = faults_of({"budgets": {"summer": VOLUME}}, schema={"events": {"click": {}}})
    assert found == [
        "contact.yaml:2:3: budget summer, seen no event impression, allowed: an event impression "
        "in schema.yaml, by which it is used"
    ]


def test_a_playbooks_tests_use_nothing_up() -> None:
    contact = with_budgets(summer=VOLUME | {"max": 1})
    noon = "2026-06-01T12:00:00Z"
    tests = [
        {"name": f"the {place}", "now": noon, "expect": {"placements": {"page": shown}}}
        for place, shown in (("first", ["ten_off", "news"]), ("second", ["ten_off", "twenty_off"]))
    ]
    found = compiled(contact, tests=tests)
    assert found.plan is not None, found.faults
    first, second = run_cases(found.plan, found.tests)
    assert first.passed
    assert second.differences == (
        "placement page: got [ten_off, news], expected [ten_off, twenty_off]",
        "placement page: twenty_off is contact_policy (budget summer)",
    )


def test_a_calendar_budget_needs_a_clock() -> None:
    found = faults_of({"budgets": {"summer": VOLUME | {"per": "week"}}})
    assert any("per of budget summer, seen no time_zone" in one for one in found), found
