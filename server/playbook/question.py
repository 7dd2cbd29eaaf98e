"""A question: a condition asked of everybody, compiled against an active playbook."""

from __future__ import annotations

import re

from nextbest.core.errors import InvalidRequestError
from nextbest.core.expression.code import Code
from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Severity
from nextbest.server.playbook.scope import Checked, Checker, Issue, Want

# Texts, raw or with escapes, that may lack their end; comments; numbers; what no name holds.
_LITERAL = re.compile(
    r"""[rR](?P<raw>'''|\"""|'|").*?(?:(?P=raw)|\Z)"""
    r"""|(?P<quote>'''|\"""|'|")(?:\\.|.)*?(?:(?P=quote)|\Z)"""
    r"""|//[^\n]*|(?<!\w)\d[\w.]*(?:(?<=[eE])[+-]\w*)?|[^\x00-\x7f]+""",
    re.DOTALL,
)
_HEXADECIMAL = re.compile("0[xX]")


def condition(checker: Checker, text: str) -> Code:
    """The condition, to stand as the last expression of the plan that `checker` is of.

    It is over the stored person: what a request says of its context is not known.
    Raises InvalidRequestError for a condition that does not compile; it quotes names, no literals.
    """
    allowed = f"a CEL condition of 1 to {limits.EXPRESSION_BYTES_MAX:,} bytes"
    size = len(text.encode())
    if not text.strip() or size > limits.EXPRESSION_BYTES_MAX:
        raise InvalidRequestError(
            "condition", f"{size} bytes" if text.strip() else "blank", allowed
        )
    checked = checker.check(text, Want.CONDITION)
    if issue := _error(checked):
        # Told of a text without the literals, which may be a person's, and cannot be quoted so.
        told = _error(checker.check(without_literals(text), Want.CONDITION))
        told = told or Issue(issue.offset, "a literal that does not suit", "", "", issue.severity)
        seen = ", ".join(filter(None, (told.what, told.seen)))
        place = f"at character {told.offset + 1}"
        raise InvalidRequestError("condition", f"{seen} {place}", told.allowed)
    if checked.whole is None:
        raise InvalidRequestError("condition", f"{size} bytes", allowed)
    return checked.whole


def without_literals(text: str) -> str:
    """A condition of the same shape and length whose texts and numbers say nothing."""
    return _LITERAL.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    literal = found[0]
    if quote := found["raw"] or found["quote"]:
        begin = literal.index(quote) + len(quote)
        ends = len(literal) >= begin + len(quote) and literal.endswith(quote)
        end = len(literal) - len(quote) if ends else len(literal)
        return literal[:begin] + re.sub(r"[^\n]", "x", literal[begin:end]) + literal[end:]
    if literal[0].isdigit():
        kept = 2 if _HEXADECIMAL.match(literal) else 0
        return literal[:kept] + re.sub(r"[^eEuU.+-]", "1", literal[kept:])
    return "//" + "x" * (len(literal) - 2) if literal[0] == "/" else "?" * len(literal)


def _error(checked: Checked) -> Issue | None:
    return next((one for one in checked.issues if one.severity is Severity.ERROR), None)
