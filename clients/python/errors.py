"""What a call may raise: one exception for each kind of refusal, with the server's details."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_FAULTY = "FAULTY_PLAYBOOK"
FAULTS_SHOWN_MAX = 10


class Violation(NamedTuple):
    """One field that the server refused, and why."""

    field: str
    description: str


class NextbestError(Exception):
    """Base of all.  `reason` is the server's own code for it, "" when it gave none.

    `violations` are the refused fields, `metadata` more of the server's details, and
    `retry_after` the seconds after which a retry may help, None when none will.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        metadata: dict[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.violations = violations
        self.metadata = metadata or {}
        self.retry_after = retry_after


class InvalidArgumentError(NextbestError):
    """The request is not allowed; `violations` name the fields."""


class FaultyPlaybookError(InvalidArgumentError):
    """The playbook has `faults` faults, of which `violations` has those that an answer can hold.

    A violation's field is "file:line:column", its description what is wrong there.
    """

    @property
    def faults(self) -> int:
        """How many faults there are."""
        count = self.metadata.get("faults", "")
        return int(count) if count.isdecimal() else len(self.violations)

    def __str__(self) -> str:
        """The first faults, a line each with its place, and how many more there are."""
        shown = self.violations[:FAULTS_SHOWN_MAX]
        lines = [self.message, *(f"{one.field}: {one.description}" for one in shown)]
        if shown and self.faults > len(shown):
            lines.append(f"and {self.faults - len(shown):,} more")
        return "\n".join(lines)


class AlreadyUsedError(NextbestError):
    """The id was used for another request."""


class NotFoundError(NextbestError):
    """What the request names does not exist."""


class PreconditionError(NextbestError):
    """The server's state does not allow it: no playbook, or an event that is too late."""


class OverloadedError(NextbestError):
    """A bound is reached; see `retry_after`."""


class PositionLostError(NextbestError):
    """The position is on no history the server knows; write again with the same id."""


class DeadlineError(NextbestError):
    """The deadline passed; whether a write was done is unknown, and repeating it is safe."""


class UnavailableError(NextbestError):
    """No server answered, after the retries."""


_KINDS: dict[grpc.StatusCode, type[NextbestError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyUsedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.ABORTED: PositionLostError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def from_call(error: Any) -> NextbestError:
    """The exception for a failed call, a grpc.RpcError of either stack."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return from_status(status_pb2.Status.FromString(value))
            except ValueError:
                break
    code = error.code()
    text = error.details() or code.name.lower()
    return _KINDS.get(code, NextbestError)(text, code=code)


def from_status(status: status_pb2.Status) -> NextbestError:
    """The exception for one failed entry of a batch or stream."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    request = error_details_pb2.BadRequest()
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    retry_after: float | None = None
    for detail in status.details:
        detail.Unpack(request) or detail.Unpack(info)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    kind = _KINDS.get(code, NextbestError)
    if request.field_violations and code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # Too large a request stays too large: nothing is overloaded.
        kind = InvalidArgumentError
    if info.reason == _FAULTY:
        kind = FaultyPlaybookError
    return kind(
        status.message,
        code=code,
        reason=info.reason,
        violations=tuple(Violation(v.field, v.description) for v in request.field_violations),
        metadata=dict(info.metadata),
        retry_after=retry_after,
    )
