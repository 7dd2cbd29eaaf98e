"""The errors the core raises; the server maps them to gRPC statuses in one place."""


class NextbestError(Exception):
    """Base of every error that a caller can cause."""


class InvalidRequestError(NextbestError, ValueError):
    """A field of a request is not allowed.

    `field` is the path of the field ("context.page"), `seen` what it held, cut to a
    readable length, and `allowed` what it may hold, or empty.
    """

    def __init__(self, field: str, seen: str, allowed: str) -> None:
        super().__init__(f"{field}: {seen}" + (f", allowed: {allowed}" if allowed else ""))
        self.field = field
        self.seen = seen
        self.allowed = allowed


class UnknownNameError(InvalidRequestError):
    """A field names something the playbook does not define; `allowed` has the nearest name."""


class AlreadyUsedError(NextbestError):
    """An id was used before for another request."""

    def __init__(self, field: str, seen: str) -> None:
        super().__init__(f"{field}: {seen} was used for another request")
        self.field = field
        self.seen = seen


class StoreFullError(NextbestError):
    """The store holds `profiles_max` identities and takes no new one."""


class TooLateError(InvalidRequestError):
    """A mutation is older than the horizon up to which repeats are recognised."""


class NoPlaybookError(NextbestError):
    """No playbook is active yet."""


class UnknownGenerationError(InvalidRequestError):
    """No generation of that number can be activated."""


class PositionLostError(NextbestError):
    """The position is not on this log's history; retry the write with the same id."""


class DeadlineError(NextbestError):
    """The deadline passed before an answer was ready."""
