"""What the engine writes, read and written again by the official protobuf runtime.

Over the example playbooks: the bytes must come back as they are, so that equal answers are
equal bytes whoever encodes them.
"""

import random
from functools import cache
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.core import Engine, status_bytes
from nextbest.core.errors import InvalidRequestError, NextbestError
from nextbest.core.playbook.plan import Plan, ValueType
from nextbest.server.examples import FIRST, LEADS, SHOP
from nextbest.server.playbook.compile import compile_playbook
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, profile_pb2

NOW_US = 1_780_000_000_000_000
FOLDERS = {folder.name: folder for folder in (FIRST, LEADS, SHOP)}
DETAILS = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)


@cache
def playbook(folder: Path) -> Plan:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.yaml")
    }
    plan = compile_playbook(files).plan
    assert plan is not None
    return plan


@cache
def engine_with(name: str) -> Engine:
    engine = Engine(profiles_max=10_000)
    engine.publish(playbook(FOLDERS[name]))
    return engine


def check(kind: type[Message], data: bytes) -> Message:
    """The message, once the runtime has written the same bytes again."""
    message = kind.FromString(data)
    assert message.SerializeToString(deterministic=True) == data, f"{message}"
    assert known(message)
    for status in statuses(message):
        for detail in status.details:
            unpacked = next(one() for one in DETAILS if detail.Is(one.DESCRIPTOR))
            assert detail.Unpack(unpacked)
            assert unpacked.SerializeToString(deterministic=True) == detail.value
            assert known(unpacked)
    return message


def known(message: Message) -> bool:
    """Whether the runtime knows every field, at any depth."""
    if len(UnknownFieldSet(message)):
        return False
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.message_type.GetOptions().map_entry:
            values = [one for one in value.values() if isinstance(one, Message)]
        else:
            values = list(value) if field.is_repeated else [value]
        if not all(map(known, values)):
            return False
    return True


def statuses(message: Message) -> list[status_pb2.Status]:
    if isinstance(message, status_pb2.Status):
        return [message]
    if isinstance(message, decision_pb2.DecideBatchResponse):
        return [one.error for one in message.results if one.HasField("error")]
    return []


def value(type: ValueType, source: random.Random) -> common_pb2.Value:
    """A value of the type, now and then of another."""
    if source.random() < 0.03:
        type = source.choice(list(ValueType))
    made = common_pb2.Value()
    if type == ValueType.BOOL:
        made.bool_value = source.random() < 0.5
    elif type == ValueType.INT:
        made.int_value = source.choice((0, 1, -1, 7, 10**6, -(2**63), 2**63 - 1))
    elif type == ValueType.DOUBLE:
        made.double_value = source.choice((0.0, -0.0, 1.5, 1e9, -3.25, float("nan")))
    elif type == ValueType.STRING:
        made.string_value = source.choice(("", "a", "PL", "żółw", "Email", "x" * 200, "x" * 2000))
    elif type == ValueType.TIMESTAMP:
        made.timestamp_value.seconds = source.choice((0, -1, 1_779_990_000, 2**40))
        made.timestamp_value.nanos = source.choice((0, 1, 999_999_999))
    elif type == ValueType.STRING_LIST:
        made.string_list.values.extend(source.choice(("a", "", "b")) for _ in range(3))
    else:
        made.vector.values.extend((0.0, 1.0))
    return made


def identity(source: random.Random) -> common_pb2.Identity:
    return common_pb2.Identity(
        kind=source.choice((0, 1, 1, 2, 3, 9)),
        id=source.choice(("", "ann", "bob", "żółw", "x" * 300)),
    )


def request(plan: Plan, source: random.Random) -> decision_pb2.DecideRequest:
    made = decision_pb2.DecideRequest(
        decision_id=source.choice(("", "", "d" * 129, f"d-{source.getrandbits(64)}")),
        identity=identity(source),
        seed=source.choice((0, 1, 2**64 - 1)),
        explain=source.random() < 0.8,
        segments=source.random() < 0.8,
    )
    names = [one.name for one in plan.placements] + ["nowhere"] * (source.random() < 0.1)
    made.placements.extend(source.sample(names, source.randint(0, len(names))))
    made.scores.extend(source.choice(([], ["*"], ["fitt"])))
    if source.random() < 0.5:
        made.now.FromMicroseconds(NOW_US + source.choice((0, 1, -1, 86_400_000_000)))
    for table, fields in ((made.context, plan.context), (made.attributes, plan.attributes)):
        for field in fields:
            if source.random() < 0.3 and not field.name.startswith("@"):
                table[field.name].CopyFrom(value(field.type, source))
    return made


def answer(kind: type[Message], call: object, message: Message) -> None:
    """Call the engine, and check its answer or its error's status."""
    try:
        data = call(message.SerializeToString(), NOW_US)  # type: ignore[operator]
    except NextbestError as error:
        check(status_pb2.Status, status_bytes(error))
    else:
        check(kind, data)


def write_something(engine: Engine, plan: Plan, source: random.Random) -> None:
    event = source.choice(plan.events)
    track = event_pb2.TrackRequest(
        event_id=f"e-{source.getrandbits(64)}", identity=identity(source), event=event.name
    )
    track.occurred_at.FromMicroseconds(NOW_US - source.randrange(10**12))
    upsert = profile_pb2.UpsertProfileRequest(write_id="w", identity=identity(source))
    for field in event.properties:
        track.properties[field.name].CopyFrom(value(field.type, source))
    for field in source.sample(plan.attributes, min(3, len(plan.attributes))):
        upsert.attributes[field.name].CopyFrom(value(field.type, source))
    link = profile_pb2.LinkIdentityRequest(
        write_id=f"w-{source.getrandbits(64)}",
        first=identity(source),
        second=identity(source),
        unlink=source.random() < 0.3,
    )
    answer(event_pb2.TrackResponse, engine.track, track)
    answer(profile_pb2.UpsertProfileResponse, engine.upsert, upsert)
    answer(profile_pb2.LinkIdentityResponse, engine.link, link)


@pytest.mark.parametrize("name", FOLDERS)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_answers_are_the_bytes_that_protobuf_writes(name: str, seed: int) -> None:
    source = random.Random(seed)
    engine, plan = engine_with(name), playbook(FOLDERS[name])
    write_something(engine, plan, source)
    requests = [request(plan, source) for _ in range(4)]
    answer(decision_pb2.DecideResponse, engine.decide, requests[0])
    batch = decision_pb2.DecideBatchRequest(requests=requests)
    answer(decision_pb2.DecideBatchResponse, engine.decide_batch, batch)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_generated_requests_are_answered(name: str) -> None:
    """Most of them, with propositions, ledgers and explanations, and some are refused."""
    source = random.Random(5)
    engine, plan = engine_with(name), playbook(FOLDERS[name])
    batch = decision_pb2.DecideBatchRequest(requests=[request(plan, source) for _ in range(300)])
    data = engine.decide_batch(batch.SerializeToString(), NOW_US)
    results = decision_pb2.DecideBatchResponse.FromString(data).results
    answered = [one.response for one in results if one.HasField("response")]
    assert 30 < len(answered) < 290
    assert any(one.placements for one in answered)
    assert any(
        candidate.factors
        for one in answered
        for part in one.explanations
        for candidate in part.candidates
    )
    assert any(score.ledger for one in answered for score in one.scores) or name == "first"


def test_the_name_in_an_error_is_never_cut_inside_a_character() -> None:
    """A list too large for one decision, in an entry with a long name."""
    source = decision_pb2.DecideRequest()
    source.identity.id = "ann"
    source.context["x" + "ż" * 100].string_list.values.extend([""] * 1_200_000)
    with pytest.raises(InvalidRequestError) as caught:
        engine_with("first").decide(source.SerializeToString(), NOW_US)
    assert "ż" in caught.value.field
    assert "�" not in caught.value.field
    check(status_pb2.Status, status_bytes(caught.value))
