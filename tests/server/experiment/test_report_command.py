"""What the command prints, draws and ends with."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Invoke = Callable[..., Result]
OPTIONS = ("--variant", "arm", "--control", "A", "--conversion", "bought", "--value", "spend")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A has 20 % of 400, B 40 % of 400; each that bought spent 1 or 2 in turn."""
    made = tmp_path_factory.mktemp("experiment") / "test.csv"
    rows = ["arm,bought,spend,before"]
    for arm, of_five in (("A", 1), ("B", 2)):
        for number in range(400):
            bought = int(number % 5 < of_five)
            rows.append(f"{arm},{bought},{bought * (1 + number % 2)},{number % 2}")
    made.write_text("\n".join(rows) + "\n")
    return made


def test_the_split_comes_first(file: Path, invoke: Invoke) -> None:
    made = invoke(file, *OPTIONS)
    assert made.exit_code == 0
    lines = made.output.splitlines()
    assert lines[0] == "split: as planned, chi-square 0.00, p = 1.0000"
    assert lines[1].split() == ["A", "400,", "B", "400;", "planned", "400.0,", "400.0"]
    for part in ("+20.00 pp", "+100.0%", "> 99.99 %", "at the planned end", "while the test runs"):
        assert part in made.output


def test_a_mismatch_is_an_alarm(file: Path, invoke: Invoke) -> None:
    made = invoke(file, *OPTIONS, "--weights", "A=2,B=1")
    assert made.exit_code == 1
    assert made.output.startswith("SAMPLE-RATIO MISMATCH: chi-square 100.00, p = 1.5e-23")
    assert "nothing below holds" in made.output


@pytest.mark.parametrize(
    ("rule", "code", "said"),
    [("bought>=-0.01", 0, "kept"), ("spend<=0", 1, "broken"), ("bought>=0.2", 1, "not shown")],
)
def test_a_guardrail_ends_with_its_state(
    file: Path, invoke: Invoke, rule: str, code: int, said: str
) -> None:
    made = invoke(file, *OPTIONS, "--guardrail", rule)
    assert made.exit_code == code
    assert f"guardrail {rule}: {said}, B is " in made.output


def test_json_has_it_all(file: Path, invoke: Invoke) -> None:
    made = invoke(file, *OPTIONS, "--covariate", "before", "--guardrail", "spend<=0", "--json")
    assert made.exit_code == 1
    found = json.loads(made.output)
    assert (found["subjects"], found["control"], found["sound"]) == (800, "A", False)
    assert [one["state"] for one in found["guardrails"]] == ["broken"]
    assert {one["metric"] for one in found["adjusted"]["comparisons"]} == {"bought", "spend"}


def test_cuped_is_printed_with_what_it_took_out(file: Path, invoke: Invoke) -> None:
    made = invoke(file, *OPTIONS, "--covariate", "before")
    assert "CUPED: the same without what before told before the test" in made.output
    assert "variance out" in made.output


def test_a_metric_that_is_its_own_covariate_is_refused(tmp_path: Path, invoke: Invoke) -> None:
    copied = tmp_path / "test.csv"
    rows = (f"{'AB'[n % 2]},{n % 7},{3 * (n % 7) + 1}\n" for n in range(100))
    copied.write_text("arm,spend,again\n" + "".join(rows))
    options = ("--variant", "arm", "--control", "A", "--value", "spend", "--covariate", "again")
    made = invoke(copied, *options)
    assert made.exit_code == 2
    assert made.output.startswith("again: tells spend wholly")


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_plot_is_drawn(
    file: Path, invoke: Invoke, tmp_path: Path, suffix: str, magic: bytes
) -> None:
    picture = tmp_path / f"picture.{suffix}"
    assert invoke(file, *OPTIONS, "--plot", picture).exit_code == 0
    assert picture.read_bytes().startswith(magic)


def test_a_name_with_a_formula_is_drawn_as_it_stands(tmp_path: Path, invoke: Invoke) -> None:
    file, picture = tmp_path / "test.csv", tmp_path / "picture.svg"
    file.write_text("arm,$x_\nA,1\nA,0\n$^$,1\n$^$,0\n")
    options = ("--variant", "arm", "--control", "A", "--conversion", "$x_", "--plot", picture)
    assert invoke(file, *options).exit_code == 0
    assert picture.exists()


@pytest.mark.parametrize(
    ("library", "extra"),
    [("scipy", "analysis"), ("statsmodels", "analysis"), ("matplotlib", "report")],
)
def test_a_missing_library_is_named_with_its_extra(file: Path, library: str, extra: str) -> None:
    """In a process that cannot find it, as in an installation without the extra."""
    code = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{library}': raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "from nextbest.server.command.main import run\n"
        "run()\n"
    )
    arguments = ["experiment", "report", str(file), *OPTIONS, "--plot", "picture.png"]
    made = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert made.returncode == 2
    assert made.stderr == f"{library}: not installed; pip install 'nextbest[{extra}]'\n"


def test_help_and_the_server_need_no_statistics() -> None:
    code = (
        "import sys; from nextbest.server.command.main import make_app\n"
        "make_app(['experiment', 'serve'])(['experiment', '--help'], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"scipy", "statsmodels", "pandas", "matplotlib"} & set(made.stdout.split())
