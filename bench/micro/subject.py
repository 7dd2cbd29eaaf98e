"""nextbest in this process: the shop-100 playbook, its people and what they did."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import numpy as np

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import compile_playbook

from . import encode, people
from .predicates import HOUR_S
from .shop_100 import hollow_segments_yaml, playbook

BASE_US = people.BASE_S * 1_000_000
NOW_US = BASE_US + 3_600_000_000
# A condition that never holds, as the last gate of every action.
NEVER = 'context.page == "nowhere"'


def compiled(files: dict[str, str]) -> Plan:
    """The plan of a playbook, which must have no faults."""
    result = compile_playbook({name: text.encode() for name, text in files.items()})
    if result.plan is None:
        raise SystemExit("\n".join(str(fault) for fault in result.faults))
    return result.plan


def gated(files: dict[str, str]) -> dict[str, str]:
    """The playbook with a last condition that drops every action: no ranking, no slots."""
    lines: list[str] = []
    for line in files["actions.yaml"].splitlines():
        if line.startswith("    suitability:"):
            line = f"{line[:-1]}, '{NEVER}']"
        elif line.startswith("    propensity_outcome:") and "suitability" not in lines[-1]:
            lines.append(f"    suitability: ['{NEVER}']")
        lines.append(line)
    return {**files, "actions.yaml": "\n".join(lines) + "\n"}


def columns(crowd: list[people.Person]) -> dict[str, Any]:
    """Attributes as columns: numbers as arrays with a mask of the unset, text as lists."""
    return {
        name: column([person.attributes.get(name) for person in crowd], kind)
        for name, kind in people.TYPES.items()
    }


def column(values: list[people.Scalar | None], kind: str) -> object:
    """One column; moments in microseconds."""
    if kind in ("string", "bool"):
        return values
    unset = np.array([value is None for value in values])
    numbers = np.array(
        [value or 0 for value in values], np.float64 if kind == "double" else np.int64
    )
    return numbers * 1_000_000 if kind == "timestamp" else numbers, unset


def load_columns(engine: Engine, crowd: list[people.Person]) -> float:
    """Set everybody's attributes from columns; gives the seconds it took."""
    taken = 0.0
    for kind in (people.KNOWN, people.ANONYMOUS):
        chosen = [person for person in crowd if person.kind == kind]
        ids = [person.id for person in chosen]
        values = columns(chosen)
        start = time.perf_counter()
        engine.import_columns(kind, ids, values, people.BASE_S * 1000)
        taken += time.perf_counter() - start
    return taken


def tracked(crowd: Iterable[people.Person]) -> list[bytes]:
    """Everybody's events as TrackRequests, in the order in which they happened."""
    pairs = [(event.at_s, person, event) for person in crowd for event in person.events]
    pairs.sort(key=lambda pair: pair[0])
    return [encode.track(person, event) for _, person, event in pairs]


def later_events(crowd: list[people.Person], count: int) -> Iterator[tuple[int, people.Event]]:
    """More events, of anybody, of the last hour: the person's number and the event."""
    random = Random(people.SEED + 2)
    for i in range(count):
        number = int(random.random() * len(crowd))
        at_s = people.BASE_S - int(random.random() * HOUR_S)
        yield number, people.event(random, f"x-{i}", at_s)


def playbooks() -> dict[str, dict[str, str]]:
    """The playbook as it is, with a segment for each predicate, and variants to subtract.

    In "hollow" the segments are of two conditions; in "gated" nothing is ever proposed.
    """
    plain = playbook()
    hollow = "\n".join(hollow_segments_yaml()) + "\n"
    return {
        "plain": plain,
        "segments": playbook(segments=True),
        "hollow": {**plain, "segments.yaml": hollow},
        "gated": gated(plain),
    }
