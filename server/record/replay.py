"""Replay: records decided again by the playbooks that decided them, and compared to the byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nextbest.core.errors import NextbestError
from nextbest.server.record.difference import difference
from nextbest.server.record.errors import RecordError
from nextbest.server.record.frames import Frame
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.varint import varint
from nextbest.v1 import decision_pb2

# The form of records that this version reads.
VERSION = 1
# The field `response`: a message.
_RESPONSE_TAG = b"\x22"


class Replayed(NamedTuple):
    """What came of a record: equal, or the first difference."""

    frame: Frame
    difference: str


def replay(frames: Iterable[Frame], playbooks: Playbooks) -> Iterator[Replayed]:
    """Decide each record again."""
    for frame in frames:
        yield Replayed(frame, _compare(frame, playbooks))


def _compare(frame: Frame, playbooks: Playbooks) -> str:
    record = frame.record
    if record.version != VERSION:
        return (
            f"version: {record.version}, allowed: {VERSION}: replay with the version that wrote it"
        )
    failed = record.HasField("error")
    try:
        engine = playbooks.engine(record.playbook)
        answer, missing = engine.replay(frame.data)
    except RecordError as error:
        return str(error)
    except NextbestError as error:
        if failed and error.status_code == record.error.code:
            return ""
        return f"error: recorded {record.error.message or 'an answer'!r}, again {str(error)!r}"
    if failed:
        return f"error: recorded {record.error.message!r}, again an answer"
    if missing:
        return f"inputs: {missing} that the playbook reads are not recorded"
    # A field that is a message stands in the record as its own bytes.
    if _RESPONSE_TAG + varint(len(answer)) + answer in frame.data:
        return ""
    again = decision_pb2.DecideResponse.FromString(answer)
    return difference(record.response, again) or "response: the same fields in other bytes"
