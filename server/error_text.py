"""What of an error may stand in a line of the log.

An error's own text may quote what a caller sent.  It is told only of the kinds of errors that
`tells_nothing_private` knows; of all others there are the type and the stack.
"""

from __future__ import annotations

import traceback

from nextbest.core.errors import AlreadyUsedError, InvalidRequestError, NextbestError

CAUSES_MAX = 8
FRAMES_MAX = 64
# What collectors and editors know a stack by.
TRACEBACK = "Traceback (most recent call last):\n"


def tells_nothing_private(error: BaseException) -> bool:
    """Whether an error's text is free of what a caller sent."""
    if isinstance(error, InvalidRequestError | AlreadyUsedError):
        return False
    return isinstance(error, NextbestError | OSError | ImportError | SystemExit)


def said(error: BaseException) -> str:
    """An error in one line: its type, and its text where that tells nothing private."""
    kind = type(error).__qualname__
    text = str(error) if tells_nothing_private(error) else ""
    return f"{kind}: {text}" if text else kind


def stack(error: BaseException) -> str:
    """An error with its frames, and before it those that it came of."""
    told: list[str] = []
    one: BaseException | None = error
    while one is not None and len(told) < CAUSES_MAX:
        frames = traceback.format_tb(one.__traceback__, limit=-FRAMES_MAX)
        header = [TRACEBACK] if frames else []
        told.append("".join([*header, *frames, said(one)]))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\nwhich led to\n".join(reversed(told))
