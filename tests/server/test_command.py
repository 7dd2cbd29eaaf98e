"""The command line as a process: output, exit codes, one-line errors, and the drain."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from typer.main import get_command

from nextbest.client import Client, UnavailableError
from nextbest.client import request as requests
from nextbest.server.command.console import out
from nextbest.server.command.explain import show_decision
from nextbest.server.command.main import make_app
from nextbest.server.command.waiting import WAIT_VARIABLE, await_listening
from nextbest.server.examples import THRIFTY
from nextbest.v1 import common_pb2, decision_pb2

PLAYBOOK = Path(__file__).parents[1] / "cases" / "small"
COMMAND = [sys.executable, "-m", "nextbest.server.command.main"]
START_S_MAX = 30


def nextbest(*arguments: str, code: int = 0) -> str:
    """Run a command; its output, of both streams when it fails."""
    result = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout if code == 0 else result.stdout + result.stderr


class Process:
    """A server as a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.address = f"unix:{folder}/socket"
        command = [*COMMAND, "serve", "--listen", self.address, *arguments]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        self.announced = self._process.stderr.readline()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(START_S_MAX)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("server"), "--playbook", str(PLAYBOOK))
    yield process
    process.stop()


def test_the_start_says_what_is_served_where(server: Process) -> None:
    assert re.search(
        rf"listening on {server.address}, generation 1 \([0-9a-f]{{32}}\)", server.announced
    )


def test_a_person_from_track_to_decision(server: Process) -> None:
    to = "--to", server.address
    nextbest("profile", "ann", "--set", "plan=free", "--set", "age=34", "--link", "cookie", *to)
    nextbest("track", "ann", "page_view", "path=/pricing", "seconds=1.5", *to)
    profile = json.loads(nextbest("profile", "ann", "--json", *to))
    assert profile["profile"]["counters"]["views_7d"]["value"] == {"int_value": "1"}
    decided = json.loads(nextbest("decide", "ann", "home", "-c", "page=home", "--json", *to))
    assert decided["placements"][0]["propositions"]
    table = nextbest("decide", "ann", "home", "--explain", *to)
    assert "every candidate" in table
    assert "views_7d" in nextbest("profile", "ann", *to)
    assert "ann" in nextbest("query", "profile.age == 34", *to)


def test_a_query_says_whether_there_are_more(server: Process) -> None:
    to = "--to", server.address
    for number in range(3):
        nextbest("profile", f"old-{number}", "--set", "age=99", *to)
    condition = "query", "profile.age == 99"
    assert "\n3 found, " in nextbest(*condition, "--limit", "3", *to)
    found = nextbest(*condition, "--limit", "2", *to)
    assert "\nthe first 2 found; there are more: --limit\n" in found
    assert "old-2" not in found
    assert len(nextbest(*condition, "--limit", "2", "--json", *to).splitlines()) == 2


def test_generations_are_published_listed_and_activated(server: Process) -> None:
    to = "--to", server.address
    published = json.loads(nextbest("publish", str(PLAYBOOK), "-m", "again", "--json", *to))
    listed = json.loads(nextbest("generations", "--json", *to))["generations"]
    assert listed[-1]["number"] == published["generation"]
    assert listed[-1]["description"] == "again"
    assert "generation 1 is active" in nextbest("activate", "1", *to)
    assert "again" in nextbest("generations", *to)
    assert "`nextbest generations`" in nextbest("activate", "99", *to, code=1)


def test_refusals_are_one_clear_line(server: Process) -> None:
    to = "--to", server.address
    assert "page_view" in nextbest("track", "ann", "page_viev", *to, code=1)
    assert "profile.age" in nextbest("query", "profile.agee > 3", *to, code=1)
    assert "NAME=VALUE" in nextbest("track", "ann", "page_view", "path", *to, code=2)
    assert "known, anonymous" in nextbest("decide", "ann", "--kind", "dog", *to, code=2)


def test_no_server_is_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "0")
    text = nextbest("decide", "ann", "--to", "127.0.0.1:1", code=3)
    assert "nextbest serve" in text
    assert "host:port" in nextbest("decide", "ann", "--to", "7600", code=2)


def test_an_answer_that_does_not_come_in_time_is_code_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = f"127.0.0.1:{silent.getsockname()[1]}"
        text = nextbest("erase", "ann", "--timeout", "0.3", "--to", to, code=3)
    assert "a write may have been done, so repeat it" in text


def test_a_server_that_has_just_been_started_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, str(START_S_MAX))
    arguments = "track", "ann", "page_view", "path=/", "--to", f"unix:{tmp_path}/socket"
    early = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    assert early.stderr is not None
    assert early.stderr.readline() == f"waiting for unix:{tmp_path}/socket ...\n"
    server = Process(tmp_path, "--playbook", str(PLAYBOOK))
    try:
        assert early.communicate(timeout=START_S_MAX)[1] == ""
        assert early.returncode == 0
    finally:
        server.stop()


def test_only_addresses_that_all_refuse_are_waited_for(
    server: Process, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "0.3")

    def took(*to: str) -> float:
        begun = time.monotonic()
        await_listening(to)
        return time.monotonic() - begun

    assert took("127.0.0.1:1", "[::1]:1") >= 0.3
    assert capsys.readouterr().err == "waiting for 127.0.0.1:1, [::1]:1 ...\n"
    monkeypatch.setenv(WAIT_VARIABLE, "60")
    assert took("unix:/nowhere", server.address) < 30
    assert took("unix:/" + "x" * 200) < 30
    assert capsys.readouterr().err == ""


def test_a_wait_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "soon")
    assert "0 to 3,600 seconds" in nextbest("slo", "--to", "127.0.0.1:1", code=2)


def test_an_event_may_be_of_some_time_ago(server: Process) -> None:
    to = "--to", server.address
    nextbest("track", "zoe", "page_view", "path=/", "--ago", "8d", *to)
    nextbest("track", "zoe", "page_view", "path=/", "--ago", "2h", *to)
    profile = json.loads(nextbest("profile", "zoe", "--json", *to))
    assert profile["profile"]["counters"]["views_7d"]["value"] == {"int_value": "1"}
    assert "such as 7d" in nextbest("track", "zoe", "page_view", "--ago", "soon", *to, code=2)


def test_explain_says_which_condition_failed(server: Process) -> None:
    table = nextbest("decide", "nobody", "home", "--explain", "--to", server.address)
    assert "not: " in table


def test_a_folder_of_playbooks_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "schema.yaml").write_text("attributes: {age: int}\n")
    text = nextbest("check", str(tmp_path), code=2)
    assert text.strip().endswith("no schema.yaml, playbooks in it: shop")


def test_of_many_playbooks_the_first_and_nearest_are_named(tmp_path: Path) -> None:
    for name in (*(f"p{number:02}" for number in range(30)), "a/b/c", "a/b/c/d", ".git/p"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "schema.yaml").write_text("attributes: {age: int}\n")
    text = nextbest("serve", "-p", str(tmp_path), code=2)
    assert text.strip().endswith("playbooks in it: a/b/c, p00, p01, p02, p03 and 26 more")


def test_budgets_are_told_of_each_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playbook = shutil.copytree(THRIFTY, tmp_path / "playbook")
    contact = (playbook / "contact.yaml").read_text()
    (playbook / "contact.yaml").write_text(contact.replace("10000", "12345678"))
    monkeypatch.setenv("NEXTBEST_LOG_MEMBER", "a")
    monkeypatch.setenv("COLUMNS", "120")
    server = Process(tmp_path, "--playbook", str(playbook), "--data", str(tmp_path / "data"))
    to = "--to", server.address
    try:
        while not (tmp_path / "socket").exists():
            time.sleep(0.05)
        with Client(server.address) as client:
            while not all(one.parts for one in client.log_status().budgets):
                time.sleep(0.05)
            client.decide("ann", ["inbox"])
            while not all(one.held for one in client.log_status().budgets):
                time.sleep(0.05)
        told = json.loads(nextbest("budget", *to, "--json"))["budgets"]
        lines = nextbest("budget", *to).splitlines()
        (playbook / "contact.yaml").write_text(contact.replace("10000", "1"))
        tried = nextbest("publish", str(playbook), "--dry-run", *to)
        assert len(json.loads(nextbest("generations", "--json", *to))["generations"]) == 1
        warned = json.loads(nextbest("publish", str(playbook), "--json", *to))["budgets"]
    finally:
        server.stop()
    rows = [[cell.strip() for cell in one.split("│")[1:-1]] for one in lines if "│" in one]
    assert [row[0] for row in rows] == ["postage", "", "summer", "", "vouchers", ""]
    assert {row[2] for row in rows[1::2]} == {"a"}
    assert {row[3] for row in rows[1::2]} == {"running"}
    assert {one["parts"][0]["state"] for one in told} == {"running"}
    summer = rows[2]
    assert (summer[4], summer[8]) == ("12,345,678", "1")
    assert summer[5] == f"{told[1]['released']:,.0f}"
    assert rows[3][6] == f"{told[1]['parts'][0]['claimed']:,.0f}"
    assert told[2]["parts"][0]["held"] == 10
    assert tried.startswith("warning: budget summer goes down from 12,345,678 to 1, and ")
    assert "nothing is published" in tried
    assert [one["effect"] for one in warned] == ["BUDGET_EFFECT_BELOW_CLAIMED"]


def test_a_load_with_refused_rows_or_no_server_fails(
    server: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "0")
    (tmp_path / "people.csv").write_text("id,age\nann,34\nbob,old\n")
    (tmp_path / "map.yaml").write_text(
        'rows: [{identity: {known: "{id}"}, attributes: {age: {column: age, type: int}}}]\n'
    )
    arguments = "load", str(tmp_path / "people.csv"), "-m", str(tmp_path / "map.yaml")
    rejects = "--rejects", str(tmp_path / "rejects.jsonl")
    text = nextbest(*arguments, *rejects, "--to", server.address, code=1)
    assert "refused 1: age" in text
    assert "nextbest serve" in nextbest(*arguments, *rejects, "--to", "127.0.0.1:1", code=3)


def test_a_decision_says_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    degraded = [common_pb2.DEGRADATION_LOG_AWAY, common_pb2.DEGRADATION_BUDGET_WAIT, 99]
    show_decision(out(), decision_pb2.DecideResponse(degraded=degraded))
    assert "degraded: log_away, budget_wait, 99" in capsys.readouterr().out


def test_check_shows_the_place_of_a_fault(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text("attributes:\n  age: inn\n")
    text = nextbest("check", str(tmp_path), code=1)
    assert "schema.yaml:2:8" in text
    assert "^" in text
    report = json.loads(nextbest("check", str(tmp_path), "--json", code=1))
    assert report["faults"][0]["line"] == 2
    assert "not there" in nextbest("check", str(tmp_path / "none"), code=2)
    file = str(tmp_path / "schema.yaml")
    assert "a file, allowed: a folder" in nextbest("check", file, code=2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--reward", "purchase"),
        ("--window", "7d"),
        ("--placement", "home"),
        ("--since", "7d"),
        ("--until", "2026-06-01"),
    ],
)
def test_a_gates_options_without_a_gate_publish_nothing(option: str, value: str) -> None:
    text = nextbest("publish", str(PLAYBOOK), option, value, "--to", "127.0.0.1:1", code=2)
    assert option in text
    assert "--require and --from" in " ".join(text.replace("│", "").split())


@pytest.mark.parametrize(
    ("since", "wanted"),
    [
        ("yesterday", "such as 7d"),
        ("2026-13-01", "such as 7d"),
        ("99999999d", "after the year 1"),
        ("999999999999d", "after the year 1"),
    ],
)
def test_a_moment_that_is_none_is_refused(since: str, wanted: str, tmp_path: Path) -> None:
    text = nextbest("log", "export", str(tmp_path), "-o", "a.parquet", "--since", since, code=2)
    assert wanted in " ".join(text.replace("│", "").split())


def test_schema_prints_what_editors_and_servers_read() -> None:
    assert json.loads(nextbest("schema", "actions"))["title"] == "actions.yaml"
    assert nextbest("schema", "--config").startswith("# Every key")
    assert "allowed: schema" in nextbest("schema", "nothing", code=2)


def test_schema_tells_people_of_keys_with_a_line_for_each() -> None:
    text = nextbest("schema", "--keys", "schema")
    assert text.startswith("schema.yaml: what is known of people")
    line = next(line for line in text.splitlines() if "context.NAME " in line)
    assert "list(string)" in line
    assert "read as context.NAME" in line
    assert "a span: a whole number and s, m, h or d" in text
    assert "actions.NAME" not in text
    assert "actions.NAME.treatments[].channels " in nextbest("schema", "--keys")
    assert "allowed: schema" in nextbest("schema", "--keys", "nothing", code=2)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["1 + 2"], 3),
        (["[1, 2].map(x, x * 2)"], [2, 4]),
        (["duration('-1500ms')"], "-1.5s"),
        (["timestamp('2026-06-01T12:00:00Z')"], "2026-06-01T12:00:00Z"),
        (["profile.age > 3", "-p", str(PLAYBOOK), "-a", "age=4"], True),
        (["has(profile.age)", "-p", str(PLAYBOOK)], False),
        (["now.getFullYear()", "-p", str(PLAYBOOK), "--now", "2026-06-01T12:00:00Z"], 2026),
    ],
)
def test_eval_gives_the_value(arguments: list[str], value: Any) -> None:
    assert json.loads(nextbest("eval", *arguments, "--json"))["value"] == value


def test_eval_says_what_is_wrong() -> None:
    assert "int and string" in nextbest("eval", "1 + 'a'", code=1)
    assert "division by zero" in nextbest("eval", "1 / 0", code=1)
    assert "profile.age: " in nextbest("eval", "profile.age > 3", "-p", str(PLAYBOOK), code=1)
    assert "need --playbook" in nextbest("eval", "profile.age > 3", code=1)
    arguments = "profile.age > 3", "-p", str(PLAYBOOK), "-a", "agee=4"
    assert "profile.age" in nextbest("eval", *arguments, code=2)


def test_serve_refuses_a_bad_configuration(tmp_path: Path) -> None:
    text = nextbest("serve", "--set", "rpc.in_flite_max=1", "--set", "rpc.streams_max=0", code=2)
    assert "rpc.in_flight_max" in text
    assert "rpc.streams_max" in text
    address = f"unix:{tmp_path}/none/socket"
    assert "no folder" in nextbest("serve", "--listen", address, code=1)


@pytest.mark.parametrize("option", ["--listen", "--fast-lane", "telemetry.address"])
def test_an_address_in_use_is_told_before_anything_is_opened(tmp_path: Path, option: str) -> None:
    """With the option that gives another one, and a port that is free."""
    data = tmp_path / "data"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = ["--set", f"{option}={address}"] if "." in option else [option, address]
        if option != "--listen":
            given += ["--listen", f"unix:{tmp_path}/socket"]
        told = nextbest("serve", "--data", str(data), *given, code=1)
    assert told.startswith(f"{address}: in use by another process\n")
    advised = re.search(rf"`{'--set ' if '.' in option else ''}{option}[= ](\S+)` is free", told)
    assert advised
    assert advised[1] != address
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(advised[1].rpartition(":")[2])))
    assert not data.exists()


def test_a_socket_in_use_names_the_option(server: Process, tmp_path: Path) -> None:
    told = nextbest("serve", "--data", str(tmp_path / "data"), "-l", server.address, code=1)
    assert told.splitlines() == [
        f"{server.address}: in use by another process",
        "stop what answers there, or give another address with --listen",
    ]
    assert not (tmp_path / "data").exists()


def test_load_refuses_what_is_no_address_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where a line is broken depends on the folder's name.
    monkeypatch.setenv("COLUMNS", "200")
    file, mapping = tmp_path / "people.csv", tmp_path / "map.yaml"
    given = ["load", str(file), "-m", str(mapping)]
    assert "does not exist" in nextbest(*given, code=2)
    file.touch()
    assert "--mapping" in nextbest(*given, code=2)
    mapping.touch()
    assert "allowed: host:port" in nextbest(*given, "--to", "localhost", code=2)


def test_sigterm_drains_calls_in_flight(tmp_path: Path) -> None:
    """Health turns, the open stream still ends well, new calls fail, the exit code is 0."""
    process = Process(tmp_path, "--playbook", str(PLAYBOOK), "--set", "listen.drain_delay_ms=500")
    try:
        with Client(process.address) as client:

            def slow() -> Iterator[decision_pb2.DecideRequest]:
                yield requests.decide("ann", ["home"])
                process.signal(signal.SIGTERM)
                _wait_not_serving(process.address)
                yield requests.decide("bob", ["home"])

            results = list(client.decide_stream(slow()))
            assert [result.HasField("response") for result in results] == [True, True]
            assert process.wait() == 0
            with pytest.raises(UnavailableError):
                client.decide("ann", ["home"])
    finally:
        process.stop()


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    process = Process(tmp_path, "--set", "listen.drain_delay_ms=60000")
    try:
        process.signal(signal.SIGTERM)
        _wait_not_serving(process.address)
        process.signal(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.stop()


def _wait_not_serving(address: str) -> None:
    end = time.monotonic() + START_S_MAX
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        while time.monotonic() < end:
            if stub.Check(request).status == health_pb2.HealthCheckResponse.NOT_SERVING:
                return
            time.sleep(0.01)
    raise AssertionError(f"{address} still serves")


def test_every_command_and_option_says_what_it_is() -> None:
    def silent(path: str, command: Any) -> Iterator[str]:
        if not command.help:
            yield path
        for one in command.params:
            if not one.help:
                yield f"{path} {one.name}"
        for name, inner in getattr(command, "commands", {}).items():
            yield from silent(f"{path} {name}", inner)

    assert list(silent("nextbest", get_command(make_app()))) == []
    assert "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no server" in " ".join(
        nextbest("--help").split()
    )


@pytest.mark.parametrize(
    ("command", "spared"),
    [
        ("serve", {"cel_expr_python", "yaml", "nextbest.client"}),
        ("check", {"grpc"}),
        ("decide", {"cel_expr_python", "yaml"}),
        ("activate", {"cel_expr_python", "yaml"}),
    ],
)
def test_a_command_imports_only_what_it_needs(command: str, spared: set[str]) -> None:
    code = (
        "import sys; from nextbest.server.command.main import COMMANDS, make_app\n"
        f"make_app(['{command}'])(['{command}', '--help'], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not spared & set(made.stdout.split())
