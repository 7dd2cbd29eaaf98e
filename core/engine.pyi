"""Types of the native engine."""

from collections.abc import Sequence

from nextbest.core.expression.code import Code

def supports_patterns() -> bool:
    """Whether `matches` is available: the engine was built with RE2."""

class Expression:
    """A Code that can be evaluated from Python: for tests, tools and constant folding."""

    def __init__(self, code: Code, arena_max: int = ...) -> None:
        """Load `code`; `arena_max` bounds the bytes of one evaluation, inputs included.

        Raises ValueError when the code is not sound.
        """

    def evaluate(self, inputs: Sequence[object] = (), steps_max: int = ...) -> object:
        """The value for these inputs, by slot; None is an unset one.

        Raises EvaluationError when the result is an error, TypeError, OverflowError,
        MemoryError or ValueError for an input that is no value.
        """

    def measure(self, inputs: Sequence[object], times: int) -> int:
        """How many of `times` evaluations gave true, for benchmarks."""
