"""Shapes: what a YAML node may be.

One table of shapes does three things, so that they cannot drift apart: `read` makes typed values
of nodes and reports every fault, `schema` gives the JSON Schema that an editor checks with, and
`text` the same in words for people.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from nextbest.server.playbook import limits, scalars
from nextbest.server.playbook.faults import Faults, nearest, one_of
from nextbest.server.playbook.source import Kind, Node, finite


class Missing:
    """The type of MISSING."""


MISSING: Final = Missing()  # what `read` returns after it has reported a fault
Schema = dict[str, Any]
_SpecType = TypeVar("_SpecType", bound="Spec")
# Unknown keys of one record that may be read as what they were to be.
SLIPS_MAX: Final = 8


class Text(str):
    """A string that knows the node it was read from."""

    node: Node

    @classmethod
    def of(cls, node: Node) -> Text:
        """The text of a scalar."""
        return cls.at(node.text, node)

    @classmethod
    def at(cls, text: str, node: Node) -> Text:
        """A text that the compiler makes, with the place it is made for."""
        found = cls(text)
        found.node = node
        return found


@dataclass(frozen=True, slots=True)
class Place:
    """Where a spec was read: its own node, its name's node and those of its keys and values."""

    node: Node
    keys: dict[str, Node]
    values: dict[str, Node]

    def value(self, name: str) -> Node:
        """The node of a field, or the spec's own when the field is not there."""
        return self.values.get(name, self.node)


@dataclass(slots=True, kw_only=True)
class Spec:
    """Base of everything that is read from a mapping with known keys."""

    at: Place


def key(
    shape: Shape,
    doc: str,
    *,
    default: Any = None,
    required: bool = False,
    name: str = "",
    factory: Callable[[], Any] | None = None,
) -> Any:
    """A dataclass field of a Spec: the shape of its value and a line for the editor."""
    metadata = {"shape": shape, "doc": doc, "required": required, "name": name}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Shape:
    """What a node may be."""

    def read(self, node: Node, what: str, faults: Faults) -> Any:
        """The node's value, or MISSING after a fault was reported."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """The JSON Schema of the same."""
        raise NotImplementedError

    def text(self) -> str:
        """The same in a few words."""
        raise NotImplementedError

    def shown(self, value: Any) -> str:
        """A default as an author writes it; empty for one that stands for what is not given."""
        return "" if value == () else str(value)

    def inside(self) -> tuple[str, Record] | None:
        """The mapping with known keys in it, and what leads there from the key's own path."""
        return None


def unknown(name: Text, what: str, known: Iterable[str], faults: Faults, kind: str = "") -> None:
    """A fault for a name that nothing has, unless its definition has one already, or may have it.

    `kind` is what it names, where `faults.unnamed` may have that.
    """
    if kind in faults.unnamed:
        return
    if name not in faults.broken and name.rpartition(".")[2] not in faults.broken:
        faults.add(name.node.fault(what, one_of(name, known)))


def _refuse(
    node: Node, what: str, allowed: str, faults: Faults, seen: str | None = None
) -> Missing:
    faults.add(node.fault(what, allowed, seen))
    return MISSING


def _scalar(node: Node, what: str, allowed: str, faults: Faults) -> bool:
    """True for a scalar that holds something."""
    if node.kind is Kind.SCALAR and not node.is_null():
        return True
    faults.add(node.fault(what, allowed))
    return False


@dataclass(frozen=True)
class Name(Shape):
    """A name that the author makes up, or one that is looked up later."""

    reserved: bool = False  # refuse the words that CEL keeps for itself
    pattern: re.Pattern[str] = limits.NAME
    allowed: str = limits.NAME_TEXT

    def read(self, node: Node, what: str, faults: Faults) -> Text | Missing:
        if not _scalar(node, what, self.allowed, faults):
            return MISSING
        if not self.pattern.fullmatch(node.text):
            return _refuse(node, what, self.allowed, faults)
        if self.reserved and node.text in limits.RESERVED:
            allowed = f"a name that CEL does not reserve, such as {node.text}_value"
            return _refuse(node, what, allowed, faults)
        return Text.of(node)

    def schema(self) -> Schema:
        found: Schema = {"type": "string", "pattern": f"^(?:{self.pattern.pattern})$"}
        if self.reserved:
            found["not"] = {"enum": sorted(limits.RESERVED)}
        return found

    def text(self) -> str:
        return "a name" if self.pattern is limits.NAME else self.allowed


@dataclass(frozen=True)
class Words(Shape):
    """Text for people; any scalar counts as what it is written like."""

    bytes_max: int

    def read(self, node: Node, what: str, faults: Faults) -> Text | Missing:
        if not _scalar(node, what, self.text(), faults):
            return MISSING
        if len(node.text.encode()) > self.bytes_max or "\0" in node.text:
            return _refuse(node, what, self.text(), faults)
        return Text.of(node)

    def schema(self) -> Schema:
        return {"type": ["string", "number", "boolean"], "maxLength": self.bytes_max}

    def text(self) -> str:
        return f"text of at most {self.bytes_max:,} bytes"


@dataclass(frozen=True)
class Expression(Shape):
    """A CEL expression, quoted or not; checked when the names are known."""

    number: bool = False  # a number is as good, and more common
    what: str = "a CEL expression"

    def read(self, node: Node, what: str, faults: Faults) -> Text | float | Missing:
        allowed = self.text()
        if not _scalar(node, what, allowed, faults) or not node.text.strip():
            faults.add(node.fault(what, allowed))
            return MISSING
        if len(node.text.encode()) > limits.EXPRESSION_BYTES_MAX:
            most = f"at most {limits.EXPRESSION_BYTES_MAX:,} bytes"
            return _refuse(node, what, f"{allowed} of {most}", faults)
        value = node.scalar()
        if self.number and isinstance(value, int | float) and not isinstance(value, bool):
            return self.finite(node, what, value, faults)
        return Text.of(node)

    def finite(self, node: Node, what: str, value: float, faults: Faults) -> float | Missing:
        try:
            if finite(float(value)):
                return float(value)
        except OverflowError:
            pass
        return _refuse(node, what, "a finite number", faults)

    def schema(self) -> Schema:
        most = limits.EXPRESSION_BYTES_MAX
        types = ["string", "boolean", "number"]
        return {"type": types, "minLength": 1, "maxLength": most, "description": self.what}

    def text(self) -> str:
        return "a number or a CEL expression" if self.number else self.what


@dataclass(frozen=True)
class Choice(Shape):
    """One of a few words."""

    values: dict[str, Any]

    def read(self, node: Node, what: str, faults: Faults) -> Any:
        if node.kind is Kind.SCALAR and node.text in self.values:
            return self.values[node.text]
        return _refuse(node, what, one_of(self.hint(node), self.values), faults)

    def hint(self, node: Node) -> str:
        return node.text if node.kind is Kind.SCALAR else ""

    def schema(self) -> Schema:
        return {"enum": list(self.values)}

    def text(self) -> str:
        return ", ".join(self.values)

    def shown(self, value: Any) -> str:
        return next(word for word, meant in self.values.items() if meant == value)


@dataclass(frozen=True)
class Whole(Shape):
    """A whole number within bounds."""

    least: int
    most: int

    def read(self, node: Node, what: str, faults: Faults) -> int | Missing:
        value = node.scalar() if node.kind is Kind.SCALAR else None
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not self.least <= int(value or 0) <= self.most:
            return _refuse(node, what, self.text(), faults)
        return int(value or 0)

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def text(self) -> str:
        return f"a whole number from {self.least:,} to {self.most:,}"

    def shown(self, value: Any) -> str:
        return str(value) if self.least <= value <= self.most else ""


@dataclass(frozen=True)
class Real(Shape):
    """A number within bounds; with `above`, over the least one."""

    least: float
    most: float
    above: bool = False

    def read(self, node: Node, what: str, faults: Faults) -> float | Missing:
        value = node.scalar() if node.kind is Kind.SCALAR else None
        if isinstance(value, int | float) and self._holds(value):
            return float(value)
        return _refuse(node, what, self.text(), faults)

    def _holds(self, value: float) -> bool:
        """Whether it is a number, and one within the bounds; an int may be too large to be real."""
        if isinstance(value, bool) or (self.above and value == self.least):
            return False
        return self.least <= value <= self.most

    def schema(self) -> Schema:
        least = "exclusiveMinimum" if self.above else "minimum"
        return {"type": "number", least: self.least, "maximum": self.most}

    def text(self) -> str:
        least = f"over {self.least:,}, at most" if self.above else f"from {self.least:,} to"
        return f"a number {least} {self.most:,}"


@dataclass(frozen=True)
class PointsOrExpression(Shape):
    """Whole points, or an expression that computes them."""

    most: int

    def read(self, node: Node, what: str, faults: Faults) -> int | Text | Missing:
        value = node.scalar() if node.kind is Kind.SCALAR else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, int) and abs(value) <= self.most:
                return value
            return _refuse(node, what, self.text(), faults)
        found: Text | Missing = Expression().read(node, what, faults)  # type: ignore[assignment]
        return found

    def schema(self) -> Schema:
        whole = Whole(-self.most, self.most).schema()
        return {"anyOf": [whole, {"type": "string", "minLength": 1}]}

    def text(self) -> str:
        return f"{Whole(-self.most, self.most).text()}, or an expression"


@dataclass(frozen=True)
class Flag(Shape):
    """True or false."""

    def read(self, node: Node, what: str, faults: Faults) -> bool | Missing:
        value = node.scalar() if node.kind is Kind.SCALAR else None
        return value if isinstance(value, bool) else _refuse(node, what, self.text(), faults)

    def schema(self) -> Schema:
        return {"type": "boolean"}

    def text(self) -> str:
        return "true or false"

    def shown(self, value: Any) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class Span(Shape):
    """A span of time in seconds; `word`, where one is allowed, stands for 0."""

    least: int
    most: int
    word: str = ""

    def read(self, node: Node, what: str, faults: Faults) -> int | Missing:
        if self.word and node.kind is Kind.SCALAR and node.text == self.word:
            return 0
        seconds = scalars.span_s(node.text) if node.kind is Kind.SCALAR else None
        if seconds is not None and self.least <= seconds <= self.most:
            return seconds
        return _refuse(node, what, f"{scalars.SPAN_TEXT}, {self._bounds()}", faults)

    def schema(self) -> Schema:
        found: Schema = {"type": "string", "pattern": scalars.SPAN_PATTERN}
        return {"anyOf": [found, {"const": self.word}]} if self.word else found

    def text(self) -> str:
        return f"a span {self._bounds()}"

    def shown(self, value: Any) -> str:
        if self.word and value == 0:
            return self.word
        return scalars.span_text(value) if self.least <= value <= self.most else ""

    def _bounds(self) -> str:
        word = f", or {self.word}" if self.word else ""
        return f"from {scalars.span_text(self.least)} to {scalars.span_text(self.most)}{word}"


@dataclass(frozen=True)
class Share(Shape):
    """A share of the buckets, in hundred-thousandths."""

    def read(self, node: Node, what: str, faults: Faults) -> int | Missing:
        found = scalars.share(node.text) if node.kind is Kind.SCALAR else None
        return _refuse(node, what, scalars.SHARE_TEXT, faults) if found is None else found

    def schema(self) -> Schema:
        number: Schema = {"type": "number", "minimum": 0, "maximum": 1}
        return {"anyOf": [number, {"type": "string", "pattern": scalars.SHARE_PATTERN}]}

    def text(self) -> str:
        return "a share"

    def shown(self, value: Any) -> str:
        return f"{value * 100 / limits.BUCKETS:g}%"


@dataclass(frozen=True)
class Moment(Shape):
    """A moment in microseconds since 1970."""

    def read(self, node: Node, what: str, faults: Faults) -> int | Missing:
        found = scalars.moment_us(node.text) if node.kind is Kind.SCALAR else None
        if found is None:
            return _refuse(node, what, scalars.MOMENT_TEXT, faults)
        return found

    def schema(self) -> Schema:
        return {"type": "string", "pattern": scalars.MOMENT_PATTERN}

    def text(self) -> str:
        return "a moment"


@dataclass(frozen=True)
class Anything(Shape):
    """A scalar or a list of scalars, checked when the type it must have is known."""

    def read(self, node: Node, what: str, faults: Faults) -> Node | Missing:
        inner = node.items if node.kind is Kind.LIST else [node]
        if node.kind is Kind.MAP or any(item.kind is not Kind.SCALAR for item in inner):
            return _refuse(node, what, self.text(), faults)
        return node

    def schema(self) -> Schema:
        one = {"type": ["string", "number", "boolean", "null"]}
        return {"anyOf": [one, {"type": "array", "items": one}]}

    def text(self) -> str:
        return "a value or a list of values"


@dataclass(frozen=True)
class Many(Shape):
    """A list; with `single`, one value without the brackets is a list of one."""

    item: Shape
    most: int
    least: int = 0
    single: bool = False

    def read(self, node: Node, what: str, faults: Faults) -> tuple[Any, ...] | Missing:
        if node.kind is not Kind.LIST:
            if self.single:
                found = self.item.read(node, what, faults)
                return MISSING if found is MISSING else (found,)
            return _refuse(node, what, "a list", faults)
        if not self.least <= len(node.items) <= self.most:
            bounds = f"a list of {self.least} to {self.most:,}"
            return _refuse(node, what, bounds, faults)
        items = [self.item.read(item, what, faults) for item in node.items]
        found = tuple(item for item in items if item is not MISSING)
        return found if len(found) >= self.least else MISSING

    def schema(self) -> Schema:
        item = self.item.schema()
        many: Schema = {"type": "array", "items": item, "maxItems": self.most}
        if self.least:
            many["minItems"] = self.least
        return {"anyOf": [item, many]} if self.single else many

    def text(self) -> str:
        if self.single:
            return f"{self.item.text()}, or a list of them"
        several = f"a list of {self.least}" if self.least == self.most else "a list"
        return f"{several}, each {self.item.text()}"

    def shown(self, value: Any) -> str:
        return ", ".join(self.item.shown(one) for one in value)

    def inside(self) -> tuple[str, Record] | None:
        found = self.item.inside()
        return found and (f"[]{found[0]}", found[1])


@dataclass(frozen=True)
class Mapping(Shape):
    """Names that the author makes up, each with a value."""

    noun: str
    item: Shape
    most: int
    names: Name = dataclasses.field(default_factory=Name)

    def read(self, node: Node, what: str, faults: Faults) -> dict[Text, Any] | Missing:
        if node.is_null():
            return {}
        if node.kind is not Kind.MAP:
            return _refuse(node, what, f"a mapping: the name of each {self.noun}, a colon", faults)
        if len(node.entries) > self.most:
            seen = f"{len(node.entries):,}"
            return _refuse(node, f"number of {what}", f"at most {self.most:,}", faults, seen)
        found = {}
        for name_node, value_node in node.entries:
            name = self.names.read(name_node, f"name of {_a(self.noun)}", faults)
            value = self.item.read(value_node, self.noun, faults)
            if name is not MISSING and value is not MISSING:
                found[name] = value
            else:
                faults.broken.add(name_node.text)
        return found  # type: ignore[return-value]

    def schema(self) -> Schema:
        return {
            "type": ["object", "null"],
            "propertyNames": self.names.schema(),
            "additionalProperties": self.item.schema(),
            "maxProperties": self.most,
        }

    def text(self) -> str:
        return f"a mapping, for each name {self.item.text()}"

    def inside(self) -> tuple[str, Record] | None:
        found = self.item.inside()
        return found and (f".NAME{found[0]}", found[1])


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


@dataclass(frozen=True)
class Record(Shape):
    """A mapping with known keys, read into a Spec.

    With `short`, a value alone stands for that one key.  Exactly one of `one_of` must be there.
    """

    noun: str
    spec: type[Spec]
    short: str = ""
    one_of: tuple[str, ...] = ()
    later: tuple[str, ...] = ()

    def fields(self) -> dict[str, dataclasses.Field[Any]]:
        """The dataclass fields by the key an author writes."""
        found = {}
        for field in dataclasses.fields(self.spec):
            if field.metadata:
                found[field.metadata["name"] or field.name] = field
        return found

    def read(self, node: Node, what: str, faults: Faults) -> Spec | Missing:
        fields = self.fields()
        if node.kind is not Kind.MAP:
            if not self.short:
                return _refuse(node, what, f"a mapping with {', '.join(fields)}", faults)
            field = fields[self.short]
            value = field.metadata["shape"].read(node, f"{self.noun} {self.short}", faults)
            place = Place(node, {}, {self.short: node})
            return MISSING if value is MISSING else self.spec(at=place, **{field.name: value})
        return self.read_map(node, fields, faults)

    def read_map(
        self, node: Node, fields: dict[str, dataclasses.Field[Any]], faults: Faults
    ) -> Spec | Missing:
        keys: dict[str, Node] = {}
        nodes: dict[str, Node] = {}
        values: dict[str, Any] = {}
        complete = True
        taken = {key_node.text for key_node, _ in node.entries}
        slips = 0
        for key_node, value_node in node.entries:
            name = key_node.text
            if name not in fields:
                self.unknown(key_node, fields, faults)
                slips += 1
                name = self.meant(key_node, value_node, taken) if slips <= SLIPS_MAX else ""
                if not name:
                    self.break_names(value_node, faults)
                    continue
                taken.add(name)
            keys[name] = key_node
            nodes[name] = value_node
            noun = f"{self.noun} {name.replace('_', ' ')}".strip()
            value = fields[name].metadata["shape"].read(value_node, noun, faults)
            if value is not MISSING:
                values[fields[name].name] = value
            elif fields[name].metadata["required"] or name in self.one_of:
                complete = False
            elif not self.noun:
                # A part of a file that is there, and has a fault: it is not missing elsewhere.
                faults.broken.add(name)
        complete &= self.whole(node, keys, fields, faults)
        return self.spec(at=Place(node, keys, nodes), **values) if complete else MISSING

    def unknown(
        self, node: Node, fields: dict[str, dataclasses.Field[Any]], faults: Faults
    ) -> None:
        if node.text in self.later:
            known = ", ".join(fields)
            faults.add(node.fault(f"key of {_a(self.noun)}", f"{known}; {node.text} comes later"))
            return
        noun = _a(self.noun) if self.noun else "the file"
        faults.add(node.fault(f"key of {noun}", one_of(node.text, fields)))

    def meant(self, key_node: Node, value_node: Node, taken: set[str]) -> str:
        """The key that a misspelt one was to be, where its value can be that key's; or "".

        It is none of those taken, which are there or what other misspelt ones were to be.
        """
        fields = self.fields()
        name = nearest(key_node.text, fields)
        if not name or key_node.text in self.later or name in taken:
            return ""
        trial = Faults()
        fields[name].metadata["shape"].read(value_node, name, trial)
        return "" if trial.errors() else name

    def break_names(self, value_node: Node, faults: Faults) -> None:
        """What a part of a file defines under a key that nothing has is not missing elsewhere."""
        if not self.noun:
            faults.broken.update(key.text for key, _ in value_node.entries)

    def whole(
        self,
        node: Node,
        keys: dict[str, Node],
        fields: dict[str, dataclasses.Field[Any]],
        faults: Faults,
    ) -> bool:
        """False when a required key is not there, with a fault unless it is only misspelt."""
        required = [name for name, field in fields.items() if field.metadata["required"]]
        absent = [name for name in required if name not in keys]
        others = (key.text for key, _ in node.entries if key.text not in fields)
        meant = {nearest(name, fields) for name in others if absent or self.one_of}
        for name in absent:
            if name not in meant:
                doc = fields[name].metadata["doc"]
                faults.add(node.fault(self.noun, f"{name}: {doc}", f"no {name}"))
        chosen = [name for name in self.one_of if name in keys]
        if self.one_of and len(chosen) != 1 and (chosen or meant.isdisjoint(self.one_of)):
            seen = " and ".join(chosen) or f"no {_listed(self.one_of)}"
            at = keys[chosen[1]] if chosen else node
            faults.add(at.fault(self.noun, f"exactly one of {', '.join(self.one_of)}", seen))
        return not absent and (not self.one_of or len(chosen) == 1)

    def schema(self) -> Schema:
        properties = {}
        required = []
        for name, field in self.fields().items():
            doc = field.metadata["doc"]
            properties[name] = {**field.metadata["shape"].schema(), "description": doc}
            if field.metadata["required"]:
                required.append(name)
        found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            found["required"] = required
        if self.one_of:
            found["oneOf"] = [{"required": [name]} for name in self.one_of]
        if self.short:
            return {"anyOf": [properties[self.short], found]}
        return found

    def text(self) -> str:
        one = f" with exactly one of {', '.join(self.one_of)}" if self.one_of else ""
        return f"a mapping{one}" + (f", or its {self.short} alone" if self.short else "")

    def inside(self) -> tuple[str, Record] | None:
        return "", self


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
