"""Checks that nextbest, cel-cpp, ZEN and plain arithmetic agree on sampled decisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ruamel.yaml import YAML

from nextbest.v1 import decision_pb2

from . import encode, people
from .peers import CelPeer, ZenPeer, zen_context
from .shop_100 import SLOTS, action_name, action_predicates, playbook

Decide = Callable[[bytes], bytes]


class Sample(NamedTuple):
    """A request for a known person and what everybody reads of it."""

    request: people.Request
    values: dict[str, people.Scalar]


class Reference:
    """The decision by plain arithmetic, from the predicates that hold."""

    def __init__(self) -> None:
        files = playbook()
        yaml = YAML(typ="safe")
        self.triples = action_predicates()
        rules = yaml.load(files["scores.yaml"])["scores"]["intent"]["rules"]
        self.points: list[int] = [rule["points"] for rule in rules]
        self.actions = yaml.load(files["actions.yaml"])["actions"]

    def score(self, holding: set[int]) -> int:
        """The scorecard: every third predicate, from 0 to 100."""
        points = sum(p for rule, p in enumerate(self.points) if rule * 3 in holding)
        return max(0, min(100, points))

    def qualifying(self, holding: set[int]) -> list[str]:
        """The actions whose predicates all hold, in the playbook's order."""
        return [action_name(i) for i, triple in enumerate(self.triples) if holding >= set(triple)]

    def priority(self, action: str, score: int) -> float:
        """The arbitration formula, in its order of multiplication."""
        factors = self.actions[action]
        product = float(factors["propensity_outcome"]) * factors["context_weight"]
        return float(product * factors["value"] * factors["lever"] * (1.0 + 0.01 * score))

    def propositions(self, holding: set[int]) -> list[tuple[str, float]]:
        """The best actions and their priorities; the playbook's order breaks ties."""
        score = self.score(holding)
        ranked = [(name, self.priority(name, score)) for name in self.qualifying(holding)]
        return sorted(ranked, key=lambda pair: -pair[1])[:SLOTS]


def samples(chosen: list[people.Request], later: Mapping[int, list[people.Event]]) -> list[Sample]:
    """What is known of each request's person at its moment, counters recomputed."""
    found = []
    for request in chosen:
        person = people.person(request.person)
        events = [*person.events, *later.get(request.person, ())]
        counters = people.counters(events, request.now_s)
        found.append(Sample(request, {**person.attributes, **counters}))
    return found


def in_segments(response: bytes) -> set[int]:
    """The predicates whose segments the person is in."""
    message = decision_pb2.DecideResponse.FromString(response)
    return {int(name[1:]) for name in message.segments}


class Judge:
    """Asks everybody the same and lists where the answers differ."""

    def __init__(self, segments: Decide, decisions: Decide, cel: CelPeer, zen: ZenPeer) -> None:
        """`segments` decides under the playbook with a segment for each predicate."""
        self.segments = segments
        self.decisions = decisions
        self.cel = cel
        self.zen = zen
        self.reference = Reference()

    def predicates(self, sample: Sample) -> Iterator[str]:
        """Where the three differ on a predicate, or ZEN on a table of 300."""
        ours = in_segments(self.segments(encode.segments(sample.request)))
        context = zen_context(sample.values, sample.request)
        cel = self.cel.holding(self.cel.activation(sample.values, sample.request))
        for name, theirs in (("cel-cpp", cel), ("ZEN", self.zen.holding(context))):
            for i in sorted(ours ^ theirs):
                yield f"{sample.request.id}: p{i:02d} is {i in ours}, {name} says {i in theirs}"
        if self.zen.qualifying(context) != self.reference.qualifying(cel):
            yield f"{sample.request.id}: ZEN admits other actions"

    def decision(self, sample: Sample) -> Iterator[str]:
        """Where a decision differs from plain arithmetic over what cel-cpp says."""
        request = sample.request
        holding = self.cel.holding(self.cel.activation(sample.values, request))
        answer = self.decisions(encode.decide(request))
        response = decision_pb2.DecideResponse.FromString(answer)
        wanted = self.reference.propositions(holding)
        seen = [(p.action, p.priority) for p in response.placements[0].propositions]
        if not response.profile_known:
            yield f"{request.id}: not known"
        if [name for name, _ in seen] != [name for name, _ in wanted]:
            yield f"{request.id}: proposes {seen}, wanted {wanted}"
        elif not all(map(close, seen, wanted)):
            yield f"{request.id}: priorities {seen}, wanted {wanted}"
        if response.scores[0].points != self.reference.score(holding):
            yield f"{request.id}: another score"


def close(seen: tuple[str, float], wanted: tuple[str, float]) -> bool:
    """Whether two priorities are equal but for the order of multiplication."""
    return math.isclose(seen[1], wanted[1], rel_tol=1e-12)
