"""What is told beside what has changed, for playbooks and writes by chance.

The model looks at everything before and after a write; the engine at what it can have changed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from nextbest.core import Engine
from nextbest.v1 import common_pb2, event_pb2, mutation_pb2, profile_pb2
from tests.trigger.people import NOW_US, SECOND, engine_of, identity, moment, plan_of

Held = dict[str, str]
WRITES = 150
COUNTERS = {
    "spend": {"sum": "purchase.amount", "window": "all"},
    "most": {"max": "purchase.amount", "window": "2h", "resolution": "5m"},
    "buys": {"count": "purchase", "window": "1h", "resolution": "1m"},
    "things": {"last_n": "purchase.thing", "n": 3, "window": "all"},
    "last": {"last": "purchase.thing", "window": "3h", "resolution": "5m"},
    "visited": {"last": "visit.time", "window": "all"},
}
THINGS = ("shoes", "coats", "books", "a", "z")


def condition(chance: random.Random, below: int) -> str:
    """A condition of any form; it may read segments before `below`."""
    number = chance.randrange(-2, 12)
    operation = chance.choice(("<", "<=", ">", ">=", "==", "!="))
    thing = chance.choice(THINGS)
    forms = [
        f"profile.spend {operation} {10.0 * number}",
        f"profile.buys {operation} {number}",
        f"profile.age {operation} {number}",
        f"{number} {operation} profile.level",
        f"profile.most {operation} {5 * number}.5",
        f'profile.last {operation[:1] + "=" if operation[0] in "=!" else "=="} "{thing}"',
        f'profile.last < "{thing}"',
        f'profile.last in ["{thing}", "coats"]',
        f'!(profile.last in ["{thing}"])',
        f"profile.age in [1, {number}, 5]",
        "has(profile.age)",
        "profile.member",
        "!profile.member",
        f'"{thing}" in profile.things',
        "profile.spend > 10.0 * double(profile.age)",
        f"profile.buys > {number % 4} || profile.age > {number}",
        f'now - profile.visited < duration("{60 * (number + 3)}s")',
        f"profile.buys >= 1 && profile.spend < {10.0 * number}",
        f"score.points {operation} {number}",
        'grade.lead == "A1"',
        'stage == "customer"',
        f'profile.since {operation} timestamp("2027-01-15T08:{10 + max(0, number)}:00Z")',
    ]
    if below:
        forms += [f"segment.s{chance.randrange(below)}", f"!segment.s{chance.randrange(below)}"] * 2
    return chance.choice(forms)


def playbook(chance: random.Random) -> dict[str, Any]:
    """The parts of a playbook, all of whose segments and grades are told."""
    segments = {}
    for number in range(60):
        # Scores and the stage read the first ten, and these read none of them.
        while True:
            texts = [condition(chance, number) for _ in range(chance.choice((1, 1, 2, 3)))]
            if number >= 10 or not any(w in t for t in texts for w in ("score", "grade", "stage")):
                break
        segments[f"s{number}"] = texts
    rules = [
        {"reason": f"r{n}", "points": chance.randrange(-3, 6), "when": f"segment.s{n}"}
        for n in range(10)
    ]
    rules.append({"reason": "events", "points": 1, "on": "visit", "half_life": "1d"})
    computed = {
        "reason": "computed",
        "points": "profile.spend / 20.0",
        "when": "profile.spend > 0.0",
    }
    return {
        "schema": {
            "attributes": {
                "age": "int",
                "level": {"type": "int", "default": 3},
                "member": "bool",
                "since": "timestamp",
            },
            "events": {"purchase": {"amount": "double", "thing": "string"}, "visit": {}},
            "counters": COUNTERS,
        },
        "segments": {"segments": segments},
        "scores": {
            "scores": {"points": {"rules": rules}, "more": {"rules": [computed]}},
            "grades": {
                "lead": {
                    "fit": {"score": "points", "bands": {"A": 4, "B": 0, "C": -4}},
                    "engagement": {"score": "more", "bands": {"1": 3, "2": 1, "3": 0}},
                }
            },
            "stages": {
                "names": ["visitor", "customer", "big"],
                "transitions": [
                    {"from": "visitor", "to": "customer", "when": "profile.buys > 0"},
                    {
                        "from": "customer",
                        "to": "big",
                        "when": ["segment.s1", "profile.spend > 60.0"],
                    },
                    {"from": "big", "to": "customer", "when": "profile.age > 8"},
                ],
            },
        },
        "triggers": {"triggers": {"segments": "*", "grades": "*", "stage": True}},
    }


def write(engine: Engine, chance: random.Random, number: int, now_us: int) -> str:
    """An event or attributes, as of now; gives whose."""
    who = identity(chance.choice(("ann", "bob")))
    if chance.random() < 0.6:
        track = event_pb2.TrackRequest(event_id=f"e-{number}", identity=who)
        track.event = chance.choice(("purchase", "purchase", "visit"))
        track.occurred_at.FromMicroseconds(now_us)
        if track.event == "purchase":
            track.properties["amount"].double_value = chance.choice((-20, -5, 0, 5, 5.5, 10, 30))
            if chance.random() < 0.8:
                track.properties["thing"].string_value = chance.choice(THINGS)
        engine.track(track.SerializeToString(), now_us)
        return who.id
    upsert = profile_pb2.UpsertProfileRequest(write_id=f"w-{number}", identity=who)
    for name in chance.sample(("age", "level", "member", "since"), 2):
        value = upsert.attributes[name]
        if chance.random() < 0.2:
            value.null_value = 0  # type: ignore[assignment]
        elif name == "member":
            value.bool_value = chance.random() < 0.5
        elif name == "since":
            value.timestamp_value.FromMicroseconds(NOW_US + 60 * chance.randrange(20) * SECOND)
        else:
            value.int_value = chance.randrange(-1, 12)
    engine.upsert(upsert.SerializeToString(), now_us)
    return who.id


def held(engine: Engine, who: str, now_us: int) -> Held:
    """Segments, the grade and the stage of somebody."""
    request = profile_pb2.GetProfileRequest(identity=identity(who), now=moment(now_us))
    answer = engine.profile(request.SerializeToString(), now_us)
    profile = profile_pb2.GetProfileResponse.FromString(answer).profile
    found = dict.fromkeys(profile.segments, "in")
    found |= {grade.name: grade.value for grade in profile.grades}
    return found | {"stage": profile.stage}


def told(engine: Engine, taken: int) -> Iterator[tuple[str, str, str]]:
    """What the write's events tell: whom, what, and to what."""
    batch = engine.log_take(0, 10_000, 1 << 24)
    for mutation in mutation_pb2.MutationBatch.FromString(batch.data).mutations:
        event = mutation.event
        properties = {name: one.string_value for name, one in event.properties.items()}
        if event.event == "segment_entered":
            yield event.identity.id, properties["segment"], "in"
        elif event.event == "segment_left":
            yield event.identity.id, properties["segment"], ""
        elif event.event == "grade_changed":
            yield event.identity.id, properties["grade"], properties["to"]
        elif event.event == "stage_changed":
            yield event.identity.id, "stage", properties["to"]
    engine.log_done(0, batch.mutations, (1, taken, 1), 2)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_has_changed_is_told_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    engine = engine_of(plan_of(**playbook(chance)))
    engine.attach_log(65_536, default_ack=common_pb2.ACK_LEVEL_APPLIED)
    now_us, changes = NOW_US, 0
    known: dict[str, Held] = {}
    for number in range(WRITES):
        now_us += chance.choice((1, 5, 60, 600, 3_600)) * SECOND
        # Who is not known yet is as somebody of whom nothing is.
        nobody = held(engine, "nobody", now_us)
        who = write(engine, chance, number, now_us)
        after = held(engine, who, now_us)
        wanted = differences(known.get(who, nobody), after)
        assert sorted(told(engine, number + 1)) == sorted((who, *one) for one in wanted)
        known[who] = after
        changes += len(wanted)
    assert changes > WRITES // 4


def differences(before: Held, after: Held) -> list[tuple[str, str]]:
    """What has changed, and to what."""
    names = before.keys() | after.keys()
    return [(one, after.get(one, "")) for one in names if before.get(one) != after.get(one)]
