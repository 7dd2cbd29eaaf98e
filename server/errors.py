"""Errors that the server raises besides those of the core."""

from __future__ import annotations

from collections.abc import Sequence

from nextbest.core.errors import (
    DEADLINE_EXCEEDED,
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    NextbestError,
)
from nextbest.server.playbook.faults import Fault, Severity


class BusyError(NextbestError):
    """The server has as much work in flight as it takes; retrying later helps."""

    status_code = RESOURCE_EXHAUSTED
    status_reason = "BUSY"
    retry_ms = 100

    def __init__(self, what: str, bound: int) -> None:
        super().__init__(f"{what}: over the bound of {bound}")
        self.what = what
        self.bound = bound


class CompileTimeError(NextbestError):
    """Compiling took longer than a playbook or a condition may take."""

    status_code = DEADLINE_EXCEEDED
    status_reason = "COMPILE_TIME"

    def __init__(self, compile_ms_max: int) -> None:
        super().__init__(
            f"compiling: longer than {compile_ms_max} ms (rpc.compile_ms_max); allowed: a smaller "
            "playbook, or more time"
        )
        self.what = "compiling"
        self.bound = compile_ms_max


class CompilerGoneError(NextbestError):
    """The compiling process died during the work; the next work starts another."""

    status_code = UNAVAILABLE
    status_reason = "COMPILER_GONE"
    retry_ms = 1_000


class ConfigError(NextbestError):
    """The configuration has faults; `faults` holds every one of them, a line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class ListenError(NextbestError):
    """An address cannot be listened on.

    `option` of `nextbest serve` gives another one, and `free` is one near that it could give.
    """

    def __init__(self, address: str, why: str, option: str = "", free: str = "") -> None:
        super().__init__(f"{address}: {why}")
        self.address = address
        self.why = why
        self.option = option
        self.free = free


class LaneError(NextbestError):
    """The fast lane cannot be served, or a thread of it ended by itself."""


class DataError(NextbestError):
    """The data folder cannot be used: no permission, no space, or another process has it."""

    status_code = UNAVAILABLE
    status_reason = "DATA"
    retry_ms = 1_000


class NoLogError(NextbestError):
    """The server was not told to keep a log, or snapshots."""

    status_code = FAILED_PRECONDITION
    status_reason = "NO_LOG"


class UnknownTraceError(NextbestError):
    """No call of that trace is remembered here."""

    status_code = NOT_FOUND
    status_reason = "UNKNOWN_TRACE"

    def __init__(self) -> None:
        super().__init__(
            "trace_id: no call of it is remembered here; `nextbest trace` lists those that are, "
            "and other nodes have their own"
        )


class RecoveryError(NextbestError):
    """What was kept cannot be brought back: a part is missing that nothing here can replace."""


class ForeignPlaybookError(NextbestError):
    """A playbook of the log compiles to another one here: another version published it."""

    status_code = FAILED_PRECONDITION
    status_reason = "FOREIGN_PLAYBOOK"

    def __init__(self, seen: bytes, wanted: bytes) -> None:
        super().__init__(f"playbook {wanted.hex()}: compiles to {seen.hex()} here")
        self.seen = seen
        self.wanted = wanted


class FaultyPlaybookError(NextbestError):
    """A playbook has errors and cannot be published.

    `faults` holds them and the warnings beside them, `errors` is how many errors there are.
    """

    status_code = INVALID_ARGUMENT
    status_reason = "FAULTY_PLAYBOOK"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        self.errors = sum(one.count for one in faults if one.severity is Severity.ERROR)
        super().__init__(f"the playbook has {self.errors} fault{'s' if self.errors != 1 else ''}")
