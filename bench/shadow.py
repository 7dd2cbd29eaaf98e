"""What a shadow costs the active path: two servers, one with a draft beside its playbook.

    python -m bench.shadow [--pairs N] [--seconds S] [--json]

The playbook is that of shop-100, and the draft values an action otherwise; it shadows all
decisions, within its default bound of CPU.  Each pair drives both lanes in a closed loop, in
changing order.  Figures are medians over pairs of what is more for each call: of the lane thread's
CPU, and of all threads of the server.  What the shadow's own process takes, which gives way to
both, is told apart: it is bounded by shadow.core_percent_max.  Runs are short and many, since a
shared machine's speed changes by more than a shadow costs.  The limits are in bench/limits.json.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from bench.limits import say
from bench.log.cores import CORE_GENERATOR, CORE_SERVERS, require_two
from bench.log.serving import Server, serving
from bench.machine import machine
from bench.micro.shop_100 import playbook
from bench.telemetry.rate import Driven, driven, quartiles, requests, store
from nextbest.v1 import playbook_pb2, playbook_pb2_grpc

PAIRS, SECONDS, WARM_PAIRS = 40, 0.3, 5
CALL_S_MAX = 60.0
# Generated stubs have no types.
_PLAYBOOK: Any = playbook_pb2_grpc.PlaybookServiceStub


class Found(NamedTuple):
    """The runs of each pair, and what the shadow's process has spent on so many decisions."""

    ours: list[Driven]
    bare: list[Driven]
    shadow_s: float
    compared: int
    core_share: float


def draft() -> playbook_pb2.PublishPlaybookRequest:
    """The playbook with another value of its first action."""
    files = dict(playbook())
    actions = yaml.safe_load(files["actions.yaml"])
    next(iter(actions["actions"].values()))["value"] = 1
    files["actions.yaml"] = yaml.safe_dump(actions, sort_keys=False)
    return playbook_pb2.PublishPlaybookRequest(
        write_id="draft",
        files=[
            playbook_pb2.PlaybookFile(path=path, content=text.encode())
            for path, text in files.items()
        ],
    )


@contextlib.contextmanager
def server(folder: Path, name: str) -> Iterator[Server]:
    """A server whose lane has a core that its other threads keep off."""
    own = folder / name
    own.mkdir()
    arguments = ["--fast-lane-cpus", str(CORE_SERVERS), "--set", "overload.enabled=false"]
    with serving(own, *arguments, cpu=f"{CORE_SERVERS},{CORE_GENERATOR}") as made:
        store(made)
        yield made


def shadow_of(made: Server) -> playbook_pb2.GetShadowResponse:
    """What the shadow has found so far."""
    found: playbook_pb2.GetShadowResponse = _PLAYBOOK(made.channel).GetShadow(
        playbook_pb2.GetShadowRequest(), timeout=CALL_S_MAX
    )
    return found


def measure(folder: Path, pairs: int, seconds: float) -> Found:
    """Drive both in changing order; in the first pairs the shadow finds its share."""
    with server(folder, "shadowed") as ours, server(folder, "bare") as bare:
        start = playbook_pb2.StartShadowRequest(draft=draft())
        _PLAYBOOK(ours.channel).StartShadow(start, timeout=CALL_S_MAX)
        asked = requests(folder / "requests.jsonl")
        runs: dict[str, list[Driven]] = {"ours": [], "bare": []}
        before = shadow_of(ours)
        for number in range(pairs + WARM_PAIRS):
            if number == WARM_PAIRS:
                before = shadow_of(ours)
            order = [("ours", ours), ("bare", bare)]
            for name, each in order if number % 2 else order[::-1]:
                one = driven(each, asked, seconds)
                runs[name] += [one] if number >= WARM_PAIRS else []
        after = shadow_of(ours)
    if after.fault or after.compared == before.compared:
        raise SystemExit(f"the shadow compared nothing: {after.fault}")
    compared = after.compared - before.compared
    spent_s = after.cpu_s - before.cpu_s
    return Found(runs["ours"], runs["bare"], spent_s, compared, after.core_share)


def figures(found: Found) -> dict[str, float]:
    """The CPU that is more, in percent, and what stands behind it."""
    pairs = list(zip(found.ours, found.bare, strict=True))
    lane = [100 * (ours.lane_us / bare.lane_us - 1) for ours, bare in pairs]
    whole = [100 * (ours.server_us / bare.server_us - 1) for ours, bare in pairs]
    return {
        **quartiles("shadow_lane_more_percent", lane),
        **quartiles("shadow_server_more_percent", whole),
        "shadow_lane_us_with": median(one.lane_us for one in found.ours),
        "shadow_lane_us_without": median(one.lane_us for one in found.bare),
        "shadow_server_us_with": median(one.server_us for one in found.ours),
        "shadow_server_us_without": median(one.server_us for one in found.bare),
        "shadow_rate_with": median(one.rate for one in found.ours),
        "shadow_rate_without": median(one.rate for one in found.bare),
        "shadow_us_per_compared": 1e6 * found.shadow_s / found.compared,
        "shadow_compared": float(found.compared),
        "shadow_core_percent": 100 * found.core_share,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.shadow", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    require_two()
    told = machine()
    with tempfile.TemporaryDirectory() as folder:
        found = figures(measure(Path(folder), options.pairs, options.seconds))
    return say(told, found, "shadow_", options.json)


if __name__ == "__main__":
    sys.exit(main())
