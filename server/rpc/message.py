"""Requests and answers of the control calls, which are Python protobuf messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError, Message

from nextbest.core.errors import (
    DeadlineError,
    InvalidRequestError,
    NoPlaybookError,
    TooLargeError,
)
from nextbest.server.clock import now_us

if TYPE_CHECKING:
    from nextbest.core import Engine

ID_BYTES_MAX = 128
M = TypeVar("M", bound=Message)


def parse(kind: type[M], request: bytes, bytes_max: int) -> M:
    """Parse `request`; raise TooLargeError or InvalidRequestError."""
    require_size(request, bytes_max)
    message = kind()
    try:
        message.ParseFromString(request)
    except (DecodeError, UnicodeDecodeError):
        name = kind.DESCRIPTOR.full_name
        raise InvalidRequestError("request", f"{len(request)} bytes", f"a {name}") from None
    return message


def require_size(request: bytes, bytes_max: int) -> None:
    """Raise TooLargeError for a request over the bound."""
    if len(request) > bytes_max:
        raise TooLargeError("request", f"{len(request)} bytes", f"at most {bytes_max}")


def require_id(field: str, value: str) -> None:
    """Raise InvalidRequestError unless `value` can identify a write."""
    size = len(value.encode())
    if not 1 <= size <= ID_BYTES_MAX:
        raise InvalidRequestError(field, f"{size} bytes", f"1 to {ID_BYTES_MAX} bytes")


def require_time(context: Any) -> None:
    """Raise DeadlineError when the caller has given up already."""
    left = context.time_remaining()
    if left is not None and left <= 0:
        raise DeadlineError("the deadline passed before the work began")


def require_playbook(engine: Engine) -> None:
    """Raise NoPlaybookError while nothing is published."""
    if not engine.generation:
        raise NoPlaybookError("no playbook is active: publish one first")


def with_header(response: M, engine: Engine) -> M:
    """Fill in what every answer tells: the generation and how far this node is."""
    response.MergeFromString(engine.header(now_us()))
    return response
