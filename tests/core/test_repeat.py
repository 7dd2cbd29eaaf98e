"""A repeat of a call is known by its content, not by its bytes or by the playbook of the day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from nextbest.client import request as requests
from nextbest.core import Engine
from nextbest.core.errors import AlreadyUsedError
from nextbest.server.playbook.compile import compile_playbook
from nextbest.v1 import profile_pb2

NOW_US = 1_700_000_000_000_000
SCHEMA = b"attributes: {age: int, city: string, spend: double}\nevents: {visit: {}}\n"
ACTIONS = b"actions: {talk: {value: 1}}\n"
ATTRIBUTES = {"age": 20, "city": "Ulm", "spend": 1.5}


def published(engine: Engine, placements: str) -> int:
    files = {
        "schema.yaml": SCHEMA,
        "actions.yaml": ACTIONS,
        "placements.yaml": f"placements: {{{placements}}}\n".encode(),
    }
    plan = compile_playbook(files).plan
    assert plan is not None
    return engine.publish(plan)


def in_order(message: Any, names: Sequence[str]) -> bytes:
    """The message's bytes with its attributes in this order, behind all else."""
    entries = type(message)()
    entries.CopyFrom(message)
    entries.ClearField("attributes")
    encoded: bytes = entries.SerializeToString()
    for name in names:
        one = type(message)()
        one.attributes[name].CopyFrom(message.attributes[name])
        encoded += one.SerializeToString()
    return encoded


@pytest.fixture
def engine() -> Engine:
    made = Engine(profiles_max=1_000, dedupe_max=1_000)
    published(made, "home: {}, inbox: {}")
    return made


def test_a_decision_is_repeated_after_its_placement_is_gone(engine: Engine) -> None:
    request = requests.decide("ann", ["home"], decision_id="d1").SerializeToString()
    first = engine.decide(request, NOW_US)
    published(engine, "inbox: {}")
    assert engine.decide(request, NOW_US + 1_000) == first


def test_a_decision_is_repeated_whatever_the_order_of_its_maps(engine: Engine) -> None:
    message = requests.decide("ann", ["home"], decision_id="d1", attributes=ATTRIBUTES)
    first = engine.decide(in_order(message, ["age", "city", "spend"]), NOW_US)
    assert engine.decide(in_order(message, ["spend", "age", "city"]), NOW_US + 1_000) == first
    message.attributes["age"].int_value = 21
    with pytest.raises(AlreadyUsedError):
        engine.decide(message.SerializeToString(), NOW_US + 2_000)


def test_the_order_of_placements_makes_another_request(engine: Engine) -> None:
    one = requests.decide("ann", ["home", "inbox"], decision_id="d1")
    other = requests.decide("ann", ["inbox", "home"], decision_id="d1")
    engine.decide(one.SerializeToString(), NOW_US)
    with pytest.raises(AlreadyUsedError):
        engine.decide(other.SerializeToString(), NOW_US)


def test_a_write_is_repeated_whatever_the_order_of_its_attributes(engine: Engine) -> None:
    message = requests.Upsert("ann", ATTRIBUTES, write_id="w1").message()
    engine.upsert(in_order(message, ["age", "city", "spend"]), NOW_US)
    before = engine.digest()
    answer = engine.upsert(in_order(message, ["spend", "city", "age"]), NOW_US + 5_000_000)
    assert not profile_pb2.UpsertProfileResponse.FromString(answer).created
    assert engine.digest() == before
    message.attributes["age"].int_value = 21
    with pytest.raises(AlreadyUsedError):
        engine.upsert(message.SerializeToString(), NOW_US)
