"""README.md's Python examples: they run as they stand, and print what it says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nextbest import client as exported
from nextbest.client import AsyncClient, Client, InvalidArgumentError, NextbestError
from nextbest.server.examples import CONSENT, SHOP
from nextbest.server.record.files import Files, folder_of
from tests.conftest import running

README = Path(__file__).parents[2] / "README.md"
ADDRESSES = re.compile(r"127\.0\.0\.1:76\d0")


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def printed(code: str, address: str) -> str:
    """What an example prints when the server is at another address."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        exec(compile(ADDRESSES.sub(address, code), "README.md", "exec"), {})
    return text.getvalue()


def test_there_are_no_others() -> None:
    assert len(examples()) == 2


async def test_the_first_example_decides() -> None:
    code = examples()[0]
    async with running(SHOP) as address, AsyncClient(address) as client:
        # The tour has done so before.
        ago = datetime.now(UTC) - timedelta(hours=2)
        await client.track("ann", "cart", {"product": "lamp", "price": 39.0}, occurred_at=ago)
        assert await asyncio.to_thread(printed, code, address) == "finish_order\n"
    assert "It prints `finish_order`." in README.read_text()


async def test_the_second_example_is_the_whole_loop(tmp_path: Path) -> None:
    code = examples()[1]
    says = README.read_text().split(code)[1].split("```")[2].lstrip("\n")
    async with running(CONSENT, records__share=1, data__folder=tmp_path) as address:
        assert await asyncio.to_thread(printed, code, address) == says
    records = [frame.record for frame in Files(folder_of(tmp_path)).frames()]
    (decision,) = (one for one in records if not one.HasField("outcome"))
    outcomes = [one.outcome for one in records if one.HasField("outcome")]
    told = [(one.event, one.slot) for one in outcomes]
    assert told == [("impression", 0), ("click", 0), ("impression", 1)]
    assert {one.decision_id for one in outcomes} == {decision.response.decision_id}


def codes() -> list[str]:
    """What the client's table has as code."""
    table = README.read_text().split("| The Python client | |\n")[1].split("\n\n")[0]
    assert len(table.splitlines()) <= 15
    return re.findall(r"`([^`]+)`", table)


def test_the_table_has_every_exception() -> None:
    kinds = (getattr(exported, name) for name in exported.__all__)
    errors = {
        one.__name__ for one in kinds if isinstance(one, type) and issubclass(one, NextbestError)
    }
    assert {one for one in codes() if one.endswith("Error")} == errors


async def test_the_tables_expressions_are_of_values() -> None:
    streams, counters = sorted(one for one in codes() if " for " in one)
    (several,) = (one for one in codes() if one.startswith("Client("))
    async with running(SHOP) as address:
        with Client(address) as client:
            names = vars(exported) | {"client": client}
            assert await asyncio.to_thread(eval, streams, names) == ["response"]
            assert (await asyncio.to_thread(eval, counters, names))["views_7d"] == 1
    eval(several, names).close()


async def test_an_id_of_ones_own_needs_its_time() -> None:
    async with running(SHOP) as address, AsyncClient(address) as client:
        view = partial(client.track, "ann", "view", {"product": "lamp"})
        with pytest.raises(InvalidArgumentError, match="occurred_at: unset"):
            await view(event_id="order-17")
        then = datetime.now(UTC)
        tries = [then, then, then - timedelta(minutes=1)]
        answers = [await view(event_id="order-17", occurred_at=when) for when in tries]
        assert [one.duplicate for one in answers] == [False, True, False]


async def test_its_decision_goes_on_without_a_server() -> None:
    names: dict[str, Any] = {}
    exec(examples()[1].partition("\n\nwith ")[0], names)

    def alone() -> str:
        text = io.StringIO()
        with Client("127.0.0.1:1") as client, contextlib.redirect_stdout(text):
            assert names["offers"](client, "bob") == []
        return text.getvalue()

    assert await asyncio.to_thread(alone) == "the page's own default, since UnavailableError\n"
