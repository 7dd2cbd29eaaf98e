"""Errors that the server raises besides those of the core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nextbest.core.errors import NextbestError


class BusyError(NextbestError):
    """The server has as much work in flight as it takes; retrying later helps."""

    def __init__(self, what: str, bound: int) -> None:
        super().__init__(f"{what}: over the bound of {bound}")
        self.what = what
        self.bound = bound


class ConfigError(NextbestError):
    """The configuration has faults; `faults` holds every one of them, a line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class ListenError(NextbestError):
    """An address cannot be listened on."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"{address}: {why}")
        self.address = address
        self.why = why


class ArchiveError(NextbestError):
    """The data folder cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a playbook.  `line` and `column` count from 1; `warning` does not refuse it."""

    file: str
    line: int
    column: int
    what: str
    seen: str = ""
    allowed: str = ""
    warning: bool = False

    @property
    def place(self) -> str:
        """Where it is: `file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def text(self) -> str:
        """What is wrong, what was seen and what is allowed, in one line."""
        parts = [self.what]
        if self.seen:
            parts.append(f"seen {self.seen}")
        if self.allowed:
            parts.append(f"allowed {self.allowed}")
        return ", ".join(parts)


class FaultyPlaybookError(NextbestError):
    """A playbook has errors and cannot be published; `faults` holds every one of them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(f"the playbook has {len(faults)} faults")
        self.faults = tuple(faults)
