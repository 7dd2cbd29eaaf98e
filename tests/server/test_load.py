"""Loading files: rows, mappings, conversions, refusals, and running it again."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from nextbest.client import Client
from nextbest.server.command.child import Child
from nextbest.server.load import LoadError, MappingError, RefusedError, load, read_mapping
from nextbest.server.load.load import request_of
from nextbest.server.load.rows import Reader, Row, content_hash, format_of

EVENTS = """
empty: ["", "?"]
time: {format: "%d.%m.%Y %H:%M", zone: Europe/Warsaw}
rows:
  - when: {who: empty}
    event: purchase
    identity: {anonymous: "{session}"}
    time: when
    properties: &all
      product: product
      amount: {product: [price, count], type: double}
      order: {template: "o-{session}"}
  - event: purchase
    identity: {known: "c{who:int}"}
    time: when
    properties: *all
"""
HEADER = "who,session,when,product,price,count\n"
GOOD = "17.0,s1,24.12.2025 18:30,lamp,2.55,6\n"


@pytest.fixture
def events(tmp_path: Path) -> Any:
    path = tmp_path / "mapping.yaml"
    path.write_text(EVENTS)
    return read_mapping(path)


def rows_of(path: Path, text: str | bytes) -> list[Row]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(Reader(path, format_of(path)))


def fields(**changes: Any) -> dict[str, Any]:
    row = {"who": "17.0", "session": "s1", "when": "24.12.2025 18:30"}
    return {**row, "product": "lamp", "price": "2.55", "count": "6", **changes}


def test_a_row_becomes_an_event_with_converted_values(events: Any) -> None:
    request: Any = request_of(Row(7, fields(), ""), events, "abc")
    assert request.event_id == "abc-7"
    assert (request.identity.kind, request.identity.id) == (1, "c17")
    assert request.occurred_at.ToJsonString() == "2025-12-24T17:30:00Z"
    assert request.properties["amount"].double_value == 15.3
    assert request.properties["order"].string_value == "o-s1"


def test_a_condition_chooses_the_rule(events: Any) -> None:
    request: Any = request_of(Row(1, fields(who="?"), ""), events, "abc")
    assert (request.identity.kind, request.identity.id) == (2, "s1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"who": "17.5"}, "who: 4 characters, allowed: a whole number"),
        ({"who": "1e400"}, "who: 5 characters, allowed: a whole number"),
        ({"who": "abc"}, "who: 3 characters, allowed: a number"),
        ({"when": "2025-12-24"}, "when: 10 characters, allowed: a time written as"),
        ({"when": "?"}, "time: empty"),
        ({"price": "nan"}, "price: 3 characters, allowed: a finite number"),
        ({"who": "", "session": ""}, "session: 0 characters, allowed: a value"),
    ],
)
def test_a_row_that_cannot_be_converted_names_the_column(
    events: Any, changes: dict[str, str], reason: str
) -> None:
    with pytest.raises(RefusedError, match=reason.replace("(", "\\(")):
        request_of(Row(1, fields(**changes), ""), events, "abc")


def test_an_empty_column_leaves_the_property_out(events: Any) -> None:
    request: Any = request_of(Row(1, fields(price=""), ""), events, "abc")
    assert "amount" not in request.properties


def test_malformed_csv_rows_are_rows_with_a_fault(tmp_path: Path) -> None:
    text = b'a,b\n1,2\n1,2,3\n\n"x"y,2\n\xff,2\n"two\nlines",4\n5,'
    rows = rows_of(tmp_path / "x.csv", text)
    assert [row.number for row in rows] == [1, 2, 4, 5, 6, 7]
    assert rows[0].fields == {"a": "1", "b": "2"}
    assert rows[1].fault == "columns: 3, allowed: 2"
    assert rows[2].fault.startswith("csv: ")
    assert rows[3].fault == "line: bytes that are not UTF-8"
    assert rows[4].fields == {"a": "two\nlines", "b": "4"}
    assert rows[5].fields == {"a": "5", "b": ""}


def test_a_quote_that_never_ends_does_not_take_the_memory(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "x.csv", 'a,b\n"' + "x,y\n" * 100_000)
    assert rows[0].fault.startswith("csv: field larger")
    assert len(str(rows[0].raw)) < 200_000


def test_an_endless_line_is_cut_and_refused(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "x.jsonl", '{"a":"' + "x" * 3_000_000 + '"}\n{"a":1}\n')
    assert "longer than" in rows[0].fault
    assert rows[1].fields == {"a": 1}


def test_json_lines_may_be_nested_and_must_be_objects(tmp_path: Path) -> None:
    text = '{"a": {"b": 1}, "c": null}\n[1]\n{"a": NaN}\n{"a"\n' + "[" * 100_000 + "\n"
    rows = rows_of(tmp_path / "x.jsonl", text)
    assert rows[0].fields == {"a.b": 1, "c": None}
    assert [row.fields for row in rows[1:]] == [None] * 4
    assert all(row.fault.startswith("json: ") for row in rows[1:])


def test_a_gzip_that_ends_early_says_so(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 50_000)
    rows = rows_of(tmp_path / "x.csv.gz", whole[: len(whole) // 2])
    assert rows[-1].fault.startswith("file: cannot be read further")


def test_parquet_rows_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, None], "b": ["x", "y"]}), path)
    assert [row.fields for row in Reader(path, "parquet")] == [
        {"a": 1, "b": "x"},
        {"a": None, "b": "y"},
    ]


def test_a_mapping_reports_all_faults_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "empyt: []\n"
        "rows:\n"
        "  - identity: {knwon: x}\n"
        "  - event: e\n"
        "    identity: {known: '{a}'}\n"
        "    attributes: {b: c}\n"
        "    properties: {d: {column: e, type: integer}, f: {type: int}}\n"
    )
    with pytest.raises(MappingError) as caught:
        read_mapping(path)
    text = str(caught.value)
    assert f"{path}:1:1: empyt: unknown, did you mean empty?" in text
    assert f"{path}:3:16: identity: 'knwon'" in text
    assert "time: missing" in text
    assert f"{path}:6:5: attributes: not allowed with event" in text
    assert "type: 'integer'" in text
    assert "f: allowed: exactly one of column, constant, template, product" in text


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "rows: 5", "\x00", "rows: [1, [2]]"])
def test_any_mapping_text_gives_a_fault(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(MappingError):
        read_mapping(path)


def test_the_content_hash_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    from nextbest.server.examples import SHOP

    with Child(SHOP) as running:
        yield running


def test_every_row_is_accepted_or_in_the_rejects_and_again_changes_nothing(
    child: Child, events: Any, tmp_path: Path
) -> None:
    file, rejects = tmp_path / "orders.csv", tmp_path / "rejects.jsonl"
    lines = [GOOD] * 3 + ["broken\n", GOOD.replace("18:30", "25:30"), GOOD.replace("6\n", "1e13\n")]
    file.write_text(HEADER + "".join(lines))
    first = asyncio.run(load(file, events, child.address, rejects=rejects))
    again = asyncio.run(load(file, events, child.address, rejects=rejects))
    assert (first.rows, first.accepted, first.refused, first.repeated) == (6, 3, 3, 0)
    assert (again.rows, again.accepted, again.refused, again.repeated) == (6, 3, 3, 3)
    found = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [one["row"] for one in found] == [4, 5, 6]
    assert found[2]["reason"].startswith("INVALID_ARGUMENT: properties.amount")
    assert found[0]["raw"] == "broken"
    with Client(child.address) as client:
        profile = client.get_profile("c17").profile
    assert profile.counters["purchases"].value.int_value == 3


def test_a_name_the_playbook_does_not_know_is_a_refusal(child: Child, tmp_path: Path) -> None:
    file, mapping = tmp_path / "p.jsonl", tmp_path / "m.yaml"
    file.write_text('{"id": "x", "c": "PL"}\n{"id": "y"}\n')
    mapping.write_text('rows: [{identity: {known: "{id}"}, attributes: {contry: c}}]')
    result = asyncio.run(
        load(file, read_mapping(mapping), child.address, rejects=tmp_path / "rejects")
    )
    assert (result.accepted, result.refused) == (1, 1)
    (reason,) = result.reasons
    assert "attributes" in reason
    assert "'contry'" in reason
    assert "'country'" in reason


def test_a_column_that_is_not_there_ends_the_load_with_its_nearest(
    child: Child, events: Any, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(HEADER.replace("price", "prize") + GOOD)
    with pytest.raises(LoadError, match="'price' is not in the header, did you mean 'prize'"):
        asyncio.run(load(file, events, child.address, rejects=tmp_path / "rejects"))


def test_a_server_that_is_not_there_ends_the_load(
    events: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextbest.server.load.send.BACKOFF_S", 0.001)
    file = tmp_path / "orders.csv"
    file.write_text(HEADER + GOOD * 5_000)
    with pytest.raises(LoadError, match="UNAVAILABLE"):
        asyncio.run(load(file, events, f"unix:{tmp_path}/none", rejects=tmp_path / "rejects"))
