"""`nextbest ope` as a process: tables, JSON, gates and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "nextbest.server.command.main", "ope"]


def ope(*arguments: str | Path, code: int = 0) -> str:
    """Run the command; what it printed, of both streams when it fails."""
    command = [*COMMAND, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    if code == 0:
        return result.stdout
    # Wrong use is told in a frame, which wraps.
    return " ".join((result.stdout + result.stderr).replace("│", " ").split())


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which item 2 earns and item 1 does not; each is chosen half of the time."""
    path = tmp_path_factory.mktemp("log") / "log.csv"
    rows = "".join(f"{1 + row % 2},1,{row % 2 * (row % 5 > 0):d},0.5\n" for row in range(600))
    path.write_text("item_id,position,click,propensity_score\n" + rows, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def policy(log: Path) -> Path:
    """A policy that takes item 2 nine times in ten."""
    path = log.with_name("policy.csv")
    rows = "".join(f"{1 + (row % 10 > 0)},1\n" for row in range(100))
    path.write_text("item_id,position\n" + rows, encoding="utf-8")
    return path


def test_a_better_policy_is_told_and_required(log: Path, policy: Path) -> None:
    text = ope(log, "--policy-log", policy, "--require", "dr.lower > logged.mean")
    assert "600 rows, 2 actions, 1 slots" in text
    for name in ("logged", "ips", "clipped_ips", "snips", "dm", "dr"):
        assert f" {name} " in text
    assert "on_policy" not in text


def test_json_has_every_figure(log: Path, policy: Path) -> None:
    required = "--require", "ips.mean > 0.7", "--require", "support.missing <= 0"
    found = json.loads(ope(log, "--policy-log", policy, "--json", "--bootstrap", "50", *required))
    assert found["estimates"]["ips"]["mean"] == pytest.approx(0.9 * 0.8)
    assert found["estimates"]["dm"]["effective_size"] is None
    assert found["estimates"]["logged"]["mean"] == pytest.approx(0.4)
    assert found["bootstrap"] == 50
    assert [one["holds"] for one in found["requirements"]] == [True, True]
    assert found["warnings"] == []


def test_a_requirement_that_does_not_hold_is_code_1(log: Path, policy: Path) -> None:
    text = ope(log, "--policy-log", policy, "--require", "dr.upper < logged.mean", code=1)
    assert "dr.upper < logged.mean: does not hold, 0.7" in text
    missing = ope(log, "--policy-log", policy, "--require", "on_policy.mean > 0", code=2)
    assert "no such figure" in missing


def test_wrong_use_is_code_2_before_anything_is_read(policy: Path) -> None:
    away = "away.csv", "--policy-log", policy
    assert "did you mean lower" in ope(*away, "--require", "dr.lowr > 0", code=2)
    assert "over 0" in ope(*away, "--clip", "0", code=2)
    assert "below 1" in ope(*away, "--level", "1", code=2)
    assert "did you mean linear" in ope(*away, "--model", "liner", code=2)
    assert "away.csv" in ope(*away, code=2)


def test_a_wrong_line_is_code_2(log: Path, policy: Path) -> None:
    wrong = log.with_name("wrong.csv")
    wrong.write_text("item_id,position,click,propensity_score\n1,1,0,0\n", encoding="utf-8")
    text = ope(wrong, "--policy-log", policy, code=2)
    assert "wrong.csv:2: propensity_score: 0, allowed: over 0, at most 1" in text


def test_missing_support_is_warned_of(log: Path) -> None:
    other = log.with_name("other.csv")
    other.write_text("item_id,position\n1,1\n9,1\n9,2\n", encoding="utf-8")
    found = json.loads(ope(log, "--policy-log", other, "--json"))
    assert found["support"] == {
        "missing": 0.5,
        "actions": [{"slot": "1", "action": "9", "mass": 0.5}],
    }
    assert "9 in slot 1 (50.00%)" in found["warnings"][0]
    assert found["left_out"] == 1
    text = ope(log, "--policy-log", other, "--require", "support.missing < 0.1", code=1)
    assert "warning: support is missing for 50.00%" in text
    assert "1 rows of the policy log" in text


def test_the_plot_is_a_picture(log: Path, policy: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib draws the plot: nextbest[report]")
    picture = tmp_path / "intervals.png"
    ope(log, "--policy-log", policy, "--plot", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_scikit_learn_it_says_what_to_install(log: Path, policy: Path) -> None:
    """The module is barred, as it is where it is not installed."""
    code = (
        "import sys; sys.modules['sklearn'] = None; sys.argv[1:1] = ['ope'];"
        "from nextbest.server.command.main import run; run()"
    )
    command = [sys.executable, "-c", code, str(log), "--policy-log", str(policy)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "scikit-learn: not installed: pip install 'nextbest[analysis]'" in result.stderr


def test_thompson_sampling_is_evaluated_from_the_random_log(men: Callable[[str], Path]) -> None:
    found = json.loads(ope(men("random"), "--policy-log", men("bts"), "--clip", "5", "--json"))
    estimates = found["estimates"]
    assert estimates["logged"]["mean"] == pytest.approx(0.0046)
    assert estimates["on_policy"]["mean"] == pytest.approx(0.0069)
    for name in ("ips", "clipped_ips", "snips", "dr"):
        one = estimates[name]
        assert one["lower"] < estimates["on_policy"]["mean"] < one["upper"], name
    assert found["warnings"] == []
