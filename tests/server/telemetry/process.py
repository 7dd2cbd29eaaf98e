"""`nextbest serve` with both lanes and its pages, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from nextbest.core import lane_available
from tests.lane.target import PLAYBOOK

COMMAND = [sys.executable, "-c", "from nextbest.server.command.main import run; run()"]
START_S = 60
STOP_S = 20


class Server:
    """A running server; `address` and `lane` are gRPC's, `http` the pages'."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        playbook: Path = PLAYBOOK,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = COMMAND,
    ) -> None:
        self.address = f"unix:{folder}/main"
        self.lane = f"unix:{folder}/lane" if lane_available else ""
        command = [*program, "serve", "-l", self.address, "-p", str(playbook)]
        command += ["--set", "telemetry.address=127.0.0.1:0", *arguments]
        command += ["--fast-lane", self.lane] if self.lane else []
        # A file and no pipe: one that nobody reads fills, and the server waits then.
        self._told = folder / f"stderr-{len(list(folder.glob('stderr-*')))}"
        with self._told.open("wb") as file:
            self._process = subprocess.Popen(
                command, stderr=file, env={**os.environ, **(environment or {})}
            )
        end_s = time.monotonic() + START_S
        while "listening on" not in self.printed():
            assert self._process.poll() is None, self.printed()
            assert time.monotonic() < end_s, self.printed()
            time.sleep(0.02)
        found = re.search(r"http://\S+(?=/metrics)", self.printed())
        assert found, self.printed()
        self.http = found[0]

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def printed(self) -> str:
        """What it wrote to standard error so far."""
        return self._told.read_text("utf-8", "replace")

    def kill(self, number: int) -> int:
        """End it by a signal, and give its return code."""
        self._process.send_signal(number)
        return self._process.wait(STOP_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End it in good order."""
        if self._process.poll() is None:
            self.kill(signal.SIGTERM)
