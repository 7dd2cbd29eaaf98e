"""What the server does between calls, and what a change of playbook leaves untouched."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nextbest.client import AsyncClient, PreconditionError, Upsert, anonymous

FIRST = {
    "schema.yaml": b"""
attributes: {age: int, plan: string, score: double}
events: {visit: {path: string}}
counters: {visits: {count: visit, window: all}}
"""
}
SECOND = {
    "schema.yaml": b"""
attributes: {age: int, city: string}
events: {visit: {path: string}, order: {amount: double}}
counters: {orders: {count: order, window: all}}
"""
}
SOON_S = 10.0


def made_at(moment: datetime) -> str:
    """An event id (UUIDv7) of that moment."""
    milliseconds = int(moment.timestamp() * 1_000)
    random = uuid.uuid4().int & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | random))


async def visit(client: AsyncClient, who: Any, ago: timedelta) -> None:
    moment = datetime.now(UTC) - ago
    await client.track(
        who, "page_view", {"path": "/"}, event_id=made_at(moment), occurred_at=moment
    )


async def visit_again_and_again(client: AsyncClient, ago: timedelta) -> None:
    async with asyncio.timeout(SOON_S):
        while True:
            await asyncio.sleep(0.1)
            await visit(client, "bob", ago)


async def test_the_horizon_moves_when_the_event_ids_are_nearly_full(run_server: Any) -> None:
    flags = {"engine__dedupe_max": 1_000, "retention__interval_ms": 100}
    async with run_server(**flags) as address, AsyncClient(address) as client:
        for days, count in ((20, 600), (0, 350)):
            for _ in range(count):
                await visit(client, "ann", timedelta(days=days))
        before = (await client.get_profile("ann")).profile.counters["last_seen"]
        with pytest.raises(PreconditionError) as caught:
            await visit_again_and_again(client, timedelta(days=20))
        assert caught.value.reason == "TOO_LATE"
        assert caught.value.violations[0].field == "event_id"
        # As long a span is kept as fits: what is ten days old is still told apart.
        await visit(client, "ann", timedelta(days=10))
        assert (await client.get_profile("ann")).profile.counters["last_seen"] == before


async def test_anonymous_people_without_events_for_thirty_days_are_removed(
    run_server: Any,
) -> None:
    async with run_server(retention__interval_ms=100) as address, AsyncClient(address) as client:
        kept = (anonymous("recent"), "known")
        for who in (anonymous("old"), "known"):
            await visit(client, who, timedelta(days=31))
        await visit(client, anonymous("recent"), timedelta(days=29))
        async with asyncio.timeout(SOON_S):
            while (await client.get_profile(anonymous("old"))).profile_known:
                await asyncio.sleep(0.05)
        for who in kept:
            assert (await client.get_profile(who)).profile_known
        # Who comes back is a new person.
        await visit(client, anonymous("old"), timedelta(0))
        profile = (await client.get_profile(anonymous("old"))).profile
        assert profile.counters["views_7d"].value.int_value == 1


async def test_a_generation_is_active_again_within_a_second_for_100_000_people(
    run_server: Any,
) -> None:
    async with run_server(playbook=None) as address, AsyncClient(address) as client:
        await client.publish_playbook(FIRST)
        upserts = (Upsert(f"p{n}", {"age": n % 90, "plan": "pro"}) for n in range(100_000))
        assert (await client.import_profiles(upserts)).accepted == 100_000
        await client.publish_playbook(SECOND)
        start = time.perf_counter()
        assert (await client.activate_generation(1)).previous == 2
        assert (await client.decide("p7")).generation == 1
        person = (await client.get_profile("p99999")).profile
        assert time.perf_counter() - start < 1.0
        assert person.attributes["plan"].string_value == "pro"


@pytest.mark.parametrize("again", ["publish", "activate"])
async def test_a_change_of_schema_and_back_keeps_every_value(run_server: Any, again: str) -> None:
    async with run_server(playbook=None) as address, AsyncClient(address) as client:
        await client.publish_playbook(FIRST)
        people = [f"p{n}" for n in range(3_000)]
        await client.import_profiles(Upsert(p, first_values(n)) for n, p in enumerate(people))
        await client.track("p7", "visit", {"path": "/"})
        await client.publish_playbook(SECOND)
        seen = (await client.get_profile("p7")).profile
        assert set(seen.attributes) == {"age"}
        await client.upsert_profile("p7", {"city": "Lodz", "age": 70})
        await client.track("p7", "order", {"amount": 9.5})
        # Time enough to re-lay the rows; they are read the same before and after.
        await asyncio.sleep(0.2)
        if again == "publish":
            await client.publish_playbook(FIRST)
        else:
            await client.activate_generation(1)
        for number, person in enumerate(people):
            if number != 7:
                assert await values(client, person) == first_values(number)
        assert await values(client, "p7") == {**first_values(7), "age": 70}
        counters = (await client.get_profile("p7")).profile.counters
        assert counters["visits"].value.int_value == 1
        await client.activate_generation(2)
        seen = (await client.get_profile("p7")).profile
        assert seen.attributes["city"].string_value == "Lodz"
        assert seen.counters["orders"].value.int_value == 1


def first_values(number: int) -> dict[str, Any]:
    return {"age": number, "plan": f"plan{number % 5}", "score": number / 8}


async def values(client: AsyncClient, person: str) -> dict[str, Any]:
    found = (await client.get_profile(person)).profile.attributes
    return {
        "age": found["age"].int_value,
        "plan": found["plan"].string_value,
        "score": found["score"].double_value,
    }
