"""What a write costs with 10 and with 1,000 segments that triggers name, all of the same counters.

    python -m bench.micro.triggers [--pairs N] [--events N] [--json]

Each pair tracks the same events in two engines, in changing order, by CPU time of the thread; the
median of the pairs' ratios counts.  All segments of both playbooks read the same two counters,
which every event changes.

- `still`: no event comes to any segment's boundary.
- `same`: as many crossings in both; the boundaries of the other 990 lie where nobody comes.
- `near`: as many crossings in both; the other 990 have boundaries all over the range, ten of
  which each event passes, and a second condition that keeps everybody out.
- `all`: every segment is entered by everybody in the end, so that 1,000 have 100 times the
  crossings of 10.  Each is an event of its own: told without a limit.

Beside them, with 1,000 segments: Track without triggers and with, and Decide.  Not shown: the log,
the lane, many threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import yaml

from bench.limits import say
from bench.machine import machine, pin
from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import compile_playbook
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, profile_pb2

from .timing import quiet

CORE = 1
PAIRS = 11
EVENTS = 4_000
PEOPLE = 40
FEW, MANY = 10, 1_000
NOW_US = 1_800_000_000_000_000
AMOUNT = 50.0
Figures = dict[str, float]


def conditions(name: str, count: int, events: int) -> Iterator[str]:
    """So many segments; the first 10 have the same boundaries in each of the first three kinds."""
    # How far somebody comes in one run.
    buys = events // PEOPLE
    for number in range(count):
        own, share = number < FEW, (number + 0.5) / count
        if name == "still" or (name == "same" and not own):
            bought, more = 10 * buys + number, ""
        elif name == "near" and not own:
            bought, more = int(share * buys), " && profile.age > 200"
        else:
            share = share if name == "all" else (number + 0.5) / FEW
            bought, more = int(share * buys), ""
        spent = AMOUNT * bought + number / MANY
        plain = f"profile.buys > {bought} && profile.spend >= {spent}", f"profile.spend > {spent}"
        yield plain[number % 2] + more


def plan_of(texts: Sequence[str], triggers: bool) -> Plan:
    """The playbook with these segments."""
    counters = {
        "spend": {"sum": "purchase.amount", "window": "all"},
        "buys": {"count": "purchase", "window": "7d"},
    }
    if triggers:
        counters["entered"] = {"count": "segment_entered", "window": "all"}
    files = {
        "schema.yaml": {
            "attributes": {"age": "int"},
            "events": {"purchase": {"amount": "double"}},
            "counters": counters,
        },
        "segments.yaml": {"segments": {f"s{n:04d}": text for n, text in enumerate(texts)}},
        "actions.yaml": {"actions": {"one": {"eligibility": "segment.s0000"}, "two": {}}},
        "placements.yaml": {"placements": {"page": {"slots": 2}}},
    }
    if triggers:
        files["triggers.yaml"] = {"triggers": {"segments": "*"}}
    encoded = {name: yaml.safe_dump(part).encode() for name, part in files.items()}
    found = compile_playbook(encoded).plan
    if found is None:
        raise SystemExit("the playbook has faults")
    return found


def identity(number: int) -> common_pb2.Identity:
    """Somebody."""
    return common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=f"person-{number}")


class Subject:
    """An engine under one playbook, and what it is asked; each run is of new people."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine = Engine(profiles_max=1_000_000, dedupe_max=50_000_000)
        self.engine.publish(plan)

    def track(self, first: int, events: int) -> float:
        """Microseconds of an event, over so many."""
        requests = []
        for number in range(events):
            request = event_pb2.TrackRequest(
                event_id=f"e-{first}-{number}",
                identity=identity(first + number % PEOPLE),
                event="purchase",
            )
            request.occurred_at.FromMicroseconds(NOW_US + number * 1_000)
            request.properties["amount"].double_value = AMOUNT
            requests.append(request.SerializeToString())
        for number in range(PEOPLE):
            upsert = profile_pb2.UpsertProfileRequest(
                write_id=f"w-{first}-{number}", identity=identity(first + number)
            )
            upsert.attributes["age"].int_value = 40
            self.engine.upsert(upsert.SerializeToString(), NOW_US)
        return self.timed(self.engine.track, requests)

    def decide(self, first: int, decisions: int) -> float:
        """Microseconds of a decision, over so many."""
        request = decision_pb2.DecideRequest(identity=identity(first), placements=["page"])
        return self.timed(self.engine.decide, [request.SerializeToString()] * decisions)

    def timed(self, call: Callable[[bytes, int], bytes], requests: Sequence[bytes]) -> float:
        with quiet():
            start = time.thread_time_ns()
            for request in requests:
                call(request, NOW_US + 3_600_000_000)
            return (time.thread_time_ns() - start) / len(requests) / 1_000

    def check(self, first: int) -> None:
        """Whoever tells of entering must have entered: nobody leaves here."""
        if self.plan.triggers is None:
            return
        asked = profile_pb2.GetProfileRequest(identity=identity(first))
        answer = self.engine.profile(asked.SerializeToString(), NOW_US + 3_600_000_000)
        profile = profile_pb2.GetProfileResponse.FromString(answer).profile
        told = profile.counters["entered"].value.int_value
        if told != len(profile.segments):
            raise SystemExit(f"in {len(profile.segments)} segments, entered {told}")


def pairs(one: Subject, other: Subject, count: int, size: int, decide: bool) -> list[list[float]]:
    """Microseconds of either, in changing order; the first pair warms up."""
    found: list[list[float]] = [[], []]
    for number in range(count + 1):
        order = [(0, one), (1, other)]
        for place, subject in order if number % 2 else order[::-1]:
            first = number * PEOPLE
            taken = (subject.decide if decide else subject.track)(first, size)
            if not decide:
                subject.check(first)
            if number:
                found[place].append(taken)
    return found


def ratio(figures: Figures, name: str, found: list[list[float]]) -> None:
    """Keep the median of the pairs' ratios, second to first, and of both."""
    few, many = found
    figures[f"{name}_ratio"] = median(b / a for a, b in zip(few, many, strict=True))
    figures[f"{name}_us_first"] = median(few)
    figures[f"{name}_us_second"] = median(many)


def figures_of(count: int, events: int) -> Figures:
    """All that is measured."""
    figures: Figures = {}
    for name in ("still", "same", "near", "all"):
        subjects = [
            Subject(plan_of(list(conditions(name, size, events)), True)) for size in (FEW, MANY)
        ]
        ratio(figures, f"triggers_{name}", pairs(*subjects, count, events, False))
        for size, subject in zip((FEW, MANY), subjects, strict=True):
            told = subject.engine.telemetry.decisions()
            figures[f"triggers_{name}_crossings_{size}"] = told.crossings / (count + 1) / events
            if told.crossings_lost or told.crossings_cut:
                raise SystemExit("crossings were lost")
    texts = list(conditions("near", MANY, events))
    without, watched = (Subject(plan_of(texts, triggers)) for triggers in (False, True))
    ratio(figures, "triggers_track", pairs(without, watched, count, events, False))
    ratio(figures, "triggers_decide", pairs(without, watched, count, events, True))
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.triggers", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    pin(CORE)
    told = machine()
    found = figures_of(options.pairs, options.events)
    return say(told, found, "triggers_", options.json, digits=3)


if __name__ == "__main__":
    sys.exit(main())
