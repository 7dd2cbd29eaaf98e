"""A question: a condition asked of everybody, compiled against an active playbook."""

from __future__ import annotations

import dataclasses

from nextbest.core.errors import InvalidRequestError, NoPlaybookError
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import Compiled
from nextbest.server.playbook.faults import Severity
from nextbest.server.playbook.scope import Want, whole

TEXT_BYTES_MAX = 16_384


def question(compiled: Compiled, text: str) -> Plan:
    """The playbook's plan with the condition as its last expression.

    Raises InvalidRequestError for a condition that does not compile.
    """
    if compiled.plan is None or compiled.checker is None:
        raise NoPlaybookError("no playbook is active: publish one first")
    size = len(text.encode())
    if not text.strip() or size > TEXT_BYTES_MAX:
        raise InvalidRequestError("condition", f"{size} bytes", f"1 to {TEXT_BYTES_MAX} bytes")
    for issue in compiled.checker.check(text, Want.CONDITION).issues:
        if issue.severity is Severity.ERROR:
            seen = f"column {issue.offset + 1}: {issue.what} {issue.seen}".strip()
            raise InvalidRequestError("condition", seen, issue.allowed or Want.CONDITION.value)
    code = whole(compiled.checker, text)
    if code is None:
        raise InvalidRequestError("condition", repr(text[:80]), Want.CONDITION.value)
    return dataclasses.replace(compiled.plan, expressions=(*compiled.plan.expressions, code))
