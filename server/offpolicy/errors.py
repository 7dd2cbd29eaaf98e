"""What stops an off-policy evaluation."""

from __future__ import annotations

from nextbest.core.errors import NextbestError


class OffPolicyError(NextbestError):
    """Base of every reason why a policy cannot be evaluated from a log."""


class FeedbackError(OffPolicyError):
    """A field of the feedback is not allowed; the text is `field: seen, allowed`."""

    def __init__(self, field: str, seen: object, allowed: str) -> None:
        super().__init__(f"{field}: {seen}, allowed: {allowed}")
        self.field = field
        self.seen = seen
        self.allowed = allowed


class LogFileError(OffPolicyError):
    """A log cannot be read, or one cell of it is not allowed.

    `place` is the file and the line ("men.csv.gz:13"), or the file alone.
    """

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}")
        self.place = place


class NoOverlapError(OffPolicyError):
    """The evaluated policy takes nothing that the log took: there is nothing to estimate from."""

    def __init__(self) -> None:
        super().__init__(
            "evaluation: 0 in every logged row, allowed: a policy that takes some of it"
        )


class NothingRecordedError(OffPolicyError):
    """No recorded decision can be compared; the text says why."""


class RequirementError(OffPolicyError, ValueError):
    """A requirement cannot be read, or compares what does not exist."""


class MissingLibraryError(OffPolicyError):
    """An optional library is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what}: not installed: pip install 'nextbest[{extra}]'")
        self.extra = extra
