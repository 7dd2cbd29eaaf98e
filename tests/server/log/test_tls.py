"""The log over TLS, with a certificate on both sides."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nextbest.server.log import LogAwayError, LogPlaceError
from nextbest.server.log.entry import frame
from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings

DAYS = ["-days", "2"]


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem and, for 127.0.0.1, cert.pem and key.pem."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("authority")
    new = ["-newkey", "rsa:2048", "-nodes", "-subj"]
    openssl(folder, "req", "-x509", *new, "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem", *DAYS)
    openssl(folder, "req", *new, "/CN=redis", "-keyout", "key.pem", "-out", "request")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl(
        folder,
        *("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-extfile", "names", "-out", "cert.pem", *DAYS),
    )
    return folder


@pytest.fixture
def tls_port(start_redis: Callable[..., Any], authority: Path, free_port: int) -> int:
    """The TLS port of a server that asks for certificates."""
    start_redis(
        f"tls-port {free_port}",
        f"tls-cert-file {authority}/cert.pem",
        f"tls-key-file {authority}/key.pem",
        f"tls-ca-cert-file {authority}/ca.pem",
    )
    return free_port


async def test_entries_go_over_tls(
    tls_port: int, authority: Path, redis_log: Callable[..., RedisLog]
) -> None:
    settings = BackendSettings(
        tls_ca_file=f"{authority}/ca.pem",
        tls_cert_file=f"{authority}/cert.pem",
        tls_key_file=f"{authority}/key.pem",
    )
    log = redis_log(f"rediss://127.0.0.1:{tls_port}", settings)
    branch = (await log.connect()).replication_id
    await log.open_epoch(1, frame(b"open"), None, create=True)
    large = frame(bytes(300_000))
    assert await log.append(0, 1, branch, large, 0) == 1
    assert (await log.read((1, 0), 0))[0].data == large

    # An authority that is not ours, a name that is not the server's, and no certificate to show.
    stranger = redis_log(f"rediss://127.0.0.1:{tls_port}", replace(settings, tls_ca_file=""))
    with pytest.raises(LogAwayError, match="certificate"):
        await stranger.connect()
    renamed = redis_log(f"rediss://localhost:{tls_port}", settings)
    with pytest.raises(LogAwayError, match="certificate"):
        await renamed.connect()
    nameless = redis_log(
        f"rediss://127.0.0.1:{tls_port}", replace(settings, tls_cert_file="", tls_key_file="")
    )
    with pytest.raises(LogAwayError):
        await nameless.connect()


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(LogPlaceError, match="missing"):
        network(parse("redis://host"), BackendSettings(password_file=missing))


async def test_a_password_comes_from_a_file(
    start_redis: Callable[..., Any], redis_log: Callable[..., RedisLog], tmp_path: Path
) -> None:
    server = start_redis("user writer on >fr0mfile ~* &* +@all", "user default off")
    file = tmp_path / "password"
    file.write_text("fr0mfile\n")
    settings = BackendSettings(user="writer", password_file=str(file))
    assert (await redis_log(server.url, settings).connect()).replication_id
