"""Requests from plain arguments; both clients build theirs here."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from nextbest.client.ids import new_id
from nextbest.client.value import Plain, messages, timestamp
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, playbook_pb2, profile_pb2

IMPORT_BATCH = 500
# Half of what a server takes in one message by default.
IMPORT_BATCH_BYTES = 131_072
FOLDER_BYTES_MAX = 16 * 1024 * 1024

Identity: TypeAlias = str | common_pb2.Identity
Files: TypeAlias = Path | str | Mapping[str, bytes]
# When a write is answered; None leaves it to the server.
Ack: TypeAlias = Literal["applied", "logged", "replicated"] | None
ConsentStatus: TypeAlias = Literal["granted", "denied", "revoked"]

_ACKS: Mapping[Ack, common_pb2.AckLevel] = {
    None: common_pb2.ACK_LEVEL_UNSPECIFIED,
    "applied": common_pb2.ACK_LEVEL_APPLIED,
    "logged": common_pb2.ACK_LEVEL_LOGGED,
    "replicated": common_pb2.ACK_LEVEL_REPLICATED,
}


def anonymous(id: str) -> common_pb2.Identity:
    """A device or cookie id; a plain text means a known id."""
    return common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_ANONYMOUS, id=id)


def identity(given: Identity) -> common_pb2.Identity:
    """The message for an identity; a plain text is a known id."""
    if isinstance(given, str):
        return common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=given)
    if not isinstance(given, common_pb2.Identity):
        raise TypeError(f"identity: {type(given).__name__}, allowed: a text or an Identity")
    return given


def members_awaited(given: bool | None) -> common_pb2.AwaitMembers:
    """Whether every node's decisions are waited for; None leaves it to the server.

    TypeError for anything else.
    """
    if given is None:
        return common_pb2.AWAIT_MEMBERS_UNSPECIFIED
    if not isinstance(given, bool):
        # A text such as "NONE" is true.
        seen = repr(given) if isinstance(given, str) else type(given).__name__
        raise TypeError(f"await_members: {seen}, allowed: True, False, None")
    return common_pb2.AWAIT_MEMBERS_EVERY if given else common_pb2.AWAIT_MEMBERS_NONE


def ack_level(given: Ack) -> common_pb2.AckLevel:
    """The level's value in the contract; ValueError for another word."""
    if given not in _ACKS:
        allowed = ", ".join(word for word in _ACKS if word)
        raise ValueError(f"ack: {given!r}, allowed: {allowed}, None")
    return _ACKS[given]


@dataclass(frozen=True, slots=True)
class Event:
    """An event to record; `event_id` is made when empty, and is then its time.

    An id of the caller's own that is no UUIDv7 needs `occurred_at`.
    """

    identity: Identity
    event: str
    properties: Mapping[str, Plain] = field(default_factory=dict)
    occurred_at: datetime | None = None
    event_id: str = ""
    decision_id: str = ""
    slot: int = 0
    ack: Ack = None

    def message(self) -> event_pb2.TrackRequest:
        """The event as the contract has it; ValueError for a slot of no decision."""
        if self.slot and not self.decision_id:
            raise ValueError(f"slot: {self.slot}, allowed: 0, or with a decision_id")
        return event_pb2.TrackRequest(
            event_id=self.event_id or new_id(),
            identity=identity(self.identity),
            event=self.event,
            occurred_at=None if self.occurred_at is None else timestamp(self.occurred_at),
            properties=messages(self.properties, "properties"),
            decision_id=self.decision_id,
            slot=self.slot,
            ack=ack_level(self.ack),
        )


@dataclass(frozen=True, slots=True)
class Upsert:
    """Attributes to set on one identity; None as a value unsets."""

    identity: Identity
    attributes: Mapping[str, Plain] = field(default_factory=dict)
    occurred_at: datetime | None = None
    write_id: str = ""
    ack: Ack = None

    def message(self) -> profile_pb2.UpsertProfileRequest:
        """The write as the contract has it."""
        return profile_pb2.UpsertProfileRequest(
            write_id=self.write_id or new_id(),
            identity=identity(self.identity),
            attributes=messages(self.attributes, "attributes"),
            occurred_at=None if self.occurred_at is None else timestamp(self.occurred_at),
            ack=ack_level(self.ack),
        )


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person allows: a purpose, or with a `reason` whether to contact them in a channel."""

    identity: Identity
    subject: str
    status: ConsentStatus
    reason: str = ""
    basis: str = ""
    occurred_at: datetime | None = None
    expires_at: datetime | None = None
    source: str = ""
    write_id: str = ""
    ack: Ack = None
    await_members: bool | None = None

    def message(self) -> profile_pb2.SetConsentRequest:
        """The write as the contract has it; ValueError for an unknown status or basis."""
        return profile_pb2.SetConsentRequest(
            write_id=self.write_id or new_id(),
            identity=identity(self.identity),
            purpose=None if self.reason else self.subject,
            channel=self.subject if self.reason else None,
            reason=self.reason,
            status=_number("status", self.status, profile_pb2.ConsentStatus),
            lawful_basis=_number("basis", self.basis or "unspecified", profile_pb2.LawfulBasis),
            occurred_at=None if self.occurred_at is None else timestamp(self.occurred_at),
            expires_at=None if self.expires_at is None else timestamp(self.expires_at),
            source=self.source,
            ack=ack_level(self.ack),
            await_members=members_awaited(self.await_members),
        )


def _number(field: str, word: str, kind: Any) -> Any:
    """An enum's value by the end of its name, in lower case."""
    start = kind.keys()[0].removesuffix("UNSPECIFIED")
    words = {name.removeprefix(start).lower(): number for name, number in kind.items()}
    if word not in words:
        allowed = ", ".join(one for one, number in words.items() if number)
        raise ValueError(f"{field}: {word!r}, allowed: {allowed}")
    return words[word]


def _names(field: str, given: Sequence[str]) -> Sequence[str]:
    # A text is a sequence of texts, too: each of its letters would be a name.
    if isinstance(given, str):
        raise TypeError(f"{field}: a text, allowed: a list of names")
    return given


def decide(
    given: Identity,
    placements: Sequence[str] = (),
    *,
    scores: Sequence[str] = (),
    context: Mapping[str, Plain] | None = None,
    attributes: Mapping[str, Plain] | None = None,
    now: datetime | None = None,
    seed: int = 0,
    explain: bool = False,
    segments: bool = False,
    preview: bool = False,
    decision_id: str = "",
    min_position: common_pb2.Position | None = None,
) -> decision_pb2.DecideRequest:
    """A request for a decision; its id is made here, so that a retry is the same request."""
    return decision_pb2.DecideRequest(
        decision_id=decision_id or new_id(),
        identity=identity(given),
        placements=_names("placements", placements),
        scores=_names("scores", scores),
        context=messages(context, "context"),
        attributes=messages(attributes, "attributes"),
        now=None if now is None else timestamp(now),
        seed=seed,
        explain=explain,
        segments=segments,
        preview=preview,
        min_position=min_position,
    )


def profile(
    given: Identity, now: datetime | None, min_position: common_pb2.Position | None
) -> profile_pb2.GetProfileRequest:
    """A request for a profile."""
    return profile_pb2.GetProfileRequest(
        identity=identity(given),
        now=None if now is None else timestamp(now),
        min_position=min_position,
    )


def link(
    first: Identity,
    second: Identity,
    unlink: bool,
    occurred_at: datetime | None,
    write_id: str,
    ack: Ack = None,
) -> profile_pb2.LinkIdentityRequest:
    """A request to link or part two identities."""
    return profile_pb2.LinkIdentityRequest(
        write_id=write_id or new_id(),
        first=identity(first),
        second=identity(second),
        unlink=unlink,
        occurred_at=None if occurred_at is None else timestamp(occurred_at),
        ack=ack_level(ack),
    )


def erase(
    given: Identity, write_id: str, ack: Ack = None, await_members: bool | None = None
) -> profile_pb2.EraseProfileRequest:
    """A request to forget a person.

    await_members: answer once no node decides by what is known of them.
    """
    return profile_pb2.EraseProfileRequest(
        write_id=write_id or new_id(),
        identity=identity(given),
        ack=ack_level(ack),
        await_members=members_awaited(await_members),
    )


def query(
    condition: str, limit: int, now: datetime | None, profiles: bool
) -> profile_pb2.QueryProfilesRequest:
    """A request for the people who satisfy a condition."""
    return profile_pb2.QueryProfilesRequest(
        condition=condition,
        limit=limit,
        now=None if now is None else timestamp(now),
        profiles=profiles,
    )


def track_stream(given: Event | event_pb2.TrackRequest) -> event_pb2.TrackStreamRequest:
    """One message of a stream of events."""
    message = given.message() if isinstance(given, Event) else given
    return event_pb2.TrackStreamRequest(event=message)


class _Batch:
    """The upserts of one message of an import; only a lone one may be large."""

    def __init__(self) -> None:
        self._upserts: list[profile_pb2.UpsertProfileRequest] = []
        self._bytes = 0

    def add(
        self, given: Upsert | profile_pb2.UpsertProfileRequest
    ) -> profile_pb2.ImportProfilesRequest | None:
        """The message without it where it does not fit any more; raises TypeError for others."""
        message = given.message() if isinstance(given, Upsert) else given
        if not isinstance(message, profile_pb2.UpsertProfileRequest):
            allowed = "Upsert, UpsertProfileRequest"
            raise TypeError(f"upserts: {type(message).__name__}, allowed: {allowed}")
        size = message.ByteSize()
        fits = len(self._upserts) < IMPORT_BATCH and self._bytes + size <= IMPORT_BATCH_BYTES
        full = None if fits else self.take()
        self._upserts.append(message)
        self._bytes += size
        return full

    def take(self) -> profile_pb2.ImportProfilesRequest | None:
        """The message, if there is any; the next is begun."""
        taken, self._upserts, self._bytes = self._upserts, [], 0
        return profile_pb2.ImportProfilesRequest(profiles=taken) if taken else None


def import_batches(
    upserts: Iterable[Upsert | profile_pb2.UpsertProfileRequest],
) -> Iterator[profile_pb2.ImportProfilesRequest]:
    """Batches for an import, made as they are sent."""
    batch = _Batch()
    for upsert in upserts:
        if (full := batch.add(upsert)) is not None:
            yield full
    if (rest := batch.take()) is not None:
        yield rest


async def import_batches_async(
    upserts: AsyncIterable[Upsert | profile_pb2.UpsertProfileRequest],
) -> AsyncIterator[profile_pb2.ImportProfilesRequest]:
    """The same of an async iterable."""
    batch = _Batch()
    async for upsert in upserts:
        if (full := batch.add(upsert)) is not None:
            yield full
    if (rest := batch.take()) is not None:
        yield rest


def files(given: Files) -> list[playbook_pb2.PlaybookFile]:
    """The files of a playbook: a folder, or contents by path."""
    found = given if isinstance(given, Mapping) else _read_folder(Path(given))
    return [playbook_pb2.PlaybookFile(path=path, content=found[path]) for path in sorted(found)]


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: not there, allowed: a folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file, allowed: a folder")
    found: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            size += path.stat().st_size
            if size > FOLDER_BYTES_MAX:
                raise ValueError(f"{folder}: over {FOLDER_BYTES_MAX} bytes")
            found[relative.as_posix()] = path.read_bytes()
    return found
