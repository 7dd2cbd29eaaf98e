"""CEL for a playbook: the schema as an environment, and texts to Codes with faults for authors.

The official library parses and checks; nothing of it runs when decisions are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from cel_expr_python import cel
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import Message

from nextbest.core.errors import NextbestError
from nextbest.core.expression.checked import Checked, Node, Type, read_checked
from nextbest.core.expression.code import Code
from nextbest.core.expression.lower import (
    CONVERSIONS,
    GLOBALS,
    MEMBERS,
    PARTS,
    Slot,
    UnsupportedError,
    children,
    conjunct_codes,
    conjuncts,
    constant_errors,
    lower_tree,
)
from nextbest.core.playbook.plan import ValueType

# Names that CEL keeps for itself; a schema may not use them.
RESERVED_WORDS = frozenset(
    re.findall(
        r"\w+",
        "as break const continue else false for function if import in let loop namespace null "
        "package return true var void while",
    )
)

EXTENSIONS = ("two-var-comprehensions", "bindings", "optional", "math", "strings", "encoders")
PLAYBOOK_EXTENSIONS = ("two-var-comprehensions", "bindings")
TEXT_MAX = 16_384  # characters of one expression
# cel-cpp's own bound on the depth of a tree; a sum of 40 terms is deeper.
DEPTH_MAX = 32
REWRITES_MAX = 40  # rounds of literals that become doubles
PACKAGE = "nextbest.playbook"

Want = Literal["bool", "int", "double", "string", "number", "any"]
WANTED = {
    "bool": ("bool",),
    "int": ("int",),
    "double": ("double",),
    "string": ("string",),
    "number": ("int", "double"),
}
MACROS = ("has", "all", "exists", "exists_one", "map", "filter")
FUNCTIONS = (*MACROS, *GLOBALS, *MEMBERS, *CONVERSIONS, *PARTS)

TYPE_NAMES = {
    ValueType.BOOL: "bool",
    ValueType.INT: "int",
    ValueType.DOUBLE: "double",
    ValueType.STRING: "string",
    ValueType.TIMESTAMP: "timestamp",
    ValueType.STRING_LIST: "list(string)",
    ValueType.VECTOR: "list(double)",
}
CEL_TYPES = {
    ValueType.BOOL: cel.Type.BOOL,
    ValueType.INT: cel.Type.INT,
    ValueType.DOUBLE: cel.Type.DOUBLE,
    ValueType.STRING: cel.Type.STRING,
    ValueType.TIMESTAMP: cel.Type.TIMESTAMP,
    ValueType.STRING_LIST: cel.Type.List(cel.Type.STRING),
    ValueType.VECTOR: cel.Type.List(cel.Type.DOUBLE),
}
FieldProto = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    ValueType.BOOL: (FieldProto.TYPE_BOOL, "Bool"),
    ValueType.INT: (FieldProto.TYPE_INT64, "Int64"),
    ValueType.DOUBLE: (FieldProto.TYPE_DOUBLE, "Double"),
    ValueType.STRING: (FieldProto.TYPE_STRING, "String"),
}
LISTS = {
    ValueType.STRING_LIST: FieldProto.TYPE_STRING,
    ValueType.VECTOR: FieldProto.TYPE_DOUBLE,
}


@dataclass(frozen=True, slots=True)
class FieldType:
    """A field of a variable.  `default`: it is never unset, so it cannot read as null."""

    type: ValueType
    default: bool = False


Variable = ValueType | Mapping[str, FieldType]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpressionFault:
    """What is wrong with an expression, for its author.

    `line` and `column` count from 1 within the text.  `seen` is what stands there, `allowed`
    what may, `hint` what to write instead; each may be empty.
    """

    line: int
    column: int
    what: str
    seen: str = ""
    allowed: str = ""
    hint: str = ""

    def __str__(self) -> str:
        parts = [self.what, self.seen, self.allowed and f"allowed: {self.allowed}", self.hint]
        return f"{self.line}:{self.column}: {', '.join(filter(None, parts))}"


class ExpressionError(NextbestError):
    """An expression is refused; `faults` are all that was found."""

    def __init__(self, faults: Sequence[ExpressionFault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready for the VM.

    `conjuncts` are the parts of a top-level `a && b`, all true when the whole is true; `type`
    is the result's, without the chance of null; `warnings` do not stop a publish.
    """

    code: Code
    conjuncts: tuple[Code, ...]
    type: str
    warnings: tuple[ExpressionFault, ...]
    checked: bytes = field(repr=False)


def new_environment(
    variables: Mapping[str, cel.Type],
    *,
    container: str = "",
    functions: Sequence[cel.FunctionDecl] = (),
    macros: bool = True,
    extensions: Sequence[str] = EXTENSIONS,
    pool: descriptor_pool.DescriptorPool | None = None,
) -> cel.Env:
    """The checker's own environment, for variables of any CEL type."""
    lines = ["extensions:", *(f"- name: {name}" for name in extensions)] if macros else []
    if not macros:
        lines += ["stdlib:", "  disable_macros: true"]
    return cel.NewEnv(
        descriptor_pool=pool,
        config=cel.NewEnvConfigFromYaml("\n".join(lines)),
        variables=dict(variables),
        functions=list(functions),
        container=container or None,
    )


def add_field(message: descriptor_pb2.DescriptorProto, name: str, kind: FieldType) -> None:
    """A field that is null or absent exactly when the engine's input is unset."""
    added = message.field.add(name=name, number=len(message.field) + 1)
    added.label = FieldProto.LABEL_OPTIONAL
    if kind.type in LISTS:
        added.label, added.type = FieldProto.LABEL_REPEATED, LISTS[kind.type]
    elif kind.type is ValueType.TIMESTAMP:
        added.type, added.type_name = FieldProto.TYPE_MESSAGE, ".google.protobuf.Timestamp"
    elif kind.default:
        added.type = SCALARS[kind.type][0]
    else:
        wrapper = f".google.protobuf.{SCALARS[kind.type][1]}Value"
        added.type, added.type_name = FieldProto.TYPE_MESSAGE, wrapper


def new_pool(variables: Mapping[str, Variable]) -> descriptor_pool.DescriptorPool:
    """A pool of its own with one message for each variable that has fields."""
    pool = descriptor_pool.DescriptorPool()
    known = (wrappers_pb2.DESCRIPTOR, timestamp_pb2.DESCRIPTOR)
    for module in known:
        pool.AddSerializedFile(module.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="playbook.proto", package=PACKAGE)
    file.dependency.extend(module.name for module in known)
    for name, kind in variables.items():
        if isinstance(kind, Mapping):
            message = file.message_type.add(name=name)
            for field_name, field_type in kind.items():
                add_field(message, field_name, field_type)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


@dataclass(slots=True)
class Text:
    """A text that is being rewritten, and where each of its characters came from."""

    text: str
    origin: list[int]

    @classmethod
    def of(cls, text: str) -> Text:
        return cls(text, list(range(len(text) + 1)))

    def insert(self, at: int, added: str) -> None:
        self.text = self.text[:at] + added + self.text[at:]
        self.origin[at:at] = [self.origin[at]] * len(added)

    def place(self, line: int, column: int) -> int:
        """The offset of a line and a column, both from 1."""
        starts = [0, *(m.end() for m in re.finditer("\n", self.text))]
        return min(starts[min(line, len(starts)) - 1] + column - 1, len(self.text))


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def nearest(name: str, known: Sequence[str]) -> str:
    found = get_close_matches(name, known, 1, 0.6)
    return found[0] if found else ""


class Environment:
    """What an expression may read: its variables, as CEL types.

    `slot(path)` gives the index of the input that holds ("profile", "age") or ("stage",); it
    is asked only for paths that the variables have.  `strict` refuses a part that is an error
    whatever the inputs are, such as a date that does not exist.
    """

    def __init__(
        self,
        variables: Mapping[str, Variable],
        slot: Callable[[Path], int],
        *,
        strict: bool = True,
    ) -> None:
        self.variables = dict(variables)
        self.slot = slot
        self.strict = strict
        self.pool = new_pool(variables)
        self.env = new_environment(
            {name: self.cel_type(name) for name in variables},
            extensions=PLAYBOOK_EXTENSIONS,
            pool=self.pool,
        )

    def cel_type(self, name: str) -> cel.Type:
        kind = self.variables[name]
        return cel.Type(f"{PACKAGE}.{name}") if isinstance(kind, Mapping) else CEL_TYPES[kind]

    def message_class(self, variable: str) -> type[Message]:
        """The run-time message of a variable with fields, for tests against the library."""
        found = self.pool.FindMessageTypeByName(f"{PACKAGE}.{variable}")
        return message_factory.GetMessageClass(found)

    def field(self, path: Path) -> FieldType | None:
        """The type of an input, or None when the path names none."""
        kind = self.variables.get(path[0].removeprefix("."))
        if isinstance(kind, Mapping):
            return kind.get(path[1]) if len(path) == 2 else None
        return FieldType(kind, True) if kind is not None and len(path) == 1 else None

    def resolve(self, path: Path) -> Slot | None:
        found = self.field(path)
        if found is None:
            return None
        return Slot(self.slot((path[0].removeprefix("."), *path[1:])), found.type)

    def compile(self, text: str, want: Want = "any") -> Compiled:
        """Compile a text to Codes; raises ExpressionError with every fault that was found.

        A whole-number literal that meets a double becomes one: the text is compiled again
        with `.0` behind the literal, and faults name places in the author's own text.
        """
        if len(text) > TEXT_MAX:
            what = f"an expression of {len(text)} characters"
            raise ExpressionError([ExpressionFault(1, 1, what, allowed=f"at most {TEXT_MAX}")])
        rewritten = Text.of(text)
        checked = self.check(rewritten)
        tree = read_checked(checked)
        whole = want == "double" and type_text(tree.types[tree.root.id]) == "int"
        if whole and add_points(tree.root, tree, rewritten):
            checked = self.check(rewritten)
            tree = read_checked(checked)
        review = Review(self, rewritten, text, tree)
        review.all(want)
        try:
            code = lower_tree(tree, tree.root, self.resolve, text)
            is_split = len(conjuncts(tree.root)) > 1
            parts = conjunct_codes(tree, self.resolve, text) if is_split else (code,)
        except UnsupportedError as error:
            at = rewritten.origin[error.offset or 0]
            where = line_and_column(text, at)
            fault = ExpressionFault(*where, f"{error.construct} is not supported")
            raise ExpressionError([fault]) from None
        result = type_text(tree.types[tree.root.id])
        return Compiled(code, parts, result, tuple(review.warnings), checked)

    def check(self, text: Text) -> bytes:
        """Compile, making doubles of literals as long as that helps."""
        for _ in range(REWRITES_MAX):
            try:
                return bytes(self.env.compile(text.text).serialize())
            except RuntimeError as error:
                failure = str(error)
            if not self.rewrite(text, failure):
                break
        raise ExpressionError(self.faults(text, failure))

    def rewrite(self, text: Text, failure: str) -> bool:
        """Make doubles of the literals that the failure says met a double."""
        mismatches = [m for m in read_errors(failure) if is_double_and_int(m[2])]
        if not mismatches:
            return False
        try:
            tree = read_checked(self.env.compile(text.text, disable_check=True).serialize())
        except RuntimeError:
            return False
        calls = {(tree.positions.get(n.id), n.name): n for n in nodes(tree.root)}
        literals: set[int] = set()
        for line, column, message in mismatches:
            name, types = mismatch(message)
            call = calls.get((text.place(line, column), name))
            if call is not None:
                literals |= literals_of(call, types, tree)
        return insert_points(literals, text)

    # Faults.

    def faults(self, text: Text, failure: str) -> list[ExpressionFault]:
        if "recursion" in failure:
            allowed = f"at most {DEPTH_MAX} levels: part it into segments or rules"
            return [ExpressionFault(1, 1, "nested too deep", "", allowed)]
        found = []
        for line, column, message in read_errors(failure):
            original = text.origin[text.place(line, column)]
            place = line_and_column(self.original(text), original)
            found.append(self.translate(place, message, text, text.place(line, column)))
        # A text that does not parse gives a tail of errors that only repeat the first.
        if found and found[0].what == "syntax error":
            return found[:1]
        return found or [ExpressionFault(1, 1, "not an expression", failure.partition("\n")[0])]

    def original(self, text: Text) -> str:
        """The author's text: the characters that no rewrite has added."""
        kept = []
        for at, char in enumerate(text.text):
            if text.origin[at] != text.origin[at + 1]:
                kept.append(char)
        return "".join(kept)

    def translate(
        self, place: tuple[int, int], message: str, text: Text, at: int
    ) -> ExpressionFault:
        for pattern, translated in TRANSLATIONS:
            match = pattern.fullmatch(message)
            if match:
                return translated(self, place, match, text.text[:at])
        return ExpressionFault(*place, plain_types(message))

    def fields_of(self, variable: str) -> list[str]:
        kind = self.variables.get(variable, {})
        return list(kind) if isinstance(kind, Mapping) else []

    def undefined_field(
        self, place: tuple[int, int], match: re.Match[str], _before: str
    ) -> ExpressionFault:
        name, variable = match[1], match[2].removeprefix(f"{PACKAGE}.")
        near = nearest(name, self.fields_of(variable))
        allowed = f"{variable}.{near}" if near else ", ".join(sorted(self.fields_of(variable))[:20])
        # The checker points at the dot before the name.
        line, column = place
        return ExpressionFault(line, column + 1, "unknown field", f"{variable}.{name}", allowed)

    def undeclared(
        self, place: tuple[int, int], match: re.Match[str], before: str
    ) -> ExpressionFault:
        name = match[1]
        first, _, rest = name.partition(".")
        near = nearest(first, sorted({*self.variables, *FUNCTIONS}))
        if near and rest:
            field_near = nearest(rest, self.fields_of(near))
            near = f"{near}.{field_near}" if field_near else near
        allowed = near or ", ".join(sorted(self.variables))
        line, column = place
        if rest and column > len(first):
            column -= len(first)
        elif re.search(rf"\b{re.escape(name)}\s*$", before):
            column -= len(before) - len(before.rstrip()) + len(name)
        return ExpressionFault(line, column, "unknown name", name, allowed)

    def no_overload(
        self, place: tuple[int, int], match: re.Match[str], _before: str
    ) -> ExpressionFault:
        operator, types = operator_text(match[1]), split_types(plain_types(match[2]))
        what = f"{operator} does not take {' and '.join(types)}"
        if sorted(types) == ["double", "int"]:
            return ExpressionFault(*place, what, hint="write double(...) around the int")
        return ExpressionFault(*place, what)

    def select(self, place: tuple[int, int], match: re.Match[str], _before: str) -> ExpressionFault:
        return ExpressionFault(*place, f"{plain_types(match[1])} has no fields")

    def syntax(self, place: tuple[int, int], match: re.Match[str], _before: str) -> ExpressionFault:
        said = re.sub(r" expecting \{.*\}", "", match[1])
        for theirs, ours in SYNTAX_WORDS.items():
            said = said.replace(theirs, ours)
        return ExpressionFault(*place, "syntax error", said)


Translated = Callable[[Environment, tuple[int, int], re.Match[str], str], ExpressionFault]
TRANSLATIONS: list[tuple[re.Pattern[str], Translated]] = [
    (re.compile(r"undefined field '(.+)' not found in struct '(.+)'"), Environment.undefined_field),
    (re.compile(r"undeclared reference to '(.+)' \(in container '.*'\)"), Environment.undeclared),
    (
        re.compile(r"found no matching overload for '(.+)' applied to '\((.*)\)'"),
        Environment.no_overload,
    ),
    (
        re.compile(r"expression of type '(.+)' cannot be the operand of a select operation"),
        Environment.select,
    ),
    (re.compile(r"Syntax error: (.+)", re.DOTALL), Environment.syntax),
]
SYNTAX_WORDS = {
    "mismatched input": "unexpected",
    "extraneous input": "unexpected",
    "no viable alternative at input": "unexpected",
    "token recognition error at:": "unreadable",
    "'<EOF>'": "end",
    "<EOF>": "the end",
}
ERROR_LINE = re.compile(r"ERROR: .*?:(\d+):(\d+): (.*)")
MISMATCH = re.compile(r"found no matching overload for '(.+)' applied to '\((.*)\)'")
LITERAL = re.compile(r"-?\s*\d+(?![\w.])")


def read_errors(failure: str) -> list[tuple[int, int, str]]:
    """(line, column, message) of each error in the checker's text."""
    return [(int(m[1]), int(m[2]), m[3]) for m in ERROR_LINE.finditer(failure)]


def plain_types(text: str) -> str:
    """The checker's names of types in an author's words."""
    text = re.sub(r"wrapper\((\w+)\)", r"\1", text)
    text = text.replace("google.protobuf.Timestamp", "timestamp")
    return text.replace("google.protobuf.Duration", "duration").replace(f"{PACKAGE}.", "")


def split_types(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def operator_text(name: str) -> str:
    if name == "_?_:_":
        return "`? :`"
    if name == "_[_]":
        return "`[ ]`"
    bare = name.replace("_", "").replace("@", "")
    return f"`{bare}`" if bare in {"in"} or not bare.isalnum() else f"`{name}()`"


def mismatch(message: str) -> tuple[str, list[str]]:
    match = MISMATCH.fullmatch(message)
    return (match[1], split_types(plain_types(match[2]))) if match else ("", [])


def is_double_and_int(message: str) -> bool:
    types = mismatch(message)[1]
    flat = {name for kind in types for name in re.findall(r"\w+", kind)}
    return {"double", "int"} <= flat


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from nodes(child)


ARITHMETIC = {"_+_", "_-_", "_*_", "_/_", "-_", "_?_:_"}


def is_whole(node: Node) -> bool:
    """Whether a node is made of whole-number literals alone, so that it may become a double."""
    if node.kind == "const":
        return type(node.value) is int and int(float(node.value)) == node.value
    if node.kind == "list":
        return bool(node.args) and all(map(is_whole, node.args))
    if node.kind != "call" or node.name not in ARITHMETIC or node.target is not None:
        return False
    args = node.args[1:] if node.name == "_?_:_" else node.args
    return all(map(is_whole, args))


def literals_within(node: Node, tree: Checked) -> set[int]:
    """The offsets of the literals that make a node a double."""
    if node.kind == "const":
        return {tree.positions.get(node.id, -1)} if type(node.value) is int else set()
    args = node.args[1:] if node.name == "_?_:_" else node.args
    return {at for arg in args for at in literals_within(arg, tree)}


def literals_of(call: Node, types: list[str], tree: Checked) -> set[int]:
    args = call.args if call.target is None else [call.target, *call.args]
    if len(args) != len(types):
        return set()
    return {
        at
        for arg, kind in zip(args, types, strict=True)
        if kind in ("int", "list(int)") and is_whole(arg)
        for at in literals_within(arg, tree)
    }


def insert_points(literals: set[int], text: Text) -> bool:
    """Write `.0` behind the literals at these offsets; false when none was found."""
    changed = False
    for at in sorted(literals, reverse=True):
        match = LITERAL.match(text.text, at) if at >= 0 else None
        if match:
            text.insert(match.end(), ".0")
            changed = True
    return changed


def add_points(root: Node, tree: Checked, text: Text) -> bool:
    return is_whole(root) and insert_points(literals_within(root, tree), text)


def type_text(static: Type) -> str:
    """A static type in an author's words, without the chance of null."""
    if static.name == "wrapper":
        return static.of[0].name
    name = plain_types(static.name)
    return f"{name}({', '.join(map(type_text, static.of))})" if static.of else name


class Review:
    """What the checker allows and we do not, and what an author should think about."""

    def __init__(self, environment: Environment, text: Text, original: str, tree: Checked) -> None:
        self.environment = environment
        self.text = text
        self.original = original
        self.tree = tree
        self.warnings: list[ExpressionFault] = []
        self.faults: list[ExpressionFault] = []

    def all(self, want: Want) -> None:
        """Fill `warnings`; raises ExpressionError for what is refused."""
        root = self.tree.root
        seen = type_text(self.tree.types[root.id])
        if want != "any" and seen not in WANTED[want] and seen != "dyn":
            allowed = " or ".join(WANTED[want])
            hint = "write double(...) around it" if (want, seen) == ("double", "int") else ""
            self.faults.append(ExpressionFault(1, 1, f"gives {seen}", "", allowed, hint))
        self.refuse_nulls(root)
        if self.environment.strict:
            self.refuse_errors()
        if self.faults:
            raise ExpressionError(self.faults)
        self.guard(root, frozenset(), False)

    def refuse_errors(self) -> None:
        for at, reason in constant_errors(self.tree, self.environment.resolve):
            where = line_and_column(self.original, self.text.origin[at])
            self.faults.append(ExpressionFault(*where, "is always an error", reason))

    def place(self, node: Node) -> tuple[int, int]:
        at = self.tree.positions.get(node.id, 0)
        return line_and_column(self.original, self.text.origin[min(at, len(self.text.text))])

    def path(self, node: Node) -> Path | None:
        """The input that a node reads."""
        if node.kind != "select" or node.target is None or node.target.kind != "ident":
            return None
        path = (node.target.name.removeprefix("."), node.name)
        return path if self.environment.field(path) else None

    def refuse_nulls(self, root: Node) -> None:
        """A timestamp is never null: comparing one with null would always be false."""
        for node in nodes(root):
            if node.kind != "call" or node.name not in ("_==_", "_!=_"):
                continue
            for one, other in (node.args, node.args[::-1]):
                path = self.path(one)
                if path is None or not is_null(other):
                    continue
                kind = self.environment.field(path)
                if kind is not None and kind.type is ValueType.TIMESTAMP:
                    name = ".".join(path)
                    written = f"!has({name})" if node.name == "_==_" else f"has({name})"
                    what = f"{name} is a timestamp and never null"
                    fault = ExpressionFault(*self.place(node), what, hint=f"write {written}")
                    self.faults.append(fault)

    def may_be_unset(self, node: Node, guarded: frozenset[Path]) -> Path | None:
        path = self.path(node)
        if path is None or path in guarded:
            return None
        kind = self.environment.field(path)
        return path if kind and not kind.default and kind.type in SCALARS else None

    def known_set(self, node: Node, holds: bool) -> set[Path]:
        """The inputs that are set when a node is true (`holds`) or false."""
        if node.kind == "call" and node.name == "!_":
            return self.known_set(node.args[0], not holds)
        if node.kind == "select" and node.test and holds:
            path = self.path(node)
            return {path} if path else set()
        if node.kind == "call" and node.name == ("_!=_" if holds else "_==_"):
            pairs = (node.args, node.args[::-1])
            paths = [self.path(one) for one, other in pairs if is_null(other)]
            return {path for path in paths if path}
        if node.kind == "call" and node.name == ("_&&_" if holds else "_||_"):
            return {path for arg in node.args for path in self.known_set(arg, holds)}
        return set()

    def guard(self, node: Node, guarded: frozenset[Path], negated: bool) -> None:
        """Warn of `!=` and of negated `==` and `in` on what may be unset."""
        if node.kind != "call":
            for child in children(node):
                self.guard(child, guarded, False)
        elif node.name in ("_&&_", "_||_"):
            known = self.known_set(node, node.name == "_&&_")
            for arg in node.args:
                self.guard(arg, guarded | known, negated)
        elif node.name == "!_":
            self.guard(node.args[0], guarded, not negated)
        elif node.name == "_?_:_":
            self.guard(node.args[0], guarded, False)
            self.guard(node.args[1], guarded | self.known_set(node.args[0], True), negated)
            self.guard(node.args[2], guarded | self.known_set(node.args[0], False), negated)
        else:
            if node.name == ("_==_" if negated else "_!=_") or (negated and node.name == "@in"):
                self.warn(node, guarded)
            for child in children(node):
                self.guard(child, guarded, False)

    def warn(self, node: Node, guarded: frozenset[Path]) -> None:
        if any(is_null(arg) for arg in node.args):
            return
        for arg in node.args:
            path = self.may_be_unset(arg, guarded)
            if path:
                name = ".".join(path)
                what = f"is true when {name} is unset"
                hint = f"write has({name}) && ... if that is not meant"
                self.warnings.append(ExpressionFault(*self.place(node), what, hint=hint))


def is_null(node: Node) -> bool:
    return node.kind == "const" and node.value is None


__all__ = [
    "RESERVED_WORDS",
    "Compiled",
    "Environment",
    "ExpressionError",
    "ExpressionFault",
    "FieldType",
    "new_environment",
]
