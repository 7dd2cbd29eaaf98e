"""What can go wrong before or instead of a measurement."""

from __future__ import annotations

from collections.abc import Sequence

MISSING = "nextbest bench needs libnghttp2: install libnghttp2-dev and pkg-config, then build again"


class BenchError(Exception):
    """No measurement was made; the text says why."""


class OptionError(BenchError, ValueError):
    """Options that are not allowed; `faults` has a line for each: the option, seen, allowed."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class RequestsError(BenchError, ValueError):
    """A line of a requests file that is no request."""


class ResultError(BenchError, ValueError):
    """A file that holds no result of a run."""


class UnreachableError(BenchError):
    """A target to which no connection could be opened."""


class MissingError(BenchError):
    """Something that has to be installed first."""


def option_fault(option: str, seen: object, allowed: str) -> str:
    """A fault of one option."""
    return f"{option}: {seen!r}, allowed: {allowed}"
