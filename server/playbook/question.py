"""A question: a condition asked of everybody, compiled against an active playbook."""

from __future__ import annotations

from nextbest.core.errors import InvalidRequestError
from nextbest.core.expression.code import Code
from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Severity, shown
from nextbest.server.playbook.scope import Checker, Want


def condition(checker: Checker, text: str) -> Code:
    """The condition, to stand as the last expression of the plan that `checker` is of.

    It is over the stored person: what a request says of its context is not known.
    Raises InvalidRequestError for a condition that does not compile.
    """
    allowed = f"a CEL condition of 1 to {limits.EXPRESSION_BYTES_MAX:,} bytes"
    if not text.strip() or len(text.encode()) > limits.EXPRESSION_BYTES_MAX:
        raise InvalidRequestError("condition", shown(text), allowed)
    checked = checker.check(text, Want.CONDITION)
    for issue in checked.issues:
        if issue.severity is Severity.ERROR:
            seen = ", ".join(filter(None, (issue.what, issue.seen)))
            place = f"at character {issue.offset + 1}"
            raise InvalidRequestError("condition", f"{seen} {place}", issue.allowed)
    if checked.whole is None:
        raise InvalidRequestError("condition", shown(text), allowed)
    return checked.whole
