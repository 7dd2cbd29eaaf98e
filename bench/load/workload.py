"""Requests and their mix, encoded before the run."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from nextbest.client.request import decide, identity
from nextbest.client.value import Plain, messages
from nextbest.v1 import decision_pb2, event_pb2

from .errors import OptionError, RequestsError, option_fault
from .settings import PATTERN, Settings

DECIDE = b"/nextbest.v1.DecisionService/Decide"
BATCH = b"/nextbest.v1.DecisionService/DecideBatch"
TRACK = b"/nextbest.v1.EventService/Track"
HEALTH = b"/grpc.health.v1.Health/Check"
PATHS = (DECIDE, BATCH, TRACK, HEALTH)
KINDS = {"decide": DECIDE, "batch": BATCH, "track": TRACK, "health": HEALTH}
MESSAGES: dict[bytes, Callable[[], Message]] = {
    DECIDE: decision_pb2.DecideRequest,
    BATCH: decision_pb2.DecideBatchRequest,
    TRACK: event_pb2.TrackRequest,
}
MIX_ALLOWED = "decide, track, batch:1 to batch:1000, health; each with =WEIGHT, as decide=8,track=1"
BATCH_MAX = 1_000
PARTS_MAX = 32
WEIGHT_MAX = 1_000_000
WEIGHT_UNIT = 1_000
LINES_MAX = 1_000_000
FILE_BYTES_MAX = 1 << 30
PATCH_PROFILE, PATCH_EVENT = 0, 1
EVENT_ID_BYTES = 36
PREFIX_BYTES = 5


class Body(NamedTuple):
    """A request as it is sent: the number of its path, the bytes, what differs for each call."""

    method: int
    data: bytes
    patches: tuple[tuple[int, int, int], ...]


class Part(NamedTuple):
    """A part of the mix: its name, its weight, its requests in turn."""

    name: str
    weight: int
    bodies: list[Body]


class Entry(NamedTuple):
    """A part as it was asked for."""

    kind: str
    size: int
    weight: int

    @property
    def name(self) -> str:
        """As in the option."""
        return f"batch:{self.size}" if self.kind == "batch" else self.kind


def workload(settings: Settings) -> list[Part]:
    """The parts of a run."""
    entries = read_mix(settings.mix)
    if settings.requests is None:
        return [made(settings, entry) for entry in entries or [Entry("decide", 1, WEIGHT_UNIT)]]
    found = read_requests(settings.requests)
    if not entries:
        return [Part("file", WEIGHT_UNIT, [body(*request) for request in found])]
    return [chosen(entry, found, settings.requests) for entry in entries]


def read_mix(text: str) -> list[Entry]:
    """`--mix`."""
    entries = [read_entry(part.strip()) for part in text.split(",") if part.strip()]
    if len(entries) > PARTS_MAX:
        raise OptionError([option_fault("--mix", len(entries), f"at most {PARTS_MAX} parts")])
    return entries


def read_entry(text: str) -> Entry:
    """One part of `--mix`: KIND[:SIZE][=WEIGHT]."""
    what, equals, weight_text = text.partition("=")
    kind, colon, size_text = what.partition(":")
    try:
        weight = float(weight_text) if equals else 1.0
        size = int(size_text) if colon else 100 if kind == "batch" else 1
    except ValueError:
        raise OptionError([option_fault("--mix", text, MIX_ALLOWED)]) from None
    sized = 1 <= size <= BATCH_MAX if kind == "batch" else not colon
    if kind not in KINDS or not sized:
        raise OptionError([option_fault("--mix", text, MIX_ALLOWED)])
    if not 1 / WEIGHT_UNIT <= weight <= WEIGHT_MAX:
        raise OptionError([option_fault("--mix", text, f"weights of 0.001 to {WEIGHT_MAX:,}")])
    return Entry(kind, size, int(weight * WEIGHT_UNIT))


def made(settings: Settings, entry: Entry) -> Part:
    """A part whose one request is made, and patched for each call."""
    path = KINDS[entry.kind]
    if path == HEALTH:
        return Part(entry.name, entry.weight, [Body(PATHS.index(path), framed(b""), ())])
    width = digits(settings)
    zero, nine = (request(settings, entry, text * width) for text in "09")
    patches = differing(framed(zero), framed(nine), PATCH_PROFILE)
    if path == TRACK:
        patches += event_patch(event_pb2.TrackRequest.FromString(zero))
    return Part(entry.name, entry.weight, [Body(PATHS.index(path), framed(zero), patches)])


def digits(settings: Settings) -> int:
    """How many digits a profile's number has."""
    match = PATTERN.fullmatch(settings.profile_id)
    width = match["width"] if match else None
    return int(width) if width else len(str(settings.profiles - 1))


def request(settings: Settings, entry: Entry, number: str) -> bytes:
    """The message of a made request about the profile with that number."""
    before, _, rest = settings.profile_id.partition("{")
    id = before + number + rest.partition("}")[2]
    if entry.kind == "track":
        return event_pb2.TrackRequest(
            event_id="0" * EVENT_ID_BYTES,
            identity=identity(id),
            event=settings.event,
            properties=messages(pairs(settings.properties, "--property"), "--property"),
        ).SerializeToString(deterministic=True)
    one = decide(
        id,
        settings.placements,
        scores=settings.scores,
        context=pairs(settings.context, "--context"),
    )
    # The server makes the ids: a repeated one would be answered from its memory.
    one.decision_id = ""
    if entry.kind == "decide":
        return one.SerializeToString(deterministic=True)
    batch = decision_pb2.DecideBatchRequest(requests=[one] * entry.size)
    return batch.SerializeToString(deterministic=True)


def pairs(texts: Iterable[str], option: str) -> dict[str, Plain]:
    """NAME=VALUE options; a value is JSON or else text."""
    found: dict[str, Plain] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise OptionError([option_fault(option, text, "NAME=VALUE")])
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
        if isinstance(found[name], dict | list):
            found[name] = value
    return found


def framed(message: bytes) -> bytes:
    """A message as gRPC frames it: not compressed, its length, itself."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def differing(first: bytes, second: bytes, kind: int) -> tuple[tuple[int, int, int], ...]:
    """A patch for each run of bytes in which two encodings of one length differ."""
    places = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    starts = [i for n, i in enumerate(places) if n == 0 or places[n - 1] != i - 1]
    ends = [i for n, i in enumerate(places) if n + 1 == len(places) or places[n + 1] != i + 1]
    return tuple((kind, a, b - a + 1) for a, b in zip(starts, ends, strict=True))


def event_patch(message: event_pb2.TrackRequest) -> tuple[tuple[int, int, int], ...]:
    """Where a Track has its event id, which must have the length of a UUID."""
    other = event_pb2.TrackRequest()
    other.CopyFrom(message)
    message.event_id, other.event_id = "0" * EVENT_ID_BYTES, "1" * EVENT_ID_BYTES
    first, second = (framed(m.SerializeToString(deterministic=True)) for m in (message, other))
    return differing(first, second, PATCH_EVENT)


def body(path: bytes, message: Message) -> Body:
    """A request of a file; an event gets a fresh id for each call."""
    patches: tuple[tuple[int, int, int], ...] = ()
    if isinstance(message, event_pb2.TrackRequest):
        patches = event_patch(message)
    return Body(PATHS.index(path), framed(message.SerializeToString(deterministic=True)), patches)


def chosen(entry: Entry, found: Sequence[tuple[bytes, Message]], file: Path) -> Part:
    """A part that takes its requests from the file's, in turn."""
    path = KINDS[entry.kind]
    if path == HEALTH:
        return Part(entry.name, entry.weight, [Body(PATHS.index(path), framed(b""), ())])
    wanted = [message for where, message in found if where == path]
    if path == BATCH and not wanted:
        decisions = [m for _, m in found if isinstance(m, decision_pb2.DecideRequest)]
        wanted = list(batches(decisions, entry.size))
    if not wanted:
        raise OptionError([option_fault("--mix", entry.name, f"what {file} has requests for")])
    return Part(entry.name, entry.weight, [body(path, message) for message in wanted])


def batches(requests: Sequence[decision_pb2.DecideRequest], size: int) -> Iterator[Message]:
    """Requests in batches of one size; the last goes on with the first."""
    for first in range(0, len(requests), size):
        numbers = (i % len(requests) for i in range(first, first + size))
        yield decision_pb2.DecideBatchRequest(requests=[requests[i] for i in numbers])


def read_requests(file: Path) -> list[tuple[bytes, Message]]:
    """The requests of a file of JSON lines, also gzipped: (path, message)."""
    found: list[tuple[bytes, Message]] = []
    size = 0
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                size += len(line)
                if number > LINES_MAX or size > FILE_BYTES_MAX:
                    allowed = f"{LINES_MAX:,} lines, {FILE_BYTES_MAX:,} characters"
                    raise RequestsError(f"{file}: too large, allowed: {allowed}")
                if line.strip():
                    found.append(read_line(line, f"{file}:{number}"))
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise RequestsError(f"--requests: {file}: {error}") from None
    if not found:
        raise RequestsError(f"{file}: no requests")
    return found


def read_line(line: str, where: str) -> tuple[bytes, Message]:
    """One request: its message as protobuf JSON, with "method" beside the fields or around them."""
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RequestsError(f"{where}: {error}") from None
    if not isinstance(given, dict):
        raise RequestsError(f"{where}: {type(given).__name__}, allowed: an object")
    path = method_of(given, given.pop("method", None), where)
    message = MESSAGES[path]()
    try:
        ParseDict(given.get("request", given), message)
    except (ParseError, TypeError) as error:
        raise RequestsError(f"{where}: {error}") from None
    return path, message


def method_of(given: dict[str, object], method: object, where: str) -> bytes:
    """The path of a line's method; without one, as its fields say."""
    if method is None:
        if "event" in given:
            return TRACK
        return BATCH if "requests" in given else DECIDE
    name = str(method).rpartition("/")[2].lower().replace("decidebatch", "batch")
    path = KINDS.get(name, HEALTH)
    if path == HEALTH:
        raise RequestsError(f"{where}: method: {method!r}, allowed: Decide, DecideBatch, Track")
    return path
