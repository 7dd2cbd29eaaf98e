"""Values of attributes tagged `pii` are in nothing that a server tells of itself: the canary goes
through every call, error and crash, and is looked for in lines, spans, events, metrics, pages and
statuses.
"""

from __future__ import annotations

import base64
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from nextbest.core import lane_available
from nextbest.v1 import profile_pb2
from tests.server.telemetry import canary
from tests.server.telemetry.canary import NUMBER, TEXT, search
from tests.server.telemetry.otlp import Receiver
from tests.server.telemetry.process import COMMAND, Server

SETTINGS = ("log_format=json", "log_level=debug")
GET = "ProfileService/GetProfile"
UPSERT = "ProfileService/UpsertProfile"
CALL_S, READ_S = 20, 2
METADATA = (
    ("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01"),
    ("baggage", f"email={TEXT}"),
    ("x-email", TEXT),
    ("x-email-bin", TEXT.encode()),
    ("authorization", f"Bearer {TEXT}"),
)
# What a server does with a condition is made to fail, with an error that quotes it.
FAULTY = """
import asyncio, sys, threading
from nextbest.server.publisher import Publisher
async def question(self, condition):
    threading.Thread(target=lambda: int(condition)).start()
    asyncio.get_running_loop().call_soon(int, condition)
    raise ValueError(f"no such thing: {condition}") from KeyError(condition)
Publisher.question = question
from nextbest.server.command.main import run
run()
"""


def started(folder: Path, *settings: str, **more: Any) -> Server:
    keys = [f"telemetry.{one}" for one in SETTINGS] + [f"data.folder={folder}/data", *settings]
    sets = [part for key in keys for part in ("--set", key)]
    return Server(folder, *sets, playbook=canary.PLAYBOOK, **more)


class Caller:
    """Makes calls, and asserts that nothing told of them holds the canary."""

    def __init__(self, address: str) -> None:
        options = [("grpc.primary_user_agent", TEXT)]
        self._channel = grpc.insecure_channel(address, options)
        self.statuses: list[grpc.StatusCode] = []

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_error: object) -> None:
        self._channel.close()

    def call(self, name: str, method: MethodDescriptor, request: bytes) -> list[bytes]:
        """The answers to one call, of which the last may be an error's."""
        answers: list[bytes] = []
        try:
            for answer in self._answers(
                f"/{method.full_name[: -len(method.name) - 1]}", method, request
            ):
                answers.append(answer)
        except grpc.RpcError as error:
            self._check(name, error)
        return answers

    def _answers(self, service: str, method: MethodDescriptor, request: bytes) -> Iterator[bytes]:
        path = f"{service}/{method.name}"
        sent: Any = iter([request]) if method.client_streaming else request
        kind = ("unary", "stream")
        arity = f"{kind[method.client_streaming]}_{kind[method.server_streaming]}"
        # A position that does not come is waited for until then.
        timeout_s = READ_S if method.name.startswith(("Decide", "Get")) else CALL_S
        answer = getattr(self._channel, arity)(path)(sent, timeout=timeout_s, metadata=METADATA)
        yield from answer if method.server_streaming else [answer]

    def unknown(self, path: str) -> None:
        """A call of a path that there is not."""
        with pytest.raises(grpc.RpcError) as caught:
            self._channel.unary_unary(path)(TEXT.encode(), timeout=CALL_S, metadata=METADATA)
        self._check(path, caught.value)

    def _check(self, name: str, error: Any) -> None:
        self.statuses.append(error.code())
        told = [
            error.details() or "",
            *(str(value) for _, value in error.trailing_metadata() or ()),
        ]
        told += [v for _, v in error.trailing_metadata() or () if isinstance(v, bytes)]
        for text in told:
            assert not search(text), (name, error.code(), search(text))


def answered(name: str, method: MethodDescriptor, answers: list[bytes]) -> None:
    """Assert that an answer which is not about a person holds nothing of one."""
    if name in canary.ANSWERS_WITH_DATA:
        return
    kind = GetMessageClass(method.output_type)
    for answer in answers:
        found = search(canary.without_echoes(kind.FromString(answer)).SerializeToString())
        assert not found, (name, found)


def page(url: str, **headers: str) -> str:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as got:
            return str(got.read().decode()) + str(got.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode() + str(error.headers)


def pages(http: str) -> Iterator[str]:
    yield page(f"{http}/metrics")
    yield page(f"{http}/metrics", Accept="application/openmetrics-text; version=1.0.0")
    yield page(f"{http}/readyz?verbose")
    yield page(f"{http}/readyz?{TEXT}")
    yield page(f"{http}/livez")
    yield page(f"{http}/{TEXT}")


def exported(receiver: Receiver) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver.address}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
        "OTEL_BLRP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }


def through(address: str, only: set[str] | None = None, step: int = 1) -> int:
    """Send every variant of every request, or each `step`th; gives how many calls were errors."""
    with Caller(address) as caller:
        for name, method in canary.calls():
            if only is not None and name not in only:
                continue
            # What an erasure took is there again.
            caller.call(UPSERT, _method(UPSERT), canary.upsert().SerializeToString())
            for request in islice(canary.variants(name), None, None, step):
                answered(name, method, caller.call(name, method, request))
        for path in (f"/{TEXT}", f"/nextbest.v1.DecisionService/{TEXT}", f"/{TEXT}/Decide"):
            caller.unknown(path)
        return len(caller.statuses)


def _method(name: str) -> MethodDescriptor:
    return dict(canary.calls())[name]


def held(address: str) -> bool:
    """Whether the server has the canary at all."""
    with Caller(address) as caller:
        request = profile_pb2.GetProfileRequest(identity=canary.identity()).SerializeToString()
        end_s = time.monotonic() + CALL_S
        # A log that was just started anew is followed soon.
        while not (answers := caller.call(GET, _method(GET), request)):
            assert time.monotonic() < end_s, caller.statuses
            time.sleep(0.1)
    return bool(search(answers[0]))


@pytest.mark.parametrize(
    "told",
    [
        f"x{TEXT}x",
        TEXT.upper(),
        TEXT[:12],
        base64.b64encode(b"a" + TEXT.encode()).decode(),
        base64.urlsafe_b64encode(b"abcd" + TEXT.encode() + b"z").decode(),
        TEXT.encode().hex(),
        TEXT.encode(),
        repr(NUMBER),
        f"{float(NUMBER):.17g}",
        f"{NUMBER:,}",
        NUMBER.to_bytes(8, "big").hex(),
        str(list(TEXT.encode())),
    ],
)
def test_the_search_finds_what_it_is_for(told: str | bytes) -> None:
    assert search(told)


def test_every_call_is_covered() -> None:
    missing = {name for name, _ in canary.calls()} - set(canary.REQUESTS)
    assert not missing, "add a request with the canary to tests/server/telemetry/canary.py"


def test_no_call_and_no_error_tells_a_value(tmp_path: Path) -> None:
    with Receiver() as receiver:
        with started(tmp_path, environment=exported(receiver)) as server:
            errors = through(server.address)
            hot = {"DecisionService/Decide", "DecisionService/DecideBatch", "EventService/Track"}
            if lane_available:
                errors += through(server.lane, hot)
            with Caller(server.address) as caller:
                caller.call(UPSERT, _method(UPSERT), canary.upsert("again").SerializeToString())
            assert held(server.address)
            for text in pages(server.http):
                assert not search(text), search(text)
        assert not search(server.printed()), search(server.printed())
        assert errors > 300
        assert len(receiver.spans) > 300
        # Of the calls that decided.
        assert len(receiver.logs) > 20
        assert receiver.metrics
        for request in receiver.requests:
            assert not search(str(request)), search(str(request))
            assert not search(request.SerializeToString())


def test_a_fault_of_our_own_tells_no_value(tmp_path: Path) -> None:
    with Receiver() as receiver:
        program = [sys.executable, "-c", FAULTY]
        with started(tmp_path, environment=exported(receiver), program=program) as server:
            through(server.address, {"ProfileService/QueryProfiles"})
        told = server.printed()
        assert "a call failed on our own fault" in told
        assert "loop: an error that nobody waited for" in told
        assert "an error ended a thread" in told
        assert not search(told), search(told)
        assert receiver.spans
        assert not any(search(str(request)) for request in receiver.requests)


def test_a_crash_and_what_comes_after_tell_no_value(tmp_path: Path) -> None:
    hot = {"DecisionService/Decide", UPSERT, "EventService/Track"}
    for number in (signal.SIGABRT, signal.SIGKILL):
        with started(tmp_path) as server:
            through(server.address, hot, 10)
            assert held(server.address)
            assert server.kill(number) == -number
        assert not search(server.printed()), search(server.printed())
        assert ("Fatal Python error: Aborted" in server.printed()) == (number == signal.SIGABRT)
    with started(tmp_path) as server:
        assert held(server.address)
    assert not search(server.printed())


def test_a_damaged_log_tells_no_value(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        through(server.address, {UPSERT}, 10)
        server.kill(signal.SIGKILL)
    assert damage(tmp_path / "data") > 0
    with started(tmp_path) as server:
        for text in pages(server.http):
            assert not search(text)
    assert "skipped for good" in server.printed()
    assert not search(server.printed()), search(server.printed())


def test_a_log_that_refuses_tells_no_value(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        through(server.address, {UPSERT}, 50)
        # No file may grow any more, as on a full disk.
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4_096, 4_096))
        errors = through(server.address, {UPSERT, "EventService/Track"}, 5)
        assert errors > 20
        for text in pages(server.http):
            assert not search(text)
        server.kill(signal.SIGKILL)
    assert not search(server.printed()), search(server.printed())


COMMANDS = (
    ["track", TEXT, "signup", TEXT],
    ["track", TEXT, "signup", f"phone={TEXT}"],
    ["track", TEXT, "signup", f"email={TEXT * 60}"],
    ["track", TEXT, "signup", f"email={NUMBER}"],
    ["decide", TEXT, "nowhere"],
    ["decide", TEXT, "home", "--context", TEXT],
    ["decide", TEXT, "home", "--attribute", f"phone={TEXT}"],
    ["query", f'profile.email == "{TEXT}'],
    ["query", f"profile.phone == {NUMBER}{NUMBER}"],
    ["eval", f'"{TEXT}" + 1'],
)


def test_a_command_that_fails_tells_no_value(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        for arguments in COMMANDS:
            to = ["--to", server.address] if arguments[0] != "eval" else []
            done = subprocess.run(
                [*COMMAND, *arguments, *to],
                capture_output=True,
                text=True,
                env={**os.environ, "COLUMNS": "300"},
            )
            told = done.stdout + done.stderr
            assert done.returncode, (arguments, told)
            assert not search(told), (arguments, told)


def damage(data: Path) -> int:
    """Turn a byte of each entry that holds the canary around; gives how many."""
    [file] = [one for one in data.rglob("*") if _is_log(one)]
    with sqlite3.connect(file) as base:
        tables = [
            name for (name,) in base.execute("select name from sqlite_master where type='table'")
        ]
        changed = 0
        for table in tables:
            for row in base.execute(f"select rowid, * from {table}").fetchall():
                changed += _damage_row(base, table, row)
    base.close()
    return changed


def _damage_row(base: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> int:
    names = [one[1] for one in base.execute(f"pragma table_info({table})")]
    for name, value in zip(names, row[1:], strict=True):
        if isinstance(value, bytes) and (at := value.find(TEXT.encode())) >= 0:
            turned = value[: at - 3] + bytes([value[at - 3] ^ 0xFF]) + value[at - 2 :]
            base.execute(f"update {table} set {name} = ? where rowid = ?", (turned, row[0]))
            return 1
    return 0


def _is_log(file: Path) -> bool:
    with suppress(OSError):
        return file.is_file() and file.read_bytes()[:15] == b"SQLite format 3"
    return False
