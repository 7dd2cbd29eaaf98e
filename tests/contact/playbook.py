"""A playbook with a contact policy, an engine that runs it, and people to ask it about."""

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
ABOUT = dict.fromkeys(("action", "group", "placement", "channel"), "string")
SCHEMA = {
    "attributes": {"time_zone": "string", "age": "int"},
    "context": {"time_zone": "string"},
    "events": {
        "impression": {**ABOUT, "size": "int"},
        "click": {"action": "string"},
        "dismissal": ABOUT,
        "visit": {"channel": "int"},
    },
}
ACTIONS: dict[str, dict[str, Any]] = {
    "ten_off": {"group": "discount", "value": 3.0},
    "twenty_off": {"group": "discount", "value": 2.0},
    "news": {"value": 1.0},
}
PLACEMENTS: dict[str, dict[str, Any]] = {
    "inbox": {"slots": 4, "channel": "email"},
    "phone": {"slots": 4, "channel": "push"},
    "page": {"slots": 4},
}
_numbers = itertools.count()
_plans: dict[str, Plan] = {}


def compiled(contact: Mapping[str, Any], **parts: Any) -> Compiled:
    """The playbook with this contact.yaml; `actions` and the like replace its own."""
    files = {
        "schema.yaml": parts.get("schema", SCHEMA),
        "contact.yaml": unreserved(contact),
        "actions.yaml": {"actions": parts.get("actions", ACTIONS)},
        "placements.yaml": {"placements": parts.get("placements", PLACEMENTS)},
        "tests/all.yaml": parts.get("tests", []),
    }
    return compiled_of(files)


def unreserved(contact: Mapping[str, Any]) -> dict[str, Any]:
    """With caps that reserve nothing unless they say so: most tests ask twice at one moment."""
    caps = {
        name: {"reserve": "0s"} | cap if cap.get("count") == "impression" else cap
        for name, cap in contact.get("caps", {}).items()
    }
    return {**contact, "caps": caps} if caps else dict(contact)


def plan_of(contact: Mapping[str, Any], **parts: Any) -> Plan:
    """Its plan; fails with the faults."""
    key = repr((contact, parts))
    if key not in _plans:
        found = compiled(contact, **parts)
        assert found.plan is not None, [str(fault) for fault in found.faults]
        _plans[key] = found.plan
    return _plans[key]


def faults_of(contact: Mapping[str, Any], **parts: Any) -> list[str]:
    """What is wrong with it."""
    return [str(fault) for fault in compiled(contact, **parts).faults]


def engine_of(contact: Mapping[str, Any], holds_max: int = 1_024, **parts: Any) -> Engine:
    """A fresh engine that runs the playbook."""
    engine = Engine(profiles_max=1_024, dedupe_max=65_536, holds_max=holds_max)
    engine.publish(plan_of(contact, **parts))
    return engine


def identity(name: str, kind: int = common_pb2.IDENTITY_KIND_KNOWN) -> common_pb2.Identity:
    """An identity of that id."""
    return common_pb2.Identity(kind=kind, id=name)


def event(who: str | common_pb2.Identity, name: str, at_us: int, **about: str) -> bytes:
    """A request to track an event of somebody's; `about` are its properties."""
    request = event_pb2.TrackRequest(
        event_id=f"event-{next(_numbers)}",
        identity=identity(who) if isinstance(who, str) else who,
        event=name,
    )
    request.occurred_at.seconds, rest = divmod(at_us, SECOND)
    request.occurred_at.nanos = rest * 1_000
    for key, text in about.items():
        request.properties[key].string_value = text
    return request.SerializeToString()


def track(
    engine: Engine,
    who: str | common_pb2.Identity,
    name: str,
    at_us: int,
    now_us: int | None = None,
    **about: str,
) -> None:
    """Let somebody have an event at a moment."""
    engine.track(event(who, name, at_us, **about), at_us if now_us is None else now_us)


def link(engine: Engine, first: common_pb2.Identity, second: common_pb2.Identity) -> None:
    """Make two identities one person's."""
    request = profile_pb2.LinkIdentityRequest(
        write_id=f"link-{next(_numbers)}", first=first, second=second
    )
    engine.link(request.SerializeToString(), NOW_US)


def answer(
    engine: Engine, who: str, placements: str | list[str], now_us: int = NOW_US, **more: Any
) -> decision_pb2.DecideResponse:
    """What an engine decides; `zone` is the person's time zone, `here` the request's."""
    zones = {"attributes": more.pop("zone", None), "context": more.pop("here", None)}
    names = [placements] if isinstance(placements, str) else placements
    request = decision_pb2.DecideRequest(identity=identity(who), placements=names, **more)
    for part, zone in zones.items():
        if zone is not None:
            getattr(request, part)["time_zone"].string_value = zone
    return decision_pb2.DecideResponse.FromString(
        engine.decide(request.SerializeToString(), now_us)
    )


def proposed(
    engine: Engine, who: str, placement: str, now_us: int = NOW_US, **more: Any
) -> list[str]:
    """The actions that a placement shows."""
    found = answer(engine, who, placement, now_us, **more).placements[0]
    return [one.action for one in found.propositions]


def held(
    engine: Engine, who: str, placement: str, now_us: int = NOW_US, **more: Any
) -> dict[str, tuple[str, int, int]]:
    """The candidates that the contact policy keeps back: the rule, what it counted, its limit."""
    found = answer(engine, who, placement, now_us, explain=True, **more).explanations[0]
    return {
        one.action: (one.condition, one.counted, one.limit)
        for one in found.candidates
        if one.fate == decision_pb2.FATE_CONTACT_POLICY
    }
