"""A question: a condition asked of everybody, compiled against an active playbook."""

from __future__ import annotations

import dataclasses

from nextbest.core.errors import InvalidRequestError, NoPlaybookError
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook import limits
from nextbest.server.playbook.compile import Compiled
from nextbest.server.playbook.faults import Severity, shown
from nextbest.server.playbook.scope import Want


def question(compiled: Compiled, text: str) -> Plan:
    """The playbook's plan with the condition as its last expression.

    The condition is over the stored person: what a request says of its context is not known.
    Raises InvalidRequestError for a condition that does not compile.
    """
    if compiled.plan is None or compiled.checker is None:
        raise NoPlaybookError("no playbook is active: publish one first")
    allowed = f"a CEL condition of 1 to {limits.EXPRESSION_BYTES_MAX:,} bytes"
    if not text.strip() or len(text.encode()) > limits.EXPRESSION_BYTES_MAX:
        raise InvalidRequestError("condition", shown(text), allowed)
    checked = compiled.checker.check(text, Want.CONDITION)
    for issue in checked.issues:
        if issue.severity is Severity.ERROR:
            seen = f"{issue.what} {issue.seen}".strip()
            place = f"at character {issue.offset + 1}"
            raise InvalidRequestError("condition", f"{seen} {place}", issue.allowed)
    if checked.whole is None:
        raise InvalidRequestError("condition", shown(text), allowed)
    expressions = (*compiled.plan.expressions, checked.whole)
    return dataclasses.replace(compiled.plan, expressions=expressions)
