"""The one map from errors to gRPC statuses, with google.rpc details.

A client gets the code, the field and the reason; whatever is not in the map is our own bug,
is logged, and tells the client nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from nextbest.core import errors
from nextbest.server.errors import (
    ArchiveError,
    BusyError,
    CompilerGoneError,
    CompileTimeError,
    FaultyPlaybookError,
)

DOMAIN = "nextbest"
FAULTS_MAX = 100
TEXT_BYTES_MAX = 200
# gRPC drops trailers over 8 KiB, and details travel as base64 beside the message.
DETAIL_BYTES_MAX = 4_000

_log = logging.getLogger(__name__)

Details = Iterable[Message]


class _Rule(NamedTuple):
    code: int
    reason: str
    details: Callable[[Any], Details]
    retry_ms: int = 0


def _cut(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= TEXT_BYTES_MAX:
        return encoded.decode("utf-8")
    return encoded[: TEXT_BYTES_MAX - 3].decode("utf-8", "ignore") + "..."


def _none(_: errors.NextbestError) -> Details:
    return ()


def _violation(field: str, text: str) -> error_details_pb2.BadRequest.FieldViolation:
    return error_details_pb2.BadRequest.FieldViolation(field=_cut(field), description=_cut(text))


def _field(error: errors.InvalidRequestError) -> Details:
    text = f"{error.seen}, allowed: {error.allowed}" if error.allowed else error.seen
    return (error_details_pb2.BadRequest(field_violations=[_violation(error.field, text)]),)


def _used(error: errors.AlreadyUsedError) -> Details:
    text = f"{error.seen} was used for another request"
    return (error_details_pb2.BadRequest(field_violations=[_violation(error.field, text)]),)


def _faults(error: FaultyPlaybookError) -> Details:
    """As many faults as fit into the trailing metadata, errors first."""
    request = error_details_pb2.BadRequest()
    for fault in sorted(error.faults, key=lambda fault: fault.severity)[:FAULTS_MAX]:
        place = f"{fault.file}:{fault.line}:{fault.column}"
        violation = _violation(place, str(fault).removeprefix(f"{place}: "))
        if request.ByteSize() + violation.ByteSize() > DETAIL_BYTES_MAX:
            break
        request.field_violations.append(violation)
    return (request,)


_RULES: dict[type[errors.NextbestError], _Rule] = {
    errors.InvalidRequestError: _Rule(code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", _field),
    errors.UnknownNameError: _Rule(code_pb2.INVALID_ARGUMENT, "UNKNOWN_NAME", _field),
    errors.AlreadyUsedError: _Rule(code_pb2.ALREADY_EXISTS, "ALREADY_USED", _used),
    errors.StoreFullError: _Rule(code_pb2.RESOURCE_EXHAUSTED, "STORE_FULL", _none, 60_000),
    errors.TooLateError: _Rule(code_pb2.FAILED_PRECONDITION, "TOO_LATE", _field),
    errors.NoPlaybookError: _Rule(code_pb2.FAILED_PRECONDITION, "NO_PLAYBOOK", _none),
    errors.UnknownGenerationError: _Rule(code_pb2.NOT_FOUND, "UNKNOWN_GENERATION", _field),
    errors.PositionLostError: _Rule(code_pb2.ABORTED, "POSITION_LOST", _none),
    errors.DeadlineError: _Rule(code_pb2.DEADLINE_EXCEEDED, "DEADLINE", _none),
    BusyError: _Rule(code_pb2.RESOURCE_EXHAUSTED, "BUSY", _none, 100),
    FaultyPlaybookError: _Rule(code_pb2.INVALID_ARGUMENT, "FAULTY_PLAYBOOK", _faults),
    CompileTimeError: _Rule(code_pb2.DEADLINE_EXCEEDED, "COMPILE_TIME", _none),
    CompilerGoneError: _Rule(code_pb2.UNAVAILABLE, "COMPILER_GONE", _none, 1_000),
    ArchiveError: _Rule(code_pb2.UNAVAILABLE, "ARCHIVE", _none, 1_000),
}


def status_of(error: BaseException) -> status_pb2.Status:
    """The status that a client gets for `error`."""
    for kind in type(error).__mro__:
        if rule := _RULES.get(kind):
            return _status(rule, error)
    _log.error("a call failed on our own fault", exc_info=error)
    return status_pb2.Status(code=code_pb2.INTERNAL, message="internal error; see the log")


def _status(rule: _Rule, error: BaseException) -> status_pb2.Status:
    message = _cut(str(error)) or rule.reason.lower().replace("_", " ")
    status = status_pb2.Status(code=rule.code, message=message)
    info = error_details_pb2.ErrorInfo(reason=rule.reason, domain=DOMAIN)
    for name in ("field", "seen", "allowed", "what", "bound"):
        if hasattr(error, name):
            info.metadata[name] = _cut(str(getattr(error, name)))
    _add(status, info)
    for detail in rule.details(error):
        _add(status, detail)
    if rule.retry_ms:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(rule.retry_ms)
        _add(status, retry)
    return status


def _add(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)


async def refuse(context: Any, error: Exception) -> NoReturn:
    """End the call with the status of `error`."""
    await context.abort_with_status(rpc_status.to_status(status_of(error)))
    raise AssertionError("abort_with_status returned")
