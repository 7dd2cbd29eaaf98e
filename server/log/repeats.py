"""Repeats: what would be said again and again is said once, and then once a minute."""

from __future__ import annotations

AGAIN_S = 60.0
MESSAGES_MAX = 64


class Repeats:
    """Messages said of late, at most 64; those longest not said go first."""

    def __init__(self) -> None:
        # When each was said last, and how often it came since.
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, message: str, now_s: float) -> str:
        """The message as it is to be said, with how often it came unsaid; empty to say nothing."""
        said_s, unsaid = self._said.pop(message, (now_s - AGAIN_S, 0))
        if now_s - said_s < AGAIN_S:
            self._said[message] = (said_s, unsaid + 1)
            return ""
        self._said[message] = (now_s, 0)
        if len(self._said) > MESSAGES_MAX:
            del self._said[next(iter(self._said))]
        return f"{message} ({unsaid} times more since it was said)" if unsaid else message
