"""Typed clients of the decision server: `Client` for threads, `AsyncClient` for asyncio."""

from nextbest.client.asynchronous import AsyncClient
from nextbest.client.errors import (
    AlreadyUsedError,
    DeadlineError,
    FaultyPlaybookError,
    InvalidArgumentError,
    NextbestError,
    NotFoundError,
    OverloadedError,
    PositionLostError,
    PreconditionError,
    UnavailableError,
    Violation,
)
from nextbest.client.request import Consent, Event, Upsert, anonymous
from nextbest.client.synchronous import Client
from nextbest.client.value import plain

__all__ = [
    "AlreadyUsedError",
    "AsyncClient",
    "Client",
    "Consent",
    "DeadlineError",
    "Event",
    "FaultyPlaybookError",
    "InvalidArgumentError",
    "NextbestError",
    "NotFoundError",
    "OverloadedError",
    "PositionLostError",
    "PreconditionError",
    "UnavailableError",
    "Upsert",
    "Violation",
    "anonymous",
    "plain",
]
