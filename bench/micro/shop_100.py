"""Writes the shop-100 playbook, its profiles and its requests to a folder.

    python -m bench.micro.shop_100 [--to build/shop-100] [--profiles N] [--requests N]

The playbook is in the folder playbook, since all files of a playbook's folder are read as its own.
profiles.jsonl has a line for each profile: {"profile": UpsertProfileRequest, "events":
[TrackRequest, ...]}; requests.jsonl has a DecideRequest on each line; all as protobuf JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from . import people
from .predicates import PREDICATES

ACTIONS = 100
GROUPS = ("welcome", "cross_sell", "win_back", "loyalty", "clearance")
SLOTS = 3
KINDS = {people.KNOWN: "IDENTITY_KIND_KNOWN", people.ANONYMOUS: "IDENTITY_KIND_ANONYMOUS"}
VALUE_KEYS = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
# How the three predicates of an action are spread over its three gates.
GATES = ((1, 1, 1), (1, 1, 1), (2, 1, 0), (1, 0, 2), (0, 1, 2), (1, 1, 1), (0, 3, 0))
GATE_NAMES = ("eligibility", "applicability", "suitability")


def action_predicates() -> list[tuple[int, int, int]]:
    """Three predicates of different fields for each action; each predicate is used five times."""
    random = Random(people.SEED)
    while True:
        deck = [i for i in range(len(PREDICATES)) for _ in range(5)]
        random.shuffle(deck)
        triples = dealt(deck)
        if triples:
            return triples


def dealt(deck: list[int]) -> list[tuple[int, int, int]]:
    """Triples from the deck's end; none when the cards left do not fit together."""
    triples = []
    while deck:
        triple: list[int] = []
        for place in reversed(range(len(deck))):
            if PREDICATES[deck[place]].field not in {PREDICATES[t].field for t in triple}:
                triple.append(deck.pop(place))
                if len(triple) == 3:
                    break
        if len(triple) < 3:
            return []
        triples.append((triple[0], triple[1], triple[2]))
    return triples


def quoted(text: str) -> str:
    """A YAML scalar; the texts hold no apostrophe."""
    return f"'{text}'"


def schema_yaml() -> Iterator[str]:
    """The schema: 20 attributes, 4 events, 10 counters, 3 fields of context."""
    yield "attributes:"
    yield from (f"  {name}: {type}" for name, type in people.TYPES.items())
    yield "events:"
    for name, properties in people.EVENTS.items():
        fields = ", ".join(f"{field}: {type}" for field, type in properties.items())
        yield f"  {name}: {{{fields}}}"
    yield "counters:"
    for name, counter in people.COUNTERS.items():
        yield f"  {name}: {{{counter_yaml(counter)}}}"
    fields = ", ".join(f"{field}: {type}" for field, type in people.CONTEXT.items())
    yield f"context: {{{fields}}}"


def counter_yaml(counter: people.Counter) -> str:
    """A counter's definition."""
    what = f"sum: {counter.event}.{counter.summed}" if counter.summed else f"count: {counter.event}"
    if not counter.window_s:
        return f"{what}, window: all"
    return f"{what}, window: {span(counter.window_s)}, resolution: {span(counter.resolution_s)}"


def span(seconds: int) -> str:
    """A span of time in the largest unit that divides it."""
    unit, name = next((u, n) for u, n in ((86400, "d"), (3600, "h"), (60, "m")) if seconds % u == 0)
    return f"{seconds // unit}{name}"


def scores_yaml() -> Iterator[str]:
    """A scorecard of 20 rules: every third predicate, with points of both signs."""
    yield "scores:"
    yield "  intent:"
    yield "    min: 0"
    yield "    max: 100"
    yield "    rules:"
    for number, predicate in enumerate(PREDICATES[::3]):
        points = (5, 10, -4, 8, 15, -6)[number % 6]
        yield f"      - {{when: {quoted(predicate.cel)}, points: {points}, reason: r{number:02d}}}"


def actions_yaml() -> Iterator[str]:
    """A hundred actions, each with three predicates, four factors and a treatment."""
    random = Random(people.SEED + 1)
    yield "actions:"
    for number, triple in enumerate(action_predicates()):
        name = action_name(number)
        yield f"  {name}:"
        yield f"    group: {GROUPS[number % len(GROUPS)]}"
        yield from gates_yaml(number, triple)
        yield f"    propensity_outcome: {random.randrange(10, 200) / 1000}"
        yield f"    value: {random.randrange(500, 12_000) / 100}"
        yield f"    context_weight: {random.randrange(80, 120) / 100}"
        yield f"    lever: {random.choice((0.5, 1.0, 1.0, 2.0))}"
        yield "    treatments:"
        yield "      - name: banner"
        yield "        channels: [web]"
        yield f'        content: {{title: "Offer {number}", image: "/img/{name}.webp"}}'


def action_name(number: int) -> str:
    """The name of an action."""
    return f"offer_{number:03d}"


def gates_yaml(number: int, triple: tuple[int, int, int]) -> Iterator[str]:
    """The conditions of one action, spread over its gates."""
    start = 0
    for gate, count in zip(GATE_NAMES, GATES[number % len(GATES)], strict=True):
        texts = ", ".join(quoted(PREDICATES[i].cel) for i in triple[start : start + count])
        start += count
        if texts:
            yield f"    {gate}: [{texts}]"


def placements_yaml() -> Iterator[str]:
    """One placement with three slots and a formula that reads the score."""
    yield "placements:"
    yield "  home:"
    yield f"    slots: {SLOTS}"
    yield "    channel: web"
    yield "    arbitration: >-"
    yield "      propensity_outcome * context_weight * value * lever"
    yield "      * (1.0 + 0.01 * double(score.intent))"


def segments_yaml() -> Iterator[str]:
    """A segment for each predicate, so that a request can ask which of them hold."""
    yield "segments:"
    for number, predicate in enumerate(PREDICATES):
        yield f"  p{number:02d}: {quoted(predicate.cel)}"


def hollow_segments_yaml() -> Iterator[str]:
    """As many segments, half of them true, over two conditions: what naming them costs."""
    yield "segments:"
    for number in range(len(PREDICATES)):
        yield f"  p{number:02d}: context.hour {'<' if number % 2 else '>'} 99"


def playbook(segments: bool = False) -> dict[str, str]:
    """The files of the playbook by name."""
    files = {
        "schema.yaml": schema_yaml(),
        "scores.yaml": scores_yaml(),
        "actions.yaml": actions_yaml(),
        "placements.yaml": placements_yaml(),
    }
    if segments:
        files["segments.yaml"] = segments_yaml()
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()}


def moment(seconds: int) -> str:
    """A moment as protobuf JSON."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def value_json(value: people.Scalar) -> dict[str, object]:
    """A Value; 64-bit numbers are strings in protobuf JSON."""
    return {VALUE_KEYS[type(value)]: str(value) if type(value) is int else value}


def attribute_json(name: str, value: people.Scalar) -> dict[str, object]:
    """An attribute's Value."""
    if people.TYPES[name] == "timestamp":
        return {"timestampValue": moment(int(value))}
    return value_json(value)


def profile_json(number: int, person: people.Person) -> dict[str, object]:
    """One line of profiles.jsonl."""
    identity = {"kind": KINDS[person.kind], "id": person.id}
    profile = {
        "writeId": f"w-{number}",
        "identity": identity,
        "attributes": {n: attribute_json(n, v) for n, v in person.attributes.items()},
        "occurredAt": moment(people.BASE_S),
    }
    events = [
        {
            "eventId": event.id,
            "identity": identity,
            "event": event.event,
            "occurredAt": moment(event.at_s),
            "properties": {n: value_json(v) for n, v in event.properties.items()},
        }
        for event in person.events
    ]
    return {"profile": profile, "events": events}


def request_json(request: people.Request) -> dict[str, object]:
    """One line of requests.jsonl; without a decision id, so that it can be repeated."""
    return {
        "identity": {"kind": KINDS[request.kind], "id": request.id},
        "placements": ["home"],
        "scores": ["intent"],
        "context": {n: value_json(v) for n, v in request.context.items()},
        "now": moment(request.now_s),
        "seed": str(request.seed),
    }


def write_lines(path: Path, objects: Iterable[dict[str, object]]) -> None:
    """Write one JSON object a line."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    with path.open("w", encoding="utf-8") as file:
        file.writelines(encode(item) + "\n" for item in objects)


def write(folder: Path, profiles: int, requests: int) -> None:
    """Write everything."""
    inside = folder / "playbook"
    inside.mkdir(parents=True, exist_ok=True)
    for name, text in playbook().items():
        (inside / name).write_text(text, encoding="utf-8")
    write_lines(
        folder / "profiles.jsonl", (profile_json(i, people.person(i)) for i in range(profiles))
    )
    write_lines(folder / "requests.jsonl", map(request_json, people.requests(requests, profiles)))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Write the shop-100 playbook and its data.")
    parser.add_argument("--to", type=Path, default=Path("build/shop-100"))
    parser.add_argument("--profiles", type=int, default=people.PROFILES)
    parser.add_argument("--requests", type=int, default=people.REQUESTS)
    options = parser.parse_args()
    started = time.perf_counter()
    write(options.to, options.profiles, options.requests)
    seconds = time.perf_counter() - started
    sys.stdout.write(f"{options.to}: {options.profiles} profiles in {seconds:.1f} s\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
