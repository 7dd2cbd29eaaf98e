"""Placements that explore, an engine that runs them, and the policy's chances computed anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import Compiled
from nextbest.v1 import common_pb2, decision_pb2
from tests.playbook import compiled_of

NOW_US = 1_800_000_000_000_000
EPSILON = {"epsilon_greedy": 0.3}
SOFTMAX = {"softmax": {"temperature": 1.5}}
ANN = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id="ann")


@dataclass(frozen=True)
class Offer:
    """A candidate as the model sees it."""

    name: str
    priority: float
    group: str = ""
    treated: bool = True  # it has a treatment that suits, or needs none


# In the playbook's order; two are equal, one has no treatment for the channel.
OFFERS = (
    Offer("a", 1.0, "x"),
    Offer("b", 3.0, "x"),
    Offer("c", 9.0, "y", treated=False),
    Offer("d", 3.0, "y"),
    Offer("e", -2.0, "z"),
    Offer("f", 2.5, "x"),
)


def compiled(
    offers: Sequence[Offer], placements: Mapping[str, Any], caps: Mapping[str, int]
) -> Compiled:
    """A playbook of these actions and placements; `caps` are of groups, for what was shown."""
    actions: dict[str, Any] = {}
    for one in offers:
        actions[one.name] = {"value": one.priority, "group": one.group or "none"}
        if not one.treated:
            actions[one.name]["treatments"] = [{"name": "t", "channels": "elsewhere"}]
    files = {
        "schema.yaml": {"events": {"impression": {"group": "string"}}},
        "contact.yaml": {
            "caps": {
                f"of_{group}": {
                    "count": "impression",
                    "of": {"group": group},
                    "max": most,
                    "window": "7d",
                    "reserve": "0s",
                }
                for group, most in caps.items()
            }
        },
        "actions.yaml": {"actions": actions},
        "placements.yaml": {"placements": placements},
    }
    return compiled_of(files)


def plan_of(
    offers: Sequence[Offer] = OFFERS, caps: Mapping[str, int] | None = None, **placements: Any
) -> Plan:
    """Its plan; fails with the faults.  Every placement is for the channel `web`."""
    on_web = {name: {"channel": "web", **spec} for name, spec in placements.items()}
    found = compiled(offers, on_web, caps or {})
    assert found.plan is not None, [str(fault) for fault in found.faults]
    return found.plan


def engine_of(plan: Plan) -> Engine:
    """A fresh engine that runs a plan."""
    engine = Engine()
    engine.publish(plan)
    return engine


def request(number: int, *placements: str, seed: int = 7, **more: Any) -> bytes:
    """Of the decision with that number."""
    made = decision_pb2.DecideRequest(
        decision_id=f"decision-{number}", identity=ANN, placements=placements, seed=seed, **more
    )
    return made.SerializeToString()


def decide(
    engine: Engine, number: int, *placements: str, **more: Any
) -> decision_pb2.DecideResponse:
    """The decision with that number."""
    answer = engine.decide(request(number, *placements, **more), NOW_US + 1_000 * number)
    return decision_pb2.DecideResponse.FromString(answer)


def shown(placement: decision_pb2.PlacementDecision) -> tuple[str, ...]:
    """The actions by slot."""
    return tuple(one.action for one in placement.propositions)


def chances(exploration: Mapping[str, Any], left: Sequence[Offer]) -> dict[str, float]:
    """Each offer's chance of one slot, written down as the documentation has it."""
    if "softmax" in exploration:
        temperature = exploration["softmax"]["temperature"]
        top = max(one.priority for one in left)
        weights = [math.exp((one.priority - top) / temperature) for one in left]
        return {one.name: w / math.fsum(weights) for one, w in zip(left, weights, strict=True)}
    epsilon = exploration["epsilon_greedy"]
    found = {one.name: epsilon / len(left) for one in left}
    found[best(left)] += 1 - epsilon
    return found


def best(left: Sequence[Offer]) -> str:
    """The name of the best one; of equals the first."""
    return max(left, key=lambda one: one.priority).name


@dataclass(frozen=True)
class Policy:
    """What a placement may do: the model that the engine is compared to."""

    exploration: Mapping[str, Any]
    slots: int
    alike_max: int = 0  # how many of a group; 0 is no bound
    caps: tuple[tuple[str, int], ...] = ()  # how many of a group a decision shows
    offers: Sequence[Offer] = OFFERS

    def placement(self) -> dict[str, Any]:
        """It as an author writes it."""
        found: dict[str, Any] = {"slots": self.slots, "exploration": dict(self.exploration)}
        if self.alike_max:
            found["diversity"] = {"by": "group", "max": self.alike_max}
        return found

    def left(self, earlier: Sequence[str], taken: Sequence[str] = ()) -> list[Offer]:
        """Who may have the next slot."""
        groups = [one.group for one in self.offers if one.name in earlier]
        spent = [one.group for one in self.offers if one.name in (*earlier, *taken)]
        capped = [group for group, most in self.caps if spent.count(group) >= most]
        return [
            one
            for one in self.offers
            if one.treated
            and one.name not in (*earlier, *taken)
            and one.group not in capped
            and not (self.alike_max and groups.count(one.group) >= self.alike_max)
        ]

    def sequences(
        self, earlier: tuple[str, ...] = (), taken: tuple[str, ...] = ()
    ) -> Iterator[tuple[tuple[str, ...], float]]:
        """Every way to fill the slots, with its probability."""
        left = self.left(earlier, taken)
        if len(earlier) == self.slots or not left:
            yield earlier, 1.0
            return
        for name, chance in chances(self.exploration, left).items():
            for after, rest in self.sequences((*earlier, name), taken):
                yield after, chance * rest
