"""Helpers: processes beside the server that answer one request at a time, so that nobody waits.

A helper is started when it is first needed and again whenever it has died; it is never forked,
since gRPC's threads are not.  Both ends of the pipe are here.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import NamedTuple, TypeVar

_PROTOCOL = 5

T = TypeVar("T")


class HelperGoneError(Exception):
    """The process died during the work, or cannot be started; the text says why."""


class HelperLateError(Exception):
    """The process took longer than it may, and was ended."""


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    pipe: Connection


class Helper:
    """Speaks to a helper, one request at a time, from a thread of its own.

    module: what it runs, which calls `answer_all`.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._worker: _Worker | None = None
        self._closed = False
        # Held while a process is started or killed, never while it works.
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    @property
    def process(self) -> int:
        """The process's id; 0 while there is none."""
        worker = self._worker
        return worker.process.pid if worker else 0

    async def run(self, work: Callable[[], T]) -> T:
        """Do something that asks, in the helper's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def ask(self, request: object, most_ms: int) -> object:
        """The answer to a request, in the helper's thread.

        Raises HelperGoneError, and HelperLateError after `most_ms`.
        """
        worker = self._running()
        answer: bytes | None = None
        late = threading.Event()

        def kill() -> None:
            late.set()
            worker.process.kill()

        timer = threading.Timer(most_ms / 1_000, kill)
        timer.start()
        try:
            worker.pipe.send_bytes(pickle.dumps(request, _PROTOCOL))
            answer = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            answer = None
        finally:
            timer.cancel()
            timer.join()
        if answer is None or late.is_set():
            self.end()
        if answer is not None:
            return pickle.loads(answer)
        if late.is_set():
            raise HelperLateError
        raise HelperGoneError("process died")

    def end(self) -> None:
        """End the process; the next request starts another."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker:
            worker.process.kill()
            worker.process.wait()
            worker.pipe.close()

    def close(self) -> None:
        """End the process for good, whatever it is at."""
        with self._lock:
            self._closed = True
            if self._worker:
                self._worker.process.kill()
        self._thread.shutdown(cancel_futures=True)
        self.end()

    def _running(self) -> _Worker:
        if self._worker and self._worker.process.poll() is not None:
            self.end()
        with self._lock:
            if self._closed:
                raise HelperGoneError("server stops")
            if self._worker is None:
                try:
                    self._worker = _start(self._module)
                except OSError as error:
                    raise HelperGoneError(f"no process: {error.strerror}") from error
            return self._worker


def _start(module: str) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    with theirs, contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        process = subprocess.Popen(
            # Not the working directory: what lies there is no part of the server.
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            # A group of its own: Ctrl-C is for the server.
            process_group=0,
        )
        undo.pop_all()
    return _Worker(process, ours)


def answer_all(answer: Callable[[object], object], niceness: int) -> None:
    """Answer on the pipe whose descriptor is the argument until its other end closes.

    Of a helper's own process: decisions come first where processors are few.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # They reach the whole group or container; the server says when to stop.
        signal.signal(number, signal.SIG_IGN)
    os.nice(niceness)
    pipe = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with_server, args=(pipe.fileno(),), daemon=True).start()
    try:
        while True:
            answered = answer(pickle.loads(pipe.recv_bytes()))
            pipe.send_bytes(pickle.dumps(answered, _PROTOCOL))
    except (EOFError, OSError):
        return


def _end_with_server(pipe: int) -> None:
    """A server that was killed leaves no helper, not even one that is at work."""
    watch = select.poll()
    watch.register(pipe, 0)
    watch.poll()
    os._exit(0)
