"""The compiling process: reads a request from its pipe, compiles, answers; nothing else.

It owns the checkers, which cannot leave their process, and ends with the server.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import threading
from collections import OrderedDict
from multiprocessing.connection import Connection

from nextbest.core.errors import InvalidRequestError
from nextbest.core.expression.code import Code
from nextbest.server.error_text import stack
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.exchange import (
    PICKLE_PROTOCOL,
    Ask,
    Compilation,
    Compile,
    Failure,
    Forgotten,
    Refusal,
    unpack,
    write_plan,
)
from nextbest.server.playbook.question import condition
from nextbest.server.playbook.scope import Checker

CHECKERS_MAX = 8
# Decisions come first where processors are few.
NICENESS = 5


class Worker:
    """Answers requests, and keeps the checkers of the playbooks last used."""

    def __init__(self) -> None:
        self._checkers: OrderedDict[bytes, Checker] = OrderedDict()

    def answer(self, request: object) -> object:
        """The answer to one request; a Failure for what is our own fault."""
        try:
            if isinstance(request, Ask):
                return self._ask(request)
            if isinstance(request, Compile):
                return self._compile(request.files)
            raise TypeError(f"request: {type(request).__name__}")
        except InvalidRequestError as error:
            return Refusal(error.field, error.seen, error.allowed)
        except Exception as error:
            return Failure(stack(error))

    def _compile(self, files: bytes) -> Compilation:
        compiled = compile_playbook(unpack(files))
        plan, checker = compiled.plan, compiled.checker
        if plan is None or checker is None:
            return Compilation(b"", b"", compiled.faults)
        self._checkers[plan.hash] = checker
        self._checkers.move_to_end(plan.hash)
        if len(self._checkers) > CHECKERS_MAX:
            self._checkers.popitem(last=False)
        return Compilation(plan.hash, write_plan(plan), compiled.faults)

    def _ask(self, request: Ask) -> Code | Forgotten:
        if request.files and request.playbook not in self._checkers:
            self._compile(request.files)
        checker = self._checkers.get(request.playbook)
        if checker is None:
            return Forgotten()
        self._checkers.move_to_end(request.playbook)
        return condition(checker, request.condition)


def main() -> None:
    """Answer on the pipe whose descriptor is the argument until its other end closes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # They reach the whole group or container; the server says when to stop.
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    pipe = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with_server, args=(pipe.fileno(),), daemon=True).start()
    worker = Worker()
    try:
        while True:
            answer = worker.answer(pickle.loads(pipe.recv_bytes()))
            pipe.send_bytes(pickle.dumps(answer, PICKLE_PROTOCOL))
    except (EOFError, OSError):
        return


def _end_with_server(pipe: int) -> None:
    """A server that was killed leaves no compiling process, not even in mid-compile."""
    watch = select.poll()
    watch.register(pipe, 0)
    watch.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
