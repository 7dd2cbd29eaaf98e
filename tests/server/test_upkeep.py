"""What the server does for the engine between calls."""

from nextbest.core import Engine
from nextbest.core.playbook.plan import Event, Field, Plan, ValueType
from nextbest.server.config import Retention
from nextbest.server.upkeep import SPAN_MS_MAX, Upkeep
from nextbest.v1 import common_pb2, event_pb2

NOW_US = 1_780_000_000_000_000
DAY_US = 86_400_000_000
DEDUPE_MAX = 100


def engine_of(events: int, apart_us: int) -> Engine:
    """An engine that remembers so many events, the last one now."""
    engine = Engine(dedupe_max=DEDUPE_MAX)
    time = Field("time", ValueType.TIMESTAMP)
    engine.publish(Plan(hash=bytes(16), events=(Event("view", (time,)),)))
    for number in range(events):
        identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_ANONYMOUS, id=f"a{number}")
        request = event_pb2.TrackRequest(event_id=f"e{number}", identity=identity, event="view")
        request.occurred_at.FromMicroseconds(NOW_US - number * apart_us)
        engine.track(request.SerializeToString(), NOW_US)
    return engine


def test_event_ids_are_kept_while_there_is_room() -> None:
    engine = engine_of(80, apart_us=DAY_US // 4)
    assert Upkeep(engine, Retention(), DEDUPE_MAX).bound_dedupe(NOW_US) == 0
    assert engine.store.remembered == 80


def test_the_oldest_event_ids_go_when_nearly_full() -> None:
    engine = engine_of(95, apart_us=DAY_US // 4)
    assert Upkeep(engine, Retention(), DEDUPE_MAX).bound_dedupe(NOW_US) == SPAN_MS_MAX // 2
    assert engine.store.remembered == 61


def test_identities_without_events_are_removed_after_their_retention() -> None:
    engine = engine_of(95, apart_us=DAY_US)
    removed = Upkeep(engine, Retention(anonymous_days=30), DEDUPE_MAX).expire(NOW_US)
    assert (removed, engine.store.profiles) == (64, 31)
