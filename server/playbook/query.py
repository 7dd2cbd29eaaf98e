"""Conditions that callers ask about people: compiled against a published plan."""

from __future__ import annotations

import dataclasses

from nextbest.core.errors import InvalidRequestError
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook import evaluate, limits
from nextbest.server.playbook.faults import Severity, shown
from nextbest.server.playbook.scope import Want, World, variables


def query_plan(plan: Plan, condition: str) -> Plan:
    """The plan with a condition over the stored person as its last expression.

    Raises InvalidRequestError for the field "condition", with the place of the first error.
    """
    allowed = f"a CEL condition of 1 to {limits.EXPRESSION_BYTES_MAX:,} bytes"
    if not condition.strip() or len(condition.encode()) > limits.EXPRESSION_BYTES_MAX:
        raise InvalidRequestError("condition", shown(condition), allowed)
    checker = evaluate.make_checker(variables(plan, World.QUERY))
    checked = checker.check(condition, Want.CONDITION)
    for issue in checked.issues:
        if issue.severity is Severity.ERROR:
            seen = f"{issue.seen} at character {issue.offset + 1}"
            raise InvalidRequestError("condition", f"{issue.what} {seen}", issue.allowed)
    if checked.whole is None:
        raise InvalidRequestError("condition", shown(condition), allowed)
    return dataclasses.replace(plan, expressions=(*plan.expressions, checked.whole))
