"""The one way from errors to gRPC statuses, with google.rpc details.

A client gets the code, the field and the reason that an error's class names; whatever names
none is our own bug, is logged, and tells the client nothing.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from opentelemetry.trace import Span, Status, StatusCode, get_current_span

from nextbest.core import errors, status_bytes
from nextbest.server.errors import FaultyPlaybookError
from nextbest.server.telemetry.methods import CODES, SERVER_FAULTS

DOMAIN = "nextbest"
FAULTS_MAX = 100
TEXT_BYTES_MAX = 200
# gRPC drops trailers over 8 KiB, and details travel as base64 beside the message.
DETAIL_BYTES_MAX = 4_000

_log = logging.getLogger(__name__)


def _cut(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= TEXT_BYTES_MAX:
        return encoded.decode("utf-8")
    return encoded[: TEXT_BYTES_MAX - 3].decode("utf-8", "ignore") + "..."


def _violation(field: str, text: str) -> error_details_pb2.BadRequest.FieldViolation:
    return error_details_pb2.BadRequest.FieldViolation(field=_cut(field), description=_cut(text))


def _faults(error: FaultyPlaybookError) -> error_details_pb2.BadRequest:
    """As many faults as fit into the trailing metadata, errors first."""
    request = error_details_pb2.BadRequest()
    for fault in sorted(error.faults, key=lambda fault: fault.severity)[:FAULTS_MAX]:
        place = f"{fault.file}:{fault.line}:{fault.column}"
        violation = _violation(place, str(fault).removeprefix(f"{place}: "))
        if request.ByteSize() + violation.ByteSize() > DETAIL_BYTES_MAX:
            break
        request.field_violations.append(violation)
    return request


def status_of(error: BaseException) -> status_pb2.Status:
    """The status that a client gets for `error`."""
    if isinstance(error, errors.NextbestError) and error.status_reason:
        # The core writes its own errors, so that both lanes answer with the same bytes.
        if type(error).__module__ == errors.__name__:
            return status_pb2.Status.FromString(status_bytes(error))
        return _status(error)
    _log.error("a call failed on our own fault", exc_info=error)
    return status_pb2.Status(code=code_pb2.INTERNAL, message="internal error; see the log")


def _status(error: errors.NextbestError) -> status_pb2.Status:
    """The status of an error of the server's own."""
    message = _cut(str(error)) or error.status_reason.lower().replace("_", " ")
    status = status_pb2.Status(code=error.status_code, message=message)
    info = error_details_pb2.ErrorInfo(reason=error.status_reason, domain=DOMAIN)
    for name in ("what", "bound"):
        if hasattr(error, name):
            info.metadata[name] = _cut(str(getattr(error, name)))
    if isinstance(error, FaultyPlaybookError):
        # Not all may fit into the details; warnings come after all errors, and are no faults.
        info.metadata["faults"] = str(error.errors)
    _add(status, info)
    if isinstance(error, FaultyPlaybookError):
        _add(status, _faults(error))
    if error.retry_ms:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(error.retry_ms)
        _add(status, retry)
    return status


def _add(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)


async def refuse(context: Any, error: Exception) -> NoReturn:
    """End the call with the status of `error`."""
    await end(context, status_of(error))


async def end(context: Any, status: status_pb2.Status) -> NoReturn:
    """End the call with a status that is not OK and what its trailers hold; its span, too."""
    _tell(get_current_span(), CODES[status.code])
    told = rpc_status.to_status(status)
    more = tuple(context.trailing_metadata() or ())
    await context.abort(told.code, told.details, (*told.trailing_metadata, *more))
    raise AssertionError("abort returned")


def _tell(span: Span, code: str) -> None:
    span.set_attributes({"rpc.response.status_code": code, "error.type": code})
    if code in SERVER_FAULTS:
        span.set_status(Status(StatusCode.ERROR))
