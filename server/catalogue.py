"""The catalogue: which playbooks were published, and which of them is the active one.

It is what the log's publications and activations join to: the same ones in any order, any number
of times, give the same catalogue.  For each playbook, told by its content's hash, the publication
with the largest stamp counts; the one with the largest stamp of all is active.  So going back to
an earlier playbook is publishing it again, under the number it had, and the oldest ones can be
forgotten without a look at the active one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import DecodeError

from nextbest.core.errors import InvalidRequestError, UnknownGenerationError
from nextbest.v1 import mutation_pb2

HASH_BYTES = 16
# The numbers of `Mutation.body`.
PUBLICATION, ACTIVATION = 9, 10


class Generation(NamedTuple):
    """A playbook that can be activated, under its number here."""

    number: int
    hash: bytes
    publication: mutation_pb2.Publication


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is known of one playbook; without `data` only that it was activated."""

    # Of the publication that counts; its bytes break a tie.
    stamp: int = 0
    data: bytes = b""
    # Of the last activation that was no publication.
    activated: int = 0

    @property
    def last(self) -> int:
        """The stamp of the last mutation about it."""
        return max(self.stamp, self.activated)


class Catalogue:
    """At most `generations_max` playbooks: those published or activated last."""

    def __init__(self, generations_max: int) -> None:
        self._most = generations_max
        self._entries: dict[bytes, _Entry] = {}

    def apply(self, mutation: bytes) -> bool:
        """Join a Publication's or Activation's Mutation; says whether it changed anything.

        Raises InvalidRequestError for anything else.
        """
        message = _parse(mutation)
        kind = message.WhichOneof("body")
        if kind == "publication":
            hash_bytes = _require_hash(message.publication.hash)
            data = message.publication.SerializeToString(deterministic=True)
            return self._join(hash_bytes, _Entry(stamp=message.stamp, data=data))
        if kind == "activation":
            hash_bytes = _require_hash(message.activation.hash)
            return self._join(hash_bytes, _Entry(activated=message.stamp))
        raise InvalidRequestError("mutation", str(kind), "publication or activation")

    @property
    def active(self) -> bytes:
        """The active playbook's hash; empty before the first, or while its files are missing."""
        if not self._entries:
            return b""
        newest = max(self._entries, key=self._age)
        return newest if self._entries[newest].data else b""

    @property
    def last_stamp(self) -> int:
        """The largest stamp it holds."""
        return max((entry.last for entry in self._entries.values()), default=0)

    def generations(self) -> list[Generation]:
        """Those whose files are here, by their numbers.

        Two that were published at once on two nodes have the same label: the numbers are the
        labels made distinct, alike wherever the catalogue is the same.
        """
        known = [
            (hash_bytes, mutation_pb2.Publication.FromString(entry.data))
            for hash_bytes, entry in self._entries.items()
            if entry.data
        ]
        known.sort(key=lambda one: (one[1].number, one[1].published_at_us, one[0]))
        found: list[Generation] = []
        number = 0
        for hash_bytes, publication in known:
            number = max(publication.number, number + 1)
            found.append(Generation(number, hash_bytes, publication))
        return found

    def find(self, number: int) -> Generation:
        """The generation of that number; raises UnknownGenerationError."""
        generations = self.generations()
        for generation in generations:
            if generation.number == number:
                return generation
        known = ", ".join(str(one.number) for one in generations) or "none"
        raise UnknownGenerationError("target", str(number), known)

    def next_number(self) -> int:
        """The number for the next playbook."""
        return max((one.number for one in self.generations()), default=0) + 1

    def mutations(self) -> list[bytes]:
        """What to apply elsewhere to have this catalogue: for a snapshot."""
        found: list[bytes] = []
        for hash_bytes, entry in sorted(self._entries.items()):
            if entry.data:
                publication = mutation_pb2.Publication.FromString(entry.data)
                found.append(_mutation(entry.stamp, publication=publication))
            if entry.activated:
                activation = mutation_pb2.Activation(hash=hash_bytes)
                found.append(_mutation(entry.activated, activation=activation))
        return found

    def digest(self) -> bytes:
        """16 bytes that are equal where the catalogue is."""
        hashed = hashlib.blake2b(digest_size=16)
        for hash_bytes, entry in sorted(self._entries.items()):
            head = b"%d %d %d " % (entry.stamp, entry.activated, len(entry.data))
            hashed.update(hash_bytes + head + entry.data)
        return hashed.digest()

    def _join(self, hash_bytes: bytes, seen: _Entry) -> bool:
        before = self._entries.get(hash_bytes)
        known = before or _Entry()
        stamp, data = max((known.stamp, known.data), (seen.stamp, seen.data))
        joined = _Entry(stamp, data, max(known.activated, seen.activated))
        if joined == before:
            return False
        self._entries[hash_bytes] = joined
        if len(self._entries) > self._most:
            oldest = min(self._entries, key=self._age)
            del self._entries[oldest]
            return oldest != hash_bytes
        return True

    def _age(self, hash_bytes: bytes) -> tuple[int, bytes]:
        return self._entries[hash_bytes].last, hash_bytes


def _mutation(
    stamp: int,
    publication: mutation_pb2.Publication | None = None,
    activation: mutation_pb2.Activation | None = None,
) -> bytes:
    message = mutation_pb2.Mutation(stamp=stamp, publication=publication, activation=activation)
    return message.SerializeToString(deterministic=True)


def _parse(mutation: bytes) -> mutation_pb2.Mutation:
    try:
        return mutation_pb2.Mutation.FromString(mutation)
    except DecodeError:
        raise InvalidRequestError("mutation", f"{len(mutation)} bytes", "a Mutation") from None


def _require_hash(hash_bytes: bytes) -> bytes:
    if len(hash_bytes) != HASH_BYTES:
        raise InvalidRequestError("hash", f"{len(hash_bytes)} bytes", f"{HASH_BYTES} bytes")
    return hash_bytes
