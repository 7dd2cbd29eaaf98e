"""The mapping file: which rows become events or profiles, and how their fields are converted.

empty: ["", Select]                          # spellings of "unknown", for every column
time: {format: "%Y-%m-%d %H:%M:%S", zone: UTC}
rows:                                        # the first rule whose `when` holds
  - when: {CustomerID: empty}                # column: empty, set or a list of its values
    event: purchase
    identity: {anonymous: "{InvoiceNo}"}     # known, anonymous or alias: a template
    time: InvoiceDate  # or {column, format, zone, keep_order: true}
    properties:
      product: StockCode                     # a column, as text
      quantity: {column: Quantity, type: int}
      amount: {product: [Quantity, UnitPrice], type: double}
  - identity: {known: "{CustomerID:int}"}    # no event: the row sets attributes
    attributes: {country: Country, source: {constant: import}}
"""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from nextbest.server.load import convert
from nextbest.server.load.convert import HOLE, TYPES, Conversion, Moment, Read
from nextbest.server.load.errors import MappingError
from nextbest.server.load.rows import FORMATS_ALLOWED, Fields
from nextbest.v1 import common_pb2

FILE_BYTES_MAX: Final = 1 << 20
RULES_MAX: Final = 64
FIELDS_MAX: Final = 1_024
TOP: Final = ("format", "delimiter", "empty", "time", "rows")
RULE: Final = ("when", "event", "identity", "time", "properties", "attributes")
VALUE: Final = (
    "column", "constant", "template", "product", "type", "empty", "time", "true", "false", "split",
)  # fmt: skip
SOURCES: Final = ("column", "constant", "template", "product")
KINDS: Final = {
    "known": common_pb2.IDENTITY_KIND_KNOWN,
    "anonymous": common_pb2.IDENTITY_KIND_ANONYMOUS,
    "alias": common_pb2.IDENTITY_KIND_ALIAS,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What rows for which `holds` become: an event, or a profile when `event` is empty."""

    holds: Callable[[Fields], bool]
    event: str
    kind: common_pb2.IdentityKind
    id: Read
    time: Read | None
    keep_order: bool
    values: tuple[tuple[str, Read], ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping file, ready to run; `columns` are all that it reads."""

    format: str
    delimiter: str
    rules: tuple[Rule, ...]
    columns: frozenset[str]


def read_mapping(path: Path) -> Mapping:
    """Read a mapping file; MappingError lists all its faults."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MappingError([f"{path}: {error.strerror}"]) from error
    if len(content) > FILE_BYTES_MAX:
        raise MappingError([f"{path}: {len(content):,} bytes, allowed: {FILE_BYTES_MAX:,}"])
    try:
        root = YAML(typ="rt").load(content)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise MappingError([f"{path}:{where}: {error.problem}"]) from error
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise MappingError([f"{path}:1:1: {error}"]) from error
    parser = _Parser(str(path))
    mapping = parser.mapping(root)
    if parser.faults:
        raise MappingError(parser.faults)
    return mapping


class _Stop(Exception):  # noqa: N818  (not an error of its own: the fault is already noted)
    """The node cannot be read further."""


class _Parser:
    """Reads the YAML nodes and notes every fault with its place."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.faults: list[str] = []
        self._columns: set[str] = set()
        self._base = Conversion()

    def mapping(self, root: Any) -> Mapping:
        try:
            return self._mapping(root)
        except _Stop:
            return Mapping("", ",", (), frozenset())

    def _mapping(self, root: Any) -> Mapping:
        self._table(root, None, "mapping", TOP)
        format_ = root.get("format", "")
        if format_ and format_ not in FORMATS_ALLOWED:
            self._fault(root, "format", f"format: {format_!r}, allowed: {_list(FORMATS_ALLOWED)}")
        delimiter = root.get("delimiter", ",")
        if not isinstance(delimiter, str) or len(delimiter) != 1:
            self._fault(root, "delimiter", f"delimiter: {delimiter!r}, allowed: one character")
        self._base = replace(
            self._base,
            empty=self._strings(root, "empty", self._base.empty),
            moment=self._moment(root, self._base.moment),
        )
        rows = root.get("rows")
        if not isinstance(rows, list) or not 0 < len(rows) <= RULES_MAX:
            self._stop(root, "rows", f"rows: allowed: a list of 1 to {RULES_MAX} rules")
        rules = [rule for index, one in enumerate(rows) if (rule := self._rule(rows, index, one))]
        return Mapping(str(format_), str(delimiter), tuple(rules), frozenset(self._columns))

    def _rule(self, rows: Any, index: int, node: Any) -> Rule | None:
        try:
            self._table(node, rows, index, RULE)
            event = node.get("event", "")
            wrong = "attributes" if event else "properties"
            if not isinstance(event, str):
                self._stop(node, "event", f"event: {event!r}, allowed: an event's name")
            if wrong in node:
                with_ = "with" if event else "without"
                self._fault(node, wrong, f"{wrong}: not allowed {with_} event")
            if event and "time" not in node:
                self._fault(rows, index, "time: missing, allowed: the column with an event's time")
            kind, id_ = self._identity(rows, index, node)
            values = self._values(node, "properties" if event else "attributes")
            holds = self._when(node)
            time, keep_order = self._time(node)
            return Rule(holds, event, kind, id_, time, keep_order, values)
        except _Stop:
            return None

    def _identity(self, rows: Any, index: int, node: Any) -> tuple[common_pb2.IdentityKind, Read]:
        identity = node.get("identity")
        if not isinstance(identity, dict) or len(identity) != 1:
            allowed = "one of known, anonymous, alias with a template"
            parent, key = (node, "identity") if identity else (rows, index)
            self._stop(parent, key, f"identity: {allowed}")
        ((kind, text),) = identity.items()
        if kind not in KINDS or not isinstance(text, str) or not text:
            self._stop(identity, kind, f"identity: {kind!r}, allowed: {_list(KINDS)}: a template")
        return KINDS[kind], self._template(text)

    def _template(self, text: str) -> Read:
        self._columns.update(match[1] for match in HOLE.finditer(text))
        return convert.template(text, self._base.empty)

    def _when(self, node: Any) -> Callable[[Fields], bool]:
        conditions = node.get("when", {})
        if not isinstance(conditions, dict):
            self._stop(node, "when", "when: allowed: columns with empty, set or a list of values")
        tests: list[tuple[str, bool | frozenset[str]]] = []
        for name, wanted in conditions.items():
            self._columns.add(name)
            if wanted in ("empty", "set"):
                tests.append((name, wanted == "set"))
            elif isinstance(wanted, list):
                tests.append((name, frozenset(str(one) for one in wanted)))
            else:
                self._fault(conditions, name, f"when: {wanted!r}, allowed: empty, set, a list")
        return _condition(tuple(tests), self._base.empty)

    def _values(self, node: Any, key: str) -> tuple[tuple[str, Read], ...]:
        given = node.get(key, {})
        if not isinstance(given, dict) or len(given) > FIELDS_MAX:
            self._stop(node, key, f"{key}: allowed: names with their columns, {FIELDS_MAX} at most")
        found = []
        for name, spec in given.items():
            try:
                found.append((str(name), self._value(given, name, spec)))
            except _Stop:
                continue
        return tuple(found)

    def _value(self, parent: Any, name: str, spec: Any) -> Read:
        if isinstance(spec, str):
            self._columns.add(spec)
            return convert.column(spec, self._base)
        self._table(spec, parent, name, VALUE)
        sources = [one for one in SOURCES if one in spec]
        if len(sources) != 1:
            self._stop(parent, name, f"{name}: allowed: exactly one of {_list(SOURCES)}")
        source, how = spec[sources[0]], self._conversion(spec)
        if sources[0] == "constant":
            if not isinstance(source, str | bool | int | float):
                self._stop(spec, "constant", f"constant: {source!r}, allowed: one plain value")
            return convert.constant(source)
        if sources[0] == "product":
            if not isinstance(source, list) or not 0 < len(source) <= 8:
                self._stop(spec, "product", "product: allowed: a list of 1 to 8 columns")
            self._columns.update(str(one) for one in source)
            return convert.product([str(one) for one in source], how)
        if not isinstance(source, str):
            self._stop(spec, sources[0], f"{sources[0]}: {source!r}, allowed: text")
        if sources[0] == "template":
            return self._template(source)
        self._columns.add(source)
        return convert.column(source, how)

    def _conversion(self, spec: Any) -> Conversion:
        type_ = spec.get("type", "string")
        if type_ not in TYPES:
            self._stop(spec, "type", f"type: {type_!r}{_near(str(type_), TYPES)}")
        return Conversion(
            type=type_,
            empty=self._strings(spec, "empty", self._base.empty),
            moment=self._moment(spec, self._base.moment),
            true=self._strings(spec, "true", self._base.true),
            false=self._strings(spec, "false", self._base.false),
            split=str(spec.get("split", self._base.split)) or ",",
        )

    def _time(self, node: Any) -> tuple[Read | None, bool]:
        spec = node.get("time")
        if spec is None:
            return None, False
        if isinstance(spec, str):
            spec = {"column": spec}
        self._table(spec, node, "time", ("column", "format", "zone", "keep_order"))
        name = spec.get("column")
        if not isinstance(name, str):
            self._stop(node, "time", "time: allowed: a column, or {column, format, zone}")
        self._columns.add(name)
        written = {key: spec[key] for key in ("format", "zone") if key in spec}
        moment = self._moment({"time": written}, self._base.moment)
        how = replace(self._base, type="timestamp", moment=moment)
        return convert.column(name, how), spec.get("keep_order") is True

    def _moment(self, node: Any, base: Moment | None) -> Any:
        spec = node.get("time")
        if not spec:
            return base
        self._table(spec, node, "time", ("format", "zone"))
        zone = str(spec.get("zone", "UTC"))
        try:
            found = zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            self._stop(spec, "zone", f"zone: {zone!r}, allowed: a zone such as Europe/Warsaw")
        return Moment(str(spec.get("format", "iso")), found)

    def _strings(self, node: Any, key: str, default: frozenset[str]) -> frozenset[str]:
        if key not in node:
            return default
        if not isinstance(node[key], list):
            self._stop(node, key, f"{key}: allowed: a list of spellings")
        return frozenset("" if one is None else str(one) for one in node[key])

    def _table(self, node: Any, parent: Any, key: Any, allowed: tuple[str, ...]) -> None:
        if not isinstance(node, dict):
            self._stop(parent, key, f"{key}: allowed: a mapping of {_list(allowed)}")
        for name in node:
            if name not in allowed:
                self._fault(node, name, f"{name}: unknown{_near(str(name), allowed)}")

    def _fault(self, node: Any, key: Any, what: str) -> None:
        place = getattr(node, "lc", None)
        line, column = 0, 0
        if place is not None:
            line, column = place.line, place.col
            if place.data and key in place.data:
                line, column = place.data[key][:2]
        self.faults.append(f"{self._path}:{line + 1}:{column + 1}: {what}")

    def _stop(self, node: Any, key: Any, what: str) -> NoReturn:
        self._fault(node, key, what)
        raise _Stop


def _condition(
    tests: tuple[tuple[str, bool | frozenset[str]], ...], empty: frozenset[str]
) -> Callable[[Fields], bool]:
    def holds(fields: Fields) -> bool:
        for name, wanted in tests:
            raw = convert.present(fields, name, empty)
            if isinstance(wanted, bool):
                if (raw is not None) != wanted:
                    return False
            elif str(fields.get(name, "")) not in wanted:
                return False
        return True

    return holds


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _near(name: str, allowed: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, allowed, 1)
    return f", did you mean {close[0]}?" if close else f", allowed: {', '.join(allowed)}"
