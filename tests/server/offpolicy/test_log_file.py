"""Logs in files: what is read, and which line is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from nextbest.server.offpolicy import (
    Columns,
    FeedbackError,
    LogFileError,
    observe,
    read_choices,
    read_log,
)

HEADER = "item_id,position,click,propensity_score,user_feature_0,user_feature_age\n"
GOOD = HEADER + "2,1,0,0.5,x,30\n10,1,1,0.5,y,40.5\n2,2,0,1,x,20\n"

WRONG = {
    ":3: propensity_score: 0, allowed: over 0, at most 1": "2,1,0,0.5,x,3\n2,1,0,0,x,3\n",
    ":2: propensity_score: 1.5, allowed: over 0, at most 1": "2,1,0,1.5,x,3\n",
    ":2: propensity_score: -0.1, allowed": "2,1,0,-0.1,x,3\n",
    ":2: propensity_score: not a finite number": "2,1,0,nan,x,3\n",
    ":2: item_id: nothing, allowed: a name": ",1,0,0.5,x,3\n",
    ":2: click: not a finite number": "2,1,often,0.5,x,3\n",
    ":3: columns: 2, allowed: 6": "2,1,0,0.5,x,3\n2,1\n",
    ":5: click: not a finite number": '2,1,0,0.5,"x\nz",3\n\n2,1,,0.5,x,3\n',
    ": no rows": "",
}


def written(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_log_is_read_with_names_as_numbers(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, GOOD), Columns())
    assert log.action.names == ("2", "10")
    assert log.action.code.tolist() == [0, 1, 0]
    assert log.slot.names == ("1", "2")
    assert log.reward.tolist() == [0.0, 1.0, 0.0]
    assert log.propensity.tolist() == [0.5, 0.5, 1.0]
    assert log.context.tolist() == [[1, 0, 30], [0, 1, 40.5], [1, 0, 20]]
    assert log.cluster is None


@pytest.mark.parametrize("text", WRONG)
def test_the_line_of_what_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, HEADER + WRONG[text])
    with pytest.raises(LogFileError) as caught:
        read_log(path, Columns())
    assert str(caught.value).startswith(f"{path}{text}")


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    rows = [{"offer": "a", "who": "p", "value": 3, "p": 0.5, "age": 1}] * 2
    path = written(tmp_path, "\n".join(map(json.dumps, rows)), "log.jsonl")
    log = read_log(path, Columns("offer", "", "value", "p", ("age",), "who"))
    assert log.slot.names == ("all",)
    assert log.cluster.tolist() == [0, 0]
    assert log.context.tolist() == [[1.0], [1.0]]


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    with pytest.raises(LogFileError, match=r"reward: no column 'clicks', .*did you mean click\?"):
        read_log(path, Columns(reward="clicks"))


def test_a_text_column_of_the_context_may_have_256_values(tmp_path: Path) -> None:
    rows = "".join(f"1,1,0,0.5,text {number},3\n" for number in range(257))
    with pytest.raises(LogFileError, match="user_feature_0: 257 different texts, allowed: 256"):
        read_log(written(tmp_path, HEADER + rows), Columns())


def test_files_of_no_known_format_or_cut_off_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LogFileError, match="format unknown"):
        read_log(written(tmp_path, GOOD, "log.txt"), Columns())
    cut = tmp_path / "log.csv.gz"
    cut.write_bytes(gzip.compress(GOOD.encode() * 50)[:60])
    with pytest.raises(LogFileError, match=r"cannot be read further|allowed"):
        read_log(cut, Columns())


def test_another_logs_choices_are_the_evaluated_policy(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, GOOD), Columns())
    chose = "item_id,position\n7,1\n2,1\n7,1\n7,1\n10,2\n2,3\n"
    found = observe(log, read_choices(written(tmp_path, chose, "other.csv"), Columns()))
    assert found.feedback.actions == ("2", "7", "10")
    np.testing.assert_array_equal(found.feedback.evaluation, [[0.25, 0.75, 0.0], [0, 0, 1]])
    assert found.left_out == 1
    assert found.on_policy is None


def test_a_slot_without_choices_leaves_the_policy_open(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, GOOD), Columns())
    choices = read_choices(written(tmp_path, "item_id,position\n2,1\n", "other.csv"), Columns())
    with pytest.raises(FeedbackError, match="policy log: slot 2: no rows"):
        observe(log, choices)


def test_people_of_whom_nothing_is_known_are_no_fault(tmp_path: Path) -> None:
    """A number that lacks is the mean, a text that lacks is one of its own."""
    rows = "1,1,0,0.5,x,20\n1,1,0,0.5,,\n1,1,0,0.5,y,40\n"
    log = read_log(written(tmp_path, HEADER + rows), Columns())
    assert log.context.tolist() == [[0, 1, 0, 20], [1, 0, 0, 30], [0, 0, 1, 40]]


def test_parquet_is_read_too(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow reads it: nextbest[parquet]")
    pyarrow = pytest.importorskip("pyarrow")
    table = {
        "item_id": [3, 20],
        "position": [1, 1],
        "click": [True, False],
        "propensity_score": [0.5, 0.0],
        "user_feature_0": [None, "x"],
    }
    parquet.write_table(pyarrow.table(table), tmp_path / "log.parquet")
    with pytest.raises(LogFileError, match=r"log\.parquet:2: propensity_score: 0"):
        read_log(tmp_path / "log.parquet", Columns())
    table["propensity_score"][1] = 0.25
    parquet.write_table(pyarrow.table(table), tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet", Columns())
    assert log.action.names == ("3", "20")
    assert log.reward.tolist() == [1.0, 0.0]
    assert log.context.tolist() == [[1, 0], [0, 1]]
