"""Every key of a playbook for people: the tables of `model` in a third notation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nextbest.server.playbook import limits, model, scalars
from nextbest.server.playbook.schema import json_schema
from nextbest.server.playbook.shapes import Mapping, Record, Shape

REQUIRED = "required"
ONE_OF = "one of these"
NAME = "a name"
# What short words stand for where keys are told.
_WORDS = {
    ".NAME": "NAME and the like: names that you make up",
    "[]": "[]: each one of a list",
    NAME: limits.NAME_TEXT,
    "a span": f"a span: {scalars.SPAN_TEXT}",
    "a moment": f"a moment: {scalars.MOMENT_TEXT}",
    "a share": scalars.SHARE_TEXT,
}


class Row(NamedTuple):
    """A key: its path, where NAME is the author's own, and what the shapes say of it.

    `default` is empty for what has no value of its own when it is not given.
    """

    key: str
    allowed: str
    default: str
    meaning: str


def title(file: str) -> str:
    """What a part of a playbook holds.  Raises KeyError."""
    doc = (_part(file)[1].spec.__doc__ or "").rstrip(".")
    name = str(json_schema(file)["title"])
    return doc if doc.startswith(name) else f"{name}: {doc[:1].lower()}{doc[1:]}"


def rows(file: str) -> tuple[Row, ...]:
    """The keys of a part, such as "actions", in the order of its tables.  Raises KeyError."""
    prefix, record = _part(file)
    return tuple(_rows(f"{prefix}." if prefix else "", record))


def words(found: Iterable[Row]) -> tuple[str, ...]:
    """What the short words of these rows stand for."""
    texts = [f"{row.key} {row.allowed}" for row in found]
    return tuple(meaning for word, meaning in _WORDS.items() if any(word in text for text in texts))


def _part(file: str) -> tuple[str, Record]:
    name = file.removesuffix(".yaml")
    shape = model.CASES if name == "tests" else model.FILES[name]
    inside = shape.inside()
    assert inside is not None, file
    return inside


def _rows(prefix: str, record: Record) -> Iterator[Row]:
    for name, field in record.fields().items():
        shape, doc = field.metadata["shape"], field.metadata["doc"]
        default = ONE_OF if name in record.one_of else _default(field)
        path = prefix + name
        yield Row(path + _names(shape), _allowed(shape), default, doc)
        inside = shape.inside()
        if inside is not None:
            yield from _rows(f"{path}{inside[0]}.", inside[1])


def _names(shape: Shape) -> str:
    """What names that the author makes up add to the path of a key."""
    if not isinstance(shape, Mapping):
        return ""
    inner = shape.item
    return f".NAME.{inner.noun.upper()}" if isinstance(inner, Mapping) else ".NAME"


def _allowed(shape: Shape) -> str:
    """What a value may be, whose path has the names already."""
    if not isinstance(shape, Mapping):
        return shape.text()
    names = shape.names.text()
    return _allowed(shape.item) + ("" if names == NAME else f"; NAME is {names}")


def _default(field: dataclasses.Field[object]) -> str:
    if field.metadata["required"]:
        return REQUIRED
    given = field.default is not dataclasses.MISSING and field.default is not None
    return str(field.metadata["shape"].shown(field.default)) if given else ""
