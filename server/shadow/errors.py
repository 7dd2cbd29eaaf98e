"""What can be wrong with a shadow."""

from __future__ import annotations

from nextbest.core.errors import FAILED_PRECONDITION, UNAVAILABLE, NextbestError


class NoShadowError(NextbestError):
    """This node runs no shadow, or not of the draft that was named."""

    status_code = FAILED_PRECONDITION
    status_reason = "NO_SHADOW"

    def __init__(self, asked: str, running: str) -> None:
        # What was asked for is not quoted: it may be anything.
        if running:
            super().__init__(
                f"playbook_hash: {'another' if asked else 'none'}, allowed: {running}, the draft "
                "that this node shadows; name that one, or stop it and start the other"
            )
        else:
            super().__init__("no shadow runs on this node; start one there first")


class OtherShadowError(NextbestError):
    """This node runs a shadow of another draft, whose findings would be lost."""

    status_code = FAILED_PRECONDITION
    status_reason = "OTHER_SHADOW"

    def __init__(self, running: str) -> None:
        super().__init__(
            f"draft: this node has a shadow of {running}; allowed: stop that one first"
        )


class ShadowGoneError(NextbestError):
    """The shadow's process cannot be started, or died at once."""

    status_code = UNAVAILABLE
    status_reason = "SHADOW_GONE"
    retry_ms = 1_000
