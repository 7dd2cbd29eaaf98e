"""Microseconds of the engine's calls, in process, and of its peers on the same predicates.

    python -m bench.micro [--profiles N] [--samples N] [--passes N] [--json]

Everything runs in one process on one core.  Not shown: the network, many threads, a store
larger than shop-100, cel-cpp without its Python binding, and ZEN without reading its context
from a Python dict.  Most of cel-cpp's time is that of a call, not of the predicate:
`cel_constant` is the program `true` as often, and the net ratio leaves that out.  The
predicates' times are differences: of the 60, between asking for 60 segments with a predicate
each and for 60 with two conditions between them; of the 300, between filling a placement whose
actions are all held back at their last gate and asking for nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random
from statistics import median
from typing import Any

from bench.machine import machine, percentiles, pin
from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan

from . import encode, people, subject
from .agreement import Judge, Sample, samples
from .peers import CelPeer, ZenPeer, zen_context
from .predicates import PREDICATES
from .timing import batches, each, quiet, timer_ns

CORE = 1
PUBLISHES = 20
LATER_EVENTS = 50_000
MISSED_SHOWN = 20

Figures = dict[str, float]


class Bench:
    """One run: the engine, its generations and the figures found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.timer = timer_ns()
        self.figures: Figures = {"timer_ns": self.timer}
        self.engine = Engine(profiles_max=max(1_000_000, 2 * options.profiles))
        self.plans: dict[str, Plan] = {}
        self.generations: dict[str, int] = {}
        self.later: defaultdict[int, list[people.Event]] = defaultdict(list)
        self.requests = list(people.requests(people.REQUESTS, options.profiles))

    def note(self, name: str, nanoseconds: list[float]) -> None:
        """Keep the percentiles of calls, in microseconds."""
        for part, value in percentiles(nanoseconds).items():
            self.figures[f"{name}_{part}"] = value if part == "count" else value / 1000

    def publish(self) -> None:
        """Compile and publish each playbook; the plain one several times."""
        files = subject.playbooks()
        compiles, publishes = [], []
        for name in [*files, *["plain"] * PUBLISHES]:
            start = time.perf_counter_ns()
            plan = subject.compiled(files[name])
            middle = time.perf_counter_ns()
            self.generations[name] = self.engine.publish(plan)
            if name == "plain":
                compiles.append(middle - start)
                publishes.append(time.perf_counter_ns() - middle)
            self.plans[name] = plan
        self.note("compile_us", [float(ns) for ns in compiles])
        self.note("publish_us", [float(ns) for ns in publishes])

    def load(self) -> None:
        """Columns to rows, then events; the first is timed as a whole, the second each."""
        crowd = [people.person(i) for i in range(self.options.profiles)]
        self.use("plain")
        with quiet():
            seconds = subject.load_columns(self.engine, crowd)
        self.figures["columns_profiles_per_s"] = len(crowd) / seconds
        events = subject.tracked(crowd)
        with quiet():
            self.note("track_us", each(self.track, events, self.timer))
        del events
        mutations = list(self.mutations(crowd))
        with quiet():
            self.note("apply_us", each(self.engine.apply, mutations, self.timer))
            self.note("apply_again_us", each(self.engine.apply, mutations, self.timer))

    def mutations(self, crowd: list[people.Person]) -> Iterator[bytes]:
        """Later events as the log holds them, noted for the agreement check."""
        later = subject.later_events(crowd, LATER_EVENTS)
        for i, (number, event) in enumerate(later):
            self.later[number].append(event)
            track = encode.track(crowd[number], event)
            yield encode.mutation(track, self.plans["plain"].hash, i)

    def track(self, request: bytes) -> bytes:
        """One event, at the end of the hour in which requests are made."""
        return self.engine.track(request, subject.NOW_US)

    def decide(self, request: bytes) -> bytes:
        """One decision; its moment stands in the request."""
        return self.engine.decide(request, subject.NOW_US)

    def use(self, name: str) -> None:
        """Activate one of the playbooks."""
        self.engine.activate(self.generations[name])

    def under(self, name: str) -> Callable[[bytes], bytes]:
        """Decide under one of the playbooks."""

        def decide(request: bytes) -> bytes:
            self.use(name)
            return self.decide(request)

        return decide

    def memory(self) -> None:
        """Bytes for each profile, as the store counts them."""
        memory = self.engine.memory()
        for name, value in memory.items():
            self.figures[f"memory_{name}"] = float(value)
        self.figures["row_bytes"] = memory["row_bytes"] / memory["profiles"]
        self.figures["older_buckets_bytes_median"] = float(memory["side_bytes_median"])

    def passes(self, name: str, encoded: list[bytes]) -> list[list[float]]:
        """The requests several times under one playbook, after one pass that warms up."""
        self.use(name)
        for request in encoded:
            self.decide(request)
        with quiet():
            return [each(self.decide, encoded, self.timer) for _ in range(self.options.passes)]

    def decisions(self) -> None:
        """Whole decisions, one by one and in batches."""
        encoded = [encode.decide(request) for request in self.requests]
        found = self.passes("plain", encoded)
        self.note("decide_us", [ns for one in found for ns in one])
        with quiet():
            self.note("decide_batched_us", batches(self.decide, encoded))
        sizes = [len(self.decide(request)) for request in encoded]
        self.figures["decide_request_bytes"] = median(map(len, encoded))
        self.figures["decide_answer_bytes"] = median(sizes)

    def predicates(self) -> None:
        """The predicates alone: what they add to a request that needs none."""
        nothing = [encode.decide(r, placed=False, scored=False) for r in self.requests]
        scored = [encode.decide(r, placed=False) for r in self.requests]
        placed = [encode.decide(r, scored=False) for r in self.requests]
        segments = [encode.segments(r) for r in self.requests]
        base = medians(self.passes("gated", nothing))
        self.note("decide_nothing_us", base)
        self.note("score_only_us", less(medians(self.passes("plain", scored)), base))
        self.note("predicates_300_us", less(medians(self.passes("gated", placed)), base))
        base = medians(self.passes("hollow", segments))
        self.note("predicates_60_us", less(medians(self.passes("segments", segments)), base))

    def peers(self, cel: CelPeer, zen: ZenPeer, sampled: list[Sample]) -> None:
        """The same predicates by the peers, in this process and on this core."""
        activations = [cel.activation(s.values, s.request) for s in sampled]
        contexts = [zen_context(s.values, s.request) for s in sampled]
        programs, constants = cel.evaluations(), cel.constants()

        def evaluate(activation: object) -> None:
            for program in programs:
                program(activation)

        def constant(activation: object) -> None:
            for program in constants:
                program(activation)

        def table(context: dict[str, object]) -> None:
            zen.engine.evaluate("actions", context)

        work: list[tuple[str, Callable[[Any], None], list[Any]]] = [
            ("cel", evaluate, activations),
            ("cel_constant", constant, activations),
            ("zen", table, contexts),
        ]
        for name, call, items in work:
            each(call, items, self.timer)
            with quiet():
                found = [each(call, items, self.timer) for _ in range(self.options.passes)]
            self.note(f"{name}_us", [ns for one in found for ns in one])
        ours = self.figures
        net_us = ours["cel_us_p50"] - ours["cel_constant_us_p50"]
        ours["predicates_cel_ratio"] = ours["cel_us_p50"] / ours["predicates_60_us_p50"]
        ours["predicates_cel_net_ratio"] = net_us / ours["predicates_60_us_p50"]
        ours["predicates_zen_ratio"] = ours["zen_us_p50"] / ours["predicates_300_us_p50"]

    def agree(self, cel: CelPeer, zen: ZenPeer, sampled: list[Sample]) -> None:
        """Count where anybody differs, and show some."""
        judge = Judge(self.under("segments"), self.under("plain"), cel, zen)
        missed = [text for s in sampled for text in (*judge.predicates(s), *judge.decision(s))]
        self.figures["agreement_checks"] = len(sampled) * (2 * len(PREDICATES) + 5)
        self.figures["disagreements"] = len(missed)
        sys.stderr.write("".join(f"{text}\n" for text in missed[:MISSED_SHOWN]))

    def sample(self) -> list[Sample]:
        """Some of the requests for people who are known."""
        known = [request for request in self.requests if request.person >= 0]
        chosen = Random(people.SEED).sample(known, self.options.samples)
        return samples(chosen, self.later)


def medians(passes: list[list[float]]) -> list[float]:
    """For each request the median over the passes."""
    return [median(times) for times in zip(*passes, strict=True)]


def less(values: list[float], base: list[float]) -> list[float]:
    """What is added to a base, request by request."""
    return [value - other for value, other in zip(values, base, strict=True)]


def measure(options: argparse.Namespace) -> Figures:
    """Everything, in one run."""
    bench = Bench(options)
    cel, zen = CelPeer(), ZenPeer()
    bench.publish()
    bench.load()
    sampled = bench.sample()
    bench.decisions()
    bench.predicates()
    bench.peers(cel, zen, sampled)
    bench.memory()
    bench.agree(cel, zen, sampled)
    return bench.figures


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profiles", type=int, default=people.PROFILES)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def shown(told: dict[str, str], figures: Figures) -> str:
    """The machine, a table of calls, the other figures and what they do not show."""
    lines = [f"{name:<28} {text}" for name, text in told.items()]
    lines += ["", f"{'microseconds a call':<28} {'p50':>10} {'p99':>10} {'p999':>10} {'calls':>9}"]
    tables = [name.removesuffix("_p50") for name in figures if name.endswith("_us_p50")]
    for name in tables:
        parts = [figures[f"{name}_{part}"] for part in ("p50", "p99", "p999")]
        columns = " ".join(f"{part:>10,.3f}" for part in parts)
        lines.append(f"{name:<28} {columns} {figures[f'{name}_count']:>9,.0f}")
    lines.append("")
    single = (name for name in figures if "_us_" not in name)
    lines += [f"{name:<28} {figures[name]:>14,.2f}" for name in single]
    lines += ["", (__doc__ or "").split("\n\n", 2)[2].strip()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the command; 1 when anybody disagrees."""
    options = options_of()
    told = machine()
    told["pinned"] = f"core {CORE}" if pin(CORE) else "no: one core only"
    figures = measure(options)
    if options.json:
        sys.stdout.write(json.dumps({"machine": told, "figures": figures}, indent=1) + "\n")
    else:
        sys.stdout.write(shown(told, figures))
    return 1 if figures["disagreements"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
