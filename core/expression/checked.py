"""Reads checked and parsed CEL (cel.expr.CheckedExpr, ParsedExpr) from its wire bytes.

The core has no protobuf library: this knows the few fields that lowering needs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from nextbest.core.expression.values import Uint

Wire = int | bytes

PRIMITIVES = ("dyn", "bool", "int", "uint", "double", "string", "bytes")
WELL_KNOWN = ("dyn", "any", "google.protobuf.Timestamp", "google.protobuf.Duration")


@dataclass(slots=True)
class Node:
    """One expression.  `kind` says which of the fields hold:

    const (value); ident (name); select (target, name, test); call (target or None, name,
    args); list (args); map (args: key, value, ...); struct (name); fold (a comprehension).
    """

    id: int
    kind: str = "unset"
    name: str = ""
    value: object = None
    target: Node | None = None
    test: bool = False
    args: list[Node] = field(default_factory=list)
    optional: bool = False
    fold: Fold | None = None


class Fold(NamedTuple):
    """A comprehension: variables, range, accumulator, and what is done for each item."""

    variable: str
    variable2: str
    range: Node
    accumulator: str
    start: Node
    condition: Node
    step: Node
    result: Node


class Type(NamedTuple):
    """A static type: its name, and those of what a list, map, type or wrapper holds."""

    name: str
    of: tuple[Type, ...] = ()
    message: bool = False


DYN = Type("dyn")


class Reference(NamedTuple):
    """What a name resolved to: a variable's full name, or a function's overloads."""

    name: str
    overloads: tuple[str, ...]


@dataclass(slots=True)
class Checked:
    """An expression with what the checker found; `checked` is false when it only parsed."""

    root: Node
    checked: bool
    references: dict[int, Reference]
    types: dict[int, Type]
    positions: dict[int, int]  # node -> offset in code points


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """The (number, value) pairs of a message, in order."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = varint(data, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if size is None:
            size, at = varint(data, at)
        yield tag >> 3, data[at : at + size]
        at += size


def signed(value: Wire) -> int:
    assert isinstance(value, int)
    return value - (1 << 64) if value >> 63 else value


def raw(value: Wire) -> bytes:
    assert isinstance(value, bytes)
    return value


def text(value: Wire) -> str:
    return raw(value).decode()


def last(data: Wire) -> dict[int, Wire]:
    """A message's fields by number; of a repeated one the last."""
    return dict(fields(raw(data)))


def constant(data: bytes) -> object:
    for number, value in fields(data):
        if number == 2:
            return bool(value)
        if number == 3:
            return signed(value)
        if number == 4:
            assert isinstance(value, int)
            return Uint(value)
        if number == 5:
            return struct.unpack("<d", raw(value))[0]
        if number == 6:
            return text(value)
        if number == 7:
            return raw(value)
    return None


def read_call(node: Node, data: bytes) -> None:
    node.kind = "call"
    for number, value in fields(data):
        if number == 1:
            node.target = read_node(raw(value))
        elif number == 2:
            node.name = text(value)
        elif number == 3:
            node.args.append(read_node(raw(value)))


def read_select(node: Node, data: bytes) -> None:
    found = last(data)
    node.kind = "select"
    node.target = read_node(raw(found[1]))
    node.name = text(found.get(2, b""))
    node.test = bool(found.get(3, 0))


def read_list(node: Node, data: bytes) -> None:
    node.kind = "list"
    for number, value in fields(data):
        if number == 1:
            node.args.append(read_node(raw(value)))
        else:
            node.optional = True


def read_struct(node: Node, data: bytes) -> None:
    """A message, or a map literal when it has no name."""
    node.kind = "map"
    for number, value in fields(data):
        if number == 1 and value:
            node.kind, node.name = "struct", text(value)
        elif number == 2:
            entry = last(value)
            if 3 in entry:
                node.args.append(read_node(raw(entry[3])))
            node.args.append(read_node(raw(entry.get(4, b""))))
            node.optional |= bool(entry.get(5, 0))


def read_fold(node: Node, data: bytes) -> None:
    found = last(data)
    parts = [read_node(raw(found.get(n, b""))) for n in (2, 4, 5, 6, 7)]
    node.kind = "fold"
    names = [text(found.get(n, b"")) for n in (1, 8, 3)]
    node.fold = Fold(names[0], names[1], parts[0], names[2], *parts[1:])


READERS = {5: read_select, 6: read_call, 7: read_list, 8: read_struct, 9: read_fold}


def read_node(data: bytes) -> Node:
    node = Node(0)
    for number, value in fields(data):
        if number == 2:
            node.id = signed(value)
        elif number == 3:
            node.kind, node.value = "const", constant(raw(value))
        elif number == 4:
            node.kind, node.name = "ident", text(last(value).get(1, b""))
        elif number in READERS:
            READERS[number](node, raw(value))
    return node


def read_type(data: bytes) -> Type:
    for number, value in fields(data):
        if number == 2:
            return Type("null_type")
        if number == 3:
            assert isinstance(value, int)
            return Type(PRIMITIVES[value])
        if number == 4:
            assert isinstance(value, int)
            return Type("wrapper", (Type(PRIMITIVES[value]),))
        if number == 5:
            assert isinstance(value, int)
            return Type(WELL_KNOWN[value])
        if number == 6:
            return Type("list", (read_type(raw(last(value).get(1, b""))),))
        if number == 7:
            found = last(value)
            return Type("map", tuple(read_type(raw(found.get(n, b""))) for n in (1, 2)))
        if number == 9:
            return Type(text(value), message=True)
        if number == 11:
            return Type("type", (read_type(raw(value)),))
        if number == 14:
            return read_abstract(raw(value))
    return DYN


def read_abstract(data: bytes) -> Type:
    parts = list(fields(data))
    names = [text(value) for number, value in parts if number == 1]
    return Type(names[0], tuple(read_type(raw(value)) for number, value in parts if number == 2))


def read_reference(data: bytes) -> Reference:
    name, overloads = "", []
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 3:
            overloads.append(text(value))
    return Reference(name, tuple(overloads))


def read_checked(data: bytes) -> Checked:
    """Read a CheckedExpr or a ParsedExpr inside a google.protobuf.Any."""
    outer = last(data)
    parsed = text(outer[1]).endswith("ParsedExpr")
    result = Checked(Node(0), not parsed, {}, {}, {})
    root_field, source_field = (2, 3) if parsed else (4, 5)
    for number, value in fields(raw(outer[2])):
        if number == root_field:
            result.root = read_node(raw(value))
        elif number == source_field:
            read_source(result, raw(value))
        elif number == 2:
            entry = last(value)
            result.references[signed(entry.get(1, 0))] = read_reference(raw(entry[2]))
        elif number == 3:
            entry = last(value)
            result.types[signed(entry.get(1, 0))] = read_type(raw(entry[2]))
    return result


def read_source(result: Checked, data: bytes) -> None:
    for number, value in fields(data):
        if number == 4:
            entry = last(value)
            result.positions[signed(entry.get(1, 0))] = signed(entry.get(2, 0))
