"""The commands that read records: what they take, and what they say of what they cannot use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nextbest.server.command.main import make_app
from nextbest.server.examples import LEADS, SHOP
from nextbest.server.playbook.folder import read_folder
from nextbest.server.record import publications
from nextbest.v1 import mutation_pb2, playbook_pb2
from tests.record.people import live, plan_of, recording

DECISIONS = 20


def run(*arguments: object, code: int) -> Any:
    names = ("replay", "whatif", "ope", "experiment", "log")
    result = CliRunner().invoke(make_app(names), list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with records, and no playbook beside them."""
    folder = tmp_path / "data"
    (folder / "records").mkdir(parents=True)
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), DECISIONS)
    (folder / "records" / "1.records").write_bytes(engine.take_records())
    return folder


@pytest.fixture
def records(data: Path) -> Path:
    """Records and their playbook."""
    request = playbook_pb2.PublishPlaybookRequest()
    for name, content in read_folder(SHOP).items():
        request.files.add(path=name, content=content)
    kept = mutation_pb2.Publication(hash=plan_of(SHOP).hash, request=request)
    publications.keep(data / "records", kept)
    return data / "records"


def test_replay_and_whatif_take_a_data_folder(records: Path) -> None:
    assert f"{DECISIONS} decisions of 1 file: {DECISIONS} equal" in (
        run("replay", records.parent, code=0).stdout
    )
    assert f"{DECISIONS} decisions" in (
        run("whatif", records.parent, "--playbook", SHOP, code=0).stdout
    )


def test_whatif_names_what_was_not_recorded_and_warns_of_few(records: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    shutil.copytree(SHOP, draft)
    for name, more in (
        ("schema", "attributes:\n  shoe: int"),
        ("actions", "actions:\n  sandals: {eligibility: profile.shoe > 40, value: 1}"),
    ):
        path = draft / f"{name}.yaml"
        path.write_text(path.read_text().replace(more.partition("\n")[0], more, 1))
    told = json.loads(run("whatif", records, "--playbook", draft, "--json", code=0).stdout)
    count = told["incomplete"]
    assert told["lacking"] == {"profile.shoe": count}
    result = run("whatif", records, "--playbook", draft, code=0)
    assert f"profile.shoe was not recorded: {count} decisions" in result.stdout
    share = (DECISIONS - count) / DECISIONS
    assert f"warning: {share:.1%} of the decisions could be compared" in result.stderr
    assert "warning" not in run("whatif", records, "--playbook", SHOP, code=0).stderr


def test_whatif_shows_no_tables_where_nothing_was_compared(records: Path) -> None:
    result = run("whatif", records, "--playbook", LEADS, code=1)
    assert " refused by the draft: placements: " in result.stdout
    assert "┏" not in result.stdout
    assert "the draft refuses every decision" in result.stderr


def test_what_has_no_playbook_was_not_replayed(data: Path) -> None:
    result = run("replay", data, "--playbook", LEADS, code=1)
    assert f"0 equal, 0 different, {DECISIONS} not replayed" in result.stdout
    assert result.stderr.count("give its folder by --playbook") == 1
    assert f"--playbook gives {plan_of(LEADS).hash.hex()}" in result.stderr
    told = json.loads(run("replay", data, "--json", code=1).stdout)
    assert (told["different"], list(told["not_replayed"].values())) == ([], [DECISIONS])


def test_damaged_records_alone_are_not_no_records(tmp_path: Path) -> None:
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 1)
    content = bytearray(engine.take_records())
    content[40] ^= 1
    (tmp_path / "1.records").write_bytes(content)
    for command in (["replay", tmp_path], ["whatif", tmp_path, "--playbook", SHOP]):
        result = run(*command, code=1)
        assert "no decision is whole" in result.stderr
        assert "no decisions are recorded" not in result.stderr


def test_an_export_is_no_records(tmp_path: Path) -> None:
    export = tmp_path / "may.parquet"
    export.write_bytes(b"PAR1")
    asked = ["--experiment", "a", "--control", "b", "--conversion", "c"]
    for command in (
        ["ope", export, "--policy", SHOP],
        ["experiment", "report", export, *asked],
    ):
        assert "an export, allowed: the records that it was made of" in run(*command, code=2).stderr


def test_a_reward_that_nobody_named_is_said_to_be_the_default(records: Path) -> None:
    result = run("ope", records, "--policy", SHOP, code=2)
    assert "--reward (click by default): 'click', of which no outcome" in result.stderr


def test_a_period_that_ends_before_it_begins_is_refused(records: Path, tmp_path: Path) -> None:
    output = tmp_path / "may.parquet"
    period = ["--since", "7d", "--until", "8d"]
    result = run("log", "export", records, "-o", output, *period, code=2)
    assert "'7d', allowed: before --until" in result.stderr.replace("\n│ ", "")
    assert not output.exists()


def test_what_only_a_file_of_decisions_has_is_refused_without_one(data: Path) -> None:
    result = run("log", "export", data, "--value", "purchase.amount", code=2)
    assert "without --output FILE.parquet" in result.stderr
