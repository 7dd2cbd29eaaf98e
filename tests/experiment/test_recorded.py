"""An experiment from end to end: decided, recorded, converted and reported."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nextbest.client import AsyncClient
from nextbest.core import Engine
from nextbest.server.command.main import make_app
from nextbest.server.experiment.errors import OptionError, TooFewError
from nextbest.server.experiment.recorded import Asked, Recorded
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.record import publications
from nextbest.server.record.features import Feature
from nextbest.server.record.files import Files
from nextbest.v1 import decision_pb2, event_pb2, mutation_pb2, playbook_pb2, record_pb2
from tests.conftest import running
from tests.record.people import START_US, recording
from tests.record.test_replay import packed

FILES = {
    "schema.yaml": "events: {purchase: {amount: double}}\n",
    "experiments.yaml": "experiments: {price: {variants: [list, rebate]}}\n",
    "actions.yaml": "actions: {rebate: {eligibility: experiment.price == 'rebate'}, list: {}}\n",
    "placements.yaml": "placements: {page: {slots: 1}}\n",
}
PEOPLE = 300
HOUR_US = 3_600_000_000


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
    assert "1 outcome of people who were not exposed before: left out" in result.stderr
    assert "1 outcome used of decisions that are not among the records" in result.stderr
    told = list(numbers_in(json.loads(result.stdout)))
    for numbers in spent.values():
        rate = sum(one > 0 for one in numbers) / len(numbers)
        for expected in (len(numbers), rate, sum(numbers) / len(numbers)):
            assert any(one == pytest.approx(expected, rel=1e-12) for one in told), expected


CUPED = {
    "schema.yaml": (
        "events: {purchase: {amount: double}}\ncounters: {orders: {count: purchase, window: all}}\n"
    ),
    "experiments.yaml": FILES["experiments.yaml"],
    "actions.yaml": (
        "actions:\n  rebate: {eligibility: experiment.price == 'rebate'}\n"
        "  list: {suitability: profile.orders >= 0}\n"
    ),
    "placements.yaml": "placements: {page: {slots: 2}}\n",
}


def kept(folder: Path) -> dict[str, tuple[str, float, float, float]]:
    """Records of people who buy as they did before, late, twice, and after the window.

    By person: their variant, what they spent in time, their orders and what they spent before.
    """
    compiled = compile_playbook({name: text.encode() for name, text in CUPED.items()})
    assert compiled.plan is not None, compiled.faults
    engine = recording(compiled.plan)
    request = playbook_pb2.PublishPlaybookRequest()
    for name, text in CUPED.items():
        request.files.add(path=name, content=text.encode())
    publications.keep(folder, mutation_pb2.Publication(hash=compiled.plan.hash, request=request))
    chance = random.Random(9)
    found = {}
    for number in range(PEOPLE):
        who, now_us = f"u{number}", START_US + number * 1_000_000
        orders = chance.randrange(6)
        spent_before = sum(
            bought(engine, who, f"b{one}", now_us - 10_000_000_000, "earlier", chance)
            for one in range(orders)
        )
        decided = decision_pb2.DecideRequest(placements=["page"], decision_id=f"d{number}")
        decided.identity.kind, decided.identity.id = 1, who
        answer = decision_pb2.DecideResponse.FromString(
            engine.decide(decided.SerializeToString(), now_us)
        )
        spent = sum(
            bought(engine, who, f"a{one}", now_us + HOUR_US, f"d{number}", chance)
            for one in range(orders + chance.randrange(2))
        )
        bought(engine, who, "late", now_us + 3 * HOUR_US, f"d{number}", chance)
        found[who] = (answer.experiments[0].variant, spent, float(orders), spent_before)
    (folder / "all.records").write_bytes(engine.take_records())
    return found


def bought(
    engine: Engine, who: str, name: str, at_us: int, decision: str, chance: random.Random
) -> float:
    event = event_pb2.TrackRequest(event_id=f"{who} {name}", event="purchase", decision_id=decision)
    event.identity.kind, event.identity.id = 1, who
    event.occurred_at.FromMicroseconds(at_us)
    event.properties["amount"].double_value = amount = float(chance.randrange(10, 100))
    engine.track(event.SerializeToString(), at_us)
    return amount


def test_of_a_decision_made_again_the_record_that_counts_is_the_exposure(tmp_path: Path) -> None:
    """A node that had not read of the exposure yet has made it before, with another variant."""
    kept(tmp_path)
    path = tmp_path / "all.records"
    first = next(Files(path).decisions()).record
    stale = record_pb2.DecisionRecord()
    stale.CopyFrom(first)
    stale.decided_at_us -= 1
    drawn = stale.response.experiments[0]
    drawn.variant = "list" if drawn.variant == "rebate" else "rebate"
    report = ["experiment", "report", str(tmp_path), "--experiment", "price", "--control", "list"]
    report += ["--value", "purchase.amount", "--json"]
    app = make_app(("experiment", "slo"))
    once = CliRunner().invoke(app, report)
    path.write_bytes(packed(stale) + path.read_bytes())
    twice = CliRunner().invoke(app, report)
    assert once.exit_code == twice.exit_code == 0, twice.output
    assert json.loads(twice.stdout) == json.loads(once.stdout)
    assert "1 record of decisions made again" in twice.stderr
    assert "another variant" not in twice.stderr


@pytest.mark.parametrize(("covariate", "column"), [("profile.orders", 2), ("purchase.amount", 3)])
def test_cuped_from_records_is_that_of_a_table(tmp_path: Path, covariate: str, column: int) -> None:
    """What the decision has read, and what was done before it, as one row for each person."""
    people = kept(tmp_path)
    report = ["experiment", "report"]
    options = ["--control", "list", "--covariate", covariate, "--window", "2h", "--json"]
    records = [str(tmp_path), "--experiment", "price", "--value", "purchase.amount"]
    app = make_app(("experiment", "slo"))
    found = CliRunner().invoke(app, [*report, *records, *options])
    assert found.exit_code == 0, found.output
    assert f"{PEOPLE} outcomes after the window" in found.stderr
    table = tmp_path / "table.csv"
    rows = [f"{one[0]},{one[1]},{one[column]}\n" for one in people.values()]
    table.write_text("arm,spent,before\n" + "".join(rows))
    columns = ["--variant", "arm", "--value", "spent", "--control", "list"]
    plain = CliRunner().invoke(
        app, [*report, str(table), *columns, "--covariate", "before", "--json"]
    )
    assert plain.exit_code == 0, plain.output
    one, other = json.loads(found.stdout)["adjusted"], json.loads(plain.stdout)["adjusted"]
    assert next(iter(one["reductions"].values())) > 0.3
    assert list(numbers_in(one)) == pytest.approx(list(numbers_in(other)), rel=1e-9, abs=1e-12)


def test_a_covariate_that_nobody_read_is_named(tmp_path: Path) -> None:
    kept(tmp_path)
    options = ["--experiment", "price", "--control", "list", "--conversion", "purchase"]
    result = CliRunner().invoke(
        make_app(("experiment", "slo")),
        ["experiment", "report", str(tmp_path), *options, "--covariate", "profile.order"],
    )
    assert result.exit_code == 2
    assert "did you mean profile.orders" in result.stderr
    assert "have the mean" not in result.stderr


@pytest.mark.parametrize(
    ("option", "name", "wanted"),
    [
        ("--conversion", "purchse", "purchase"),
        ("--value", "purchase.amont", "amount"),
        ("--value", "purchse.amount", "purchase"),
        ("--covariate", "purchase.amont", "amount"),
        ("--covariate", "purchse", "purchase"),
    ],
)
def test_what_no_outcome_has_is_named(tmp_path: Path, option: str, name: str, wanted: str) -> None:
    """It would be 0 of everybody."""
    kept(tmp_path)
    options = ["--experiment", "price", "--control", "list", "--conversion", "purchase"]
    result = CliRunner().invoke(
        make_app(("experiment", "slo")),
        ["experiment", "report", str(tmp_path), *options, option, name],
    )
    assert result.exit_code == 2
    assert f"{option}: " in result.stderr
    assert wanted in result.stderr.partition("allowed: ")[2]


def numbers_in(document: object) -> Iterator[float]:
    """Every number of a JSON document."""
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for one in document:
            yield from numbers_in(one)
    elif isinstance(document, int | float):
        yield document


def nothing(_: record_pb2.DecisionRecord) -> dict[str, Feature]:
    return {}


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(OptionError, match=r"EVENT\.PROPERTY"):
        Asked("price", "list", values=("amount",))
    with pytest.raises(OptionError, match="neither"):
        Asked("price", "list")
    found = Recorded(Asked("prize", "list", ("purchase",)), nothing, bool)
    record = record_pb2.DecisionRecord()
    one = record.response.experiments.add(experiment="price", variant="list", exposed=True)
    found.add(record)
    with pytest.raises(TooFewError, match="price"):
        found.subjects()
    one.experiment = "prize"
    other = Recorded(Asked("prize", "lost", ("purchase",)), nothing, bool)
    other.add(record)
    with pytest.raises(OptionError, match="--control"):
        other.subjects()
