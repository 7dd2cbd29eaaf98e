"""The rounds: every peer in turn, then again, so that what the machine does meets all alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from nextbest.bench.result import Result, merged
from nextbest.bench.settings import Settings
from nextbest.bench.workload import Body, Part, framed, workload

from .drive import Load, load_of, one_at_a_time, paced, saturated, summary
from .rule import field as wire_field
from .servers import Peer

BATCH = 100
BATCH_PATH = "/nextbest.v1.DecisionService/DecideBatch"
TRACK_PATH = "/nextbest.v1.EventService/Track"
# A rate is held when p99 stays under this and no call waits for a free stream.
HELD_P99_US = 20_000
HELD_SHARES = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
Say = Callable[[str], None]


class Case(NamedTuple):
    """A server at a rate of its own in an open loop."""

    name: str
    peer: Peer
    rate: float
    rounds: int


@dataclass
class Found:
    """Summaries of runs by measurement and name, and the latencies of the open loops."""

    runs: dict[str, dict[str, list[dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    buckets: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    wanted: dict[str, float] = field(default_factory=dict)

    def median(self, what: str, name: str, figure: str) -> float | None:
        """The median over the runs; none when there were none."""
        values = [one[figure] for one in self.runs[what][name]] if name in self.runs[what] else []
        return median(values) if values else None

    def note(self, what: str, name: str, result: Result) -> dict[str, Any]:
        """Keep a run."""
        told = summary(result)
        self.runs[what][name].append(told)
        return told


def batches(peer: Peer) -> Load:
    """The same requests, a hundred to a call."""
    groups = (peer.bodies[i : i + BATCH] for i in range(0, len(peer.bodies), BATCH))
    messages = (b"".join(wire_field(1, one) for one in group) for group in groups)
    return Load(BATCH_PATH, [Part("batch", 1, [Body(0, framed(m), ()) for m in messages])], BATCH)


def events(profiles: int) -> Load:
    """Events with fresh ids about anybody."""
    made = workload(Settings(mix="track", profiles=profiles))
    bodies = [Body(0, body.data, body.patches) for body in made[0].bodies]
    return Load(TRACK_PATH, [Part("track", 1, bodies)])


def closed_rounds(
    found: Found, peers: Sequence[Peer], rounds: int, seconds: float, say: Say
) -> None:
    """The most that each can do, and one call at a time."""
    loads = {peer.key: load_of(peer) for peer in peers}
    for number in range(rounds):
        for peer in peers[:: 1 if number % 2 else -1]:
            most = found.note("closed", peer.key, saturated(peer, loads[peer.key], seconds))
            single = found.note("single", peer.key, one_at_a_time(peer, loads[peer.key], seconds))
            say(
                f"round {number + 1}  {peer.name:<28} {most['rate']:>10,.0f}/s  "
                f"{most['cpu_us']:>7.2f} us CPU  one at a time {single['p50_us']:>7.1f} us"
            )


def other_calls(
    found: Found, lane: Peer, profiles: int, rounds: int, seconds: float, say: Say
) -> None:
    """DecideBatch and Track on the fast lane; rates are of decisions and events."""
    for name, load in {"batch": batches(lane), "track": events(profiles)}.items():
        for _ in range(rounds):
            told = found.note(name, lane.key, saturated(lane, load, seconds))
            told["each_rate"] = told["rate"] * load.each
        rates = [one["each_rate"] for one in found.runs[name][lane.key]]
        say(f"{name}: {median(rates):,.0f}/s")


def held(peer: Peer, most: float, seconds: float, say: Say) -> float:
    """The highest share of its own maximum that a server holds in an open loop; 0: none."""
    load = load_of(peer)
    for share in HELD_SHARES:
        told = summary(paced(peer, load, share * most, seconds))
        holds = told["valid"] and told["p99_us"] < HELD_P99_US
        say(f"{peer.name} at {share * most:,.0f}/s: p99 {told['p99_us']:,.0f} us, {holds=}")
        if holds:
            return share * most
    return 0.0


def cases_of(
    found: Found, peers: Sequence[Peer], rounds: int, seconds: float, say: Say
) -> list[Case]:
    """What the open loop runs: ours and the echo in every round, each other peer in one."""
    known = {peer.key: peer for peer in peers}
    half = {key: (found.median("closed", key, "rate") or 0.0) / 2 for key in known}
    cases = []
    if "lane" in known:
        cases.append(Case("lane", known["lane"], half["lane"], rounds))
    if "echo" in known:
        cases.append(Case("echo", known["echo"], half["echo"], rounds))
    if "lane" in known and "echo" in known:
        cases.append(Case("lane at the echo's", known["lane"], half["echo"], rounds))
    if "aio" in known:
        rate = held(known["aio"], 2 * half["aio"], min(seconds, 5.0), say)
        name = "aio at the most it holds" if rate else "aio at half, not held"
        cases.append(Case(name, known["aio"], rate or half["aio"], 1))
    rest = (peer for peer in peers if peer.key not in ("lane", "echo", "aio"))
    return cases + [Case(peer.key, peer, half[peer.key], 1) for peer in rest]


def open_rounds(found: Found, cases: Sequence[Case], seconds: float, say: Say) -> None:
    """Latency at half of the maximum, from when each call was due."""
    loads = {case.peer.key: load_of(case.peer) for case in cases}
    for number in range(max((case.rounds for case in cases), default=0)):
        for case in cases:
            if number >= case.rounds:
                continue
            result = paced(case.peer, loads[case.peer.key], case.rate, seconds)
            told = found.note("open", case.name, result)
            found.wanted[case.name] = case.rate
            seen = found.buckets.get(case.name, [])
            found.buckets[case.name] = merged([seen, result["buckets"]])
            say(
                f"round {number + 1}  {case.name:<24} {case.rate:>9,.0f}/s  "
                f"p50 {told['p50_us']:>7.1f}  p99 {told['p99_us']:>8.1f}  "
                f"p99.9 {told['p999_us']:>8.1f} us  lost {told['lost_share']:.2%}"
                f"{'' if told['valid'] else '  INVALID'}"
            )
