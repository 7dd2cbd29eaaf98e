"""The compiler: one process beside the server that compiles, so that decisions never wait.

Compiling takes seconds of Python for a large playbook.
"""

from __future__ import annotations

import logging

from nextbest.core.errors import InvalidRequestError
from nextbest.core.expression.code import Code
from nextbest.server.errors import CompilerGoneError, CompileTimeError
from nextbest.server.helper import Helper, HelperGoneError, HelperLateError
from nextbest.server.playbook.exchange import (
    Ask,
    Compilation,
    Compile,
    Failure,
    Forgotten,
    Refusal,
)

MODULE = "nextbest.server.playbook.worker"

_log = logging.getLogger(__name__)


class Compiler:
    """Has a helper compile."""

    def __init__(self, compile_ms_max: int) -> None:
        self._compile_ms_max = compile_ms_max
        self._helper = Helper(MODULE, "compile")

    @property
    def process(self) -> int:
        """The compiling process's id; 0 while there is none."""
        return self._helper.process

    async def compile(self, files: bytes) -> Compilation:
        """Compile a playbook's packed files.

        Raises CompileTimeError when it takes longer than `compile_ms_max`, and
        CompilerGoneError when the process died of it.
        """
        return await self._helper.run(lambda: self._compile(files))

    async def condition(self, playbook: bytes, files: bytes, text: str) -> Code:
        """Compile a condition against the playbook of that hash, which has those packed files.

        Raises InvalidRequestError for a condition that does not compile, else as `compile`.
        """
        return await self._helper.run(lambda: self._condition(playbook, files, text))

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._helper.close()

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
        try:
            return _checked(self._helper.ask(request, self._compile_ms_max))
        except HelperLateError:
            raise CompileTimeError(self._compile_ms_max) from None
        except HelperGoneError as error:
            raise CompilerGoneError(f"compiling: {error}") from error


def _checked(answer: object) -> object:
    if isinstance(answer, Refusal):
        raise InvalidRequestError(*answer)
    if isinstance(answer, Failure):
        _log.error("compiling failed on our own fault:\n%s", answer.trace)
        raise RuntimeError("compiling failed; its trace is above")
    return answer
