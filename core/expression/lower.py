"""Lowers a checked CEL expression to a Code for the VM.

The VM dispatches on run-time tags, so the checker's overloads are only a hint here; what is
decided here is control flow, which input a name reads, and what is already constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nextbest.core.engine import Expression, supports_patterns
from nextbest.core.errors import NextbestError
from nextbest.core.expression.build import Builder, TooLongError
from nextbest.core.expression.checked import Checked, Fold, Node, Type, read_checked
from nextbest.core.expression.code import Code
from nextbest.core.expression.operation import Op, Part, Tag
from nextbest.core.expression.values import EvaluationError, TypeName
from nextbest.core.expression.zone import read_zone
from nextbest.core.playbook.plan import ValueType

FOLDED_MAX = 65_536  # characters of a folded constant, and bytes to compute it
ERROR_ZONE = 16

TYPES = {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"}
TYPES |= {"google.protobuf.Timestamp", "google.protobuf.Duration"}

BINARY = {
    "_+_": Op.ADD,
    "_-_": Op.SUBTRACT,
    "_*_": Op.MULTIPLY,
    "_/_": Op.DIVIDE,
    "_%_": Op.MODULO,
    "_==_": Op.EQUAL,
    "_!=_": Op.NOT_EQUAL,
    "_<_": Op.LESS,
    "_<=_": Op.LESS_EQUAL,
    "_>_": Op.GREATER,
    "_>=_": Op.GREATER_EQUAL,
    "@in": Op.IN,
    "_in_": Op.IN,
    "_[_]": Op.INDEX,
    "contains": Op.CONTAINS,
    "startsWith": Op.STARTS_WITH,
    "endsWith": Op.ENDS_WITH,
    "matches": Op.MATCHES,
}
MEMBERS = {"contains", "startsWith", "endsWith", "matches", "size"}
GLOBALS = {"matches", "size"}
MIRRORED = {
    Op.EQUAL: Op.EQUAL,
    Op.NOT_EQUAL: Op.NOT_EQUAL,
    Op.LESS: Op.GREATER,
    Op.LESS_EQUAL: Op.GREATER_EQUAL,
    Op.GREATER: Op.LESS,
    Op.GREATER_EQUAL: Op.LESS_EQUAL,
}
OPPOSITE = {Op.EQUAL: Op.NOT_EQUAL, Op.NOT_EQUAL: Op.EQUAL}
UNARY = {
    "!_": Op.NOT,
    "-_": Op.NEGATE,
    "@not_strictly_false": Op.NOT_FALSE,
    "__not_strictly_false__": Op.NOT_FALSE,
    "size": Op.SIZE,
    "type": Op.TYPE,
}
CONVERSIONS = {tag.name.lower(): tag for tag in Tag}
PARTS = {
    "getFullYear": Part.FULL_YEAR,
    "getMonth": Part.MONTH,
    "getDate": Part.DATE,
    "getDayOfMonth": Part.DAY_OF_MONTH,
    "getDayOfWeek": Part.DAY_OF_WEEK,
    "getDayOfYear": Part.DAY_OF_YEAR,
    "getHours": Part.HOURS,
    "getMinutes": Part.MINUTES,
    "getSeconds": Part.SECONDS,
    "getMilliseconds": Part.MILLISECONDS,
}
REQUIRED = 0x80


class UnsupportedError(NextbestError):
    """The VM does not have a construct.  `offset` is its place in the text, or None."""

    def __init__(self, construct: str, offset: int | None = None) -> None:
        super().__init__(f"not supported: {construct}")
        self.construct = construct
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Slot:
    """An input: its index, and its type where the schema gives one."""

    index: int
    kind: ValueType | None = None


Resolve = Callable[[tuple[str, ...]], Slot | None]
Scope = dict[str, int]  # a comprehension's variables -> locals


def lower(checked: bytes, resolve: Resolve, text: str) -> Code:
    """Lower the bytes of a checked (or parsed) expression.

    `resolve` gives the input slot of a path such as ("profile", "age") or ("stage",), or
    None when the path names no input.  A first name that starts with "." is written as one
    of no container.  Raises UnsupportedError.
    """
    tree = read_checked(checked)
    return lower_tree(tree, tree.root, resolve, text)


def lower_conjuncts(checked: bytes, resolve: Resolve, text: str) -> tuple[Code, ...]:
    """One Code for each part of a top-level `a && b && c`; all are true when it is true."""
    return conjunct_codes(read_checked(checked), resolve, text)


def conjunct_codes(tree: Checked, resolve: Resolve, text: str) -> tuple[Code, ...]:
    parts = conjuncts(tree.root)
    texts = split_text(text)
    if len(texts) != len(parts):
        texts = [text] * len(parts)
    pairs = zip(parts, texts, strict=True)
    return tuple(lower_tree(tree, part, resolve, said) for part, said in pairs)


def constant_errors(tree: Checked, resolve: Resolve) -> list[tuple[int, str]]:
    """(offset, reason) of the innermost parts that are an error whatever the inputs are."""
    found: list[tuple[int, str]] = []
    Lowering(tree, resolve).find_errors(tree.root, found)
    return found


def lower_tree(tree: Checked, root: Node, resolve: Resolve, text: str) -> Code:
    lowering = Lowering(tree, resolve)
    try:
        lowering.node(root, {})
    except TooLongError:
        raise UnsupportedError("an expression this long") from None
    return lowering.builder.code(text)


def conjuncts(node: Node) -> list[Node]:
    if node.kind == "call" and node.name == "_&&_":
        return [part for arg in node.args for part in conjuncts(arg)]
    return [node]


def split_text(text: str) -> list[str]:
    """Split at each `&&` outside brackets and quotes; parentheses around a part are kept."""
    parts, start, depth, at, quote = [], 0, 0, 0, ""
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "&" and depth == 0 and text[at : at + 2] == "&&":
            parts.append(text[start:at].strip())
            at += 1
            start = at + 1
        at += 1
    return [*parts, text[start:].strip()]


def children(node: Node) -> list[Node]:
    found = list(node.args)
    if node.target is not None:
        found.append(node.target)
    if node.fold is not None:
        found += [part for part in node.fold if isinstance(part, Node)]
    return found


def keeps_its_form(value: object) -> bool:
    """Whether a folded value means the same as a constant: Python's dict mixes 1 and true."""
    if isinstance(value, dict):
        return all(type(k) is str and keeps_its_form(v) for k, v in value.items())
    return not isinstance(value, list) or all(keeps_its_form(item) for item in value)


class Lowering:
    """Lowers the nodes of one tree into a builder."""

    def __init__(self, tree: Checked, resolve: Resolve, fold: bool = True) -> None:
        self.tree = tree
        self.resolve = resolve
        self.builder = Builder()
        self.fold = fold
        self.folded: dict[int, tuple[object] | None] = {}
        self.closed: dict[tuple[int, frozenset[str]], bool] = {}

    def unsupported(self, node: Node, construct: str) -> UnsupportedError:
        return UnsupportedError(construct, self.tree.positions.get(node.id))

    def node(self, node: Node, scope: Scope) -> None:
        """Lower a node; it leaves one value on the stack."""
        known = self.constant(node)
        if known is not None:
            self.builder.push(known[0])
            return
        lowered = getattr(self, f"lower_{node.kind}", None)
        if lowered is None:
            raise self.unsupported(node, node.kind)
        lowered(node, scope)

    # Constants.

    def is_closed(self, node: Node, bound: frozenset[str] = frozenset()) -> bool:
        """Whether a node reads no input and no variable of a comprehension around it."""
        key = (id(node), bound)
        if key not in self.closed:
            self.closed[key] = self.finds_closed(node, bound)
        return self.closed[key]

    def finds_closed(self, node: Node, bound: frozenset[str]) -> bool:
        if node.kind == "ident":
            return node.name in bound or self.type_value(node) is not None
        if node.fold is not None:
            fold = node.fold
            inner = bound | {fold.variable, fold.variable2, fold.accumulator}
            outer_closed = all(self.is_closed(n, bound) for n in (fold.range, fold.start))
            return outer_closed and all(
                self.is_closed(n, inner) for n in (fold.condition, fold.step, fold.result)
            )
        return all(self.is_closed(child, bound) for child in children(node))

    def constant(self, node: Node) -> tuple[object] | None:
        """The node's value in a tuple, when it is constant and no error."""
        if node.kind == "const":
            return (node.value,)
        if not self.fold or node.kind == "unset":
            return None
        if id(node) not in self.folded:
            self.folded[id(node)] = self.computed(node) if self.is_closed(node) else None
        return self.folded[id(node)]

    def find_errors(self, node: Node, found: list[tuple[int, str]]) -> None:
        before = len(found)
        for child in children(node):
            self.find_errors(child, found)
        if len(found) > before or node.kind in ("const", "unset"):
            return
        try:
            reason = self.constant_error(node)
        except UnsupportedError:
            return
        if reason:
            found.append((self.tree.positions.get(node.id, 0), reason))

    def constant_error(self, node: Node) -> str:
        """Why a node is always an error, or nothing."""
        argument = node.args[-1:] if node.kind == "call" else []
        known = self.constant(argument[0]) if argument else None
        if known is not None and node.name == "matches":
            node = Node(0, "call", "matches", args=[Node(0, "const", value=""), *argument])
        elif known is not None and node.name in PARTS and isinstance(known[0], str):
            try:
                read_zone(known[0])
            except ValueError as error:
                return str(error)
            return ""
        if not self.is_closed(node):
            return ""
        inner = Lowering(self.tree, self.resolve, fold=False)
        inner.node(node, {})
        try:
            Expression(inner.builder.code("")).evaluate()
        except EvaluationError as error:
            return error.reason
        return ""

    def computed(self, node: Node) -> tuple[object] | None:
        inner = Lowering(self.tree, self.resolve, fold=False)
        inner.node(node, {})
        try:
            value = Expression(inner.builder.code(""), FOLDED_MAX).evaluate()
        except EvaluationError:
            return None
        return (value,) if keeps_its_form(value) and len(repr(value)) <= FOLDED_MAX else None

    # Names.

    def type_value(self, node: Node) -> TypeName | None:
        """The type that a name stands for, unless an input has the name."""
        if self.resolve((node.name,)) is not None:
            return None
        static = self.tree.types.get(node.id)
        is_type = static.name == "type" if static and self.tree.checked else node.name in TYPES
        return TypeName(node.name.removeprefix(".")) if is_type else None

    def path(self, node: Node, scope: Scope) -> tuple[str, ...] | None:
        """The names of a chain `a.b.c` that starts outside the comprehensions."""
        if node.kind == "ident":
            return None if node.name in scope else (node.name,)
        if node.kind != "select" or node.target is None:
            return None
        before = self.path(node.target, scope)
        return None if before is None else (*before, node.name)

    def slot(self, node: Node, scope: Scope) -> Slot | None:
        """The input that a node reads as a whole, if it does."""
        if node.test:
            return None
        path = self.path(node, scope)
        return None if path is None else self.resolve(path)

    def required(self, slot: Slot) -> int:
        # CEL would read an unset timestamp as 1970.
        return 1 if slot.kind is ValueType.TIMESTAMP else 0

    def lower_ident(self, node: Node, scope: Scope) -> None:
        if node.name in scope:
            self.builder.emit(Op.LOCAL, c=scope[node.name])
            return
        slot = self.slot(node, scope)
        if slot is not None:
            self.builder.emit(Op.LOAD, self.required(slot), slot.index)
            return
        value = self.type_value(node)
        if value is not None:
            self.builder.push(value)
            return
        static = self.tree.types.get(node.id, Type("dyn"))
        construct = "as a value" if static.message else "as a variable"
        raise self.unsupported(node, f"`{node.name}` {construct}")

    def lower_select(self, node: Node, scope: Scope) -> None:
        assert node.target is not None
        path = self.path(node, scope)
        slot = None if path is None else self.resolve(path)
        if slot is not None and node.test:
            self.builder.emit(Op.HAS, 0, slot.index)
        elif slot is not None:
            self.builder.emit(Op.LOAD, self.required(slot), slot.index)
        else:
            self.node(node.target, scope)
            op = Op.HAS_KEY if node.test else Op.SELECT
            self.builder.emit(op, c=self.builder.constant(node.name))

    # Literals.

    def lower_const(self, node: Node, _scope: Scope) -> None:
        self.builder.push(node.value)

    def lower_list(self, node: Node, scope: Scope) -> None:
        if node.optional:
            raise self.unsupported(node, "an optional item `?`")
        for item in node.args:
            self.node(item, scope)
        self.builder.emit(Op.LIST, c=len(node.args))

    def lower_map(self, node: Node, scope: Scope) -> None:
        if node.optional:
            raise self.unsupported(node, "an optional entry `?`")
        for item in node.args:
            self.node(item, scope)
        self.builder.emit(Op.MAP, c=len(node.args) // 2)

    def lower_struct(self, node: Node, _scope: Scope) -> None:
        raise self.unsupported(node, f"the message {node.name}")

    # Calls.

    def lower_call(self, node: Node, scope: Scope) -> None:
        args = node.args if node.target is None else [node.target, *node.args]
        special = {"_&&_": self.logic, "_||_": self.logic, "_?_:_": self.choice}.get(node.name)
        if special is not None:
            special(node, args, scope)
        elif node.target is not None and node.name in PARTS:
            self.time_part(node, args, scope)
        elif self.is_plain(node, args):
            self.plain(node, args, scope)
        else:
            raise self.unsupported(node, f"the function {node.name}()")

    def is_plain(self, node: Node, args: list[Node]) -> bool:
        """Whether an operation of the VM does the call."""
        name = node.name
        if node.target is not None:
            return name in MEMBERS and len(args) == (1 if name == "size" else 2)
        if name in BINARY:
            return len(args) == 2 and (name not in MEMBERS or name in GLOBALS)
        return len(args) == 1 and (name in UNARY or name in CONVERSIONS or name == "dyn")

    def plain(self, node: Node, args: list[Node], scope: Scope) -> None:
        name = node.name
        if name in BINARY:
            if name == "matches":
                self.matches(node, args, scope)
            elif not self.fused(BINARY[name], args, scope):
                self.node(args[0], scope)
                self.node(args[1], scope)
                self.builder.emit(BINARY[name])
            return
        if name == "!_" and self.negated(args[0], scope):
            return
        self.node(args[0], scope)
        if name in UNARY:
            self.builder.emit(UNARY[name])
        elif name != "dyn":
            self.builder.emit(Op.CONVERT, CONVERSIONS[name])

    def fused(self, op: Op, args: list[Node], scope: Scope) -> bool:
        """Emit `input OP constant` or `input in constant` as one instruction."""
        left, right = args
        if op in MIRRORED and self.constant(left) is not None:
            op, left, right = MIRRORED[op], right, left
        known = self.constant(right)
        slot = self.slot(left, scope)
        if known is None or slot is None or not (op in MIRRORED or op is Op.IN):
            return False
        index = self.builder.constant(known[0])
        required = REQUIRED * self.required(slot)
        if op is Op.IN:
            self.builder.emit(Op.IN_SLOT, required, slot.index, index)
        else:
            self.builder.emit(Op.COMPARE_SLOT, op | required, slot.index, index)
        return True

    def negated(self, node: Node, scope: Scope) -> bool:
        """Emit `!` of a fused predicate within its instruction."""
        start = len(self.builder.instructions)
        self.node(node, scope)
        if len(self.builder.instructions) == start + 1:
            op, a, b, c = self.builder.instructions[start]
            if op in (Op.HAS, Op.IN_SLOT):
                self.builder.instructions[start] = (op, a ^ 1, b, c)
                return True
            if op is Op.COMPARE_SLOT and a & ~REQUIRED in OPPOSITE:
                a = OPPOSITE[Op(a & ~REQUIRED)] | a & REQUIRED
                self.builder.instructions[start] = (op, a, b, c)
                return True
        self.builder.emit(Op.NOT)
        return True

    def matches(self, node: Node, args: list[Node], scope: Scope) -> None:
        if not supports_patterns():
            raise self.unsupported(node, "matches(), since this build lacks RE2")
        self.node(args[0], scope)
        known = self.constant(args[1])
        if known is not None and isinstance(known[0], str):
            self.builder.emit(Op.MATCHES_CONST, c=self.builder.constant(known[0]))
            return
        self.node(args[1], scope)
        self.builder.emit(Op.MATCHES)

    def time_part(self, node: Node, args: list[Node], scope: Scope) -> None:
        zone = -1
        if len(args) > 1:
            known = self.constant(args[1])
            if known is None and self.fold:
                raise self.unsupported(node, "a time zone that is not constant")
            name = args[1].value if known is None else known[0]
            if not isinstance(name, str):
                raise self.unsupported(node, "a time zone that is not constant")
            try:
                zone = self.builder.constant(read_zone(name))
            except ValueError:
                self.builder.emit(Op.ERROR, ERROR_ZONE)
                return
        self.node(args[0], scope)
        self.builder.emit(Op.TIME_PART, PARTS[node.name], c=zone)

    # Control flow.

    def logic(self, node: Node, args: list[Node], scope: Scope) -> None:
        is_and = node.name == "_&&_"
        self.node(args[0], scope)
        for arg in args[1:]:
            jump = self.builder.emit(Op.AND_JUMP if is_and else Op.OR_JUMP)
            self.node(arg, scope)
            self.builder.emit(Op.AND if is_and else Op.OR)
            self.builder.land(jump)

    def choice(self, _node: Node, args: list[Node], scope: Scope) -> None:
        build = self.builder
        self.node(args[0], scope)
        failed = build.emit(Op.CONDITION)
        otherwise = build.emit(Op.JUMP_FALSE)
        depth = build.depth
        self.node(args[1], scope)
        end = build.emit(Op.JUMP)
        build.land(otherwise)
        build.depth = depth
        self.node(args[2], scope)
        build.land(failed, end)

    def lower_fold(self, node: Node, scope: Scope) -> None:
        """A comprehension: a loop over locals range, index, two variables, accumulator."""
        fold = node.fold
        assert fold is not None
        build = self.builder
        state = build.take_locals(5)
        accumulator = state + 4
        after = {**scope, fold.accumulator: accumulator}
        if fold.range.kind == "list" and not fold.range.args:
            self.node(fold.start, scope)
            build.emit(Op.STORE, c=accumulator)
            self.node(fold.result, after)
            return
        self.node(fold.range, scope)
        ends = [build.emit(Op.ITERATE, b=state)]
        self.node(fold.start, scope)
        build.emit(Op.STORE, c=accumulator)
        ends += self.loop(fold, state, after)
        self.node(fold.result, after)
        build.land(*ends)

    def loop(self, fold: Fold, state: int, after: Scope) -> list[int]:
        """Emit the loop; returns the jumps to the end of the comprehension."""
        build = self.builder
        inside = {**after, fold.variable: state + 2}
        if fold.variable2:
            inside[fold.variable2] = state + 3
        inside[fold.accumulator] = state + 4
        again = len(build.instructions)
        done = [build.emit(Op.NEXT, 2 if fold.variable2 else 1, state)]
        failed = []
        if self.constant(fold.condition) != (True,):
            self.node(fold.condition, inside)
            failed.append(build.emit(Op.CONDITION))
            done.append(build.emit(Op.JUMP_FALSE))
        if grows(fold, fold.step):
            self.growth(fold, fold.step, inside)
        else:
            self.node(fold.step, inside)
        build.emit(Op.STORE, c=state + 4)
        build.emit(Op.JUMP, c=again)
        build.land(*done)
        return failed

    def growth(self, fold: Fold, step: Node, scope: Scope) -> None:
        """A step that only adds to a list or map of the loop's own, which grows in place."""
        build = self.builder
        if step.name == "_?_:_":
            self.node(step.args[0], scope)
            failed = build.emit(Op.CONDITION)
            otherwise = build.emit(Op.JUMP_FALSE)
            depth = build.depth
            self.growth(fold, step.args[1], scope)
            end = build.emit(Op.JUMP)
            build.land(otherwise)
            build.depth = depth
            self.node(step.args[2], scope)
            build.land(failed, end)
        elif step.name == "_+_":
            self.node(step.args[1].args[0], scope)
            build.emit(Op.APPEND, c=scope[fold.accumulator])
        else:
            entry = step.args[1:] if len(step.args) == 3 else step.args[1].args
            build.emit(Op.LOCAL, c=scope[fold.accumulator])
            self.node(entry[0], scope)
            self.node(entry[1], scope)
            build.emit(Op.MAP_INSERT)


def grows(fold: Fold, step: Node) -> bool:
    """Whether a step is `accumulator + [x]`, an insert, or `condition ? that : accumulator`."""

    def is_accumulator(node: Node) -> bool:
        return node.kind == "ident" and node.name == fold.accumulator

    if step.kind != "call" or fold.start.args or len(step.args) < 2:
        return False
    if step.name == "_?_:_":
        return is_accumulator(step.args[2]) and grows(fold, step.args[1])
    if not is_accumulator(step.args[0]):
        return False
    added = step.args[1]
    if step.name == "_+_" and fold.start.kind == "list":
        return added.kind == "list" and len(added.args) == 1 and not added.optional
    if step.name != "cel.@mapInsert" or fold.start.kind != "map":
        return False
    return len(step.args) == 3 or (
        added.kind == "map" and len(added.args) == 2 and not added.optional
    )
