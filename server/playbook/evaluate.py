"""The CEL compiler and the VM, as `scope` and `offers` need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nextbest.core.engine import Expression
from nextbest.core.errors import NextbestError
from nextbest.core.expression.code import Code
from nextbest.core.playbook.plan import ValueType
from nextbest.server.playbook import cel
from nextbest.server.playbook.faults import Severity
from nextbest.server.playbook.scope import ROOTS, Checked, Issue, Variable, Want
from nextbest.server.playbook.tables import camel

_MANY = {ValueType.STRING: ValueType.STRING_LIST, ValueType.DOUBLE: ValueType.VECTOR}
_WANTS: dict[Want, cel.Want] = {Want.CONDITION: "bool", Want.NUMBER: "number"}


class CelChecker:
    """Compiles expressions over a fixed set of variables."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._slots: dict[tuple[str, ...], int] = {}
        fields: dict[str, dict[str, cel.FieldType]] = {}
        whole: dict[str, ValueType] = {}
        taken: set[tuple[str, str]] = set()
        for one in variables:
            path = tuple(one.name.split("."))
            self._slots[path] = one.slot
            type_ = _MANY[one.type] if one.many else one.type
            if len(path) == 1:
                whole[path[0]] = type_
                continue
            # Names too much alike are a fault already; the first will do here.
            if (path[0], camel(path[1])) not in taken:
                taken.add((path[0], camel(path[1])))
                found = fields.setdefault(path[0], {})
                found[path[1]] = cel.FieldType(type_, default=not one.nullable)
        self._environment = cel.Environment({**whole, **fields}, self._slots.__getitem__)

    def compile(self, text: str) -> cel.Compiled:
        """An expression of any type; raises cel.ExpressionError with every fault."""
        return self._environment.compile(text)

    def check(self, text: str, want: Want) -> Checked:
        """Never raises for any text."""
        try:
            compiled = self._environment.compile(text, _WANTS[want])
        except cel.ExpressionError as error:
            faults = [self._explained(fault) for fault in error.faults]
            return Checked((), None, _issues(text, faults, Severity.ERROR))
        warnings = _issues(text, compiled.warnings, Severity.WARNING)
        parts = compiled.conjuncts if want is Want.CONDITION else (compiled.code,)
        return Checked(parts, compiled.code, warnings)

    def _explained(self, fault: cel.ExpressionFault) -> cel.ExpressionFault:
        """A name that other expressions may use is not misspelt but out of place."""
        if fault.what != "unknown name" or fault.seen.partition(".")[0] not in ROOTS:
            return fault
        here = ", ".join(sorted(self._environment.variables)) or "nothing"
        return replace(fault, what="name out of place", allowed=f"{here} can be read here")


def _issues(
    text: str, faults: Sequence[cel.ExpressionFault], severity: Severity
) -> tuple[Issue, ...]:
    return tuple(
        Issue(
            _offset(text, fault.line, fault.column),
            fault.what,
            fault.seen,
            fault.allowed or fault.hint,
            severity,
        )
        for fault in faults
    )


def _offset(text: str, line: int, column: int) -> int:
    """The offset of a line and a column, both from 1."""
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return min(start + column - 1, len(text))


def make_checker(variables: Sequence[Variable]) -> CelChecker:
    """A checker for these variables."""
    return CelChecker(variables)


def holds(code: Code, attributes: Sequence[object], first_slot: int) -> bool:
    """Whether a condition over an action's attributes is true; an error is not."""
    inputs = [None] * first_slot + list(attributes)
    try:
        return Expression(code).evaluate(inputs) is True
    except NextbestError:
        return False
