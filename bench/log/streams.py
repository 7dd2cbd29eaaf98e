"""The log in Redis: Track at LOGGED beside Redis's own rate, and what REPLICATED adds."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from statistics import median

from . import bare, engines, hosts, pipeline, reading, serving
from .cores import scratch

Figures = dict[str, float]
# Of the bare runs: what a run of redis-benchmark takes at the rate that is to be expected.
CALLS_A_SECOND = 300_000
# The machine is fully used here: at APPLIED more waits than by default may, and for longer.
SETTINGS = ("log.answer_ms=2000", "log.waiting_max=1000000", "engine.dedupe_max=50000000")


def measure(options: argparse.Namespace) -> Figures:
    """Everything about Redis."""
    return {**rates(options), **replicated(options)}


def rates(options: argparse.Namespace) -> Figures:
    """Track at LOGGED over the fast lane, and Redis by itself, in turns."""
    queue = engines.queued(engines.events(options.events))
    body = queue.batches[0][: queue.bytes_each].hex()[: queue.bytes_each].encode()
    runs: dict[str, list[float]] = {"bare": [], "cpu": [], "pipelined": [], "ratio": []}
    ours: dict[str, list[serving.Run]] = {"applied": [], "logged": []}
    calls = int(options.seconds * CALLS_A_SECOND)
    shape = {"connections": options.connections, "streams": options.streams}
    with scratch(options) as folder, hosts.redis(folder) as alone, hosts.redis(folder) as redis:
        arguments = ("--log", redis.url, *settings(), *options.more)
        with serving.serving(folder, *arguments) as server:
            for _ in range(options.rounds):
                alone_run = bare.redis_benchmark(
                    alone, body, options.connections, options.streams, calls
                )
                runs["bare"].append(alone_run.rate)
                runs["cpu"].append(alone_run.cpu_us)
                runs["pipelined"].append(
                    bare.pipelined(alone, body, engines.BATCH_MUTATIONS, calls)
                )
                alone.ask("FLUSHALL")
                for ack, found in ours.items():
                    run = serving.generate(
                        server,
                        [serving.track(ack)],
                        [redis.pid],
                        closed=True,
                        duration=options.seconds,
                        **shape,
                    )
                    found.append(run)
                runs["ratio"].append(ours["logged"][-1].rate / alone_run.rate)
            acknowledged = sum(run.calls for found in ours.values() for run in found)
            server.settled()
        seen = asyncio.run(reading.held(reading.client(redis.url)))
        reading.require_events(seen.events, acknowledged, "Redis")
        in_process = _pipeline(redis, engines.events(options.events))
    return {
        "log_redis_bytes": float(len(body)),
        "log_redis_benchmark_per_s": median(runs["bare"]),
        "log_redis_benchmark_best_per_s": max(runs["bare"]),
        "log_redis_benchmark_cpu_us": median(runs["cpu"]),
        "log_redis_pipelined_per_s": median(runs["pipelined"]),
        "log_redis_ratio_median": median(runs["ratio"]),
        # Of the rounds that were disturbed least, and of what the servers' core had to do.
        "log_redis_ratio_best": max(run.rate for run in ours["logged"]) / max(runs["bare"]),
        "log_redis_ratio_cpu": median(runs["cpu"])
        / median(run.server_us + run.beside_us for run in ours["logged"]),
        "log_redis_ratio_min": min(runs["ratio"]),
        "log_redis_ratio_max": max(runs["ratio"]),
        "log_redis_mutations_an_entry": seen.events / seen.entries,
        **{key: value for ack, found in ours.items() for key, value in _lane(ack, found)},
        **in_process,
    }


def _lane(ack: str, runs: list[serving.Run]) -> Iterator[tuple[str, float]]:
    """The medians over the rounds of a level's runs."""
    yield f"log_redis_{ack}_per_s", median(run.rate for run in runs)
    yield f"log_redis_{ack}_best_per_s", max(run.rate for run in runs)
    yield f"log_redis_{ack}_us_p50", median(run.us(50) for run in runs)
    yield f"log_redis_{ack}_us_p99", median(run.us(99) for run in runs)
    yield f"log_redis_{ack}_lane_cpu_us", median(run.lane_us for run in runs)
    yield f"log_redis_{ack}_loop_cpu_us", median(run.loop_us for run in runs)
    yield f"log_redis_{ack}_server_cpu_us", median(run.server_us for run in runs)
    yield f"log_redis_{ack}_redis_cpu_us", median(run.beside_us for run in runs)


def _pipeline(redis: hosts.Redis, requests: list[bytes]) -> Figures:
    """The same without the lane: one thread does everything in turn."""
    redis.ask("FLUSHALL")
    took = asyncio.run(_piped(redis.url, requests))
    seen = asyncio.run(reading.held(reading.client(redis.url)))
    reading.require_events(seen.events, len(requests), "Redis, in process")
    whole = sum(took.values())
    each = {f"log_redis_engine_{step}_us": s / len(requests) * 1e6 for step, s in took.items()}
    return {"log_redis_engine_per_s": len(requests) / whole, **each}


async def _piped(url: str, requests: list[bytes]) -> dict[str, float]:
    log = reading.client(url)
    try:
        return (await pipeline.logged(log, requests))[1]
    finally:
        await log.close()


def replicated(options: argparse.Namespace) -> Figures:
    """What REPLICATED adds to the median of LOGGED, at a modest rate, with two replicas."""
    found: dict[str, list[serving.Run]] = {"logged": [], "replicated": []}
    more = settings("log.hosts_by_port=true", "log.trust_build=true")
    with scratch(options) as folder, hosts.sentinels(folder) as url:
        with serving.serving(folder, "--log", url, *more, *options.more) as server:
            if refused := server.status().replicated_refused:
                raise SystemExit(f"REPLICATED is refused: {refused}")
            for number in range(options.rounds):
                for ack in list(found)[:: 1 if number % 2 else -1]:
                    told = {"rate": options.rate, "duration": options.seconds, "connections": 4}
                    run = serving.generate(server, [serving.track(ack)], **told)
                    found[ack].append(run)
            server.settled()
        seen = asyncio.run(reading.held(reading.client(url)))
        calls = sum(run.calls for runs in found.values() for run in runs)
        reading.require_events(seen.events, calls, "replicated Redis")
    added = [
        (two.us(50) - one.us(50)) / 1e3
        for one, two in zip(found["logged"], found["replicated"], strict=True)
    ]
    figures = {"log_replicated_rate": options.rate, "log_replicated_added_ms": median(added)}
    for ack, runs in found.items():
        for at in (50, 99):
            name = f"log_replicated_{ack}_ms_p{at}"
            figures[name] = median(run.us(at) for run in runs) / 1e3
    return figures


def settings(*more: str) -> list[str]:
    """What the server is told besides where its log is."""
    return [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
