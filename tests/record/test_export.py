"""The export: what a real server decided and what came of it, as a table."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from nextbest.client import AsyncClient
from nextbest.server.command.main import make_app
from nextbest.server.record.errors import RecordError
from nextbest.server.record.export import Period, export
from nextbest.server.record.files import Files
from nextbest.server.record.partial import partial_of, place
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.rows import Told
from nextbest.server.record.schema import schema
from nextbest.v1 import decision_pb2
from tests.conftest import running

FILES = {
    "schema.yaml": (
        "attributes: {country: string, email: {type: string, pii: true}}\n"
        "events: {click: {}, purchase: {amount: double}}\n"
        "counters: {clicks: {count: click, window: all}}\n"
        "context: {page: string}\n"
    ),
    "actions.yaml": (
        "actions:\n"
        "  mail: {eligibility: profile.email != '', value: 3}\n"
        "  local: {eligibility: profile.country == 'PL', value: 2 + profile.clicks}\n"
        "  plain: {value: 1, applicability: context.page == 'home'}\n"
    ),
    "placements.yaml": (
        "placements:\n  top: {slots: 2, exploration: {epsilon_greedy: 0.5}}\n  side: {slots: 1}\n"
    ),
}
PEOPLE = 60


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    folder = tmp_path / "playbook"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


async def lived(address: str) -> list[decision_pb2.DecideResponse]:
    """Decisions for people; every third clicks, and says so twice, and buys."""
    answers = []
    async with AsyncClient(address) as client:
        for number in range(PEOPLE):
            who = f"person-{number}"
            country = "PL" if number % 2 else "DE"
            await client.upsert_profile(who, {"country": country, "email": "a@b.c"})
            answer = await client.decide(who, ["top"], context={"page": "home"})
            answers.append(answer)
            if number % 3 == 0:
                id = answer.decision_id
                at = datetime.now(UTC)
                for _ in range(2):
                    await client.track(
                        who, "click", event_id=f"c{number}", occurred_at=at, decision_id=id
                    )
                await client.track(who, "purchase", {"amount": float(number)}, decision_id=id)
        await client.track("stranger", "click", decision_id="nobody's")
    return answers


def exported(*arguments: object, code: int = 0) -> dict[str, Any]:
    """What `nextbest log export --json` ends with and says."""
    command = ["log", "export", *map(str, arguments), "--json"]
    result = CliRunner().invoke(make_app(("log", "slo")), command)
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout) if result.stdout else {}
    return found | {"stderr": f"{result.stderr}{result.exception or ''}"}


async def test_a_row_has_the_decision_and_what_came_of_it(tmp_path: Path, playbook: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "all.parquet"
    async with running(playbook, data__folder=data, records__share="1") as address:
        answers = await lived(address)
    told = await asyncio.to_thread(exported, data, "-o", target, "--value", "purchase.amount")
    assert (told["decisions"], told["outcomes"], told["undecided"]) == (PEOPLE, 40, {})
    assert told["counts"] == {"outcomes": 41, "repeated": 0, "unknown": 1}
    table = parquet.read_table(target)
    assert table.schema.equals(schema({}))
    assert table.schema.metadata[b"nextbest.schema"] == b"decisions/1"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    rows = {row["decision_id"]: row for row in table.to_pylist(maps_as_pydicts="strict")}
    assert set(rows) == {answer.decision_id for answer in answers}
    for number, answer in enumerate(answers):
        check_row(rows[answer.decision_id], answer, number)


def check_row(row: dict[str, Any], answer: decision_pb2.DecideResponse, number: int) -> None:
    assert "person" not in row["identity"]
    assert row["playbook_hash"] == answer.playbook_hash
    assert row["context"] == {"page": {"number": None, "text": "home"}}
    assert row["inputs"]["profile.country"]["text"] == ("PL" if number % 2 else "DE")
    assert "profile.email" not in row["inputs"]
    (placement,) = row["placements"]
    for told, one in zip(placement["propositions"], answer.placements[0].propositions, strict=True):
        assert (told["slot"], told["action"]) == (one.slot, one.action)
        assert (told["propensity_logging"], told["explored"]) == (
            one.propensity_logging,
            one.explored,
        )
    candidates = {one["action"]: one for one in placement["candidates"]}
    assert candidates["local"]["fate"] == ("not_eligible" if number % 2 == 0 else "proposed") or (
        candidates["local"]["fate"] == "outranked"
    )
    assert sum(one["propensity_logging"] for one in candidates.values()) == pytest.approx(1)
    events = [(one["event"], one["value"]) for one in row["outcomes"]]
    expected = [("click", None), ("purchase", float(number))] if number % 3 == 0 else []
    assert sorted(events, key=str) == sorted(expected, key=str)
    shown = answer.placements[0].propositions[0].action
    assert {one["action"] for one in row["outcomes"]} <= {shown}


async def test_as_recorded_and_a_period(tmp_path: Path, playbook: Path) -> None:
    data = tmp_path / "data"
    async with running(playbook, data__folder=data, records__share="1") as address:
        await lived(address)
    target = tmp_path / "raw.parquet"
    arguments: Sequence[object] = (data / "records", "-o", target, "--as-recorded")
    await asyncio.to_thread(exported, *arguments, "--no-candidates")
    found = duckdb.sql(
        f"SELECT identity, inputs['profile.email'].text, placements[1].candidates FROM '{target}'"
    ).fetchall()
    assert {who for who, _, _ in found} == {f"person-{n}" for n in range(PEOPLE)}
    assert {(email, candidates) for _, email, candidates in found} == {("a@b.c", None)}
    told = await asyncio.to_thread(exported, *arguments, code=1)
    assert "it is there already" in told["stderr"]
    later = tmp_path / "later.parquet"
    told = await asyncio.to_thread(exported, data, "-o", later, "--since", "2100-01-01T00:00")
    # Their decisions are recorded, though they are not in the file.
    assert (told["decisions"], told["counts"]["unknown"]) == (0, 1)
    assert parquet.read_table(later).num_rows == 0


async def test_a_decision_made_again_is_one_row(tmp_path: Path, playbook: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "all.parquet"
    async with (
        running(playbook, data__folder=data, records__share="1") as address,
        AsyncClient(address) as client,
    ):
        for _ in range(2):
            await client.decide("ann", ["top"], context={"page": "home"}, decision_id="one")
            await client.link_identity("ann", "bob")
        await client.track("ann", "click", decision_id="one")
    told = await asyncio.to_thread(exported, data, "-o", target)
    assert (told["decisions"], told["outcomes"], told["again"]) == (1, 1, 1)
    assert parquet.read_table(target).num_rows == 1


async def test_outcomes_may_have_come_to_another_node(tmp_path: Path, playbook: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    async with (
        running(playbook, data__folder=one, records__share="1") as first,
        running(playbook, data__folder=other, records__share="1") as second,
        AsyncClient(first) as decides,
        AsyncClient(second) as tracks,
    ):
        for number in range(20):
            answer = await decides.decide(f"u{number}", ["top"], context={"page": "home"})
            for event_id in (f"a{number}", f"b{number}"):
                about = {"event_id": event_id, "decision_id": answer.decision_id}
                await tracks.track(f"u{number}", "click", occurred_at=datetime.now(UTC), **about)
            # As a client does that has not heard the first node's answer.
            await decides.track(f"u{number}", "click", occurred_at=datetime.now(UTC), **about)
    both = await asyncio.to_thread(exported, one, other, "-o", tmp_path / "both.parquet")
    assert (both["decisions"], both["outcomes"]) == (20, 40)
    assert both["counts"] == {"outcomes": 40, "repeated": 20, "unknown": 0}
    alone = await asyncio.to_thread(exported, other, "-o", tmp_path / "other.parquet")
    assert alone["counts"] == {"outcomes": 40, "repeated": 0, "unknown": 40}


async def test_damage_is_named_and_a_cut_is_no_damage(tmp_path: Path, playbook: Path) -> None:
    data = tmp_path / "data"
    async with running(playbook, data__folder=data, records__share="1") as address:
        await lived(address)
    (file,) = (data / "records").glob("*.records")
    content = file.read_bytes()
    file.write_bytes(content[:-3])
    told = await asyncio.to_thread(exported, data, "-o", tmp_path / "cut.parquet")
    assert len(told["cut"]) == 1
    assert "the file ends within it" in told["stderr"]
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    file.write_bytes(changed)
    target = tmp_path / "damaged.parquet"
    told = await asyncio.to_thread(exported, data, "-o", target, code=1)
    assert len(told["damaged"]) == 1
    assert str(file) in told["stderr"]
    assert target.exists()


async def test_a_file_that_is_there_stays_unless_it_is_forced(
    tmp_path: Path, playbook: Path
) -> None:
    """And what a killed export has left is removed by the next one to the same file, and told."""
    async with running(playbook, data__folder=tmp_path / "data", records__share="1") as address:
        await lived(address)
    target = tmp_path / "all.parquet"
    killed = tmp_path / "all.parquet.x3k.partial"
    (other := tmp_path / "all2.parquet.x3k.partial").write_text("half of another")
    target.write_text("theirs")
    told = await asyncio.to_thread(exported, tmp_path / "data", "-o", target, code=1)
    assert "all.parquet: it is there already, allowed: a new file, or --force" in told["stderr"]
    assert target.read_text() == "theirs"
    with partial_of(target) as running_still:
        killed.write_text("half of it")
        told = await asyncio.to_thread(exported, tmp_path / "data", "-o", target, "--force")
        assert running_still.path.exists(), "who writes it still lives"
    assert told["left"] == [str(killed)]
    assert f"{killed}: of an export that was killed; it is removed" in told["stderr"]
    assert parquet.read_table(target).num_rows == PEOPLE
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(tmp_path.glob("all*")) == [target, other]
    told = await asyncio.to_thread(
        exported, tmp_path / "data", "-o", tmp_path / "no/a.parquet", code=1
    )
    assert f"there is no folder {tmp_path}/no" in told["stderr"]


async def test_a_file_that_comes_meanwhile_stays(tmp_path: Path, playbook: Path) -> None:
    async with running(playbook, data__folder=tmp_path / "data", records__share="1") as address:
        await lived(address)
    target = tmp_path / "all.parquet"
    files = Files(tmp_path / "data/records")

    def export_beside() -> None:
        told = Told(candidates=False)
        export(
            files,
            Playbooks(files.folder, {}),
            told,
            Period(),
            target,
            lambda *_: target.write_text("theirs") and None,
        )

    with pytest.raises(RecordError, match="it is there already"):
        await asyncio.to_thread(export_beside)
    assert target.read_text() == "theirs"
    assert sorted(tmp_path.glob("all*")) == [target]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_gets_a_name_that_nothing_has(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file system has no hard links, as exFAT has none."""

    def none(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", none)
    target = tmp_path / "all.parquet"
    with partial_of(target) as first:
        first.path.write_text("mine")
        place(first.path, target)
    assert target.read_text() == "mine"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with partial_of(target) as second, pytest.raises(FileExistsError):
        place(second.path, target)
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


async def test_a_value_that_no_outcome_has_is_named(tmp_path: Path, playbook: Path) -> None:
    async with running(playbook, data__folder=tmp_path / "data", records__share="1") as address:
        async with AsyncClient(address) as client:
            await client.decide("ann", ["top"])
        # It may not have happened yet: the file is written all the same.
        given = (tmp_path / "data", "-o", tmp_path / "none.parquet", "--value", "buy.price")
        await asyncio.sleep(0.5)
        told = await asyncio.to_thread(exported, *given)
        assert "'buy', of which no outcome is recorded" in told["stderr"]
        await lived(address)
    for value, wanted in (("purchse.amount", "purchase"), ("purchase.amont", "amount")):
        target = tmp_path / f"{value}.parquet"
        given = (tmp_path / "data", "-o", target, "--value", value)
        told = await asyncio.to_thread(exported, *given)
        assert wanted in told["stderr"].partition("allowed: ")[2]
        assert len(told["empty"]) == 1
        assert parquet.read_table(target).num_rows == PEOPLE + 1


def test_wrong_use_is_code_2(tmp_path: Path) -> None:
    output = (tmp_path, "-o", tmp_path / "a.parquet")
    for wrong in (
        ("--value", "amount"),
        ("--since", "soon"),
        ("--key-file", "k", "--as-recorded"),
        ("--key-file", tmp_path / "none"),
    ):
        assert wrong[0] in exported(*output, *wrong, code=2)["stderr"]
    assert ".parquet" in exported(tmp_path, "-o", tmp_path / "a.csv", code=2)["stderr"]
    assert "without --output" in exported(tmp_path, "--force", code=2)["stderr"]
    assert "records.share=1" in exported(*output, code=1)["stderr"]
