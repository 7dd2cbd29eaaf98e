"""Values that authors write, by the type they must have."""

from __future__ import annotations

from nextbest.core.expression.values import Timestamp
from nextbest.core.playbook.plan import ValueType
from nextbest.server.playbook import limits, scalars
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.shapes import MISSING, Missing
from nextbest.server.playbook.source import Kind, Node, finite

_STRING = f"a string of at most {limits.STRING_BYTES_MAX:,} bytes"
ALLOWED = {
    ValueType.BOOL: "true or false",
    ValueType.INT: "a whole number of at most 64 bits",
    ValueType.DOUBLE: "a finite number",
    ValueType.STRING: f"{_STRING}, quoted when it looks like something else",
    ValueType.TIMESTAMP: scalars.MOMENT_TEXT,
    ValueType.STRING_LIST: f"a list of at most {limits.LIST_MAX:,} strings",
    ValueType.VECTOR: "a list of finite numbers",
}


def timestamp(microseconds: int) -> Timestamp:
    """A moment as the core takes it."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds, rest * 1_000)


def typed(node: Node, type_: ValueType, what: str, faults: Faults, size: int = 0) -> object:
    """The value of a node, or MISSING after a fault.  `size` is the length a vector must have."""
    found: object = MISSING
    allowed = ALLOWED[type_]
    if type_ is ValueType.VECTOR:
        allowed = f"a list of {size:,} finite numbers" if size else allowed
        found = _vector(node, size)
    elif type_ is ValueType.STRING_LIST:
        found = _strings(node)
    elif node.kind is Kind.SCALAR:
        found = _single(node, type_)
    if found is MISSING:
        faults.add(node.fault(what, allowed))
    return found


def _single(node: Node, type_: ValueType) -> object:
    if type_ is ValueType.TIMESTAMP:
        moment = scalars.moment_us(node.text)
        return MISSING if moment is None else timestamp(moment)
    value = node.scalar()
    if type_ is ValueType.BOOL:
        return value if isinstance(value, bool) else MISSING
    if type_ is ValueType.STRING:
        return value if isinstance(value, str) and _short(value) else MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return MISSING
    if type_ is ValueType.DOUBLE:
        return _double(value)
    whole = isinstance(value, int) and -limits.INT_MAX - 1 <= value <= limits.INT_MAX
    return value if whole else MISSING


def _short(text: str) -> bool:
    return len(text.encode()) <= limits.STRING_BYTES_MAX and "\0" not in text


def _double(value: int | float) -> float | Missing:
    try:
        number = float(value)
    except OverflowError:
        return MISSING
    return number if finite(number) else MISSING


def _strings(node: Node) -> tuple[str, ...] | Missing:
    if node.kind is not Kind.LIST or len(node.items) > limits.LIST_MAX:
        return MISSING
    values = [item.scalar() if item.kind is Kind.SCALAR else None for item in node.items]
    strings = tuple(value for value in values if isinstance(value, str) and _short(value))
    return strings if len(strings) == len(values) else MISSING


def _vector(node: Node, size: int) -> tuple[float, ...] | Missing:
    if node.kind is not Kind.LIST or len(node.items) != size:
        return MISSING
    found = [_single(item, ValueType.DOUBLE) for item in node.items if item.kind is Kind.SCALAR]
    numbers = tuple(value for value in found if isinstance(value, float))
    return numbers if len(numbers) == size else MISSING


def guess(node: Node) -> ValueType | None:
    """The type an action's attribute has by how it is written; None when it has none."""
    if node.kind is Kind.LIST:
        return ValueType.STRING_LIST
    value = node.scalar()
    if isinstance(value, bool):
        return ValueType.BOOL
    if isinstance(value, int):
        return ValueType.INT
    if isinstance(value, float):
        return ValueType.DOUBLE
    return ValueType.STRING if isinstance(value, str) else None
