"""The writes that clients send, and how the end state shows which of them are in it.

Each event of an identity adds its own power of 4 to one sum: the sum says of each event how
often it was counted.  Each upsert sets an attribute of its own, each link joins a pair of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from nextbest.core import Engine
from nextbest.core.playbook.plan import (
    Action,
    Aggregate,
    Attribute,
    Budget,
    ContactKind,
    ContactRule,
    Counter,
    Event,
    Field,
    Period,
    Placement,
    Plan,
    ValueType,
)
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, mutation_pb2, profile_pb2

APPLIED, LOGGED, REPLICATED = 1, 2, 3
LEVELS = {APPLIED: "applied", LOGGED: "logged", REPLICATED: "replicated"}
KNOWN = common_pb2.IDENTITY_KIND_KNOWN
# 4 ** 20 is near the largest number that a sum takes.
EVENTS_MAX = 20
UPSERTS_MAX = 12
PUBLICATION, ACTIVATION = 9, 10

_BUY = Event("buy", (Field("amount", ValueType.INT), Field("time", ValueType.TIMESTAMP)))
_SUM = Counter("sum", b"s" * 16, event=0, aggregate=Aggregate.SUM, property=0, type=ValueType.INT)
_COUNT = Counter("count", b"c" * 16, event=0, aggregate=Aggregate.COUNT)
_KINDS = Counter(
    "kinds",
    b"k" * 16,
    event=0,
    aggregate=Aggregate.DISTINCT,
    property=0,
    type=ValueType.INT,
    limit=3,
)
_ATTRIBUTES = (
    Attribute("last", ValueType.STRING),
    *(Attribute(f"a{number}", ValueType.INT) for number in range(UPSERTS_MAX)),
)


# What is proposed under one budget; a part of the impressions never comes.
_SHOWN = Event("impression", (Field("time", ValueType.TIMESTAMP),))
HOLD_S = 2
PLACEMENT = "page"


def plan(name: int, counters: tuple[Counter, ...], allowed: int) -> Plan:
    """A playbook; allowed: what the budget lets be shown, 0 for no budget."""
    # Claimed by two at once.
    shares = allowed // 2
    budget = Budget(
        "summer", b"b" * 16, allowed, (1,), Period.ROLLING, False, False, shares, HOLD_S
    )
    rule = ContactRule("budget summer", ContactKind.BUDGET, shown=True, budget=0)
    return Plan(
        hash=bytes([name, allowed]) * 8,
        attributes=_ATTRIBUTES,
        events=(_BUY, _SHOWN),
        counters=counters,
        actions=(Action("one", contact=(0,) if allowed else ()),),
        placements=(Placement(PLACEMENT, 1, "", (0,)),),
        contact=(rule,) if allowed else (),
        budgets=(budget,) if allowed else (),
    )


@cache
def playbooks(allowed: int) -> tuple[Plan, Plan]:
    """The first one and the second of a world with such a budget."""
    return plan(1, (_SUM, _COUNT), allowed), plan(2, (_SUM, _COUNT, _KINDS), allowed)


@dataclass(slots=True)
class Attempt:
    """A write sent to a node once."""

    node: str
    life: int
    sent: float
    # "", "refused", "unknown" or "ok".
    outcome: str = ""
    ended: float = 0.0


@dataclass(slots=True)
class Write:
    """One write, however often it is sent: always the same bytes."""

    kind: str
    id: str
    identity: str
    # Which power of 4, which attribute; for a link its other identity is in `other`.
    number: int
    ack: int
    request: bytes
    other: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    acknowledged: Attempt | None = None
    position: tuple[int, int, int] = (0, 0, 0)
    # Answered only when no node decides without it.
    revokes: bool = False

    def __str__(self) -> str:
        where = f"{self.identity}{'+' + self.other if self.other else ''}"
        return f"{self.kind} {self.id} of {where} at {LEVELS[self.ack]}"


def event(id: str, identity: str, number: int, ack: int, at_us: int) -> Write:
    request = event_pb2.TrackRequest(event_id=id, event="buy", ack=ack)  # type: ignore[arg-type]
    request.identity.kind, request.identity.id = KNOWN, identity
    request.occurred_at.FromMicroseconds(at_us)
    request.properties["amount"].int_value = 4**number
    return Write("event", id, identity, number, ack, request.SerializeToString())


def upsert(id: str, identity: str, number: int, ack: int) -> Write:
    request = profile_pb2.UpsertProfileRequest(write_id=id, ack=ack)  # type: ignore[arg-type]
    request.identity.kind, request.identity.id = KNOWN, identity
    request.attributes[f"a{number}"].int_value = 1
    request.attributes["last"].string_value = id
    return Write("upsert", id, identity, number, ack, request.SerializeToString())


def link(id: str, identity: str, other: str, ack: int) -> Write:
    request = profile_pb2.LinkIdentityRequest(write_id=id, ack=ack)  # type: ignore[arg-type]
    request.first.kind, request.first.id = KNOWN, identity
    request.second.kind, request.second.id = KNOWN, other
    return Write("link", id, identity, 0, ack, request.SerializeToString(), other)


def erase(id: str, identity: str, ack: int) -> Write:
    request = profile_pb2.EraseProfileRequest(write_id=id, ack=ack)  # type: ignore[arg-type]
    request.identity.kind, request.identity.id = KNOWN, identity
    return Write("erase", id, identity, 0, ack, request.SerializeToString())


def publication(plan: Plan) -> bytes:
    return mutation_pb2.Publication(hash=plan.hash).SerializeToString()


def activation(plan: Plan) -> bytes:
    return mutation_pb2.Activation(hash=plan.hash).SerializeToString()


@dataclass(slots=True)
class Seen:
    """What the end state shows of one identity."""

    # How often each event counts, by its number.
    events: dict[int, int]
    upserts: set[int]
    linked: set[str]
    count: int


def present(write: Write, what: Seen) -> int:
    """How often a write shows in what is seen of its identity."""
    if write.kind == "event":
        return what.events.get(write.number, 0)
    if write.kind == "upsert":
        return int(write.number in what.upserts)
    return int(write.other in what.linked)


ANSWERS: dict[str, Any] = {
    "event": event_pb2.TrackResponse,
    "upsert": profile_pb2.UpsertProfileResponse,
    "link": profile_pb2.LinkIdentityResponse,
    "erase": profile_pb2.EraseProfileResponse,
}


def look(engine: Engine, identity: str, now_us: int) -> Seen:
    request = profile_pb2.GetProfileRequest()
    request.identity.kind, request.identity.id = KNOWN, identity
    request.now.FromMicroseconds(now_us)
    answer = engine.profile(request.SerializeToString(), now_us)
    profile = profile_pb2.GetProfileResponse.FromString(answer).profile
    counters = profile.counters
    total = counters["sum"].value.int_value if "sum" in counters else 0
    events = {number: times for number in range(EVENTS_MAX) if (times := total >> 2 * number & 3)}
    count = counters["count"].value.int_value if "count" in counters else 0
    upserts = {int(name[1:]) for name in profile.attributes if name != "last"}
    linked = {one.id for one in profile.identities} - {identity}
    return Seen(events, upserts, linked, count)


def propose(engine: Engine, now_us: int) -> str:
    """Decide for somebody; gives the decision's id when the budget let something be proposed."""
    request = decision_pb2.DecideRequest(placements=[PLACEMENT])
    request.identity.kind, request.identity.id = KNOWN, "shopper"
    answer = decision_pb2.DecideResponse.FromString(
        engine.decide(request.SerializeToString(), now_us)
    )
    return answer.decision_id if answer.placements[0].propositions else ""


def show(
    engine: Engine, id: str, decision_id: str, now_us: int, ack: int = APPLIED, token: int = 0
) -> None:
    """Track the impression of a decision, on whichever node."""
    request = event_pb2.TrackRequest(
        event_id=id,
        event="impression",
        ack=ack,  # type: ignore[arg-type]
        decision_id=decision_id,
    )
    request.identity.kind, request.identity.id = KNOWN, "shopper"
    request.occurred_at.FromMicroseconds(now_us)
    engine.track(request.SerializeToString(), now_us, token)
