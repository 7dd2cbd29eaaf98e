"""A playbook of experiments, an engine that runs it, and people to ask it about."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nextbest.core import Engine
from nextbest.core.playbook.plan import BucketHash, Plan
from nextbest.server.playbook.compile import Compiled
from nextbest.v1 import common_pb2, decision_pb2, event_pb2
from tests.playbook import compiled_of

NOW_US = 1_800_000_000_000_000
SCHEMA = {
    "attributes": {"id": "string", "company_id": "string", "anonymous_id": "string", "age": "int"},
    "events": {"visit": {}},
}


def compiled(experiments: Mapping[str, Any], **more: Any) -> Compiled:
    """A playbook with these experiments, each read by an action of its name.

    more: keys of experiments.yaml; and `schema`, and `action`, what each action has besides.
    """
    names = [name for name, spec in experiments.items() if spec is not None]
    action = more.pop("action", {})
    actions = {name: {"eligibility": f'experiment.{name} != ""'} | action for name in names}
    files = {
        "schema.yaml": SCHEMA | more.pop("schema", {}),
        "experiments.yaml": {"experiments": dict(experiments), **more},
        "actions.yaml": {"actions": {**actions, "nothing": {"value": 0.0}}},
        "placements.yaml": {"placements": {"page": {"slots": 64}}},
    }
    return compiled_of(files)


def plan_of(experiments: Mapping[str, Any], **more: Any) -> Plan:
    """Its plan; fails with the faults."""
    found = compiled(experiments, **more)
    assert found.plan is not None, [str(fault) for fault in found.faults]
    return found.plan


def bucketed(plan: Plan, salt: str, version: int) -> Plan:
    """The plan with another salt and hash for its first experiment."""
    first, *rest = plan.experiments
    bucketing = dataclasses.replace(first.bucketing, salt=salt, hash=BucketHash(version))
    first = dataclasses.replace(first, bucketing=bucketing)
    return dataclasses.replace(plan, experiments=(first, *rest))


def engine_of(plan: Plan, people: int = 1_024) -> Engine:
    """A fresh engine that runs a plan."""
    engine = Engine(profiles_max=people, dedupe_max=16 * people)
    engine.publish(plan)
    return engine


def identity(name: str, kind: int = common_pb2.IDENTITY_KIND_KNOWN) -> common_pb2.Identity:
    """An identity of that id."""
    return common_pb2.Identity(kind=kind, id=name)


def decide(
    engine: Engine,
    who: str | common_pb2.Identity,
    attributes: Mapping[str, str] | None = None,
    now_us: int = NOW_US,
    **more: Any,
) -> dict[str, decision_pb2.Assignment]:
    """The experiments that a decision tells of, by name."""
    request = decision_pb2.DecideRequest(
        identity=identity(who) if isinstance(who, str) else who, placements=["page"], **more
    )
    for name, text in (attributes or {}).items():
        request.attributes[name].string_value = text
    answer = engine.decide(request.SerializeToString(), now_us)
    told = decision_pb2.DecideResponse.FromString(answer).experiments
    return {one.experiment: one for one in told}


def expose(engine: Engine, who: str, experiment: str, variant: str, number: int = 0) -> None:
    """Track an exposure as a caller may: what another system has assigned before."""
    event = event_pb2.TrackRequest(
        event_id=f"exposure-{who}-{experiment}-{number}", identity=identity(who), event="exposure"
    )
    event.occurred_at.seconds = NOW_US // 1_000_000 - 3_600
    event.properties["experiment"].string_value = experiment
    event.properties["variant"].string_value = variant
    engine.track(event.SerializeToString(), NOW_US)
