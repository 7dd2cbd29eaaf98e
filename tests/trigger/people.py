"""A playbook with triggers, an engine that runs it, and people who cross them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import Compiled
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, profile_pb2
from tests.playbook import compiled_of

SECOND = 1_000_000
DAY = 86_400 * SECOND
NOW_US = 1_800_000_000 * SECOND
KNOWN = common_pb2.IDENTITY_KIND_KNOWN
_numbers = itertools.count()


def counted(event: str, where: str = "", window: str = "all") -> dict[str, str]:
    """A counter of an event."""
    return {"count": event, "window": window} | ({"where": where} if where else {})


FILES: dict[str, Any] = {
    "schema.yaml": {
        "attributes": {"country": "string", "age": "int", "trial_ends": "timestamp"},
        "context": {"page": "string"},
        "events": {"purchase": {"amount": "double"}, "visit": {}},
        "counters": {
            "spend": {"sum": "purchase.amount", "window": "all"},
            "visits": counted("visit", window="7d"),
            "vip_in": counted("segment_entered", 'event.segment == "vip"'),
            "vip_out": counted("segment_left", 'event.segment == "vip"'),
            "active_in": counted("segment_entered", 'event.segment == "active"'),
            "active_out": counted("segment_left", 'event.segment == "active"'),
            "welcomed_in": counted("segment_entered", 'event.segment == "welcomed"'),
            "graded": {"last": "grade_changed.to", "window": "all"},
            "graded_from": {"last": "grade_changed.from", "window": "all"},
            "won": counted("stage_changed", 'event.to == "customer"'),
            "causes": {"last_n": "segment_entered.cause", "n": 8, "window": "all"},
        },
    },
    "segments.yaml": {
        "segments": {
            "vip": "profile.spend >= 100.0",
            "local": 'profile.country == "PL"',
            "active": "profile.visits >= 3",
            # Chains: a crossing that moves the person across another.
            "welcomed": "profile.vip_in >= 1",
            "unwatched": "profile.spend >= 1.0",
        }
    },
    "scores.yaml": {
        "scores": {
            "fit": {"rules": [{"reason": "local", "points": 10, "when": "segment.local"}]},
            "engagement": {
                "rules": [{"reason": "spends", "points": 10, "when": "profile.spend >= 50.0"}]
            },
        },
        "grades": {
            "lead": {
                "fit": {"score": "fit", "bands": {"A": 10, "B": 0}},
                "engagement": {"score": "engagement", "bands": {"1": 10, "2": 0}},
            }
        },
        "stages": {
            "names": ["visitor", "customer"],
            "transitions": [{"from": "visitor", "to": "customer", "when": "profile.spend > 0.0"}],
        },
    },
    "triggers.yaml": {
        "triggers": {
            "segments": ["vip", "local", "active", "welcomed"],
            "grades": "lead",
            "stage": True,
        }
    },
}


def compiled(**parts: Any) -> Compiled:
    """The playbook; `schema`, `segments` and the like replace its files."""
    files = FILES | {f"{name}.yaml": part for name, part in parts.items()}
    return compiled_of(files)


def plan_of(**parts: Any) -> Plan:
    """Its plan; fails with the faults."""
    found = compiled(**parts)
    assert found.plan is not None, [str(fault) for fault in found.faults]
    return found.plan


def engine_of(plan: Plan | None = None) -> Engine:
    """A fresh engine that runs it."""
    engine = Engine(profiles_max=1_024, dedupe_max=65_536)
    engine.publish(plan_of() if plan is None else plan)
    return engine


def identity(who: str) -> common_pb2.Identity:
    """A known identity of that id."""
    return common_pb2.Identity(kind=KNOWN, id=who)


def moment(time_us: int) -> dict[str, int]:
    """A Timestamp's fields."""
    return {"seconds": time_us // SECOND, "nanos": time_us % SECOND * 1_000}


def event(
    event_id: str, who: str = "ann", name: str = "purchase", at_us: int = NOW_US, **properties: Any
) -> bytes:
    """A TrackRequest; its properties are numbers or texts."""
    request = event_pb2.TrackRequest(
        event_id=event_id, identity=identity(who), event=name, occurred_at=moment(at_us)
    )
    for property_, value in properties.items():
        kind = "string_value" if isinstance(value, str) else "double_value"
        setattr(request.properties[property_], kind, value)
    return request.SerializeToString()


def buy(
    engine: Engine, event_id: str, amount: float, who: str = "ann", at_us: int = NOW_US
) -> None:
    """Somebody buys."""
    engine.track(event(event_id, who, at_us=at_us, amount=amount), at_us)


def move(
    engine: Engine, country: str, who: str = "ann", write_id: str = "", at_us: int = NOW_US
) -> None:
    """Somebody moves to another country."""
    request = profile_pb2.UpsertProfileRequest(
        write_id=write_id or f"move-{next(_numbers)}", identity=identity(who)
    )
    request.attributes["country"].string_value = country
    engine.upsert(request.SerializeToString(), at_us)


def link(
    engine: Engine, first: str, second: str, unlink: bool = False, at_us: int = NOW_US
) -> None:
    """Make two identities one person's, or part them."""
    request = profile_pb2.LinkIdentityRequest(
        write_id=f"link-{next(_numbers)}",
        first=identity(first),
        second=identity(second),
        unlink=unlink,
    )
    engine.link(request.SerializeToString(), at_us)


def decide(
    engine: Engine, who: str = "ann", now_us: int = NOW_US, **more: Any
) -> decision_pb2.DecideResponse:
    """A decision for every placement."""
    placements = [] if engine.plan is None else [one.name for one in engine.plan.placements]
    request = decision_pb2.DecideRequest(identity=identity(who), placements=placements, **more)
    return decision_pb2.DecideResponse.FromString(
        engine.decide(request.SerializeToString(), now_us)
    )


def counts(engine: Engine, who: str = "ann", now_us: int = NOW_US) -> Mapping[str, Any]:
    """Somebody's counters that are not empty."""
    request = profile_pb2.GetProfileRequest(identity=identity(who), now=moment(now_us))
    answer = engine.profile(request.SerializeToString(), now_us)
    found = {}
    for name, counter in profile_pb2.GetProfileResponse.FromString(answer).profile.counters.items():
        values = [
            getattr(one, one.WhichOneof("kind"))
            for one in (counter.value, *counter.values)
            if one.WhichOneof("kind")
        ]
        if counter.values:
            found[name] = values
        elif values and values[0]:
            found[name] = values[0]
    return found


def crossings(engine: Engine) -> tuple[int, int, int]:
    """Crossings told, lost and cut."""
    told = engine.telemetry.decisions()
    return told.crossings, told.crossings_lost, told.crossings_cut
