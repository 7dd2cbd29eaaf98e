"""Keys as people are told of them: all that editors know and examples use, each with a meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from nextbest.server import examples
from nextbest.server.command.playbook import keys_table
from nextbest.server.playbook import folder, keys, schema, source
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.source import Node

FOLDERS = sorted(path.parent for path in Path(examples.__file__).parent.glob("*/schema.yaml"))
SMALL = Path(__file__).parents[1] / "cases" / "small"
README = Path(__file__).parents[2] / "README.md"


class Known(NamedTuple):
    """A key as its JSON Schema has it."""

    path: str
    meaning: str
    required: bool


def of_schema(node: dict[str, Any], path: str = "") -> Iterator[Known]:
    """The keys of a JSON Schema, as often as they are in it."""
    for name, inner in node.get("properties", {}).items():
        at = f"{path}.{name}".lstrip(".")
        yield Known(at, inner.get("description", ""), name in node.get("required", ()))
        yield from of_schema(inner, at)
    for inner in node.get("anyOf", ()):
        yield from of_schema(inner, path)
    if isinstance(node.get("additionalProperties"), dict):
        yield from of_schema(node["additionalProperties"], f"{path}.NAME")
    if "items" in node:
        yield from of_schema(node["items"], f"{path}[]")


def known(row: keys.Row) -> Known:
    """A row without the names behind its key."""
    path = re.sub(r"(\.[A-Z_]+)+$", "", row.key)
    return Known(path, row.meaning, row.default == keys.REQUIRED)


@pytest.mark.parametrize("part", schema.names())
def test_people_are_told_of_the_keys_that_editors_know(part: str) -> None:
    found = {known(row) for row in keys.rows(part)}
    assert found == set(of_schema(schema.json_schema(part)))
    assert all(len(one.meaning.split()) > 1 for one in found)


@pytest.mark.parametrize("part", schema.names())
def test_each_key_says_what_it_may_be(part: str) -> None:
    assert all(row.allowed for row in keys.rows(part))


def tree(part: str) -> dict[str, Any]:
    """The rows of a part as mappings in one another; of what has none within, what it may be."""
    found: dict[str, Any] = {}
    for row in keys.rows(part):
        at = found
        for step in row.key.replace("[]", ".[]").lstrip(".").split("."):
            at = at.setdefault(step, {})
        at["="] = row.allowed
    return found


def untold(node: Node, at: dict[str, Any], path: str = "") -> Iterator[str]:
    """The keys of a file that no row has."""
    for one in node.items:
        yield from untold(one, at.get("[]", at), path)
    if "for each name" in at.get("=", ""):
        return
    for name, inner in node.entries:
        step = next((one for one in at if one == name.text or one.isupper()), None)
        if step is None:
            yield f"{path}.{name.text}"
        else:
            yield from untold(inner, at[step], f"{path}.{name.text}")


@pytest.mark.parametrize("path", [*FOLDERS, SMALL], ids=lambda path: path.name)
def test_the_keys_of_examples_are_told(path: Path) -> None:
    for file, content in folder.read_folder(path).items():
        part = "tests" if file.startswith("tests/") else file.removesuffix(".yaml")
        root = source.parse(file, content, Faults())
        assert root is not None
        assert list(untold(root, tree(part))) == [], file


@pytest.mark.parametrize(
    ("part", "row"),
    [
        ("schema", ("context.NAME", "bool, int, double, string, timestamp, list(string)", "")),
        ("schema", ("counters.NAME.count", "a name", keys.ONE_OF)),
        ("schema", ("counters.NAME.limit", "a whole number from 1 to 65,536", "1000")),
        ("schema", ("counters.NAME.n", "a whole number from 1 to 1,024", "")),
        ("scores", ("scores.NAME.half_life", "a span from 1m to 3650d, or none", "none")),
        ("actions", ("actions.NAME.valid.until", "a moment", "")),
        ("placements", ("placements.NAME.slots", "a whole number from 1 to 64", "1")),
        ("experiments", ("experiments.NAME.coverage", "a share", "100%")),
        ("contact", ("budgets.NAME.hold", "a span from 1s to 1d", "30m")),
        ("contact", ("budgets.NAME.pacing", "none, even", "none")),
        ("tests", ("[].events[].event", "a name", keys.REQUIRED)),
    ],
)
def test_a_row_has_the_bounds_and_the_default(part: str, row: tuple[str, str, str]) -> None:
    assert row in [one[:3] for one in keys.rows(part)]


def test_readme_quotes_what_is_printed() -> None:
    console = Console(file=StringIO(), width=100)
    console.print(keys_table("schema"))
    printed = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    quoted = README.read_text().split("$ nextbest schema --keys schema\n")[1].split("```")[0]
    lines = [line for line in quoted.splitlines() if line != "..."]
    assert len(lines) > 5
    assert [line for line in lines if line not in printed] == []
