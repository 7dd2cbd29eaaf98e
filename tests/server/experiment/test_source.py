"""Files: what is read of them, and what is said of those that cannot be used."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from nextbest.server.experiment.errors import (
    CellError,
    ExperimentError,
    FileError,
    OptionError,
    TooFewError,
    UnknownColumnError,
)
from nextbest.server.experiment.source import Columns, read
from nextbest.server.experiment.subjects import VARIANTS_MAX, Kind, Metric, Subjects

Invoke = Callable[..., Result]
COLUMNS = Columns("arm", "A", ("bought",), ("spend",))
GOOD = "arm,bought,spend\nA,0,0\nA,1,2.5\nB,true,1\nB,FALSE,1e1\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(content: str | bytes, name: str = "test.csv") -> Path:
        made = tmp_path / name
        made.write_bytes(content.encode() if isinstance(content, str) else content)
        return made

    return write


def test_a_file_becomes_arrays_with_the_control_first(file: Callable[..., Path]) -> None:
    made = read(file(GOOD), Columns("arm", "B", ("bought",), (), ("spend",)))
    assert made.variants == ("B", "A")
    assert made.codes.tolist() == [1, 1, 0, 0]
    assert made.metrics[0].values.tolist() == [0, 1, 1, 0]
    assert made.covariates[0].values.tolist() == [0, 2.5, 1, 10]


def test_all_formats_are_one(file: Callable[..., Path], tmp_path: Path) -> None:
    rows = [("A", 0, 0.0), ("A", 1, 2.5), ("B", 1, 1.0), ("B", 0, 10.0)]
    named = [dict(zip(("arm", "bought", "spend"), row, strict=True)) for row in rows]
    parquet = tmp_path / "test.parquet"
    pq.write_table(pa.Table.from_pylist(named), parquet)
    files = [
        file(GOOD),
        file(GOOD.replace(",", "\t"), "test.tsv"),
        file(gzip.compress(GOOD.encode()), "test.csv.gz"),
        file("".join(json.dumps(one) + "\n" for one in named), "test.jsonl"),
        parquet,
    ]
    made = [read(one, COLUMNS) for one in files]
    assert {one.variants for one in made} == {("A", "B")}
    assert {tuple(metric.values) for one in made for metric in one.metrics} == {
        (0, 1, 1, 0),
        (0, 2.5, 1, 10),
    }


@pytest.mark.parametrize(
    ("cell", "seen"),
    [
        ("2", "2"),
        ("", "empty"),
        ("nan", "nan"),
        ("-1", "-1"),
        ("0.5", "0.5"),
        ("someone@example.org", "a text of 19 characters"),
    ],
)
def test_a_conversion_is_none(file: Callable[..., Path], cell: str, seen: str) -> None:
    """The file, the line, the column, what is allowed; a text may be private and is not told."""
    with pytest.raises(CellError) as caught:
        read(file(f"{GOOD}A,{cell},1\n"), COLUMNS)
    assert str(caught.value) == (
        f"test.csv: line 6: column 'bought': {seen}, allowed: 0, 1, true or false"
    )


@pytest.mark.parametrize("cell", ["NaN", "inf", "-Infinity", "1e13", "", "ten", "1" * 400])
def test_a_value_is_none(file: Callable[..., Path], cell: str) -> None:
    with pytest.raises(CellError, match=r"test.csv: line 6: column 'spend': .*, allowed: a number"):
        read(file(f"{GOOD}A,1,{cell}\n"), COLUMNS)


def test_lines_are_those_of_an_editor(file: Callable[..., Path]) -> None:
    """Quoted cells may span lines, and empty lines are no rows."""
    text = 'arm,bought,spend,note\nA,0,0,"two\nlines"\n\nA,1,x,\n'
    with pytest.raises(CellError, match="line 5: column 'spend'"):
        read(file(text), COLUMNS)


def test_a_row_of_parquet_is_a_row(tmp_path: Path) -> None:
    made = tmp_path / "test.parquet"
    pq.write_table(pa.table({"arm": ["A", "B"], "bought": [1, None], "spend": [1.0, 2.0]}), made)
    with pytest.raises(CellError, match=r"test.parquet: row 2: column 'bought': empty"):
        read(made, COLUMNS)


def test_an_unknown_column_has_a_nearest(file: Callable[..., Path]) -> None:
    with pytest.raises(UnknownColumnError, match=r"column 'spent': unknown, .*mean spend"):
        read(file(GOOD), Columns("arm", "A", (), ("spent",)))


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        ("arm,bought,spend\nA,1\n", "test.csv", "line 2: columns: 2, allowed: 3"),
        ('arm,bought,spend\nA,"1,2\n', "test.csv", "line 2: csv: unexpected end of data"),
        ("arm,arm\n", "test.csv", "header: a column's name stands there twice"),
        (b"arm,bought,spend\nA,1,\xff\n", "test.csv", "line 2: line: bytes that are not UTF-8"),
        ("no gzip at all", "test.csv.gz", "file: cannot be read further"),
        (gzip.compress(GOOD.encode())[:-12], "test.csv.gz", "file: cannot be read further"),
        (gzip.compress(b"\x00\x01\x02" * 99), "test.csv.gz", ""),
        ("no Parquet", "test.parquet", "file: cannot be read further"),
        (GOOD, "test.txt", "format unknown, allowed: .csv"),
        ("[1]\n", "test.jsonl", "line 1: json: list, allowed: an object"),
    ],
)
def test_a_file_is_none(file: Callable[..., Path], content: str, name: str, why: str) -> None:
    with pytest.raises((FileError, TooFewError)) as caught:
        read(file(content, name), COLUMNS)
    assert why in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "no rows"),
        ("arm,bought,spend\n", "no rows"),
        ("arm,bought,spend\nA,1,1\nA,1,1\n", "only 'A'"),
        ("arm,bought,spend\nA,1,1\nA,1,1\nB,1,1\n", "variant 'B': 1 subjects, allowed: 2 or more"),
    ],
)
def test_too_few(file: Callable[..., Path], content: str, why: str) -> None:
    with pytest.raises(TooFewError, match=why):
        read(file(content), COLUMNS)


def test_a_subject_with_two_rows_is_told_by_its_lines(file: Callable[..., Path]) -> None:
    """Not by its id, which may be private."""
    people = ["ann", "bob", "cid", "dan", "bob", "ann", "eve"]
    rows = "".join(f"{'AB'[n % 2]},1,{name}\n" for n, name in enumerate(people))
    columns = Columns("arm", "A", ("bought",), subject="person")
    with pytest.raises(CellError) as caught:
        read(file(f"arm,bought,person\n{rows}"), columns)
    assert str(caught.value) == (
        "test.csv: line 6: column 'person': the subject of line 3 again, "
        "allowed: one row per subject"
    )


def test_subjects_with_a_row_each_are_read(file: Callable[..., Path]) -> None:
    columns = Columns("arm", "A", ("bought",), subject="person")
    rows = "".join(f"{'AB'[n % 2]},1,{n}\n" for n in range(100))
    assert len(read(file(f"arm,bought,person\n{rows}"), columns).codes) == 100
    with pytest.raises(
        CellError, match="line 102: column 'person': empty, allowed: a subject's id"
    ):
        read(file(f"arm,bought,person\n{rows}A,1,\n"), columns)


def test_too_many_variants_are_a_wrong_column(file: Callable[..., Path]) -> None:
    rows = "".join(f"person-{number},1,1\n" for number in range(VARIANTS_MAX + 1))
    with pytest.raises(CellError, match=r"line 102: column 'arm': .*, allowed: up to 100 variants"):
        read(file(f"arm,bought,spend\n{rows}"), COLUMNS)


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_variant_has_a_name(file: Callable[..., Path], name: str) -> None:
    with pytest.raises(CellError, match="line 6: column 'arm'"):
        read(file(f"{GOOD}{name},1,1\n"), COLUMNS)


def test_an_unknown_control_has_a_nearest(file: Callable[..., Path]) -> None:
    with pytest.raises(OptionError, match=r"--control: 'a', allowed: A, B"):
        read(file(GOOD), Columns("arm", "a", ("bought",)))


@pytest.mark.parametrize(
    ("conversions", "values", "why"),
    [
        ((), (), "neither"),
        (("bought", "bought"), (), "'bought' is named twice"),
        (("bought",), ("bought",), "'bought' is named twice"),
        (("arm",), (), "'arm' is named twice"),
        (tuple(map(str, range(51))), (), "51 columns, allowed: 50"),
    ],
)
def test_columns_are_named_once(
    conversions: tuple[str, ...], values: tuple[str, ...], why: str
) -> None:
    with pytest.raises(OptionError, match=why):
        Columns("arm", "A", conversions, values)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--weights", "A=-1,B=1"], "--weights: 'A=-1', allowed: a number above 0"),
        (["--weights", "A=0,B=1"], "--weights: 'A=0'"),
        (["--weights", "A=nan,B=1"], "--weights: 'A=nan'"),
        (["--weights", "A=inf,B=1"], "--weights: 'A=inf'"),
        (["--weights", "A,B=1"], "--weights: 'A'"),
        (["--weights", "A=1"], "--weights: none for 'B'"),
        (["--weights", "A=1,B=1,C=1"], "--weights: 'C', allowed: A, B"),
        (["--weights", "A=1,A=1"], "--weights: 'A' twice"),
        (["--guardrail", "bought"], "--guardrail: 'bought', allowed: METRIC>=BOUND"),
        (["--guardrail", "bought>=x"], "--guardrail: 'bought>=x'"),
        (["--guardrail", "bought>=nan"], "--guardrail: 'bought>=nan'"),
        (["--guardrail", "brought>=0"], "--guardrail: 'brought', allowed: bought (did you mean"),
        (["--level", "1"], "--level: 1, allowed: 0.5 to 0.9999"),
        (["--level", "nan"], "--level: nan"),
        (["--alarm-below", "2"], "--alarm-below: 2"),
        (["--tuned-for", "1"], "--tuned-for: 1"),
        (["--plot", "picture.exe"], "--plot: 'picture.exe', allowed: a name that ends in .png"),
        (["--plot", "nowhere/picture.png"], "--plot: no folder for 'picture.png'"),
    ],
)
def test_an_option_is_refused(
    file: Callable[..., Path], invoke: Invoke, options: list[str], why: str
) -> None:
    """In one line, with the code of wrong usage: 1 would say that the test is alarming."""
    made = invoke(
        file(GOOD), "--variant", "arm", "--control", "A", "--conversion", "bought", *options
    )
    assert made.exit_code == 2
    assert made.output.startswith(why)
    assert made.output.count("\n") == 1


def test_a_large_offset_keeps_small_differences(file: Callable[..., Path], invoke: Invoke) -> None:
    random = np.random.default_rng(3)
    rows = "".join(
        f"{arm},{1e9 + shift + number}\n"
        for arm, shift in (("A", 0.0), ("B", 0.5))
        for number in random.normal(size=500)
    )
    made = invoke(
        file(f"arm,value\n{rows}"),
        "--variant",
        "arm",
        "--control",
        "A",
        "--value",
        "value",
        "--json",
    )
    found = json.loads(made.output)["comparisons"][0]["contrast"]
    assert found["difference"] == pytest.approx(0.5, abs=0.2)
    assert found["p"] < 1e-6


@pytest.mark.parametrize(
    ("variants", "codes", "values", "why"),
    [
        (
            ("a", "b"),
            [0, 0, 1, 2],
            [0, 1, 0, 1],
            "codes: a code without a variant, allowed: 0 to 1",
        ),
        (("a", "b"), [0, 0, 1, -1], [0, 1, 0, 1], "codes: a code without a variant"),
        (("a", "b"), [0, 0, 1, 1], [0, 1, 0], "m: 3 numbers, allowed: one for each of 4 subjects"),
        (("a", "b"), [0, 0, 1, 1], [0, 1, 0, 2], "m: another number, allowed: 0 and 1"),
        (("a", "b"), [0, 0, 1, 1], [0, 1, 0, np.nan], "m: another number, allowed: finite ones"),
        (
            ("a", "b", "c"),
            [0, 0, 1, 1],
            [0, 1, 0, 1],
            "variant 'c': 0 subjects, allowed: 2 or more",
        ),
        ((), [0], [0], "variants: none, allowed: 2 to 100"),
        (tuple(map(str, range(101))), [0], [0], "variants: 101, allowed: 2 to 100"),
    ],
)
def test_no_source_hands_over_what_cannot_be_analysed(
    variants: tuple[str, ...], codes: list[int], values: list[float], why: str
) -> None:
    metric = Metric("m", Kind.CONVERSION, np.array(values, float))
    with pytest.raises(ExperimentError) as caught:
        Subjects(variants, np.array(codes, np.int32), (metric,))
    assert str(caught.value).startswith(why)
