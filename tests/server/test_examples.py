"""The playbooks that ship with the package, and the demonstration."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nextbest.server.command.day import simulate
from nextbest.server.examples import CONSENT, CROSSED, FIRST, LEADS, POLITE, SHOP, TESTED, THRIFTY
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.run import run_cases

DEMO = [sys.executable, "-c", "from nextbest.server.command.main import run; run()", "demo"]


@pytest.mark.parametrize(
    "folder",
    [FIRST, LEADS, SHOP, TESTED, POLITE, CONSENT, CROSSED, THRIFTY],
    ids=lambda folder: folder.name,
)
def test_an_example_compiles_without_a_fault_and_passes_its_own_tests(folder: Path) -> None:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.yaml")
    }
    compiled = compile_playbook(files)
    assert [str(fault) for fault in compiled.faults] == []
    assert compiled.plan is not None
    results = run_cases(compiled.plan, compiled.tests)
    assert len(results) >= 2
    assert [(one.name, one.differences) for one in results if not one.passed] == []


def test_a_seed_gives_the_same_day() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    first, again = list(simulate(3, start, 50)), list(simulate(3, start, 50))
    assert first == again
    assert first != list(simulate(4, start, 50))
    assert [step.at for step in first] == sorted(step.at for step in first)
    assert (first[-1].at - start).total_seconds() < 86_400


def test_the_demonstration_runs_without_a_terminal() -> None:
    result = subprocess.run(
        [*DEMO, "--visitors", "60"], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    for part in ("One decision, explained", "A scored lead", "p99", "home_hero"):
        assert part in result.stdout
    assert "\x1b" not in result.stdout


def test_the_demonstration_speaks_json() -> None:
    result = subprocess.run(
        [*DEMO, "--visitors", "20", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    figures = json.loads(result.stdout)
    assert figures["visitors"] == 20
    assert figures["grade"] == "A1"


@pytest.mark.parametrize(
    ("command", "title", "way"),
    [
        (["nextbest.server.examples.score_leads"], "X Education", "make leads LEADS=FILE"),
        (["nextbest.server.examples.derive_leads"], "X Education", "make leads LEADS=FILE"),
        (["bench.retail", "--file"], "UCI Online Retail", "make retail RETAIL=FILE"),
    ],
)
def test_a_data_set_that_is_absent_is_told_with_its_source(
    command: list[str], title: str, way: str, tmp_path: Path
) -> None:
    """As README.md's table has it."""
    missing = tmp_path / "absent.csv.gz"
    run = [sys.executable, "-m", *command, str(missing)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{missing}: not there; `{way}` names the file of {title}")
    sources = re.findall(r"https://[^\s,]+", line)
    assert sources
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (row,) = (one for one in readme.splitlines() if one.startswith("| ") and f"`{way}`" in one)
    assert all(f"({source})" in row for source in sources)
