"""`nextbest log` and `nextbest erase`, as an operator uses them: processes, files, exit codes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nextbest.client import Client
from nextbest.server.command.waiting import WAIT_VARIABLE

PLAYBOOK = Path(__file__).parents[1] / "cases" / "small"
COMMAND = [sys.executable, "-m", "nextbest.server.command.main"]
START_S_MAX = 30


def nextbest(*arguments: str | Path, code: int = 0) -> str:
    """Run a command; its output, of both streams when it fails."""
    words = [*COMMAND, *map(str, arguments)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout if code == 0 else result.stdout + result.stderr


class Server:
    """A server as a process, on a data folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.to = ("--to", f"unix:{folder}/socket")
        self.data = folder / "data"
        self.output = folder / "output"
        command = [*COMMAND, "serve", "--listen", self.to[1], "--data", str(self.data), *arguments]
        self._output = (folder / "output").open("w")
        self._process = subprocess.Popen(
            [*command, "--playbook", str(PLAYBOOK)], stderr=self._output
        )
        end = time.monotonic() + START_S_MAX
        while "listening on" not in (folder / "output").read_text():
            assert self._process.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < end, "not in time"
            time.sleep(0.02)

    def tell(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.tell(number)
        self._process.wait(START_S_MAX)
        self._output.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    started: list[Server] = []

    def begin() -> Server:
        started.append(Server(tmp_path))
        return started[-1]

    yield begin
    for server in started:
        server.end(signal.SIGKILL)


def born(server: Server, person: str, age: int) -> None:
    with Client(server.to[1], fast_lane=False) as client:
        client.upsert_profile(person, {"age": age})


def age(server: Server, person: str) -> int:
    with Client(server.to[1], fast_lane=False) as client:
        return client.get_profile(person).profile.attributes["age"].int_value


def test_a_copy_that_cannot_be_written_is_told_in_words(
    start: Callable[[], Server], tmp_path: Path
) -> None:
    server = start()
    nowhere = tmp_path / "no" / "a.nbs"
    told = nextbest("log", "snapshot", "-o", nowhere, *server.to, code=2)
    assert told.strip() == f"{nowhere}.new: No such file or directory"
    server.end()


def test_an_operators_day_with_a_local_log(start: Callable[[], Server], tmp_path: Path) -> None:
    server = start()
    born(server, "ann", 34)
    assert "sqlite log" in nextbest("log", "status", *server.to)
    taken = json.loads(nextbest("log", "snapshot", "-o", tmp_path / "a.nbs", "--json", *server.to))
    assert Path(taken["path"]).read_bytes() == (tmp_path / "a.nbs").read_bytes()
    born(server, "bob", 35)
    assert "in use by process" in nextbest("log", "verify", server.data)
    assert "stop it, or add -o" in nextbest("log", "export", server.data, code=1)
    refused = nextbest("log", "restore", tmp_path / "a.nbs", "-d", server.data, code=1)
    assert "in use by another process" in refused

    server.end(signal.SIGKILL)
    server = start()
    assert (age(server, "ann"), age(server, "bob")) == (34, 35)
    assert "forgotten: ann" in nextbest("erase", "ann", "--timeout", "20", *server.to)
    assert age(server, "ann") == 0
    server.end()

    rows = json.loads(nextbest("log", "verify", server.data, "--json"))
    assert ["sound" in row["state"] for row in rows] == [True, True]
    lines = [json.loads(line) for line in nextbest("log", "export", server.data).splitlines()]
    kinds = [
        next(k for k in line if k in {"publication", "attributes", "erasure"}) for line in lines
    ]
    assert kinds == ["publication", "attributes", "attributes", "erasure"]
    assert lines[1]["attributes"]["identity"]["id"] == "ann"


def test_damage_is_named_and_set_aside_and_another_file_restored(
    start: Callable[[], Server], tmp_path: Path
) -> None:
    server = start()
    born(server, "ann", 34)
    nextbest("log", "snapshot", "-o", tmp_path / "a.nbs", *server.to)
    server.end()
    path = server.data / "snapshots" / "snapshot-000000000001.nbs"
    data = bytearray(path.read_bytes())
    data[-60] ^= 8
    path.write_bytes(data)
    assert "damaged at byte" in nextbest("log", "verify", server.data, "--json", code=1)
    assert "damaged at byte" in nextbest("log", "restore", path, "-d", server.data, code=1)
    restored = json.loads(
        nextbest("log", "restore", tmp_path / "a.nbs", "-d", server.data, "--json")
    )
    assert restored["path"].endswith("snapshot-000000000002.nbs")
    path.unlink()
    (server.data / "log.db").unlink()

    # Without its log: what the snapshot holds, and a log that was wiped.
    server = start()
    assert age(server, "ann") == 34
    assert "reset" in nextbest("log", "status", *server.to, code=1)
    assert "goes on at" in nextbest("log", "reseed", *server.to)
    assert "following" in nextbest("log", "status", *server.to)


def test_a_damaged_entry_of_the_log_is_named(start: Callable[[], Server], tmp_path: Path) -> None:
    server = start()
    born(server, "ann", 34)
    server.end()
    copy = tmp_path / "copy"
    shutil.copytree(server.data, copy)
    path = copy / "log.db"
    data = bytearray(path.read_bytes())
    place = data.index(b"ann")
    data[place] ^= 1
    path.write_bytes(data)
    said = nextbest("log", "verify", copy, "--json", code=1)
    assert "checksum" in said
    assert "sound" in nextbest("log", "verify", server.data)


def test_an_older_snapshot_is_not_put_over_a_newer_one_unless_forced(
    start: Callable[[], Server], tmp_path: Path
) -> None:
    server = start()
    born(server, "ann", 34)
    nextbest("log", "snapshot", "-o", tmp_path / "old.nbs", *server.to)
    born(server, "ann", 35)
    nextbest("log", "snapshot", *server.to)
    server.end()
    older = ("log", "restore", tmp_path / "old.nbs", "-d", server.data)
    refused = nextbest(*older, code=1)
    assert "or later" in refused
    assert "--force" in refused
    assert "the next start begins there" in nextbest(*older, "--force")
    assert "nextbest log reseed" in nextbest(*older[:3], "-d", tmp_path / "fresh")


def test_a_server_that_answers_is_not_said_to_be_away(
    start: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "0")
    server = start()
    nextbest("log", "snapshot", *server.to)
    server.end()
    (server.data / "log.db").unlink()
    server = start()
    refused = nextbest("erase", "ann", *server.to, code=3)
    assert "reset" in refused
    assert "start a server" not in refused
    server.end()
    assert "start a server" in nextbest("log", "status", *server.to, code=3)
