"""What publishing does to budgets in use: told before it is done, and stopping nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nextbest.client import AsyncClient
from nextbest.server.budget_changes import budget_changes, change_text, without_room
from nextbest.server.budgets import budget_statuses
from nextbest.server.command.publishing import show_changes
from nextbest.server.log.ledgers import LEDGERS_MAX, Ledgers
from nextbest.v1 import log_pb2, playbook_pb2
from tests.conftest import running
from tests.contact.playbook import NOW_US, answer, engine_of, plan_of
from tests.contact.test_budgets import VOLUME, impression, with_budgets

ANEW = playbook_pb2.BUDGET_EFFECT_BEGINS_ANEW
BELOW = playbook_pb2.BUDGET_EFFECT_BELOW_CLAIMED
NO_ROOM = playbook_pb2.BUDGET_EFFECT_NO_ROOM
GONE = playbook_pb2.BUDGET_EFFECT_GONE
SPEND = {"of": {"group": "discount"}, "spend": {"max": 1.5, "cost": 0.25}, "per": "all"}
EACH = {"of": "action", "max": 5, "per": "all"}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[playbook_pb2.BudgetChange]:
    """Of a playbook of which a decision holds two proposals or more, and one was shown."""
    engine = engine_of(before)
    impression(engine, answer(engine, "ann", "inbox"), 0, NOW_US)
    statuses = budget_statuses(engine.budgets(NOW_US), None)
    return list(budget_changes(plan_of(before), statuses, plan_of(after)))


@pytest.mark.parametrize(
    "changed",
    [{"per": "day"}, {"max": 1, "per": "week"}],
)
def test_a_budget_of_another_period_begins_anew(changed: dict[str, Any]) -> None:
    (told,) = changes(with_budgets(summer=VOLUME), with_budgets(summer=VOLUME | changed))
    assert (told.name, told.effect) == ("summer", ANEW)
    assert (told.used, told.held, told.max_before) == (1, 1, 5)
    assert told.max == changed.get("max", 5)
    assert "summer is another one now and begins anew: 1 used" in change_text(told)


def test_a_budget_of_another_time_zone_begins_anew() -> None:
    daily = with_budgets(summer=VOLUME | {"per": "day"})
    (told,) = changes(daily, daily | {"time_zone": "Asia/Tokyo"})
    assert told.effect == ANEW
    assert changes(with_budgets(summer=VOLUME), daily | {"budgets": {"summer": VOLUME}}) == []


def test_a_spend_is_told_in_its_unit() -> None:
    (told,) = changes(
        with_budgets(money=SPEND), with_budgets(money=SPEND | {"spend": {"max": 0.3, "cost": 0.25}})
    )
    assert (told.effect, told.used, told.held) == (BELOW, 0.25, 0.25)
    assert (told.max_before, told.max, told.claimed) == (1.5, 0.3, 0.5)
    assert "from 1.5 to 0.3, and 0.5 of it are claimed, 0.25 used and 0.25 held" in change_text(
        told
    )


@pytest.mark.parametrize("maximum", [2, 5, 9])
def test_a_maximum_that_covers_what_is_claimed_is_nothing_to_tell(maximum: int) -> None:
    after = with_budgets(summer=VOLUME | {"max": maximum})
    assert changes(with_budgets(summer=VOLUME), after) == []


def test_what_a_removed_budget_has_used_is_told() -> None:
    (told,) = changes(with_budgets(summer=VOLUME), with_budgets(winter=VOLUME))
    assert (told.name, told.effect, told.used, told.held, told.max) == ("summer", GONE, 1, 1, 0)
    assert "summer is gone: 1 used of it and 1 held" in change_text(told)


def test_a_budget_that_nobody_used_may_go() -> None:
    unused = VOLUME | {"of": {"action": "news"}}
    before = with_budgets(summer=unused)
    statuses = list(budget_statuses(engine_of(before).budgets(NOW_US), None))
    assert list(budget_changes(plan_of(before), statuses, plan_of(with_budgets()))) == []


def test_a_budget_cut_into_one_of_each_begins_anew() -> None:
    whole = {"max": 5, "per": "all"}
    (told,) = changes(with_budgets(summer=whole), with_budgets(summer=EACH))
    assert (told.name, told.effect, told.used, told.max) == ("summer", ANEW, 1, 15)
    back = changes(with_budgets(summer=EACH), with_budgets(summer=whole))
    assert sorted(one.name for one in back) == [
        "summer.news",
        "summer.ten_off",
        "summer.twenty_off",
    ]
    assert {(one.effect, one.max_before, one.max) for one in back} == {(ANEW, 5, 5)}


def test_a_new_budget_without_a_ledger_is_told() -> None:
    ledgers = Ledgers()
    before, after = plan_of(with_budgets(summer=VOLUME)), plan_of(with_budgets(a=VOLUME, b=VOLUME))
    for number in range(LEDGERS_MAX - 1):
        assert ledgers.claim(log_pb2.Claim(budget=b"%16d" % number, amount=1))
    (told,) = without_room(after, ledgers)
    assert (told.effect, told.max) == (NO_ROOM, 5)
    assert told.name in ("a", "b"), "one of them has the last"
    assert "may be given nothing: the log keeps no more than 4,096" in change_text(told)
    assert ledgers.claim(log_pb2.Claim(budget=before.budgets[0].key, amount=1))
    assert list(without_room(before, ledgers)) == [], "it has one"
    assert len(list(without_room(after, ledgers))) == 2


async def test_each_way_to_publish_tells_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def files(per: str, maximum: int) -> dict[str, bytes]:
        return {
            "schema.yaml": b"events:\n  impression: {action: string}\n",
            "contact.yaml": (
                f"time_zone: UTC\nbudgets: {{summer: {{max: {maximum}, per: {per}}}}}\n"
            ).encode(),
            "actions.yaml": b"actions: {one: {value: 2.0}}\n",
            "placements.yaml": b"placements: {page: {}}\n",
        }

    async with running(None, data__folder=tmp_path) as address, AsyncClient(address) as client:
        first = await client.publish_playbook(files("all", 20))
        assert not first.budgets
        await claimed(client)
        draft = files("all", 1)
        tried = await client.validate_playbook(draft)
        assert [one.effect for one in tried.budgets] == [BELOW]
        assert tried.generation == 1, "it was only asked for"
        (told,) = (await client.publish_playbook(draft, write_id="one")).budgets
        assert (told.effect, told.max) == (BELOW, 1)
        assert told.claimed >= 2 > told.max
        assert (await client.publish_playbook(draft, write_id="one")).budgets == [told], "a repeat"
        assert not (await client.publish_playbook(draft)).budgets, "it is so by now"
        assert [one.effect for one in (await client.publish_playbook(files("day", 1))).budgets] == [
            ANEW
        ]
        back = await client.activate_generation(1)
        assert [one.effect for one in back.budgets] == [ANEW]
        shadow = await client.start_shadow(files("week", 1))
        promoted = await client.promote_shadow(shadow.playbook_hash)
        assert [one.effect for one in promoted.budgets] == [ANEW]
    show_changes([told])
    assert capsys.readouterr().out.startswith("warning: budget summer goes down from 20 to 1, and ")


async def claimed(client: AsyncClient) -> None:
    """Two of the budget are claimed at least."""
    while (await client.log_status()).budgets[0].claimed < 2:
        await client.decide("ann", ["page"])
