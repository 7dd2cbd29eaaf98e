"""Playbook files as YAML 1.2 nodes that know their place.

Reads text only; what the nodes mean is for `shapes` and `model`.  The parser is libyaml; the
scalars are resolved here, by the core schema of YAML 1.2: `no` and `on` are strings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import yaml

from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Fault, Faults, shown

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TRUTHS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_NUMBER_CHARACTERS_MAX = 400
# The same parser in C, where the library was built with it.
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Kind(IntEnum):
    """The three kinds of YAML node."""

    SCALAR = 1
    LIST = 2
    MAP = 3


@dataclass(slots=True)
class Source:
    """One file: its path in the playbook's folder and its text."""

    path: str
    text: str


@dataclass(slots=True, eq=False)
class Node:
    """A YAML node; `start` and `end` are character offsets into the source's text."""

    source: Source
    kind: Kind
    line: int
    column: int
    start: int
    end: int
    text: str = ""
    plain: bool = False  # an unquoted scalar, the only one that can be a number or null
    items: Sequence[Node] = ()
    entries: Sequence[tuple[Node, Node]] = ()
    weight: int = 1  # nodes in it, each alias counted as what it stands for

    def scalar(self) -> bool | int | float | str | None:
        """The value of a scalar by the core schema of YAML 1.2."""
        text = self.text
        if not self.plain:
            return text
        if text in _NULLS:
            return None
        if text in _TRUTHS:
            return _TRUTHS[text]
        if len(text) > _NUMBER_CHARACTERS_MAX or text[0] not in "+-.0123456789":
            return text
        return _number(text)

    def is_null(self) -> bool:
        """True for an empty value, `~` and `null`."""
        return self.kind is Kind.SCALAR and self.plain and self.text in _NULLS

    def seen(self) -> str:
        """The node as a fault shows it."""
        if self.kind is Kind.MAP:
            return "a mapping"
        if self.kind is Kind.LIST:
            return f"a list of {len(self.items):,}"
        return "nothing" if self.is_null() else shown(self.text)

    def fault(self, what: str, allowed: str, seen: str | None = None) -> Fault:
        """A fault at this node."""
        seen = self.seen() if seen is None else seen
        return Fault(self.source.path, self.line, self.column, what, seen, allowed)


def _number(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        if text.startswith(("0o", "0x")):
            return int(text, 0)
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def place(node: Node, offset: int) -> tuple[int, int]:
    """The line and column of a scalar's character, also inside quotes and block scalars.

    Walks the value and the source side by side: YAML only ever folds white space, drops
    indentation and reads escapes, so everything else comes in the same order.
    """
    text = node.source.text
    position, quote = _body(node, text)
    for character in node.text[:offset]:
        position = _after(text, position, node.end, character, quote)
    if offset < len(node.text) and not node.text[offset].isspace():
        while position < node.end and text[position].isspace():
            position += 1
    before = text.rfind("\n", 0, position)
    extra = text.count("\n", node.start, position)
    return node.line + extra, position - before


def _body(node: Node, text: str) -> tuple[int, str]:
    """Where a scalar's own characters start in the text, and its quote."""
    if node.plain or node.start >= len(text):
        return node.start, ""
    mark = text[node.start]
    if mark in "|>":
        end = text.find("\n", node.start, node.end)
        return (node.end if end < 0 else end + 1), ""
    return node.start + 1, mark


def _after(text: str, position: int, end: int, character: str, quote: str) -> int:
    """The place after one character of a value."""
    while position < end:
        seen = text[position]
        if seen == "\\" and quote == '"':
            width = {"x": 4, "u": 6, "U": 10}.get(text[position + 1 : position + 2], 2)
            return position + width
        position += 1
        if seen == "'" == quote:
            return position + 1
        if seen == character or not seen.isspace() or character.isspace():
            return position
    return position


def parse(
    path: str, content: bytes, faults: Faults, nodes_max: int = limits.NODES_MAX
) -> Node | None:
    """The root node of one file; None when it is empty or not YAML, which `faults` then says."""
    text = _decode(path, content, faults)
    if text is None:
        return None
    source = Source(path, text)
    try:
        return _Composer(source, faults, nodes_max).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = str(error.problem or error.context)
        faults.add(Fault(path, line, column, "YAML syntax", problem, _hint(problem)))
    except yaml.YAMLError as error:
        faults.add(_unreadable(source, error))
    return None


def _hint(problem: str) -> str:
    """What an author who met this problem most likely forgot."""
    if "expected ','" in problem:
        return "YAML 1.2; inside { } and [ ] quote an expression that has , [ ] { or }"
    if "mapping values are not allowed" in problem:
        return "YAML 1.2; quote an expression that has a colon and a space"
    if "block end" in problem or "cannot start any token" in problem:
        return "YAML 1.2; quote the whole of an expression that starts with a quote or a sign"
    return "YAML 1.2"


def _unreadable(source: Source, error: yaml.YAMLError) -> Fault:
    position = getattr(error, "position", 0) or 0
    before = source.text[:position] if isinstance(position, int) else ""
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    seen = str(getattr(error, "reason", None) or "a control character")
    return Fault(source.path, line, column, "YAML syntax", seen, "printable characters")


def _decode(path: str, content: bytes, faults: Faults) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - before.rfind(b"\n")
        seen = f"byte 0x{content[error.start]:02x}"
        faults.add(Fault(path, line, column, "encoding", seen, "UTF-8"))
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _TooDeepError(yaml.YAMLError):
    """Unwinds the composer after a fault that ends the file."""


class _Composer:
    """Makes nodes of one file's parser events."""

    def __init__(self, source: Source, faults: Faults, nodes_max: int) -> None:
        self.nodes_max = nodes_max
        self.nodes = 0  # made so far
        self.source = source
        self.faults = faults
        self.parser: Any = _PARSER(source.text)
        self.anchors: dict[str, Node] = {}

    def document(self) -> Node | None:
        self.parser.get_event()
        if isinstance(self.parser.peek_event(), yaml.StreamEndEvent):
            return None
        self.parser.get_event()
        try:
            root = self.node(0)
        except _TooDeepError:
            return None
        self.parser.get_event()
        event = self.parser.get_event()
        if not isinstance(event, yaml.StreamEndEvent):
            self.refuse(event, "a second document", "one document")
        return root

    def refuse(self, event: Any, seen: str, allowed: str, what: str = "YAML") -> None:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        self.faults.add(Fault(self.source.path, line, column, what, seen, allowed))

    def make(self, event: Any, kind: Kind) -> Node:
        start, end = event.start_mark, event.end_mark
        at = start.line + 1, start.column + 1, start.index, end.index
        node = Node(self.source, kind, *at)
        if getattr(event, "tag", None) is not None:
            self.refuse(event, f"the tag {shown(event.tag)}", "no tags: quote a string instead")
        return node

    def node(self, depth: int) -> Node:
        event = self.parser.get_event()
        self.nodes += 1
        self.bound(event, self.nodes)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if depth > limits.DEPTH_MAX:
            self.refuse(event, f"{depth} levels of nesting", f"at most {limits.DEPTH_MAX}")
            raise _TooDeepError
        if isinstance(event, yaml.ScalarEvent):
            node = self.make(event, Kind.SCALAR)
            node.text = event.value
            if not _encodable(node.text):
                self.refuse(event, "half a surrogate pair", "whole characters")
                node.text = ""
            node.plain = event.style is None or event.style == ""
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.make(event, Kind.LIST)
            self.fill_list(node, depth)
        else:
            node = self.make(event, Kind.MAP)
            self.fill_map(node, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        node.weight += sum(item.weight for item in node.items)
        node.weight += sum(1 + value.weight for _, value in node.entries)
        self.bound(event, node.weight)
        return node

    def bound(self, event: Any, nodes: int) -> None:
        if nodes > self.nodes_max:
            allowed = f"at most {limits.NODES_MAX:,} in all files, aliases counted in full"
            self.refuse(event, f"{nodes:,} values or more", allowed)
            raise _TooDeepError

    def alias(self, event: Any) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            self.refuse(event, f"the alias *{event.anchor}", "an anchor that was ended before it")
            mark = event.start_mark
            at = mark.line + 1, mark.column + 1, mark.index, mark.index
            node = Node(self.source, Kind.SCALAR, *at, plain=True)
        return node

    def fill_list(self, node: Node, depth: int) -> None:
        items = []
        while not isinstance(self.parser.peek_event(), yaml.SequenceEndEvent):
            items.append(self.node(depth + 1))
        node.items = items
        node.end = self.parser.get_event().end_mark.index

    def fill_map(self, node: Node, depth: int) -> None:
        keys: dict[str, Node] = {}
        entries = []
        while not isinstance(self.parser.peek_event(), yaml.MappingEndEvent):
            key = self.node(depth + 1)
            value = self.node(depth + 1)
            if key.kind is not Kind.SCALAR:
                self.faults.add(key.fault("key", "a name"))
            elif key.text in keys:
                first = keys[key.text]
                allowed = f"each key once; the first is at line {first.line}"
                self.faults.add(key.fault("duplicate key", allowed))
            else:
                keys[key.text] = key
                entries.append((key, value))
        node.entries = entries
        node.end = self.parser.get_event().end_mark.index


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text)


def finite(value: float) -> bool:
    """False for NaN and the infinities."""
    return math.isfinite(value)
