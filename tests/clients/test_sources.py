"""Sources of streams: what a caller's own raises comes out as it is, and ends the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest

from nextbest.client import AsyncClient, Client, DeadlineError, Event, InvalidArgumentError, Upsert
from nextbest.client.request import IMPORT_BATCH, decide

VIEW = Event("ann", "page_view", {"path": "/"})
UNUSABLE = Event("ann", "page_view", {"path": object()})  # type: ignore[dict-item]


class MistakeError(Exception):
    """A caller's own."""


def mistaken(*before: Any) -> Iterator[Any]:
    """Fails after some items, with a cause and a context of its own."""
    yield from before
    try:
        {}["cause"]
    except KeyError as error:
        raise MistakeError("mine") from error


async def slowly(items: Iterable[Any]) -> AsyncIterator[Any]:
    """The items, with a pause before each and after the last."""
    await asyncio.sleep(0)
    for item in items:
        yield item
        await asyncio.sleep(0)


async def answers_of(client: AsyncClient | Client, call: str, items: Any) -> list[Any]:
    """All answers of a call that sends items, by either client."""
    if isinstance(client, AsyncClient):
        made = getattr(client, call)(items)
        return [await made] if call == "import_profiles" else [one async for one in made]
    made = await asyncio.to_thread(getattr(client, call), items)
    return [made] if call == "import_profiles" else await asyncio.to_thread(list, made)


KINDS = pytest.mark.parametrize("kind", ["async", "plain", "threads"])
GOOD = {
    "track_stream": VIEW,
    "decide_stream": decide("ann", ["home"]),
    "import_profiles": Upsert("ann", {"age": 1}),
}
CALLS = pytest.mark.parametrize("call", GOOD)


def given(kind: str, items: Iterable[Any]) -> Any:
    return slowly(items) if kind == "async" else items


def made(kind: str, address: str) -> Any:
    return Client(address) if kind == "threads" else AsyncClient(address)


async def close(client: Any) -> None:
    if (closing := client.close()) is not None:
        await closing


@KINDS
@CALLS
async def test_what_a_source_raises_comes_out_and_its_call_is_gone(
    run_server: Any, kind: str, call: str
) -> None:
    async with run_server(rpc__in_flight_max=1) as address:
        client = made(kind, address)
        for before in ([], [GOOD[call]] * 3):
            with pytest.raises(MistakeError) as caught:
                await answers_of(client, call, given(kind, mistaken(*before)))
            error = caught.value
            assert (error.args, repr(error.__cause__)) == (("mine",), "KeyError('cause')")
            assert error.__context__ is error.__cause__
        # Where one went on, the server would take no other.
        async with AsyncClient(address) as other:
            assert (await other.list_generations()).generation == 1
        await close(client)


@KINDS
@CALLS
async def test_a_source_may_be_any_iterable(address: str, kind: str, call: str) -> None:
    client = made(kind, address)
    for count in (0, 1, 3):
        answers = await answers_of(client, call, given(kind, [GOOD[call]] * count))
        if call == "import_profiles":
            assert [(one.accepted, one.refused) for one in answers] == [(count, 0)]
        else:
            assert len(answers) == count
    await close(client)


@KINDS
async def test_an_import_of_either_kind_goes_in_batches(address: str, kind: str) -> None:
    client = made(kind, address)
    upserts = [Upsert(f"p{n}", {"age": n}) for n in range(IMPORT_BATCH + 1)]
    (answer,) = await answers_of(client, "import_profiles", given(kind, upserts))
    assert answer.accepted == IMPORT_BATCH + 1
    await close(client)


@KINDS
async def test_what_cannot_be_sent_is_refused_by_its_name(address: str, kind: str) -> None:
    client = made(kind, address)
    with pytest.raises(TypeError, match=r"properties\.path: object, allowed: "):
        await answers_of(client, "track_stream", given(kind, [VIEW, UNUSABLE]))
    with pytest.raises(ValueError, match="slot: 3, allowed: 0"):
        await answers_of(client, "track_stream", given(kind, [Event("ann", "click", slot=3)]))
    with pytest.raises(TypeError, match="upserts: str, allowed: Upsert, UpsertProfileRequest"):
        await answers_of(client, "import_profiles", given(kind, ["ann"]))
    await close(client)


async def test_what_is_no_source_is_refused_at_the_call() -> None:
    nothing: Any = 7
    async with AsyncClient("127.0.0.1:1") as client:
        wanted = "int, allowed: a plain or async iterable"
        with pytest.raises(TypeError, match=f"events: {wanted}"):
            client.track_stream(nothing)
        with pytest.raises(TypeError, match=f"requests: {wanted}"):
            client.decide_stream(nothing)
        with pytest.raises(TypeError, match=f"upserts: {wanted}"):
            await client.import_profiles(nothing)


async def test_a_source_ends_its_call_without_a_server() -> None:
    """An import waits for one, but not with nothing to send."""
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(MistakeError):
            await client.import_profiles(slowly(mistaken()))


async def test_what_ends_a_thread_is_raised_too(address: str) -> None:
    def ending() -> Iterator[Any]:
        yield VIEW
        raise SystemExit(7)

    client = Client(address)
    with pytest.raises(SystemExit, match="7"):
        await answers_of(client, "track_stream", ending())
    client.close()


async def waiting() -> AsyncIterator[Any]:
    """Sends one and never ends; fails when it is told to end."""
    try:
        yield VIEW
        await asyncio.Event().wait()
    finally:
        raise MistakeError("while ending")


@pytest.mark.parametrize("call", ["stream", "upload"])
async def test_a_cancellation_stays_one(address: str, call: str) -> None:
    async with AsyncClient(address) as client:

        async def upload() -> None:
            await client.import_profiles(one async for one in waiting() if one is not VIEW)

        async def stream() -> None:
            async for _ in client.track_stream(waiting()):
                begun.set()

        begun = asyncio.Event()
        task = asyncio.create_task(stream() if call == "stream" else upload())
        if call == "stream":
            await begun.wait()
        else:
            await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


async def test_a_caller_that_was_cancelled_before_is_told_its_mistake(address: str) -> None:
    """It caught that and went on, and asyncio counts it ever after."""
    async with AsyncClient(address) as client:

        async def goes_on() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await answers_of(client, "track_stream", mistaken(VIEW))

        task = asyncio.create_task(goes_on())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(MistakeError):
            await task


async def test_other_errors_stay_what_they_are(run_server: Any) -> None:
    async with run_server(rpc__in_flight_max=1) as address, AsyncClient(address) as client:
        with pytest.raises(DeadlineError):
            async for _ in client.track_stream(waiting(), timeout=0.3):
                pass
        with pytest.raises(InvalidArgumentError):
            async for _ in client.query_profiles("nonsense("):
                pass


@pytest.mark.parametrize("call", GOOD)
async def test_a_source_that_waits_ends_with_its_call(address: str, call: str) -> None:
    ended = asyncio.Event()

    async def forever() -> AsyncIterator[Any]:
        try:
            await asyncio.Event().wait()
            yield VIEW
        finally:
            ended.set()

    async with AsyncClient(address) as client:
        made = getattr(client, call)(forever(), timeout=0.3)
        with pytest.raises(DeadlineError):
            await (made if call == "import_profiles" else anext(made))
        async with asyncio.timeout(5):
            await ended.wait()
