"""Replay: records decided again by the playbooks that decided them, and compared to the byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.rpc import status_pb2

from nextbest.core import Engine, errors
from nextbest.core.engine import status_bytes
from nextbest.core.errors import NextbestError
from nextbest.server.record.difference import difference
from nextbest.server.record.errors import RecordError
from nextbest.server.record.frames import Frame, part
from nextbest.server.record.playbooks import Playbooks
from nextbest.v1 import decision_pb2, record_pb2

# A decision that was refused for what its node was at then (busy, late, on another branch of the
# log): no record holds that, and there is nothing to decide again.
_OF_THE_NODE = frozenset(
    {
        errors.RESOURCE_EXHAUSTED,
        errors.ABORTED,
        errors.DEADLINE_EXCEEDED,
        errors.UNAVAILABLE,
        errors.INTERNAL,
    }
)
# The field `response`.
_RESPONSE = 4


class Replayed(NamedTuple):
    """What came of a record: equal, the first difference, or why it was not decided again."""

    frame: Frame
    difference: str = ""
    why_not: str = ""

    @property
    def told(self) -> str:
        """What is to be told of it; empty where it is equal."""
        return self.difference or self.why_not

    @property
    def equal(self) -> bool:
        """Whether it was decided again, and alike."""
        return not self.told


def replay(frames: Iterable[Frame], playbooks: Playbooks) -> Iterator[Replayed]:
    """Decide each record again."""
    for frame in frames:
        yield _replayed(frame, playbooks)


def _replayed(frame: Frame, playbooks: Playbooks) -> Replayed:
    if frame.record.error.code in _OF_THE_NODE:
        return Replayed(frame)
    try:
        engine = playbooks.engine(frame.record.playbook)
    except RecordError as error:
        return Replayed(frame, why_not=str(error))
    return Replayed(frame, _compare(frame, engine))


def _compare(frame: Frame, engine: Engine) -> str:
    record = frame.record
    try:
        answer, lacking = engine.replay(frame.data)
    except NextbestError as error:
        return _compare_errors(record, error)
    if record.HasField("error"):
        return f"error: recorded {record.error.message!r}, again an answer"
    if lacking:
        return f"inputs: {len(lacking)} that the playbook reads are not recorded"
    # A field that is a message stands in the record as its own bytes.
    if part(frame.data, _RESPONSE) == answer:
        return ""
    again = decision_pb2.DecideResponse.FromString(answer)
    return difference(record.response, again) or "response: the same fields in other bytes"


def _compare_errors(record: record_pb2.DecisionRecord, error: NextbestError) -> str:
    """What differs between the refusal that is recorded and that of deciding again."""
    if not record.HasField("error"):
        return f"error: recorded an answer, again {str(error)!r}"
    again = status_pb2.Status.FromString(status_bytes(error))
    return difference(record.error, again, "error")
