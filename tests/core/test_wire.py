"""The codec of the hot messages against the official protobuf runtime."""

import random

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.core import Engine
from nextbest.core.errors import DeadlineError, InvalidRequestError, NextbestError
from nextbest.core.playbook.plan import Aggregate, Attribute, Counter, Event, Field, Plan, ValueType
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, mutation_pb2, profile_pb2

NOW_US = 1_780_000_000_000_000
TYPES = {
    "flag": ValueType.BOOL,
    "count": ValueType.INT,
    "ratio": ValueType.DOUBLE,
    "text": ValueType.STRING,
    "when": ValueType.TIMESTAMP,
    "tags": ValueType.STRING_LIST,
    "taste": ValueType.VECTOR,
}


def plan() -> Plan:
    return Plan(
        hash=bytes(16),
        attributes=tuple(Attribute(name, type) for name, type in TYPES.items()),
        context=tuple(Field(name, type) for name, type in TYPES.items()),
    )


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = Engine(profiles_max=1000)
    engine.publish(plan())
    return engine


def values() -> st.SearchStrategy[common_pb2.Value]:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    text = st.text(max_size=20)
    return st.one_of(
        st.builds(common_pb2.Value, bool_value=st.booleans()),
        st.builds(common_pb2.Value, int_value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(common_pb2.Value, double_value=finite),
        st.builds(common_pb2.Value, string_value=text),
        st.lists(text, max_size=4).map(
            lambda v: common_pb2.Value(string_list=common_pb2.StringList(values=v))
        ),
        st.lists(finite, max_size=4).map(
            lambda v: common_pb2.Value(vector=common_pb2.DoubleList(values=v))
        ),
    )


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    request = decision_pb2.DecideRequest(
        decision_id=draw(st.text(max_size=30)),
        seed=draw(st.integers(0, 2**64 - 1)),
        explain=draw(st.booleans()),
        segments=draw(st.booleans()),
    )
    request.identity.id = draw(st.text(min_size=1, max_size=20))
    request.identity.kind = draw(st.integers(0, 3))
    if draw(st.booleans()):
        request.now.seconds = draw(st.integers(-62135596800, 253402300799))
        request.now.nanos = draw(st.integers(0, 999_999_999))
    for name in draw(st.sets(st.sampled_from(sorted(TYPES)))):
        request.context[name].CopyFrom(draw(values()))
    return request.SerializeToString()


def outcome(engine: Engine, request: bytes) -> str:
    """ "malformed" when the engine could not read the bytes, else anything else."""
    try:
        engine.decide(request, NOW_US)
    except InvalidRequestError as error:
        return "malformed" if error.field == "request" else "refused"
    except NextbestError:
        return "refused"
    return "answered"


def test_answer_tells_what_the_request_said(engine: Engine) -> None:
    """Id, moment and seed come back as they were given, through the official runtime."""
    request = decision_pb2.DecideRequest(decision_id="d-1", seed=7)
    request.identity.id = "ann"
    request.now.FromMicroseconds(NOW_US)
    answer = decision_pb2.DecideResponse.FromString(
        engine.decide(request.SerializeToString(), NOW_US)
    )
    assert (answer.decision_id, answer.seed) == ("d-1", 7)
    assert answer.now.ToMicroseconds() == NOW_US
    assert not answer.profile_known
    assert answer.generation == 1
    assert answer.SerializeToString(deterministic=True) == engine.decide(
        request.SerializeToString(), NOW_US
    )


@settings(max_examples=300, deadline=None)
@given(request=requests())
def test_well_formed_requests_are_read(engine: Engine, request: bytes) -> None:
    assert outcome(engine, request) != "malformed"


@settings(max_examples=1000, deadline=None)
@given(request=requests(), seed=st.integers(0, 2**32))
def test_damaged_requests_are_malformed_for_both(engine: Engine, request: bytes, seed: int) -> None:
    """The engine refuses the bytes that the official parser refuses, and no others."""
    damaged = damage(request, random.Random(seed))
    try:
        decision_pb2.DecideRequest.FromString(damaged)
        expected = False
    except DecodeError:
        expected = True
    assert (outcome(engine, damaged) == "malformed") == expected, damaged.hex()


def damage(data: bytes, random_source: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random_source.randint(1, 3)):
        at = random_source.randrange(len(changed) + 1)
        kind = random_source.randrange(3)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            changed.insert(at, random_source.randrange(256))
        elif at < len(changed):
            changed[at] ^= 1 << random_source.randrange(8)
    return bytes(changed)


def test_last_entry_of_a_map_wins(engine: Engine) -> None:
    """Of two entries of one name the first is as if it had not been sent, whatever it held."""
    wrong = decision_pb2.DecideRequest()
    wrong.identity.id = "ann"
    wrong.context["count"].string_value = "three"
    right = decision_pb2.DecideRequest()
    right.context["count"].int_value = 3
    request = wrong.SerializeToString() + right.SerializeToString()
    assert outcome(engine, request) == "answered"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("flag", common_pb2.Value(int_value=1), "attributes.flag: int, allowed: bool"),
        ("count", common_pb2.Value(double_value=1.5), "attributes.count: double, allowed: a whole"),
        ("ratio", common_pb2.Value(double_value=float("nan")), "attributes.ratio: double, allowed"),
        ("ratio", common_pb2.Value(double_value=float("inf")), "attributes.ratio: double, allowed"),
        ("ratio", common_pb2.Value(int_value=2**53 + 1), "a number that a double holds exactly"),
        ("text", common_pb2.Value(string_value="x" * 1025), "attributes.text: 1025 bytes"),
        ("text", common_pb2.Value(), "attributes.text: no value, allowed: string"),
        ("txet", common_pb2.Value(bool_value=True), "the nearest is 'text'"),
    ],
)
def test_upsert_refuses_by_name(
    engine: Engine, name: str, value: common_pb2.Value, message: str
) -> None:
    request = profile_pb2.UpsertProfileRequest(write_id="w")
    request.identity.id = "ann"
    request.attributes[name].CopyFrom(value)
    with pytest.raises(InvalidRequestError) as caught:
        engine.upsert(request.SerializeToString(), NOW_US)
    assert message in str(caught.value)


@pytest.mark.parametrize("year_seconds", [-62135596801, 253402300800])
def test_moments_outside_the_calendar_are_refused(engine: Engine, year_seconds: int) -> None:
    request = decision_pb2.DecideRequest()
    request.identity.id = "ann"
    request.now.seconds = year_seconds
    with pytest.raises(InvalidRequestError, match=r"now: .* allowed: a moment from year 1 to 9999"):
        engine.decide(request.SerializeToString(), NOW_US)


def test_long_lists_are_refused(engine: Engine) -> None:
    request = profile_pb2.UpsertProfileRequest(write_id="w")
    request.identity.id = "ann"
    request.attributes["tags"].string_list.values.extend(["a"] * 100_000)
    with pytest.raises(InvalidRequestError, match=r"attributes\.tags"):
        engine.upsert(request.SerializeToString(), NOW_US)


def test_random_bytes_are_refused(engine: Engine) -> None:
    """Bytes of no message end in a typed error from every call, and in nothing else."""
    source = random.Random(1)
    for _ in range(2000):
        data = source.randbytes(source.randrange(64))
        for call in (engine.decide, engine.track, engine.upsert, engine.link, engine.profile):
            with pytest.raises(NextbestError):
                call(data, NOW_US)


def test_track_needs_a_time(engine: Engine) -> None:
    request = event_pb2.TrackRequest(event_id="e-1", event="view")
    request.identity.id = "ann"
    with pytest.raises(InvalidRequestError, match="occurred_at: unset"):
        engine.track(request.SerializeToString(), NOW_US)


def test_a_deadline_that_has_passed_is_refused(engine: Engine) -> None:
    request = decision_pb2.DecideRequest()
    request.identity.id = "ann"
    data = request.SerializeToString()
    assert engine.decide(data, NOW_US, NOW_US + 1)
    with pytest.raises(DeadlineError):
        engine.decide(data, NOW_US, NOW_US)


def test_a_mutation_in_pieces_is_applied_as_one() -> None:
    """Two bodies of one kind merge, as the official parser has it."""
    whole = profile_pb2.UpsertProfileRequest(write_id="w")
    whole.identity.id = "ann"
    whole.attributes["count"].int_value = 3
    first = profile_pb2.UpsertProfileRequest(write_id="w", identity=whole.identity)
    second = profile_pb2.UpsertProfileRequest(attributes=whole.attributes)
    mutations = [
        mutation_pb2.Mutation(stamp=NOW_US // 1000 << 16, playbook=bytes(16), attributes=body)
        for body in (whole, first, second)
    ]
    one, pieces = (Engine(profiles_max=10) for _ in range(2))
    for engine in (one, pieces):
        engine.publish(plan())
    one.apply(mutations[0].SerializeToString())
    pieces.apply(mutations[1].SerializeToString() + mutations[2].SerializeToString())
    assert one.store.read(1, "ann", NOW_US) is not None
    assert one.digest() == pieces.digest()


@pytest.mark.parametrize("body", [b"\x32\x01\x0a", b"\x3a\x02\x0a\x01", b"\x0a\x05"])
def test_a_malformed_mutation_is_refused(engine: Engine, body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="mutation: malformed bytes"):
        engine.apply(body)


def test_a_batch_with_a_malformed_request_is_malformed(engine: Engine) -> None:
    request = decision_pb2.DecideRequest()
    request.identity.id = "ann"
    good = decision_pb2.DecideBatchRequest(requests=[request]).SerializeToString()
    assert decision_pb2.DecideBatchResponse.FromString(engine.decide_batch(good, NOW_US)).results
    with pytest.raises(InvalidRequestError) as caught:
        engine.decide_batch(good + b"\x0a\x01\x0a", NOW_US)
    assert caught.value.field == "request"


def test_a_bool_after_a_vector_is_nobodys_default() -> None:
    """Nothing of a kind that a later one replaced is left: repeats are recognised by it."""
    engine = Engine(profiles_max=10)
    fields = (Field("flag", ValueType.BOOL), Field("time", ValueType.TIMESTAMP))
    views = Counter("views", bytes(16), event=0, aggregate=Aggregate.COUNT)
    engine.publish(Plan(hash=bytes(16), events=(Event("view", fields),), counters=(views,)))
    request = event_pb2.TrackRequest(event_id="e-1", event="view")
    request.identity.id = "ann"
    request.occurred_at.FromMicroseconds(NOW_US)
    request.properties["flag"].bool_value = True
    plain = request.SerializeToString()
    # The value's vector of one number comes before its bool.
    value = b"\x3a\x0a\x0a\x08" + bytes(8) + b"\x08\x01"
    entry = b"\x0a\x04flag\x12" + bytes([len(value)]) + value
    odd = plain + b"\x2a" + bytes([len(entry)]) + entry
    assert event_pb2.TrackRequest.FromString(odd) == request
    answers = [
        event_pb2.TrackResponse.FromString(engine.track(one, NOW_US)) for one in (plain, odd)
    ]
    assert [answer.duplicate for answer in answers] == [False, True]
