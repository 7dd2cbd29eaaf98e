"""Caps that reserve: what a decision proposes counts until it is shown, or for a while."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from nextbest.client import AsyncClient
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.v1 import decision_pb2, event_pb2, mutation_pb2
from tests.conftest import calling, running
from tests.contact.playbook import (
    NOW_US,
    SECOND,
    answer,
    engine_of,
    faults_of,
    held,
    identity,
    link,
    plan_of,
    proposed,
    track,
)
from tests.record.people import taken
from tests.server.log.conftest import Process, start_redis

__all__ = ["start_redis"]  # a fixture

ALL = ["ten_off", "twenty_off", "news"]
_numbers = itertools.count()


def cap(most: int = 1, reserve: str | None = "60s", **more: Any) -> dict[str, Any]:
    """A contact.yaml of a cap on each action."""
    spec = {"count": "impression", "of": "action", "max": most, "window": "1d"} | more
    spec["reserve"] = reserve
    return {"caps": {"each": {key: each for key, each in spec.items() if each is not None}}}


def shown(
    engine: Engine,
    decision: decision_pb2.DecideResponse,
    slot: int,
    at_us: int,
    who: str = "ann",
    named: bool = True,
) -> None:
    """Let what a decision proposed be shown; the impression may name the action."""
    proposition = decision.placements[0].propositions[slot]
    request = event_pb2.TrackRequest(
        event_id=f"reserve-{next(_numbers)}",
        identity=identity(who),
        event="impression",
        decision_id=decision.decision_id,
        slot=slot,
    )
    request.occurred_at.seconds = at_us // SECOND
    if named:
        request.properties["action"].string_value = proposition.action
    engine.track(request.SerializeToString(), at_us)


def test_what_was_proposed_counts_until_it_expires() -> None:
    engine = engine_of(cap())
    assert proposed(engine, "ann", "page") == ALL
    assert proposed(engine, "ann", "page") == []
    assert proposed(engine, "bob", "page") == ALL, "of one person only"
    assert proposed(engine, "ann", "page", NOW_US + 59 * SECOND) == []
    assert proposed(engine, "ann", "page", NOW_US + 61 * SECOND) == ALL


def test_each_of_many_actions_finds_what_is_reserved_of_it() -> None:
    actions = {f"offer_{number}": {"value": 1.0} for number in range(190)}
    engine = engine_of(cap(), actions=actions, placements={"page": {"slots": 64}})
    found = [proposed(engine, "ann", "page", NOW_US + n * SECOND) for n in range(4)]
    assert list(map(len, found)) == [64, 64, 62, 0]
    assert sorted(itertools.chain(*found)) == sorted(actions)


def test_an_impression_confirms_and_counts_once() -> None:
    engine = engine_of(cap(2))
    first = answer(engine, "ann", "page")
    shown(engine, first, 0, NOW_US + SECOND)
    later = NOW_US + 2 * SECOND
    assert "ten_off" in proposed(engine, "ann", "page", later), "one of two"
    assert "ten_off" not in proposed(engine, "ann", "page", later), "one shown and one reserved"
    gone = NOW_US + 70 * SECOND
    assert "ten_off" in proposed(engine, "ann", "page", gone), "one shown, and none reserved"


def test_a_late_impression_counts_as_any() -> None:
    engine = engine_of(cap())
    first = answer(engine, "ann", "page")
    shown(engine, first, 0, NOW_US + 100 * SECOND)
    assert proposed(engine, "ann", "page", NOW_US + 101 * SECOND) == ALL[1:]


def test_a_repeated_decision_reserves_once() -> None:
    engine = engine_of(cap(2))
    for _ in range(3):
        assert len(proposed(engine, "ann", "page", decision_id="again")) == 3
    assert proposed(engine, "ann", "page") == ALL, "the second place is free"
    assert proposed(engine, "ann", "page") == []


def test_a_preview_reserves_nothing() -> None:
    engine = engine_of(cap())
    for _ in range(3):
        assert proposed(engine, "ann", "page", preview=True) == ALL
    assert proposed(engine, "ann", "page") == ALL


def test_linked_identities_share_what_is_reserved() -> None:
    engine = engine_of(cap())
    link(engine, identity("ann"), identity("ann_at_work"))
    assert proposed(engine, "ann", "page") == ALL
    assert proposed(engine, "ann_at_work", "page") == []


def test_one_request_with_several_placements_reserves_for_each() -> None:
    engine = engine_of(cap(2))
    found = answer(engine, "ann", ["page", "inbox"])
    assert sum(len(one.propositions) for one in found.placements) == 3, "each action once"
    assert proposed(engine, "ann", "page") == ALL
    assert proposed(engine, "ann", "page") == []


def test_identities_keep_their_reservations_each_by_itself() -> None:
    """Together more than one of them could keep without having dropped any."""
    engine = engine_of(cap(1_000, "1h", of=None))
    for who in ("ann", "ann_at_work"):
        for number in range(50):
            assert proposed(engine, who, "page", NOW_US + number * SECOND) == ALL
    link(engine, identity("ann"), identity("ann_at_work"))
    assert proposed(engine, "ann", "page", NOW_US + 50 * SECOND) == ALL
    for number in range(40):
        proposed(engine, "ann", "page", NOW_US + (51 + number) * SECOND)
    assert proposed(engine, "ann", "page", NOW_US + 91 * SECOND) == [], "hers may be dropped"


def test_many_reservations_are_each_confirmed_once() -> None:
    """In any order, by impressions that name the action or only the slot, some of them twice."""
    engine = engine_of(cap(70, "1h", of=None))
    decisions = [answer(engine, "ann", "page", NOW_US + n * SECOND) for n in range(20)]
    later = NOW_US + 60 * SECOND
    for number, decision in enumerate(reversed(decisions)):
        for _ in range(1 + number % 2):
            shown(engine, decision, number % 3, later, named=number % 4 > 1)
    told = answer(engine, "ann", "page", later, explain=True).explanations[0].candidates[0]
    assert (told.counted, told.reserved, told.limit) == (20 + 10 + 40, 60 - 20, 70)


@pytest.mark.parametrize(
    ("caps", "kept"),
    [
        ({"each": (2, "action", "60s")}, (32, 360)),
        ({"each": (40, "action", "90s")}, (256, 900)),
        ({"each": (400, "action", "1h"), "all": (40, None, "20m")}, (256, 3_900)),
        ({"each": (400, "action", "60s"), "all": (20, None, "30s")}, (128, 360)),
        ({"each": (400, "action", "60s"), "group": (5, "group", "60s")}, (256, 360)),
    ],
)
def test_as_many_reservations_are_kept_as_caps_allow(
    caps: dict[str, tuple[int, str | None, str]], kept: tuple[int, int]
) -> None:
    plan = plan_of(
        {
            "caps": {
                name: cap(most, reserve, of=of)["caps"]["each"]
                for name, (most, of, reserve) in caps.items()
            }
        }
    )
    assert plan.reservations is not None
    for index in (plan.reservations.reserved, plan.reservations.confirmed):
        counter = plan.counters[index]
        assert (counter.limit, counter.window_s) == kept
        assert counter.resolution_s == counter.window_s


def test_why_is_explained() -> None:
    engine = engine_of(cap())
    proposed(engine, "ann", "page")
    told = answer(engine, "ann", "page", explain=True).explanations[0].candidates[0]
    assert told.fate == decision_pb2.FATE_CONTACT_POLICY
    assert (told.counted, told.reserved, told.limit) == (1, 1, 1)


def test_decisions_that_reserve_are_decided_again_alike(tmp_path: Path) -> None:
    contact = cap(2)
    engine = engine_of(contact)
    engine.record(1.0, 1 << 20)
    for number in range(30):
        found = answer(engine, f"person-{number % 4}", ["page", "inbox"], NOW_US + number * SECOND)
        if number % 3 == 0 and found.placements[0].propositions:
            shown(engine, found, 0, NOW_US + number * SECOND, f"person-{number % 4}")
    plan = plan_of(contact)
    _, found_records = taken(engine)
    decided = [one for one in found_records if not one.record.HasField("outcome")]
    results = list(replay(decided, Playbooks(tmp_path, {plan.hash: plan})))
    assert len(results) == 30
    assert [one for one in results if not one.equal] == []


def test_what_cannot_be_reserved_is_not_proposed(tmp_path: Path) -> None:
    """The log lets no more writes wait: caps that reserve let nothing pass, others as ever."""
    each = {"count": "impression", "of": {"action": "ten_off"}, "max": 5, "window": "1d"}
    clicked = {"count": "click", "of": {"action": "twenty_off"}, "max": 5, "window": "1d"}
    plan = plan_of({"caps": {"a": each | {"reserve": "60s"}, "z": clicked}})
    engine = Engine(profiles_max=1_024)
    engine.publish(plan)
    engine.attach_log(2, default_ack=1)
    engine.record(1.0, 1 << 20)
    track(engine, "ann", "click", NOW_US, action="twenty_off")
    assert proposed(engine, "ann", "page") == ALL
    assert proposed(engine, "ann", "page") == ALL[1:]
    assert held(engine, "ann", "page") == {"ten_off": ("cap a", 5, 5)}
    counts = engine.telemetry.decisions()
    assert (counts.reservations, counts.reservations_lost) == (1, 2)
    assert counts.decisions == {"page": 3}, "those made again count once"
    assert counts.propositions == {
        ("page", "ten_off"): 1,
        ("page", "twenty_off"): 3,
        ("page", "news"): 3,
    }
    _, records = taken(engine)
    results = list(replay(records, Playbooks(tmp_path, {plan.hash: plan})))
    assert [one.equal for one in results] == [True] * 3


def test_other_nodes_read_of_the_log_what_this_one_has_reserved() -> None:
    contact = {"caps": {**cap(9)["caps"], "all": cap(20, of=None)["caps"]["each"]}}
    here, there = engine_of(contact), engine_of(contact)
    here.attach_log(64, default_ack=1)
    for number in range(4):
        proposed(here, "ann", ["page", "inbox"], NOW_US + number * SECOND)
    batch = here.log_take()
    assert batch.mutations == 4, "one for each decision"
    there.apply_batch(batch.data, NOW_US + 5 * SECOND)
    assert there.digest() == here.digest()
    later = NOW_US + 6 * SECOND
    assert held(there, "ann", "page", later) == held(here, "ann", "page", later)
    assert proposed(there, "ann", "page", later) == ALL


def test_what_is_reserved_is_known_again_by_itself() -> None:
    """No event is remembered of it, so that it may come again whenever it likes."""
    here, there = engine_of(cap()), engine_of(cap())
    here.attach_log(64, default_ack=1)
    proposed(here, "ann", "page", decision_id="one")
    batch = here.log_take().data
    event = mutation_pb2.MutationBatch.FromString(batch).mutations[0].event
    assert (event.event_id, event.decision_id) == ("", "one")
    assert [*event.properties["proposed"].string_list.values] == [
        f"{slot} page {action}" for slot, action in enumerate(ALL)
    ]
    for now_us in (NOW_US, NOW_US, NOW_US + 30 * SECOND):
        there.apply_batch(batch, now_us)
        there.horizon(NOW_US // 1_000 + 1)
    assert there.digest() == here.digest()
    assert here.store.remembered == there.store.remembered == 0
    told = answer(there, "ann", "page", NOW_US + SECOND, explain=True).explanations[0]
    assert [one.reserved for one in told.candidates] == [1, 1, 1]


def one_by_one(batch: bytes) -> bytes:
    """The reservations of a batch in the form that they once had: an event for each proposition."""
    found = mutation_pb2.MutationBatch()
    for mutation in mutation_pb2.MutationBatch.FromString(batch).mutations:
        for item in mutation.event.properties["proposed"].string_list.values:
            slot, placement, action = item.split(" ")
            one = found.mutations.add()
            one.CopyFrom(mutation)
            one.event.event_id = f"{mutation.event.event_id[:-4]}{next(_numbers):04x}"
            one.event.slot = int(slot)
            del one.event.properties["proposed"]
            one.event.properties["action"].string_value = action
            one.event.properties["placement"].string_value = placement
    return found.SerializeToString()


def test_reservations_of_the_form_before_count_as_ever() -> None:
    """Logs and snapshots may hold an event for each proposition."""
    contact = {"caps": {**cap(2)["caps"], "all": cap(20, of=None)["caps"]["each"]}}
    here, there = engine_of(contact), engine_of(contact)
    here.attach_log(64, default_ack=1)
    first = answer(here, "ann", ["page", "inbox"])
    proposed(here, "ann", ["page", "inbox"], NOW_US + SECOND)
    mutations = one_by_one(here.log_take().data)
    assert there.apply_batch(mutations, NOW_US + 2 * SECOND).applied == 6
    for engine in (here, there):
        shown(engine, first, 1, NOW_US + 2 * SECOND)
    later = NOW_US + 6 * SECOND
    told = [answer(one, "ann", "page", later, explain=True) for one in (here, there)]
    assert told[0].explanations == told[1].explanations
    assert [one.reserved for one in told[0].explanations[0].candidates] == [2, 1, 2]


def test_a_decision_made_again_under_its_id_reserves_what_it_then_proposes() -> None:
    """Both answers may have been given: each proposition is reserved, and each of them once."""
    engine = engine_of(cap(2))
    assert proposed(engine, "ann", "page", decision_id="one") == ALL
    link(engine, identity("ann"), identity("ann_at_work"))
    track(engine, "ann", "impression", NOW_US + SECOND, action="ten_off")
    track(engine, "ann", "impression", NOW_US + SECOND, action="ten_off")
    assert proposed(engine, "ann", "page", NOW_US + SECOND, decision_id="one") == ALL[1:]
    told = answer(engine, "ann", "page", NOW_US + 2 * SECOND, explain=True).explanations[0]
    # The others stood a slot lower at first.
    assert [(one.reserved, one.counted) for one in told.candidates] == [(1, 3), (2, 2), (2, 2)]


def test_an_impression_may_come_before_its_reservation() -> None:
    """Another node may read of the one before it reads of the other."""
    here, there = engine_of(cap()), engine_of(cap())
    here.attach_log(64, default_ack=1)
    first = answer(here, "ann", "page")
    shown(there, first, 1, NOW_US + SECOND)
    there.apply_batch(here.log_take().data, NOW_US + 2 * SECOND)
    told = answer(there, "ann", "page", NOW_US + 3 * SECOND, explain=True).explanations[0]
    assert [(one.reserved, one.counted) for one in told.candidates] == [(1, 1), (0, 1), (1, 1)]


def test_only_caps_with_reservations_are_looked_at() -> None:
    """A record has what was read: by how much it grows does not go by how many caps there are."""
    few, many = (grown_by(actions) for actions in (3, 30))
    assert few == many


def grown_by(count: int) -> int:
    """Bytes that the record of a decision has more once the one before has reserved."""
    actions = {f"a{n:02}": {"value": 100.0 - n} for n in range(count)}
    engine = engine_of(cap(5), actions=actions, placements={"page": {"slots": 1}})
    engine.record(1.0, 1 << 20)
    sizes = []
    for number in range(2):
        assert proposed(engine, "ann", "page", NOW_US + number * SECOND) == ["a00"]
        sizes.append(len(engine.take_records()))
    return sizes[1] - sizes[0]


def test_bad_reserves_are_named() -> None:
    (fault,) = faults_of(
        {"caps": {"one": {"count": "click", "max": 1, "window": "1d", "reserve": "60s"}}}
    )
    assert "only a cap of impression reserves" in fault
    assert "reserve" in faults_of(cap(reserve="2h"))[0]
    assert "reserve" in faults_of(cap(reserve="soon"))[0]


FILES = {
    "schema.yaml": "events:\n  impression: {action: string}\n",
    "contact.yaml": """
caps:
  each: {count: impression, of: action, max: 3, window: 1d, reserve: 4s}
""",
    "actions.yaml": "actions: {one: {value: 2.0}, two: {value: 1.0}}\n",
    "placements.yaml": "placements: {page: {slots: 2}}\n",
}


# Without a latch two of three pass the cap; each takes a second or two on a busy machine.
ROUNDS = 20
SLOW = {
    "contact.yaml": "caps: {all: {count: impression, max: 3, window: 1d, reserve: 1h}}\n",
    "actions.yaml": "actions:\n"
    + "".join(f"  a{n}: {{value: 'double(size(\"{n}\") + {n})'}}\n" for n in range(8_000)),
    "placements.yaml": "placements: {page: {slots: 1}}\n",
}


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    (folder := tmp_path / "playbook").mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


async def ask(
    address: str, people: int, found: Counter[tuple[str, str]], ready: asyncio.Barrier | None = None
) -> None:
    """Decide for each of some people, again and again, once all that ask are ready."""
    async with AsyncClient(address, fast_lane=False) as client:
        if ready is not None:
            await client.decide("somebody else", ["page"])
            await ready.wait()
        for number in range(10 * people):
            who = f"person-{number % people}"
            answer = await client.decide(who, ["page"])
            found.update((who, one.action) for one in answer.placements[0].propositions)


async def ask_at_once(address: str, names: Sequence[str], found: Counter[str], rounds: int) -> None:
    """Decide in rounds, each about one person by all of the names at once, over both lanes."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(calling(address, fast_lane=n < 6)) for n in range(8)
        ]
        for number in range(rounds):
            who = [f"{name}{number}" for name in names]
            for first, second in itertools.pairwise(who):
                await clients[0].link_identity(first, second)
            answers = await asyncio.gather(
                *(
                    client.decide(who[(n + again) % len(who)], ["page"])
                    for n, client in enumerate(clients)
                    for again in range(4)
                )
            )
            for answer in answers:
                found[f"{number}"] += len(answer.placements[0].propositions)
        assert all(client.fast_lane for client in clients[:6])


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
@pytest.mark.parametrize("names", [["ann-"], ["ann-", "ann_at_work-", "ann_at_home-"]])
async def test_eight_callers_at_once_never_pass_a_cap(
    playbook: Path, tmp_path: Path, names: list[str]
) -> None:
    """Of a node: four threads of the fast lane and the slow one, by whichever identity.

    Decisions take long enough here to meet: two of a few microseconds hardly ever do.
    """
    found: Counter[str] = Counter()
    for name, text in SLOW.items():
        (playbook / name).write_text(text)
    lane = f"unix:{tmp_path}/lane"
    async with (
        running(playbook, lane__addresses=lane, lane__threads=4) as address,
        asyncio.timeout(240),
    ):
        await ask_at_once(address, names, found, ROUNDS)
    assert found == dict.fromkeys(map(str, range(ROUNDS)), 3)


async def test_what_nobody_showed_is_proposed_again(playbook: Path) -> None:
    found: Counter[tuple[str, str]] = Counter()
    async with running(playbook) as address, asyncio.timeout(60):
        await ask(address, 1, found)
        await asyncio.sleep(5)
        await ask(address, 1, found)
    assert found == {("person-0", "one"): 6, ("person-0", "two"): 6}


async def test_two_nodes_keep_a_cap_each_and_learn_of_the_other(
    playbook: Path, start_redis: Callable[..., Process]
) -> None:
    place = f"redis://127.0.0.1:{start_redis().port}/0"
    on_a: Counter[tuple[str, str]] = Counter()
    on_b: Counter[tuple[str, str]] = Counter()
    everybody = {(f"person-{n}", action) for n in range(5) for action in ("one", "two")}
    text = FILES["contact.yaml"].replace("4s", "1h")
    (playbook / "contact.yaml").write_text(text)
    async with (
        running(playbook, log__place=place, log__member="a") as a,
        running(None, log__place=place, log__member="b") as b,
        asyncio.timeout(60),
    ):
        # Else one may have proposed all before the other is asked at all.
        ready = asyncio.Barrier(8)
        await asyncio.gather(
            *(ask(a, 5, on_a, ready) for _ in range(4)),
            *(ask(b, 5, on_b, ready) for _ in range(4)),
        )
        assert max(on_a.values()) <= 3
        assert max(on_b.values()) <= 3
        assert set(on_a + on_b) == everybody
        async with AsyncClient(a) as first, AsyncClient(b) as second:
            told = await first.decide("late", ["page"])
            answer = await first.track("late", "impression", {"action": "one"})
            assert len(told.placements[0].propositions) == 2
            kept = [
                len(
                    (await second.decide("late", ["page"], min_position=answer.position))
                    .placements[0]
                    .propositions
                )
                for _ in range(3)
            ]
            assert sum(kept) == 4 - 1, "of one and two: one is reserved each, and one was shown"
