"""A server as a child process on a free loopback port, for demonstrations and tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import grpc

# A busy machine may take a minute to import and to compile a playbook.
START_S: Final = 120.0
STOP_S: Final = 15.0
POLL_S: Final = 0.02
OUTPUT_MAX: Final = 4_000

_COMMAND: Final = "from nextbest.server.command.main import run; run()"


class ChildError(Exception):
    """The child didn't start; the text ends with what it printed."""


class Child:
    """`nextbest serve` with a playbook, for as long as the `with` lasts; `address` is ready."""

    def __init__(self, playbook: Path, settings: Mapping[str, str] | None = None) -> None:
        self._playbook = playbook
        # An engine of a small size by default: a demonstration should not take a gigabyte.
        self._settings = {"ENGINE_PROFILES_MAX": "200000", "ENGINE_DEDUPE_MAX": "2000000"}
        self._settings.update(settings or {})
        self.address = f"127.0.0.1:{_free_port()}"

    def __enter__(self) -> Child:
        self._output = tempfile.TemporaryFile()
        environment = {f"NEXTBEST_{name}": value for name, value in self._settings.items()}
        arguments = ["serve", "--playbook", str(self._playbook), "--listen", self.address]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def process(self) -> int:
        """The child's process id."""
        return self._process.pid

    def printed(self) -> str:
        """The end of what the child printed so far."""
        size = os.fstat(self._output.fileno()).st_size
        at = max(0, size - OUTPUT_MAX)
        return os.pread(self._output.fileno(), OUTPUT_MAX, at).decode("utf-8", "replace")

    def _wait(self) -> None:
        end = time.monotonic() + START_S
        with grpc.insecure_channel(self.address) as channel:
            ready = grpc.channel_ready_future(channel)
            while time.monotonic() < end:
                if self._process.poll() is not None:
                    raise ChildError(f"the server ended:\n{self.printed()}")
                try:
                    ready.result(timeout=POLL_S)
                    return
                except grpc.FutureTimeoutError:
                    continue
        told = self.printed() or "(nothing)"
        raise ChildError(
            f"the server was not ready in {START_S:.0f} s: run this again when the machine is less "
            f"busy; it printed\n{told}"
        )

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
