"""Lines of the log: what a collector parses, and what of an error it is not told."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from nextbest.client import Client
from nextbest.core.errors import InvalidRequestError, LogAwayError
from nextbest.server.config import load
from nextbest.server.error_text import stack
from nextbest.server.errors import ConfigError
from nextbest.server.telemetry import logs
from tests.server.telemetry.process import COMMAND, STOP_S, Server

EXAMPLE = Path(__file__).parents[3] / "server" / "examples" / "leads"
Told = Callable[[], str]
SECRET = "jane@example.com"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Told]:
    """What was written since it was last called, once a test has called `configure`."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level, threading.excepthook
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    monkeypatch.setattr(logs.faulthandler, "enable", lambda: None)
    yield lambda: capsys.readouterr().err
    logging.captureWarnings(False)
    root.handlers, root.level, threading.excepthook = kept


def lines(told: Told) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told().splitlines()]


def test_a_line_is_one_json_object(stderr: Told) -> None:
    logs.configure("json")
    logging.getLogger("nextbest.a").info("two\nlines of %s", "\u2603")
    [line] = lines(stderr)
    assert RFC_3339.fullmatch(line.pop("time"))
    assert line == {"level": "INFO", "logger": "nextbest.a", "message": "two\nlines of \u2603"}


def test_a_line_within_a_span_has_its_ids(stderr: Told) -> None:
    logs.configure("json")
    span = NonRecordingSpan(SpanContext(1 << 127, 0xAB, False, TraceFlags(1)))
    with use_span(span):
        logging.warning("within")
    logging.warning("without")
    within, without = lines(stderr)
    assert (within["trace_id"], within["span_id"]) == ("8" + "0" * 31, "0" * 14 + "ab")
    assert "trace_id" not in without


def test_the_least_level_is_kept_to(stderr: Told) -> None:
    logs.configure("json", "error")
    logging.warning("no")
    logging.error("yes")
    assert [line["message"] for line in lines(stderr)] == ["yes"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_error_is_told_without_what_it_quotes(stderr: Told, log_format: str) -> None:
    logs.configure(log_format)
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise InvalidRequestError("attributes.email", SECRET, "a number") from error
    except InvalidRequestError:
        logging.exception("failed")
    told = stderr()
    assert SECRET not in told
    assert "ValueError" in told
    assert "InvalidRequestError" in told
    assert "int(SECRET)" in told


def test_an_error_of_ours_is_told_whole(stderr: Told) -> None:
    logs.configure("json")
    logging.error("failed", exc_info=LogAwayError("redis: no route"))
    assert lines(stderr)[0]["exception"] == "LogAwayError: redis: no route"


def test_causes_are_bounded() -> None:
    error: Exception | None = None
    for _ in range(50):
        error, cause = ValueError(SECRET), error
        error.__cause__ = cause
    assert error is not None
    assert stack(error).count("ValueError") == 8


def test_a_line_that_cannot_be_written_tells_no_arguments(stderr: Told) -> None:
    logs.configure("json")
    logging.warning("%d", SECRET)
    [line] = lines(stderr)
    assert SECRET not in str(line)
    assert re.fullmatch(r"a line of \S+test_logs.py:\d+ cannot be written", line["message"])


def test_libraries_and_hooks_go_the_same_way(stderr: Told) -> None:
    logs.configure("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: int(SECRET))
    thread.start()
    thread.join()
    sys.excepthook(KeyError, KeyError(SECRET), None)
    warned, of_thread, of_process = lines(stderr)
    assert warned["logger"] == "py.warnings"
    assert of_thread["exception"].endswith("ValueError")
    assert of_process["exception"] == "KeyError"
    assert of_process["message"] == "an error ended the process"


async def test_the_loop_tells_no_arguments(stderr: Told) -> None:
    logs.configure("json")
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_error)
    loop.call_soon(int, SECRET)
    await asyncio.sleep(0)
    [line] = lines(stderr)
    assert SECRET not in str(line)
    assert line["exception"].endswith("ValueError")


def test_other_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="log_format: 'xml', allowed: console, json"):
        load(flags={"telemetry.log_format": "xml"})


def test_another_playbook_is_told(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Client(server.address) as client:
        hash_text = client.publish_playbook(EXAMPLE).playbook_hash
        client.activate_generation(1)
        told = server.printed()
    assert f" INFO generation 2 ({hash_text}) is active\n" in told
    assert re.search(r" INFO generation 1 \([0-9a-f]{32}\) is active\n", told)


def test_a_server_writes_json(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "-l", f"unix:{tmp_path}/main"]
    command += ["--set", "telemetry.log_format=json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        told = [server.stderr.readline()]
        while "listening on" not in told[-1]:
            assert told[-1], told
            told.append(server.stderr.readline())
        server.terminate()
        rest = server.communicate(timeout=STOP_S)[1]
    messages = [json.loads(line)["message"] for line in [*told, *rest.splitlines()]]
    assert messages[-1] == "stopped"
