"""The highest rate of the fast lane: all of telemetry on, beside a build without any, in turn.

The lane has a core, and the generator the other one, where the server's other threads, who make
and export the spans, and the receiver run too.  The generator stands for other hosts and comes
before them: spans that they cannot make in what it leaves are dropped, and counted.  Runs are short
and many, since a shared machine's speed changes by more than telemetry costs within a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from google.protobuf.json_format import MessageToDict
from prometheus_client.parser import text_string_to_metric_families

from bench.log.cores import CORE_GENERATOR, CORE_SERVERS, real_time, threads_s
from bench.log.serving import Server, serving
from bench.micro import encode, people
from nextbest.bench.result import result
from nextbest.bench.run import run
from nextbest.bench.settings import Settings
from nextbest.v1 import decision_pb2

from .agreement import pages_of
from .builds import ROOT, tree

SCRAPE_S = 5.0
RATIO = 0.01
MIX = "decide"
PEOPLE, REQUESTS = 100, 200
UPSERT = "/nextbest.v1.ProfileService/UpsertProfile"
TRACK = "/nextbest.v1.EventService/Track"
DECIDE = "/nextbest.v1.DecisionService/Decide"
WARMUP_S = 0.03
# What the lane is at for some 1 ms, less than is slow: a generator that is kept from its core for
# so long shows nowhere.
CONNECTIONS, STREAMS = 8, 16


class Driven(NamedTuple):
    """One run: calls a second, and microseconds of the lane's thread and of all for each."""

    rate: float
    lane_us: float
    server_us: float = 0.0
    calls: int = 0


class Found(NamedTuple):
    """The runs of each round, with and without, and what became of the spans."""

    ours: list[Driven]
    bare: list[Driven]
    scrapes: int
    received: int
    counted: dict[str, float]


def measure(builds: dict[str, Path], folder: Path, rounds: int, seconds: float) -> Found:
    """Drive both in changing order."""
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(_receiving())
        ours = stack.enter_context(_server(builds["with"], folder / "with", _exporting(receiver)))
        bare = stack.enter_context(_server(builds["without"], folder / "without", {}))
        asked = requests(folder / "requests.jsonl")
        for server in (ours, bare):
            store(server)
        if answer(ours) != answer(bare):
            raise SystemExit("the builds give different answers")
        scraper = stack.enter_context(Scraper(pages_of(folder / "with")))
        rates: dict[str, list[Driven]] = {"ours": [], "bare": []}
        for number in range(rounds + 1):
            order = [("ours", ours), ("bare", bare)]
            for name, server in order if number % 2 else order[::-1]:
                one = driven(server, asked, seconds)
                # The first round warms up.
                rates[name] += [one] if number else []
        counted = scraper.spans()
    if not scraper.scrapes or not counted["telemetry_spans_exported"]:
        raise SystemExit("nothing was scraped, or no span was received: make the run longer")
    return Found(rates["ours"], rates["bare"], scraper.scrapes, receiver.spans, counted)


def driven(server: Server, asked: Path, seconds: float, calls: int = 0) -> Driven:
    """One run, of at most so many calls unless it is 0; every one must be answered."""
    settings = Settings(
        to=(server.lane,),
        closed=True,
        connections=CONNECTIONS,
        streams=STREAMS,
        duration=seconds,
        calls=calls,
        warmup=WARMUP_S,
        probe=0,
        cpu=CORE_GENERATOR,
        mix=MIX,
        requests=asked,
    )
    before = threads_s(server.pid)
    with real_time():
        outcome = run(settings)
    after = threads_s(server.pid)
    found = result(outcome)
    # Of all threads the lane's has worked most.
    spent = [used - before.get(thread, 0.0) for thread, used in after.items()]
    if set(found["statusCodeDistribution"]) != {"OK"}:
        raise SystemExit(f"not all calls were answered: {found['errorDistribution']}")
    finished = outcome.generator.counts()["finished"]
    each = (max(spent) / finished * 1e6, sum(spent) / finished * 1e6)
    return Driven(found["rps"], *each, finished)


def requests(file: Path) -> Path:
    """Decisions for people who are stored, as the generator reads them."""
    chosen = [one for one in people.requests() if 0 <= one.person < PEOPLE][:REQUESTS]
    messages = [decision_pb2.DecideRequest.FromString(encode.decide(one)) for one in chosen]
    lines = [json.dumps(MessageToDict(one)) for one in messages]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def store(server: Server, count: int = PEOPLE) -> None:
    """Tell a server of so many people and what they did."""
    for number in range(count):
        person = people.person(number)
        _called(server, UPSERT, encode.upsert(number, person))
        for event in person.events:
            _called(server, TRACK, encode.track(person, event))


def answer(server: Server) -> bytes:
    """A decision without what each server draws for itself."""
    chosen = next(one for one in people.requests() if 0 <= one.person < PEOPLE)
    response = decision_pb2.DecideResponse.FromString(
        _called(server, DECIDE, encode.decide(chosen))
    )
    if not response.profile_known:
        raise SystemExit("nobody is stored")
    for name in ("decision_id", "position", "staleness_ms"):
        response.ClearField(name)
    return response.SerializeToString(deterministic=True)


def _called(server: Server, path: str, request: bytes) -> bytes:
    return bytes(server.channel.unary_unary(path)(request, timeout=10))


def figures(found: Found) -> dict[str, float]:
    """The rate that is lost, in percent, and what stands behind it."""
    pairs = list(zip(found.ours, found.bare, strict=True))
    lost = [100 * (1 - ours.rate / bare.rate) for ours, bare in pairs]
    more = [100 * (ours.lane_us / bare.lane_us - 1) for ours, bare in pairs]
    return {
        **quartiles("telemetry_rate_lost_percent", lost),
        **quartiles("telemetry_lane_more_percent", more),
        "telemetry_rate_with": median(one.rate for one in found.ours),
        "telemetry_rate_without": median(one.rate for one in found.bare),
        "telemetry_lane_us_with": median(one.lane_us for one in found.ours),
        "telemetry_lane_us_without": median(one.lane_us for one in found.bare),
        "telemetry_lane_us_more": median(ours.lane_us - bare.lane_us for ours, bare in pairs),
        "telemetry_scrapes": float(found.scrapes),
        "telemetry_spans_received": float(found.received),
        **found.counted,
    }


def quartiles(name: str, values: Sequence[float]) -> dict[str, float]:
    """The median, and between what half of the values lie."""
    # Of one value there are none.
    low, middle, high = quantiles(values if len(values) > 1 else [*values, *values], n=4)
    return {f"{name}_low": low, f"{name}_median": middle, f"{name}_high": high}


class Receiver:
    """A receiver that runs."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans = 0


@contextlib.contextmanager
def _receiving() -> Iterator[Receiver]:
    process = subprocess.Popen(
        ["taskset", "-c", str(CORE_GENERATOR), sys.executable, "-m", "bench.telemetry.receiver"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    made = Receiver(f"http://127.0.0.1:{process.stdout.readline().strip()}")
    try:
        yield made
    finally:
        told, _ = process.communicate("")
        made.spans = int(told or 0)


def _exporting(receiver: Receiver) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.address,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(RATIO),
    }


@contextlib.contextmanager
def _server(folder: Path, own: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """A server of a build, whose lane has a core that its other threads keep off."""
    own.mkdir()
    path = [tree(folder), str(ROOT)]
    program = (
        "-c",
        f"import sys; sys.path[:0] = {path!r}; from nextbest.server.command.main import run; run()",
        "serve",
    )
    # What it does at once is more than a caller would wait for.
    arguments = ["--fast-lane-cpus", str(CORE_SERVERS), "--set", "overload.enabled=false"]
    if environment:
        arguments += ["--set", "telemetry.address=127.0.0.1:0"]
    both = f"{CORE_SERVERS},{CORE_GENERATOR}"
    with _environment(environment), serving(own, *arguments, program=program, cpu=both) as made:
        yield made


@contextlib.contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """Children that start now have these variables."""
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


class Scraper:
    """Scrapes as Prometheus does, for as long as the `with` lasts."""

    def __init__(self, pages: str) -> None:
        self._pages = pages
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.scrapes = 0

    def __enter__(self) -> Scraper:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def spans(self) -> dict[str, float]:
        """What the server says of its spans: those that were taken, and those that were not."""
        text = self._page()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        return {
            f"telemetry_spans_{name}": sum(
                one.value for one in samples if one.name == f"nextbest_spans_{name}_total"
            )
            for name in ("exported", "dropped")
        }

    def _run(self) -> None:
        while not self._stopping.wait(SCRAPE_S):
            self._page()
            self.scrapes += 1

    def _page(self) -> str:
        with urllib.request.urlopen(f"{self._pages}/metrics") as page:
            return str(page.read().decode())
