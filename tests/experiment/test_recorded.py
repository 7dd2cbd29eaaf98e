"""An experiment from end to end: decided, recorded, converted and reported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nextbest.client import AsyncClient
from nextbest.server.command.main import make_app
from nextbest.server.experiment.errors import OptionError, TooFewError
from nextbest.server.experiment.recorded import Asked, Recorded
from nextbest.v1 import record_pb2
from tests.conftest import running

FILES = {
    "schema.yaml": "events: {purchase: {amount: double}}\n",
    "experiments.yaml": "experiments: {price: {variants: [list, rebate]}}\n",
    "actions.yaml": "actions: {rebate: {eligibility: experiment.price == 'rebate'}, list: {}}\n",
    "placements.yaml": "placements: {page: {slots: 1}}\n",
}
PEOPLE = 300


async def shopped(address: str) -> dict[str, list[float]]:
    """Everybody decides twice; two of three who get the rebate buy, and one of three others.

    What each variant's people have spent.
    """
    spent: dict[str, list[float]] = {"list": [], "rebate": []}
    async with AsyncClient(address) as client:
        for number in range(PEOPLE):
            who = f"person-{number}"
            await client.decide(who, ["page"])
            answer = await client.decide(who, ["page"])
            variant = answer.experiments[0].variant
            buys = number % 3 < (2 if variant == "rebate" else 1)
            amount = float(number + 1) if buys else 0.0
            spent[variant].append(amount)
            if buys:
                await client.track(
                    who, "purchase", {"amount": amount}, decision_id=answer.decision_id
                )
        await client.track("stranger", "purchase", {"amount": 1.0}, decision_id="nobody's")
    return spent


async def test_the_report_is_of_who_was_exposed_and_what_they_did(tmp_path: Path) -> None:
    playbook = tmp_path / "playbook"
    playbook.mkdir()
    for name, text in FILES.items():
        (playbook / name).write_text(text)
    async with running(playbook, data__folder=tmp_path / "data", records__share="1") as address:
        spent = await shopped(address)
    arguments = ["experiment", "report", str(tmp_path / "data/records"), "--experiment", "price"]
    arguments += ["--control", "list", "--conversion", "purchase", "--value", "purchase.amount"]
    result = await asyncio.to_thread(
        CliRunner().invoke, make_app(("experiment", "slo")), [*arguments, "--json"]
    )
    assert result.exit_code == 0, result.output
    assert "1 outcomes of people who were not exposed before are left out" in result.stderr
    told = list(numbers_in(json.loads(result.stdout)))
    for numbers in spent.values():
        rate = sum(one > 0 for one in numbers) / len(numbers)
        for expected in (len(numbers), rate, sum(numbers) / len(numbers)):
            assert any(one == pytest.approx(expected, rel=1e-12) for one in told), expected


def numbers_in(document: object) -> Iterator[float]:
    """Every number of a JSON document."""
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for one in document:
            yield from numbers_in(one)
    elif isinstance(document, int | float):
        yield document


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(OptionError, match=r"EVENT\.PROPERTY"):
        Asked("price", "list", values=("amount",))
    with pytest.raises(OptionError, match="neither"):
        Asked("price", "list")
    found = Recorded(Asked("prize", "list", ("purchase",)))
    record = record_pb2.DecisionRecord()
    one = record.response.experiments.add(experiment="price", variant="list", exposed=True)
    found.add(record)
    with pytest.raises(TooFewError, match="price"):
        found.subjects()
    one.experiment = "prize"
    other = Recorded(Asked("prize", "lost", ("purchase",)))
    other.add(record)
    with pytest.raises(OptionError, match="--control"):
        other.subjects()
