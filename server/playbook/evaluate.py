"""The CEL compiler and the VM, as `scope` and `offers` need them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nextbest.core.expression.code import Code
from nextbest.server.playbook.faults import Severity, one_of
from nextbest.server.playbook.scope import Checked, Checker, Issue, Variable, Want

_PATH = re.compile(r"\b(profile|context|segment|score|grade|event|action)\.[a-z_0-9]+")


class _Standin:
    def __init__(self, variables: Sequence[Variable]) -> None:
        self.variables = {one.name: one for one in variables}

    def check(self, text: str, want: Want) -> Checked:
        issues, slots = [], set()
        for found in _PATH.finditer(text):
            if found[0] in self.variables:
                slots.add(self.variables[found[0]].slot)
            else:
                allowed = one_of(found[0], self.variables)
                issues.append(
                    Issue(found.start(), "unknown name", found[0], allowed, Severity.ERROR)
                )
        if issues:
            return Checked((), tuple(issues))
        parts = text.split(" && ") if want is Want.CONDITION else [text]
        return Checked(
            tuple(Code(one.encode(), (), one, tuple(sorted(slots))) for one in parts), ()
        )


def make_checker(variables: Sequence[Variable]) -> Checker:
    return _Standin(variables)


def holds(code: Code, attributes: Sequence[object]) -> bool:
    return bool(code and attributes)
