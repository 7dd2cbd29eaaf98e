"""Requests of shop-100 as the bytes that go over the wire."""

from __future__ import annotations

from google.protobuf import timestamp_pb2

from nextbest.v1 import common_pb2, decision_pb2, event_pb2, mutation_pb2, profile_pb2

from . import people


def identity(kind: int, id: str) -> common_pb2.Identity:
    """An Identity."""
    return common_pb2.Identity(kind=common_pb2.IdentityKind.Name(kind), id=id)


def value(scalar: people.Scalar, kind: str) -> common_pb2.Value:
    """A Value of a schema type."""
    if kind == "timestamp":
        moment = timestamp_pb2.Timestamp(seconds=int(scalar))
        return common_pb2.Value(timestamp_value=moment)
    if kind == "bool":
        return common_pb2.Value(bool_value=bool(scalar))
    if kind == "int":
        return common_pb2.Value(int_value=int(scalar))
    if kind == "double":
        return common_pb2.Value(double_value=float(scalar))
    return common_pb2.Value(string_value=str(scalar))


def values(scalars: dict[str, people.Scalar], types: dict[str, str]) -> dict[str, common_pb2.Value]:
    """Values by name."""
    return {name: value(scalar, types[name]) for name, scalar in scalars.items()}


def upsert(number: int, person: people.Person) -> bytes:
    """The UpsertProfileRequest of a person."""
    return profile_pb2.UpsertProfileRequest(
        write_id=f"w-{number}",
        identity=identity(person.kind, person.id),
        attributes=values(person.attributes, people.TYPES),
        occurred_at=timestamp_pb2.Timestamp(seconds=people.BASE_S),
    ).SerializeToString()


def track(person: people.Person, event: people.Event) -> bytes:
    """The TrackRequest of one event."""
    return event_pb2.TrackRequest(
        event_id=event.id,
        identity=identity(person.kind, person.id),
        event=event.event,
        occurred_at=timestamp_pb2.Timestamp(seconds=event.at_s),
        properties=values(event.properties, people.EVENTS[event.event]),
    ).SerializeToString()


def decide(request: people.Request, placed: bool = True, scored: bool = True) -> bytes:
    """The DecideRequest of a request, or one that asks for less."""
    return decision_pb2.DecideRequest(
        identity=identity(request.kind, request.id),
        placements=["home"] if placed else [],
        scores=["intent"] if scored else [],
        context=values(request.context, people.CONTEXT),
        now=timestamp_pb2.Timestamp(seconds=request.now_s),
        seed=request.seed,
    ).SerializeToString()


def segments(request: people.Request) -> bytes:
    """The same moment, asking only which segments the person is in."""
    message = decision_pb2.DecideRequest.FromString(decide(request, False, False))
    message.segments = True
    return message.SerializeToString()


def mutation(event: bytes, playbook_hash: bytes, number: int) -> bytes:
    """A Mutation around a TrackRequest, as the node that accepted it writes it to the log."""
    return mutation_pb2.Mutation(
        stamp=(people.BASE_S * 1000 << 16) + number,
        playbook=playbook_hash,
        event=event_pb2.TrackRequest.FromString(event),
    ).SerializeToString()
