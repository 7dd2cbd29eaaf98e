"""Who is told of the calls that are worth a trace, and which those are."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nextbest.core import Engine
from nextbest.core.engine import KeptCall
from nextbest.core.errors import OverloadedError
from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.kept import KeptCalls, Sink
from nextbest.server.telemetry.trace.sampling import Sampling, sampling
from tests.server.telemetry.process import COMMAND, STOP_S

RESOURCE_EXHAUSTED, INTERNAL = 8, 13


def engine() -> Engine:
    made = Engine()
    made.telemetry.configure(bounds_s(), {}, ratio=1.0)
    return made


def called(engine: Engine, count: int) -> None:
    for _ in range(count):
        engine.begin_call("Decide").end()


def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_every_sink_is_told_of_every_call_once() -> None:
    counted = engine()
    one: list[KeptCall] = []
    other: list[KeptCall] = []
    kept = KeptCalls(counted.telemetry, {"one": one.extend, "other": other.extend})
    kept.start()
    called(counted, 500)
    until(lambda: len(other) == 500)
    called(counted, 500)
    until(lambda: len(other) == 1_000)
    kept.stop()
    assert len({call.random for call in one}) == 1_000
    assert one == other


def test_a_stop_tells_of_the_last() -> None:
    counted = engine()
    told: list[KeptCall] = []
    kept = KeptCalls(counted.telemetry, {"told": told.extend})
    kept.start()
    called(counted, 1_024)
    kept.stop()
    assert len(told) == 1_024
    assert counted.telemetry.dropped == 0


def test_a_sink_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fails(_calls: Sequence[KeptCall]) -> None:
        raise RuntimeError("no")

    counted = engine()
    told: list[KeptCall] = []
    sinks: dict[str, Sink] = {"bad": fails, "good": told.extend}
    kept = KeptCalls(counted.telemetry, sinks)
    kept.start()
    for number in range(1, 4):
        called(counted, 1)
        until(lambda wanted=number: len(told) == wanted)  # type: ignore[misc]
    kept.stop()
    assert kept.failures == {"bad": 3, "good": 0}
    # The first, the second, the fourth, and so on.
    assert sum("bad failed" in line for line in caplog.messages) == 2


def shed(engine: Engine, count: int, parent: str = "") -> None:
    for _ in range(count):
        call = engine.begin_call("Decide", parent.encode())
        call.end(RESOURCE_EXHAUSTED, error=OverloadedError(retry_ms=100))


def test_of_shed_calls_one_in_10_ms_is_kept_and_all_are_counted() -> None:
    counted = Engine()
    counted.telemetry.configure(bounds_s(), {}, ratio=0.0)
    began_s = time.monotonic()
    shed(counted, 1_000)
    time.sleep(0.011)
    shed(counted, 1_000)
    took_s = time.monotonic() - began_s
    kept = counted.telemetry.take()
    assert 2 <= len(kept) <= 1 + took_s / 0.01
    assert {(one.reasons, one.reason) for one in kept} == {(("error",), "OVERLOADED")}
    assert counted.telemetry.skipped == 2_000 - len(kept)
    assert counted.telemetry.dropped == 0
    assert sum(sum(one.buckets) for one in counted.telemetry.calls()) == 2_000


def test_other_failures_and_sampled_calls_are_all_kept() -> None:
    counted = Engine()
    counted.telemetry.configure(bounds_s(), {}, ratio=0.0)
    for _ in range(100):
        counted.begin_call("Decide").end(INTERNAL)
    shed(counted, 100, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert len(counted.telemetry.take()) == 200
    assert counted.telemetry.skipped == 0


@pytest.mark.parametrize(
    ("name", "argument", "wanted"),
    [
        ("", "", Sampling(1.0, True)),
        ("always_on", "0.5", Sampling(1.0, False)),
        ("always_off", "", Sampling(0.0, False)),
        ("traceidratio", "0.25", Sampling(0.25, False)),
        ("parentbased_always_on", "", Sampling(1.0, True)),
        ("parentbased_always_off", "", Sampling(0.0, True)),
        ("ParentBased_TraceIdRatio", " 1e-2 ", Sampling(0.01, True)),
        ("traceidratio", "", Sampling(1.0, False)),
    ],
)
def test_the_standard_sampler_is_read(name: str, argument: str, wanted: Sampling) -> None:
    environment = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert sampling(environment) == wanted._replace(given=bool(name))


@pytest.mark.parametrize("argument", ["a lot", "1.5", "-0.1", "nan"])
def test_a_ratio_that_is_none_is_refused(argument: str) -> None:
    environment = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument}
    with pytest.raises(ConfigError, match=r"OTEL_TRACES_SAMPLER_ARG: .*, allowed: a number"):
        sampling(environment)


def test_a_server_does_not_start_with_a_sampler_it_does_not_know(tmp_path: Path) -> None:
    command = ["env", "OTEL_TRACES_SAMPLER=jaeger_remote", *COMMAND, "serve"]
    done = subprocess.run(
        [*command, "-l", f"unix:{tmp_path}/main"],
        capture_output=True,
        text=True,
        check=False,
        timeout=STOP_S,
    )
    assert done.returncode == 2
    assert "OTEL_TRACES_SAMPLER: 'jaeger_remote', allowed: always_on" in done.stderr
