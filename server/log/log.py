"""The log as the node sees it: what every backend does, and the errors all of them raise.

A backend stores framed entries (`entry.py`) and does not look inside them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, overload

from nextbest.core.errors import (
    ABORTED,
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    UNAVAILABLE,
    NextbestError,
)

# Queues: each has an append in flight of its own, and on Redis a connection of its own.
LOGGED_QUEUE = 0
REPLICATED_QUEUE = 1
QUEUES = 2

# What one read may bring, in bytes: a reply is held twice while it is parsed.
READ_BYTES_MAX = 8 << 20
READ_ENTRIES_MAX = 10_000


class Position(NamedTuple):
    """A place in the log: epoch, from 1; sequence in it, from 0; nonce of the entry there."""

    epoch: int
    sequence: int
    nonce: int


# Before everything.
BEFORE = Position(0, 0, 0)


class Record(NamedTuple):
    """An entry as stored: its epoch, its sequence, and its framed bytes."""

    epoch: int
    sequence: int
    data: bytes


class Entries(Sequence[Record]):
    """Entries as stored, oldest first, in columns: a start reads millions, each but its bytes."""

    __slots__ = ("data", "epochs", "sequences")

    def __init__(self, epochs: array[int], sequences: array[int], data: list[bytes]) -> None:
        self.epochs = epochs
        self.sequences = sequences
        self.data = data

    @classmethod
    def of(cls, records: Sequence[Record]) -> Entries:
        """The entries of some records."""
        return cls(
            array("Q", [record.epoch for record in records]),
            array("Q", [record.sequence for record in records]),
            [record.data for record in records],
        )

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Entries: ...
    def __getitem__(self, at: int | slice) -> Record | Entries:
        if isinstance(at, slice):
            return Entries(self.epochs[at], self.sequences[at], self.data[at])
        return Record(self.epochs[at], self.sequences[at], self.data[at])


@dataclass(frozen=True, slots=True)
class LogInfo:
    """What connecting found out.

    `replication_id` names the branch that appends go to; an epoch is opened on one.
    `replicas` is how many an append at REPLICATED waits for.  `replicated_refused` says why
    nothing is acknowledged at REPLICATED; empty when it may be.  `time_ms` is the log's clock,
    in milliseconds since 1970.
    """

    replication_id: str
    replicas: int
    replicated_refused: str
    time_ms: int


class LogError(NextbestError):
    """Base of what the log raises; the log is not there as it should be."""

    status_code = UNAVAILABLE
    status_reason = "LOG"
    retry_ms = 1_000


class LogAwayError(LogError):
    """The log cannot be reached, or refused; nothing of what was asked was done."""

    status_reason = "LOG_AWAY"


class LogFullError(LogError):
    """The log has no room: nothing was appended; it goes on when there is room again."""

    status_reason = "LOG_FULL"


class LogResetError(LogError):
    """The log is not there any more though it was: wiped.  Nothing was appended."""

    status_reason = "LOG_RESET"


class LogInUseError(LogError):
    """Another process has the log's file open; `pid` is it, 0 when it cannot be told."""

    status_code = FAILED_PRECONDITION
    status_reason = "LOG_IN_USE"
    retry_ms = 0

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(f"{path}: in use by " + (f"process {pid}" if pid else "another process"))
        self.path = path
        self.pid = pid


class LogPlaceError(LogError):
    """A setting of the log, such as its place, is not allowed; the text has no password."""

    status_code = INVALID_ARGUMENT
    status_reason = "LOG_PLACE"
    retry_ms = 0

    def __init__(self, field: str, seen: str, allowed: str) -> None:
        super().__init__(f"{field}: {seen}, allowed: {allowed}")
        self.field = field
        self.seen = seen
        self.allowed = allowed


class NotReplicatedError(LogError):
    """The log keeps one copy: nothing can be acknowledged at REPLICATED.  Nothing was appended."""

    status_code = FAILED_PRECONDITION
    status_reason = "NOT_REPLICATED"
    retry_ms = 0


class UnknownOutcomeError(LogError):
    """Nobody knows whether the entry is in the log: append it again, it does no harm twice.

    `new_epoch` is True when the log answered, but as another branch than the one appended to:
    the next append needs an epoch of its own.
    """

    status_reason = "LOG_FAILED"
    retry_ms = 100

    def __init__(self, why: str, new_epoch: bool = False) -> None:
        super().__init__(why)
        self.new_epoch = new_epoch


class StaleEpochError(LogError):
    """The log is at a later epoch than the entry's: it was not appended."""

    status_reason = "LOG_STALE"
    retry_ms = 100

    def __init__(self, epoch: int) -> None:
        super().__init__(f"epoch: {epoch}, the log is past it")
        self.epoch = epoch


class EpochConflictError(LogError):
    """The log's last entry is not the expected one: no epoch was opened."""

    status_reason = "LOG_STALE"
    retry_ms = 100

    def __init__(self, expected: tuple[int, int] | None, seen: tuple[int, int] | None) -> None:
        super().__init__(f"last entry: {_shown(seen)}, expected: {_shown(expected)}")
        self.expected = expected
        self.seen = seen


class LogGapError(LogError):
    """Entries are missing between two that were read: trimmed, or never there.

    Reading on would skip them in silence; the reader starts again from a snapshot.
    """

    status_code = ABORTED
    status_reason = "LOG_GAP"

    def __init__(self, after: tuple[int, int], seen: tuple[int, int]) -> None:
        super().__init__(f"entry: {_shown(seen)} follows {_shown(after)}")
        self.after = after
        self.seen = seen


class Log(Protocol):
    """One client of one log.  Used by one task for each queue, one reader, and one for the rest.

    `kind` is "memory", "sqlite" or "redis"; `place` says where it is, without passwords.
    Every method may raise LogAwayError; `connect` is what helps then.
    """

    kind: str
    place: str

    async def connect(self) -> LogInfo:
        """Open everything, anew where it was open.  Raises LogInUseError."""
        ...

    async def self_check(self) -> tuple[int, str]:
        """Anew, how many replicas REPLICATED waits for, and why it is refused; as of LogInfo."""
        ...

    async def stays(self) -> bool | None:
        """Whether what is connected to keeps the log: False when another has taken its place.

        None where that is not known.
        """
        ...

    async def last(self) -> Record | None:
        """The newest entry; None for a log without one."""
        ...

    async def first(self) -> Record | None:
        """The oldest entry that is kept; None for a log without one."""
        ...

    async def entry(self, epoch: int, sequence: int) -> Record | None:
        """The entry there; None when there is none (any more)."""
        ...

    async def read(self, after: tuple[int, int], wait_ms: int) -> Entries:
        """Entries behind `after`, oldest first; waits up to `wait_ms` for one, then is empty.

        At most READ_ENTRIES_MAX, and as many as should fit in READ_BYTES_MAX.
        """
        ...

    async def open_epoch(
        self, epoch: int, data: bytes, expected: tuple[int, int] | None, create: bool
    ) -> None:
        """Append sequence 0 of an epoch, if the last entry is still `expected` (None: no entry).

        Only with `create` may the log be made.  Raises EpochConflictError, StaleEpochError,
        LogResetError (there is no log, and `create` is False), LogFullError: not appended; and
        UnknownOutcomeError.
        """
        ...

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        """Append an entry and return its sequence, which is never 0.

        With `replicas` above 0 it returns only when that many hold it.  Raises StaleEpochError,
        LogResetError, LogFullError, LogAwayError, NotReplicatedError: not appended; and
        UnknownOutcomeError.
        """
        ...

    async def trim(self, before: tuple[int, int]) -> None:
        """Let go of the entries before this one, which itself stays."""
        ...

    async def time_ms(self) -> int:
        """The log's clock, in milliseconds since 1970."""
        ...

    async def size(self) -> tuple[int, int]:
        """How many entries it keeps, and about how many bytes they take."""
        ...

    async def close(self) -> None:
        """Let go of everything; calls in flight end with an error."""
        ...


def _shown(place: tuple[int, int] | None) -> str:
    return f"{place[0]}-{place[1]}" if place else "none"
