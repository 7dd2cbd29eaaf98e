"""Engines that decide records again."""

from __future__ import annotations

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan

# A person whom no store has is enough: what was read of people is in the records.
_PROFILES_MAX, _DEDUPE_MAX = 16, 1_024


def engine_of(plan: Plan) -> Engine:
    """An engine that decides records again under a plan."""
    engine = Engine(profiles_max=_PROFILES_MAX, dedupe_max=_DEDUPE_MAX)
    engine.publish(plan)
    return engine
