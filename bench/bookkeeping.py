"""What bookkeeping costs a decision: records, caps and experiments, beside a server without them.

    python -m bench.bookkeeping [--rounds N] [--seconds S] [--json]

One build, two servers: the playbook of shop-100; and the same with two experiments that 40 of its
actions read, three caps over impressions, and every decision recorded to files.  The caps do not
reserve: a reservation is a write, of some 1,000 instructions for each proposition, and a hundred
people asked 100,000 times a second would have nothing left to be proposed.  Each round drives
both lanes in a closed loop, in changing order; the figure is the median over rounds of the lane
thread's CPU for each call that is more.  People are exposed before, so that nothing is written but
records.  The propositions are compared.  The limit is that of bench/limits.json.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import yaml

from bench.limits import say
from bench.log.cores import CORE_GENERATOR, CORE_SERVERS, require_two
from bench.log.serving import Server, serving
from bench.machine import machine
from bench.micro import encode, people
from bench.micro.shop_100 import playbook
from bench.telemetry.rate import DECIDE, PEOPLE, Driven, driven, quartiles, requests, store
from nextbest.v1 import decision_pb2

ROUNDS, SECONDS = 40, 0.3
EXPERIMENTS = {
    "experiments": {
        "price": {"variants": {"list": 0.5, "rebate": 0.5}},
        "layout": {"variants": ["wide", "narrow", "tall"]},
    }
}
CONTACT = {
    "caps": {
        "each": {"count": "impression", "of": "action", "max": 3, "window": "7d", "reserve": "0s"},
        "daily": {"count": "impression", "max": 20, "window": "1d", "reserve": "0s"},
        "welcome": {
            "count": "impression",
            "of": {"group": "welcome"},
            "max": 5,
            "window": "30d",
            "reserve": "0s",
        },
    }
}
READING = 20  # actions that read each experiment


def files() -> dict[str, str]:
    """The playbook with experiments that change nobody's propositions, and with caps."""
    found = playbook()
    schema = yaml.safe_load(found["schema.yaml"])
    about = dict.fromkeys(("action", "group"), "string")
    schema["events"]["impression"] = about
    actions = yaml.safe_load(found["actions.yaml"])
    for number, action in enumerate(actions["actions"].values()):
        name = ("price", "layout")[number % 2]
        if number < 2 * READING:
            given = action.get("suitability", [])
            gate = [given] if isinstance(given, str) else list(given)
            action["suitability"] = [*gate, f'experiment.{name} != ""']
    parts = {
        "schema.yaml": schema,
        "actions.yaml": actions,
        "experiments.yaml": EXPERIMENTS,
        "contact.yaml": CONTACT,
    }
    return found | {name: yaml.safe_dump(part, sort_keys=False) for name, part in parts.items()}


@contextlib.contextmanager
def server(folder: Path, name: str, booked: bool) -> Iterator[Server]:
    """A server whose lane has a core that its other threads keep off."""
    own = folder / name
    own.mkdir()
    arguments = ["--fast-lane-cpus", str(CORE_SERVERS), "--set", "overload.enabled=false"]
    if booked:
        arguments += ["--set", "records.share=1", "--set", f"records.folder={own}/records"]
        arguments += ["--set", "records.files_max=1"]
    given = files() if booked else None
    cpu = f"{CORE_SERVERS},{CORE_GENERATOR}"
    with serving(own, *arguments, cpu=cpu, files=given) as made:
        store(made)
        yield made


def propositions(to: Server) -> list[list[str]]:
    """What everybody asked for is shown, which exposes them too."""
    found = []
    for one in [each for each in people.requests() if 0 <= each.person < PEOPLE][:400]:
        answer = to.channel.unary_unary(DECIDE)(encode.decide(one), timeout=10)
        placements = decision_pb2.DecideResponse.FromString(answer).placements
        found.append([shown.action for part in placements for shown in part.propositions])
    return found


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, list[Driven]]:
    """Drive both in changing order."""
    with server(folder, "plain", False) as plain, server(folder, "booked", True) as booked:
        if propositions(plain) != propositions(booked):
            raise SystemExit("the servers propose different actions")
        asked = requests(folder / "requests.jsonl")
        found: dict[str, list[Driven]] = {"plain": [], "booked": []}
        for number in range(rounds + 1):
            order = [("plain", plain), ("booked", booked)]
            for name, each in order if number % 2 else order[::-1]:
                one = driven(each, asked, seconds)
                # The first round warms up.
                found[name] += [one] if number else []
    kept = sum(file.stat().st_size for file in (folder / "booked/records").glob("*.records"))
    if not kept:
        raise SystemExit("nothing was recorded")
    return found


def figures(found: dict[str, list[Driven]]) -> dict[str, float]:
    """The CPU that is more, in percent, and what stands behind it."""
    pairs = list(zip(found["booked"], found["plain"], strict=True))
    more = [100 * (booked.lane_us / plain.lane_us - 1) for booked, plain in pairs]
    return {
        **quartiles("bookkeeping_lane_more_percent", more),
        "bookkeeping_lane_us_with": median(one.lane_us for one in found["booked"]),
        "bookkeeping_lane_us_without": median(one.lane_us for one in found["plain"]),
        "bookkeeping_rate_with": median(one.rate for one in found["booked"]),
        "bookkeeping_rate_without": median(one.rate for one in found["plain"]),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.bookkeeping", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    require_two()
    told = machine()
    with tempfile.TemporaryDirectory() as folder:
        found = figures(measure(Path(folder), options.rounds, options.seconds))
    return say(told, found, "bookkeeping_", options.json)


if __name__ == "__main__":
    sys.exit(main())
