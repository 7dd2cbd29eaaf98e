"""Outcomes: what came of decisions, found by the decision's id however many there are.

They wait in a temporary database on disk, so that memory stays bounded; SQLite deletes it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from nextbest.server.playbook.faults import one_of
from nextbest.server.record.errors import RecordError
from nextbest.server.record.features import feature
from nextbest.server.record.frames import Frame
from nextbest.v1 import decision_pb2, event_pb2, record_pb2

_TABLE = """
CREATE TABLE outcome (decision TEXT, digest BLOB, event BLOB, at_us INTEGER, met INTEGER,
taken INTEGER, PRIMARY KEY (decision, digest)) WITHOUT ROWID
"""
# The records of decisions; effect: it was answered, and no preview.
_MADE_TABLE = """
CREATE TABLE made (decision TEXT, at_us INTEGER, effect INTEGER, taken INTEGER,
PRIMARY KEY (decision, at_us, effect)) WITHOUT ROWID
"""
# The record of a decision that counts.
_COUNTS = """
SELECT at_us, effect FROM made WHERE decision = ?1 ORDER BY effect DESC,
at_us > coalesce((SELECT min(at_us) FROM outcome WHERE decision = ?1), at_us), at_us DESC LIMIT 1
"""
_DIGEST_BYTES = 16
# What of it is in memory.
_CACHE_KB = 65_536
_UUID7 = re.compile(r"([\da-f]{8})-([\da-f]{4})-7[\da-f]{3}-[\da-f]{4}-[\da-f]{12}", re.I | re.A)


class Outcome(NamedTuple):
    """An event that names a decision.

    occurred_us: when it happened, by the caller or the event's id; else when it came.
    recorded_us: when it came, by the node's clock.
    """

    event: event_pb2.TrackRequest
    occurred_us: int
    recorded_us: int

    def text(self, name: str) -> str:
        """A property that is a text; else an empty one."""
        return self.event.properties[name].string_value if name in self.event.properties else ""

    def number(self, name: str) -> float | None:
        """A property that is a number; else None."""
        return (
            feature(self.event.properties[name]).number if name in self.event.properties else None
        )


class Counts(NamedTuple):
    """How many different outcomes there were; `repeated` came besides.

    unknown: of decisions that are not among the records.
    """

    outcomes: int
    repeated: int
    unknown: int


# The names of events, and of each the properties that are numbers.
Events: TypeAlias = dict[str, set[str]]


class Lacking(NamedTuple):
    """What no outcome has, and what is there."""

    seen: str
    allowed: str


def lacking(events: Events, event: str, amount: str = "") -> Lacking | None:
    """Why there is nothing of an event, or of its property: all would be 0; None where there is."""
    if event not in events:
        allowed = one_of(event, sorted(events)) if events else "events with a decision id"
        return Lacking(f"{event!r}, of which no outcome is recorded", allowed)
    numbers = events[event]
    if amount and amount not in numbers:
        allowed = one_of(amount, sorted(numbers)) if numbers else "none has any"
        return Lacking(f"{amount!r}, which no outcome {event!r} has as a number", allowed)
    return None


class Outcomes:
    """Gathers all outcomes of some records, each once; then gives those of each decision.

    A decision that was made again under its id has several records, of which one counts.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._base = sqlite3.connect("", isolation_level=None)
        self._execute("PRAGMA journal_mode = OFF")
        self._execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        self._execute(_TABLE)
        self._execute(_MADE_TABLE)
        self._execute("BEGIN")
        self._seen = 0
        for frame in frames:
            if frame.record.HasField("outcome"):
                self._add(frame.record.outcome, frame.record.decided_at_us)
            else:
                self._made(frame.record)

    def _add(self, event: event_pb2.TrackRequest, at_us: int) -> None:
        self._seen += 1
        row = (event.decision_id, _digest(event), event.SerializeToString(), at_us)
        self._execute("INSERT OR IGNORE INTO outcome VALUES (?, ?, ?, ?, 0, 0)", row)

    def _made(self, record: record_pb2.DecisionRecord) -> None:
        # What was refused before it had an id has none.
        if id := record.request.decision_id:
            row = (id, record.decided_at_us, _had_effect(record))
            self._execute("INSERT OR IGNORE INTO made VALUES (?, ?, ?, 0)", row)

    def take_decision(self, frame: Frame) -> bool:
        """Whether a record is the one of its decision that counts; to be asked once of each.

        It is the last that was answered before the first outcome, or of all where there is none:
        what somebody has answered to, and not what they might have seen since.  Of copies, as of
        a file that is given twice, it is the first.  What has no id cannot be told from others.
        """
        id, this = frame.decision_id, (frame.record.decided_at_us, _had_effect(frame.record))
        counts = self._execute(_COUNTS, (id,)).fetchone()
        if counts is None:
            return True
        if counts != this:
            return False
        found = self._execute(
            "UPDATE made SET taken = 1 "
            "WHERE decision = ? AND at_us = ? AND effect = ? AND taken = 0",
            (id, *this),
        )
        return found.rowcount == 1

    def of(self, decision_id: str) -> list[Outcome]:
        """A decision's outcomes in the order in which they happened."""
        rows = self._execute(
            "UPDATE outcome SET met = 1 WHERE decision = ? RETURNING event, at_us", (decision_id,)
        ).fetchall()
        found = [outcome_of(event_pb2.TrackRequest.FromString(one), at_us) for one, at_us in rows]
        return sorted(found, key=lambda one: (one.occurred_us, one.event.event_id))

    def meet(self, decision_id: str) -> None:
        """Note that a decision is among the records."""
        self._execute("UPDATE outcome SET met = 1 WHERE decision = ?", (decision_id,))

    def take(self, event: event_pb2.TrackRequest) -> bool:
        """Whether it is the first time that an outcome is seen, for who reads them in order."""
        found = self._execute(
            "UPDATE outcome SET taken = 1 WHERE decision = ? AND digest = ? AND taken = 0",
            (event.decision_id, _digest(event)),
        )
        return found.rowcount == 1

    def counts(self) -> Counts:
        """As far as decisions have been asked for."""
        row = self._execute("SELECT count(*), coalesce(sum(met = 0), 0) FROM outcome")
        different, unknown = row.fetchone()
        return Counts(different, self._seen - different, unknown)

    def events(self) -> Events:
        """The names of the events, and of each the properties that are numbers."""
        found: Events = {}
        for (content,) in self._execute("SELECT event FROM outcome"):
            event = event_pb2.TrackRequest.FromString(content)
            known = found.setdefault(event.event, set())
            known.update(k for k, v in event.properties.items() if feature(v).number is not None)
        return found

    def _execute(self, text: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._base.execute(text, values)
        except sqlite3.Error as error:
            raise RecordError(
                f"outcomes: the temporary folder cannot take them: {error}; TMPDIR names another"
            ) from error

    def close(self) -> None:
        self._base.close()


class Credited(NamedTuple):
    """The proposition that an outcome came of."""

    placement: str
    proposition: decision_pb2.Proposition


def credited(answer: decision_pb2.DecideResponse, outcome: Outcome) -> list[Credited]:
    """What an outcome may have come of: the propositions in its slot.

    An outcome names a slot and no placement: where a decision has filled several placements, the
    event's properties `placement` and `action` tell them apart.
    """
    placement, action = outcome.text("placement"), outcome.text("action")
    return [
        Credited(part.placement, one)
        for part in answer.placements
        for one in part.propositions
        if one.slot == outcome.event.slot
        and placement in ("", part.placement)
        and action in ("", one.action)
    ]


def decided_for_us(record: record_pb2.DecisionRecord) -> int:
    """The moment that a decision was made for: outcomes happen after that, by the same clock.

    It is the caller's where one was given, as with traffic of the past that is sent again.
    """
    now = record.request.now
    return now.ToMicroseconds() if record.request.HasField("now") else record.decided_at_us


def _had_effect(record: record_pb2.DecisionRecord) -> bool:
    return not record.HasField("error") and not record.request.preview


def _digest(event: event_pb2.TrackRequest) -> bytes:
    """Of what makes an event the same as another one: a caller may send it again elsewhere."""
    same = event_pb2.TrackRequest()
    same.CopyFrom(event)
    same.ClearField("ack")
    same.ClearField("occurred_at")
    content = same.SerializeToString(deterministic=True)
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()


def outcome_of(event: event_pb2.TrackRequest, at_us: int) -> Outcome:
    """An outcome that was recorded at a moment."""
    if event.HasField("occurred_at"):
        return Outcome(event, event.occurred_at.ToMicroseconds(), at_us)
    return Outcome(event, uuid7_us(event.event_id) or at_us, at_us)


def uuid7_us(id: str) -> int:
    """The moment in a UUIDv7, in microseconds since 1970; 0 for another id."""
    found = _UUID7.fullmatch(id)
    return int(found[1] + found[2], 16) * 1_000 if found else 0
