"""Processes under test: started, killed, paused, and all ended by their ids, whatever happens."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

STOP_S: Final = 15.0
POLL_S: Final = 0.02
TAIL_BYTES: Final = 4_000
# A killed driver takes its children along; `setpriv` then becomes the process itself.
_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")

T = TypeVar("T")


class FaultError(Exception):
    """The surroundings of a test did not come up; the text ends with what a process printed."""


class Process:
    """One process, which can be started again after it was killed; its output goes to one file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        enter: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.folder = folder
        self.output = folder / f"{name}.log"
        self.exit_code: int | None = None
        self._enter = list(enter)
        self._environment = {**os.environ, **(environment or {})}
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output is appended to what an earlier start printed."""
        if self.alive:
            raise FaultError(f"{self.name}: runs already")
        prefix = list(_WITH_US) if shutil.which(_WITH_US[0]) else []
        with self.output.open("ab") as output:
            self._running = subprocess.Popen(
                [*self._enter, *prefix, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._environment,
            )

    @property
    def pid(self) -> int:
        """Its id; of the last start when it has ended."""
        if self._running is None:
            raise FaultError(f"{self.name}: never started")
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, or is paused."""
        return self._running is not None and self._running.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    async def killed(self) -> None:
        """SIGKILL at once; its memory is given back and waited for in a thread."""
        if self.alive:
            self.send(signal.SIGKILL)
            await asyncio.to_thread(self.kill)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long."""
        self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def pause(self) -> None:
        """SIGSTOP."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def resident_bytes(self) -> int:
        """Its resident memory; 0 when it has ended."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def printed(self) -> str:
        """The end of what it printed."""
        if not self.output.exists():
            return ""
        with self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def _end(self, with_signal: signal.Signals) -> None:
        if self._running is None or self._running.poll() is not None:
            return
        self._running.send_signal(with_signal)
        # A paused process sees SIGTERM only when it goes on.
        self._running.send_signal(signal.SIGCONT)
        try:
            self._running.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self.exit_code = self._running.returncode


class Processes:
    """The processes of one test; leaving the block kills those that run, in reverse order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._all):
            process.kill()

    def add(
        self,
        name: str,
        command: Sequence[str],
        enter: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """A process of that name, not yet started; `enter` is a command that runs another."""
        process = Process(name, command, self.folder, enter, environment)
        self._all.append(process)
        return process

    def report(self) -> str:
        """What each printed last, for a failure's report."""
        parts = [f"--- {one.name} (exit {one.exit_code}):\n{one.printed()}" for one in self._all]
        return "\n".join(parts)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def until(
    found: Callable[[], Awaitable[T]], timeout_s: float, what: str, poll_s: float = POLL_S
) -> T:
    """Ask again and again until the answer is true; FaultError after `timeout_s` seconds."""
    end = time.monotonic() + timeout_s
    while True:
        answer = await found()
        if answer:
            return answer
        if time.monotonic() > end:
            raise FaultError(f"{what}: not within {timeout_s:g} s")
        await asyncio.sleep(poll_s)
