"""What can be wrong with decision records."""

from __future__ import annotations

from nextbest.core.errors import NextbestError


class RecordError(NextbestError):
    """A record, or what it needs, cannot be used; the text says which, why and what to do."""


class DamagedRecordError(RecordError):
    """Bytes of a file are not the record that was written there."""

    def __init__(self, file: str, number: int, offset: int, why: str) -> None:
        super().__init__(f"{file}: record {number}, at byte {offset}: {why}")
        self.number = number
        self.offset = offset


class CutRecordError(DamagedRecordError):
    """A file ends within its last record, as it does where its server was killed."""


class LaterRecordError(DamagedRecordError):
    """A record is whole, and of a form that another version has written."""


class NoPlaybookFileError(RecordError):
    """The playbook that a record was decided by is not at hand."""


class MissingLibraryError(RecordError):
    """An optional library is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what}: not installed: pip install 'nextbest[{extra}]'")
