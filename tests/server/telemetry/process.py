"""`nextbest serve` with both lanes and its pages, as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from nextbest.core import lane_available
from tests.lane.target import PLAYBOOK

COMMAND = [sys.executable, "-c", "from nextbest.server.command.main import run; run()"]
STOP_S = 20


class Server:
    """A running server; `address` and `lane` are gRPC's, `http` the pages'."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        playbook: Path = PLAYBOOK,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.address = f"unix:{folder}/main"
        self.lane = f"unix:{folder}/lane" if lane_available else ""
        command = [*COMMAND, "serve", "-l", self.address, "-p", str(playbook)]
        command += ["--set", "telemetry.address=127.0.0.1:0", *arguments]
        command += ["--fast-lane", self.lane] if self.lane else []
        self._process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert self._process.stderr is not None
        told = ""
        while "listening on" not in told:
            line = self._process.stderr.readline()
            assert line, told
            told += line
        found = re.search(r"http://\S+(?=/metrics)", told)
        assert found, told
        self.http = found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End it in good order."""
        self._process.terminate()
        self._process.communicate(timeout=STOP_S)
