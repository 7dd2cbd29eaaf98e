"""What bookkeeping costs a decision: records, caps and experiments, beside a server without them.

    python -m bench.bookkeeping [--rounds N] [--json]

One build, three servers: the playbook of shop-100 (plain); the same with two experiments that 40 of
its actions read, three caps over impressions, and every decision recorded to files (booked); and
with caps that reserve what is proposed for 60 s (reserving).  Each round drives their lanes in a
closed loop, in changing order; a figure is the median over rounds of the lane thread's CPU for each
call that is more than of the plain one.  Each round is two minutes later for its people, who are
asked twice in it: what was reserved before has expired, and no cap is reached.  People are exposed
before, so that nothing is written but records, and one event of three reservations a call.  The
propositions are compared, before and after.  The limits are those of bench/limits.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import yaml
from google.protobuf.json_format import MessageToDict

from bench.limits import say
from bench.log.cores import CORE_GENERATOR, CORE_SERVERS, require_two
from bench.log.serving import Server, serving
from bench.machine import machine
from bench.micro import encode, people
from bench.micro.predicates import HOUR_S
from bench.micro.shop_100 import playbook
from bench.telemetry.rate import DECIDE, Driven, driven, quartiles, store
from nextbest.v1 import decision_pb2

ROUNDS = 20
PEOPLE = 5_000
# Of a round: everybody is asked twice.
CALLS = 2 * PEOPLE
SECONDS_MAX = 10.0
# From one round to the next; longer than what is proposed stays reserved.
LATER_S = 120
EXPERIMENTS = {
    "experiments": {
        "price": {"variants": {"list": 0.5, "rebate": 0.5}},
        "layout": {"variants": ["wide", "narrow", "tall"]},
    }
}
CAPS = {
    "each": {"of": "action", "max": 3, "window": "7d"},
    "daily": {"max": 20, "window": "1d"},
    "welcome": {"of": {"group": "welcome"}, "max": 5, "window": "30d"},
}
# How long the caps of each server reserve; one has none, and keeps no books.
SERVERS = {"plain": "", "booked": "0s", "reserving": "60s"}
READING = 20  # actions that read each experiment


def files(reserve: str) -> dict[str, str]:
    """The playbook with experiments that change nobody's propositions, and with caps."""
    always = {"count": "impression", "reserve": reserve}
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
        "contact.yaml": {"caps": {name: always | cap for name, cap in CAPS.items()}},
    }
    return found | {name: yaml.safe_dump(part, sort_keys=False) for name, part in parts.items()}


@contextlib.contextmanager
def server(folder: Path, name: str) -> Iterator[Server]:
    """A server whose lane has a core that its other threads keep off."""
    own = folder / name
    own.mkdir()
    arguments = ["--fast-lane-cpus", str(CORE_SERVERS), "--set", "overload.enabled=false"]
    # What the people did is long ago.
    arguments += ["--set", "retention.anonymous_days=0"]
    if SERVERS[name]:
        arguments += ["--set", "records.share=1", "--set", f"records.folder={own}/records"]
        arguments += ["--set", "records.files_max=1"]
    given = files(SERVERS[name]) if SERVERS[name] else None
    cpu = f"{CORE_SERVERS},{CORE_GENERATOR}"
    with serving(own, *arguments, cpu=cpu, files=given) as made:
        store(made, PEOPLE)
        yield made


def asked_of(number: int) -> Iterator[decision_pb2.DecideRequest]:
    """What everybody is asked in a round."""
    now_s = people.BASE_S + HOUR_S + number * LATER_S
    for one, context in zip(range(PEOPLE), people.requests(PEOPLE), strict=True):
        kind, id = people.person_id(one)
        asked = context._replace(person=one, kind=kind, id=id, now_s=now_s)
        yield decision_pb2.DecideRequest.FromString(encode.decide(asked))


def requests(file: Path, number: int) -> Path:
    """The requests of a round, as the generator reads them."""
    lines = (json.dumps(MessageToDict(one)) for one in asked_of(number))
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def propositions(to: Server, number: int) -> list[list[str]]:
    """What everybody is shown in a round, which exposes them too."""
    found = []
    for one in asked_of(number):
        answer = to.channel.unary_unary(DECIDE)(one.SerializeToString(), timeout=10)
        placements = decision_pb2.DecideResponse.FromString(answer).placements
        found.append([shown.action for part in placements for shown in part.propositions])
    return found


def compare(servers: dict[str, Server], number: int) -> None:
    """All propose the same in a round."""
    plain, *others = (propositions(one, number) for one in servers.values())
    if any(one != plain for one in others):
        raise SystemExit("the servers propose different actions")


def measure(folder: Path, rounds: int) -> dict[str, list[Driven]]:
    """Drive all in changing order."""
    found: dict[str, list[Driven]] = {name: [] for name in SERVERS}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(server(folder, name)) for name in SERVERS}
        compare(servers, 0)
        for number in range(1, rounds + 2):
            asked = requests(folder / "requests.jsonl", number)
            names = list(servers)
            first = number % len(names)
            for name in names[first:] + names[:first]:
                one = driven(servers[name], asked, SECONDS_MAX, CALLS)
                # The first round warms up.
                found[name] += [one] if number > 1 else []
        compare(servers, rounds + 2)
    if not all(any((folder / name / "records").glob("*.records")) for name in list(SERVERS)[1:]):
        raise SystemExit("nothing was recorded")
    return found


def figures(found: dict[str, list[Driven]]) -> dict[str, float]:
    """The CPU that is more, in percent, and what stands behind it."""
    made: dict[str, float] = {}
    for name, start in (("booked", "bookkeeping"), ("reserving", "bookkeeping_reserving")):
        pairs = list(zip(found[name], found["plain"], strict=True))
        more = [100 * (booked.lane_us / plain.lane_us - 1) for booked, plain in pairs]
        made |= quartiles(f"{start}_lane_more_percent", more)
    for name, runs in found.items():
        made[f"bookkeeping_lane_us_{name}"] = median(one.lane_us for one in runs)
        made[f"bookkeeping_rate_{name}"] = median(one.rate for one in runs)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.bookkeeping", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    require_two()
    told = machine()
    with tempfile.TemporaryDirectory() as folder:
        found = figures(measure(Path(folder), options.rounds))
    return say(told, found, "bookkeeping_", options.json)


if __name__ == "__main__":
    sys.exit(main())
