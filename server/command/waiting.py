"""Waiting for a server that has just been started: nobody listens at its address yet."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

import typer

from nextbest.server.address import unix_path

# A server compiles its playbook before it listens: one to two seconds, five on a busy machine.
WAIT_S: Final = 10.0
WAIT_S_MAX: Final = 3_600.0
WAIT_VARIABLE: Final = "NEXTBEST_WAIT_S"
POLL_S: Final = 0.05
# Whoever takes longer to answer is far away or filtered, and does not refuse.
CONNECT_S: Final = 1.0
_SCHEME: Final = re.compile(r"ipv[46]:|dns:(?://[^/]*/)?")


def await_listening(addresses: Sequence[str]) -> None:
    """Wait while every address refuses connections, for so long as the variable says.

    Another error is not waited for: the call that follows says what it is.
    """
    end = time.monotonic() + _wait_s()
    told = False
    while time.monotonic() < end and all(map(_refuses, addresses)):
        if not told:
            sys.stderr.write(f"waiting for {', '.join(addresses)} ...\n")
            told = True
        time.sleep(POLL_S)


def _wait_s() -> float:
    text = os.environ.get(WAIT_VARIABLE, "") or str(WAIT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if 0 <= seconds <= WAIT_S_MAX:
        return seconds
    allowed = f"0 to {WAIT_S_MAX:,.0f} seconds"
    raise typer.BadParameter(f"{text!r}, allowed: {allowed}", param_hint=WAIT_VARIABLE)


def _refuses(address: str) -> bool:
    """Whether nobody listens there; a unix socket that is not there yet is the same."""
    try:
        _connected(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _connected(address: str) -> socket.socket:
    if path := unix_path(address):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(CONNECT_S)
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = _SCHEME.sub("", address, count=1).rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), CONNECT_S)
