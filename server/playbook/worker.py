"""The compiling process: reads a request from its pipe, compiles, answers; nothing else.

It owns the checkers, which cannot leave their process, and ends with the server.
"""

from __future__ import annotations

from collections import OrderedDict

from nextbest.core.errors import InvalidRequestError
from nextbest.core.expression.code import Code
from nextbest.server.error_text import stack
from nextbest.server.helper import answer_all
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.exchange import (
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


if __name__ == "__main__":
    answer_all(Worker().answer, NICENESS)
