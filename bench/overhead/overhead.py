"""What nextbest adds to a bare grpc.aio servicer: server CPU for each call, in one run.

    python -m bench.overhead [--rounds N] [--calls N] [--clients N] [--streams N] [--json]

Two servers take turns at the same core, the generator has another: `nextbest serve` with the
shop-100 playbook, and an echo servicer that gives back an answer of the same size.  Each round
drives both, in changing order; the figure is the median over rounds of the ratio of their CPU
times.  Not shown: many people (one is asked about again and again, so that caches are warm),
TLS, other call types, and latency at a given rate (the generator waits for answers).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import grpc

from bench.machine import machine, percentiles
from bench.micro import encode, people
from bench.micro.shop_100 import SLOTS, playbook
from nextbest.v1 import decision_pb2

from .generator import FRAME_BYTES, PATH, Run, drive

ROOT = Path(__file__).resolve().parents[2]
START_S_MAX = 60
SERVE = "from nextbest.server.command.main import run; run()"
TRACK = "/nextbest.v1.EventService/Track"
UPSERT = "/nextbest.v1.ProfileService/UpsertProfile"
CORE_SERVER, CORE_GENERATOR = 0, 1


class Served(NamedTuple):
    """A server under test."""

    name: str
    port: int
    pid: int
    call: grpc.Channel


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(name: str, arguments: list[str], port: int) -> Iterator[Served]:
    """A server process on the servers' core, ready to be called, ended afterwards."""
    path = f"{ROOT / 'build/tree'}{os.pathsep}{ROOT}"
    environment = {**os.environ, "PYTHONPATH": path}
    command = ["taskset", "-c", str(CORE_SERVER), sys.executable, *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    try:
        grpc.channel_ready_future(channel).result(timeout=START_S_MAX)
        # taskset has become the interpreter: the id is still the server's.
        yield Served(name, port, process.pid, channel)
    finally:
        channel.close()
        process.terminate()
        process.wait(timeout=START_S_MAX)


def ask(server: Served, path: str, request: bytes) -> bytes:
    """One call with bytes."""
    method = server.call.unary_unary(path, None, None)
    return bytes(method(request, timeout=10))


def store_person(server: Served, number: int) -> None:
    """Tell the server all about one person."""
    person = people.person(number)
    ask(server, UPSERT, encode.upsert(number, person))
    for event in person.events:
        ask(server, TRACK, encode.track(person, event))


def lively_request() -> people.Request:
    """The first request for a person with a long history."""
    wanted = (r for r in people.requests() if r.person >= 0)
    return next(r for r in wanted if len(people.person(r.person).events) >= 9)


def checked_answer(server: Served, request: bytes) -> bytes:
    """The server's answer, which must fill the slots for a known person."""
    answer = ask(server, PATH, request)
    response = decision_pb2.DecideResponse.FromString(answer)
    slots = [len(placement.propositions) for placement in response.placements]
    if not response.profile_known or slots != [SLOTS] or len(response.scores) != 1:
        raise SystemExit(f"{server.name}: not the wanted decision:\n{response}")
    return answer


def without_id(answer: bytes) -> bytes:
    """An answer without what differs between calls."""
    response = decision_pb2.DecideResponse.FromString(answer)
    response.decision_id = ""
    response.staleness_ms = 0
    return response.SerializeToString(deterministic=True)


def one_run(server: Served, request: bytes, answer: bytes, options: argparse.Namespace) -> Run:
    """One run against one server; every answer must have the known size."""
    run = drive(
        server.port,
        server.pid,
        request,
        requests=options.calls,
        clients=options.clients,
        streams=options.streams,
        core=CORE_GENERATOR,
    )
    wanted = options.calls * (FRAME_BYTES + len(answer))
    if run.body_bytes != wanted:
        raise SystemExit(f"{server.name}: {run.body_bytes} bytes of answers, not {wanted}")
    if without_id(ask(server, PATH, request)) != without_id(answer):
        raise SystemExit(f"{server.name}: the answer has changed")
    return run


def compare(
    ours: Served, echo: Served, request: bytes, answer: bytes, options: argparse.Namespace
) -> list[tuple[Run, Run]]:
    """Rounds of (ours, echo) in changing order, after one that is not counted."""
    rounds = []
    for number in range(options.rounds + 1):
        order = (ours, echo) if number % 2 else (echo, ours)
        runs = {server.name: one_run(server, request, answer, options) for server in order}
        if number:
            rounds.append((runs[ours.name], runs[echo.name]))
    return rounds


def spread(values: list[float]) -> dict[str, float]:
    """The least, the median and the most."""
    return {"min": min(values), "median": median(values), "max": max(values)}


def figures(rounds: list[tuple[Run, Run]]) -> dict[str, float]:
    """The figures that limits.json may bound, and those behind them."""
    parts = {
        "overhead_ratio": [ours.cpu_us / echo.cpu_us for ours, echo in rounds],
        "overhead_ours_cpu_us": [ours.cpu_us for ours, _ in rounds],
        "overhead_echo_cpu_us": [echo.cpu_us for _, echo in rounds],
        "overhead_ours_rate": [ours.rate for ours, _ in rounds],
        "overhead_echo_rate": [echo.rate for _, echo in rounds],
    }
    found = {f"{n}_{k}": v for n, values in parts.items() for k, v in spread(values).items()}
    for name, index in (("ours", 0), ("echo", 1)):
        latencies = percentiles(us for pair in rounds for us in pair[index].latencies_us)
        found.update({f"overhead_{name}_latency_us_{k}": v for k, v in latencies.items()})
    return found


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Start both servers and compare them."""
    chosen = lively_request()
    request = encode.decide(chosen)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in playbook().items():
            Path(folder, name).write_text(text, encoding="utf-8")
        ports = free_port(), free_port()
        listen = ["--playbook", folder, "--listen", f"127.0.0.1:{ports[0]}"]
        with running("nextbest", ["-c", SERVE, "serve", *listen], ports[0]) as ours:
            store_person(ours, chosen.person)
            answer = checked_answer(ours, request)
            response = Path(folder, "response")
            response.write_bytes(answer)
            script = str(ROOT / "bench/overhead/echo.py")
            address = f"127.0.0.1:{ports[1]}"
            with running("echo", [script, address, str(response)], ports[1]) as echo:
                rounds = compare(ours, echo, request, answer, options)
    sizes = {"overhead_request_bytes": len(request), "overhead_answer_bytes": len(answer)}
    return {**sizes, **figures(rounds)}


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the command."""
    options = options_of()
    told = machine()
    found = measure(options)
    if options.json:
        sys.stdout.write(json.dumps({"machine": told, "figures": found}, indent=1) + "\n")
        return 0
    lines = [f"{name:<34} {text}" for name, text in told.items()]
    lines += [f"{name:<34} {value:,.3f}" for name, value in found.items()]
    lines += ["", (__doc__ or "").partition("\n\n")[2].partition("\n\n")[2].strip()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
