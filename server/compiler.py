"""The compiler: one process beside the server that compiles, so that decisions never wait.

Compiling takes seconds of Python for a large playbook.  The process is started when it is
first needed and again whenever it has died; it is never forked, since gRPC's threads are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import NamedTuple, TypeVar

from nextbest.core.errors import InvalidRequestError
from nextbest.core.expression.code import Code
from nextbest.server.errors import CompilerGoneError, CompileTimeError
from nextbest.server.playbook.exchange import (
    PICKLE_PROTOCOL,
    Ask,
    Compilation,
    Compile,
    Failure,
    Forgotten,
    Refusal,
)

MODULE = "nextbest.server.playbook.worker"

_log = logging.getLogger(__name__)

T = TypeVar("T")


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    pipe: Connection


class Compiler:
    """Speaks to the compiling process, one request at a time, from a thread of its own."""

    def __init__(self, compile_ms_max: int) -> None:
        self._compile_ms_max = compile_ms_max
        self._worker: _Worker | None = None
        self._closed = False
        # Held while a process is started or killed, never while it works.
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compile")

    @property
    def process(self) -> int:
        """The compiling process's id; 0 while there is none."""
        worker = self._worker
        return worker.process.pid if worker else 0

    async def compile(self, files: bytes) -> Compilation:
        """Compile a playbook's packed files.

        Raises CompileTimeError when it takes longer than `compile_ms_max`, and
        CompilerGoneError when the process died of it.
        """
        return await self._run(lambda: self._compile(files))

    async def condition(self, playbook: bytes, files: bytes, text: str) -> Code:
        """Compile a condition against the playbook of that hash, which has those packed files.

        Raises InvalidRequestError for a condition that does not compile, else as `compile`.
        """
        return await self._run(lambda: self._condition(playbook, files, text))

    def close(self) -> None:
        """End the process, whatever it is at."""
        with self._lock:
            self._closed = True
            if self._worker:
                self._worker.process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._end()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _compile(self, files: bytes) -> Compilation:
        answer = self._ask(Compile(files))
        if not isinstance(answer, Compilation):
            raise TypeError(f"answer to Compile: {type(answer).__name__}")
        return answer

    def _condition(self, playbook: bytes, files: bytes, text: str) -> Code:
        answer = self._ask(Ask(playbook, text))
        if isinstance(answer, Forgotten):
            answer = self._ask(Ask(playbook, text, files))
        if not isinstance(answer, Code):
            raise TypeError(f"answer to Ask: {type(answer).__name__}")
        return answer

    def _ask(self, request: object) -> object:
        worker = self._running()
        answer: object = None
        late = threading.Event()

        def kill() -> None:
            late.set()
            worker.process.kill()

        timer = threading.Timer(self._compile_ms_max / 1_000, kill)
        timer.start()
        try:
            worker.pipe.send_bytes(pickle.dumps(request, PICKLE_PROTOCOL))
            answer = pickle.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            answer = None
        finally:
            timer.cancel()
            timer.join()
        if answer is None or late.is_set():
            self._end()
        if answer is not None:
            return _checked(answer)
        if late.is_set():
            raise CompileTimeError(self._compile_ms_max)
        raise CompilerGoneError("the compiling process died")

    def _running(self) -> _Worker:
        if self._worker and self._worker.process.poll() is not None:
            self._end()
        with self._lock:
            if self._closed:
                raise CompilerGoneError("the server stops")
            if self._worker is None:
                try:
                    self._worker = _start()
                except OSError as error:
                    raise CompilerGoneError(f"no compiling process: {error.strerror}") from error
            return self._worker

    def _end(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker:
            worker.process.kill()
            worker.process.wait()
            worker.pipe.close()


def _start() -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    with theirs, contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        process = subprocess.Popen(
            # Not the working directory: what lies there is no part of the server.
            [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            # A group of its own: Ctrl-C is for the server.
            process_group=0,
        )
        undo.pop_all()
    return _Worker(process, ours)


def _checked(answer: object) -> object:
    if isinstance(answer, Refusal):
        raise InvalidRequestError(*answer)
    if isinstance(answer, Failure):
        _log.error("compiling failed on our own fault:\n%s", answer.trace)
        raise RuntimeError("compiling failed; its trace is above")
    return answer
