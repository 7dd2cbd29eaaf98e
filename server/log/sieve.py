"""The sieve: what of a batch may still be appended a good while after it was accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from nextbest.v1 import common_pb2, event_pb2, mutation_pb2

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

Incarnation = Callable[[int, str], int]
# A horizon before which nothing ever happened.
EVER = -(1 << 63)


class Sifted(NamedTuple):
    """A batch without what is dead or too old, and the ids of the events that are too old.

    dead: how many mutations were of dead incarnations.
    """

    data: bytes
    mutations: int
    lost_ids: list[str]
    dead: int


def sift(data: bytes, incarnation: Incarnation, horizon_ms: int) -> Sifted:
    """Leave out mutations of dead incarnations, and events whose ids are older than the horizon.

    What decisions reserve has no id, and needs none to be known again.
    incarnation: the one a new write to an identity (kind, id) must name.
    """
    batch = mutation_pb2.MutationBatch.FromString(data)
    kept = []
    lost = []
    for mutation in batch.mutations:
        if is_dead(mutation, incarnation):
            continue
        if mutation.event.event_id and id_ms(mutation.event) < horizon_ms:
            lost.append(mutation.event.event_id)
        else:
            kept.append(mutation)
    if len(kept) == len(batch.mutations):
        return Sifted(data, len(kept), lost, 0)
    dead = len(batch.mutations) - len(kept) - len(lost)
    left = mutation_pb2.MutationBatch(mutations=kept).SerializeToString()
    return Sifted(left, len(kept), lost, dead)


def ids_before(data: bytes, horizon_ms: int) -> list[str]:
    """The ids of a batch's events that are older than the horizon."""
    return sift(data, _never_erased, horizon_ms).lost_ids


def is_dead(mutation: mutation_pb2.Mutation, incarnation: Incarnation) -> bool:
    """Whether an identity it names was erased since; erasing itself is never dead."""
    body = mutation.WhichOneof("body")
    if body in ("event", "attributes"):
        return _died(getattr(mutation, body).identity, mutation.incarnation, incarnation)
    if body == "link":
        return _died(mutation.link.first, mutation.incarnation, incarnation) or _died(
            mutation.link.second, mutation.second_incarnation, incarnation
        )
    return False


def id_ms(event: event_pb2.TrackRequest) -> int:
    """The time an event's id carries, or else when it happened, in ms since 1970."""
    if _UUID7.fullmatch(event.event_id):
        return int(event.event_id[:8] + event.event_id[9:13], 16)
    return event.occurred_at.seconds * 1_000 + event.occurred_at.nanos // 1_000_000


def _died(identity: common_pb2.Identity, named: int, incarnation: Incarnation) -> bool:
    kind = identity.kind or common_pb2.IDENTITY_KIND_KNOWN
    return named < incarnation(kind, identity.id)


def _never_erased(_kind: int, _id: str) -> int:
    return 0
