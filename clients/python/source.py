"""Sources: the messages that a caller has sent, whose own errors gRPC would not tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from typing import Generic, Self, TypeAlias, TypeVar

import grpc

from nextbest.client.errors import from_call

T = TypeVar("T")
Either: TypeAlias = AsyncIterable[T] | Iterable[T]


class SourceError(Exception):
    """Tells gRPC to end the call.  A caller gets what is behind it."""


class Source(Generic[T]):
    """The messages of a Client's call, which gRPC reads in a thread of its own."""

    def __init__(self, messages: Iterator[T]) -> None:
        self._messages = messages
        self.failure: BaseException | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return next(self._messages)
        except StopIteration:
            raise
        except BaseException as error:
            self.failure = error
            # After anything but an Exception gRPC would leave the call open.
            raise SourceError from error


class AsyncSource(Generic[T]):
    """The messages of an AsyncClient's call, which gRPC reads in a task of its own."""

    def __init__(self, messages: AsyncIterator[T]) -> None:
        self._messages = messages
        self.failure: BaseException | None = None
        self._reader: asyncio.Task[object] | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._closed:
            raise StopAsyncIteration
        self._reader = asyncio.current_task()
        try:
            return await anext(self._messages)
        except (StopAsyncIteration, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            self.failure = error
            raise SourceError from error
        finally:
            self._reader = None

    def close(self) -> None:
        """Send nothing more: gRPC's task would wait for messages when its call is over."""
        self._closed = True
        if self._reader is not None:
            self._reader.cancel()


def failure(messages: object, error: grpc.RpcError) -> BaseException:
    """What a failed call that sends `messages` raises: what ended them, or a NextbestError."""
    own = _own(messages)
    return from_call(error) if own is None else own


def _own(messages: object) -> BaseException | None:
    return messages.failure if isinstance(messages, Source | AsyncSource) else None


async def outcome(answer: Awaitable[T], messages: object) -> T:
    """The answer of a call that sends `messages`; raises what ended them, or a NextbestError.

    gRPC cancels a call whose source fails; where the task itself is cancelled, that comes first.
    """
    cancellations = _cancellations()
    try:
        return await answer
    except grpc.aio.AioRpcError as error:
        raised = failure(messages, error)
    except asyncio.CancelledError:
        own = _own(messages)
        if own is None or _cancellations() > cancellations:
            raise
        raised = own
    # Raised out here, it keeps the context that it had.
    raise raised


def _cancellations() -> int:
    """How often the running task was told to end; one that went on is counted still."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def either(field: str, given: Either[T]) -> AsyncIterator[T]:
    """The items of a plain or async iterable; raises a TypeError that names `field` for others."""
    if isinstance(given, AsyncIterable):
        return aiter(given)
    if isinstance(given, Iterable):
        return _plain(given)
    raise TypeError(f"{field}: {type(given).__name__}, allowed: a plain or async iterable")


async def _plain(given: Iterable[T]) -> AsyncIterator[T]:
    for one in given:
        yield one
