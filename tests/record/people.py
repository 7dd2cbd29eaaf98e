"""People who do something and are decided for, and what is recorded of it."""

from __future__ import annotations

import random
from pathlib import Path

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from nextbest.server.record.frames import Frame, frames
from nextbest.v1 import common_pb2, decision_pb2, event_pb2

START_US = 1_800_000_000_000_000
BUFFER_BYTES = 64 * 1024 * 1024


def plan_of(folder: Path) -> Plan:
    """An example's plan."""
    plan = compile_playbook(read_folder(folder)).plan
    assert plan is not None
    return plan


def recording(plan: Plan, share: float = 1.0, buffer_bytes: int = BUFFER_BYTES) -> Engine:
    """An engine that keeps records."""
    engine = Engine(profiles_max=10_000, dedupe_max=200_000)
    engine.publish(plan)
    engine.record(share, buffer_bytes)
    return engine


def live(engine: Engine, plan: Plan, decisions: int, seed: int = 1) -> None:
    """A day of events and decisions, some explained, some for a moment of their own."""
    chance = random.Random(seed)
    placements = [one.name for one in plan.placements]
    # An exposure names an experiment.
    events = [one.name for number, one in enumerate(plan.events) if number != plan.exposure]
    now_us = START_US
    for number in range(decisions):
        now_us += chance.randrange(60_000_000)
        who = common_pb2.Identity(kind=chance.randrange(1, 3), id=f"u{chance.randrange(200)}")
        for extra in range(chance.randrange(3)):
            event = event_pb2.TrackRequest(
                event_id=f"e{seed}-{number}-{extra}", identity=who, event=chance.choice(events)
            )
            event.occurred_at.seconds = now_us // 1_000_000 - chance.randrange(86_400)
            engine.track(event.SerializeToString(), now_us)
        engine.decide(_request(chance, f"{seed}-{number}", who, placements, now_us), now_us)


def _request(
    chance: random.Random,
    name: str,
    who: common_pb2.Identity,
    placements: list[str],
    now_us: int,
) -> bytes:
    request = decision_pb2.DecideRequest(
        identity=who,
        placements=chance.sample(placements, chance.randrange(1, len(placements) + 1)),
        scores=["*"] if chance.random() < 0.5 else [],
        explain=chance.random() < 0.2,
        segments=chance.random() < 0.3,
        preview=chance.random() < 0.2,
    )
    if chance.random() < 0.3:
        request.now.seconds = now_us // 1_000_000 - chance.randrange(1_000)
    if chance.random() < 0.3:
        request.decision_id = f"d{name}"
        request.seed = chance.getrandbits(64)
    return request.SerializeToString()


def taken(engine: Engine) -> tuple[bytes, list[Frame]]:
    """What the engine has recorded, as a file's content and as frames."""
    content = engine.take_records()
    found = [frame for frame in frames("taken", content) if isinstance(frame, Frame)]
    return content, found
