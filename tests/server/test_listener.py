"""The fast lane's listening sockets, which are real ones."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextbest.server.errors import ListenError
from nextbest.server.listener import (
    Listener,
    listen_tcp,
    listen_unix,
    require_addresses,
    require_free,
)
from nextbest.server.serve import warn_of_others


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lane"


@pytest.fixture
def live(path: Path) -> Iterator[Listener]:
    listener = listen_unix(f"unix:{path}", "0660", "")
    yield listener
    listener.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("wanted", ["0600", "660", "0777"])
def test_a_unix_socket_has_its_mode_whatever_the_umask(path: Path, wanted: str) -> None:
    before = os.umask(0o077)
    try:
        listener = listen_unix(f"unix:{path}", wanted, "")
    finally:
        os.umask(before)
    assert mode(path) == int(wanted, 8)
    listener.close()
    assert not path.exists()


def test_a_unix_socket_has_its_owner(path: Path) -> None:
    owner = f"{os.getuid()}:{os.getgid()}"
    if os.getuid() == 0:
        owner = "12345:23456"
    listener = listen_unix(f"unix:{path}", "0600", owner)
    found = path.stat()
    listener.close()
    assert f"{found.st_uid}:{found.st_gid}" == owner


@pytest.mark.parametrize("owner", ["no_such_user", ":no_such_group"])
def test_an_unknown_owner_is_refused_by_name(path: Path, owner: str) -> None:
    with pytest.raises(ListenError, match=owner.strip(":")):
        listen_unix(f"unix:{path}", "0600", owner)


def test_a_socket_that_nobody_answers_on_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
        stale.listen()
    assert path.is_socket()
    listener = listen_unix(f"unix:{path}", "0660", "")
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    listener.close()


def test_a_socket_in_use_is_refused(live: Listener, path: Path) -> None:
    with pytest.raises(ListenError, match="in use"):
        listen_unix(live.address, "0660", "")
    assert path.is_socket()


def test_a_socket_in_use_is_refused_while_its_backlog_is_full(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            with pytest.raises(ListenError, match="in use"):
                require_free(f"unix:{path}", str(path))


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Without the right to pass over permissions."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    yield
    os.seteuid(user)


def test_a_socket_without_permission_is_not_said_to_be_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "lane"))
    (tmp_path / "lane").chmod(0)
    tmp_path.chmod(0o755)
    # The folders above are closed to others.
    monkeypatch.chdir(tmp_path)
    request.getfixturevalue("unprivileged")
    with pytest.raises(ListenError, match="no permission to connect"):
        require_free("unix:lane", "lane")


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("kept")
    with pytest.raises(ListenError, match="no socket"):
        listen_unix(f"unix:{path}", "0660", "")
    assert path.read_text() == "kept"
    link = path.with_name("link")
    link.symlink_to(path.with_name("missing"))
    with pytest.raises(ListenError, match="no socket"):
        listen_unix(f"unix:{link}", "0660", "")


def test_a_missing_folder_or_too_long_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="no folder"):
        listen_unix(f"unix:{tmp_path}/none/lane", "0660", "")
    with pytest.raises(ListenError, match="allowed: at most 107"):
        listen_unix(f"unix:{tmp_path}/{'a' * 120}", "0660", "")


def test_a_socket_that_was_replaced_is_not_removed(live: Listener, path: Path) -> None:
    path.unlink()
    path.write_text("another's")
    live.close()
    assert path.read_text() == "another's"


def test_threads_share_one_port_and_nobody_else_does() -> None:
    listener = listen_tcp("127.0.0.1:0", 3)
    try:
        assert len({listener.descriptor(thread) for thread in range(3)}) == 3
        assert not listener.address.endswith(":0")
        for threads in (1, 3):
            with pytest.raises(ListenError, match="in use"):
                listen_tcp(listener.address, threads)
    finally:
        listener.close()
    listen_tcp(listener.address, 1).close()


def test_one_unix_socket_serves_all_threads(live: Listener) -> None:
    assert len({live.descriptor(thread) for thread in range(3)}) == 1


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ListenError):
        listen_tcp("192.0.2.1:0", 1)
    with pytest.raises(ListenError):
        listen_tcp("no-such-host.invalid:0", 1)


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_what_cannot_be_a_name_is_refused_by_address_and_option(host: str) -> None:
    address = f"{host}:7600"
    with pytest.raises(ListenError, match=r"1 to 63 bytes") as refused:
        require_addresses({"--listen": [address]})
    assert (refused.value.address, refused.value.option) == (address, "--listen")
    with pytest.raises(ListenError, match=r"1 to 63 bytes"):
        listen_tcp(address, 1)


def test_an_address_that_is_said_to_be_free_is_none_of_our_own() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = {
            "--listen": [f"127.0.0.1:{port}"],
            "--fast-lane": ["unix:/tmp/lane", f"localhost:{port + 1}", f"[::1]:{port + 2}"],
            "--set telemetry.address=": [f"0.0.0.0:{port + 3}"],
        }
        with pytest.raises(ListenError) as refused:
            require_addresses(given)
    assert refused.value.option == "--listen"
    assert int(refused.value.free.removeprefix("127.0.0.1:")) > port + 3


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "unix:{folder}/lane"])
def test_an_address_that_is_given_twice_is_told(address: str, tmp_path: Path) -> None:
    """It is nobody else's, as who tried it in vain would say."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    twice = address.format(port=port, folder=tmp_path)
    given = {"--listen": ["127.0.0.1:0", "127.0.0.1:0", twice], "--fast-lane": [twice]}
    with pytest.raises(ListenError, match="given already, by --listen") as refused:
        require_addresses(given)
    assert refused.value.option == "--fast-lane"
    assert bool(refused.value.free) == address.startswith("127")


def test_what_other_hosts_reach_is_told(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_others(["127.0.0.1:7600", "localhost:7600", "[::1]:7600", "unix:/run/nextbest"])
    assert caplog.text == ""
    warn_of_others(["127.0.0.1:7600", "0.0.0.0:7650"])
    [told] = caplog.messages
    assert "0.0.0.0:7650: other hosts reach it" in told
