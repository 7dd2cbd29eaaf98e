"""The errors the core raises, and what a caller of either lane gets for each.

The native code reads this table once, so that both lanes answer alike.
"""

from typing import ClassVar

# google.rpc.Code
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
INTERNAL = 13
UNAVAILABLE = 14

OVERLOADED = "more calls come than can be answered in time: retry later, or elsewhere"


class NextbestError(Exception):
    """Base of every error that a caller can cause.

    status_code: of gRPC.  status_reason: of google.rpc.ErrorInfo; empty for what no call answers.
    retry_ms: when a retry may help, in milliseconds; 0 when none does.
    """

    status_code: ClassVar[int] = INTERNAL
    status_reason: ClassVar[str] = ""
    retry_ms: int = 0


class InvalidRequestError(NextbestError, ValueError):
    """A field of a request is not allowed.

    `field` is the path of the field ("context.page"), `seen` what it held: a name, or a value's
    type or length; never a value or an id.  `allowed` is what it may hold, or empty.
    """

    status_code = INVALID_ARGUMENT
    status_reason = "INVALID_REQUEST"

    def __init__(self, field: str, seen: str, allowed: str) -> None:
        super().__init__(f"{field}: {seen}" + (f", allowed: {allowed}" if allowed else ""))
        self.field = field
        self.seen = seen
        self.allowed = allowed


class UnknownNameError(InvalidRequestError):
    """A field names something the playbook does not define; `allowed` has the nearest name."""

    status_reason = "UNKNOWN_NAME"


class TooLargeError(InvalidRequestError):
    """A request is larger than a call may send."""

    status_code = RESOURCE_EXHAUSTED
    status_reason = "TOO_LARGE"


class AlreadyUsedError(NextbestError):
    """An id was used before for another request."""

    status_code = ALREADY_EXISTS
    status_reason = "ALREADY_USED"

    def __init__(self, field: str, seen: str) -> None:
        super().__init__(f"{field}: {seen} was used for another request")
        self.field = field
        self.seen = seen


class StoreFullError(NextbestError):
    """The store holds `profiles_max` identities and takes no new one."""

    status_code = RESOURCE_EXHAUSTED
    status_reason = "STORE_FULL"
    retry_ms = 60_000


class TombstonesFullError(NextbestError):
    """As many erased identities are remembered as may be; who is known can still be erased."""

    status_code = RESOURCE_EXHAUSTED
    status_reason = "TOMBSTONES_FULL"


class TooLateError(InvalidRequestError):
    """A mutation is older than the horizon up to which repeats are recognised."""

    status_code = FAILED_PRECONDITION
    status_reason = "TOO_LATE"


class NoPlaybookError(NextbestError):
    """No playbook is active yet."""

    status_code = FAILED_PRECONDITION
    status_reason = "NO_PLAYBOOK"


class UnknownGenerationError(InvalidRequestError):
    """No generation of that number can be activated."""

    status_code = NOT_FOUND
    status_reason = "UNKNOWN_GENERATION"


class PositionLostError(NextbestError):
    """The position is not on this log's history; retry the write with the same id."""

    status_code = ABORTED
    status_reason = "POSITION_LOST"


class DeadlineError(NextbestError):
    """The deadline passed before an answer was ready."""

    status_code = DEADLINE_EXCEEDED
    status_reason = "DEADLINE"


class LogBusyError(NextbestError):
    """As many writes wait for the log as may; nothing of this one was kept."""

    status_code = RESOURCE_EXHAUSTED
    status_reason = "LOG_BUSY"
    retry_ms = 100


class LogFailedError(NextbestError):
    """The log did not say whether it has the write: retry it with the same id."""

    status_code = UNAVAILABLE
    status_reason = "LOG_FAILED"
    retry_ms = 100


class LogAwayError(NextbestError):
    """The log is away: nothing of the write was kept; retry it later."""

    status_code = UNAVAILABLE
    status_reason = "LOG_AWAY"
    retry_ms = 200


class WritesRefusedError(NextbestError):
    """This node takes no writes for now: its clock or its log cannot be trusted."""

    status_code = UNAVAILABLE
    status_reason = "WRITES_REFUSED"
    retry_ms = 1_000


class AckRefusedError(NextbestError):
    """The log cannot give the level of acknowledgement; nothing of the write was kept."""

    status_code = FAILED_PRECONDITION
    status_reason = "ACK_REFUSED"


class PositionNotReachedError(NextbestError):
    """This node has not applied the position yet; another one may have."""

    status_code = UNAVAILABLE
    status_reason = "POSITION_NOT_REACHED"
    retry_ms = 100


class OverloadedError(NextbestError):
    """More calls come than can be answered in time; nothing was done: retry it later."""

    status_code = RESOURCE_EXHAUSTED
    status_reason = "OVERLOADED"

    def __init__(self, retry_ms: int) -> None:
        super().__init__(OVERLOADED)
        self.retry_ms = retry_ms


class UnknownKindError(NextbestError):
    """The log holds a kind of mutation that this version does not know: upgrade the node."""


class NoMemoryError(NextbestError, MemoryError):
    """The node has no memory left for the call."""

    status_code = RESOURCE_EXHAUSTED
    status_reason = "NO_MEMORY"
    retry_ms = 1_000
