"""`nextbest serve` with people in it, for the run of bench.log.snapshots.

    python -m bench.log.filled PROFILES --playbook FOLDER --listen ADDRESS --fast-lane ADDRESS
                               --data FOLDER [--text-bytes N] [--set KEY=VALUE]...

Attributes are loaded as columns, which no log keeps; events go through the log.  Once all are in,
`filled` in the data folder says so.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path

from bench.micro import encode, people, subject
from nextbest.core import Engine
from nextbest.core.playbook.plan import Attribute, ValueType
from nextbest.server.clock import now_us
from nextbest.server.config import load
from nextbest.server.serve import run

FILLED = "filled"
# The made people; more are the same people under other numbers.
MADE = 100_000
WAITING_MAX = 5_000
PAUSE_S = 0.001
# Attributes that share the text that people are given besides.
TEXTS = 4


def crowd(profiles: int) -> Iterator[tuple[list[people.Person], list[list[bytes]]]]:
    """People and their TrackRequests, a hundred thousand at a time."""
    made = [people.person(number) for number in range(min(profiles, MADE))]
    tracks = [[encode.track(person, event) for event in person.events] for person in made]
    for first in range(0, profiles, MADE):
        count = min(MADE, profiles - first)
        if first == 0:
            yield made, tracks
            continue
        others, renamed = [], []
        for number in range(count):
            person = made[number]
            kind, id = people.person_id(first + number)
            if len(id) != len(person.id):
                raise SystemExit(f"{id}: not of the length of {person.id}")
            others.append(person._replace(kind=kind, id=id))
            was, now = person.id.encode(), id.encode()
            renamed.append([one.replace(was, now) for one in tracks[number]])
        yield others, renamed


def load_texts(engine: Engine, persons: list[people.Person], size: int) -> None:
    """Give everybody texts of their own, so many bytes together."""
    texts = [Attribute(f"text{number}", ValueType.STRING) for number in range(TEXTS)]
    numbers, _ = engine.store.extend(texts, [])
    for kind in (people.KNOWN, people.ANONYMOUS):
        ids = [person.id for person in persons if person.kind == kind]
        values = {
            number: [f"{id} {number} ".ljust(size // TEXTS, "x") for id in ids]
            for number in numbers
        }
        engine.store.import_columns(kind, ids, values, people.BASE_S * 1_000 << 16)


async def fill(engine: Engine, profiles: int, text_bytes: int, told: Path) -> None:
    """Everybody's attributes and events."""
    for persons, tracks in crowd(profiles):
        subject.load_columns(engine, persons)
        if text_bytes:
            load_texts(engine, persons, text_bytes)
        for number, events in enumerate(tracks):
            for event in events:
                engine.track(event, now_us())
            if number % 100 == 0:
                await _drained(engine)
    if engine.store.profiles != profiles:
        raise SystemExit(f"{engine.store.profiles} people, not {profiles}")
    told.touch()


async def _drained(engine: Engine) -> None:
    """Let the log keep up."""
    await asyncio.sleep(0)
    while engine.log_waiting(0) > WAITING_MAX:
        await asyncio.sleep(PAUSE_S)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("profiles", type=int)
    for name in ("--playbook", "--listen", "--fast-lane", "--data"):
        parser.add_argument(name, required=True)
    parser.add_argument("--text-bytes", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    told = parser.parse_args()
    flags: dict[str, str | list[str]] = {
        "listen.addresses": [told.listen],
        "lane.addresses": [told.fast_lane],
        "data.playbook": told.playbook,
        "data.folder": told.data,
    }
    for setting in told.set:
        key, _, value = setting.partition("=")
        flags[key] = value
    tasks = []

    def announce(_addresses: list[str], _lanes: list[str], engine: Engine) -> None:
        tasks.append(
            asyncio.ensure_future(
                fill(engine, told.profiles, told.text_bytes, Path(told.data, FILLED))
            )
        )

    run(load(flags=flags), announce)


if __name__ == "__main__":
    main()
